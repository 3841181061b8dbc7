//! A run carried out by the process that asks for it: `reveil sync` goes through the same queue, by the same rules.

use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::carry::{Carried, Patience, carry};
use super::control::Control;
use super::owner::{Alive, end_leases_of_the_dead};
use super::verdicts::ask_for_verdicts;
use super::{End, end_job, lease, limits};
use crate::store::claims::{Claim, JobEnd};
use crate::store::jobs::{Job, NewJob};
use crate::store::model::RunState;
use crate::sync::{Engine, Progress, SyncError, SyncReport};

/// What became of it.
#[derive(Debug)]
pub(crate) enum AtOnce {
    Report(Box<SyncReport>),
    Error(anyhow::Error),
    /// Another worker took it over.
    Lost {
        run_id: String,
    },
    Cancelled {
        run_id: String,
    },
}

/// The job as it is queued by a command line; so that a later one can tell it from work for the daemon.
pub(crate) fn mark(job: NewJob) -> NewJob {
    NewJob { payload: json!({ "from": "command line" }), ..job }
}

fn is_marked(job: &Job) -> bool {
    job.payload["from"] == "command line"
}

/// Queues the job, claims it and carries it out.
///
/// # Errors
/// [`SyncError::Busy`] while another run of the audience goes on; the database's.
pub(crate) async fn run_at_once(
    engine: &Engine,
    owner: &str,
    job: &NewJob,
    progress: &dyn Progress,
) -> anyhow::Result<AtOnce> {
    let alive = Alive::announce(&engine.config.state_dir, owner).context("cannot write to the state directory")?;
    clear_the_dead(engine, owner).await?;
    let claim = claim(engine, owner, job).await?;
    let run_id = claim.job.run_id.clone().unwrap_or_default();
    let lease_time = Duration::from_secs(engine.config.scheduler.lease_secs);
    let control = Control::new(CancellationToken::new(), Duration::from_secs(engine.config.scheduler.shutdown_secs));
    let (store, clock) = (engine.store.clone(), engine.clock.clone());
    let keeper = lease::keep(store, clock, claim.clone(), lease_time, control.clone());
    // Whoever waits at the terminal tries again; the daemon does not.
    let patience = Patience { most_attempts: 1, waits_for_verdicts: false };
    let Carried { end, report, error } = carry(engine, &claim, &control, patience, Some(progress)).await;
    keeper.stop().await;
    let end = match end {
        End::Again(error) => End::Failed(error),
        end => end,
    };
    let cancelled = matches!(end, End::Cancelled);
    end_job(engine, &claim, end).await;
    drop(alive);
    Ok(match (report, error) {
        (Some(report), _) => {
            ask_for_verdicts(engine, &report).await?;
            AtOnce::Report(Box::new(report))
        }
        (None, _) if cancelled => AtOnce::Cancelled { run_id },
        (None, Some(error)) => AtOnce::Error(error),
        (None, None) => AtOnce::Lost { run_id },
    })
}

async fn claim(engine: &Engine, owner: &str, job: &NewJob) -> anyhow::Result<Claim> {
    let now = engine.clock.now();
    let jobs = engine.store.open_jobs().await?;
    let busy = |other: &Job| other.lease_owner.is_some() && other.audience == job.audience;
    if jobs.iter().any(busy) {
        return Err(SyncError::Busy.into());
    }
    let queued = engine.store.enqueue(job, now).await?.job;
    let lease = TimeDelta::seconds(i64::try_from(engine.config.scheduler.lease_secs).unwrap_or(60));
    // Whoever asks here wants it now: the daemon's number of runs is its own matter, the destinations' is everybody's.
    let limits = crate::store::claims::Limits { max_runs: u32::MAX, ..limits(&engine.config) };
    match engine.store.claim_job(&queued.id, owner, lease, now, &limits).await? {
        Some(claim) => Ok(claim),
        None => {
            if let Some(run) = &queued.run_id {
                engine.store.request_cancel(run, now).await?;
            }
            Err(SyncError::Busy.into())
        }
    }
}

/// What a killed process of this machine left: a run from a command line is over, the daemon's goes back to its queue.
async fn clear_the_dead(engine: &Engine, owner: &str) -> anyhow::Result<()> {
    let now = engine.clock.now();
    for job in end_leases_of_the_dead(&engine.store, &engine.config.state_dir, now).await? {
        let lease = TimeDelta::seconds(30);
        let Some(claim) = engine.store.claim_job(&job.id, owner, lease, now, &Default::default()).await? else {
            continue;
        };
        if !is_marked(&job) {
            engine.store.release(&claim, now, None).await?;
            continue;
        }
        let error = "stopped before its end; what it sent is known, the next run carried on";
        let store = engine.store.fenced(claim.fence());
        if let Some(run_id) = &claim.job.run_id
            && let Some(mut run) = store.run(run_id).await?
        {
            run.state = RunState::Failed;
            run.finished_at = Some(now);
            run.error = Some(error.to_owned());
            store.save_run(&run).await?;
        }
        store.finish(&claim, &JobEnd::Failed(error.to_owned()), now).await?;
        info!(run.id = claim.job.run_id, "A run that was killed is closed");
    }
    Ok(())
}
