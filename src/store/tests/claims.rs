use std::collections::BTreeMap;

use chrono::TimeDelta;
use reveil_sdk::{AudienceRef, MatchKind, MatchObservation};
use serde_json::json;

use super::{Bench, LEASE, at, claimed, poll, sync};
use crate::store::StoreError;
use crate::store::claims::{JobEnd, Limits, Taken};
use crate::store::jobs::{JobState, NewJob};
use crate::store::model::{DestinationRun, RunState, StoredObservation};
use crate::store::runs::Cancel;

pub(super) async fn a_run_goes_through_the_queue(bench: &Bench) {
    let store = bench.store().await;
    let queued = store.enqueue(&sync("dormant", "r1"), at(0)).await.unwrap();
    assert!(queued.fresh);
    let run = store.run("r1").await.unwrap().unwrap();
    assert_eq!((run.state, run.started_at, run.attempt), (RunState::Queued, None, 0));
    assert_eq!((&*run.requested_by, run.requested_at, &run.options), ("airflow", at(0), &json!({"allow": ["shrink"]})));

    let claim = claimed(&store, "w1", 1).await.unwrap();
    assert_eq!((claim.job.run_id.as_deref(), claim.job.attempts, claim.job.fence), (Some("r1"), 1, 1));
    assert_eq!((claim.job.lease_owner.as_deref(), claim.job.lease_until), (Some("w1"), Some(at(1) + LEASE)));
    let mut run = store.run("r1").await.unwrap().unwrap();
    assert_eq!((run.state, run.started_at, run.attempt), (RunState::Running, Some(at(1)), 1));

    let fenced = store.fenced(claim.fence());
    assert_eq!(fenced.add_run_event("r1", at(1), "stage", &json!({ "stage": "reading" })).await.unwrap(), 1);
    assert_eq!(fenced.add_run_event("r1", at(2), "end", &json!({})).await.unwrap(), 2);
    run.state = RunState::Done;
    run.outcome = Some(json!({ "added": 3 }));
    fenced.save_run(&run).await.unwrap();
    assert!(store.finish(&claim, &JobEnd::Done(json!({ "ok": true })), at(2)).await.unwrap());

    assert_eq!(store.run("r1").await.unwrap().unwrap(), run);
    let job = store.job_of_run("r1").await.unwrap().unwrap();
    assert_eq!((job.state, job.result, job.lease_owner), (JobState::Done, Some(json!({ "ok": true })), None));
    let events = store.run_events("r1", 1).await.unwrap();
    assert_eq!(events.iter().map(|event| (event.seq, &*event.kind, event.at)).collect::<Vec<_>>(), [(2, "end", at(2))]);
    assert!(claimed(&store, "w1", 3).await.is_none());
}

pub(super) async fn the_same_work_is_queued_once(bench: &Bench) {
    let store = bench.store().await;
    let keyed = |run: &str| NewJob { dedup_key: Some("sync:dormant".to_owned()), ..sync("dormant", run) };
    let first = store.enqueue(&keyed("r1"), at(0)).await.unwrap();
    let second = store.enqueue(&keyed("r2"), at(0)).await.unwrap();
    assert_eq!((second.fresh, &second.job.id), (false, &first.job.id));
    assert_eq!(second.job.run_id.as_deref(), Some("r1"));
    assert_eq!(store.run("r2").await.unwrap(), None, "a run without a job would wait for ever");
    // Also while it runs; once it has ended there is room again.
    let claim = claimed(&store, "w", 1).await.unwrap();
    assert!(!store.enqueue(&keyed("r2"), at(1)).await.unwrap().fresh);
    assert!(store.finish(&claim, &JobEnd::Failed("no".to_owned()), at(2)).await.unwrap());
    assert!(store.enqueue(&keyed("r2"), at(2)).await.unwrap().fresh);
    // Jobs without a key are never the same.
    let plain = NewJob::new("prune", at(0));
    assert!(store.enqueue(&plain, at(0)).await.unwrap().fresh && store.enqueue(&plain, at(0)).await.unwrap().fresh);
}

pub(super) async fn taken_at_once_or_not_at_all(bench: &Bench) {
    let store = bench.store().await;
    let take = async |job: &NewJob, minutes| {
        store.take_now(job, "shell", LEASE, at(minutes), &Limits::default()).await.unwrap()
    };
    let Taken::Claim(first) = take(&sync("dormant", "r1"), 1).await else { panic!("nobody has it") };
    assert_eq!((first.job.lease_owner.as_deref(), first.job.lease_until), (Some("shell"), Some(at(1) + LEASE)));
    let Taken::Refused(Some(holder)) = take(&sync("dormant", "r2"), 2).await else { panic!("somebody has it") };
    assert_eq!(*holder, first.job);
    assert_eq!(store.run("r2").await.unwrap(), None);
    assert_eq!(store.open_jobs().await.unwrap().len(), 1, "what is refused was never there");
    let Taken::Claim(other) = take(&sync("asleep", "r3"), 2).await else { panic!("another audience") };
    // Also one whose lease has run out is in the way until somebody ends it.
    assert!(matches!(take(&sync("dormant", "r4"), 20).await, Taken::Refused(Some(_))));
    assert!(store.finish(&first, &JobEnd::Cancelled, at(21)).await.unwrap());
    assert!(matches!(take(&sync("dormant", "r4"), 21).await, Taken::Claim(_)));
    let full = Limits { max_runs: 1, ..Limits::default() };
    let refused = store.take_now(&sync("third", "r5"), "shell", LEASE, at(2), &full).await.unwrap();
    assert_eq!(refused, Taken::Refused(None), "no room, though the audience is free");
    drop(other);
}

pub(super) async fn one_job_per_audience_and_pair(bench: &Bench) {
    /// Audience and destination of a job, and of another; whether the other may start while the first runs.
    type Pair = (Option<&'static str>, Option<&'static str>);
    const TABLE: [(Pair, Pair, bool); 9] = [
        ((Some("a"), None), (Some("a"), None), false),
        ((Some("a"), None), (Some("b"), None), true),
        ((Some("a"), None), (Some("a"), Some("meta")), false),
        ((Some("a"), Some("meta")), (Some("a"), None), false),
        ((Some("a"), Some("meta")), (Some("a"), Some("meta")), false),
        ((Some("a"), Some("meta")), (Some("a"), Some("google")), true),
        ((Some("a"), Some("meta")), (None, Some("meta")), true),
        ((None, Some("meta")), (None, Some("meta")), false),
        ((None, None), (None, None), true),
    ];
    let store = bench.store().await;
    for (one, other, allowed) in TABLE {
        let job = |(audience, destination): Pair, minutes| NewJob {
            audience: audience.map(str::to_owned),
            destination: destination.map(str::to_owned),
            ..NewJob::new("work", at(minutes))
        };
        store.enqueue(&job(one, 0), at(0)).await.unwrap();
        store.enqueue(&job(other, 1), at(0)).await.unwrap();
        let first = claimed(&store, "w1", 2).await.unwrap();
        let second = claimed(&store, "w2", 2).await;
        let row = (one, other);
        assert_eq!(second.is_some(), allowed, "{row:?}");
        assert!(store.finish(&first, &JobEnd::Cancelled, at(2)).await.unwrap());
        let second = if allowed { second } else { claimed(&store, "w2", 2).await };
        assert!(store.finish(&second.unwrap(), &JobEnd::Cancelled, at(2)).await.unwrap(), "{row:?}");
    }
}

pub(super) async fn limits_hold_over_all_replicas(bench: &Bench) {
    let (one, two) = (bench.store().await, bench.store().await);
    for (audience, run) in [("a", "r1"), ("b", "r2"), ("c", "r3")] {
        let uses = vec!["meta".to_owned()];
        one.enqueue(&NewJob { uses, ..sync(audience, run) }, at(0)).await.unwrap();
    }
    // Comes last, and is not about a run.
    one.enqueue(&NewJob { run_at: at(1), ..poll(Some("d"), "meta") }, at(0)).await.unwrap();
    let limits = |max_runs, meta| Limits {
        max_runs,
        per_destination: 9,
        destinations: BTreeMap::from([("meta".to_owned(), meta)]),
    };
    let first = one.claim("w1", LEASE, at(2), &limits(1, 2)).await.unwrap().unwrap();
    let second = two.claim("w2", LEASE, at(2), &limits(1, 2)).await.unwrap().unwrap();
    assert_eq!((&*first.job.kind, &*second.job.kind), ("sync", "status"), "one run at a time, other work goes on");
    assert_eq!(two.claim("w3", LEASE, at(2), &limits(9, 2)).await.unwrap(), None, "meta's budget is used up");
    assert!(two.finish(&second, &JobEnd::Cancelled, at(2)).await.unwrap());
    assert_eq!(two.claim("w3", LEASE, at(2), &limits(1, 2)).await.unwrap(), None, "a run still runs");
    assert!(two.claim("w3", LEASE, at(2), &limits(2, 2)).await.unwrap().is_some());
    // What has run out counts itself neither as a run nor in a budget.
    assert!(two.claim("w4", LEASE, at(9), &limits(2, 2)).await.unwrap().is_some());
}

pub(super) async fn turns_go_by_priority_then_time(bench: &Bench) {
    let store = bench.store().await;
    // More than a claimer looks at in one go, all blocked by their audience or destination.
    for number in 0..60 {
        store.enqueue(&poll(Some(&format!("full{number}")), "full"), at(0)).await.unwrap();
    }
    let late = NewJob { run_at: at(3), ..poll(Some("a"), "late") };
    let early = NewJob { run_at: at(2), ..poll(Some("a"), "early") };
    let urgent = NewJob { run_at: at(4), priority: 5, ..poll(Some("a"), "urgent") };
    let later = NewJob { run_at: at(60), priority: 9, ..poll(Some("a"), "later") };
    for job in [&late, &early, &urgent, &later] {
        store.enqueue(job, at(0)).await.unwrap();
    }
    let full = Limits { destinations: BTreeMap::from([("full".to_owned(), 0)]), ..Limits::default() };
    let mut order = Vec::new();
    while let Some(claim) = store.claim("w", LEASE, at(5), &full).await.unwrap() {
        order.push(claim.job.destination.unwrap());
    }
    assert_eq!(order, ["urgent", "early", "late"]);
    let depth = store.queue_depth(at(5)).await.unwrap();
    assert_eq!((depth.waiting, depth.due, depth.running, depth.expired), (61, 60, 3, 0));
    assert_eq!((depth.oldest_due_at, depth.next_due_at), (Some(at(0)), Some(at(60))));
}

pub(super) async fn a_dead_workers_job_goes_to_another(bench: &Bench) {
    let store = bench.store().await;
    store.enqueue(&sync("dormant", "r1"), at(0)).await.unwrap();
    let dead = claimed(&store, "dead", 0).await.unwrap();
    assert!(store.heartbeat(&dead, LEASE, at(4)).await.unwrap());
    assert!(claimed(&store, "heir", 8).await.is_none(), "the heartbeat carries it to minute 9");
    let heir = claimed(&store, "heir", 9).await.unwrap();
    assert_eq!((&heir.job.id, heir.job.fence, heir.job.attempts), (&dead.job.id, 2, 2));
    assert_eq!(store.run("r1").await.unwrap().unwrap().attempt, 2);
    // The clock is set back by a day: the lease of the dead looks endless, that of the living is renewed.
    let back = -24 * 60;
    assert!(store.heartbeat(&heir, LEASE, at(back)).await.unwrap());
    assert!(claimed(&store, "w", back + 1).await.is_none());
    assert!(store.heartbeat(&heir, LEASE, at(9)).await.unwrap());
    let heir = claimed(&store, "w", back).await.unwrap();
    assert!(store.heartbeat(&heir, LEASE, at(9)).await.unwrap());
    // Asked for by name it follows the same rules.
    let again = store.claim_job(&heir.job.id, "cli", LEASE, at(10), &Limits::default()).await.unwrap();
    assert_eq!(again, None);
    let again = store.claim_job(&heir.job.id, "cli", LEASE, at(14), &Limits::default()).await.unwrap();
    assert_eq!(again.unwrap().job.lease_owner.as_deref(), Some("cli"));
}

pub(super) async fn a_slow_worker_may_not_write_any_more(bench: &Bench) {
    let store = bench.store().await;
    store.enqueue(&sync("dormant", "r1"), at(0)).await.unwrap();
    let slow = claimed(&store, "slow", 0).await.unwrap();
    let fenced = store.fenced(slow.fence());
    let mut run = store.run("r1").await.unwrap().unwrap();
    // Late, but nobody has noticed: it is still the only one.
    assert!(store.heartbeat(&slow, TimeDelta::zero(), at(6)).await.unwrap());
    fenced.save_run(&run).await.unwrap();

    let heir = claimed(&store, "heir", 7).await.unwrap();
    run.state = RunState::Done;
    let part = DestinationRun {
        run_id: "r1".to_owned(),
        destination: "meta".to_owned(),
        connector: "meta".to_owned(),
        state: RunState::Done,
        counts: json!({}),
        upload: json!({}),
        error: None,
    };
    let lost =
        |result: Result<(), StoreError>| assert!(matches!(result, Err(StoreError::LeaseLost { .. })), "{result:?}");
    lost(fenced.save_run(&run).await);
    lost(fenced.save_destination_run(&part).await);
    lost(fenced.add_run_event("r1", at(7), "end", &json!({})).await.map(drop));
    lost(fenced.add_observation(&reading()).await);
    let reference = AudienceRef { id: "1".to_owned(), created: true };
    lost(fenced.remember_audience("dormant", "meta", &reference, at(7)).await);
    lost(fenced.forget_audience("dormant", "meta").await);
    assert!(!store.heartbeat(&slow, LEASE, at(7)).await.unwrap());
    assert!(!store.finish(&slow, &JobEnd::Done(json!({})), at(7)).await.unwrap());
    assert!(!store.release(&slow, at(7), None).await.unwrap());
    // What it did has happened all the same.
    fenced.audit(at(7), "slow", "upload", "dormant", &json!({ "added": 5 })).await.unwrap();

    assert_eq!(store.run("r1").await.unwrap().unwrap().state, RunState::Running);
    assert_eq!(store.job(&heir.job.id).await.unwrap().unwrap().lease_owner.as_deref(), Some("heir"));
    store.fenced(heir.fence()).save_run(&run).await.unwrap();
    assert!(store.finish(&heir, &JobEnd::Done(json!({})), at(8)).await.unwrap());
    lost(store.fenced(heir.fence()).save_run(&run).await);
}

fn reading() -> StoredObservation {
    StoredObservation {
        audience: "dormant".to_owned(),
        destination: "meta".to_owned(),
        connector: "meta".to_owned(),
        run_id: Some("r1".to_owned()),
        rules_version: 1,
        primary: true,
        reading: MatchObservation {
            as_of: at(7),
            sent: 10,
            kind: MatchKind::Exact,
            low: None,
            high: None,
            matched: Some(5),
            definition: "d".to_owned(),
        },
    }
}

pub(super) async fn giving_back_keeps_the_run(bench: &Bench) {
    let store = bench.store().await;
    store.enqueue(&sync("dormant", "r1"), at(0)).await.unwrap();
    let claim = claimed(&store, "w", 0).await.unwrap();
    // A worker that shuts down has not failed.
    assert!(store.release(&claim, at(1), None).await.unwrap());
    assert_eq!(store.run("r1").await.unwrap().unwrap().state, RunState::Queued);
    let claim = claimed(&store, "w", 1).await.unwrap();
    assert_eq!((claim.job.attempts, claim.job.fence), (1, 2));
    assert!(store.release(&claim, at(9), Some("the warehouse is away")).await.unwrap());
    assert!(claimed(&store, "w", 8).await.is_none());
    let claim = claimed(&store, "w", 9).await.unwrap();
    assert_eq!((claim.job.attempts, claim.job.error.as_deref()), (2, Some("the warehouse is away")));
    assert_eq!(store.run("r1").await.unwrap().unwrap().started_at, Some(at(0)));
}

pub(super) async fn cancelling_depends_on_how_far_it_is(bench: &Bench) {
    let store = bench.store().await;
    store.enqueue(&sync("dormant", "waiting"), at(0)).await.unwrap();
    let Cancel::Done(run) = store.request_cancel("waiting", at(1)).await.unwrap() else { panic!("it waited") };
    assert_eq!((run.state, run.finished_at), (RunState::Cancelled, Some(at(1))));
    assert!(claimed(&store, "w", 2).await.is_none());

    store.enqueue(&sync("dormant", "running"), at(2)).await.unwrap();
    let claim = claimed(&store, "w", 2).await.unwrap();
    assert!(!store.cancel_requested("running").await.unwrap());
    assert!(matches!(store.request_cancel("running", at(3)).await.unwrap(), Cancel::Requested(_)));
    assert!(store.cancel_requested("running").await.unwrap());
    let mut run = store.run("running").await.unwrap().unwrap();
    run.state = RunState::Cancelled;
    store.fenced(claim.fence()).save_run(&run).await.unwrap();
    assert!(store.finish(&claim, &JobEnd::Cancelled, at(4)).await.unwrap());

    assert!(matches!(store.request_cancel("running", at(5)).await.unwrap(), Cancel::AlreadyOver(_)));
    assert!(matches!(store.request_cancel("nobody", at(5)).await, Err(StoreError::Unknown { .. })));
}
