//! One run of an audience: every destination for itself, side by side, and how it is written down.

use std::sync::Mutex;

use chrono::{DateTime, Utc};
use futures::future::join_all;
use serde::Serialize;
use tracing::{Instrument as _, info_span, warn};

use super::control::{RunControl, Stop};
use super::delivery::Delivery;
use super::engine::{Engine, Scratch, Selection, audience_spec};
use super::error::SyncError;
use super::funnel::Funnel;
use super::gather::{Gathered, arms};
use super::progress::Progress;
use super::report::DestinationReport;
use crate::assignment::{self, record_run};
use crate::config::AudienceConfig;
use crate::ledger::Ledger;
use crate::store::audit::local_actor;
use crate::store::jobs::JobState;
use crate::store::model::{Run, RunState};
use crate::transport::retry::RetryPolicy;

/// How a run goes.
#[derive(Debug, Clone, Default)]
pub struct SyncOptions {
    /// Wait for the platforms' verdicts instead of leaving them for later.
    pub wait: bool,
    /// Send everybody again and let the platform drop the rest, without a gap.
    pub full: bool,
    /// Guards overridden by the caller.
    pub allow: Vec<String>,
    /// Send members again that a platform refused before, though unchanged.
    pub retry_rejected: bool,
    /// The run to go on with, or to begin under this id. A new id when it is missing.
    pub run_id: Option<String>,
    /// Compare and count, send nothing.
    pub dry_run: bool,
    /// Instead of `guards.max_removal_ratio`.
    pub max_removal_ratio: Option<f64>,
    /// A failure that passes by itself leaves the run open: the caller tries again under the same id.
    pub may_retry: bool,
    /// What has to wait for a platform's verdict leaves the run open too: the caller goes on later under the same id.
    pub may_continue: bool,
    /// A destination that rejected more than this share of what was sent to it counts as failed.
    pub fail_on_reject_ratio: Option<f64>,
}

/// What a run did.
#[derive(Debug, Clone, Serialize)]
pub struct SyncReport {
    pub run: String,
    pub audience: String,
    pub as_of: DateTime<Utc>,
    pub state: RunState,
    pub segment: Funnel,
    pub destinations: Vec<DestinationReport>,
    /// The run was left open to be tried again, see [`SyncOptions::may_retry`].
    #[serde(skip)]
    pub open: bool,
    /// The run was left open to go on when a platform has decided, see [`SyncOptions::may_continue`].
    #[serde(skip)]
    pub waits: bool,
}

impl Engine {
    /// Runs one audience: every destination for itself, side by side; one that fails does not stop the others.
    ///
    /// # Errors
    /// What stops all of it: the warehouse, the state, a ledger that another run holds. Errors of single
    /// destinations are in the report.
    pub async fn sync(
        &self,
        selection: &Selection,
        options: &SyncOptions,
        control: &dyn RunControl,
        progress: &dyn Progress,
    ) -> anyhow::Result<SyncReport> {
        let audience = self.config.audience(&selection.audience)?;
        let names = self.destination_names(selection, audience)?;
        self.require_consent_column(&options.allow)?;
        // Locks first: a second run of the same audience must not even read the warehouse.
        let _running = self.lock_audience(&selection.audience)?;
        let id = options.run_id.clone().unwrap_or_else(|| new_run_id(self.clock.now()));
        self.close_stopped_runs(&selection.audience, &id).await?;
        let mut ledgers = Vec::new();
        // A rehearsal only looks.
        for name in names.iter().filter(|_| !options.dry_run) {
            ledgers.push(tokio::task::block_in_place(|| self.ledgers.hold(&selection.audience, name))?);
        }
        // One that was queued, or left by a worker that is gone, goes on as it is.
        let known = self.store.run(&id).await?;
        let new = || Run::started(id, &selection.audience, selection.as_of, &local_actor(), self.clock.now());
        let mut run = known.unwrap_or_else(new);
        run.state = RunState::Running;
        run.as_of = selection.as_of;
        run.started_at = run.started_at.or_else(|| Some(self.clock.now()));
        self.store.save_run(&run).await?;
        for word in &options.allow {
            let detail = serde_json::json!({ "run": run.id, "override": word });
            let now = self.clock.now();
            self.store.audit(now, &run.requested_by, "override_guard", &run.audience, &detail).await?;
        }
        let result = if options.dry_run {
            self.rehearse(selection, options, control, progress).await
        } else {
            self.run_destinations(&run, selection, audience, &names, ledgers, options, control, progress).await
        };
        run.finished_at = Some(self.clock.now());
        match result {
            Ok((segment, destinations)) => {
                match destinations.iter().find_map(|report| report.stopped) {
                    // Whoever takes it up again finds it running.
                    Some(stop @ (Stop::LeaseLost | Stop::ShuttingDown)) => return Err(SyncError::Stopped(stop).into()),
                    Some(Stop::Cancelled) => run.state = RunState::Cancelled,
                    None => run.state = overall(&destinations),
                }
                run.segment = serde_json::to_value(&segment).ok();
                let going_on = run.state != RunState::Cancelled;
                let open = going_on && options.may_retry && passes(&destinations);
                let waits = going_on && options.may_continue && destinations.iter().any(|part| part.unfinished);
                let report = SyncReport {
                    run: run.id.clone(),
                    audience: run.audience.clone(),
                    as_of: run.as_of,
                    state: run.state,
                    segment,
                    destinations,
                    open,
                    waits,
                };
                run.outcome = serde_json::to_value(&report).ok();
                if open || waits {
                    (run.state, run.finished_at) = (RunState::Running, None);
                }
                self.store.save_run(&run).await?;
                for part in report.destinations.iter().filter(|part| part.state == RunState::Done && !options.dry_run) {
                    // Verdicts that runs before this one waited for are among those it has asked for.
                    self.store.settle_verdicts(&run.audience, &part.destination).await?;
                }
                if !options.dry_run {
                    self.audit_sent(&run, &report).await?;
                }
                Ok(report)
            }
            Err(error) => {
                run.state = match stopped(&error) {
                    Some(Stop::LeaseLost | Stop::ShuttingDown) => return Err(error),
                    Some(Stop::Cancelled) => RunState::Cancelled,
                    None if options.may_retry && super::error::is_passing(&error) => return Err(error),
                    None => RunState::Failed,
                };
                run.error = Some(error.to_string());
                run.outcome = Some(serde_json::json!({ "error": { "code": super::error::code(&error) } }));
                self.store.save_run(&run).await?;
                Err(error)
            }
        }
    }

    /// Who sent how much where.
    async fn audit_sent(&self, run: &Run, report: &SyncReport) -> anyhow::Result<()> {
        let sent = |part: &DestinationReport| {
            // Earlier legs of the run have their own entries.
            let (all, before) = (&part.counts, &part.before);
            let counts = serde_json::json!({
                "state": part.state,
                "added": all.sent - before.sent,
                "removed": part.done.removed - part.done_before.removed,
                "rejected": all.rejected_all() - before.rejected_all(),
            });
            (part.destination.clone(), counts)
        };
        let sent: serde_json::Map<String, serde_json::Value> = report.destinations.iter().map(sent).collect();
        let detail = serde_json::json!({ "run": run.id, "attempt": run.attempt, "sent": sent });
        self.store.audit(self.clock.now(), &run.requested_by, "sync", &run.audience, &detail).await?;
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one run, taken apart by its only caller")]
    async fn run_destinations(
        &self,
        run: &Run,
        selection: &Selection,
        audience: &AudienceConfig,
        names: &[String],
        ledgers: Vec<Ledger>,
        options: &SyncOptions,
        control: &dyn RunControl,
        progress: &dyn Progress,
    ) -> anyhow::Result<(Funnel, Vec<DestinationReport>)> {
        let temp = Scratch::fixed(&self.audience_dir(&selection.audience).join("gather"))?;
        let gathered = self
            .gather(selection, audience, names, temp.path(), control, progress)
            .instrument(info_span!("gather", audience = selection.audience))
            .await?;
        control.check()?;
        let earlier = self.store.destination_runs(&run.id).await?;
        let deliveries = names.iter().zip(ledgers).map(|(name, ledger)| {
            let (gathered, earlier) = (&gathered, &earlier);
            async move {
                let config = self.config.destination(name)?;
                let opened = self.open_destination(name, RetryPolicy::default()).await;
                let report = match opened {
                    Ok(destination) => {
                        let delivery = Delivery {
                            store: &self.store,
                            clock: &*self.clock,
                            guards: &self.config.guards,
                            progress,
                            control,
                            run_id: &run.id,
                            audience_key: &selection.audience,
                            spec: audience_spec(&selection.audience, audience),
                            destination: &destination,
                            ledger: Mutex::new(ledger),
                            gathered,
                            options,
                            earlier: earlier.iter().find(|part| part.destination == *name).cloned(),
                        };
                        let span = info_span!("deliver", destination = name, connector = config.connector);
                        delivery.run().instrument(span).await
                    }
                    Err(error) => DestinationReport::failed(name, &config.connector, &error.into()),
                };
                self.store.save_destination_run(&report.to_part(&run.id)?).await?;
                anyhow::Ok(report)
            }
        });
        let mut reports = join_all(deliveries).await.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        self.record_assignment(selection, &gathered, &mut reports)?;
        Ok((gathered.funnel, reports))
    }

    /// Remembers who was sent and who was withheld, for measuring later, but nobody who asked to be forgotten. Failing at it fails no run: what was sent is
    /// sent, and the next run remembers the same people.
    fn record_assignment(
        &self,
        selection: &Selection,
        gathered: &Gathered,
        reports: &mut [DestinationReport],
    ) -> anyhow::Result<()> {
        let draws = arms(&self.config, &selection.audience)?;
        let delivered: Vec<&str> =
            reports.iter().filter(|report| report.sent_all).map(|report| report.destination.as_str()).collect();
        // From `as_of` on both arms are fixed; a run for an earlier day is measured from that day.
        let day = assignment::day_of(self.clock.now().min(selection.as_of));
        let recorded = tokio::task::block_in_place(|| {
            // Who was only ever withheld is in no ledger: an e-mail leads to their entry when their row is met.
            if !gathered.forgotten.is_empty() {
                assignment::erase(&self.ledgers, &selection.audience, |key| gathered.forgotten.contains(&key))?;
            }
            record_run(&self.ledgers, &selection.audience, &draws, gathered, &delivered, day)
        });
        if let Err(error) = recorded {
            warn!(audience = selection.audience, error = %error, "Assignment to the control group was not recorded");
            if let Some(first) = reports.first_mut() {
                first.warnings.push(format!("who was sent and who was withheld could not be recorded: {error}"));
            }
        }
        Ok(())
    }

    /// Runs that a kill left open. The audience is locked, so nobody is running them any more.
    async fn close_stopped_runs(&self, audience: &str, own: &str) -> anyhow::Result<()> {
        for mut run in self.store.runs(Some(audience), 20).await? {
            let left = run.state == RunState::Running && run.id != own;
            if left && !self.has_open_job(&run.id).await? {
                run.state = RunState::Failed;
                run.finished_at = Some(self.clock.now());
                run.error = Some("stopped before its end; what it sent is known, the next run carried on".to_owned());
                self.store.save_run(&run).await?;
            }
        }
        Ok(())
    }

    /// Whether a worker will take the run up again.
    async fn has_open_job(&self, run_id: &str) -> anyhow::Result<bool> {
        let job = self.store.job_of_run(run_id).await?;
        Ok(job.is_some_and(|job| matches!(job.state, JobState::Queued | JobState::Running)))
    }

    /// Uploading without knowing about consent needs a person to say so.
    fn require_consent_column(&self, allow: &[String]) -> anyhow::Result<()> {
        let mapped = self.config.warehouse.customers.as_ref().is_some_and(|customers| customers.consent_ads.is_some());
        if mapped || allow.iter().any(|word| word == "no-consent-column") {
            return Ok(());
        }
        Err(SyncError::Guarded(vec![super::guards::Refusal {
            override_word: "no-consent-column",
            message: "no consent column is mapped (warehouse.customers.consent_ads)".to_owned(),
        }])
        .into())
    }
}

/// Sorts by time; the time alone already tells most runs apart.
pub fn new_run_id(now: DateTime<Utc>) -> String {
    let mut random = [0; 3];
    let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random);
    format!("{}-{}", now.format("%Y%m%d-%H%M%S"), const_hex::encode(random))
}

/// Why the run was put down, when that is what the error says.
pub fn stopped(error: &anyhow::Error) -> Option<Stop> {
    // Some stages know of the stop alone.
    error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(SyncError::Stopped(stop)) => Some(*stop),
        _ => cause.downcast_ref().copied(),
    })
}

/// Whether something failed, and all that failed passes by itself.
fn passes(destinations: &[DestinationReport]) -> bool {
    let mut failed = destinations.iter().filter(|report| report.state == RunState::Failed).peekable();
    failed.peek().is_some() && failed.all(|report| report.later)
}

fn overall(destinations: &[DestinationReport]) -> RunState {
    let failed = destinations.iter().filter(|report| report.state == RunState::Failed).count();
    if failed == destinations.len() && failed > 0 {
        RunState::Failed
    } else if failed > 0 || destinations.iter().any(|report| report.state == RunState::Partial) {
        RunState::Partial
    } else if destinations.iter().any(|report| report.state == RunState::Pending) {
        RunState::Pending
    } else {
        RunState::Done
    }
}
