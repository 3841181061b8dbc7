//! Verdicts that come after a run has ended count for the run that sent the members.

use std::sync::Mutex;

use reveil_sdk::UploadSummary;
use serde_json::Value;

use super::confirm::Confirmed;
use super::delivery::observe;
use super::destination::Destination;
use super::error::SyncError;
use super::report::Counts;
use crate::ledger::Ledger;
use crate::store::Store;
use crate::store::model::{DestinationRun, Run, RunState};

/// Where to look for the run that sent.
const MOST_RUNS: u32 = 50;

/// Writes verdicts into the latest run that sent something to the destination, with the reading they allow. The inner
/// error is the platform's, which could not be read; the verdicts are kept all the same.
///
/// # Errors
/// The state's, the ledger's.
pub(super) async fn note_late(
    store: &Store,
    destination: &Destination,
    ledger: &Mutex<Ledger>,
    audience: &str,
    confirmed: &Confirmed,
) -> Result<reveil_sdk::Result<()>, SyncError> {
    let Some(reference) = store.audience(audience, &destination.name).await? else { return Ok(Ok(())) };
    let Some((run, mut part)) = last_part(store, audience, &destination.name).await? else { return Ok(Ok(())) };
    let mut upload: UploadSummary = serde_json::from_value(part.upload.clone()).unwrap_or_default();
    upload.match_ranges.extend(confirmed.match_ranges.iter().copied());
    upload.pending_batches = confirmed.pending;
    upload.audience_persons =
        tokio::task::block_in_place(|| ledger.lock().expect("no panic while the ledger is held").stats())?.held;
    judge(&run, &mut part, confirmed, &upload);
    part.upload = plain(&upload);
    store.save_destination_run(&part).await?;
    if upload.persons > 0 {
        return Ok(observe(store, destination, audience, &reference, &part.run_id, &upload).await?.map(drop));
    }
    Ok(Ok(()))
}

/// The destination's part of the latest run that sent something: nothing is sent on top of what is undecided, so all
/// verdicts are about that one. A run that only waited sent nothing.
async fn last_part(
    store: &Store,
    audience: &str,
    destination: &str,
) -> Result<Option<(Run, DestinationRun)>, SyncError> {
    for run in store.runs(Some(audience), MOST_RUNS).await? {
        let parts = store.destination_runs(&run.id).await?;
        let sent = |part: &DestinationRun| part.counts["requests"].as_u64() > Some(0);
        if let Some(part) = parts.into_iter().find(|part| part.destination == destination && sent(part)) {
            return Ok(Some((run, part)));
        }
    }
    Ok(None)
}

/// What the run looks like now: an upload that was taken and then failed, or refused beyond what its caller allows,
/// did not go well.
fn judge(run: &Run, part: &mut DestinationRun, confirmed: &Confirmed, upload: &UploadSummary) {
    let mut counts: Counts = serde_json::from_value(part.counts.clone()).unwrap_or_default();
    counts.note_verdicts(confirmed);
    if let (Value::Object(all), Value::Object(new)) = (&mut part.counts, plain(&counts)) {
        all.extend(new);
    }
    if part.state != RunState::Pending {
        return;
    }
    let allowed = run.options["fail_on_reject_ratio"].as_f64();
    if let Some(error) = allowed.and_then(|allowed| counts.refused(upload).beyond(allowed)) {
        part.state = RunState::Failed;
        part.error = Some(error.to_string());
    } else if !confirmed.failed.is_empty() {
        part.state = RunState::Partial;
        part.error = Some(failed_uploads(confirmed));
    }
}

fn plain(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("numbers and names serialise")
}

fn failed_uploads(confirmed: &Confirmed) -> String {
    let reasons: Vec<String> =
        confirmed.failed.iter().map(|(reason, batches)| format!("{batches}: {reason}")).collect();
    format!(
        "the platform took uploads and then applied none of {} members ({}); the next run sends them again",
        confirmed.failed_members,
        reasons.join(", ")
    )
}
