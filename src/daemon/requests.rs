//! What people and programs ask of the daemon: a run, its end, a pause. The command line, the API and the scheduler
//! put the same jobs into the same queue.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::info;

use super::Daemon;
use super::cadence::{Cadence, jitter};
use crate::config::{AudienceConfig, Config};
use crate::store::jobs::{NewJob, NewRun};
use crate::store::model::{Run, RunKind};
use crate::store::runs::Cancel;
use crate::store::{Store, StoreError};
use crate::sync::engine::new_run_id;
use crate::sync::{Selection, SyncOptions};

/// How a run goes, as it is kept with it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunOptions {
    /// Only these; all of the audience's when empty.
    pub destinations: Vec<String>,
    /// Send everybody again.
    pub full: bool,
    pub allow: Vec<String>,
    pub retry_rejected: bool,
    pub dry_run: bool,
    /// Wait for the platforms' verdicts within the run. The daemon leaves them to status jobs.
    pub wait: bool,
    pub max_removal_ratio: Option<f64>,
    pub fail_on_reject_ratio: Option<f64>,
    /// Who or what asked, in the caller's own words.
    pub origin: Option<String>,
}

impl RunOptions {
    pub(crate) fn selection(&self, run: &Run) -> Selection {
        Selection { audience: run.audience.clone(), as_of: run.as_of, destinations: self.destinations.clone() }
    }

    pub(crate) fn sync_options(&self, run_id: &str, may_retry: bool, may_continue: bool) -> SyncOptions {
        SyncOptions {
            wait: self.wait,
            full: self.full,
            allow: self.allow.clone(),
            retry_rejected: self.retry_rejected,
            run_id: Some(run_id.to_owned()),
            dry_run: self.dry_run,
            max_removal_ratio: self.max_removal_ratio,
            fail_on_reject_ratio: self.fail_on_reject_ratio,
            may_retry,
            may_continue,
        }
    }
}

/// A run that somebody wants.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunRequest {
    pub audience: String,
    /// Default the moment of asking.
    pub as_of: Option<DateTime<Utc>>,
    pub options: RunOptions,
    /// While a run asked for under this key is open, no other is made.
    pub dedup_key: Option<String>,
}

/// Why a wish is refused.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("there is no audience `{0}`")]
    UnknownAudience(String),
    #[error("audience `{audience}` does not go to `{destination}`; it goes to: {known}")]
    UnknownDestination { audience: String, destination: String, known: String },
    #[error("there is no run `{0}`")]
    UnknownRun(String),
    #[error("run {} has ended already, as {}", .0.id, .0.state.name())]
    Ended(Box<Run>),
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The keys of an audience's schedules.
pub fn sync_key(audience: &str) -> String {
    format!("sync:{audience}")
}
pub fn full_key(audience: &str) -> String {
    format!("full:{audience}")
}
pub fn expiry_key(audience: &str) -> String {
    format!("expiry:{audience}")
}

/// The job that carries out a run.
pub(crate) fn run_job(
    audience: (&str, &AudienceConfig),
    options: &RunOptions,
    kind: RunKind,
    as_of: DateTime<Utc>,
    requested_by: &str,
    now: DateTime<Utc>,
) -> NewJob {
    let (key, config) = audience;
    let uses = if options.destinations.is_empty() { &config.destinations } else { &options.destinations };
    NewJob {
        audience: Some(key.to_owned()),
        uses: uses.clone(),
        run: Some(NewRun {
            id: new_run_id(now),
            kind,
            audience: key.to_owned(),
            as_of,
            requested_by: requested_by.to_owned(),
            options: json!(options),
        }),
        ..NewJob::new("sync", now)
    }
}

/// Checks a request against the configuration and makes its job.
///
/// # Errors
/// Unknown audience or destination, a ratio that is none.
pub(crate) fn requested_job(
    config: &Config,
    request: &RunRequest,
    by: &str,
    now: DateTime<Utc>,
) -> Result<NewJob, RequestError> {
    let audience = config
        .audience
        .get(&request.audience)
        .ok_or_else(|| RequestError::UnknownAudience(request.audience.clone()))?;
    for destination in &request.options.destinations {
        if !audience.destinations.contains(destination) {
            return Err(RequestError::UnknownDestination {
                audience: request.audience.clone(),
                destination: destination.clone(),
                known: audience.destinations.join(", "),
            });
        }
    }
    let ratios = [
        ("max_removal_ratio", request.options.max_removal_ratio),
        ("fail_on_reject_ratio", request.options.fail_on_reject_ratio),
    ];
    for (name, ratio) in ratios {
        if ratio.is_some_and(|ratio| !(0.0..=1.0).contains(&ratio)) {
            return Err(RequestError::Invalid(format!("{name} must be between 0 and 1, as in 0.2")));
        }
    }
    let kind = if request.options.full { RunKind::Full } else { RunKind::Sync };
    let as_of = request.as_of.unwrap_or(now);
    let job = run_job((&request.audience, audience), &request.options, kind, as_of, by, now);
    // Somebody waits for it; the schedule's runs can.
    Ok(NewJob { dedup_key: request.dedup_key.clone(), priority: 10, ..job })
}

/// Asks for a run to stop.
///
/// # Errors
/// Unknown, ended, the database's.
pub(crate) async fn cancel(store: &Store, run_id: &str, by: &str, now: DateTime<Utc>) -> Result<Run, RequestError> {
    let cancelled = store.request_cancel(run_id, now).await;
    let (run, at_once) = match cancelled {
        Ok(Cancel::Done(run)) => (run, true),
        Ok(Cancel::Requested(run)) => (run, false),
        Ok(Cancel::AlreadyOver(run)) => return Err(RequestError::Ended(Box::new(run))),
        Err(StoreError::Unknown { .. }) => return Err(RequestError::UnknownRun(run_id.to_owned())),
        Err(error) => return Err(error.into()),
    };
    store.audit(now, by, "cancel_run", &run.id, &json!({ "audience": run.audience, "begun": !at_once })).await?;
    if at_once {
        store.add_run_event(&run.id, now, "end", &json!({ "state": run.state })).await?;
    }
    Ok(run)
}

/// Pauses or resumes everything an audience is sent on its own. True when that changed something.
///
/// # Errors
/// The database's.
pub(crate) async fn set_paused(
    store: &Store,
    config: &Config,
    audience: &str,
    paused: bool,
    by: &str,
    now: DateTime<Utc>,
) -> Result<bool, RequestError> {
    let Some(settings) = config.audience.get(audience) else {
        return Err(RequestError::UnknownAudience(audience.to_owned()));
    };
    let mut changed = false;
    for (key, schedule) in [
        (sync_key(audience), settings.schedule.as_ref()),
        (full_key(audience), settings.full_sync.as_ref()),
        (expiry_key(audience), None),
    ] {
        changed |= store.set_paused(&key, paused).await?;
        // What came due during a pause was not meant to run: it is not made up for.
        let known = store.schedule_state(&key).await?.and_then(|state| state.next_at);
        if let (false, Some(due), Some(cadence)) = (paused, known, schedule.and_then(Cadence::of))
            && due <= now
        {
            store.plan_schedule(&key, Some(due), cadence.next_after(now)).await?;
        }
    }
    if changed {
        let action = if paused { "pause_audience" } else { "resume_audience" };
        store.audit(now, by, action, audience, &json!({})).await?;
    }
    Ok(changed)
}

impl Daemon {
    /// Queues a run. The run that is open under the same key, when there is one.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn request_run(&self, request: &RunRequest, by: &str) -> Result<Run, RequestError> {
        let now = self.clock().now();
        let job = requested_job(&self.loaded().config, request, by, now)?;
        let queued = self.store().enqueue(&job, now).await?;
        let id = queued.job.run_id.unwrap_or_default();
        if queued.fresh {
            info!(run.id = id, audience = request.audience, by, "Queued a run");
            self.wake();
        }
        self.store().run(&id).await?.ok_or(RequestError::UnknownRun(id))
    }

    /// Asks for a run to stop: at once when it waits, before its next batch when it runs.
    ///
    /// # Errors
    /// See [`RequestError`]; `Ended` when it is too late.
    pub async fn cancel_run(&self, run_id: &str, by: &str) -> Result<Run, RequestError> {
        let run = cancel(self.store(), run_id, by, self.clock().now()).await?;
        // Another process looks by itself.
        self.stop_run(run_id);
        self.wake();
        Ok(run)
    }

    /// Pauses or resumes an audience's schedules; runs that are asked for still go.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn set_paused(&self, audience: &str, paused: bool, by: &str) -> Result<bool, RequestError> {
        let now = self.clock().now();
        let changed = set_paused(self.store(), &self.loaded().config, audience, paused, by, now).await?;
        self.wake();
        Ok(changed)
    }

    /// # Errors
    /// The database's.
    pub async fn is_paused(&self, audience: &str) -> Result<bool, StoreError> {
        Ok(self.store().schedule_state(&sync_key(audience)).await?.is_some_and(|state| state.paused))
    }

    /// When the audience's schedule fires next, jitter included; `None` without one or while it is paused.
    ///
    /// # Errors
    /// The database's.
    pub async fn next_run_at(&self, audience: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        let loaded = self.loaded();
        let Some(config) = loaded.config.audience.get(audience) else { return Ok(None) };
        let Some(cadence) = config.schedule.as_ref().and_then(Cadence::of) else { return Ok(None) };
        let key = sync_key(audience);
        let state = self.store().schedule_state(&key).await?;
        if state.as_ref().is_some_and(|state| state.paused) {
            return Ok(None);
        }
        let due = state.and_then(|state| state.next_at).or_else(|| cadence.next_after(self.clock().now()));
        Ok(due.map(|due| due + jitter(&cadence, &key, due, config.jitter)))
    }
}

/// The latest due time that a schedule may be seen to have fired ahead of a clock that was put back; further ahead, and
/// the clock was wrong then.
pub(super) const CLOCK_TRUST: TimeDelta = TimeDelta::hours(26);
