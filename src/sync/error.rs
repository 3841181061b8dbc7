//! What can stop a run.

use super::control::Stop;
use super::guards::Refusal;

/// See the module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    #[error(transparent)]
    Platform(#[from] reveil_sdk::Error),
    #[error(transparent)]
    Ledger(#[from] crate::ledger::LedgerError),
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    #[error(transparent)]
    Warehouse(#[from] crate::warehouse::Error),
    #[error("cannot write a temporary file beside the ledgers: {0}")]
    Temporary(#[from] std::io::Error),
    #[error("{0}")]
    Protocol(&'static str),
    #[error("another run holds this audience; wait until it ends, or stop it")]
    Busy,
    #[error(transparent)]
    Stopped(#[from] Stop),
    #[error(
        "{rejected} of {answered} members were rejected ({:.1} %; fail_on_reject_ratio allows {:.1} %)",
        *rejected as f64 / (*answered).max(1) as f64 * 100.0,
        allowed * 100.0
    )]
    Rejections { rejected: u64, answered: u64, allowed: f64 },
    #[error("{}", refused(.0))]
    Guarded(Vec<Refusal>),
    #[error("{what} {path}: {source}")]
    File { what: &'static str, path: String, source: std::io::Error },
}

fn refused(refusals: &[Refusal]) -> String {
    let mut text = "nothing was sent:".to_owned();
    for refusal in refusals {
        text.push_str(&format!(" {} (allow it with --allow {});", refusal.message, refusal.override_word));
    }
    text.trim_end_matches(';').to_owned()
}
