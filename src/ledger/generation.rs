//! The name of one state of a ledger's files, between two folds.

use std::path::{Path, PathBuf};

use super::error::{LedgerError, Result};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Generation {
    pub(super) number: u64,
    /// In a shared store: random, so that two replicas that fold at once do not write over each other.
    pub(super) id: Option<String>,
}

impl Generation {
    pub(super) fn on_this_machine(number: u64) -> Self {
        Self { number, id: None }
    }
    /// # Errors
    /// The system gives no randomness.
    pub(super) fn shared(number: u64) -> Result<Self> {
        Ok(Self { number, id: Some(const_hex::encode(random::<8>()?)) })
    }
    /// The generation after this one.
    pub(super) fn next(&self) -> Result<Self> {
        if self.id.is_some() { Self::shared(self.number + 1) } else { Ok(Self::on_this_machine(self.number + 1)) }
    }
    pub(super) fn base_path(&self, dir: &Path) -> PathBuf {
        dir.join(self.file_name("base"))
    }
    pub(super) fn journal_path(&self, dir: &Path) -> PathBuf {
        dir.join(self.file_name("journal"))
    }
    fn file_name(&self, what: &str) -> String {
        match &self.id {
            None => format!("{what}-{}", self.number),
            Some(id) => format!("{what}-{}-{id}", self.number),
        }
    }
}

/// Bytes nobody can guess.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let filled = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes);
    filled.map_err(|_| LedgerError::io("read", Path::new("the system's randomness"))(std::io::Error::other("none")))?;
    Ok(bytes)
}
