//! `[erasure]`: how requests to be forgotten are read.

use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ErasureConfig {
    /// Countries, as `FR`, that a phone number without country code may belong to; every one is tried. Default: the
    /// country of `[warehouse.customers]` when that is one fixed value, else none, and such a number needs its country.
    pub countries: Vec<String>,
}
