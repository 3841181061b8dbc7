//! An audience held by a command line: `sync`, `audience reset`, `audience delete` and `status --refresh` take it by the
//! rules that hold for every worker, or are told who has it.

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::control::Control;
use super::lease::Keeper;
use super::owner::{Alive, end_leases_of_the_dead};
use super::{End, end_job, lease, limits};
use crate::daemon::worker_name;
use crate::erasure;
use crate::store::claims::{Claim, JobEnd, Limits, Taken};
use crate::store::jobs::{Job, JobState, NewJob};
use crate::store::model::RunState;
use crate::sync::{Engine, Stop, SyncError};

/// Kind of the jobs that stand for a command; nobody takes them up again.
pub(crate) const HOLD: &str = "hold";

const KILLED: &str = "stopped before its end; what it sent is known, the next run carried on";

/// Who has the audience that was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) struct Busy {
    audience: String,
    /// `None` when it is free, and a destination takes no more runs.
    holder: Option<Box<Job>>,
    now: DateTime<Utc>,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(job) = &self.holder else {
            return write!(f, "a destination of {} has all the runs it may have at a time", self.audience);
        };
        write!(f, "{} is held for {}", self.audience, purpose(job))?;
        if let Some(owner) = &job.lease_owner {
            write!(f, " by {}", process(owner))?;
        }
        match job.lease_until {
            Some(until) if until > self.now => write!(
                f,
                "; its lease runs until {}, and is renewed while it works",
                until.format("%Y-%m-%d %H:%M:%S UTC")
            ),
            _ => Ok(()),
        }
    }
}

impl Busy {
    pub(crate) fn hint(&self) -> String {
        match self.holder.as_ref().map(|job| job.run_id.as_deref()) {
            Some(Some(run)) => format!("wait until it ends, or stop it: reveil runs cancel {run}"),
            Some(None) => "wait until it ends, which is soon".to_owned(),
            None => "wait until one ends, or raise max_concurrent_runs of the destination".to_owned(),
        }
    }
}

fn purpose(job: &Job) -> String {
    match (job.kind.as_str(), &job.run_id, job.payload["command"].as_str()) {
        (_, Some(run), _) => format!("run {run}"),
        (HOLD, _, Some(command)) => format!("`reveil {command}`"),
        ("status", ..) => "a question for verdicts".to_owned(),
        ("expiry", ..) => "a look for members about to lapse".to_owned(),
        (erasure::JOB, ..) => "an erasure".to_owned(),
        (kind, ..) => format!("a job of kind {kind}"),
    }
}

/// A worker's name, for people.
fn process(owner: &str) -> String {
    let mut parts = owner.rsplitn(3, ':').skip(1);
    match (parts.next(), parts.next()) {
        (Some(process), Some(host)) => format!("process {process} on {host}"),
        _ => owner.to_owned(),
    }
}

/// A job as a command line makes it; so that a later one can tell it from work for the daemon.
fn marked(job: NewJob) -> NewJob {
    let mut payload = job.payload;
    payload["from"] = "command line".into();
    NewJob { payload, ..job }
}

fn is_marked(job: &Job) -> bool {
    job.payload["from"] == "command line"
}

/// An audience that is this process's until [`Hold::end`]. Killed instead, it loses it at once where the state is on
/// this machine, else when the lease runs out.
#[derive(Debug)]
pub(crate) struct Hold {
    /// What is written through it is refused once the lease is lost.
    pub(crate) engine: Engine,
    pub(crate) claim: Claim,
    pub(crate) control: Control,
    keeper: Keeper,
    _alive: Alive,
}

impl Hold {
    /// # Errors
    /// [`Busy`]; the database's.
    pub(crate) async fn take(engine: &Engine, job: NewJob) -> anyhow::Result<Self> {
        let (owner, job) = (worker_name(), marked(job));
        let alive = Alive::announce(&engine.config.state_dir, &owner).context("cannot write to the state directory")?;
        clear_the_dead(engine, &owner, job.audience.as_deref()).await?;
        let now = engine.clock.now();
        let scheduler = &engine.config.scheduler;
        let lease_time = Duration::from_secs(scheduler.lease_secs);
        let span = TimeDelta::from_std(lease_time).unwrap_or(TimeDelta::minutes(1));
        // Whoever asks here wants it now: the daemon's number of runs is its own matter, the destinations' everybody's.
        let limits = Limits { max_runs: u32::MAX, ..limits(&engine.config) };
        let claim = match engine.store.take_now(&job, &owner, span, now, &limits).await? {
            Taken::Claim(claim) => *claim,
            Taken::Refused(holder) => {
                let audience = job.audience.map_or_else(|| "it".to_owned(), |key| format!("audience {key}"));
                return Err(Busy { audience, holder, now }.into());
            }
        };
        let control = Control::new(CancellationToken::new(), Duration::from_secs(scheduler.shutdown_secs));
        let (store, clock) = (engine.store.clone(), engine.clock.clone());
        let keeper = lease::keep(store, clock, claim.clone(), lease_time, control.clone());
        let mut engine = engine.clone();
        engine.store = engine.store.fenced(claim.fence());
        Ok(Self { engine, claim, control, keeper, _alive: alive })
    }

    /// Lets go of the audience.
    pub(crate) async fn end(self, end: End) {
        self.keeper.stop().await;
        end_job(&self.engine, &self.claim, end).await;
    }
}

/// Does a command's work while the audience is held for it; `command` is what others are told who ask meanwhile.
///
/// # Errors
/// [`Busy`]; the work's own; `LeaseLost` when somebody else has the audience before the work is done.
pub(crate) async fn holding<T>(
    engine: &Engine,
    audience: &str,
    command: &str,
    work: impl AsyncFnOnce(&Engine, &Control) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let job = NewJob {
        audience: Some(audience.to_owned()),
        payload: json!({ "command": command }),
        ..NewJob::new(HOLD, engine.clock.now())
    };
    let hold = Hold::take(engine, job).await?;
    let result = tokio::select! {
        biased;
        () = hold.control.dropped() => Err(SyncError::Stopped(Stop::LeaseLost).into()),
        result = work(&hold.engine, &hold.control) => result,
    };
    let end = result.as_ref().map_or_else(|error| End::Failed(error.to_string()), |_| End::Done(Value::Null));
    hold.end(end).await;
    result
}

/// What killed processes left: a command is over, the daemon's work goes back to its queue. On this machine it is known
/// at once that a process is gone; of others, when the lease has run out.
async fn clear_the_dead(engine: &Engine, owner: &str, audience: Option<&str>) -> anyhow::Result<()> {
    let now = engine.clock.now();
    let ended = end_leases_of_the_dead(&engine.store, &engine.config.state_dir, now).await?;
    let in_the_way = |job: &Job| {
        job.state == JobState::Running
            && (job.audience.as_deref() == audience || ended.iter().any(|dead| dead.id == job.id))
    };
    for job in engine.store.open_jobs().await?.into_iter().filter(in_the_way) {
        let lease = TimeDelta::seconds(30);
        // Refused as long as its lease runs.
        let Some(claim) = engine.store.claim_job(&job.id, owner, lease, now, &Limits::default()).await? else {
            continue;
        };
        if is_marked(&job) {
            close(engine, &claim, now).await?;
        } else {
            engine.store.release(&claim, now, None).await?;
        }
    }
    Ok(())
}

async fn close(engine: &Engine, claim: &Claim, now: DateTime<Utc>) -> anyhow::Result<()> {
    let store = engine.store.fenced(claim.fence());
    if let Some(run_id) = &claim.job.run_id
        && let Some(mut run) = store.run(run_id).await?
    {
        run.state = RunState::Failed;
        run.finished_at = Some(now);
        run.error = Some(KILLED.to_owned());
        store.save_run(&run).await?;
    }
    store.finish(claim, &JobEnd::Failed(KILLED.to_owned()), now).await?;
    info!(run.id = claim.job.run_id, "A command that was killed is closed");
    Ok(())
}

/// How the daemon ends a command's job whose process is gone.
pub(super) fn left_behind() -> End {
    End::Failed(KILLED.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_named_for_people() {
        assert_eq!(process("web-1:4711:ab12cd34"), "process 4711 on web-1");
        assert_eq!(process("forget"), "forget");
    }
}
