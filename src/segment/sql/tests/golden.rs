//! The golden numbers of real purchase histories, on SQLite and on a real PostgreSQL.

use std::path::Path;

use secrecy::SecretString;
use serde_json::Value;
use sqlx::Connection;

use super::{close, day, golden, orders_csv, orders_file, parse, postgres, warehouse};
use crate::config::audience_inactive::Inactive;
use crate::config::warehouse::WarehouseConfig;
use crate::segment::{self, open_events_csv};
use crate::warehouse::{PostgresSource, Source};

pub(super) struct Golden<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) warehouse: &'a WarehouseConfig,
    pub(super) numbers: &'a Value,
    pub(super) set: &'a str,
}

impl Golden<'_> {
    pub(super) async fn inactive(&self, json: &str, as_of: &str) -> (u64, u64, u64) {
        let count = segment::count(self.source, self.warehouse, &parse(json), day(as_of)).await.unwrap();
        (count.inactive, count.customers, count.unknown)
    }

    async fn recency_and_returns(&self) {
        for (as_of, at) in self.numbers[self.set].as_object().unwrap() {
            let buyers = at["buyers_before"].as_u64().unwrap();
            for (days, wanted) in at["by_X"].as_object().unwrap() {
                let inactive = wanted["inactive"].as_u64().unwrap();
                let json = format!("{{\"purchase_recency\": {{\"days\": {days}}}}}");
                let found = self.inactive(&json, as_of).await;
                assert_eq!((found.0, found.1), (inactive, buyers), "{as_of} {days}");
                if wanted.get("their_orders").is_none() {
                    continue;
                }
                let found = segment::returns(self.source, self.warehouse, &parse(&json), day(as_of), &[30, 60, 90])
                    .await
                    .unwrap();
                assert_eq!(found.inactive, inactive);
                assert_eq!(found.own_orders, wanted["their_orders"].as_u64().unwrap());
                assert_eq!(found.own_revenue_minor, wanted["their_revenue_minor"].as_i64().unwrap());
                close(found.aov_pooled_minor, &wanted["aov_pooled_minor"]);
                close(found.aov_customer_mean_minor, &wanted["aov_customer_mean_minor"]);
                close(found.aov_customer_median_minor, &wanted["aov_customer_median_minor"]);
                assert!(found.last_purchase_at.is_some_and(|at| at > day(as_of)));
                for window in found.windows {
                    let Some(back) = wanted["spontaneous_return"].get(window.days.to_string()) else { continue };
                    assert_eq!(window.returned, back["customers"].as_u64().unwrap());
                    assert_eq!(window.orders, back["orders"].as_u64().unwrap());
                    assert_eq!(window.revenue_minor, back["revenue_minor"].as_i64().unwrap());
                }
            }
        }
    }

    async fn cadence(&self) {
        let cadence = &self.numbers[format!("{}_cadence", self.set)];
        let as_of = cadence["as_of"].as_str().unwrap();
        for k in [2, 3] {
            let wanted = &cadence[format!("k={k}")];
            let own = format!("{{\"personal_cadence\": {{\"k\": {k}, \"fallback_days\": 180}}}}");
            assert_eq!(self.inactive(&own, as_of).await.0, wanted["inactive_total"].as_u64().unwrap(), "k={k}");
            // The fixed rule over the same calendar days, as a rhythm nobody can have.
            let fixed = r#"{"personal_cadence": {"k": 1, "min_days": 1000000, "fallback_days": 180}}"#;
            for (json, key) in [
                (format!(r#"{{"all": [{own}, {{"not": {fixed}}}]}}"#), "active_by_fixed_fallback_but_late_by_cadence"),
                (format!(r#"{{"all": [{fixed}, {{"not": {own}}}]}}"#), "inactive_by_fixed_fallback_but_on_cadence"),
            ] {
                assert_eq!(self.inactive(&json, as_of).await.0, wanted[key].as_u64().unwrap(), "k={k} {key}");
            }
            let Inactive::PersonalCadence(own) = parse(&own) else { panic!("a rhythm") };
            let found = segment::cadence(self.source, self.warehouse, &own, day(as_of)).await.unwrap();
            for (counted, key) in [
                (found.inactive, "inactive_total"),
                (found.inactive_by_rhythm, "by_personal_rule"),
                (found.inactive_by_fallback, "by_fallback"),
                (found.noticed_earlier, "active_by_fixed_fallback_but_late_by_cadence"),
                (found.left_alone, "inactive_by_fixed_fallback_but_on_cadence"),
            ] {
                assert_eq!(counted, wanted[key].as_u64().unwrap(), "k={k} {key}");
            }
            assert_eq!(found.with_rhythm, cadence["with_personal_gap"].as_u64().unwrap());
            let median = found.gap_days.expect("somebody has a rhythm").p50;
            assert!((median - cadence["median_of_median_gaps_days"].as_f64().unwrap()).abs() < 1e-9, "{median}");
        }
    }

    async fn rfm(&self) {
        let rfm = &self.numbers[format!("{}_rfm", self.set)];
        let as_of = rfm["as_of"].as_str().unwrap();
        for (cell, key) in [
            (r#""preset": "high_value""#, "reconquer_r<=2_f>=4_m>=4"),
            (r#""cells": [{"r": [1], "f": [1]}]"#, "r=1_f=1"),
            (r#""cells": [{"r": [5], "f": [5], "m": [5]}]"#, "champions_555"),
            (r#""cells": [{"r": [1]}, {"r": [2]}]"#, "r<=2"),
        ] {
            let found = self.inactive(&format!("{{\"rfm_matrix\": {{{cell}}}}}"), as_of).await;
            assert_eq!(found.0, rfm[key].as_u64().unwrap(), "{key}");
        }
        self.rfm_checksum(rfm["checksum_sum_cid_times_rfm_mod_1000000007"].as_u64().unwrap(), as_of).await;
    }

    async fn rfm_checksum(&self, wanted: u64, as_of: &str) {
        let mut sum = 0;
        let add = |it: segment::Score<'_>| {
            let cell = 100 * it.r + 10 * it.f + it.m.expect("the third axis");
            sum = (sum + it.customer_id.parse::<u64>().unwrap() * cell as u64) % 1_000_000_007;
            Ok::<_, crate::warehouse::Error>(())
        };
        segment::scores(
            self.source,
            self.warehouse,
            &crate::config::audience_inactive::RfmMatrix::default(),
            day(as_of),
            add,
        )
        .await
        .unwrap();
        assert_eq!(sum, wanted);
    }

    async fn p_alive(&self) {
        let alive = &golden("p_alive.json")[self.set];
        let as_of = alive["as_of"].as_str().unwrap();
        for (key, model) in [("mbgnbd", "mbg"), ("bgnbd", "bg")] {
            let theta = &alive[key]["r_alpha_a_b"];
            for (p, wanted) in alive[key]["count_palive_lt"].as_object().unwrap() {
                let json = format!(r#"{{"p_alive": {{"model": "{model}", "theta": {theta}, "p": {p}}}}}"#);
                assert_eq!(self.inactive(&json, as_of).await.0, wanted.as_u64().unwrap(), "{model} {p}");
            }
        }
    }

    async fn all(&self) {
        self.recency_and_returns().await;
        self.cadence().await;
        self.rfm().await;
        self.p_alive().await;
    }
}

#[tokio::test]
async fn online_retail_on_sqlite() {
    let (source, warehouse) = open_events_csv(&orders_file()).await.unwrap();
    let numbers = golden("inactivity.json");
    Golden { source: &source, warehouse: &warehouse, numbers: &numbers, set: "online_retail" }.all().await;
}

#[tokio::test]
async fn cdnow_on_sqlite() {
    let Some(folder) = std::env::var_os("REVEIL_DATA_DIR") else {
        eprintln!("note: REVEIL_DATA_DIR is not set; the CDNOW golden numbers are left out");
        return;
    };
    let file = Path::new(&folder).join("cdnow_transactions.csv.gz");
    let (source, mut warehouse) = open_events_csv(&file).await.unwrap();
    warehouse.events[0].value = Some("amount_cents".into());
    warehouse.events[0].value_unit = crate::config::warehouse::ValueUnit::Minor;
    let numbers = golden("inactivity.json");
    Golden { source: &source, warehouse: &warehouse, numbers: &numbers, set: "cdnow" }.all().await;
}

const POSTGRES_TABLES: &str = "
    CREATE TABLE orders (invoice text, customer_id integer, ts timestamptz, country text, kind text, n_lines integer,
        units bigint, revenue_pence bigint);
    CREATE TABLE orders_text (invoice text, customer_id text, ts text, country text, kind text, n_lines text,
        units text, revenue_pence text);";

/// The same history under every type a column may have.
#[tokio::test]
async fn online_retail_on_postgresql() {
    let Some(server) = postgres::TestPostgres::start() else { return };
    let mut connection = sqlx::PgConnection::connect(&server.uri()).await.unwrap();
    sqlx::raw_sql(POSTGRES_TABLES).execute(&mut connection).await.unwrap();
    let csv = orders_csv();
    for table in ["orders", "orders_text"] {
        let copy = format!("COPY {table} FROM STDIN (FORMAT csv, HEADER)");
        let mut into = connection.copy_in_raw(&copy).await.unwrap();
        into.send(csv.as_slice()).await.unwrap();
        into.finish().await.unwrap();
    }
    let forms =
        "CREATE TABLE orders_local AS SELECT customer_id, ts AT TIME ZONE 'UTC' AS ts, kind, revenue_pence FROM orders;
        CREATE TABLE orders_unix AS SELECT customer_id, extract(epoch FROM ts)::bigint AS ts, kind,
            revenue_pence / 100.0 AS pounds FROM orders;";
    sqlx::raw_sql(forms).execute(&mut connection).await.unwrap();

    let source = PostgresSource::new(&SecretString::from(server.uri())).unwrap();
    source.check().await.unwrap();
    let numbers = golden("inactivity.json");
    for (table, value) in [
        ("orders", "value = 'revenue_pence'\nvalue_unit = 'minor'"),
        ("orders_text", "value = 'revenue_pence'\nvalue_unit = 'minor'"),
        ("orders_local", "value = 'revenue_pence'\nvalue_unit = 'minor'"),
        ("orders_unix", "value = 'pounds'"),
    ] {
        let config =
            format!("[events]\ntable = '{table}'\ncustomer_id = 'customer_id'\nat = 'ts'\nkind = 'kind'\n{value}");
        let warehouse = segment::resolve(&source, &warehouse(&config)).await.unwrap();
        let golden = Golden { source: &source, warehouse: &warehouse, numbers: &numbers, set: "online_retail" };
        if table == "orders" {
            golden.all().await;
        } else {
            golden.rfm().await;
            golden.cadence().await;
            let found = golden.inactive(r#"{"purchase_recency": {"days": 180}}"#, "2011-09-01").await;
            assert_eq!((found.0, found.1), (2477, 5249), "{table}");
        }
    }

    let misspelt = warehouse("[events]\ntable = 'orders'\ncustomer_id = 'cid'\nat = 'ts'");
    let error = segment::resolve(&source, &misspelt).await.unwrap_err().to_string();
    assert!(error.contains("no column cid") && error.contains("customer_id"), "{error}");
}
