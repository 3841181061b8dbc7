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
        }
    }
}
