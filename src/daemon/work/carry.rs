//! One run, from its claim to its end.

use std::sync::Arc;

use serde_json::json;
use tracing::{Instrument as _, info, info_span, warn};

use super::control::Control;
use super::events::{Recorder, write};
use super::verdicts::{VERDICT_DEADLINE, ask_for_verdicts, first_question, next_question};
use super::{Daemon, End};
use crate::daemon::requests::RunOptions;
use crate::store::claims::Claim;
use crate::store::model::{Run, RunState};
use crate::store::{Store, StoreError};
use crate::sync::error::is_passing;
use crate::sync::run::stopped;
use crate::sync::{Engine, Progress, Stop, SyncReport};
use crate::telemetry::metrics::{ChangeLabels, KindLabel, RunLabels};

/// A run whose worker died this many times more often than it may fail is given up.
const DEATHS_PER_FAILURE: u32 = 4;

/// What came of carrying a run out.
#[derive(Debug)]
pub(crate) struct Carried {
    pub end: End,
    pub report: Option<SyncReport>,
    /// What stopped all of it.
    pub error: Option<anyhow::Error>,
}

impl Carried {
    fn ended(end: End) -> Self {
        Self { end, report: None, error: None }
    }
}

/// Whether and how a run is taken up again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// How often it may fail for reasons that pass.
    pub most_attempts: u32,
    /// Whether it goes on by itself when a platform has decided on what came before.
    pub waits_for_verdicts: bool,
}

/// Carries out the run of a claimed job on this engine.
pub(crate) async fn carry(
    engine: &Engine,
    claim: &Claim,
    control: &Control,
    patience: Patience,
    beside: Option<&dyn Progress>,
) -> Carried {
    let Some(run_id) = &claim.job.run_id else { return Carried::ended(End::Failed("the job names no run".to_owned())) };
    let mut engine = engine.clone();
    // Whatever a worker writes that has lost its lease without knowing is refused.
    engine.store = engine.store.fenced(claim.fence());
    let run = match engine.store.run(run_id).await {
        Ok(Some(run)) => run,
        Ok(None) => return Carried::ended(End::Failed("the run is gone".to_owned())),
        Err(error) => return Carried { end: End::Again(error.to_string()), report: None, error: Some(error.into()) },
    };
    let (attempts, most_attempts) = (claim.job.attempts, patience.most_attempts);
    if attempts > most_attempts.saturating_mul(DEATHS_PER_FAILURE) {
        let error = anyhow::anyhow!("given up: {} workers died or stopped in the middle of it", attempts - 1);
        let written = fail(&engine, run_id, &error).await;
        let end = written.map_or_else(|error| End::Again(error.to_string()), |()| End::Failed(error.to_string()));
        return Carried { end, report: None, error: Some(error) };
    }
    let options: RunOptions = serde_json::from_value(run.options.clone()).unwrap_or_default();
    let (recorder, receiver) = Recorder::new(beside);
    let writer = tokio::spawn(write(engine.store.clone(), Arc::clone(&engine.clock), run_id.clone(), receiver));
    recorder.tell("state", json!({ "state": RunState::Running, "attempt": attempts }));
    let span = info_span!("run", run.id = run_id, audience = run.audience, kind = run.kind.name(), attempt = attempts);
    let age = engine.clock.now() - claim.job.created_at;
    let waits = patience.waits_for_verdicts && age < VERDICT_DEADLINE;
    let sync_options = options.sync_options(run_id, attempts < most_attempts, waits);
    let selection = options.selection(&run);
    let result = tokio::select! {
        biased;
        () = control.dropped() => None,
        result = engine.sync(&selection, &sync_options, control, &recorder).instrument(span) => Some(result),
    };
    let mut carried = settle(&engine, &run, control, sync_options.may_retry, result).await;
    if carried.report.as_ref().is_some_and(|report| report.waits && !report.open) {
        carried.end = End::Later(next_question(age, first_question(&engine, &run.audience)));
    }
    tell_end(&recorder, &carried);
    drop(recorder);
    // Its panic has been reported; the run has ended all the same.
    let _ = writer.await;
    carried
}

async fn settle(
    engine: &Engine,
    run: &Run,
    control: &Control,
    may_retry: bool,
    result: Option<anyhow::Result<SyncReport>>,
) -> Carried {
    match result {
        Some(Ok(report)) if report.open => {
            let errors: Vec<&str> = report.destinations.iter().filter_map(|part| part.error.as_deref()).collect();
            Carried { end: End::Again(errors.join("; ")), report: Some(report), error: None }
        }
        Some(Ok(report)) => {
            let end = match report.state {
                RunState::Cancelled => End::Cancelled,
                RunState::Failed => End::Failed("the run failed; see its report".to_owned()),
                state => End::Done(json!({ "state": state })),
            };
            Carried { end, report: Some(report), error: None }
        }
        Some(Err(error)) => {
            let end = match stopped(&error) {
                Some(Stop::Cancelled) => End::Cancelled,
                Some(Stop::ShuttingDown) => End::PutDown,
                Some(Stop::LeaseLost) => End::Lost,
                None if lost(&error) => End::Lost,
                None if may_retry && is_passing(&error) => End::Again(error.to_string()),
                None => match fail(engine, &run.id, &error).await {
                    Ok(()) => End::Failed(error.to_string()),
                    Err(unwritten) => End::Again(unwritten.to_string()),
                },
            };
            Carried { end, report: None, error: Some(error) }
        }
        None => match control.why() {
            Some(Stop::Cancelled) => {
                warn!(run.id = run.id, "A cancelled run did not come to the end of its batch and was dropped");
                let end = match close(engine, &run.id, RunState::Cancelled, None).await {
                    Ok(()) => End::Cancelled,
                    Err(unwritten) => End::Again(unwritten.to_string()),
                };
                Carried::ended(end)
            }
            Some(Stop::ShuttingDown) => Carried::ended(End::PutDown),
            Some(Stop::LeaseLost) | None => Carried::ended(End::Lost),
        },
    }
}

fn lost(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        matches!(cause.downcast_ref(), Some(StoreError::LeaseLost { .. }))
            || matches!(cause.downcast_ref(), Some(crate::sync::SyncError::Store(StoreError::LeaseLost { .. })))
    })
}

async fn fail(engine: &Engine, run_id: &str, error: &anyhow::Error) -> Result<(), StoreError> {
    close(engine, run_id, RunState::Failed, Some(error.to_string())).await
}

/// Writes the end of a run that did not come to writing it itself.
async fn close(engine: &Engine, run_id: &str, state: RunState, error: Option<String>) -> Result<(), StoreError> {
    let Some(mut run) = engine.store.run(run_id).await?.filter(|run| !run.state.is_over()) else { return Ok(()) };
    run.state = state;
    run.finished_at = Some(engine.clock.now());
    run.error = error;
    engine.store.save_run(&run).await
}

fn tell_end(recorder: &Recorder<'_>, carried: &Carried) {
    for part in carried.report.iter().flat_map(|report| &report.destinations) {
        for warning in &part.warnings {
            recorder.tell("warning", json!({ "destination": part.destination, "text": warning }));
        }
        if let Some(error) = &part.error {
            let body = json!({ "destination": part.destination, "text": error, "hint": part.hint });
            recorder.tell("warning", body);
        }
    }
    let state = carried.report.as_ref().map(|report| report.state);
    match &carried.end {
        End::Done(_) | End::Failed(_) | End::Cancelled => {
            let fallback = if matches!(carried.end, End::Cancelled) { RunState::Cancelled } else { RunState::Failed };
            let error = carried.error.as_ref().map(ToString::to_string);
            recorder.tell("end", json!({ "state": state.unwrap_or(fallback), "error": error }));
        }
        End::Again(error) => recorder.tell("state", json!({ "state": RunState::Queued, "error": error })),
        End::Later(_) => recorder.tell("state", json!({ "state": RunState::Queued, "waits_for": "platform" })),
        End::PutDown => recorder.tell("state", json!({ "state": RunState::Queued })),
        End::Lost => {}
    }
}

impl Daemon {
    pub(super) async fn work_on_run(self: &Arc<Self>, claim: &Claim, control: &Control) -> End {
        let engine = self.engine();
        let started = self.clock().now();
        let patience = Patience { most_attempts: engine.config.scheduler.max_attempts, waits_for_verdicts: true };
        let carried = carry(&engine, claim, control, patience, None).await;
        let Some(run) = self.ended_run(engine.store.clone(), claim, &carried.end).await else { return carried.end };
        let kind = run.kind.name().to_owned();
        let labels = RunLabels { audience: run.audience.clone(), kind: kind.clone(), outcome: run.state.name() };
        self.metrics().runs.get_or_create(&labels).inc();
        let took = (self.clock().now() - run.started_at.unwrap_or(started)).to_std().unwrap_or_default();
        self.metrics().run_duration.get_or_create(&KindLabel { kind }).observe(took.as_secs_f64());
        info!(
            run.id = run.id,
            audience = run.audience,
            state = run.state.name(),
            duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            error = run.error,
            "Run ended"
        );
        if let Some(report) = &carried.report {
            self.count_members(report);
            if let Err(error) = ask_for_verdicts(&engine, report).await {
                // The next run asks too.
                warn!(run.id = run.id, error = %error, "The question for its verdicts could not be queued");
            }
        }
        self.alert_on_run(&run, carried.report.as_ref()).await;
        carried.end
    }

    /// The run as it is now, when it is over.
    async fn ended_run(&self, store: Store, claim: &Claim, end: &End) -> Option<Run> {
        if !matches!(end, End::Done(_) | End::Failed(_) | End::Cancelled) {
            return None;
        }
        store.run(claim.job.run_id.as_deref()?).await.ok()?
    }

    fn count_members(&self, report: &SyncReport) {
        for part in &report.destinations {
            let counts = &part.counts;
            let rejected = counts.rejected.values().sum::<u64>() + counts.rejected_unnamed;
            for (change, members) in [("added", counts.sent), ("removed", counts.remove), ("rejected", rejected)] {
                let labels = ChangeLabels { destination: part.destination.clone(), change };
                self.metrics().members.get_or_create(&labels).inc_by(members);
            }
        }
    }
}
