//! Asks for the platform's final word on accepted batches, and writes it into the ledger.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use reveil_sdk::{Clock, ErrorKind, Operation, RejectReason, Verdict};
use serde::{Deserialize, Serialize};

use super::control::RunControl;
use super::destination::Destination;
use super::error::SyncError;
use super::progress::Progress;
use crate::ledger::{Ledger, PendingBatch};

/// Before the first question, where neither the config nor a reply says otherwise: asynchronous platforms need
/// tens of minutes.
const FIRST_QUESTION: Duration = Duration::from_secs(30 * 60);
/// Between two questions, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(2 * 3600);
/// Platforms promise a verdict within 24 hours.
const DEADLINE: Duration = Duration::from_secs(26 * 3600);
const QUESTIONS_AT_ONCE: usize = 4;

/// What the verdicts said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Confirmed {
    /// Batches still undecided.
    pub pending: u64,
    /// Members of them.
    pub pending_members: u64,
    pub rejected: BTreeMap<RejectReason, u64>,
    /// Of them, adds.
    pub rejected_adds: u64,
    /// Rejected without naming the member.
    pub rejected_unnamed: BTreeMap<RejectReason, u64>,
    /// Batches of which nothing was applied, by reason.
    pub failed: BTreeMap<RejectReason, u64>,
    /// Members of failed batches; the next round sends them again.
    pub failed_members: u64,
    /// `(persons, low, high)` per decided batch that added members.
    pub match_ranges: Vec<(u64, f64, f64)>,
}

/// Asks until everything is decided (`wait`), or once.
///
/// # Errors
/// When asking fails for another reason than a lost ticket.
pub async fn confirm(
    destination: &Destination,
    ledger: &Mutex<Ledger>,
    clock: &dyn Clock,
    progress: &dyn Progress,
    control: &dyn RunControl,
    wait: bool,
) -> Result<Confirmed, SyncError> {
    let mut confirmed = Confirmed::default();
    let started = clock.now();
    let mut pause = destination.poll_first.unwrap_or(FIRST_QUESTION);
    loop {
        control.check()?;
        let pending = ledger.lock().expect("no panic while the ledger is held").pending();
        if pending.is_empty() {
            return Ok(confirmed);
        }
        let first = destination.poll_first.unwrap_or(FIRST_QUESTION);
        let now = clock.now();
        let (ripe, young): (Vec<_>, Vec<_>) =
            pending.into_iter().partition(|batch| (now - batch.accepted_at).to_std().unwrap_or_default() >= first);
        let mut again_after = young.iter().map(|batch| remaining(batch, first, now)).max();
        let mut undecided: Vec<PendingBatch> = young;
        let answers: Vec<_> = stream::iter(ripe)
            .map(|batch| async move {
                let verdict = destination.connector.verdict(&destination.context(), &batch.ticket).await;
                (batch, verdict)
            })
            .buffer_unordered(QUESTIONS_AT_ONCE)
            .collect()
            .await;
        for (batch, verdict) in answers {
            match verdict {
                Ok(Verdict::Pending { again_after: asked }) => {
                    let asked = asked.max(pause).min(LONGEST_PAUSE);
                    again_after = Some(again_after.map_or(asked, |known| known.max(asked)));
                    undecided.push(batch);
                }
                Ok(verdict) => decide(ledger, &batch, verdict, &mut confirmed)?,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    progress.note(&format!(
                        "{}: the platform no longer knows an upload of {} members; they are sent again",
                        destination.name, batch.members
                    ));
                    ledger.lock().expect("no panic while the ledger is held").give_up(batch.seq)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        confirmed.pending = undecided.len() as u64;
        confirmed.pending_members = undecided.iter().map(|batch| u64::from(batch.members)).sum();
        let Some(again_after) = again_after.filter(|_| !undecided.is_empty()) else { continue };
        let waited = (clock.now() - started).to_std().unwrap_or_default();
        if !wait || waited + again_after > DEADLINE {
            return Ok(confirmed);
        }
        progress.stage(&format!(
            "{}: waiting for the platform's verdict on {} members",
            destination.name, confirmed.pending_members
        ));
        clock.sleep(again_after).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

fn remaining(batch: &PendingBatch, first: Duration, now: chrono::DateTime<chrono::Utc>) -> Duration {
    first.saturating_sub((now - batch.accepted_at).to_std().unwrap_or_default())
}

fn decide(
    ledger: &Mutex<Ledger>,
    batch: &PendingBatch,
    verdict: Verdict,
    confirmed: &mut Confirmed,
) -> Result<(), SyncError> {
    let mut ledger = ledger.lock().expect("no panic while the ledger is held");
    match verdict {
        Verdict::Pending { .. } => {}
        Verdict::Applied { rejected, rejected_unnamed, match_range } => {
            let indices: Vec<u32> = rejected.iter().map(|rejection| rejection.index).collect();
            ledger.verdict(batch.seq, Some(&indices))?;
            if batch.operation == Operation::Add {
                confirmed.rejected_adds += indices.len() as u64;
            }
            for rejection in rejected {
                *confirmed.rejected.entry(rejection.reason).or_default() += 1;
            }
            for (reason, count) in rejected_unnamed {
                *confirmed.rejected_unnamed.entry(reason).or_default() += count;
            }
            if let (Some((low, high)), Operation::Add) = (match_range, batch.operation) {
                confirmed.match_ranges.push((u64::from(batch.members), low, high));
            }
        }
        Verdict::Failed { reason, again: _ } => {
            ledger.verdict(batch.seq, None)?;
            *confirmed.failed.entry(reason).or_default() += 1;
            confirmed.failed_members += u64::from(batch.members);
        }
    }
    Ok(())
}
