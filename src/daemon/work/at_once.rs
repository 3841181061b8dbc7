//! A run carried out by the process that asks for it: `reveil sync` goes through the same queue, by the same rules.

use super::End;
use super::carry::{Carried, Patience, carry};
use super::hold::Hold;
use super::verdicts::ask_for_verdicts;
use crate::store::jobs::NewJob;
use crate::sync::{Engine, Progress, SyncReport};

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

/// Queues the job, claims it and carries it out.
///
/// # Errors
/// [`Busy`](super::hold::Busy) while somebody else has the audience; the database's.
pub(crate) async fn run_at_once(engine: &Engine, job: NewJob, progress: &dyn Progress) -> anyhow::Result<AtOnce> {
    let hold = Hold::take(engine, job).await?;
    let run_id = hold.claim.job.run_id.clone().unwrap_or_default();
    // Whoever waits at the terminal tries again; the daemon does not.
    let patience = Patience { most_attempts: 1, waits_for_verdicts: false };
    let Carried { end, report, error } = carry(engine, &hold.claim, &hold.control, patience, Some(progress)).await;
    let end = match end {
        End::Again(error) => End::Failed(error),
        end => end,
    };
    let cancelled = matches!(end, End::Cancelled);
    hold.end(end).await;
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
