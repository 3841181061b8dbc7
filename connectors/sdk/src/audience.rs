//! The list on the ad platform: how it is asked for, how it is named afterwards, how it does.

use serde::{Deserialize, Serialize};

/// What an audience should be on the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudienceSpec {
    /// Our stable key for it (`dormant`), unique within the account; connectors use it for find-or-create where
    /// the platform has a field for it.
    pub key: String,
    /// The name people see on the platform.
    pub label: String,
    pub description: String,
    /// How long a member stays without being sent again, where the platform lets one choose.
    pub membership_days: Option<u32>,
}

/// A platform audience that exists.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AudienceRef {
    /// The platform's id, as a string (some exceed 2^53).
    pub id: String,
    /// True when [`find_or_create`](crate::Connector::find_or_create) made it just now.
    #[serde(default)]
    pub created: bool,
}

/// A size the platform reports, with its own rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeBounds {
    pub low: Option<u64>,
    pub high: Option<u64>,
}

/// Whether an audience's members can be swapped for others ([`Replace::Swap`](crate::Replace)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replaceable {
    #[default]
    Yes,
    /// There is nobody in it to be swapped; the platform takes adds only.
    Empty,
    /// Not in the state it is in; adds and removals are taken.
    No,
}

/// What the platform says of an audience now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AudienceStatus {
    /// Members may be written now.
    pub writable: bool,
    /// Whether a swap would be taken now; without meaning where the platform has none.
    #[serde(default)]
    pub replaceable: Replaceable,
    /// Ads may be delivered to it; `None` when the platform does not say.
    pub deliverable: Option<bool>,
    /// The platform's own state, as code and words.
    pub state: String,
    pub size: Option<SizeBounds>,
    /// A match rate the platform states for the whole list, as a ratio 0–1, with the width of its rounding.
    pub match_rate_ratio: Option<(f64, f64)>,
    /// What the operator should know or do; empty when all is well.
    pub warnings: Vec<String>,
}
