//! ADBC for real: PostgreSQL's driver library in a child process, against a server of the test's own.
//!
//! `REVEIL_TEST_ADBC_POSTGRESQL` names the library (the Python package adbc-driver-postgresql carries one); without it
//! the test is left out. The program is its own child: started with `__adbc` it does what `reveil __adbc` does.

use std::io::{stdin, stdout};
use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use reveil::config::audience_inactive::Inactive;
use reveil::config::warehouse::{Dialect, WarehouseConfig};
use reveil::segment;
use reveil::warehouse::{AdbcSource, ErrorKind, Source, adbc_child_main, parse_time};
use sqlx::Connection;

#[path = "support/postgres.rs"]
mod postgres;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("__adbc") {
        if let Err(line) = adbc_child_main(stdin(), stdout()) {
            eprintln!("{line}");
            std::process::exit(1);
        }
        return;
    }
    let Some(library) = std::env::var("REVEIL_TEST_ADBC_POSTGRESQL").ok() else {
        println!("note: REVEIL_TEST_ADBC_POSTGRESQL is not set; the ADBC test is left out");
        return;
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run(&library));
    println!("test adbc ... ok");
}

const TABLE: &str = "CREATE TABLE orders (invoice text, customer_id integer, ts timestamp, country text, kind text,
    n_lines integer, units bigint, revenue_pence bigint)";

async fn run(library: &str) {
    let Some(server) = postgres::TestPostgres::start() else { return };
    let mut connection = sqlx::PgConnection::connect(&server.uri()).await.unwrap();
    sqlx::raw_sql("ALTER ROLE reveil SET timezone = 'UTC'").execute(&mut connection).await.unwrap();
    sqlx::raw_sql(TABLE).execute(&mut connection).await.unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors/synth/data/online_retail_orders.csv.gz");
    let mut csv = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap()), &mut csv)
        .unwrap();
    let mut copy = connection.copy_in_raw("COPY orders FROM STDIN (FORMAT csv, HEADER)").await.unwrap();
    copy.send(csv).await.unwrap();
    copy.finish().await.unwrap();

    for dialect in [None, Some(Dialect::Ansi)] {
        let mut warehouse = config(library, &server.uri());
        warehouse.dialect = dialect;
        let source = AdbcSource::new(&warehouse).unwrap();
        source.check().await.unwrap();
        assert_eq!(source.columns("orders").await.unwrap()[1].name, "customer_id");
        golden(&source, &warehouse).await;
    }
    failures(library, &server.uri()).await;
    cancel(library, &server.uri(), &mut connection).await;
}

fn config(library: &str, uri: &str) -> WarehouseConfig {
    let mut warehouse: WarehouseConfig = toml::from_str(
        "[events]\ntable = 'orders'\ncustomer_id = 'customer_id'\nat = 'ts'\nkind = 'kind'\nvalue = 'revenue_pence'
        value_unit = 'minor'",
    )
    .unwrap();
    warehouse.driver = library.into();
    warehouse.uri = Some(uri.to_owned().into());
    warehouse
}

/// The same figures as over the built-in readers, in the driver's dialect and in the generic one.
async fn golden(source: &AdbcSource, warehouse: &WarehouseConfig) {
    let at: DateTime<Utc> = parse_time("2011-09-01").unwrap();
    let theta = "[0.725195, 9.758846, 0.230967, 3.715015]";
    for (json, inactive) in [
        (r#"{"purchase_recency": {"days": 180}}"#.to_owned(), 2477),
        (r#"{"personal_cadence": {"k": 2, "fallback_days": 180}}"#.into(), 2721),
        (r#"{"rfm_matrix": {"preset": "high_value"}}"#.into(), 212),
        (format!(r#"{{"p_alive": {{"theta": {theta}, "p": 0.5}}}}"#), 262),
        (
            r#"{"all": [{"purchase_recency": {"days": 180}}, {"not": {"purchase_recency": {"days": 365}}}]}"#.into(),
            2477 - 914,
        ),
    ] {
        let definition: Inactive = serde_json::from_str(&json).unwrap();
        let count = segment::count(source, warehouse, &definition, at).await.unwrap();
        assert_eq!((count.inactive, count.customers), (inactive, 5249), "{json} {:?}", source.dialect());
    }
    let definition: Inactive = serde_json::from_str(r#"{"purchase_recency": {"days": 180}}"#).unwrap();
    let back = segment::returns(source, warehouse, &definition, at, &[30, 60]).await.unwrap();
    assert_eq!(
        (back.windows[1].returned, back.windows[1].orders, back.windows[1].revenue_minor),
        (352, 435, 18_732_543)
    );
    assert!((back.aov_customer_median_minor.unwrap() - 24_654.0).abs() < 0.01);
    let person = segment::explain(source, warehouse, &definition, at, "12346").await.unwrap().unwrap();
    assert_eq!(person.state, "inactive");
}

async fn failures(library: &str, uri: &str) {
    let source = AdbcSource::new(&config(library, uri)).unwrap();
    let error = source.query("SELECT nothing FROM orders").await.unwrap().next().await.unwrap().unwrap_err();
    assert!(error.kind() == ErrorKind::Query && error.to_string().contains("nothing"), "{error}");

    let secret = "postgresql://reveil:hunter22@127.0.0.1:1/postgres";
    let error = AdbcSource::new(&config(library, secret)).unwrap().check().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unreachable, "{error:?}");
    assert!(!error.to_string().contains("hunter22"), "{error}");

    let error = AdbcSource::new(&config("/nowhere/libadbc.so", uri)).unwrap().check().await.unwrap_err();
    assert!(error.to_string().contains("cannot be loaded"), "{error}");
}

/// Dropping the stream kills the child in the middle of a result.
async fn cancel(library: &str, uri: &str, connection: &mut sqlx::PgConnection) {
    let source = AdbcSource::new(&config(library, uri)).unwrap();
    let mut stream = source.query("SELECT a.* FROM orders a CROSS JOIN orders b").await.unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    let begun = Instant::now();
    loop {
        let running: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%CROSS JOIN orders b%' \
             AND pid <> pg_backend_pid()",
        )
        .fetch_one(&mut *connection)
        .await
        .unwrap();
        if running == 0 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "the query goes on after its stream was dropped");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
