use super::{Bench, at, sync};
use crate::store::Store;
use crate::store::jobs::NewJob;

const KEY: &str = "sync:dormant";

pub(super) async fn racing_schedulers_fire_each_time_once(bench: &Bench) {
    let stores = [bench.store().await, bench.store().await, bench.store().await];
    assert!(stores[0].plan_schedule(KEY, None, Some(at(0))).await.unwrap());
    let mut schedulers = tokio::task::JoinSet::new();
    for (number, store) in stores.iter().cloned().enumerate() {
        schedulers.spawn(schedule(store, number));
    }
    let fired: usize = schedulers.join_all().await.into_iter().sum();
    assert_eq!(fired, 40);
    let runs = stores[0].runs(Some("dormant"), 100).await.unwrap();
    assert_eq!(runs.len(), 40, "each time has its run, and no time has two");
    let state = stores[0].schedule_state(KEY).await.unwrap().unwrap();
    assert_eq!((state.next_at, state.last_fired_at), (None, Some(at(39))));
}

/// Fires whatever is due until there is nothing more.
async fn schedule(store: Store, number: usize) -> usize {
    let mut fired = 0;
    while let Some(due) = store.schedule_state(KEY).await.unwrap().unwrap().next_at {
        let next = due + chrono::TimeDelta::minutes(1);
        let next = (next < at(40)).then_some(next);
        let job = sync("dormant", &format!("{}-{number}", due.timestamp()));
        fired += usize::from(store.fire_schedule(KEY, due, next, &job, due).await.unwrap().is_some());
    }
    fired
}

pub(super) async fn paused_means_not_fired(bench: &Bench) {
    let store = bench.store().await;
    assert!(store.set_paused(KEY, true).await.unwrap(), "known before it was planned");
    assert!(!store.set_paused(KEY, true).await.unwrap());
    assert!(store.plan_schedule(KEY, None, Some(at(0))).await.unwrap());
    let job = NewJob::new("sync", at(0));
    assert_eq!(store.fire_schedule(KEY, at(0), Some(at(5)), &job, at(0)).await.unwrap(), None);
    assert!(store.set_paused(KEY, false).await.unwrap());
    assert!(store.fire_schedule(KEY, at(0), Some(at(5)), &job, at(0)).await.unwrap().unwrap().fresh);
    assert_eq!(store.open_jobs().await.unwrap().len(), 1);
    assert!(store.drop_schedule(KEY).await.unwrap());
    assert_eq!(store.schedules().await.unwrap(), []);
}

pub(super) async fn plans_are_made_against_what_was_read(bench: &Bench) {
    let store = bench.store().await;
    assert!(store.plan_schedule(KEY, None, Some(at(1))).await.unwrap());
    assert!(!store.plan_schedule(KEY, None, Some(at(2))).await.unwrap(), "another has planned it");
    assert!(!store.plan_schedule(KEY, Some(at(0)), Some(at(2))).await.unwrap());
    assert!(store.plan_schedule(KEY, Some(at(1)), Some(at(2))).await.unwrap());
    assert_eq!(store.schedule_state(KEY).await.unwrap().unwrap().next_at, Some(at(2)));
}
