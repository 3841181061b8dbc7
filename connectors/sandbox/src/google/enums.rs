//! Enum values on the wire: proto JSON takes the name or the number, and Google's own REST clients send numbers.

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::fmt;

/// Names by number, as in the published protos.
pub(crate) const ACCOUNT_TYPES: [&str; 9] = [
    "ACCOUNT_TYPE_UNSPECIFIED",
    "GOOGLE_ADS",
    "DISPLAY_VIDEO_PARTNER",
    "DISPLAY_VIDEO_ADVERTISER",
    "DATA_PARTNER",
    "GOOGLE_ANALYTICS_PROPERTY",
    "GOOGLE_AD_MANAGER_AUDIENCE_LINK",
    "FLOODLIGHT_CONFIG",
    "GOOGLE_AD_MANAGER",
];
pub(crate) const KEY_TYPES: [&str; 6] =
    ["UPLOAD_KEY_TYPE_UNSPECIFIED", "CONTACT_ID", "MOBILE_ID", "USER_ID", "PAIR_ID", "PSEUDONYMOUS_ID"];
pub(crate) const DATA_SOURCES: [&str; 5] = [
    "DATA_SOURCE_TYPE_UNSPECIFIED",
    "DATA_SOURCE_TYPE_FIRST_PARTY",
    "DATA_SOURCE_TYPE_THIRD_PARTY_CREDIT_BUREAU",
    "DATA_SOURCE_TYPE_THIRD_PARTY_VOTER_FILE",
    "DATA_SOURCE_TYPE_THIRD_PARTY_PARTNER_DATA",
];
const MEMBERSHIP: [&str; 3] = ["MEMBERSHIP_STATUS_UNSPECIFIED", "OPEN", "CLOSED"];
const ENCODINGS: [&str; 3] = ["ENCODING_UNSPECIFIED", "HEX", "BASE64"];
const CONSENTS: [&str; 3] = ["CONSENT_STATUS_UNSPECIFIED", "CONSENT_GRANTED", "CONSENT_DENIED"];
const TERMS: [&str; 3] = ["TERMS_OF_SERVICE_STATUS_UNSPECIFIED", "ACCEPTED", "REJECTED"];

struct NameVisitor(&'static [&'static str]);

impl Visitor<'_> for NameVisitor {
    type Value = &'static str;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an enum value")
    }
    fn visit_str<E: de::Error>(self, name: &str) -> Result<&'static str, E> {
        self.0.iter().find(|n| **n == name).copied().ok_or_else(|| E::custom("unknown enum value"))
    }
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<&'static str, E> {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        self.0.get(index).copied().ok_or_else(|| E::custom("unknown enum value"))
    }
}

pub(crate) fn account_type<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    d.deserialize_any(NameVisitor(&ACCOUNT_TYPES)).map(str::to_owned)
}

pub(crate) fn membership<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    d.deserialize_any(NameVisitor(&MEMBERSHIP)).map(|name| Some(name.to_owned()))
}

/// The name a JSON value stands for.
pub(crate) fn name_of(value: &Value, names: &[&'static str]) -> Option<&'static str> {
    match value {
        Value::String(text) => names.iter().find(|n| *n == text).copied(),
        other => names.get(usize::try_from(other.as_u64()?).ok()?).copied(),
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Encoding {
    Unspecified,
    Hex,
    Base64,
}

impl<'de> Deserialize<'de> for Encoding {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(match d.deserialize_any(NameVisitor(&ENCODINGS))? {
            "HEX" => Encoding::Hex,
            "BASE64" => Encoding::Base64,
            _ => Encoding::Unspecified,
        })
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum ConsentValue {
    Unspecified,
    Granted,
    Denied,
}

impl<'de> Deserialize<'de> for ConsentValue {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(match d.deserialize_any(NameVisitor(&CONSENTS))? {
            "CONSENT_GRANTED" => ConsentValue::Granted,
            "CONSENT_DENIED" => ConsentValue::Denied,
            _ => ConsentValue::Unspecified,
        })
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum TermsStatus {
    Accepted,
    Other,
}

impl<'de> Deserialize<'de> for TermsStatus {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(match d.deserialize_any(NameVisitor(&TERMS))? {
            "ACCEPTED" => TermsStatus::Accepted,
            _ => TermsStatus::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_mean_the_same() {
        for text in ["1", "\"CONSENT_GRANTED\""] {
            assert!(serde_json::from_str::<ConsentValue>(text).unwrap() == ConsentValue::Granted, "{text}");
        }
        for text in ["7", "\"GRANTED\"", "-1", "true"] {
            assert!(serde_json::from_str::<ConsentValue>(text).is_err(), "{text}");
        }
        assert_eq!(name_of(&Value::from(2), &KEY_TYPES), Some("MOBILE_ID"));
        assert_eq!(name_of(&Value::from("PAIR_ID"), &KEY_TYPES), Some("PAIR_ID"));
        assert_eq!(name_of(&Value::Null, &KEY_TYPES), None);
    }
}
