//! The vault: secrets sealed at rest in the state, opened only where they are used.
//!
//! - [`key`]: master keys, from a file or the environment; several while one is being replaced.
//! - [`seal`]: one secret sealed and opened.
//! - [`table`]: what the vault needs of the state: rows, and replacing one only if nobody else did.
//! - [`rotate`]: everything sealed anew under the current key.
//! - [`credential`]: an OAuth grant as a secret, with its expiry; [`connect`] and [`loopback`] get one from a person in a
//!   browser, [`keeper`] keeps it fresh.
//!
//! A secret that cannot be opened is left as it is: the right key opens it later.

pub mod connect;
pub mod credential;
pub mod keeper;
pub mod key;
pub mod loopback;
pub mod rotate;
mod seal;
pub mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::config::DestinationConfig;
use crate::config::destination::SecretSource;
use crate::config::vault::VaultConfig;
use crate::store::StoreError;
use key::Keyring;
use table::{SecretRow, SecretTable};

/// Why a secret could not be had. Names and places only.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    #[error("no master key is configured; run `reveil vault init` and set [vault] master_key")]
    NotConfigured,
    #[error(
        "the master key is not there: {place}; restore it, correct [vault] master_key, or make the first one: `reveil vault init`"
    )]
    NoKey { place: String },
    #[error("{place} is no master key: 32 bytes as Base64 or hexadecimal are wanted")]
    BadKey { place: String },
    #[error("{path} may be read by others (mode {mode:o}); run: chmod 600 {path}")]
    OpenKey { path: PathBuf, mode: u32 },
    #[error("cannot {what} {path}: {source}")]
    File { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("the system gives no random bytes")]
    NoRandomness,
    #[error("a secret this large cannot be sealed")]
    TooLarge,
    #[error("the vault has no secret `{name}`; `reveil vault list` shows those there are")]
    Absent { name: String },
    #[error(
        "the secret `{name}` is sealed with the master key {key_id}, which is not configured; add that key to [vault] old_keys (nothing was changed)"
    )]
    OtherKey { name: String, key_id: String },
    #[error(
        "the secret `{name}` does not open: its row was changed; restore the state from a backup, or set the secret again (nothing was changed)"
    )]
    Tampered { name: String },
    #[error("`{name}` is no name for a secret: letters, digits, `.`, `_`, `-` and `/`, at most 100")]
    Name { name: String },
    #[error("the secret `{name}` is not a grant that `reveil connect` made")]
    NoGrant { name: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is known of a secret without opening it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecretMeta {
    /// What it is: `secret` (set by hand), `oauth` (made by `reveil connect`), `system`.
    pub kind: String,
    /// When it ends to be of use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// The destination it was made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
}

impl SecretMeta {
    pub fn of_kind(kind: &str) -> Self {
        Self { kind: kind.to_owned(), ..Self::default() }
    }
}

/// A secret in the list: everything but itself.
#[derive(Debug, Clone, Serialize)]
pub struct SecretEntry {
    pub name: String,
    /// The master key it is sealed with.
    pub key_id: String,
    pub updated_at: DateTime<Utc>,
    #[serde(flatten)]
    pub meta: SecretMeta,
}

/// An opened secret and the row it came from.
#[derive(Debug)]
pub struct Opened {
    pub value: SecretString,
    pub meta: SecretMeta,
    row: SecretRow,
}

/// When a credential ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CredentialExpiry {
    /// The secret's name.
    pub secret: String,
    pub kind: String,
    pub destination: Option<String>,
    pub expires_at: DateTime<Utc>,
}

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Vault {
    keys: Arc<Keyring>,
    table: Arc<dyn SecretTable>,
}

impl Vault {
    /// # Errors
    /// No master key is configured, or one cannot be read.
    pub fn open(
        config: &VaultConfig,
        environment: &HashMap<String, String>,
        base_dir: &Path,
        table: Arc<dyn SecretTable>,
    ) -> Result<Self, VaultError> {
        Ok(Self { keys: Arc::new(Keyring::read(config, environment, base_dir)?), table })
    }

    #[cfg(test)]
    pub(crate) fn with_keys(keys: &[[u8; key::KEY_BYTES]], table: Arc<dyn SecretTable>) -> Self {
        Self { keys: Arc::new(Keyring::of(keys)), table }
    }

    /// The name of the master key that secrets are sealed with now.
    pub fn key_id(&self) -> &str {
        self.keys.current().id()
    }

    /// Seals a secret, in place of one of that name.
    ///
    /// # Errors
    /// A name that is none, or the state's.
    pub async fn set(
        &self,
        name: &str,
        value: &SecretString,
        meta: SecretMeta,
        now: DateTime<Utc>,
    ) -> Result<(), VaultError> {
        let row = self.sealed(name, value.expose_secret().as_bytes(), meta, now)?;
        Ok(self.table.put(&row).await?)
    }

    /// Seals a secret unless there is one of that name; false when there is.
    ///
    /// # Errors
    /// As [`Vault::set`].
    pub async fn set_new(
        &self,
        name: &str,
        value: &SecretString,
        meta: SecretMeta,
        now: DateTime<Utc>,
    ) -> Result<bool, VaultError> {
        let row = self.sealed(name, value.expose_secret().as_bytes(), meta, now)?;
        Ok(self.table.add(&row).await?)
    }

    /// Puts a new value in the place of `old`, and returns it; `None` when somebody else has meanwhile.
    ///
    /// # Errors
    /// As [`Vault::set`].
    pub async fn replace(
        &self,
        old: &Opened,
        value: &SecretString,
        meta: SecretMeta,
        now: DateTime<Utc>,
    ) -> Result<Option<Opened>, VaultError> {
        let mut row = self.sealed(&old.row.name, value.expose_secret().as_bytes(), meta, now)?;
        let replaced = self.table.replace(&row, &old.row).await?;
        row.version = old.row.version + 1;
        Ok(replaced.then(|| Opened { value: value.clone(), meta: row.meta.clone(), row }))
    }

    /// # Errors
    /// There is none, its key is not configured, or its row was changed.
    pub async fn get(&self, name: &str) -> Result<Opened, VaultError> {
        self.find(name).await?.ok_or_else(|| VaultError::Absent { name: name.to_owned() })
    }

    /// As [`Vault::get`]; `None` when there is no such secret.
    ///
    /// # Errors
    /// Its key is not configured, or its row was changed.
    pub async fn find(&self, name: &str) -> Result<Option<Opened>, VaultError> {
        let Some(row) = self.table.get(name).await? else { return Ok(None) };
        let plain = self.opened(&row)?;
        let text = std::str::from_utf8(&plain).map_err(|_| VaultError::Tampered { name: name.to_owned() })?;
        Ok(Some(Opened { value: SecretString::from(text), meta: row.meta.clone(), row }))
    }

    /// All secrets by name, closed.
    ///
    /// # Errors
    /// The state's.
    pub async fn list(&self) -> Result<Vec<SecretEntry>, VaultError> {
        Ok(list(&*self.table).await?)
    }

    /// False when there was none.
    ///
    /// # Errors
    /// The state's.
    pub async fn delete(&self, name: &str) -> Result<bool, VaultError> {
        Ok(self.table.delete(name).await?)
    }

    fn sealed(
        &self,
        name: &str,
        plain: &[u8],
        meta: SecretMeta,
        updated_at: DateTime<Utc>,
    ) -> Result<SecretRow, VaultError> {
        check_name(name)?;
        let key = self.keys.current();
        let sealed = seal::seal(key, name, plain)?;
        Ok(SecretRow { name: name.to_owned(), sealed, key_id: key.id().to_owned(), version: 0, updated_at, meta })
    }

    fn opened(&self, row: &SecretRow) -> Result<secrecy::zeroize::Zeroizing<Vec<u8>>, VaultError> {
        let name = || row.name.clone();
        let key = self.keys.find(&row.key_id);
        let key = key.ok_or_else(|| VaultError::OtherKey { name: name(), key_id: row.key_id.clone() })?;
        seal::open(key, &row.name, &row.sealed).ok_or_else(|| VaultError::Tampered { name: name() })
    }
}

/// All secrets by name, closed: needs no key.
///
/// # Errors
/// The state's.
pub async fn list(table: &dyn SecretTable) -> Result<Vec<SecretEntry>, StoreError> {
    let rows = table.all().await?.into_iter();
    Ok(rows
        .map(|SecretRow { name, key_id, updated_at, meta, .. }| SecretEntry { name, key_id, updated_at, meta })
        .collect())
}

/// Every credential whose end is known, the first to end first: for the status, metrics and alerts. Needs no key.
///
/// # Errors
/// The state's.
pub async fn credential_expiries(table: &dyn SecretTable) -> Result<Vec<CredentialExpiry>, StoreError> {
    let ends = |entry: SecretEntry| {
        let SecretMeta { kind, expires_at, destination } = entry.meta;
        Some(CredentialExpiry { secret: entry.name, kind, destination, expires_at: expires_at? })
    };
    let mut expiries: Vec<CredentialExpiry> = list(table).await?.into_iter().filter_map(ends).collect();
    expiries.sort_by(|a, b| (a.expires_at, &a.secret).cmp(&(b.expires_at, &b.secret)));
    Ok(expiries)
}

/// When the first of a destination's sealed credentials ends, of those known.
pub fn expiry_of(expiries: &[CredentialExpiry], destination: &DestinationConfig) -> Option<DateTime<Utc>> {
    let sources = destination.credentials.sources();
    let named =
        |secret: &str| sources.iter().any(|(_, source)| matches!(source, SecretSource::Vault(name) if name == secret));
    expiries.iter().find(|expiry| named(&expiry.secret)).map(|expiry| expiry.expires_at)
}

fn check_name(name: &str) -> Result<(), VaultError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    if (1..=100).contains(&name.len()) && name.chars().all(fits) {
        return Ok(());
    }
    // Somebody may have given the secret in the place of its name.
    let name = name.chars().take(3).chain("…".chars()).collect();
    Err(VaultError::Name { name })
}
