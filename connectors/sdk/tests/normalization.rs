//! The vectors of `fixtures/normalization.csv` through both doors: `identify`, and the kernel that writes members.

use std::collections::BTreeMap;

use reveil_sdk::identifier::{
    CanonicalPerson, Canonicaliser, Encoding, IdentifierKind, IdentifierTable, NormalizationOptions, Preparer,
    RawPerson, identify, table,
};
use reveil_sdk::{MemberBuf, MemberKey};

struct Vector {
    cells: BTreeMap<String, String>,
}

impl Vector {
    fn get(&self, column: &str) -> &str {
        &self.cells[column]
    }
    fn kind(&self) -> IdentifierKind {
        if self.get("kind") == "email" { IdentifierKind::Email } else { IdentifierKind::Phone }
    }
    fn raw(&self) -> String {
        serde_json::from_str(self.get("raw_json")).expect("raw_json is a JSON string")
    }
    /// What a platform's column says: the SHA-256 in hexadecimal, or nothing. `None`: it takes no such identifier.
    fn expected(&self, column: &str) -> Option<Option<&str>> {
        match self.get(column) {
            "-" => None,
            "" if self.get("outcome") == "accept" => Some(Some(self.get("sha256"))),
            "" => Some(None),
            cell if cell.starts_with('!') => Some(None),
            _ => Some(Some(self.get(&format!("{column}_sha256")))),
        }
    }
}

fn vectors() -> Vec<Vector> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/normalization.csv");
    let mut reader = csv::Reader::from_path(path).expect("the fixture is there");
    let rows: Vec<Vector> =
        reader.deserialize().map(|row| Vector { cells: row.expect("the fixture is RFC 4180") }).collect();
    assert_eq!(rows.len(), 104);
    rows
}

/// The table and the column it is held against, by kind.
fn columns(kind: IdentifierKind) -> Vec<(&'static IdentifierTable, &'static str)> {
    let own = [
        (&table::META, "meta"),
        (&table::GOOGLE, "google"),
        (&table::TIKTOK, "tiktok"),
        (&table::REDDIT, "reddit"),
        (&table::TRADEDESK, "tradedesk"),
        (&table::LINKEDIN, "linkedin"),
    ];
    let like_canonical = ["microsoft", "pinterest", "x", "criteo", "snapchat", "amazon"];
    let find = |slug| table::find(slug).expect("the table exists");
    match kind {
        IdentifierKind::Email => own.into_iter().chain(like_canonical.map(|slug| (find(slug), "canonical"))).collect(),
        _ => own.into_iter().chain(["snapchat", "amazon"].map(|slug| (find(slug), "meta"))).collect(),
    }
}

fn expected<'a>(vector: &'a Vector, column: &str) -> Option<Option<&'a str>> {
    if column == "canonical" {
        return Some(Some(vector.get("sha256")).filter(|digest| !digest.is_empty()));
    }
    vector.expected(column)
}

#[test]
fn canonical_values_and_reasons() {
    for vector in vectors() {
        let id = vector.get("id");
        let options = NormalizationOptions::default();
        // Google's rule leaves phones canonical, Microsoft's e-mails.
        let table = if vector.kind() == IdentifierKind::Email { &table::MICROSOFT } else { &table::GOOGLE };
        let found = identify(table, &options, vector.kind(), &vector.raw(), vector.get("region"));
        let reason = found.rejected.as_ref().map_or("", |reason| reason.code());
        // A digest among raw values is told apart, so that it can be counted.
        let reason = if reason == "looks_hashed" { "no_at" } else { reason };
        assert_eq!(found.canonical.as_deref().unwrap_or(""), vector.get("canonical"), "{id}");
        assert_eq!(reason, vector.get("reason"), "{id}");
        assert_eq!(found.value.as_deref().unwrap_or(""), vector.get("sha256"), "{id}");
    }
}

#[test]
fn strict_phones_must_be_valid() {
    let options = NormalizationOptions { strict_phones: true, ..NormalizationOptions::default() };
    for vector in vectors() {
        if vector.kind() == IdentifierKind::Phone {
            let found = identify(&table::GOOGLE, &options, vector.kind(), &vector.raw(), vector.get("region"));
            assert_eq!(found.value.is_some(), vector.get("strict") == "accept", "{}", vector.get("id"));
        }
    }
}

#[test]
fn every_platform_gets_its_rendering() {
    let mut compared = 0;
    for vector in vectors() {
        for (table, column) in columns(vector.kind()) {
            let at = format!("{} for {}", vector.get("id"), table.slug);
            let options = NormalizationOptions::default();
            let found = identify(table, &options, vector.kind(), &vector.raw(), vector.get("region"));
            let Some(expected) = expected(&vector, column) else {
                if vector.get("outcome") == "accept" {
                    assert_eq!(found.rejected.expect("not taken").code(), "not_taken", "{at}");
                }
                continue;
            };
            let as_hex = found.value.map(|value| match found.encoding {
                Encoding::Base64 => {
                    use base64::Engine;
                    const_hex::encode(base64::engine::general_purpose::STANDARD.decode(value).expect("Base64"))
                }
                _ => value,
            });
            assert_eq!(as_hex.as_deref(), expected, "{at}");
            compared += 1;
        }
    }
    assert!(compared > 700, "{compared} renderings compared");
}

#[test]
fn members_carry_what_identify_says() {
    let options = NormalizationOptions::default();
    let mut canonicaliser = Canonicaliser::new(&options);
    let mut person = CanonicalPerson::new();
    let mut members = MemberBuf::new();
    for vector in vectors() {
        let raw = vector.raw();
        let (emails, phones) = match vector.kind() {
            IdentifierKind::Email => (vec![raw.as_str()], vec![]),
            _ => (vec![], vec![raw.as_str()]),
        };
        let cells = RawPerson { emails: &emails, phones: &phones, country: vector.get("region"), ..Default::default() };
        canonicaliser.person(&cells, &mut person);
        for (table, column) in columns(vector.kind()) {
            let at = format!("{} for {}", vector.get("id"), table.slug);
            members.clear();
            let mut preparer = Preparer::new(table, &options, &[IdentifierKind::Email, IdentifierKind::Phone]);
            let prepared = preparer.prepare(&person, MemberKey([7; 12]), &mut members);
            let Some(expected) = expected(&vector, column) else { continue };
            assert_eq!(prepared.identifiers > 0, expected.is_some(), "{at}");
            let Some(expected) = expected else {
                assert!(members.bytes().is_empty(), "{at}");
                continue;
            };
            let member = members.last().expect("a member");
            let digest = member.emails().first().or(member.phones().first()).expect("an identifier");
            assert_eq!(const_hex::encode(digest), expected, "{at}");
        }
    }
}
