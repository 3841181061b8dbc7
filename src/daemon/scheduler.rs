//! Watches the schedules and puts their jobs into the queue when they come due. Every replica does so; the store lets
//! each due time be fired by one of them.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tracing::{error, info, warn};

use super::Daemon;
use super::cadence::{Cadence, jitter, step};
use super::requests::{CLOCK_TRUST, RunOptions, expiry_key, full_key, run_job, sync_key};
use crate::config::{CatchUp, Config, Period};
use crate::store::StoreError;
use crate::store::jobs::{JobState, NewJob};
use crate::store::model::RunKind;
use crate::store::schedules::Schedule as State;
use crate::telemetry::metrics::KindLabel;

/// Between two looks, at most: another replica may have moved a schedule on, the clock may have been put forward.
const LONGEST_SLEEP: TimeDelta = TimeDelta::seconds(15);
/// Runs, events and jobs older than this are deleted.
const KEPT: TimeDelta = TimeDelta::days(400);
const PRUNE_KEY: &str = "prune";

/// What a schedule queues.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Work {
    Run { audience: String, kind: RunKind },
    Expiry { audience: String },
    Credential { destination: String },
    Prune,
}

/// A schedule of the configuration.
#[derive(Debug)]
struct Entry {
    key: String,
    cadence: Cadence,
    jitter: Option<Period>,
    catch_up: CatchUp,
    work: Work,
}

impl Entry {
    fn kind(&self) -> String {
        self.key.split(':').next().unwrap_or_default().to_owned()
    }
}

/// Everything that comes due, by the configuration.
fn entries(config: &Config) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (audience, settings) in &config.audience {
        let schedules = [
            (sync_key(audience), &settings.schedule, RunKind::Sync),
            (full_key(audience), &settings.full_sync, RunKind::Full),
        ];
        for (key, schedule, kind) in schedules {
            let Some(cadence) = schedule.as_ref().and_then(Cadence::of) else { continue };
            let work = Work::Run { audience: audience.clone(), kind };
            entries.push(Entry { key, cadence, jitter: settings.jitter, catch_up: settings.catch_up, work });
        }
        let work = Work::Expiry { audience: audience.clone() };
        entries.extend(upkeep(expiry_key(audience), config.scheduler.expiry_check, work));
    }
    for destination in config.destination.keys() {
        let work = Work::Credential { destination: destination.clone() };
        entries.extend(upkeep(format!("credential:{destination}"), config.scheduler.credential_check, work));
    }
    entries.extend(upkeep(PRUNE_KEY.to_owned(), Period::secs(24 * 3600), Work::Prune));
    entries
}

/// Something the daemon does on its own; spread out, so that it does not all happen at midnight.
fn upkeep(key: String, every: Period, work: Work) -> Option<Entry> {
    let cadence = Cadence::every(every)?;
    Some(Entry { key, cadence, jitter: Some(every), catch_up: CatchUp::Latest, work })
}

impl Daemon {
    /// Fires what is due. When to look again.
    ///
    /// # Errors
    /// The database's, when even the list of schedules cannot be read. What is wrong with one schedule is logged and
    /// stops no other.
    pub async fn schedule_step(&self) -> Result<DateTime<Utc>, StoreError> {
        let loaded = self.loaded();
        let states = self.store().schedules().await?;
        let now = self.clock().now();
        let mut again = now + LONGEST_SLEEP;
        let entries = entries(&loaded.config);
        for entry in &entries {
            let state = states.iter().find(|state| state.key == entry.key);
            match self.schedule_entry(&loaded.config, entry, state, now).await {
                Ok(Some(next)) => again = again.min(next),
                Ok(None) => {}
                Err(error) => error!(schedule = entry.key, error = %error, "A schedule could not be fired"),
            }
        }
        for state in states.iter().filter(|state| !state.paused) {
            if !entries.iter().any(|entry| entry.key == state.key) {
                self.store().drop_schedule(&state.key).await?;
            }
        }
        self.pulse.beat(self.clock().now());
        Ok(again)
    }

    async fn schedule_entry(
        &self,
        config: &Config,
        entry: &Entry,
        state: Option<&State>,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        if state.is_some_and(|state| state.paused) {
            return Ok(None);
        }
        let planned = state.and_then(|state| state.next_at);
        let Some(due) = planned.filter(|due| !must_replan(entry, *due, state, now)) else {
            let next = entry.cadence.next_after(now);
            self.store().plan_schedule(&entry.key, planned, next).await?;
            return Ok(next);
        };
        let Some(step) = step(&entry.cadence, &entry.key, due, now, entry.jitter, entry.catch_up) else {
            return Ok(Some(due + jitter(&entry.cadence, &entry.key, due, entry.jitter)));
        };
        if step.missed > 0 {
            warn!(schedule = entry.key, missed = step.missed, fired = step.fire.len(), "Due times were missed");
            self.metrics().missed.get_or_create(&KindLabel { kind: entry.kind() }).inc_by(step.missed);
        }
        // The store moves one due time on at a time; those that are left out are passed over first.
        let first = step.fire.first().copied().or(step.next);
        if first != Some(due) && !self.store().plan_schedule(&entry.key, Some(due), first).await? {
            return Ok(Some(now));
        }
        for (index, fire) in step.fire.iter().enumerate() {
            let next = step.fire.get(index + 1).copied().or(step.next);
            if !self.fire(config, entry, *fire, next, now).await? {
                break;
            }
        }
        Ok(step.next)
    }

    /// False: another replica has fired it.
    async fn fire(
        &self,
        config: &Config,
        entry: &Entry,
        due: DateTime<Utc>,
        next: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        if matches!(entry.catch_up, CatchUp::None | CatchUp::Latest) && self.is_waiting(entry).await? {
            // The one before has not begun, or waits for a platform: when it goes on it reads the warehouse anew.
            info!(schedule = entry.key, "Left a due time out: the run before still waits");
            self.metrics().missed.get_or_create(&KindLabel { kind: entry.kind() }).inc();
            return self.store().plan_schedule(&entry.key, Some(due), next).await;
        }
        let Some(job) = self.job(config, entry, due, now) else { return Ok(false) };
        let fired = self.store().fire_schedule(&entry.key, due, next, &job, now).await?;
        if let Some(queued) = &fired {
            info!(schedule = entry.key, due = %due.to_rfc3339(), run.id = queued.job.run_id, "Fired");
            self.metrics().fired.get_or_create(&KindLabel { kind: entry.kind() }).inc();
            self.wake();
        }
        Ok(fired.is_some())
    }

    async fn is_waiting(&self, entry: &Entry) -> Result<bool, StoreError> {
        let Work::Run { audience, .. } = &entry.work else { return Ok(false) };
        let jobs = self.store().open_jobs().await?;
        let key = format!("{}@", entry.key);
        Ok(jobs.iter().any(|job| {
            job.state == JobState::Queued
                && job.audience.as_deref() == Some(audience)
                && job.dedup_key.as_deref().is_some_and(|dedup| dedup.starts_with(&key))
        }))
    }

    fn job(&self, config: &Config, entry: &Entry, due: DateTime<Utc>, now: DateTime<Utc>) -> Option<NewJob> {
        let job = match &entry.work {
            Work::Run { audience, kind } => {
                let settings = config.audience.get(audience)?;
                let options = RunOptions { full: *kind == RunKind::Full, ..RunOptions::default() };
                // Made up for one by one, each is about its own time; else what counts is how things are now.
                let as_of = if entry.catch_up == CatchUp::All { due } else { now };
                run_job((audience, settings), &options, *kind, as_of, "schedule", now)
            }
            Work::Expiry { audience } => NewJob { audience: Some(audience.clone()), ..NewJob::new("expiry", now) },
            Work::Credential { destination } => {
                NewJob { destination: Some(destination.clone()), ..NewJob::new("credential", now) }
            }
            Work::Prune => NewJob { payload: json!({ "before": now - KEPT }), ..NewJob::new("prune", now) },
        };
        Some(NewJob { dedup_key: Some(format!("{}@{}", entry.key, due.timestamp())), ..job })
    }

    /// Steps for as long as the process lives.
    pub async fn run_scheduler(&self, stop: tokio_util::sync::CancellationToken) {
        let mut woken = self.wakes();
        while !stop.is_cancelled() {
            woken.mark_unchanged();
            let again = match self.schedule_step().await {
                Ok(again) => again,
                Err(error) => {
                    error!(error = %error, "The schedules could not be read; trying again");
                    self.clock().now() + TimeDelta::seconds(5)
                }
            };
            // A quarter of a second keeps a schedule of every second from spinning.
            let pause = (again - self.clock().now()).to_std().unwrap_or_default();
            let pause = pause.clamp(std::time::Duration::from_millis(250), std::time::Duration::from_secs(15));
            tokio::select! {
                () = stop.cancelled() => {}
                _ = woken.changed() => {}
                () = self.clock().sleep(pause) => {}
            }
        }
    }
}

/// Whether a planned time no longer stands: the schedule was rewritten, or the clock that planned it was wrong.
fn must_replan(entry: &Entry, due: DateTime<Utc>, state: Option<&State>, now: DateTime<Utc>) -> bool {
    if due <= now {
        return !entry.cadence.is_due_at(due);
    }
    // A clock that was put back a little must not fire again what it has fired.
    let fired = state.and_then(|state| state.last_fired_at).filter(|fired| *fired > now);
    let from = fired.filter(|fired| *fired <= now + CLOCK_TRUST).unwrap_or(now);
    let stands = entry.cadence.next_after(from) == Some(due);
    if !stands && fired.is_some() {
        warn!(schedule = entry.key, "Fired last in the future: the clock was wrong then; planning anew from now");
    }
    !stands
}
