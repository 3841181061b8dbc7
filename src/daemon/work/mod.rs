//! The workers: take jobs out of the queue, carry them out under a lease, give them back or end them.
//!
//! - [`control`]: why a job has to stop, asked before every batch.
//! - [`lease`]: keeps a job by heartbeats, and notices when it is lost.
//! - [`carry`]: one run, from its claim to its end; the command line uses it too.
//! - [`events`]: what a run tells while it goes, kept for whoever watches.
//! - [`hold`]: an audience held by a command line, for as long as it works.
//! - [`chores`]: the other kinds of jobs.
//! - [`verdicts`]: when a platform is asked what it has decided.

pub(crate) mod at_once;
pub(crate) mod carry;
pub(crate) mod chores;
pub(crate) mod control;
pub(crate) mod events;
pub(crate) mod hold;
pub(crate) mod lease;
pub(crate) mod owner;
pub(crate) mod verdicts;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Daemon, memory};
use crate::config::Config;
use crate::store::claims::{Claim, JobEnd, Limits};
use crate::sync::{Engine, Stop};
use control::Control;

/// Small jobs (status polls, checks) that one process works on beside its runs.
const CHORES: usize = 2;
/// Tries to write a job's end before its lease is left to run out.
const END_TRIES: u32 = 4;

/// How a job ended.
#[derive(Debug)]
pub(crate) enum End {
    Done(serde_json::Value),
    Failed(String),
    Cancelled,
    /// To be tried again after a while, as a failed attempt.
    Again(String),
    /// Not over, through no fault: to be taken up again then.
    Later(TimeDelta),
    /// Put down because the process ends.
    PutDown,
    /// Somebody else's by now.
    Lost,
}

/// A job this process works on.
#[derive(Debug)]
pub(super) struct Held {
    claim: Claim,
    control: Control,
}

/// Tells a clock that is put forward from time that passes.
#[derive(Debug)]
struct Steps {
    wall: DateTime<Utc>,
    steady: Instant,
}

impl Steps {
    fn new(wall: DateTime<Utc>) -> Self {
        Self { wall, steady: Instant::now() }
    }

    /// Whether the clock went further than time since the last question.
    fn has_jumped(&mut self, wall: DateTime<Utc>) -> bool {
        let passed = TimeDelta::from_std(self.steady.elapsed()).unwrap_or(TimeDelta::MAX);
        let jumped = wall - self.wall > passed + TimeDelta::seconds(1);
        *self = Self::new(wall);
        jumped
    }
}

/// What may run at the same time, by the configuration.
pub(crate) fn limits(config: &Config) -> Limits {
    let own = |(name, destination): (&String, &crate::config::DestinationConfig)| {
        Some((name.clone(), destination.max_concurrent_runs?))
    };
    Limits {
        max_runs: config.scheduler.max_concurrent_runs,
        destinations: config.destination.iter().filter_map(own).collect(),
        ..Limits::default()
    }
}

/// The pause before a job is tried again: doubled each time, up to an hour.
pub(crate) fn backoff(first: Duration, attempts: u32) -> TimeDelta {
    let factor = 1_u32 << attempts.saturating_sub(1).min(16);
    let pause = first.saturating_mul(factor).min(Duration::from_secs(3600));
    TimeDelta::from_std(pause).unwrap_or(TimeDelta::hours(1))
}

impl Daemon {
    /// Works for as long as the process lives; ends when everything that was under way has been put down.
    pub async fn run_workers(self: &Arc<Self>, stop: CancellationToken) {
        let mut under_way = JoinSet::new();
        let mut last_error = None;
        let mut clock = Steps::new(self.clock().now());
        let mut woken = self.wakes();
        while !stop.is_cancelled() {
            woken.mark_unchanged();
            let loaded = self.loaded();
            let scheduler = &loaded.config.scheduler;
            let most = scheduler.max_concurrent_runs as usize + CHORES;
            if clock.has_jumped(self.clock().now()) {
                self.vouch_for_all(TimeDelta::seconds(i64::try_from(scheduler.lease_secs).unwrap_or(60))).await;
            }
            while under_way.len() < most {
                let lease = TimeDelta::seconds(i64::try_from(scheduler.lease_secs).unwrap_or(60));
                let now = self.clock().now();
                match self.store().claim(self.owner(), lease, now, &limits(&loaded.config)).await {
                    Ok(Some(claim)) => {
                        let (daemon, stop) = (Arc::clone(self), stop.clone());
                        under_way.spawn(async move { daemon.work(claim, stop).await });
                    }
                    Ok(None) => {
                        last_error = None;
                        break;
                    }
                    Err(error) => {
                        let text = error.to_string();
                        // Once, not every two seconds of an outage.
                        if last_error.as_ref() != Some(&text) {
                            error!(error = text, "Cannot take work from the queue; trying again");
                        }
                        last_error = Some(text);
                        break;
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                _ = woken.changed() => {}
                () = tokio::time::sleep(Duration::from_secs(scheduler.poll_secs)) => {}
                Some(_) = under_way.join_next(), if !under_way.is_empty() => {}
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    /// The clock was put forward: leases of what this process works on look as if they had run out, and without a word
    /// from it they would be taken, by itself if by nobody else.
    async fn vouch_for_all(&self, lease: TimeDelta) {
        let held: Vec<Claim> = self.claims().values().map(|held| held.claim.clone()).collect();
        for claim in held {
            if let Err(error) = self.store().heartbeat(&claim, lease, self.clock().now()).await {
                warn!(job = claim.job.id, error = %error, "No heartbeat after the clock was put forward");
            }
        }
    }

    /// Runs that this process works on.
    pub(super) fn runs_under_way(&self) -> usize {
        self.claims().values().filter(|held| held.claim.job.kind == "sync").count()
    }

    fn claims(&self) -> std::sync::MutexGuard<'_, HashMap<String, Held>> {
        self.held.lock().expect("no panic while held")
    }

    /// Asks a run that this process works on to stop before its next batch.
    pub(super) fn stop_run(&self, run_id: &str) {
        for held in self.claims().values().filter(|held| held.claim.job.run_id.as_deref() == Some(run_id)) {
            held.control.stop(Stop::Cancelled);
        }
    }

    async fn work(self: Arc<Self>, claim: Claim, stop: CancellationToken) {
        let loaded = self.loaded();
        let control = Control::new(stop, Duration::from_secs(loaded.config.scheduler.shutdown_secs));
        let lease = Duration::from_secs(loaded.config.scheduler.lease_secs);
        self.claims().insert(claim.job.id.clone(), Held { claim: claim.clone(), control: control.clone() });
        let keeper = lease::keep(self.store().clone(), Arc::clone(self.clock()), claim.clone(), lease, control.clone());
        let job = &claim.job;
        info!(
            job = job.id,
            kind = job.kind,
            audience = job.audience,
            run.id = job.run_id,
            attempt = job.attempts,
            "Took up"
        );
        let end = if job.kind == "sync" {
            let end = self.work_on_run(&claim, &control).await;
            memory::give_back().await;
            end
        } else {
            self.chore(&claim, &control).await
        };
        keeper.stop().await;
        self.claims().remove(&claim.job.id);
        end_job(&self.engine(), &claim, end).await;
        self.wake();
    }
}

/// Writes down how a job ended. A database that is away gets some tries; after that the lease runs out and the job
/// is taken up again, which finds its work done.
async fn end_job(engine: &Engine, claim: &Claim, end: End) {
    let (store, scheduler) = (&engine.store, &engine.config.scheduler);
    let job = &claim.job;
    for attempt in 1..=END_TRIES {
        let now = engine.clock.now();
        let written = match &end {
            End::Done(result) => store.finish(claim, &JobEnd::Done(result.clone()), now).await,
            End::Failed(error) => store.finish(claim, &JobEnd::Failed(error.clone()), now).await,
            End::Cancelled => store.finish(claim, &JobEnd::Cancelled, now).await,
            End::Again(error) => {
                let again = now + backoff(scheduler.retry_first_delay.0, job.attempts);
                store.release(claim, again, Some(error)).await
            }
            End::Later(pause) => store.release(claim, now + *pause, None).await,
            End::PutDown => store.release(claim, now, None).await,
            End::Lost => return,
        };
        match written {
            Ok(true) => return,
            Ok(false) => return warn!(job = job.id, kind = job.kind, "Another worker has taken the job over"),
            Err(error) if attempt == END_TRIES => {
                error!(job = job.id, kind = job.kind, error = %error, "The end of a job could not be written");
            }
            Err(_) => tokio::time::sleep(Duration::from_secs(u64::from(attempt) * 2)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_put_forward_is_told_from_time_that_passes() {
        let start = DateTime::UNIX_EPOCH;
        let mut steps = Steps::new(start);
        assert!(!steps.has_jumped(start));
        assert!(steps.has_jumped(start + TimeDelta::days(3)));
        assert!(!steps.has_jumped(start + TimeDelta::days(3)), "once");
        assert!(!steps.has_jumped(start), "one put back makes leases last longer, which harms nobody");
    }

    #[test]
    fn the_pause_doubles_up_to_an_hour() {
        let pauses = |attempts| backoff(Duration::from_secs(30), attempts).num_seconds();
        assert_eq!([1, 2, 3, 7, 8, 40].map(pauses), [30, 60, 120, 1_920, 3_600, 3_600]);
    }
}
