use chrono::TimeDelta;
use reveil_sdk::{MatchKind, MatchObservation};

use super::{Bench, at, sync};
use crate::store::model::{DestinationRun, Run, RunKind, RunState, StoredObservation};
use crate::store::observations::ObservationFilter;
use crate::store::runs::RunFilter;
use crate::store::{Store, StoreError};

async fn add(store: &Store, id: &str, audience: &str, minutes: i64) {
    store.save_run(&Run::started(id.to_owned(), audience, at(0), "ana", at(minutes))).await.unwrap();
}

pub(super) async fn pages_stay_where_they_are_while_runs_come(bench: &Bench) {
    let store = bench.store().await;
    for number in 0..7 {
        // Pairs within the same microsecond.
        add(&store, &format!("r{number}"), "a", number / 2).await;
    }
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.runs_page(&RunFilter::default(), cursor.as_deref(), 2).await.unwrap();
        seen.extend(page.items.into_iter().map(|run| run.id));
        add(&store, &format!("new{}", seen.len()), "a", 60).await;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["r6", "r5", "r4", "r3", "r2", "r1", "r0"]);
    for bad in ["", "zz", "00", "7c", "30"] {
        let page = store.runs_page(&RunFilter::default(), Some(bad), 2).await;
        assert!(matches!(page, Err(StoreError::Cursor(_))) || bad == "7c", "{bad}: {page:?}");
    }
}

pub(super) async fn runs_are_filtered(bench: &Bench) {
    let store = bench.store().await;
    add(&store, "r1", "a", 1).await;
    add(&store, "r2", "b", 2).await;
    store.enqueue(&sync("b", "r3"), at(3)).await.unwrap();
    let full = Run { kind: RunKind::Full, ..Run::started("r4".to_owned(), "b", at(0), "ana", at(4)) };
    store.save_run(&full).await.unwrap();
    let ids = async |filter: RunFilter| {
        let page = store.runs_page(&filter, None, 10).await.unwrap();
        page.items.into_iter().map(|run| run.id).collect::<Vec<_>>()
    };
    let audience = Some("b".to_owned());
    assert_eq!(ids(RunFilter { audience: audience.clone(), ..RunFilter::default() }).await, ["r4", "r3", "r2"]);
    assert_eq!(ids(RunFilter { state: Some(RunState::Queued), ..RunFilter::default() }).await, ["r3"]);
    assert_eq!(ids(RunFilter { kind: Some(RunKind::Full), ..RunFilter::default() }).await, ["r4"]);
    let both = RunFilter { audience, state: Some(RunState::Running), kind: Some(RunKind::Sync) };
    assert_eq!(ids(both).await, ["r2"]);
    assert_eq!(store.run("r4").await.unwrap(), Some(full));
}

pub(super) async fn pending_runs_are_done_when_all_verdicts_are_there(bench: &Bench) {
    let store = bench.store().await;
    let parts =
        [("r1", "a", ["pending", "pending"]), ("r2", "a", ["done", "pending"]), ("r3", "b", ["pending", "done"])];
    for (id, audience, states) in parts {
        let run = Run { state: RunState::Pending, ..Run::started(id.to_owned(), audience, at(0), "ana", at(1)) };
        store.save_run(&run).await.unwrap();
        for (destination, state) in ["meta", "google"].into_iter().zip(states) {
            let part = DestinationRun {
                run_id: id.to_owned(),
                destination: destination.to_owned(),
                connector: destination.to_owned(),
                state: RunState::from_name(state).unwrap(),
                counts: serde_json::json!({}),
                upload: serde_json::json!({}),
                error: None,
            };
            store.save_destination_run(&part).await.unwrap();
        }
    }
    let states = async || {
        let mut states = Vec::new();
        for (id, ..) in parts {
            states.push(store.run(id).await.unwrap().unwrap().state.name());
        }
        states
    };
    assert_eq!(store.delivered_at("a").await.unwrap(), [].into(), "none of them has ended");
    store.settle_verdicts("a", "google").await.unwrap();
    assert_eq!(states().await, ["pending", "done", "pending"]);
    store.settle_verdicts("a", "meta").await.unwrap();
    assert_eq!(states().await, ["done", "done", "pending"]);
    for (id, second) in [("r1", 7), ("r2", 5)] {
        let run = store.run(id).await.unwrap().unwrap();
        store.save_run(&Run { finished_at: Some(at(second)), ..run }).await.unwrap();
    }
    let delivered = ["google", "meta"].map(|name| (name.to_owned(), at(7)));
    assert_eq!(store.delivered_at("a").await.unwrap(), delivered.into());
}

fn reading(number: i64, destination: &str, kind: MatchKind, primary: bool) -> StoredObservation {
    StoredObservation {
        audience: "a".to_owned(),
        destination: destination.to_owned(),
        connector: "meta".to_owned(),
        run_id: None,
        rules_version: 3,
        primary,
        reading: MatchObservation {
            as_of: at(number),
            sent: 1_000,
            kind,
            low: Some(0.5),
            high: Some(0.625),
            matched: None,
            definition: "matched ÷ sent".to_owned(),
        },
    }
}

pub(super) async fn readings_are_filtered_and_paged(bench: &Bench) {
    let store = bench.store().await;
    let all = [
        reading(1, "meta", MatchKind::Bounds, true),
        reading(1, "meta", MatchKind::Count, false),
        reading(2, "google", MatchKind::Bounds, true),
        reading(3, "meta", MatchKind::Pending, true),
    ];
    for observation in &all {
        store.add_observation(observation).await.unwrap();
    }
    assert_eq!(store.observations(Some("a")).await.unwrap(), all);
    assert_eq!(store.observations(Some("b")).await.unwrap(), []);
    let first = store.observations_page(&ObservationFilter::default(), None, 3).await.unwrap();
    let rest = store.observations_page(&ObservationFilter::default(), first.next.as_deref(), 3).await.unwrap();
    let listed: Vec<_> = first.items.into_iter().chain(rest.items).rev().collect();
    assert_eq!((listed, rest.next), (all.to_vec(), None));

    let count = async |filter: ObservationFilter| store.observations_page(&filter, None, 9).await.unwrap().items.len();
    let none = ObservationFilter::default;
    assert_eq!(count(ObservationFilter { destination: Some("google".to_owned()), ..none() }).await, 1);
    assert_eq!(count(ObservationFilter { kind: Some(MatchKind::Bounds), ..none() }).await, 2);
    assert_eq!(count(ObservationFilter { primary: Some(false), ..none() }).await, 1);
    assert_eq!(count(ObservationFilter { since: Some(at(2)), ..none() }).await, 2);
    assert_eq!(count(ObservationFilter { until: Some(at(2)), ..none() }).await, 2);
    assert_eq!(count(ObservationFilter { since: Some(at(2) + TimeDelta::seconds(1)), ..none() }).await, 1);
}
