//! Errors of the domain as problems: a stable code, words that are safe to show, the rest in the log.

use tracing::{error, warn};

use super::problem::{Code, FieldFault, Problem};
use crate::config::Faults;
use crate::daemon::ReloadError;
use crate::daemon::reload::fixed_message;
use crate::daemon::requests::RequestError;
use crate::ledger::LedgerError;
use crate::store::StoreError;
use crate::sync::SyncError;
use crate::warehouse;

/// What the state says of a request, or that it did not answer. Its own words name files and hosts, which stay in the
/// log.
pub fn of_store(error: &StoreError) -> Problem {
    match error {
        StoreError::Unknown { what, key } => Problem::not_found(what, key),
        StoreError::Cursor(_) => Problem::unprocessable(vec![FieldFault::new(
            "query",
            "cursor",
            "is not a cursor of this list; take next_cursor of a page, or leave it out",
        )]),
        _ => {
            error!(error = %error, "The state cannot be reached");
            Problem::new(Code::Unavailable).retry_after(5)
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        of_store(&error)
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::UnknownAudience(key) => Self::not_found("audience", &key),
            RequestError::UnknownRun(id) => Self::not_found("run", &id),
            RequestError::Ended(run) => {
                Self::new(Code::RunEnded).detail(format!("the run ended as {}", run.state.name()))
            }
            RequestError::Store(error) => of_store(&error),
            other => Self::new(Code::Unprocessable).detail(other.to_string()),
        }
    }
}

impl From<ReloadError> for Problem {
    fn from(error: ReloadError) -> Self {
        let found = match error {
            ReloadError::Faults(found) => found,
            ReloadError::Environment(error) => {
                return Self::config_faulty(vec![FieldFault::new("config", ".env", format!("{error:#}"))]);
            }
            ReloadError::Fixed(changes) => {
                let told = changes.iter().map(|change| FieldFault {
                    hint: Some("restart the daemon, or set it back".to_owned()),
                    ..FieldFault::new("config", &change.key, fixed_message(change))
                });
                let errors: Vec<FieldFault> = told.collect();
                let keys: Vec<&str> = errors.iter().map(|fault| fault.field.as_str()).collect();
                let detail = format!("{} cannot change while the daemon runs; nothing was changed", keys.join(", "));
                return Self { errors, ..Self::new(Code::RestartNeeded).detail(detail) };
            }
        };
        let file = found.path.file_name().map_or_else(|| "the file".into(), |name| name.to_string_lossy());
        let told = found.faults.iter().map(|fault| FieldFault {
            hint: Some(match fault.line {
                Some(line) => format!("correct it in line {line} of {file}"),
                None => format!("correct it in {file}, or where else it is set"),
            }),
            ..FieldFault::new("config", &fault.key, &fault.message)
        });
        Self::config_faulty(told.collect())
    }
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        known(&error).unwrap_or_else(|| {
            error!(error = format!("{error:#}"), "A request failed");
            Self::new(Code::Internal)
        })
    }
}

/// The first cause that has a code. These messages are made for operators and hold no personal data.
fn known(error: &anyhow::Error) -> Option<Problem> {
    error.chain().find_map(|cause| {
        if let Some(problem) = cause.downcast_ref::<SyncError>().and_then(of_sync) {
            return Some(problem);
        }
        if let Some(faults) = cause.downcast_ref::<Faults>() {
            return Some(Problem::new(Code::NotConfigured).detail(faults.to_string().trim().to_owned()));
        }
        if let Some(error) = cause.downcast_ref::<StoreError>() {
            return Some(of_store(error));
        }
        if let Some(error) = cause.downcast_ref::<LedgerError>() {
            return Some(of_ledger(error));
        }
        if let Some(error) = cause.downcast_ref::<warehouse::Error>() {
            return Some(of_warehouse(error));
        }
        cause.downcast_ref::<reveil_sdk::Error>().map(of_platform)
    })
}

fn of_sync(error: &SyncError) -> Option<Problem> {
    match error {
        SyncError::Busy => Some(Problem::new(Code::AudienceBusy).retry_after(30)),
        SyncError::Guarded(_) => Some(Problem::new(Code::GuardRefused).detail(error.to_string())),
        SyncError::Platform(error) => Some(of_platform(error)),
        SyncError::Ledger(error) => Some(of_ledger(error)),
        SyncError::Store(error) => Some(of_store(error)),
        SyncError::Warehouse(error) => Some(of_warehouse(error)),
        _ => None,
    }
}

fn of_ledger(error: &LedgerError) -> Problem {
    if error.is_locked() {
        return Problem::new(Code::AudienceBusy).retry_after(30);
    }
    error!(error = %error, "A ledger cannot be read or written");
    Problem::new(Code::Internal)
}

fn of_warehouse(error: &warehouse::Error) -> Problem {
    warn!(error = %error, "The warehouse failed");
    Problem::new(Code::WarehouseFailed).detail(error.to_string())
}

fn of_platform(error: &reveil_sdk::Error) -> Problem {
    warn!(error = %error, "A platform failed");
    let code = if error.kind() == reveil_sdk::ErrorKind::Config { Code::NotConfigured } else { Code::PlatformFailed };
    let problem = Problem::new(code).detail(error.to_string());
    match error.hint_text() {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}
