//! Exit codes that a scheduler can act on, and how an error is shown.

use std::process::ExitCode;

use reveil_sdk::{Error, ErrorKind, Retry};

use crate::config::{Faults, NoSuch};
use crate::daemon::work::hold::Busy;
use crate::ledger::LedgerError;
use crate::report::campaign::CampaignError;
use crate::roi::InputError;
use crate::roi::request::RequestError;
use crate::store::StoreError;
use crate::sync::SyncError;
use crate::vault::VaultError;
use crate::warehouse;

/// What the process says to whoever started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Done = 0,
    /// Something failed that trying again will not mend.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// A guard refused to send; nothing was sent.
    Guarded = 3,
    /// Some destinations failed or lack something, others are done.
    Partial = 4,
    /// The credential or a permission needs a person.
    Permission = 5,
    /// Sent, and the platform has not decided yet.
    Pending = 6,
    /// Another run holds the audience, or the platform or warehouse is not reachable: try again later.
    TryLater = 75,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that already knows its exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    pub exit: Exit,
    pub message: String,
    pub hint: Option<String>,
}

impl CliError {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Writes the error to stderr and picks the code.
pub fn report(error: &anyhow::Error) -> Exit {
    let reader_left = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    };
    // As of `… | head`: whoever read has seen enough.
    if error.chain().any(reader_left) {
        return Exit::Done;
    }
    let mut text = format!("error: {error}");
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str("\n  because: ");
            text.push_str(&cause);
        }
    }
    if let Some(hint) = hint(error) {
        text.push_str("\n  hint: ");
        text.push_str(&hint);
    }
    eprintln!("{}", text.trim_end());
    code(error)
}

fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<Error>() {
            return error.hint_text().map(str::to_owned);
        }
        if let Some(busy) = cause.downcast_ref::<Busy>() {
            return Some(busy.hint());
        }
        cause.downcast_ref::<CliError>().and_then(|error| error.hint.clone())
    })
}

fn code(error: &anyhow::Error) -> Exit {
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<CliError>() {
            return error.exit;
        }
        let refused = cause.is::<RequestError>()
            || cause.is::<InputError>()
            || matches!(cause.downcast_ref(), Some(CampaignError::Request(_) | CampaignError::NoAudience(_)));
        if refused || cause.is::<Faults>() || cause.is::<NoSuch>() {
            return Exit::Usage;
        }
        if matches!(cause.downcast_ref(), Some(SyncError::Destination { .. })) {
            return Exit::Usage;
        }
        if let Some(error) = cause.downcast_ref::<Error>() {
            return match (error.kind(), error.retry_advice()) {
                (ErrorKind::Config, _) => Exit::Usage,
                (ErrorKind::Auth | ErrorKind::Permission, _) => Exit::Permission,
                (_, Retry::Exhausted) => Exit::TryLater,
                _ => Exit::Failed,
            };
        }
        match cause.downcast_ref::<VaultError>() {
            Some(VaultError::Store(_)) | None => {}
            Some(_) => return Exit::Usage,
        }
        let state = match cause.downcast_ref::<SyncError>() {
            Some(SyncError::Store(error)) => Some(error),
            _ => cause.downcast_ref::<StoreError>(),
        };
        match state {
            Some(StoreError::Url(_)) => return Exit::Usage,
            Some(error) if error.is_transient() => return Exit::TryLater,
            _ => {}
        }
        if cause.is::<Busy>() || matches!(cause.downcast_ref::<SyncError>(), Some(SyncError::Busy)) {
            return Exit::TryLater;
        }
        if cause.downcast_ref::<LedgerError>().is_some_and(LedgerError::is_locked) {
            return Exit::TryLater;
        }
        // A transparent error does not show what it holds as its cause.
        let warehouse = match cause.downcast_ref::<SyncError>() {
            Some(SyncError::Warehouse(error)) => Some(error),
            _ => cause.downcast_ref::<warehouse::Error>(),
        };
        if let Some(error) = warehouse {
            return of_warehouse(error.kind());
        }
    }
    Exit::Failed
}

fn of_warehouse(kind: warehouse::ErrorKind) -> Exit {
    use warehouse::ErrorKind::{Busy, Config, Denied, Query, Unreachable};
    match kind {
        // A table or column that does not exist is a fault of the mapping.
        Config | Query => Exit::Usage,
        Denied => Exit::Permission,
        Busy | Unreachable => Exit::TryLater,
        _ => Exit::Failed,
    }
}
