//! A `state.db` from before there was a service.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::ConnectOptions;

use super::at;
use crate::store::audit::AuditFilter;
use crate::store::database::sqlite_options;
use crate::store::model::{RunKind, RunState};
use crate::store::{Store, StoreError};

/// Tables and rows as that version wrote them.
pub(super) const OLD: &str = include_str!("old_state.sql");

pub(super) async fn script(dir: &Path, sql: &'static str) {
    let mut connection = sqlite_options(&dir.join("state.db")).connect().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
}

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    script(dir.path(), OLD).await;
    // Two processes at once: one migrates, the other waits for it.
    let (store, other) = tokio::join!(Store::open(dir.path()), Store::open(dir.path()));
    let (store, other) = (store.unwrap(), other.unwrap());

    let runs = store.runs(None, 10).await.unwrap();
    assert_eq!(runs, other.runs(None, 10).await.unwrap());
    let ids: Vec<_> = runs.iter().map(|run| (&*run.id, run.state, run.kind)).collect();
    assert_eq!(
        ids,
        [
            ("r3", RunState::Running, RunKind::Sync),
            ("r2", RunState::Partial, RunKind::Sync),
            ("r1", RunState::Done, RunKind::Sync)
        ]
    );
    assert_eq!(runs[2].started_at, Some(instant("2026-03-01T05:00:00Z")));
    assert_eq!(runs[2].finished_at, Some(instant("2026-03-01T05:01:02.345678Z")), "to the microsecond");
    assert_eq!(runs[2].segment, Some(json!({ "rows": 5 })));
    assert_eq!((runs[1].error.as_deref(), runs[1].requested_at), (Some("meta: no"), instant("2026-03-01T05:00:00.5Z")));
    let parts = store.destination_runs("r1").await.unwrap();
    assert_eq!((parts.len(), &parts[0].counts), (2, &json!({ "sent": 5 })));

    let readings = store.observations(Some("dormant")).await.unwrap();
    assert_eq!(readings.len(), 2);
    assert!(readings[0].primary && !readings[1].primary);
    assert_eq!((readings[0].reading.low, readings[1].reading.matched), (Some(0.25), Some(3)));
    assert_eq!(store.audience("dormant", "meta").await.unwrap().unwrap().id, "23850000001");
    assert_eq!(store.deliveries().await.unwrap()[0].spend, Some(12.5));

    // What was written then is chained as it stands, and the log goes on from there.
    store.audit(at(0), "ana", "pause", "dormant", &json!({})).await.unwrap();
    let check = store.audit_verify().await.unwrap();
    assert_eq!((check.entries, check.first_bad), (3, None));
    let page = store.audit_page(&AuditFilter::default(), None, 9).await.unwrap();
    assert_eq!(page.items.iter().map(|entry| &*entry.actor).collect::<Vec<_>>(), ["ana", "bo", "bo"]);
    assert_eq!(page.items[2].detail, json!({ "run": "r1", "override": "shrink" }));
    assert!(store.tamper("DELETE FROM audit").await.is_err());
    // New things refer to old ones.
    assert_eq!(store.add_run_event("r3", at(0), "end", &json!({})).await.unwrap(), 1);
    assert!(store.tamper("DELETE FROM run").await.is_err(), "what refers to runs still does");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_who_open_a_new_state_at_once_all_get_it() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let open = || tokio::spawn(Store::open(dir.path().to_owned().leak()));
        for opened in [open(), open(), open(), open(), open(), open()] {
            opened.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn a_second_opening_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    script(dir.path(), OLD).await;
    let first = Store::open(dir.path()).await.unwrap().audit_verify().await.unwrap();
    assert_eq!(Store::open(dir.path()).await.unwrap().audit_verify().await.unwrap(), first);
}

#[tokio::test]
async fn a_newer_state_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).await.unwrap());
    script(dir.path(), "UPDATE schema_version SET version = 900").await;
    let error = Store::open(dir.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 900, .. }), "{error}");
    assert!(!error.is_transient());
}
