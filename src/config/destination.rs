//! `[destination.*]`: an account on a platform, and how to reach it.

use std::collections::BTreeMap;

use reveil_sdk::IdentifierKind;
use serde::{Deserialize, Serialize};
use url::Url;

/// See the module. Keys that are not listed here belong to the connector and are checked against what it declares.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct DestinationConfig {
    /// The connector's slug: `meta`, `google`.
    pub connector: String,
    /// The ad account.
    pub account: String,
    /// Where its secrets come from: `{ env = "META_TOKEN" }`, `{ file = "token.txt" }`, `{ vault = "meta-fr" }`, or a
    /// table of them by name.
    #[serde(default)]
    pub credentials: Credentials,
    /// Replaces the platform's host: sandbox, proxy.
    #[serde(default)]
    pub base_url: Option<Url>,
    /// A call that takes longer is given up and tried again. Seconds, default 60.
    #[serde(default = "default_timeout_secs")]
    pub timeout_secs: u64,
    /// Which identifiers to send, of those the platform takes. Default `["email", "phone"]`.
    #[serde(default = "default_identifiers")]
    pub identifiers: Vec<IdentifierKind>,
    /// First question for the verdict of an asynchronous upload, seconds after it. Default what the platform asks.
    #[serde(default)]
    pub poll_first_secs: Option<u64>,
    /// Members per request, at most the platform's limit. Default that limit.
    #[serde(default)]
    pub batch_members: Option<u32>,
    /// Requests a minute that this process may make, at most the platform's limit; all audiences share them, and a
    /// process that was idle may make a minute's worth at once. Processes do not know of each other's requests: N
    /// replicas make up to N times as many, as does each command beside them. To keep an account's limit, divide it by
    /// the replicas, or let one job at a time use the destination (`max_concurrent_runs = 1`), which holds over all of
    /// them; then only a hand-over can make a second minute's worth. Beyond it the platform's own answers (429,
    /// `Retry-After`, usage headers) slow each process down. Default the platform's limit.
    #[serde(default)]
    pub requests_per_minute: Option<u32>,
    /// Jobs that may use the destination at the same time, over all replicas. Default no limit of its own.
    #[serde(default)]
    pub max_concurrent_runs: Option<u32>,
    /// Pause before the first new try of a failed call, in milliseconds; later ones grow from it. Default 2,000, which
    /// platforms need. For tests and sandboxes, which would otherwise sleep for real.
    #[serde(default)]
    pub retry_first_delay_ms: Option<u64>,
    /// The connector's own settings.
    #[serde(flatten)]
    pub settings: serde_json::Map<String, serde_json::Value>,
}

fn default_timeout_secs() -> u64 {
    60
}

fn default_identifiers() -> Vec<IdentifierKind> {
    vec![IdentifierKind::Email, IdentifierKind::Phone]
}

/// Where secrets come from; never the secrets themselves.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Credentials {
    #[default]
    None,
    /// One secret, the connector's first.
    One(SecretSource),
    /// Several, by the connector's names for them.
    Named(BTreeMap<String, SecretSource>),
}

/// One secret's place.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretSource {
    /// An environment variable, or a line of `.env`.
    Env(String),
    /// A file, its last line break ignored; relative to the config file.
    File(std::path::PathBuf),
    /// A secret of the vault, set by `reveil vault set` or granted through `reveil connect`.
    Vault(String),
}

impl Credentials {
    /// Every source, with the connector's name for the secret where the config gives one.
    pub fn sources(&self) -> Vec<(Option<&str>, &SecretSource)> {
        match self {
            Self::None => Vec::new(),
            Self::One(source) => vec![(None, source)],
            Self::Named(named) => named.iter().map(|(key, source)| (Some(key.as_str()), source)).collect(),
        }
    }
    /// Whether the vault is needed to read them.
    pub fn use_vault(&self) -> bool {
        self.sources().iter().any(|(_, source)| matches!(source, SecretSource::Vault(_)))
    }
}
