//! Who was assigned to which arm of an audience's experiment, and when first: the one thing a measurement by intention
//! to treat cannot work out afterwards, because the segment changes every day.
//!
//! - [`file`]: the private file beside the ledgers, sorted fixed-width records, replaced as a whole.
//! - [`collect`]: the arms of one run, out of what it gathered.
//! - `shared`: the file where several replicas share the ledgers; the one on a machine is a copy then.
//!
//! Treated is who went into a destination's target after all rules; held out is who was withheld by the last of them,
//! so both arms could have been uploaded. A customer keeps the first arm and the first day for good: whoever changed
//! sides later, bought or left was assigned all the same. Customers are known by their member key, which says nothing
//! without the state's secret.

pub mod collect;
pub mod file;
mod shared;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use reveil_sdk::MemberKey;
use sha2::{Digest as _, Sha256};

use crate::identity::Arm as Draw;
use crate::ledger::Ledgers;

pub use collect::record_run;
pub use file::{Assignments, Merger};

/// Why assignments could not be kept or read. Paths only.
#[derive(Debug, thiserror::Error)]
pub enum AssignmentError {
    #[error("cannot {what} {path}: {source}; check the disk, its free space and the permissions")]
    Io { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{path} is damaged; restore it from a backup, or delete it and let the next sync begin a new experiment")]
    Damaged { path: PathBuf },
    #[error("other runs keep adding to {path}; run again")]
    Contended { path: PathBuf },
    #[error(transparent)]
    Ledger(#[from] crate::ledger::LedgerError),
}

impl AssignmentError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { what, path, source }
    }
}

/// What was meant to happen to a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arm {
    Treated,
    Holdout,
}

/// Scale of [`Record::planned`]: two shares in 1/10,000 multiplied stay whole.
pub const PLANNED_SCALE: u32 = 100_000_000;

/// One customer's assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    pub key: MemberKey,
    /// Key of the household: customers who share an address or a number are one unit, in one arm. A customer alone is one.
    pub unit: MemberKey,
    pub arm: Arm,
    /// First assigned, in days since 1970-01-01 (UTC).
    pub day: u16,
    /// Probability of the holdout on that day, in 1/[`PLANNED_SCALE`].
    pub planned: u32,
}

/// The day an instant falls on, in days since 1970-01-01 (UTC).
pub fn day_of(at: DateTime<Utc>) -> u16 {
    at.timestamp().div_euclid(86_400).clamp(0, i64::from(u16::MAX)) as u16
}

/// Probability, in 1/[`PLANNED_SCALE`], that at least one of the draws withholds somebody.
pub fn planned_share(draws: &[Draw]) -> u32 {
    let sent = draws.iter().fold(1.0, |sent, draw| sent * (1.0 - f64::from(draw.holdout_bps) / 10_000.0));
    ((1.0 - sent) * f64::from(PLANNED_SCALE)).round() as u32
}

/// The file of an audience's present experiment, on this machine; `None` when nobody was assigned yet.
///
/// # Errors
/// Files.
pub fn find(ledgers: &Ledgers, audience: &str, draws: &[Draw]) -> Result<Option<PathBuf>, AssignmentError> {
    let path = path(&ledgers.audience_dir(audience), draws);
    if let Some(shared) = ledgers.shared() {
        shared::bring(ledgers, shared, audience, &path)?;
    }
    Ok(path.exists().then_some(path))
}

/// The file of an experiment in the audience's directory. Named by its salts: another salt withholds other people, so
/// what was measured before must not be mixed with it.
pub fn path(audience_dir: &Path, draws: &[Draw]) -> PathBuf {
    let mut hash = Sha256::new();
    for draw in draws {
        hash.update((draw.salt.len() as u64).to_le_bytes());
        hash.update(&draw.salt);
    }
    let name = const_hex::encode(&hash.finalize()[..6]);
    audience_dir.join(format!("assignment-{name}.bin"))
}

/// Brings this machine's copies of shared experiments up to the store's, so that what was erased elsewhere is gone here.
///
/// # Errors
/// Files, the store.
pub fn tidy(ledgers: &Ledgers, audience: &str) -> Result<(), AssignmentError> {
    let Some(shared) = ledgers.shared() else { return Ok(()) };
    for name in shared::names(shared, audience)? {
        let copy = ledgers.audience_dir(audience).join(format!("{name}.bin"));
        if copy.exists() {
            shared::bring(ledgers, shared, audience, &copy)?;
        }
    }
    Ok(())
}

/// Erases customers from every experiment of an audience. Returns how many entries there were.
///
/// # Errors
/// Files that cannot be read or written, the store.
pub fn erase(ledgers: &Ledgers, audience: &str, drop: impl Fn(MemberKey) -> bool) -> Result<u64, AssignmentError> {
    let mut erased = 0;
    if let Some(shared) = ledgers.shared() {
        let dir = ledgers.audience_dir(audience);
        for name in shared::names(shared, audience)? {
            let copy = dir.join(format!("{name}.bin"));
            erased += shared::add(ledgers, shared, audience, &copy, |path| file::erase(path, &drop))?;
        }
    }
    let dir = ledgers.own_audience_dir(audience);
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(erased),
        Err(error) => return Err(AssignmentError::io("list", &dir)(error)),
    };
    for entry in entries {
        let path = entry.map_err(AssignmentError::io("list", &dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("assignment-") && name.ends_with(".bin") {
            erased += file::erase(&path, &drop)?;
        }
    }
    Ok(erased)
}
