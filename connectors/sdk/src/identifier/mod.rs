//! Identifiers: what kinds there are, how each platform wants them, and the one kernel that makes them.
//!
//! Canonical value first (trim, Unicode and case folding, E.164), then the platform's own rule, then SHA-256.
//! The rules are data: one [`IdentifierTable`] per platform in [`table`].

mod attributes;
mod email;
mod hash;
mod identify;
mod person;
mod phone;
mod prepare;
pub mod reason;
pub mod table;
mod text;

pub use identify::{Identified, identify, mask};
pub use person::{CanonicalPerson, Canonicaliser, RawPerson, Slot};
pub use prepare::{Prepared, Preparer};
pub use reason::reason_help;

use serde::{Deserialize, Serialize};

/// What a value identifies a person by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentifierKind {
    Email,
    Phone,
    MobileAdId,
    GivenName,
    FamilyName,
    Postcode,
    City,
    Country,
    Region,
}

impl IdentifierKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::MobileAdId => "mobile_ad_id",
            Self::GivenName => "given_name",
            Self::FamilyName => "family_name",
            Self::Postcode => "postcode",
            Self::City => "city",
            Self::Country => "country",
            Self::Region => "region",
        }
    }
}

/// The text form of a value on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// SHA-256, lower-case hexadecimal.
    Hex,
    /// SHA-256, standard Base64 with padding.
    Base64,
    /// The value itself.
    Plain,
}

/// A platform's own rule, applied to the canonical value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The canonical value as it is.
    Canonical,
    /// Gmail-like domains: cut the local part at `+`, delete its dots.
    EmailFoldGmail,
    /// As above, but `googlemail.com` stays as it is.
    EmailFoldGmailComOnly,
    /// Every domain: cut the local part at `+`, delete its dots.
    EmailFoldAll,
    /// Every domain: cut at `+`, keep ASCII letters and digits of the local part only.
    EmailAlphanumericLocal,
    /// Digits without `+`.
    PhoneDigits,
    /// `+` and digits.
    PhoneE164,
    /// Lower case, punctuation and spaces removed, letters of any script kept.
    NameLettersOnly,
    /// Lower case, titles (given) or suffixes (family) removed, punctuation kept.
    NameWithoutTitles,
    /// Lower case without spaces; US first five digits, UK without the unit.
    PostcodeCompact,
    /// Trimmed.
    PostcodeTrimmed,
    /// Lower case letters and digits; US first five digits.
    PostcodeAlphanumeric,
    /// Lower case letters and digits alone; ä, ö, ü, ß, æ, ø spelt out.
    Transliterated,
    /// ASCII letters only, lower case, accents folded.
    CityLettersOnly,
    /// ISO 3166-1 alpha-2, lower case.
    CountryLower,
    /// ISO 3166-1 alpha-2, upper case.
    CountryUpper,
    /// UUID, lower case with hyphens.
    MobileIdLower,
}

/// One line of a platform's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentifierSpec {
    pub kind: IdentifierKind,
    pub rule: Rule,
    pub encoding: Encoding,
    /// White space inside an e-mail is removed instead of refused (only where the platform documents it).
    pub remove_inner_whitespace: bool,
}

/// How one platform wants identifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentifierTable {
    pub slug: &'static str,
    /// Raised with every change of a rule; kept with each match observation.
    pub version: u32,
    pub identifiers: &'static [IdentifierSpec],
    /// Kinds that are only sent together (a postal address); all or none.
    pub together: &'static [IdentifierKind],
}

impl IdentifierTable {
    pub fn spec(&self, kind: IdentifierKind) -> Option<&'static IdentifierSpec> {
        self.identifiers.iter().find(|spec| spec.kind == kind)
    }
}

/// What the user may choose about normalisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NormalizationOptions {
    /// Domains whose addresses are the same with and without dots and `+tag` before the `@`.
    pub gmail_domains: Vec<String>,
    /// Accept only phone numbers in ranges their country has given out, not every possible one.
    pub strict_phones: bool,
}

impl Default for NormalizationOptions {
    fn default() -> Self {
        Self { gmail_domains: vec!["gmail.com".to_owned(), "googlemail.com".to_owned()], strict_phones: false }
    }
}

impl NormalizationOptions {
    /// The Gmail-like domains as canonical addresses have them.
    fn lowered_gmail_domains(&self) -> Vec<String> {
        self.gmail_domains.iter().map(|domain| domain.trim().to_lowercase()).collect()
    }
}
