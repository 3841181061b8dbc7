//! From one machine's `state.db` to a replica set's PostgreSQL.

use chrono::TimeDelta;
use serde_json::json;

use super::{Bench, LEASE, TestPostgres, at, migration, poll, sync};
use crate::store::claims::Limits;
use crate::store::copy::TABLES;
use crate::store::model::StoredObservation;
use crate::store::tokens::ApiToken;
use crate::store::{Store, StoreError, sql};

/// Something in every table, the old rows included.
async fn filled(bench: &Bench) -> Store {
    migration::script(bench.dir.path(), migration::OLD).await;
    let store = bench.store().await;
    store.enqueue(&sync("dormant", "r9"), at(0)).await.unwrap();
    store.enqueue(&poll(Some("vip"), "meta"), at(0)).await.unwrap();
    store.add_run_event("r9", at(0), "state", &json!({ "state": "queued" })).await.unwrap();
    store.plan_schedule("sync:dormant", None, Some(at(5))).await.unwrap();
    let token = ApiToken {
        id: "t1".to_owned(),
        name: "airflow".to_owned(),
        role: "viewer".to_owned(),
        audiences: Some(vec!["vip".to_owned()]),
        hash: "ab".repeat(32),
        created_at: at(0),
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    };
    store.add_token(&token).await.unwrap();
    store.put_secret("meta", &[0, 1, 255], "k1", &json!({}), at(0)).await.unwrap();
    store.suppress(&[vec![0, 255], vec![7]], "f1", at(0)).await.unwrap();
    store.raise_alert("failed:dormant", "firing", None, at(0)).await.unwrap();
    store.alert_told("failed:dormant", "firing", at(0)).await.unwrap();
    store.idempotent_begin("ana", "k", "h", at(0)).await.unwrap();
    for number in 0..3 {
        store.audit(at(number), "ana", "sync", "dormant", &json!({ "n": number })).await.unwrap();
    }
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_comes_along() {
    let Some(server) = TestPostgres::start() else { return };
    let bench = Bench::postgres(&server, "copy").await;
    let old = Bench { url: None, dir: tempfile::tempdir().unwrap() };
    let from = filled(&old).await;
    let to = bench.store().await;
    assert!(to.is_empty().await.unwrap());
    let copied = to.copy_from(old.dir.path()).await.unwrap();
    let rows = |table| copied.iter().find(|(name, _)| *name == table).unwrap().1;
    assert_eq!((rows("run"), rows("audit"), rows("observation"), rows("suppression")), (4, 5, 2, 2));

    assert_eq!(to.audit_verify().await.unwrap(), from.audit_verify().await.unwrap());
    assert_eq!(to.runs(None, 99).await.unwrap(), from.runs(None, 99).await.unwrap());
    assert_eq!(to.destination_runs("r1").await.unwrap(), from.destination_runs("r1").await.unwrap());
    assert_eq!(to.run_events("r9", 0).await.unwrap(), from.run_events("r9", 0).await.unwrap());
    let readings: Vec<StoredObservation> = to.observations(None).await.unwrap();
    assert_eq!(readings, from.observations(None).await.unwrap());
    assert_eq!(to.deliveries().await.unwrap(), from.deliveries().await.unwrap());
    assert_eq!(to.open_jobs().await.unwrap(), from.open_jobs().await.unwrap());
    assert_eq!(to.schedules().await.unwrap(), from.schedules().await.unwrap());
    assert_eq!(to.tokens().await.unwrap(), from.tokens().await.unwrap());
    assert!(to.secrets().await.unwrap() == from.secrets().await.unwrap());
    assert_eq!(to.suppressions().await.unwrap(), from.suppressions().await.unwrap());
    assert_eq!(to.alert_states().await.unwrap(), from.alert_states().await.unwrap());
    assert_eq!(to.known_audiences().await.unwrap(), from.known_audiences().await.unwrap());

    // Life goes on: numbers given by the server do not meet those that came along.
    to.add_observation(&readings[0]).await.unwrap();
    to.audit(at(9), "ana", "copy_state", "state", &json!({})).await.unwrap();
    assert_eq!(to.audit_verify().await.unwrap().first_bad, None);
    assert!(to.claim("w", LEASE, at(1) + TimeDelta::hours(1), &Limits::default()).await.unwrap().is_some());
    let again = to.copy_from(old.dir.path()).await;
    assert!(matches!(again, Err(StoreError::NotEmpty { .. })), "{again:?}");
    // The old one still works, should they go back.
    from.audit(at(9), "ana", "sync", "dormant", &json!({})).await.unwrap();
}

#[tokio::test]
async fn a_half_copy_is_none() {
    let Some(server) = TestPostgres::start() else { return };
    let bench = Bench::postgres(&server, "half").await;
    let old = Bench { url: None, dir: tempfile::tempdir().unwrap() };
    let from = filled(&old).await;
    from.tamper("UPDATE api_token SET name = 'a' || char(0)").await.unwrap();
    let to = bench.store().await;
    assert!(to.copy_from(old.dir.path()).await.is_err(), "PostgreSQL takes no zero in a text");
    assert!(to.is_empty().await.unwrap() && to.known_audiences().await.unwrap().is_empty());
}

#[tokio::test]
async fn no_table_is_forgotten() {
    let bench = Bench::sqlite();
    let store = bench.store().await;
    let query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
    let tables: Vec<(String,)> = store.fetch_all(sql(query)).await.unwrap();
    let mut known: Vec<&str> = TABLES.to_vec();
    known.push("schema_version");
    known.sort_unstable();
    assert_eq!(tables.iter().map(|(name,)| name.as_str()).collect::<Vec<_>>(), known);
}
