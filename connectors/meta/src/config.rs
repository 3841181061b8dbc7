//! Settings of one destination: reading, judging (all faults at once) and what follows from them.

use std::collections::BTreeMap;
use std::sync::Mutex;

use hmac::{Hmac, KeyInit, Mac};
use reveil_sdk::{Descriptor, Error, Options, Result};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::Sha256;
use url::Url;

use crate::rows::MAX_ROWS;
use crate::{API_VERSION, DESCRIPTOR};

/// Requests of 10,000 rows are allowed, yet very large bodies have been answered with an HTML error page
/// (facebook-python-business-sdk issue 141), so the start is half of it, some 0.8 MB with an e-mail and a phone each.
const DEFAULT_BATCH_MEMBERS: u32 = 5_000;
const MAX_RETENTION_DAYS: u32 = 180;
const SOURCES: [&str; 3] = ["USER_PROVIDED_ONLY", "PARTNER_PROVIDED_ONLY", "BOTH_USER_AND_PARTNER_PROVIDED"];
/// The SDK's enumeration, and `CUSTOMERS` of the guide: which of `CUSTOMERS` and `GENERAL_CUSTOMERS` Meta takes is
/// UNVERIFIED, so both pass here.
const LABELS: [&str; 16] = [
    "QUALIFIED_LEADS",
    "DISQUALIFIED_LEADS",
    "APP_USERS",
    "TRIAL_USERS",
    "ENGAGED_USERS",
    "HIGH_VALUE_CUSTOMERS",
    "LOW_VALUE_CUSTOMERS",
    "AT_RISK",
    "DISENGAGED",
    "RECENT_PURCHASERS",
    "CART_ABANDONERS",
    "GENERAL_CUSTOMERS",
    "CUSTOMERS",
    "OTHER_1",
    "OTHER_2",
    "OTHER_3",
];

/// Limited Data Use, written into every uploaded row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LimitedDataUse {
    pub country: u32,
    pub state: u32,
}

/// Settings that passed.
#[derive(Debug)]
pub(crate) struct Settings {
    pub account_digits: String,
    pub base_url: Url,
    pub api_version: String,
    pub retention_days: Option<u32>,
    pub customer_file_source: String,
    pub audience_labels: Vec<String>,
    pub batch_members: u32,
    pub limited_data_use: Option<LimitedDataUse>,
    pub token: SecretString,
    /// `appsecret_proof` of the token.
    pub proof: Option<SecretString>,
}

/// As written by the user.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Given {
    api_version: Option<String>,
    retention_days: Option<u32>,
    customer_file_source: Option<String>,
    audience_labels: Vec<String>,
    batch_members: Option<u32>,
    limited_data_use: bool,
    limited_data_use_country: u32,
    limited_data_use_state: u32,
    /// Read by the framework, for `reveil connect`.
    #[serde(rename = "app_id")]
    _app_id: Option<serde_json::Value>,
    #[serde(rename = "authorize_url")]
    _authorize_url: Option<Url>,
    #[serde(rename = "token_url")]
    _token_url: Option<Url>,
}

impl Settings {
    /// # Errors
    /// `Config` with every fault in its message.
    pub fn read(mut options: Options) -> Result<Self> {
        let mut faults = Vec::new();
        let given: Given = serde_json::from_value(options.settings.into()).unwrap_or_else(|error| {
            faults.push(error.to_string());
            Given::default()
        });

        let account_digits = options.account.strip_prefix("act_").unwrap_or(&options.account).to_owned();
        if account_digits.is_empty() || account_digits.len() > 20 || !account_digits.bytes().all(|b| b.is_ascii_digit())
        {
            faults.push("account must be act_ and digits, or the digits alone, as in act_1234567890".into());
        }
        let api_version = given.api_version.unwrap_or_else(|| API_VERSION.into());
        if version_number(&api_version).is_none() {
            faults.push("api_version must look like v26.0".into());
        }
        if given.retention_days.is_some_and(|days| !(1..=MAX_RETENTION_DAYS).contains(&days)) {
            faults
                .push(format!("retention_days must be 1-{MAX_RETENTION_DAYS}; leave it out to keep members for ever"));
        }
        let customer_file_source = given.customer_file_source.unwrap_or_else(|| SOURCES[0].into());
        if !SOURCES.contains(&customer_file_source.as_str()) {
            faults.push(format!("customer_file_source must be one of {}", SOURCES.join(", ")));
        }
        if !given.audience_labels.iter().all(|label| LABELS.contains(&label.as_str())) {
            faults.push(format!("audience_labels must be among {}", LABELS.join(", ")));
        }
        let batch_members = given.batch_members.unwrap_or(DEFAULT_BATCH_MEMBERS);
        if !(1..=MAX_ROWS as u32).contains(&batch_members) {
            faults.push(format!("batch_members must be 1-{MAX_ROWS}"));
        }
        let (country, state) = (given.limited_data_use_country, given.limited_data_use_state);
        if !given.limited_data_use && (country, state) != (0, 0) {
            faults.push("limited_data_use_country and limited_data_use_state need limited_data_use = true".into());
        }
        let base_url = options
            .base_url
            .unwrap_or_else(|| Url::parse(DESCRIPTOR.default_base_url).expect("a constant that is a URL"));
        if !matches!(base_url.scheme(), "http" | "https") {
            faults.push("base_url must begin with http:// or https://".into());
        }
        for key in options.secrets.keys() {
            if !DESCRIPTOR.secrets.iter().any(|secret| secret.key == key) {
                faults.push(format!("credentials have no {key}; known are token and app_secret"));
            }
        }
        let token = options.secrets.remove("token").filter(|token| !token.expose_secret().trim().is_empty());
        if token.is_none() {
            faults.push("credentials must give token, a system user access token with ads_management".into());
        }
        let app_secret = options.secrets.remove("app_secret").filter(|secret| !secret.expose_secret().is_empty());

        match token {
            Some(token) if faults.is_empty() => Ok(Self {
                account_digits,
                base_url,
                api_version,
                retention_days: given.retention_days,
                customer_file_source,
                audience_labels: given.audience_labels,
                batch_members,
                limited_data_use: given.limited_data_use.then_some(LimitedDataUse { country, state }),
                proof: app_secret.map(|secret| proof(&secret, &token)),
                token,
            }),
            _ => Err(Error::config(faults.join("; ")).with("connector", DESCRIPTOR.slug)),
        }
    }
}

/// `v26.0` → (26, 0).
pub(crate) fn version_number(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.strip_prefix('v')?.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (digits(major) && digits(minor)).then(|| Some((major.parse().ok()?, minor.parse().ok()?)))?
}

/// Lower-case hexadecimal HMAC-SHA256 of the token under the app secret. Source: graph-api/securing-requests.
fn proof(app_secret: &SecretString, token: &SecretString) -> SecretString {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(app_secret.expose_secret().as_bytes()).expect("any key length will do");
    mac.update(token.expose_secret().as_bytes());
    const_hex::encode(mac.finalize().into_bytes()).into()
}

/// The descriptor with what this destination chose. Kept for the life of the process and shared between
/// destinations that chose the same, so that rebuilding connectors does not grow memory.
pub(crate) fn descriptor_for(settings: &Settings) -> &'static Descriptor {
    type Key = (String, u32, Option<u32>);
    static CHOSEN: Mutex<BTreeMap<Key, &'static Descriptor>> = Mutex::new(BTreeMap::new());
    let key = (settings.api_version.clone(), settings.batch_members, settings.retention_days);
    CHOSEN.lock().expect("no panic while held").entry(key).or_insert_with(|| {
        let mut chosen = DESCRIPTOR;
        if settings.api_version != API_VERSION {
            chosen.api_version = String::leak(settings.api_version.clone());
        }
        chosen.limits.max_batch_members = settings.batch_members;
        chosen.limits.membership_days = settings.retention_days;
        Box::leak(Box::new(chosen))
    })
}

/// Ends a version's life for custom audiences: the Marketing API column of graph-api/changelog, about one year.
const EXPIRED: [(u32, &str); 3] = [(22, "2026-02-19"), (23, "2026-06-09"), (24, "2026-10-06")];

/// A warning when the pinned version is past its documented end on `today` (`YYYY-MM-DD`).
pub(crate) fn version_warning(version: &str, today: &str) -> Option<String> {
    let (major, _) = version_number(version)?;
    let known = EXPIRED.iter().find(|(expired, _)| *expired == major).map(|(_, end)| *end);
    let end = match known {
        Some(end) if end <= today => Some(end),
        None if major < EXPIRED[0].0 => Some("before 2026-02-19"),
        _ => None,
    }?;
    Some(format!(
        "Marketing API {version} ended {end}; calls work only as long as Meta upgrades them silently. \
         Set api_version = \"{API_VERSION}\"."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proof_equals_the_published_example() {
        // `printf TOKEN | openssl dgst -sha256 -hmac shhh`
        let proof = proof(&"shhh".into(), &"TOKEN".into());
        assert_eq!(proof.expose_secret(), "0ba00ced03d012d0521192f0bfb4a059676a9a4b774d5e3392c5b7196c9f8d42");
    }

    #[test]
    fn versions_read_and_expire() {
        assert_eq!(version_number("v26.0"), Some((26, 0)));
        for wrong in ["26.0", "v26", "v.0", "v26.0/..", "v+1.0", ""] {
            assert_eq!(version_number(wrong), None, "{wrong}");
        }
        assert!(version_warning("v24.0", "2026-10-06").is_some());
        assert!(version_warning("v24.0", "2026-10-05").is_none());
        assert!(version_warning("v19.0", "2026-01-01").is_some());
        assert!(version_warning("v26.0", "2027-01-01").is_none());
    }
}
