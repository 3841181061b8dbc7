//! Who holds a lease on this machine, and whether they are alive. A process that is killed lets go of its lock at once,
//! while its leases would run on; with the state on this machine alone that need not be waited for.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::store::jobs::{Job, JobState};
use crate::store::{Store, StoreError};

/// Says that the worker of this name lives; gone when dropped or killed.
#[derive(Debug)]
pub(crate) struct Alive {
    _lock: File,
    path: PathBuf,
}

impl Alive {
    /// # Errors
    /// Files.
    pub(crate) fn announce(state_dir: &Path, owner: &str) -> std::io::Result<Self> {
        let path = file(state_dir, owner);
        crate::store::private_dir(&state_dir.join("workers"))?;
        let lock = File::create(&path)?;
        lock.lock()?;
        Ok(Self { _lock: lock, path })
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        // Left behind, it tells by its lock that nobody is there.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn file(state_dir: &Path, owner: &str) -> PathBuf {
    let safe =
        |character: char| if character.is_ascii_alphanumeric() || "-.".contains(character) { character } else { '_' };
    state_dir.join("workers").join(owner.chars().map(safe).collect::<String>())
}

fn is_alive(state_dir: &Path, owner: &str) -> bool {
    match File::open(file(state_dir, owner)) {
        Ok(lock) => matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)),
        Err(_) => false,
    }
}

/// Ends the leases of workers that died on this machine. Their jobs, which can be taken up now.
///
/// # Errors
/// The database's.
pub(crate) async fn end_leases_of_the_dead(
    store: &Store,
    state_dir: &Path,
    now: DateTime<Utc>,
) -> Result<Vec<Job>, StoreError> {
    let mut ended = Vec::new();
    if store.is_shared() {
        // The others are on other machines.
        return Ok(ended);
    }
    for job in store.open_jobs().await? {
        let dead = job.state == JobState::Running
            && job.lease_owner.as_deref().is_none_or(|owner| !is_alive(state_dir, owner));
        if dead && store.end_lease(&job, now).await? {
            ended.push(job);
        }
    }
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_lives_until_its_lock_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_alive(dir.path(), "host:1:ab"));
        let alive = Alive::announce(dir.path(), "host:1:ab").unwrap();
        assert!(is_alive(dir.path(), "host:1:ab"));
        assert!(!is_alive(dir.path(), "host:2:ab"));
        drop(alive);
        assert!(!is_alive(dir.path(), "host:1:ab"));
        // What a kill leaves: the file without its lock.
        std::fs::write(file(dir.path(), "host:3:ab"), "").unwrap();
        assert!(!is_alive(dir.path(), "host:3:ab"));
    }
}
