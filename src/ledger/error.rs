//! What can go wrong with a ledger. Paths, positions and numbers only: never a key or a digest.

use std::io;
use std::path::{Path, PathBuf};

use super::shared::Fault;

/// Result of the ledger's own operations.
pub type Result<T, E = LedgerError> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Two runs on one audience and destination would send over each other.
    #[error("another run holds the ledger {dir}; wait until it ends")]
    Held { dir: PathBuf },
    #[error("cannot {what} {path}: {source}; check the disk, its free space and the permissions")]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    /// A checksum or a structure is wrong where no crash can have left it so.
    #[error("{path} is damaged at byte {at}; restore the ledger's directory from a backup, or start a new audience")]
    Damaged { path: PathBuf, at: u64 },
    #[error("{path} has ledger format {found}, this version reads {known}; use the version that wrote it")]
    Format { path: PathBuf, found: u32, known: u32 },
    /// The entry does not exist or is past the state that the call needs.
    #[error("journal entry {seq} cannot be {what}; it does not wait for that")]
    Entry { seq: u64, what: &'static str },
    #[error("rejected index {index} lies outside journal entry {seq} of {members} members")]
    Index { seq: u64, index: u32, members: u32 },
    #[error("the ledger {dir} was opened to look only")]
    ReadOnly { dir: PathBuf },
    /// After a failed write what the disk holds is unknown until it is read again.
    #[error("an earlier write to the ledger {dir} failed; open it again")]
    Broken { dir: PathBuf },
    /// The object store that several replicas share.
    #[error("cannot {what} {name} in the shared ledger store: {}; {}", fault.said, fault.hint)]
    Store { what: &'static str, name: String, fault: Fault },
    /// All safety rests on it.
    #[error(
        "the store of ledger.store puts an object where there is one already, though asked not to; two replicas would \
         not notice each other there: use a store that honours conditional writes"
    )]
    Overwrites,
    #[error("ledger.store is {url}, which this build of reveil cannot open; see the key's documentation")]
    Place { url: String },
    /// Somebody else opened the ledger since; whatever this process does to it now would not be known to them.
    #[error("another replica has taken over the ledger {ledger}; it carries on from what was written here")]
    Lost { ledger: String },
    /// A copy of what the shared store has.
    #[error("{path}, a copy of the shared ledger, is damaged at byte {at}; it was removed: run again to fetch it anew")]
    DamagedCopy { path: PathBuf, at: u64 },
    #[error("the ledger {dir} was moved to the shared store; set ledger.store again, or start a new audience")]
    Moved { dir: PathBuf },
    #[error(
        "the shared store has no {ledger}, though {dir} was moved there; check ledger.store, or delete the directory to \
         start a new audience"
    )]
    Gone { ledger: String, dir: PathBuf },
    /// Two installations with a history of their own.
    #[error(
        "{dir} is a ledger of this machine, but the shared store has another one for this audience and destination; if \
         the shared one is right, move the directory away"
    )]
    Foreign { dir: PathBuf },
}

impl LedgerError {
    /// For `map_err`.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { what, path, source }
    }
    /// For `map_err`.
    pub(super) fn store(what: &'static str, name: &str) -> impl FnOnce(object_store::Error) -> Self {
        let name = name.to_owned();
        move |error| Self::Store { what, name, fault: Fault::of(&error) }
    }
    /// What is written is unknown after it.
    pub(super) fn leaves_doubt(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Store { .. } | Self::Lost { .. } | Self::Damaged { .. })
    }
}

impl LedgerError {
    /// Whether the same may work later without anybody changing the configuration: somebody holds it, the disk is full.
    pub fn is_passing(&self) -> bool {
        use io::ErrorKind::{InvalidInput, NotFound, PermissionDenied, ReadOnlyFilesystem};
        match self {
            Self::Held { .. } | Self::Broken { .. } | Self::Lost { .. } | Self::DamagedCopy { .. } => true,
            Self::Store { fault, .. } => fault.passes,
            Self::Io { source, .. } => {
                !matches!(source.kind(), PermissionDenied | NotFound | InvalidInput | ReadOnlyFilesystem)
            }
            _ => false,
        }
    }

    /// Another run holds the ledger, or took it over.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Held { .. } | Self::Lost { .. })
    }
}
