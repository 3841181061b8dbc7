//! Many workers on few clocks: what must hold whoever dies, sleeps or is late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::{Bench, LEASE, at, poll};
use crate::store::Store;
use crate::store::claims::{JobEnd, Limits};
use crate::store::jobs::{JobState, NewJob};

const JOBS: usize = 500;
const WORKERS: u64 = 8;

/// What the workers share besides the database.
#[derive(Default)]
struct Floor {
    minutes: AtomicI64,
    done: AtomicUsize,
    /// By whom each job was finished, under which fence.
    finished: Mutex<BTreeMap<String, Vec<i64>>>,
    refused: AtomicUsize,
}

pub(super) async fn every_job_is_done_once(bench: &Bench) {
    let store = bench.store().await;
    for number in 0..JOBS {
        let audience = format!("a{}", number % 40);
        let job = match number % 3 {
            0 => NewJob { audience: Some(audience), ..NewJob::new("sync", at(0)) },
            1 => poll(Some(&audience), "meta"),
            _ => poll(Some(&audience), "google"),
        };
        store.enqueue(&job, at(0)).await.unwrap();
    }
    let floor = Arc::new(Floor::default());
    let mut workers = tokio::task::JoinSet::new();
    for seed in 1..=WORKERS {
        workers.spawn(work(bench.store().await, Arc::clone(&floor), seed));
    }
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }

    let finished = std::mem::take(&mut *floor.finished.lock().unwrap());
    assert_eq!(finished.len(), JOBS);
    assert!(finished.values().all(|fences| fences.len() == 1), "a job was finished twice");
    for (id, fences) in &finished {
        let job = store.job(id).await.unwrap().unwrap();
        assert_eq!((job.state, job.fence), (JobState::Done, fences[0]));
    }
    assert!(floor.refused.load(Ordering::Relaxed) > 0, "no worker was late, so nothing was tried");
}

/// Works until all is done; now and then it dies over a job, or wakes up after its lease.
async fn work(store: Store, floor: Arc<Floor>, seed: u64) {
    let mut chance = seed;
    let mut late = Vec::new();
    while floor.done.load(Ordering::SeqCst) < JOBS {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let now = at(floor.minutes.load(Ordering::SeqCst));
        let Some(claim) = store.claim(&format!("w{seed}"), LEASE, now, &Limits::default()).await.unwrap() else {
            // Everything that is left belongs to the dead.
            floor.minutes.fetch_add(1, Ordering::SeqCst);
            continue;
        };
        if (chance >> 40).is_multiple_of(8) {
            look(&store).await;
        }
        match (chance >> 33) % 10 {
            0 => {}
            1 | 2 => late.push(claim),
            _ => finish(&store, &floor, &claim).await,
        }
        if late.len() > 3 {
            floor.minutes.fetch_add(LEASE.num_minutes(), Ordering::SeqCst);
            for claim in late.drain(..) {
                finish(&store, &floor, &claim).await;
            }
        }
    }
}

async fn finish(store: &Store, floor: &Floor, claim: &crate::store::claims::Claim) {
    let now = at(floor.minutes.load(Ordering::SeqCst));
    if store.finish(claim, &JobEnd::Done(json!({})), now).await.unwrap() {
        floor.finished.lock().unwrap().entry(claim.job.id.clone()).or_default().push(claim.job.fence);
        floor.done.fetch_add(1, Ordering::SeqCst);
    } else {
        floor.refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whatever moment one looks at, no audience is worked on twice.
async fn look(store: &Store) {
    let mut whole = BTreeSet::new();
    let mut pairs = BTreeSet::new();
    for job in store.open_jobs().await.unwrap().into_iter().filter(|job| job.state == JobState::Running) {
        let audience = job.audience.unwrap();
        match job.destination {
            None => assert!(whole.insert(audience), "an audience has two runs"),
            Some(destination) => assert!(pairs.insert((audience, destination)), "a pair has two jobs"),
        }
    }
    assert!(pairs.iter().all(|(audience, _)| !whole.contains(audience)), "a run and a job in one audience");
}
