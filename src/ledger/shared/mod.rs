//! Ledgers in an object store that several replicas share. The store is the truth; the directory on a machine is a copy
//! of it that may be lost at any time.
//!
//! ```text
//! ledgers/AUDIENCE/DESTINATION/
//!   manifest-0000000000000007                 names the generation; the highest manifest is the ledger
//!   0000000000000007-5f0c…/base               records, as in the file of this name
//!   0000000000000007-5f0c…/journal/OFFSET     frames of the journal that begin at this offset
//! ```
//! Everything rests on one operation that all stores have: to put an object only where there is none.
//!
//! - *One writer.* Whoever opens a ledger to write puts a frame that says so at the journal's end. A journal has one end:
//!   the writer before, should it still be alive, finds the place taken at its next frame, and has
//!   [lost](super::LedgerError::Lost) the ledger before it sends anything more. A frame of the old writer that came
//!   first is read by the new one, which then tries again behind it. So every frame was written by the writer whose
//!   opening is the last one before it.
//! - *Durable* is what the store has acknowledged. A batch is sent after its frame is there, and its answer is believed
//!   after that frame is.
//! - *A fold* first seals the journal, so that nobody can append to it any more; then puts the new base and the rest of
//!   the journal under a name that nobody else uses; then the manifest, where there must be none. A crash before the
//!   manifest leaves a sealed journal: the next opener folds again.
//! - *Old generations* stay for a day, so that a reader in the middle of one is not cut and a writer that slept finds its
//!   place taken still. Longer sleep is found out by looking at the manifests after the next frame.
//!
//! What remains is the request itself: a platform takes it from whoever sends it. A process that stops between the frame
//! and the request for longer than its lease, and then goes on, sends one batch that the new writer believes lost. Run
//! with a lease that is longer than a request may take, and let a full sync now and then repair what drifts.
//!
//! The bucket or folder holds digests of customers: it must be private to the replicas and encrypted at rest. Unfinished
//! uploads of large bases are for the bucket's own lifecycle rules to remove.

mod appender;
mod bridge;
mod fault;
mod manifest;
mod objects;
mod open;
mod place;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod version;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use reveil_sdk::Clock;

pub(super) use appender::Appender;
pub use fault::Fault;
pub(crate) use objects::Objects;
pub(crate) use version::SharedFile;

use super::error::{LedgerError, Result};
use super::generation::random;
use crate::config::LedgerConfig;

/// The store of all ledgers. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) objects: Objects,
    clock: Arc<dyn Clock>,
}

impl Shared {
    /// `None` when the config names no shared store.
    pub(super) fn open(
        config: &LedgerConfig,
        environment: &HashMap<String, String>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<Self>> {
        let Some(url) = &config.store else { return Ok(None) };
        Ok(Some(Self { objects: place::open(url, config, environment)?, clock: Arc::clone(clock) }))
    }

    /// The ledger of one audience and destination, whose names are file names already.
    pub(super) fn ledger(&self, audience: &str, destination: &str) -> Result<SharedLedger> {
        let folder = format!("ledgers/{audience}/{destination}");
        Ok(SharedLedger {
            objects: self.objects.clone(),
            clock: Arc::clone(&self.clock),
            folder,
            writer: Writer(random()?),
        })
    }
}

/// One opening of a ledger.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Writer(pub(super) [u8; 16]);

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

/// One ledger in the store, as one handle sees it.
#[derive(Debug, Clone)]
pub(super) struct SharedLedger {
    objects: Objects,
    clock: Arc<dyn Clock>,
    folder: String,
    pub(super) writer: Writer,
}

impl SharedLedger {
    fn lost(&self) -> LedgerError {
        LedgerError::Lost { ledger: self.folder.clone() }
    }
}
