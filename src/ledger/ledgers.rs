//! Where the ledgers of an installation are, by audience and destination.

use std::path::{Path, PathBuf};

use super::error::{LedgerError, Result};
use super::store::Ledger;

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledgers {
    dir: PathBuf,
}

impl Ledgers {
    /// Ledgers on this machine alone, in `state_dir`.
    pub fn on_this_machine(state_dir: &Path) -> Self {
        Self { dir: state_dir.join("ledger") }
    }

    /// Where what belongs to an audience lies on this machine: its ledgers, and files for a while.
    pub fn audience_dir(&self, audience: &str) -> PathBuf {
        self.dir.join(file_name(audience))
    }

    fn dir(&self, audience: &str, destination: &str) -> PathBuf {
        self.audience_dir(audience).join(file_name(destination))
    }

    /// Opens a ledger to write, see [`Ledger::open`].
    ///
    /// # Errors
    /// [`Held`](super::LedgerError::Held) while another process has it; files.
    pub fn hold(&self, audience: &str, destination: &str) -> Result<Ledger> {
        Ledger::open(&self.dir(audience, destination))
    }

    /// Opens a ledger to look only, see [`Ledger::peek`].
    ///
    /// # Errors
    /// Files.
    pub fn peek(&self, audience: &str, destination: &str, temp: &Path) -> Result<Ledger> {
        Ledger::peek(&self.dir(audience, destination), temp)
    }
    /// Audiences and destinations that have a ledger on this machine, whatever the config says now.
    ///
    /// # Errors
    /// Files.
    pub fn on_disk(&self) -> Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        for audience in directories(&self.dir)? {
            for destination in directories(&self.dir.join(&audience))? {
                if self.dir.join(&audience).join(&destination).join("manifest.json").exists() {
                    found.push((audience.clone(), destination));
                }
            }
        }
        Ok(found)
    }
}

/// Names of the directories in `dir`; none when there is no such.
fn directories(dir: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(LedgerError::io("list", dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(LedgerError::io("list", dir))?;
        if entry.path().is_dir() {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    Ok(names)
}

/// A file name made of a config key.
pub(crate) fn file_name(key: &str) -> String {
    key.chars()
        .map(|character| if character.is_ascii_alphanumeric() || "-_.".contains(character) { character } else { '_' })
        .collect()
}
