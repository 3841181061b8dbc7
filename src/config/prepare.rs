//! `[prepare]`: how identifiers are normalised.

use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrepareConfig {
    /// Domains whose local parts ignore dots and `+tags`, for the platforms that fold them.
    pub gmail_domains: Vec<String>,
    /// Accept only phone numbers that are assigned, not merely possible. Platforms ask for no more than possible.
    pub strict_phones: bool,
    /// An identifier that more customers than this share is a placeholder and is not sent.
    pub shared_above: u32,
}

impl Default for PrepareConfig {
    fn default() -> Self {
        Self {
            gmail_domains: vec!["gmail.com".to_owned(), "googlemail.com".to_owned()],
            strict_phones: false,
            shared_above: 5,
        }
    }
}

impl PrepareConfig {
    pub fn normalization(&self) -> reveil_sdk::identifier::NormalizationOptions {
        reveil_sdk::identifier::NormalizationOptions {
            gmail_domains: self.gmail_domains.clone(),
            strict_phones: self.strict_phones,
        }
    }
}
