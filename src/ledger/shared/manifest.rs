//! Manifests: which generation is the ledger, and how a new one becomes it.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::objects::{Listing, Sum};
use super::{Appender, SharedLedger};
use crate::ledger::error::{LedgerError, Result};
use crate::ledger::generation::Generation;
use crate::ledger::journal::Journal;
use crate::ledger::store::FORMAT;

const PREFIX: &str = "manifest-";
/// The rest of a journal goes to its new generation in objects of at most this size.
const REST_BYTES: u64 = if cfg!(test) { 300 } else { 16 << 20 };
/// Old generations are removed this long after they were followed by another.
const KEPT: TimeDelta = TimeDelta::days(1);
/// Between our listing and our reading, the newest manifest may have been replaced and removed.
const ATTEMPTS: usize = 5;

/// What an object of this name says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    pub(super) generation: u64,
    pub(super) id: String,
    pub(super) next_seq: u64,
    /// None before the first fold.
    pub(super) base: Option<Sum>,
    /// A swap was begun before and is not whole.
    pub(super) replacing: bool,
}

impl Manifest {
    pub(super) fn generation(&self) -> Generation {
        Generation { number: self.generation, id: Some(self.id.clone()) }
    }
}

/// `manifest-0000000000000007`
fn manifest_name(number: u64) -> String {
    format!("{PREFIX}{number:016x}")
}

/// The number of a manifest or of a generation's folder.
fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX).unwrap_or(name).get(..16)?;
    u64::from_str_radix(digits, 16).ok()
}

impl SharedLedger {
    pub(super) fn generation_folder(&self, generation: &Generation) -> String {
        let id = generation.id.as_deref().expect("a generation in a shared store has an id");
        format!("{}/{:016x}-{id}", self.folder, generation.number)
    }

    pub(super) fn journal_folder(&self, generation: &Generation) -> String {
        format!("{}/journal", self.generation_folder(generation))
    }

    /// The number of the newest generation.
    pub(super) fn newest_number(&self) -> Result<Option<u64>> {
        Ok(newest(&self.objects.list(&self.folder)?))
    }

    /// The newest manifest; `None` when the ledger was never opened.
    pub(super) fn newest(&self) -> Result<Option<Manifest>> {
        for _ in 0..ATTEMPTS {
            let Some(number) = self.newest_number()? else { return Ok(None) };
            let name = format!("{}/{}", self.folder, manifest_name(number));
            if let Some(bytes) = self.objects.get(&name)? {
                return parse(&name, &bytes).map(Some);
            }
        }
        Err(LedgerError::Damaged { path: self.folder.as_str().into(), at: 0 })
    }

    /// Makes these files the ledger's next generation.
    ///
    /// # Errors
    /// [`LedgerError::Lost`] when another replica was first.
    pub(in crate::ledger) fn publish(
        &self,
        generation: &Generation,
        base: Option<&Path>,
        journal: &Journal,
    ) -> Result<Appender> {
        let folder = self.generation_folder(generation);
        let base = base.map(|path| self.objects.upload(&format!("{folder}/base"), path)).transpose()?;
        let mut appender = Appender::new(self, generation, self.clock.now());
        journal.parts(REST_BYTES, |at, before, frames| appender.put(at, before, frames))?;
        let manifest = Manifest {
            format: FORMAT,
            generation: generation.number,
            id: generation.id.clone().expect("a generation in a shared store has an id"),
            next_seq: journal.next_seq,
            base,
            replacing: journal.replacing,
        };
        let text = serde_json::to_vec(&manifest).expect("numbers and a name");
        let name = format!("{}/{}", self.folder, manifest_name(generation.number));
        let taken = self.objects.put_new(&name, text.into())?.is_some();
        // Who slept very long may have found a place free that was taken and cleared.
        if taken || self.newest_number()? != Some(generation.number) {
            return Err(self.lost());
        }
        Ok(appender)
    }

    /// Removes generations that were followed long ago. `now` is asked when there are any, for the store's clock. What
    /// cannot be removed is left to the next time.
    pub(super) fn clean(&self, now: impl FnOnce() -> Result<DateTime<Utc>>) {
        if let Err(error) = self.try_clean(now) {
            warn!(ledger = self.folder, error = %error, "Old generations of a shared ledger were not removed");
        }
    }

    fn try_clean(&self, now: impl FnOnce() -> Result<DateTime<Utc>>) -> Result<()> {
        let listing = self.objects.list(&self.folder)?;
        let Some(newest) = newest(&listing) else { return Ok(()) };
        let names = listing.folders.iter().chain(listing.objects.iter().map(|object| &object.name));
        if names.filter_map(|name| number_of(name)).all(|number| number == newest) {
            return Ok(());
        }
        let now = now()?;
        let followed = |number: u64| {
            let next = manifest_name(number + 1);
            // Without the next manifest: what an earlier clean-up left.
            listing.objects.iter().find(|object| object.name == next).is_none_or(|next| now - next.put_at >= KEPT)
        };
        let old = |name: &str| number_of(name).filter(|number| *number < newest && followed(*number));
        for folder in listing.folders.iter().filter(|name| old(name).is_some()) {
            self.objects.remove_folder(&format!("{}/{folder}", self.folder))?;
        }
        for object in listing.objects.iter().filter(|object| old(&object.name).is_some()) {
            self.objects.remove(&format!("{}/{}", self.folder, object.name))?;
        }
        Ok(())
    }
}

fn newest(listing: &Listing) -> Option<u64> {
    let manifests = listing.objects.iter().filter(|object| object.name.starts_with(PREFIX));
    manifests.filter_map(|object| number_of(&object.name)).max()
}

fn parse(name: &str, bytes: &[u8]) -> Result<Manifest> {
    let damaged = || LedgerError::Damaged { path: name.into(), at: 0 };
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|_| damaged())?;
    let found = value.get("format").and_then(serde_json::Value::as_u64).and_then(|found| u32::try_from(found).ok());
    match found {
        Some(FORMAT) => serde_json::from_value(value).map_err(|_| damaged()),
        Some(found) => Err(LedgerError::Format { path: name.into(), found, known: FORMAT }),
        None => Err(damaged()),
    }
}
