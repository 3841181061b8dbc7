//! `[vault]`: the keys that secrets kept in the state are sealed with.

use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct VaultConfig {
    /// The master key: `{ file = "master.key" }` (readable by its owner alone) or `{ env = "REVEIL_MASTER_KEY" }`; 32
    /// bytes as Base64 or hexadecimal. `reveil vault init` makes one. None by default: then nothing can be sealed.
    pub master_key: Option<KeySource>,
    /// Earlier master keys that some secrets may still be sealed with; `reveil vault rotate` says when one can go.
    pub old_keys: Vec<KeySource>,
}

/// Where a key comes from; never the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum KeySource {
    /// An environment variable, or a line of `.env`.
    Env(String),
    /// A file; relative to the config file.
    File(std::path::PathBuf),
}

impl std::fmt::Display for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Env(name) => write!(f, "the environment variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
        }
    }
}
