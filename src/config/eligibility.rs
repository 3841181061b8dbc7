//! `[eligibility]`: who may be uploaded to an ad platform at all. Applied in a fixed order, each removal counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a hard-bounced e-mail means for ads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BouncePolicy {
    /// The customer is left out.
    DropCustomer,
    /// Only that address is left out.
    DropIdentifier,
    /// It is sent: platforms may still know an old address.
    Keep,
}

/// See the module.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct EligibilityConfig {
    /// Upload only people whose `consent_ads` is granted. Default true. Consent to mail is not consent to this.
    pub require_consent: bool,
    /// Upload people who unsubscribed from mail. Default false.
    pub allow_unsubscribed: bool,
    /// What to do with addresses that bounced for good. Default `drop_identifier`.
    pub hard_bounce: BouncePolicy,
    /// Hard stop this many calendar years after the last contact that came from the person. Default 3 (the French
    /// reference); 0 = no limit.
    pub retention_years: u32,
    /// The same for single countries: `{ DE = 2 }`.
    pub retention_years_by_country: BTreeMap<String, u32>,
    /// Nobody younger than this, where a birth date is mapped. Default 18.
    pub min_age_years: u32,
    /// People with a purchase in the last so many days are left out, whatever the segment says. For segments given
    /// as SQL or a table; the built-in definitions see to it themselves. Default 0 = off.
    pub exit_days: u32,
    /// Steps of the mail ladder at which people may get ads: `["none", "15", "done"]`. `none` is whoever is not in the
    /// ladder (blank column). Default empty: the ladder does not matter.
    pub ladder_ready: Vec<String>,
}

/// Steps of the mail ladder: days after its first mail, `none` before it and `done` after it.
pub const LADDER_STEPS: [&str; 6] = ["none", "0", "5", "10", "15", "done"];

/// True for one of [`LADDER_STEPS`], however it is written.
pub fn is_ladder_step(text: &str) -> bool {
    LADDER_STEPS.contains(&ladder_step(text).as_str())
}

/// `day +5`, `+5` and `J+5` as `5`; blank as `none`.
pub fn ladder_step(text: &str) -> String {
    let lower = text.trim().to_ascii_lowercase();
    let step = lower.trim_start_matches("day").trim_start_matches('j').trim_start_matches([' ', '_', '-', '+']).trim();
    if step.is_empty() { "none".to_owned() } else { step.to_owned() }
}

impl Default for EligibilityConfig {
    fn default() -> Self {
        Self {
            require_consent: true,
            allow_unsubscribed: false,
            hard_bounce: BouncePolicy::DropIdentifier,
            retention_years: 3,
            retention_years_by_country: BTreeMap::new(),
            min_age_years: 18,
            exit_days: 0,
            ladder_ready: Vec::new(),
        }
    }
}
