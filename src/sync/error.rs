//! What can stop a run.

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
