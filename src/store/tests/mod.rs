//! Every body runs on both databases.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::Store;
use super::claims::{JobEnd, Limits};
use super::jobs::{NewJob, NewRun};
use super::model::{RunKind, RunState};

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_770_000_000, 0).expect("in range") + TimeDelta::minutes(minutes)
}

#[tokio::test]
async fn a_run_goes_through_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await.unwrap();
    let mut job = NewJob::new("sync", at(0));
    job.audience = Some("dormant".to_owned());
    job.run = Some(NewRun {
        id: "r1".to_owned(),
        kind: RunKind::Sync,
        audience: "dormant".to_owned(),
        as_of: at(0),
        requested_by: "airflow".to_owned(),
        options: json!({ "full": true }),
    });
    let queued = store.enqueue(&job, at(0)).await.unwrap();
    assert!(queued.fresh);
    assert_eq!(store.run("r1").await.unwrap().unwrap().state, RunState::Queued);
    let claim = store.claim("w", TimeDelta::minutes(1), at(1), &Limits::default()).await.unwrap().unwrap();
    assert_eq!(claim.job.run_id.as_deref(), Some("r1"));
    let fenced = store.fenced(claim.fence());
    let mut run = store.run("r1").await.unwrap().unwrap();
    assert_eq!((run.state, run.started_at, run.attempt), (RunState::Running, Some(at(1)), 1));
    assert_eq!(fenced.add_run_event("r1", at(1), "stage", &json!({})).await.unwrap(), 1);
    run.state = RunState::Done;
    fenced.save_run(&run).await.unwrap();
    assert!(store.finish(&claim, &JobEnd::Done(json!({})), at(2)).await.unwrap());
    fenced.save_run(&run).await.unwrap_err();
}
