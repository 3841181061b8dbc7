//! What can go wrong with a ledger on disk. Paths, positions and numbers only: never a key or a digest.

use std::io;
use std::path::{Path, PathBuf};

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
}

impl LedgerError {
    /// For `map_err`.
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { what, path, source }
    }
}

impl LedgerError {
    /// Whether the same may work later without anybody changing the configuration: somebody holds it, the disk is full.
    pub fn is_passing(&self) -> bool {
        use io::ErrorKind::{InvalidInput, NotFound, PermissionDenied, ReadOnlyFilesystem};
        match self {
            Self::Held { .. } | Self::Broken { .. } => true,
            Self::Io { source, .. } => {
                !matches!(source.kind(), PermissionDenied | NotFound | InvalidInput | ReadOnlyFilesystem)
            }
            _ => false,
        }
    }

    /// Another run holds the ledger.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Held { .. })
    }
}
