//! `[guards]`: what a sync refuses to do on its own. Each refusal can be overridden by a flag, which is audited.

use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardsConfig {
    /// Refuse to remove more than this share of the members a destination holds. Default 0.5.
    pub max_removal_ratio: f64,
    /// Refuse to grow an audience to more than this multiple of what it holds. Default 3.
    pub max_growth_ratio: f64,
    /// The two above apply from this many held members on. Default 1,000.
    pub ratio_from_members: u64,
}

impl Default for GuardsConfig {
    fn default() -> Self {
        Self { max_removal_ratio: 0.5, max_growth_ratio: 3.0, ratio_from_members: 1_000 }
    }
}

impl GuardsConfig {
    /// These guards with the removal ratio of one run.
    pub(crate) fn with_removal_ratio(&self, asked: Option<f64>) -> Self {
        Self { max_removal_ratio: asked.unwrap_or(self.max_removal_ratio), ..self.clone() }
    }

    pub(super) fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        if !(0.0..=1.0).contains(&self.max_removal_ratio) {
            faults.push(("guards.max_removal_ratio".into(), "must be between 0 and 1, as in 0.5".into()));
        }
        if self.max_growth_ratio.is_nan() || self.max_growth_ratio < 1.0 {
            faults.push(("guards.max_growth_ratio".into(), "must be 1 or more, as in 3.0".into()));
        }
        faults
    }
}
