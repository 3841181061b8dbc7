//! The parts of the line put together: what `plan`, `sync` and `status` call.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use reveil_sdk::{AudienceSpec, Clock};

use super::control::RunControl;
use super::destination::Destination;
use super::eligibility::Rules;
use super::error::SyncError;
use super::gather::{Gathered, Gatherer, Recognition, Wanted, arms, gather};
use super::member_key::MemberKeySource;
use super::progress::Progress;
use crate::config::{AudienceConfig, Config, DestinationConfig};
use crate::connectors::{self, Places};
use crate::erasure::Suppression;
use crate::ledger::Ledgers;
use crate::segment;
use crate::segment::sql::sync_query;
use crate::store::Store;
use crate::transport;
use crate::transport::retry::RetryPolicy;
use crate::vault::keeper::closed;
use crate::vault::{Vault, VaultError};
use crate::warehouse;

/// Which audience, as of when, to which of its destinations.
#[derive(Debug, Clone)]
pub struct Selection {
    pub audience: String,
    pub as_of: DateTime<Utc>,
    /// Only these; all of the audience's when empty.
    pub destinations: Vec<String>,
}

/// Holds what every command on a configuration needs.
#[derive(Debug, Clone)]
pub struct Engine {
    pub config: Config,
    /// Relative paths of the config start here.
    pub base_dir: PathBuf,
    pub environment: HashMap<String, String>,
    pub clock: Arc<dyn Clock>,
    pub store: Store,
    /// What its calls share with those of other engines of the process.
    pub transport: transport::Shared,
    pub ledgers: Ledgers,
}

impl Engine {
    /// Reads the warehouse and prepares what each destination should hold.
    pub(super) async fn gather(
        &self,
        selection: &Selection,
        audience: &AudienceConfig,
        names: &[String],
        temp: &Path,
        control: &dyn RunControl,
        progress: &dyn Progress,
    ) -> anyhow::Result<Gathered> {
        control.check()?;
        progress.stage("Reading the warehouse");
        let member_key = self.member_key()?;
        let suppression = Suppression::load(&self.store, &member_key).await?;
        let source = warehouse::open(&self.config.warehouse).await?;
        let mapping = segment::resolve(&*source, &self.config.warehouse).await?;
        let definition = segment::settle(&*source, &mapping, &audience.inactive, selection.as_of).await?.definition;
        let sql = sync_query(&mapping, &definition, selection.as_of, source.dialect(), self.config.lost.as_ref())?;
        let mut wanted = Vec::new();
        for name in names {
            let destination = self.config.destination(name)?;
            let builtin = connectors::find(&destination.connector)
                .ok_or_else(|| anyhow::anyhow!("`{}` is not a connector", destination.connector))?;
            wanted.push(Wanted { name, table: builtin.descriptor.identifiers, kinds: &destination.identifiers });
        }
        let gatherer = Gatherer::new(
            Rules::new(&self.config.eligibility, selection.as_of),
            &self.config.prepare,
            arms(&self.config, &selection.audience)?,
            &wanted,
            Recognition { member_key: &member_key, suppression: &suppression },
            temp,
            EXPECTED_ROWS,
        )?;
        let batches = source.query(&sql).await?;
        Ok(gather(gatherer, batches, control, progress).await?)
    }

    /// # Errors
    /// When a destination was asked for that the audience does not have.
    pub(super) fn destination_names(
        &self,
        selection: &Selection,
        audience: &AudienceConfig,
    ) -> anyhow::Result<Vec<String>> {
        if selection.destinations.is_empty() {
            return Ok(audience.destinations.clone());
        }
        for name in &selection.destinations {
            if !audience.destinations.contains(name) {
                return Err(SyncError::Destination {
                    audience: selection.audience.clone(),
                    destination: name.clone(),
                    known: audience.destinations.join(", "),
                }
                .into());
            }
        }
        Ok(selection.destinations.clone())
    }

    /// A destination of the config, ready to be called.
    ///
    /// # Errors
    /// `Config`: there is no such destination, or its settings or secrets are missing or wrong.
    pub async fn open_destination(&self, name: &str, retry: RetryPolicy) -> reveil_sdk::Result<Destination> {
        let config = self.config.destination(name).map_err(|error| reveil_sdk::Error::config(error.to_string()))?;
        let loopback_only = self.config.warehouse.synthetic;
        Destination::open(name, config, &self.places(config)?, &self.clock, loopback_only, retry, &self.transport).await
    }

    /// Where a destination's secrets are read from.
    ///
    /// # Errors
    /// `Config`: it needs the vault, and there is no key to it.
    pub(crate) fn places(&self, config: &DestinationConfig) -> reveil_sdk::Result<Places<'_>> {
        let vault = if config.credentials.use_vault() { Some(self.vault().map_err(closed)?) } else { None };
        Ok(Places { environment: &self.environment, base_dir: &self.base_dir, vault })
    }

    /// The vault of the configuration.
    ///
    /// # Errors
    /// No master key is configured, or it cannot be read.
    pub fn vault(&self) -> Result<Vault, VaultError> {
        Vault::open(&self.config.vault, &self.environment, &self.base_dir, Arc::new(self.store.clone()))
    }

    /// Where what belongs to an audience lies on this machine.
    pub fn audience_dir(&self, audience: &str) -> PathBuf {
        self.ledgers.audience_dir(audience)
    }

    /// Keeps every other run of this machine off the audience until dropped.
    ///
    /// # Errors
    /// `Busy` while another run holds it.
    pub(crate) fn lock_audience(&self, audience: &str) -> Result<std::fs::File, SyncError> {
        lock(&self.audience_dir(audience))
    }

    /// The secret that makes member keys.
    ///
    /// # Errors
    /// When it cannot be read or made.
    pub fn member_key(&self) -> Result<[u8; 32], SyncError> {
        tokio::task::block_in_place(|| {
            MemberKeySource { state_dir: &self.config.state_dir, ledgers: &self.ledgers }.load()
        })
    }
}

/// Buckets are cut for this many rows and recut when there are more.
const EXPECTED_ROWS: u64 = 2_000_000;

/// What the audience should be on any platform.
pub(super) fn audience_spec(key: &str, audience: &AudienceConfig) -> AudienceSpec {
    AudienceSpec {
        key: key.to_owned(),
        label: audience.label.clone(),
        description: audience.description.clone(),
        membership_days: audience.membership_days,
    }
}

/// Held while an audience runs; the operating system lets go of it when the process ends, however it ends.
fn lock(dir: &Path) -> Result<std::fs::File, SyncError> {
    let fail = |source| SyncError::File { what: "cannot lock", path: dir.display().to_string(), source };
    crate::store::private_dir(dir).map_err(fail)?;
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join("run.lock"))
        .map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(SyncError::Busy),
        Err(std::fs::TryLockError::Error(source)) => Err(fail(source)),
    }
}

/// A directory for temporary files of digests: empty at first, gone when dropped. What a killed run left in it is
/// wiped by the next one.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn fixed(path: &Path) -> Result<Self, SyncError> {
        let fail = |source| SyncError::File {
            what: "cannot make the temporary directory",
            path: path.display().to_string(),
            source,
        };
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
        crate::store::private_dir(path).map_err(fail)?;
        Ok(Self(path.to_owned()))
    }
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind, it is wiped by the next run.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
