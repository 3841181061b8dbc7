//! How each platform wants identifiers, one table each. Source: the platforms' own documents, read 2026-11-22.

use super::Encoding::{Base64, Hex, Plain};
use super::IdentifierKind::{City, Country, Email, FamilyName, GivenName, MobileAdId, Phone, Postcode};
use super::{Encoding, IdentifierKind, IdentifierSpec, IdentifierTable, Rule};

const fn spec(kind: IdentifierKind, rule: Rule, encoding: Encoding) -> IdentifierSpec {
    IdentifierSpec { kind, rule, encoding, remove_inner_whitespace: false }
}

const fn without_white_space(spec: IdentifierSpec) -> IdentifierSpec {
    IdentifierSpec { remove_inner_whitespace: true, ..spec }
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

/// Same digest as elsewhere, in Base64; folds `gmail.com` only. Phones are for regions outside the EU.
pub static TRADEDESK: IdentifierTable = IdentifierTable {
    slug: "tradedesk",
    version: 1,
    identifiers: &[spec(Email, Rule::EmailFoldGmailComOnly, Base64), spec(Phone, Rule::PhoneE164, Base64)],
    together: &[],
};

/// Drops dots and `+tag` on every domain and removes white space inside; phones keep their `+`.
pub static TIKTOK: IdentifierTable = IdentifierTable {
    slug: "tiktok",
    version: 1,
    identifiers: &[
        without_white_space(spec(Email, Rule::EmailFoldAll, Hex)),
        spec(Phone, Rule::PhoneE164, Hex),
        spec(MobileAdId, Rule::MobileIdLower, Hex),
    ],
    together: &[],
};

/// Letters and digits alone before the `@`. Takes device ids too, but their case depends on which system issued
/// them, which nobody tells us.
pub static REDDIT: IdentifierTable = IdentifierTable {
    slug: "reddit",
    version: 1,
    identifiers: &[spec(Email, Rule::EmailAlphanumericLocal, Hex)],
    together: &[],
};

/// Removes white space inside; no phones.
pub static LINKEDIN: IdentifierTable = IdentifierTable {
    slug: "linkedin",
    version: 1,
    identifiers: &[without_white_space(spec(Email, Rule::Canonical, Hex))],
    together: &[],
};

/// As Meta for e-mails and phones; device ids are hashed.
pub static SNAPCHAT: IdentifierTable = IdentifierTable {
    slug: "snapchat",
    version: 1,
    identifiers: &[
        spec(Email, Rule::Canonical, Hex),
        spec(Phone, Rule::PhoneDigits, Hex),
        spec(MobileAdId, Rule::MobileIdLower, Hex),
    ],
    together: &[],
};

/// Names, places and postcodes are letters and digits alone, with German and Danish letters spelt out. That `+` and
/// `_` would be deleted from e-mails is said by two helpers only and contradicted by two integrators: not done.
pub static AMAZON: IdentifierTable = IdentifierTable {
    slug: "amazon",
    version: 1,
    identifiers: &[
        spec(Email, Rule::Canonical, Hex),
        spec(Phone, Rule::PhoneDigits, Hex),
        spec(GivenName, Rule::Transliterated, Hex),
        spec(FamilyName, Rule::Transliterated, Hex),
        spec(Postcode, Rule::PostcodeAlphanumeric, Hex),
        spec(City, Rule::Transliterated, Hex),
    ],
    together: &[],
};

/// Customer Match takes e-mails alone, trimmed and lowered; the folding of Microsoft's other features is not asked.
pub static MICROSOFT: IdentifierTable =
    IdentifierTable { slug: "microsoft", version: 1, identifiers: &[spec(Email, Rule::Canonical, Hex)], together: &[] };

/// No phones; device ids are hashed.
pub static PINTEREST: IdentifierTable = IdentifierTable {
    slug: "pinterest",
    version: 1,
    identifiers: &[spec(Email, Rule::Canonical, Hex), spec(MobileAdId, Rule::MobileIdLower, Hex)],
    together: &[],
};

/// The form of phones is not documented for audiences; the conversion documents ask for E.164.
pub static X: IdentifierTable = IdentifierTable {
    slug: "x",
    version: 1,
    identifiers: &[
        spec(Email, Rule::Canonical, Hex),
        spec(Phone, Rule::PhoneE164, Hex),
        spec(MobileAdId, Rule::MobileIdLower, Hex),
    ],
    together: &[],
};

/// Phones exist for advertisers in India only.
pub static CRITEO: IdentifierTable = IdentifierTable {
    slug: "criteo",
    version: 1,
    identifiers: &[spec(Email, Rule::Canonical, Hex), spec(MobileAdId, Rule::MobileIdLower, Plain)],
    together: &[],
};

/// Every table, by slug.
pub static ALL: &[&IdentifierTable] =
    &[&META, &GOOGLE, &TRADEDESK, &TIKTOK, &REDDIT, &LINKEDIN, &SNAPCHAT, &AMAZON, &MICROSOFT, &PINTEREST, &X, &CRITEO];

/// The table of a platform.
pub fn find(slug: &str) -> Option<&'static IdentifierTable> {
    ALL.iter().copied().find(|table| table.slug == slug)
}
