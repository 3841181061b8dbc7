//! `reveil sync`: bring the destinations of an audience up to date.

use chrono::{DateTime, Utc};
use clap::Args;
use reveil_sdk::ErrorKind;

use super::exit::{CliError, Exit};
use super::output::progress;
use super::setup::{Global, audience_key, engine, instant, print_json};
use super::table::{Align, Table, count};
use crate::daemon::requests::{RunOptions, RunRequest, requested_job};
use crate::daemon::work::at_once::{AtOnce, run_at_once};
use crate::store::audit::local_actor;
use crate::store::jobs::NewJob;
use crate::store::model::RunState;
use crate::sync::guards::OVERRIDES;
use crate::sync::{Engine, SyncReport};

/// See the module.
#[derive(Debug, Args)]
pub struct SyncArgs {
    /// The audience; may be left out when there is only one
    audience: Option<String>,
    /// Only these destinations (repeatable)
    #[arg(long, value_name = "NAME")]
    destination: Vec<String>,
    /// As of this date or instant; default now
    #[arg(long, value_parser = instant, value_name = "DATE")]
    as_of: Option<DateTime<Utc>>,
    /// Wait for the platforms' verdicts (minutes to a day) instead of asking in the next run
    #[arg(long)]
    wait: bool,
    /// Send everybody again and let the platform drop the rest, without a gap in the audience
    #[arg(long)]
    full: bool,
    /// Let a guard pass (repeatable): empty, shrink, growth, below-minimum, no-consent-column. Audited.
    #[arg(long, value_name = "GUARD", value_parser = guard_word)]
    allow: Vec<String>,
    /// Send members again that the platform refused before, though unchanged
    #[arg(long)]
    retry_rejected: bool,
    /// Leave it to a daemon (`reveil serve`): print the run's id and return
    #[arg(long, conflicts_with = "wait")]
    queue: bool,
    /// Compare and count, send nothing
    #[arg(long)]
    dry_run: bool,
    /// Instead of guards.max_removal_ratio, for this run
    #[arg(long, value_name = "RATIO")]
    max_removal_ratio: Option<f64>,
    /// Count a destination as failed that rejects more than this share of what it is sent
    #[arg(long, value_name = "RATIO")]
    fail_on_reject_ratio: Option<f64>,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

fn guard_word(text: &str) -> Result<String, String> {
    if OVERRIDES.iter().any(|(word, _)| *word == text) {
        return Ok(text.to_owned());
    }
    let known: Vec<&str> = OVERRIDES.iter().map(|(word, _)| *word).collect();
    Err(format!("one of {}", known.join(", ")))
}

/// # Errors
/// What stops the whole run.
pub async fn run(global: &Global, args: SyncArgs) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    let request = RunRequest {
        audience: audience_key(&engine.config, args.audience.as_deref())?,
        as_of: args.as_of,
        options: RunOptions {
            destinations: args.destination,
            full: args.full,
            allow: args.allow,
            retry_rejected: args.retry_rejected,
            dry_run: args.dry_run,
            wait: args.wait,
            max_removal_ratio: args.max_removal_ratio,
            fail_on_reject_ratio: args.fail_on_reject_ratio,
            origin: None,
        },
        dedup_key: None,
    };
    let now = engine.clock.now();
    let job = requested_job(&engine.config, &request, &local_actor(), now)
        .map_err(|error| CliError::new(Exit::Usage, error.to_string()))?;
    if args.queue {
        return queue(&engine, &job, args.json).await;
    }
    let progress = progress(args.json);
    let outcome = run_at_once(&engine, job, &*progress).await?;
    drop(progress);
    let report = match outcome {
        AtOnce::Report(report) => *report,
        AtOnce::Error(error) => return Err(guarded(error)),
        AtOnce::Cancelled { run_id } => {
            return Err(CliError::new(Exit::Failed, format!("run {run_id} was cancelled")).into());
        }
        AtOnce::Lost { run_id } => {
            let message = format!("run {run_id} was taken over by another worker");
            return Err(CliError::new(Exit::TryLater, message).hint("`reveil runs` shows how it goes on").into());
        }
    };
    if args.json {
        print_json(&report)?;
    } else {
        print!("{}", render(&report));
    }
    Ok(exit(&report))
}

async fn queue(engine: &Engine, job: &NewJob, json: bool) -> anyhow::Result<Exit> {
    let queued = engine.store.enqueue(job, engine.clock.now()).await?;
    let run = queued.job.run_id.unwrap_or_default();
    if json {
        print_json(&serde_json::json!({ "run": run, "state": RunState::Queued }))?;
    } else {
        println!("{run}");
    }
    Ok(Exit::Done)
}

fn guarded(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<crate::sync::SyncError>() {
        Some(crate::sync::SyncError::Guarded(_)) => CliError::new(Exit::Guarded, error.to_string()).into(),
        _ => error,
    }
}

/// The run for people.
pub fn render(report: &SyncReport) -> String {
    let mut text = format!("Run {} of audience {}: {}\n", report.run, report.audience, report.state.name());
    let mut table = Table::new(&[
        ("destination", Align::Left),
        ("state", Align::Left),
        ("sent", Align::Right),
        ("removed", Align::Right),
        ("kept", Align::Right),
        ("rejected", Align::Right),
        ("requests", Align::Right),
    ]);
    for destination in &report.destinations {
        let counts = &destination.counts;
        let rejected = counts.rejected.values().sum::<u64>() + counts.rejected_unnamed;
        table.row(
            [destination.destination.clone(), destination.state.name().to_owned()]
                .into_iter()
                .chain([counts.sent, counts.remove, counts.keep, rejected, counts.requests].map(count)),
        );
    }
    text.push_str(&table.render(2));
    for destination in &report.destinations {
        for (reason, number) in &destination.counts.rejected {
            text.push_str(&format!("  {}: {} refused: {reason}\n", destination.destination, count(*number)));
        }
        for warning in &destination.warnings {
            text.push_str(&format!("  {}: warning: {warning}\n", destination.destination));
        }
        if let Some(error) = &destination.error {
            text.push_str(&format!("  {}: error: {error}\n", destination.destination));
        }
        if let Some(hint) = &destination.hint {
            text.push_str(&format!("  {}: hint: {hint}\n", destination.destination));
        }
    }
    if report.destinations.iter().any(|destination| destination.unfinished) {
        text.push_str(
            "  Not everything was sent. Run the same again later, or with --wait; a daemon goes on by itself \
             (`reveil sync --queue`).\n",
        );
    }
    if report.state == RunState::Pending {
        text.push_str("  The platforms took it and have not decided on all of it; the next run or `reveil status --refresh` asks.\n");
    }
    text
}

/// Whether all that is missing waits for a platform's verdict.
fn only_waits(report: &SyncReport) -> bool {
    let fine = |state| matches!(state, RunState::Done | RunState::Pending);
    report.destinations.iter().all(|part| part.unfinished || fine(part.state))
}

/// The code a scheduler acts on: the worst of what happened, as far as a person or time can mend it.
pub fn exit(report: &SyncReport) -> Exit {
    match report.state {
        RunState::Done | RunState::Pending | RunState::Running | RunState::Queued => Exit::Done,
        // Time mends it.
        RunState::Partial if only_waits(report) => Exit::TryLater,
        RunState::Partial => Exit::Partial,
        RunState::Cancelled => Exit::Failed,
        RunState::Failed => {
            let all = |test: fn(&crate::sync::DestinationReport) -> bool| report.destinations.iter().all(test);
            if all(|destination| destination.guarded) {
                Exit::Guarded
            } else if all(|destination| matches!(destination.error_kind, Some(ErrorKind::Auth | ErrorKind::Permission)))
            {
                Exit::Permission
            } else if all(|destination| matches!(destination.error_kind, Some(ErrorKind::Config))) {
                Exit::Usage
            } else if all(|destination| destination.later) {
                Exit::TryLater
            } else {
                Exit::Failed
            }
        }
    }
}
