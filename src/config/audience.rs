//! `[audience.*]`: who, where to, and what is held back.

use serde::{Deserialize, Serialize};

use super::Inactive;
use super::period::Period;
use super::schedule::{CatchUp, Schedule};
use super::share::Share;

/// See the module.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AudienceConfig {
    /// The name people see on the platforms. Bland words: platforms flag health, finance and the like.
    pub label: String,
    #[serde(default)]
    pub description: String,
    /// When a customer counts as inactive.
    pub inactive: Inactive,
    /// Share of people withheld as control group, `"10%"`. Default none.
    #[serde(default)]
    pub holdout: Share,
    /// Names the experiment the holdout belongs to: audiences with the same name withhold the same people. Default
    /// the audience's key.
    #[serde(default)]
    pub experiment: Option<String>,
    /// When it is refreshed by `reveil serve`.
    #[serde(default)]
    pub schedule: Option<Schedule>,
    /// Each due time is put off by up to this, the same on every replica. Default none.
    #[serde(default)]
    pub jitter: Option<Period>,
    /// Due times missed while nothing ran: `none`, `latest` (default) or `all`.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// When everybody is sent again to repair what drifted on the platform. Default never.
    #[serde(default)]
    pub full_sync: Option<Schedule>,
    /// Destinations by name.
    pub destinations: Vec<String>,
    /// Days a member stays on platforms that let one choose. Default the platform's maximum.
    #[serde(default)]
    pub membership_days: Option<u32>,
}
