//! `[lost]`: whom campaigns no longer reach. Kept out of audiences, and listed by `reveil segment purge`.
//!
//! Campaigns are those of `[warehouse.deliveries]`, the only place that says who got which. Advertising flights are not
//! counted: platforms do not tell who saw them.

use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LostConfig {
    /// Campaigns in a row without any reaction or other event. Default 2.
    pub after_campaigns: u32,
    /// A campaign counts once it is this many days old. Default 30.
    pub quiet_days: u32,
}

impl Default for LostConfig {
    fn default() -> Self {
        Self { after_campaigns: 2, quiet_days: 30 }
    }
}

impl LostConfig {
    /// Everything wrong with it, by key.
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        for (key, value, most) in
            [("after_campaigns", self.after_campaigns, 1000), ("quiet_days", self.quiet_days, 36_500)]
        {
            if !(1..=most).contains(&value) {
                faults.push((format!("lost.{key}"), format!("must be 1 to {most}, not {value}")));
            }
        }
        faults
    }
}
