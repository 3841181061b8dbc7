//! Definitions in small shops, on SQLite and on a real PostgreSQL.

use std::io::Read;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::Value;
use sqlx::Connection;

use super::{BaseOptions, base_query};
use crate::config::audience_inactive::Inactive;
use crate::config::warehouse::WarehouseConfig;
use crate::segment;
use crate::test_postgres as postgres;
use crate::warehouse::{Columns, PostgresSource, Source, SqliteSource, parse_time};

mod figures;
mod golden;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).into()
}

fn golden(file: &str) -> Value {
    let text = std::fs::read_to_string(root().join("tests/fixtures/golden").join(file)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn orders_file() -> PathBuf {
    root().join("connectors/synth/data/online_retail_orders.csv.gz")
}

fn orders_csv() -> Vec<u8> {
    let mut csv = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(orders_file()).unwrap()).read_to_end(&mut csv).unwrap();
    csv
}

fn parse(json: &str) -> Inactive {
    serde_json::from_str(json).unwrap()
}

fn day(text: &str) -> DateTime<Utc> {
    parse_time(text).unwrap()
}

fn warehouse(toml: &str) -> WarehouseConfig {
    toml::from_str(toml).unwrap()
}

fn close(found: Option<f64>, wanted: &Value) {
    let (found, wanted) = (found.unwrap(), wanted.as_f64().unwrap());
    assert!((found - wanted).abs() <= 1e-6 * wanted.abs(), "{found} is not {wanted}");
}

/// A small shop, every odd case in it.
const SHOP: &str = "
    CREATE TABLE people (id INTEGER, mail TEXT, consent TEXT, since TEXT);
    INSERT INTO people VALUES (1, 'a@example.org', 'yes', '2020-01-01'), (2, 'b@example.org', 'no', '2020-01-01'),
        (3, NULL, NULL, '2020-01-01'), (4, 'd@example.org', 'yes', '2026-01-01'), (5, 'e@example.org', 'yes', NULL),
        (6, 'f@example.org', 'yes', '2020-01-01'), (NULL, 'g@example.org', 'yes', '2020-01-01');
    CREATE TABLE orders (customer TEXT, ordered_at, amount REAL, kind TEXT);
    INSERT INTO orders VALUES ('1', '2025-01-10', 10.5, 'order'), ('1', '2025-02-10 10:00:00', 20, 'order'),
        ('1', '2026-05-30', 5, 'cancel'), ('2', '2026-05-20T08:00:00Z', 7, 'order'), ('2', '2024-01-01', 3, 'order'),
        ('', '2026-05-20', 9, 'order'), (NULL, '2026-05-20', 9, 'order'), ('5', '2026-06-01', 1, 'order'),
        ('6', '2025-01-01', 4, 'order'), ('6', 'yesterday', 4, 'order');
    CREATE TABLE clicks (customer INTEGER, clicked_at INTEGER);
    INSERT INTO clicks VALUES (1, 1748736000), (3, 1735689600);
    CREATE TABLE sent (customer INTEGER, campaign TEXT, at TEXT, opened TEXT, clicked TEXT, machine INTEGER);
    INSERT INTO sent VALUES (1, 'c1', '2026-01-01', NULL, NULL, 0), (1, 'c2', '2026-02-01', '2026-02-01', NULL, 1),
        (2, 'c1', '2026-01-01', '2026-01-02', NULL, 0), (2, 'c2', '2026-02-01', NULL, NULL, 0),
        (3, 'c2', '2026-02-01', NULL, NULL, 0);";

const SHOP_CONFIG: &str = "
    [customers]
    table = 'people'
    id = 'id'
    emails = ['mail']
    consent_ads = 'consent'
    country = \"'FR'\"
    created_at = 'since'
    [[events]]
    table = 'orders'
    customer_id = 'customer'
    at = 'ordered_at'
    kind = 'kind'
    value = 'amount'
    [[events]]
    table = 'clicks'
    customer_id = 'customer'
    at = 'clicked_at'
    kind = \"'click'\"
    [deliveries]
    table = 'sent'
    customer_id = 'customer'
    campaign_id = 'campaign'
    at = 'at'
    opened_at = 'opened'
    clicked_at = 'clicked'
    machine_open = 'machine'";

struct Shop {
    source: SqliteSource,
    warehouse: WarehouseConfig,
    _folder: tempfile::TempDir,
}

fn shop() -> Shop {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(SHOP).unwrap();
    let source = SqliteSource::new(&SecretString::from(format!("file:{}", path.display()))).unwrap();
    Shop { source, warehouse: warehouse(SHOP_CONFIG), _folder: folder }
}

impl Shop {
    /// The states of customers 1 to 6 by their first letters.
    async fn states(&self, json: &str) -> String {
        let dialect = self.source.dialect();
        let sql = base_query(&self.warehouse, &parse(json), day("2026-06-01"), dialect, BaseOptions::STATES).unwrap();
        let batch = self.source.query(&format!("{sql} ORDER BY 1")).await.unwrap().next().await.unwrap().unwrap();
        let columns = Columns::new(&batch);
        let ids: Vec<_> = (0..columns.rows()).filter_map(|row| columns.get("customer_id")?.string(row)).collect();
        assert_eq!(ids, ["1", "2", "3", "4", "5", "6"]);
        (0..6).filter_map(|row| columns.get("state")?.string(row)?.chars().next()).collect()
    }
}

#[tokio::test]
async fn three_values_in_a_small_shop() {
    let shop = shop();
    for (json, states) in [
        // 3 and 4 never ordered; 5 ordered only at T; 6 has an order at an unreadable time; a cancel is no activity.
        (r#"{"no_event_days": {"kinds": ["order"], "days": 180}}"#, "iauuuu"),
        (r#"{"no_event_days": {"kinds": ["order", "click"], "days": 180}}"#, "iaiuuu"),
        (r#"{"no_event_days": {"kinds": ["click"], "days": 400}}"#, "auiuuu"),
        (r#"{"purchase_recency": {"sector": "fashion"}}"#, "iauuuu"),
        (
            r#"{"multi_channel": {"channels": [{"kind": "order", "days": 180}, {"kind": "click", "days": 400}]}}"#,
            "aaiuuu",
        ),
        // Kleene: unknown AND active is active, unknown OR inactive is inactive.
        (
            r#"{"all": [{"no_event_days": {"kinds": ["order"], "days": 180}}, {"no_event_days": {"kinds": ["click"], "days": 400}}]}"#,
            "aauuuu",
        ),
        (
            r#"{"any": [{"no_event_days": {"kinds": ["order"], "days": 180}}, {"no_event_days": {"kinds": ["click"], "days": 400}}]}"#,
            "iuiuuu",
        ),
        (r#"{"not": {"no_event_days": {"kinds": ["order"], "days": 180}}}"#, "aiuuua"),
        (r#"{"never_active": {"days": 365}}"#, "aaiaua"),
        // The only open of 1 was a machine's; 3 got one campaign only.
        (r#"{"no_open_campaigns": {"campaigns": 2}}"#, "iauuuu"),
        (r#"{"no_open_campaigns": {"campaigns": 1}}"#, "iiiuuu"),
        (r#"{"no_open_campaigns": {"campaigns": 2, "engagement": "click"}}"#, "iiuuuu"),
        (r#"{"sql": "SELECT id AS customer_id FROM people WHERE mail LIKE 'a%';"}"#, "iaaaaa"),
        (
            r#"{"rfm_matrix": {"limits": {"recency_days": [30, 365], "frequency": [2], "monetary_minor": [2000]}, "cells": [{"r": [1], "f": [2], "m": [2]}]}}"#,
            "iauuua",
        ),
    ] {
        assert_eq!(shop.states(json).await, states, "{json}");
    }
}

#[tokio::test]
async fn a_sync_reads_the_mapped_columns_of_the_inactive() {
    let shop = shop();
    let definition = parse(r#"{"no_event_days": {"kinds": ["order"], "days": 180}}"#);
    let sql =
        base_query(&shop.warehouse, &definition, day("2026-06-01"), shop.source.dialect(), BaseOptions::SYNC).unwrap();
    let batch = shop.source.query(&sql).await.unwrap().next().await.unwrap().unwrap();
    let columns = Columns::new(&batch);
    assert_eq!(columns.rows(), 1);
    let text = |name| columns.get(name).and_then(|values| values.string(0)).unwrap();
    assert_eq!(
        (text("customer_id"), text("email_1"), text("country")),
        ("1".into(), "a@example.org".into(), "FR".into())
    );
    assert_eq!((text("orders_count"), text("orders_value_minor")), ("2".into(), "3050".into()));
    assert_eq!(columns.get("consent_ads").unwrap().bool(0), Some(true));
    assert_eq!(columns.get("last_activity_at").unwrap().time(0), parse_time("2025-02-10 10:00:00"));
}

#[tokio::test]
async fn explains_one_customer() {
    let shop = shop();
    let definition =
        parse(r#"{"all": [{"no_event_days": {"kinds": ["order"], "days": 180}}, {"never_active": {"days": 9}}]}"#);
    let explain = async |id: &str| {
        segment::explain(&shop.source, &shop.warehouse, &definition, day("2026-06-01"), id).await.unwrap()
    };
    let one = explain("1").await.unwrap();
    assert_eq!(one.state, "active");
    assert_eq!(one.reason, "all of (last order/purchase/sale on 2025-02-10, more than 180 days before; has bought)");
    assert_eq!(explain("x' OR '1' = '1").await, None);
    let six = explain("6").await.unwrap();
    assert!(six.reason.starts_with("an event has a time that cannot be read"), "{}", six.reason);
}

#[tokio::test]
async fn a_segment_of_ones_own_needs_no_mapping() {
    let mut shop = shop();
    shop.warehouse.customers = None;
    let definition =
        parse(r#"{"sql": "SELECT id AS customer_id, mail AS email_1 FROM people WHERE id IN (1, 4) -- mine"}"#);
    for events in [true, false] {
        if !events {
            shop.warehouse.events.clear();
        }
        let sql = base_query(&shop.warehouse, &definition, day("2026-06-01"), shop.source.dialect(), BaseOptions::SYNC);
        let batch = shop.source.query(&sql.unwrap()).await.unwrap().next().await.unwrap().unwrap();
        let columns = Columns::new(&batch);
        assert_eq!(columns.rows(), 2);
        assert_eq!(columns.get("email_1").unwrap().string(0).as_deref(), Some("a@example.org"));
        assert_eq!(columns.get("orders_count").and_then(|values| values.i64(0)), events.then_some(2));
        let count = segment::count(&shop.source, &shop.warehouse, &definition, day("2026-06-01")).await.unwrap();
        assert_eq!((count.customers, count.inactive, count.unknown), (2, 2, 0));
    }
}

#[tokio::test]
async fn a_segment_of_ones_own_counts_each_customer_once() {
    let (source, warehouse) = segment::open_events_csv(&orders_file()).await.unwrap();
    let own = parse(r#"{"sql": "select customer_id from events"}"#);
    let as_of = day("2011-12-10");
    let count = segment::count(&source, &warehouse, &own, as_of).await.unwrap();
    assert_eq!((count.customers, count.inactive, count.total), (5939, 5939, 5939));
    let found = segment::returns(&source, &warehouse, &own, as_of, &[30]).await.unwrap();
    assert_eq!((found.inactive, found.own_orders), (5939, 36_969), "each order once");
}

#[tokio::test]
async fn a_customer_listed_twice_counts_once() {
    let mut shop = shop();
    let customers = shop.warehouse.customers.as_mut().unwrap();
    customers.table = "(SELECT * FROM people UNION ALL SELECT * FROM people)".into();
    customers.filter = Some("mail IS NOT NULL".into());
    let definition = parse(r#"{"purchase_recency": {"days": 180}}"#);
    let count = segment::count(&shop.source, &shop.warehouse, &definition, day("2026-06-01")).await.unwrap();
    assert_eq!((count.customers, count.inactive, count.unknown), (2, 1, 3));
}

#[test]
fn says_what_is_not_mapped() {
    let warehouse = warehouse(SHOP_CONFIG);
    let error = |json: &str| {
        let dialect = crate::warehouse::Dialect::Sqlite;
        base_query(&warehouse, &parse(json), day("2026-06-01"), dialect, BaseOptions::SYNC).unwrap_err().to_string()
    };
    assert!(error(r#"{"no_event_days": {"days": 0}}"#).contains("inactive.no_event_days.days"));
    // The orders have a kind column, which may hold anything; so only literal kinds can be known to be missing.
    let mut literal_kinds = warehouse.clone();
    literal_kinds.events[0].kind = "'order'".into();
    let definition = parse(r#"{"no_event_days": {"kinds": ["visit"], "days": 9}}"#);
    let sqlite = crate::warehouse::Dialect::Sqlite;
    let message =
        base_query(&literal_kinds, &definition, day("2026-06-01"), sqlite, BaseOptions::SYNC).unwrap_err().to_string();
    assert!(message.contains("of kind visit"), "{message}");
    let bare = WarehouseConfig::default();
    let dialect = crate::warehouse::Dialect::Sqlite;
    let definition = parse(r#"{"no_event_days": {"days": 9}}"#);
    let message =
        base_query(&bare, &definition, day("2026-06-01"), dialect, BaseOptions::SYNC).unwrap_err().to_string();
    assert!(message.contains("[warehouse.events]"), "{message}");
}

#[tokio::test]
async fn counts_over_a_plain_csv_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.csv");
    std::fs::write(&path, "customer_id,ts,kind,value\n1,2025-01-01,sale,3\n2,2026-05-31T10:00:00Z,sale,4\n,2025-01-01,sale,5\n3,2025-01-01,cancel,-3\n").unwrap();
    let definition = parse(r#"{"no_event_days": {"kinds": ["order"], "days": 180}}"#);
    let count = segment::count_from_events_csv(&path, &definition, day("2026-06-01")).await.unwrap();
    assert_eq!((count.customers, count.inactive, count.unknown), (2, 1, 1));

    std::fs::write(&path, "customer_id,when\n1,2025-01-01\n").unwrap();
    let error = segment::count_from_events_csv(&path, &definition, day("2026-06-01")).await.unwrap_err().to_string();
    assert!(error.contains("no column named ts") && error.contains("customer_id, ts, kind, value"), "{error}");
}

/// The raw invoice lines, aggregated by a query in the mapping, give the same figures.
#[cfg(feature = "parquet")]
#[tokio::test]
async fn raw_lines_in_parquet() {
    let Some(folder) = std::env::var_os("REVEIL_DATA_DIR") else {
        eprintln!("note: REVEIL_DATA_DIR is not set; the Parquet lines are left out");
        return;
    };
    let file = Path::new(&folder).join("online_retail_lines.parquet");
    let mut warehouse = warehouse(
        "driver = 'files'
        [events]
        table = \"(SELECT * FROM lines WHERE substr(invoice, 1, 1) BETWEEN '0' AND '9' AND quantity > 0 AND price_mills >= 10)\"
        customer_id = 'customer_id'
        at = 'ts'",
    );
    warehouse.files.insert("lines".into(), crate::config::warehouse::ListFile::new(file));
    let source = crate::warehouse::open(&warehouse).await.unwrap();
    let definition = parse(r#"{"purchase_recency": {"days": 180}}"#);
    let count = segment::count(source.as_ref(), &warehouse, &definition, day("2011-09-01")).await.unwrap();
    let wanted = &golden("inactivity.json")["online_retail_raw_lines_crosscheck"]["X=180"];
    assert_eq!((count.inactive, count.customers), (wanted[0].as_u64().unwrap(), wanted[1].as_u64().unwrap()));
}

const DEFINITIONS: [&str; 10] = [
    r#"{"no_event_days": {"kinds": ["order", "click"], "days": 180}}"#,
    r#"{"multi_channel": {"channels": [{"kind": "order", "days": 180}, {"kind": "click", "days": 400}]}}"#,
    r#"{"not": {"no_event_days": {"kinds": ["click"], "days": 400}}}"#,
    r#"{"never_active": {"days": 365}}"#,
    r#"{"purchase_recency": {"sector": "beauty"}}"#,
    r#"{"no_open_campaigns": {"campaigns": 2}}"#,
    r#"{"no_open_campaigns": {"campaigns": 2, "engagement": "click"}}"#,
    r#"{"any": [{"sql": "SELECT id AS customer_id FROM people WHERE id = 4"}, {"purchase_recency": {"days": 180}}]}"#,
    r#"{"rfm_matrix": {"bins": 2, "cells": [{"r": [1]}]}}"#,
    r#"{"all": [{"personal_cadence": {"k": 2, "min_days": 2, "fallback_days": 90}}, {"p_alive": {"theta": [1, 5, 1, 1], "p": 0.9}}]}"#,
];

/// A small shop with customers, two tables of events and deliveries is judged alike by both databases.
#[tokio::test]
async fn sqlite_and_postgresql_agree() {
    let Some(server) = postgres::TestPostgres::start() else { return };
    let clean = SHOP.replace(", ('6', 'yesterday', 4, 'order')", "").replace("ordered_at,", "ordered_at TEXT,");
    let mut connection = sqlx::PgConnection::connect(&server.uri()).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(clean.clone())).execute(&mut connection).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(&clean).unwrap();
    let sqlite = SqliteSource::new(&SecretString::from(format!("file:{}", path.display()))).unwrap();
    let server = (PostgresSource::new(&SecretString::from(server.uri())).unwrap(), server);

    for json in DEFINITIONS {
        let mut answers = Vec::new();
        for source in [&sqlite as &dyn Source, &server.0] {
            let warehouse = segment::resolve(source, &warehouse(SHOP_CONFIG)).await.unwrap();
            let options = BaseOptions { only_inactive: false, columns: true, reason: true };
            let sql = base_query(&warehouse, &parse(json), day("2026-06-01"), source.dialect(), options).unwrap();
            let batch = source.query(&format!("{sql} ORDER BY 1")).await.unwrap().next().await.unwrap().unwrap();
            let columns = Columns::new(&batch);
            let text = |name: &str, row| columns.get(name).unwrap().string(row);
            let answer: Vec<_> = (0..columns.rows())
                .map(|row| {
                    let names = ["customer_id", "state", "orders_count", "orders_value_minor", "email_1", "country"];
                    (names.map(|name| text(name, row)), columns.get("last_activity_at").unwrap().time(row))
                })
                .collect();
            assert_eq!(answer.len(), 6, "{json}");
            assert!((0..6).all(|row| text("reason", row).is_some_and(|reason| !reason.is_empty())), "{json}");
            answers.push(answer);
        }
        assert_eq!(answers[0], answers[1], "{json}");
    }
}

#[tokio::test]
async fn postgresql_reads_any_type_and_hides_values() {
    let Some(server) = postgres::TestPostgres::start() else { return };
    let source = PostgresSource::new(&SecretString::from(server.uri())).unwrap();
    let sql = "SELECT 1.50::numeric AS v, true AS v, '\\x01'::bytea AS v, DATE '2011-09-01' AS v, 7::smallint AS v,
        '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid AS v, ARRAY[1,2] AS v, 'infinity'::timestamptz AS v,
        2.5::real AS v, TIMESTAMP '2011-09-01 10:00' AS v, NULL AS v; ";
    let batch = source.query(sql).await.unwrap().next().await.unwrap().unwrap();
    let texts: Vec<Option<String>> = (0..batch.num_columns())
        .map(|index| Columns::new(&batch.project(&[index]).unwrap()).get("v").unwrap().string(0))
        .collect();
    let wanted = [
        Some("1.50"),
        Some("true"),
        Some("\\x01"),
        Some("2011-09-01T00:00:00Z"),
        Some("7"),
        Some("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
        Some("{1,2}"),
        None,
        Some("2.5"),
        Some("2011-09-01T10:00:00Z"),
        None,
    ];
    assert_eq!(texts, wanted.map(|text| text.map(String::from)));

    let sql = "SELECT (CASE WHEN n > 3 THEN 'secret@mail.example' ELSE '1' END)::int FROM generate_series(1, 5) AS n";
    let error = source.query(sql).await.unwrap().next().await.unwrap().unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    let error = source.query("SELECT emial FROM pg_class").await.unwrap_err();
    assert!(error.to_string().contains("emial"), "{error}");
    let mut connection = sqlx::PgConnection::connect(&server.uri()).await.unwrap();
    sqlx::raw_sql("CREATE SEQUENCE counter").execute(&mut connection).await.unwrap();
    let write = source.query("SELECT nextval('counter') AS v").await.unwrap().next().await.unwrap().unwrap_err();
    assert_eq!(write.kind(), crate::warehouse::ErrorKind::Denied);

    // Dropping a stream frees the server.
    let mut stream = source.query("SELECT a.n FROM generate_series(1, 100000000) AS a(n)").await.unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    let sorting = source.query("SELECT count(*) FROM generate_series(1, 1000000000) AS a(n)").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    drop(sorting);
    let begun = std::time::Instant::now();
    loop {
        let count =
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%generate_series%' AND state = 'active'";
        if sqlx::query_scalar::<_, i64>(count).fetch_one(&mut connection).await.unwrap() == 0 {
            break;
        }
        assert!(begun.elapsed().as_secs() < 20, "a query goes on after its stream was dropped");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
