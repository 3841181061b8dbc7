//! Where the ledgers of an installation are, by audience and destination: on this machine alone, or in a store that
//! several replicas share.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reveil_sdk::Clock;

use super::error::{LedgerError, Result};
use super::shared::Shared;
use super::store::Ledger;
use crate::config::LedgerConfig;

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledgers {
    /// Ledgers that live on this machine.
    own: PathBuf,
    /// Copies of shared ones.
    copies: PathBuf,
    shared: Option<Shared>,
}

impl Ledgers {
    /// Ledgers on this machine alone, in `state_dir`.
    pub fn on_this_machine(state_dir: &Path) -> Self {
        Self { own: state_dir.join("ledger"), copies: state_dir.join("ledger-copies"), shared: None }
    }

    /// Ledgers where the config has them; `environment` may hold the credentials of a cloud.
    ///
    /// # Errors
    /// The store cannot be used.
    pub fn open(
        config: &LedgerConfig,
        state_dir: &Path,
        environment: &HashMap<String, String>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self> {
        Ok(Self { shared: Shared::open(config, environment, clock)?, ..Self::on_this_machine(state_dir) })
    }

    #[cfg(test)]
    pub(crate) fn in_store(shared: Shared, state_dir: &Path) -> Self {
        Self { shared: Some(shared), ..Self::on_this_machine(state_dir) }
    }

    /// The store that replicas share.
    pub(crate) fn shared(&self) -> Option<&Shared> {
        self.shared.as_ref()
    }

    /// Where what belongs to an audience lies on this machine: its ledgers or copies of them, and files for a while.
    pub fn audience_dir(&self, audience: &str) -> PathBuf {
        let dir = if self.shared.is_some() { &self.copies } else { &self.own };
        dir.join(file_name(audience))
    }
    fn dir(&self, audience: &str, destination: &str) -> PathBuf {
        self.audience_dir(audience).join(file_name(destination))
    }
    /// Of the ledger on this machine, whether it lives there or is a stranger to the shared one.
    fn own_dir(&self, audience: &str, destination: &str) -> PathBuf {
        self.own_audience_dir(audience).join(file_name(destination))
    }
    /// Where what belongs to an audience lay before there was a shared store.
    pub(crate) fn own_audience_dir(&self, audience: &str) -> PathBuf {
        self.own.join(file_name(audience))
    }

    /// Opens a ledger to write, making it when there is none, and holds it until dropped. A shared one is taken from
    /// whoever has it: first get the audience's lease.
    ///
    /// # Errors
    /// [`Held`](super::LedgerError::Held) while another process of this machine has it; files, the store.
    pub fn hold(&self, audience: &str, destination: &str) -> Result<Ledger> {
        let dir = self.dir(audience, destination);
        match &self.shared {
            None => Ledger::open(&dir),
            Some(shared) => {
                let ledger = shared.ledger(&file_name(audience), &file_name(destination))?;
                ledger.hold(&dir, &self.own_dir(audience, destination))
            }
        }
    }

    /// Opens a ledger to look only; temporary files go to `temp`. One that does not exist is empty.
    ///
    /// # Errors
    /// Files, the store.
    pub fn peek(&self, audience: &str, destination: &str, temp: &Path) -> Result<Ledger> {
        let dir = self.dir(audience, destination);
        match &self.shared {
            None => Ledger::peek(&dir, temp),
            Some(shared) => {
                let ledger = shared.ledger(&file_name(audience), &file_name(destination))?;
                ledger.peek(&dir, &self.own_dir(audience, destination), temp)
            }
        }
    }

    /// Audiences and destinations that have a ledger, whatever the config says now.
    ///
    /// # Errors
    /// Files, the store.
    pub fn list(&self) -> Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        for audience in directories(&self.own)? {
            for destination in directories(&self.own.join(&audience))? {
                if self.own.join(&audience).join(&destination).join("manifest.json").exists() {
                    found.push((audience.clone(), destination));
                }
            }
        }
        if let Some(shared) = &self.shared {
            for audience in shared.objects.list("ledgers")?.folders {
                let destinations = shared.objects.list(&format!("ledgers/{audience}"))?.folders;
                found.extend(destinations.into_iter().map(|destination| (audience.clone(), destination)));
            }
        }
        Ok(found)
    }
}

impl Ledgers {
    /// Drops what nobody needs any more of shared ledgers: generations that were followed a day ago from the store, and
    /// what is older than the store's from this machine's copies. What was erased elsewhere is gone here then.
    ///
    /// # Errors
    /// Files, the store.
    pub fn tidy(&self) -> Result<()> {
        let Some(shared) = &self.shared else { return Ok(()) };
        for audience in shared.objects.list("ledgers")?.folders {
            for destination in shared.objects.list(&format!("ledgers/{audience}"))?.folders {
                shared.ledger(&audience, &destination)?.tidy(&self.copies.join(&audience).join(&destination))?;
            }
        }
        Ok(())
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
    if key.chars().all(|character| character == '.') {
        return "_".repeat(key.len());
    }
    key.chars()
        .map(|character| if character.is_ascii_alphanumeric() || "-_.".contains(character) { character } else { '_' })
        .collect()
}
