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
    Warehouse(#[from] crate::warehouse::WarehouseError),
    #[error(transparent)]
    Segment(#[from] crate::segment::SegmentError),
    #[error(transparent)]
    Identity(#[from] crate::identity::IdentityError),
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
