//! The jobs that are no run: verdicts, members about to lapse, credentials, messages, tidying up.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use reveil_sdk::ErrorKind;
use serde_json::json;
use tracing::{info, warn};

use super::control::Control;
use super::verdicts::{VERDICT_DEADLINE, first_question, next_question};
use super::{Daemon, End, hold};
use crate::daemon::alerts::delivery;
use crate::daemon::requests::{RunOptions, run_job};
use crate::erasure;
use crate::store::claims::Claim;
use crate::store::health::DestinationHealth;
use crate::store::jobs::{Job, NewJob};
use crate::store::model::{Run, RunKind};
use crate::sync::error::is_passing;
use crate::sync::refresh::Refreshed;
use crate::sync::{Engine, Silent, Stop};
use crate::telemetry::metrics::DestinationLabel;
use crate::transport::retry::RetryPolicy;

/// Among so many runs of an audience those are found that wait.
const MOST_RUNS: u32 = 20;
/// Who asks for runs that send again what a platform has failed.
const SENT_AGAIN: &str = "verdict";

impl Daemon {
    pub(super) async fn chore(self: &Arc<Self>, claim: &Claim, control: &Control) -> End {
        let mut engine = self.engine();
        engine.store = engine.store.fenced(claim.fence());
        let job = &claim.job;
        let work = async {
            match job.kind.as_str() {
                "status" => self.ask_verdicts(&engine, job, control).await,
                "expiry" => self.renew_lapsing(&engine, job).await,
                "credential" => self.check_credential(&engine, job).await,
                "prune" => self.prune(&engine, job).await,
                hold::HOLD => Ok(hold::left_behind()),
                delivery::JOB => self.deliver(&engine, job).await,
                erasure::JOB => Ok(forget(&engine, job, control).await),
                // A newer replica made it, and will do it.
                _ => Ok(End::Later(TimeDelta::minutes(5))),
            }
        };
        let result = tokio::select! {
            biased;
            () = control.dropped() => return put_down(control),
            result = work => result,
        };
        match result {
            Ok(end) => end,
            Err(_) if control.why().is_some() => put_down(control),
            Err(error) if is_passing(&error) && job.attempts < engine.config.scheduler.max_attempts => {
                End::Again(error.to_string())
            }
            Err(error) => {
                warn!(job = job.id, kind = job.kind, audience = job.audience, error = %error, "A job failed");
                End::Failed(error.to_string())
            }
        }
    }

    /// Asks the platforms about what is undecided, again and again with growing pauses.
    async fn ask_verdicts(&self, engine: &Engine, job: &Job, control: &Control) -> anyhow::Result<End> {
        let Some(audience) = job.audience.as_deref().filter(|key| engine.config.audience.contains_key(*key)) else {
            return Ok(End::Done(json!({ "left_out": "the audience is gone from the configuration" })));
        };
        let Refreshed { pending, failed } = engine.refresh(audience, control, &Silent).await?;
        if failed > 0 {
            self.send_again(engine, audience, failed).await?;
        }
        if pending == 0 {
            info!(audience, "All verdicts are there");
            self.alert_on_readings(audience).await;
            return Ok(End::Done(json!({ "pending": 0 })));
        }
        let age = engine.clock.now() - job.created_at;
        if age > VERDICT_DEADLINE {
            anyhow::bail!("the platform has not decided on {pending} uploads in {} days", age.num_days());
        }
        Ok(End::Later(next_question(age, first_question(engine, audience))))
    }

    /// The platform took uploads and then applied nothing of them: what is missing is not left to the next schedule.
    /// Once; when that fails too, people are told by its run.
    async fn send_again(&self, engine: &Engine, audience: &str, failed: u64) -> anyhow::Result<()> {
        let options = |run: &Run| serde_json::from_value::<RunOptions>(run.options.clone()).unwrap_or_default();
        let mut runs = engine.store.runs(Some(audience), MOST_RUNS).await?;
        runs.retain(|run| !options(run).dry_run);
        let latest = runs.iter().find(|run| run.state.is_over());
        if let Some(run) = latest {
            self.alert_on_run(run, None).await;
        }
        if runs.iter().any(|run| !run.state.is_over() && options(run).destinations.is_empty()) {
            info!(audience, failed, "The platform failed uploads it had taken; a run that waits sends them again");
            return Ok(());
        }
        if latest.is_some_and(|run| run.requested_by == SENT_AGAIN) {
            warn!(audience, failed, "The platform has failed uploads that were sent again");
            return Ok(());
        }
        let Some((key, settings)) = engine.config.audience.get_key_value(audience) else { return Ok(()) };
        let now = engine.clock.now();
        let run = run_job((key, settings), &RunOptions::default(), RunKind::Refresh, now, SENT_AGAIN, now);
        let run = NewJob { dedup_key: Some(format!("again:{key}")), ..run };
        let queued = engine.store.enqueue(&run, now).await?;
        warn!(audience, failed, run.id = queued.job.run_id, "The platform failed uploads it had taken; queued a run");
        Ok(())
    }

    /// Queues a run when members are about to lapse that no schedule renews in time.
    async fn renew_lapsing(&self, engine: &Engine, job: &Job) -> anyhow::Result<End> {
        let Some((key, settings)) = job.audience.as_deref().and_then(|key| engine.config.audience.get_key_value(key))
        else {
            return Ok(End::Done(json!({ "left_out": "the audience is gone from the configuration" })));
        };
        let lapsing = tokio::task::block_in_place(|| engine.lapsing(key))?;
        if lapsing > 0 {
            let now = engine.clock.now();
            let run = run_job((key, settings), &RunOptions::default(), RunKind::Refresh, now, "expiry", now);
            let run = NewJob { dedup_key: Some(format!("refresh:{key}")), ..run };
            let queued = engine.store.enqueue(&run, now).await?;
            info!(
                audience = key,
                members = lapsing,
                run.id = queued.job.run_id,
                "Members are about to lapse; queued a run"
            );
        }
        Ok(End::Done(json!({ "lapsing": lapsing })))
    }

    /// Looks whether the destination can be worked with, which renews its token on the way.
    async fn check_credential(&self, engine: &Engine, job: &Job) -> anyhow::Result<End> {
        let Some(name) = job.destination.as_deref().filter(|name| engine.config.destination.contains_key(*name)) else {
            return Ok(End::Done(json!({ "left_out": "the destination is gone from the configuration" })));
        };
        let health = check_destination(engine, name).await;
        let label = DestinationLabel { destination: name.to_owned() };
        self.metrics().destination_up.get_or_create(&label).set(i64::from(health.state != "down"));
        engine.store.save_destination_health(&health).await?;
        Ok(End::Done(json!({ "state": health.state })))
    }

    async fn prune(&self, engine: &Engine, job: &Job) -> anyhow::Result<End> {
        let before: DateTime<Utc> = serde_json::from_value(job.payload["before"].clone())?;
        let deleted = engine.store.prune(before).await?;
        info!(deleted, "Tidied up the state");
        Ok(End::Done(json!({ "deleted": deleted })))
    }
}

/// Looks how a destination does: `ok`, `degraded` with warnings, `down` with what is wrong.
pub(crate) async fn check_destination(engine: &Engine, name: &str) -> DestinationHealth {
    let result = async {
        let destination = engine.open_destination(name, RetryPolicy::brief()).await?;
        destination.connector.check(&destination.context()).await
    };
    let checked_at = engine.clock.now();
    let (state, detail) = match result.await {
        Ok(warnings) if warnings.is_empty() => ("ok", json!({})),
        Ok(warnings) => ("degraded", json!({ "warnings": warnings })),
        // A platform that asks to wait is there.
        Err(error) => {
            let waits = error.kind() == ErrorKind::RateLimited;
            let detail = json!({ "error": error.to_string(), "kind": error.kind().name(), "hint": error.hint_text() });
            (if waits { "degraded" } else { "down" }, detail)
        }
    };
    DestinationHealth { destination: name.to_owned(), state: state.to_owned(), checked_at, detail }
}

/// Lets a platform let go of somebody: tried for as long as it takes, because it was promised.
async fn forget(engine: &Engine, job: &Job, control: &Control) -> End {
    match erasure::work(engine, job, control, &Silent).await {
        Ok(erasure::Step::Done) => End::Done(json!({})),
        _ if control.why().is_some() => put_down(control),
        Ok(erasure::Step::Later(pause)) => End::Later(pause),
        Ok(erasure::Step::Again(why)) => End::Again(why),
        Err(error) => End::Again(error.to_string()),
    }
}

fn put_down(control: &Control) -> End {
    match control.why() {
        Some(Stop::LeaseLost) => End::Lost,
        Some(Stop::Cancelled) => End::Cancelled,
        Some(Stop::ShuttingDown) | None => End::PutDown,
    }
}
