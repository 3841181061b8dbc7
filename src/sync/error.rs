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
    #[error("audience `{audience}` does not go to `{destination}`; it goes to: {known}")]
    Destination { audience: String, destination: String, known: String },
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

impl SyncError {
    /// Whether the same may work later without anybody changing anything.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Platform(error) => super::upload::is_later(error),
            Self::Ledger(error) => error.is_passing(),
            Self::Store(error) => error.is_transient(),
            Self::Warehouse(error) => error.is_transient(),
            Self::Temporary(source) | Self::File { source, .. } => {
                use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, ResourceBusy, StorageFull};
                matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge | ResourceBusy)
            }
            Self::Busy => true,
            Self::Protocol(_)
            | Self::Destination { .. }
            | Self::Stopped(_)
            | Self::Rejections { .. }
            | Self::Guarded(_) => false,
        }
    }

    /// A stable name of what it is, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Platform(error) => platform_code(error),
            Self::Ledger(error) if error.is_locked() => "audience_busy",
            Self::Ledger(_) => "ledger_failed",
            Self::Store(_) => "state_unavailable",
            Self::Warehouse(_) => "warehouse_failed",
            Self::Temporary(_) | Self::File { .. } => "disk_failed",
            Self::Busy => "audience_busy",
            Self::Stopped(_) => "stopped",
            Self::Rejections { .. } => "too_many_rejected",
            Self::Guarded(_) => "guard_refused",
            Self::Destination { .. } => "not_configured",
            Self::Protocol(_) => "failed",
        }
    }
}

fn platform_code(error: &reveil_sdk::Error) -> &'static str {
    use reveil_sdk::ErrorKind::{Auth, Config, Permission};
    match error.kind() {
        Config => "not_configured",
        Auth | Permission => "permission",
        _ if super::upload::is_later(error) => "platform_unavailable",
        _ => "platform_failed",
    }
}

/// As [`SyncError::code`], for an error that has been carried further.
pub fn code(error: &anyhow::Error) -> &'static str {
    let known = error.chain().find_map(|cause| {
        let sync = cause.downcast_ref::<SyncError>().map(SyncError::code);
        let warehouse = || cause.is::<crate::warehouse::Error>().then_some("warehouse_failed");
        let store = || cause.is::<crate::store::StoreError>().then_some("state_unavailable");
        let platform = || cause.downcast_ref::<reveil_sdk::Error>().map(platform_code);
        let stop = || cause.is::<Stop>().then_some("stopped");
        sync.or_else(warehouse).or_else(store).or_else(platform).or_else(stop)
    });
    known.unwrap_or("failed")
}

/// As [`SyncError::is_passing`], for an error that has been carried further.
pub fn is_passing(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let sync = cause.downcast_ref::<SyncError>().map(SyncError::is_passing);
        let store = || cause.downcast_ref::<crate::store::StoreError>().map(crate::store::StoreError::is_transient);
        let ledger = || cause.downcast_ref::<crate::ledger::LedgerError>().map(crate::ledger::LedgerError::is_passing);
        let warehouse = || cause.downcast_ref::<crate::warehouse::Error>().map(crate::warehouse::Error::is_transient);
        let platform = || cause.downcast_ref::<reveil_sdk::Error>().map(super::upload::is_later);
        sync.or_else(store).or_else(ledger).or_else(warehouse).or_else(platform).unwrap_or(false)
    })
}

fn refused(refusals: &[Refusal]) -> String {
    let mut text = "nothing was sent:".to_owned();
    for refusal in refusals {
        text.push_str(&format!(" {} (allow it with --allow {});", refusal.message, refusal.override_word));
    }
    text.trim_end_matches(';').to_owned()
}
