//! A ledger that lives on this machine alone: a directory with a lock and a manifest that names the valid files.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::base::Base;
use super::disk;
use super::error::{LedgerError, Result};
use super::generation::Generation;
use super::journal::Journal;
use super::spill;
use super::store::{FORMAT, Ledger};

const MANIFEST: &str = "manifest.json";
const LOCK: &str = "lock";
/// There from when a ledger moved to a shared store: what is here is old.
const MOVED: &str = "moved";
const MOVED_WHOLE: &[u8] = b"this ledger lives in the shared store\n";

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    generation: u64,
    next_seq: u64,
}

impl Ledger {
    /// Opens the ledger in `dir`, making it when there is none, and holds it until dropped. What a crash left
    /// half-written is cleaned; batches sent but never answered are uncertain from here on.
    ///
    /// # Errors
    /// [`LedgerError::Held`] while another process (or another handle of this one) has it open.
    pub fn open(dir: &Path) -> Result<Self> {
        let lock = lock(dir)?;
        if moved(dir)?.is_some() {
            return Err(LedgerError::Moved { dir: dir.to_path_buf() });
        }
        Self::open_locked(dir, lock)
    }
    pub(super) fn open_locked(dir: &Path, lock: File) -> Result<Self> {
        let manifest = match read_manifest(dir)? {
            Some(manifest) => manifest,
            None => {
                Journal::create(Generation::on_this_machine(0).journal_path(dir), 1)?;
                disk::sync_dir(dir)?;
                write_manifest(dir, 0, 1)?
            }
        };
        let generation = Generation::on_this_machine(manifest.generation);
        remove_strays(dir, &generation)?;
        let journal = Journal::open(generation.journal_path(dir), manifest.next_seq, true)?;
        let base = open_base(dir, &generation)?;
        let (dir, temp) = (dir.to_path_buf(), dir.to_path_buf());
        Ok(Self { dir, temp, lock: Some(lock), generation, base, journal, shared: None, broken: false })
    }
    /// Opens the ledger to look only, for a dry run: takes no lock and writes nothing in `dir`; temporary files go
    /// to `temp`. A ledger that does not exist is empty.
    pub fn peek(dir: &Path, temp: &Path) -> Result<Self> {
        let mut attempts_left = 5;
        loop {
            // A fold of the running process may remove the files between our reading of the manifest and of them.
            match Self::peek_once(dir, temp) {
                Err(LedgerError::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound && attempts_left > 0 =>
                {
                    attempts_left -= 1;
                }
                result => return result,
            }
        }
    }
    fn peek_once(dir: &Path, temp: &Path) -> Result<Self> {
        let manifest = read_manifest(dir)?;
        let generation = Generation::on_this_machine(manifest.as_ref().map_or(0, |manifest| manifest.generation));
        let journal = match manifest {
            Some(manifest) => Journal::open(generation.journal_path(dir), manifest.next_seq, false)?,
            None => {
                let path = spill::new_path(temp);
                let journal = Journal::create(path.clone(), 1)?;
                disk::remove(&path)?;
                journal
            }
        };
        let base = open_base(dir, &generation)?;
        let (dir, temp) = (dir.to_path_buf(), temp.to_path_buf());
        Ok(Self { dir, temp, lock: None, generation, base, journal, shared: None, broken: false })
    }
}

/// Makes the directory and holds it until the file is dropped.
pub(super) fn lock(dir: &Path) -> Result<File> {
    disk::make_dir(dir)?;
    let path = dir.join(LOCK);
    let mut options = File::options();
    std::os::unix::fs::OpenOptionsExt::mode(options.read(true).write(true).create(true), 0o600);
    let lock = options.open(&path).map_err(LedgerError::io("open", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(LedgerError::Held { dir: dir.to_path_buf() }),
        Err(TryLockError::Error(error)) => Err(LedgerError::io("lock", &path)(error)),
    }
}

/// Whether there is a ledger that lives here.
pub(super) fn lives_here(dir: &Path) -> bool {
    dir.join(MANIFEST).exists()
}
/// Whether the ledger moved to a shared store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    /// Perhaps; if the store has none, it has to be moved again.
    Begun,
    Whole,
}

pub(super) fn moved(dir: &Path) -> Result<Option<Moved>> {
    let path = dir.join(MOVED);
    match fs::read(&path) {
        Ok(text) if text == MOVED_WHOLE => Ok(Some(Moved::Whole)),
        Ok(_) => Ok(Some(Moved::Begun)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LedgerError::io("read", &path)(error)),
    }
}
pub(super) fn mark_moved(dir: &Path, how: Moved) -> Result<()> {
    let text = if how == Moved::Whole { MOVED_WHOLE } else { b"this ledger is being moved to the shared store\n" };
    disk::replace(dir, MOVED, text)
}

/// Generation 0 has no base yet.
fn open_base(dir: &Path, generation: &Generation) -> Result<Base> {
    let path = generation.base_path(dir);
    if generation.number == 0 { Ok(Base::empty(path)) } else { Base::open(path, false) }
}

fn read_manifest(dir: &Path) -> Result<Option<Manifest>> {
    let path = dir.join(MANIFEST);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LedgerError::io("read", &path)(error)),
    };
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|_| LedgerError::Damaged { path: path.clone(), at: 0 })?;
    if manifest.format != FORMAT {
        return Err(LedgerError::Format { path, found: manifest.format, known: FORMAT });
    }
    Ok(Some(manifest))
}

pub(super) fn write_manifest(dir: &Path, generation: u64, next_seq: u64) -> Result<Manifest> {
    let manifest = Manifest { format: FORMAT, generation, next_seq };
    let text = serde_json::to_vec(&manifest).expect("three numbers");
    disk::replace(dir, MANIFEST, &text)?;
    Ok(manifest)
}

/// Removes files of other generations and temporary ones, which only a crash leaves.
pub(super) fn remove_strays(dir: &Path, generation: &Generation) -> Result<()> {
    strays(dir, generation)?.iter().try_for_each(|path| disk::remove(path))
}

/// Whether there is something for [`remove_strays`].
pub(super) fn has_strays(dir: &Path, generation: &Generation) -> Result<bool> {
    Ok(!strays(dir, generation)?.is_empty())
}

fn strays(dir: &Path, generation: &Generation) -> Result<Vec<PathBuf>> {
    let mut strays = Vec::new();
    let kept = [generation.base_path(dir), generation.journal_path(dir)];
    for entry in fs::read_dir(dir).map_err(LedgerError::io("list", dir))? {
        let path = entry.map_err(LedgerError::io("list", dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let ours = ["base-", "journal-", spill::PREFIX].iter().any(|prefix| name.starts_with(prefix));
        if (ours && !kept.contains(&path)) || name == format!("{MANIFEST}.new") {
            strays.push(path);
        }
    }
    Ok(strays)
}
