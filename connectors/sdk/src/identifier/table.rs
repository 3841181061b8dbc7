//! How each platform wants identifiers, one table each. Source: the platforms' own documents, read 2026-11-22.

use super::Encoding::{Base64, Hex, Plain};
use super::IdentifierKind::{City, Country, Email, FamilyName, GivenName, MobileAdId, Phone, Postcode};
use super::{Encoding, IdentifierKind, IdentifierSpec, IdentifierTable, Rule};

const fn spec(kind: IdentifierKind, rule: Rule, encoding: Encoding) -> IdentifierSpec {
    IdentifierSpec { kind, rule, encoding, remove_inner_whitespace: false }
}

/// Meta keeps Gmail dots and `+tag`; phones are digits without `+`.
pub static META: IdentifierTable = IdentifierTable {
    slug: "meta",
    version: 1,
    identifiers: &[
        spec(Email, Rule::Canonical, Hex),
        spec(Phone, Rule::PhoneDigits, Hex),
        spec(MobileAdId, Rule::MobileIdLower, Plain),
        spec(GivenName, Rule::NameLettersOnly, Hex),
        spec(FamilyName, Rule::NameLettersOnly, Hex),
        spec(Postcode, Rule::PostcodeCompact, Hex),
        spec(City, Rule::CityLettersOnly, Hex),
        spec(Country, Rule::CountryLower, Hex),
    ],
    together: &[],
};

/// Google folds Gmail addresses; region and postcode are never hashed; an address needs all four parts.
pub static GOOGLE: IdentifierTable = IdentifierTable {
    slug: "google",
    version: 1,
    identifiers: &[
        spec(Email, Rule::EmailFoldGmail, Hex),
        spec(Phone, Rule::PhoneE164, Hex),
        spec(GivenName, Rule::NameWithoutTitles, Hex),
        spec(FamilyName, Rule::NameWithoutTitles, Hex),
        spec(Postcode, Rule::PostcodeTrimmed, Plain),
        spec(Country, Rule::CountryUpper, Plain),
    ],
    together: &[GivenName, FamilyName, Postcode, Country],
};

/// Same digest as elsewhere, in Base64; folds `gmail.com` only.
pub static TRADEDESK: IdentifierTable = IdentifierTable {
    slug: "tradedesk",
    version: 1,
    identifiers: &[spec(Email, Rule::EmailFoldGmailComOnly, Base64), spec(Phone, Rule::PhoneE164, Base64)],
    together: &[],
};

/// Every table, by slug.
pub static ALL: &[&IdentifierTable] = &[&META, &GOOGLE, &TRADEDESK];

/// The table of a platform.
pub fn find(slug: &str) -> Option<&'static IdentifierTable> {
    ALL.iter().copied().find(|table| table.slug == slug)
}
