//! The few file operations the ledger's durability rests on, in one place so that tests can end the process
//! between any two of them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use super::error::{LedgerError, Result};

/// Makes the directory readable by its owner alone.
pub(super) fn make_dir(path: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(LedgerError::io("make", path))
}

/// A new file for its owner alone; an old one of this name is emptied.
pub(super) fn create(path: &Path) -> Result<File> {
    fault::step(path)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o600);
    options.open(path).map_err(LedgerError::io("create", path))
}

pub(super) fn write_at(file: &File, path: &Path, bytes: &[u8], at: u64) -> Result<()> {
    if let Err(error) = fault::step(path) {
        // What a dying process leaves of a write is any prefix of it.
        let part = fault::partial(bytes.len());
        file.write_all_at(&bytes[..part], at).map_err(LedgerError::io("write", path))?;
        return Err(error);
    }
    file.write_all_at(bytes, at).map_err(LedgerError::io("write", path))
}

pub(super) fn sync(file: &File, path: &Path) -> Result<()> {
    fault::step(path)?;
    if cfg!(test) {
        // Tests end processes, not machines.
        return Ok(());
    }
    file.sync_data().map_err(LedgerError::io("flush", path))
}

pub(super) fn truncate(file: &File, path: &Path, length: u64) -> Result<()> {
    fault::step(path)?;
    file.set_len(length).map_err(LedgerError::io("shorten", path))?;
    sync(file, path)
}

/// Makes created, renamed and removed names of the directory durable.
pub(super) fn sync_dir(dir: &Path) -> Result<()> {
    fault::step(dir)?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(LedgerError::io("flush", dir))
}

/// Replaces `dir/name` by `bytes` so that a reader finds either the old or the new content.
pub(super) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let (path, new) = (dir.join(name), dir.join(format!("{name}.new")));
    let file = create(&new)?;
    write_at(&file, &new, bytes, 0)?;
    sync(&file, &new)?;
    fault::step(&path)?;
    fs::rename(&new, &path).map_err(LedgerError::io("rename", &new))?;
    sync_dir(dir)
}

pub(super) fn remove(path: &Path) -> Result<()> {
    fault::step(path)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LedgerError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes the directory with all that is in it.
pub(super) fn remove_dir(path: &Path) -> Result<()> {
    fault::step(path)?;
    fs::remove_dir_all(path).map_err(LedgerError::io("remove", path))
}

#[cfg(not(test))]
mod fault {
    use std::path::Path;

    #[inline]
    pub(super) fn step(_: &Path) -> super::Result<()> {
        Ok(())
    }
    pub(super) fn partial(_: usize) -> usize {
        0
    }
}

/// Ends the "process" of this thread at a chosen operation: that one and all later ones fail.
#[cfg(test)]
pub(super) mod fault {
    use std::cell::Cell;
    use std::io;
    use std::path::Path;

    use super::{LedgerError, Result};

    thread_local! {
        /// Operations left before the crash, and the share of a broken write that reaches the disk, in quarters.
        static LEFT: Cell<Option<(u32, u8)>> = const { Cell::new(None) };
    }

    pub(crate) fn arm(operations: u32, quarters: u8) {
        LEFT.set(Some((operations, quarters)));
    }
    /// True when the crash has happened.
    pub(crate) fn disarm() -> bool {
        matches!(LEFT.take(), Some((0, _)))
    }
    pub(super) fn step(path: &Path) -> Result<()> {
        match LEFT.get() {
            None => Ok(()),
            Some((0, _)) => Err(LedgerError::io("reach (crashed)", path)(io::Error::other("injected"))),
            Some((left, quarters)) => {
                LEFT.set(Some((left - 1, quarters)));
                if left == 1 { step(path) } else { Ok(()) }
            }
        }
    }
    pub(super) fn partial(length: usize) -> usize {
        LEFT.get().map_or(0, |(_, quarters)| length * usize::from(quarters) / 4)
    }
}
