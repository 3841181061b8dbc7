//! A database that goes away, fills up, or has another idea of the time.

use chrono::TimeDelta;
use serde_json::json;

use super::{Bench, LEASE, TestPostgres, at, sync};
use crate::config::StateConfig;
use crate::store::claims::{JobEnd, Limits};
use crate::store::jobs::NewJob;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_server_is_waited_for() {
    let Some(mut server) = TestPostgres::start() else { return };
    let impatient = StateConfig { connect_timeout_secs: 1, ..StateConfig::default() };
    let store = Bench::postgres(&server, "outage").await.configured(impatient).await.on_caller_clock();
    store.enqueue(&sync("dormant", "r1"), at(0)).await.unwrap();
    let claim = store.claim("w", LEASE, at(0), &Limits::default()).await.unwrap().unwrap();
    server.stop();
    let error = store.heartbeat(&claim, LEASE, at(1)).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(store.ping().await.unwrap_err().is_transient());
    server.start_again();
    // The claim outlives the server.
    assert!(store.heartbeat(&claim, LEASE, at(2)).await.unwrap());
    assert!(store.finish(&claim, &JobEnd::Done(json!({})), at(3)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fast_clock_takes_nothing_from_the_living() {
    let Some(server) = TestPostgres::start() else { return };
    let store = Bench::postgres(&server, "clocks").await.on_its_own_clock().await;
    let now = chrono::Utc::now();
    store.enqueue(&sync("dormant", "r1"), now).await.unwrap();
    let claim = store.claim("w", LEASE, now, &Limits::default()).await.unwrap().unwrap();
    let fast = now + TimeDelta::days(1);
    // What it asks for at once is due at once all the same.
    store.enqueue(&NewJob::new("prune", fast), fast).await.unwrap();
    assert!(store.claim("fast", LEASE, fast, &Limits::default()).await.unwrap().is_some());
    assert_eq!(store.claim("fast", LEASE, fast, &Limits::default()).await.unwrap(), None);
    // A slow one's heartbeat does not shorten the lease.
    assert!(store.heartbeat(&claim, LEASE, now - TimeDelta::days(1)).await.unwrap());
    let until = store.job(&claim.job.id).await.unwrap().unwrap().lease_until.unwrap();
    assert!(until > now + LEASE - TimeDelta::minutes(1), "{until}");
}

#[tokio::test]
async fn a_full_disk_is_waited_for() {
    let bench = Bench::sqlite();
    let store = bench.store().await;
    let mut tx = store.begin().await.unwrap();
    let pages: (i64,) = tx.fetch_one(super::super::sql("SELECT page_count FROM pragma_page_count()")).await.unwrap();
    tx.script(format!("PRAGMA max_page_count = {}", pages.0)).await.unwrap();
    let big = "INSERT INTO schedule (key) VALUES (hex(zeroblob(1000000)))".to_owned();
    let error = tx.script(big).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    drop(tx);
    store.set_paused("sync:dormant", true).await.unwrap();
}

#[tokio::test]
async fn an_address_that_is_none_is_not_repeated() {
    let config =
        StateConfig { url: Some("postgres://ana:s3cret@host:notaport/d".to_owned().into()), ..StateConfig::default() };
    let error = crate::store::Store::connect(&config, std::path::Path::new("/nowhere")).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
}
