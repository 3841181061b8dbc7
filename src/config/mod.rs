//! What the user says in `reveil.toml`, the environment and flags: one struct per section, one file each.
//!
//! [`load`] layers the sources and collects every fault; the structs here only hold and check values. What every key
//! means stands for users in `docs/configuration.md`, held to these structs by a test.

pub mod alerts;
pub mod audience;
pub mod audience_inactive;
pub mod destination;
#[cfg(test)]
mod documented;
pub mod eligibility;
pub mod erasure;
pub mod guards;
pub mod holdout;
pub mod ledger;
pub mod load;
pub mod lost;
pub mod period;
pub mod prepare;
pub mod roi;
pub mod schedule;
pub mod scheduler;
pub mod server;
pub mod share;
pub mod state;
pub mod vault;
pub mod warehouse;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

pub use alerts::AlertsConfig;
pub use audience::AudienceConfig;
pub use audience_inactive::Inactive;
pub use destination::DestinationConfig;
pub use eligibility::EligibilityConfig;
pub use erasure::ErasureConfig;
pub use guards::GuardsConfig;
pub use holdout::HoldoutConfig;
pub use ledger::LedgerConfig;
pub use load::{Fault, Faults, Sources, load};
pub use lost::LostConfig;
pub use period::Period;
pub use prepare::PrepareConfig;
pub use roi::RoiConfig;
pub use schedule::{CatchUp, Schedule};
pub use scheduler::SchedulerConfig;
pub use server::ServerConfig;
pub use state::StateConfig;
pub use vault::VaultConfig;
pub use warehouse::WarehouseConfig;

/// The whole configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where state and ledgers live; relative to the config file. Default `.reveil`. Holds digests of customers:
    /// keep it as private as the warehouse.
    #[serde(default = "default_state_dir")]
    pub state_dir: PathBuf,
    /// Where the ledgers of several replicas are; on this machine when it is missing.
    #[serde(default)]
    pub ledger: LedgerConfig,
    /// Where runs, jobs and the audit log are kept.
    #[serde(default)]
    pub state: StateConfig,
    /// Where customers come from.
    pub warehouse: WarehouseConfig,
    /// Who may be uploaded at all.
    #[serde(default)]
    pub eligibility: EligibilityConfig,
    /// Whom campaigns no longer reach; nobody when it is missing.
    #[serde(default)]
    pub lost: Option<LostConfig>,
    /// What a sync refuses to do without an explicit override.
    #[serde(default)]
    pub guards: GuardsConfig,
    /// How identifiers are normalised.
    #[serde(default)]
    pub prepare: PrepareConfig,
    /// Who is kept out of every audience.
    #[serde(default)]
    pub holdout: HoldoutConfig,
    /// What projections start from.
    #[serde(default)]
    pub roi: RoiConfig,
    /// How `reveil serve` works through its queue.
    #[serde(default)]
    pub scheduler: SchedulerConfig,
    /// What people are told, and where.
    #[serde(default)]
    pub alerts: AlertsConfig,
    /// How requests to be forgotten are read.
    #[serde(default)]
    pub erasure: ErasureConfig,
    /// What secrets in the state are sealed with.
    #[serde(default)]
    pub vault: VaultConfig,
    /// Where `reveil serve` listens, and how much it takes from whom.
    #[serde(default)]
    pub server: ServerConfig,
    /// Audiences by key: `[audience.dormant]`.
    #[serde(default)]
    pub audience: BTreeMap<String, AudienceConfig>,
    /// Destinations by name: `[destination.meta-fr]`.
    #[serde(default)]
    pub destination: BTreeMap<String, DestinationConfig>,
    /// All layers as written, `${NAME}` not replaced: what a reload compares.
    #[serde(skip)]
    pub(crate) written: serde_json::Value,
}

fn default_state_dir() -> PathBuf {
    PathBuf::from(".reveil")
}

impl Config {
    /// The audience of that key.
    ///
    /// # Errors
    /// Says which keys there are.
    pub fn audience(&self, key: &str) -> Result<&AudienceConfig, NoSuch> {
        self.audience.get(key).ok_or_else(|| NoSuch::new("audience", key, self.audience.keys()))
    }

    /// The destination of that name.
    ///
    /// # Errors
    /// Says which names there are.
    pub fn destination(&self, name: &str) -> Result<&DestinationConfig, NoSuch> {
        self.destination.get(name).ok_or_else(|| NoSuch::new("destination", name, self.destination.keys()))
    }
}

/// Something was named that the configuration does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} `{key}`; the config has: {known}")]
pub struct NoSuch {
    pub what: &'static str,
    pub key: String,
    /// What there is.
    pub known: String,
}

impl NoSuch {
    fn new<'a>(what: &'static str, key: &str, known: impl Iterator<Item = &'a String>) -> Self {
        let known = known.map(String::as_str).collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none".to_owned() } else { known };
        Self { what, key: key.to_owned(), known }
    }
}
