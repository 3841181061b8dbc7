//! The journal in the store: one object for what one append wrote.
//!
//! ```text
//! object = "RVLJRNL1" | writer 16 | crc32 of the journal before | frames
//! ```
//! The writer tells one's own object, put by an attempt whose answer was lost, from another's. The checksum of all that
//! comes before shows whether a copy, or the store itself, has another past than the writer had.

use chrono::{DateTime, TimeDelta, Utc};

use super::SharedLedger;
use crate::ledger::error::{LedgerError, Result};
use crate::ledger::generation::Generation;

const MAGIC: &[u8; 8] = b"RVLJRNL1";
pub(super) const HEAD_BYTES: usize = MAGIC.len() + 16 + 4;
/// After a longer pause a writer looks whether its generation is still the ledger's. Far below the time for which old
/// generations are kept.
const PAUSE: TimeDelta = TimeDelta::hours(1);

/// Puts frames of one generation's journal, as one writer.
#[derive(Debug)]
pub(crate) struct Appender {
    ledger: SharedLedger,
    number: u64,
    folder: String,
    seen_at: DateTime<Utc>,
}

impl Appender {
    /// `seen_at`: when the generation was surely the ledger's, or not in use yet.
    pub(super) fn new(ledger: &SharedLedger, generation: &Generation, seen_at: DateTime<Utc>) -> Self {
        let folder = ledger.journal_folder(generation);
        Self { ledger: ledger.clone(), number: generation.number, folder, seen_at }
    }

    /// When this returns, the frames are in the store, and nobody else's are at this place.
    ///
    /// # Errors
    /// [`LedgerError::Lost`] when somebody else's are.
    pub(crate) fn put(&mut self, at: u64, before: u32, frames: &[u8]) -> Result<()> {
        let object = [&MAGIC[..], &self.ledger.writer.0, &before.to_le_bytes(), frames].concat();
        if self.ledger.objects.put_new(&object_name(&self.folder, at), object.into())?.is_some() {
            return Err(self.ledger.lost());
        }
        let now = self.ledger.clock.now();
        let paused = (now - self.seen_at).abs() > PAUSE;
        self.seen_at = now;
        if paused && self.ledger.newest_number()? != Some(self.number) {
            return Err(self.ledger.lost());
        }
        Ok(())
    }
}

pub(super) fn object_name(folder: &str, at: u64) -> String {
    format!("{folder}/{at:016x}")
}

/// The checksum of all before, and the frames.
pub(super) fn read<'a>(name: &str, object: &'a [u8]) -> Result<(u32, &'a [u8])> {
    let damaged = || LedgerError::Damaged { path: name.into(), at: 0 };
    let rest = object.strip_prefix(MAGIC).ok_or_else(damaged)?;
    let (_, rest) = rest.split_first_chunk::<16>().ok_or_else(damaged)?;
    let (before, frames) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
    Ok((u32::from_le_bytes(*before), frames))
}
