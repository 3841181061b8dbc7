//! From what a person gives of themselves to the marks of everything that may have been sent of it: each platform's
//! form, with every country a number may belong to, and Gmail's spellings of one mailbox.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reveil_sdk::identifier::table::ALL;
use reveil_sdk::identifier::{CanonicalPerson, Canonicaliser, NormalizationOptions, RawPerson, Slot, identify};
use reveil_sdk::{Encoding, IdentifierKind};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::suppression::{Mark, Marker, Tag};
use crate::sync::member_key::member_key;

/// A mailbox of so many letters has at most 4,096 spellings with dots; longer ones are found by their other forms.
const MOST_DOTTED: usize = 13;

/// What somebody is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GivenKind {
    Email,
    Phone,
    CustomerId,
}

impl GivenKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::CustomerId => "customer_id",
        }
    }
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Email, Self::Phone, Self::CustomerId].into_iter().find(|kind| kind.name() == name)
    }
}

/// One identifier as given. Its `Debug` shows the kind alone.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    pub kind: GivenKind,
    pub value: SecretString,
    /// ISO 3166-1 alpha-2, for phone numbers without country code.
    #[serde(default)]
    pub country: Option<String>,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// An identifier that cannot be used, by its place in what was given; never its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("identifier {place}: {what}")]
pub struct GivenFault {
    /// From 1.
    pub place: usize,
    pub what: String,
}

/// What a request is made of.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// Kept for good, so that the person is not sent again.
    pub(crate) suppress: BTreeSet<Mark>,
    /// Only to find what was sent.
    pub(crate) find: BTreeSet<Mark>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

/// The settings that decide about forms.
#[derive(Debug, Clone)]
pub(crate) struct Forms {
    pub(crate) options: NormalizationOptions,
    /// Tried for numbers without country code.
    pub(crate) countries: Vec<String>,
}

/// # Errors
/// Every identifier that cannot be used; nothing may be done then, or the person would believe more than is true.
pub(crate) fn marks(
    given: &[Given],
    forms: &Forms,
    marker: &Marker,
    member_secret: &[u8; 32],
) -> Result<Marks, Vec<GivenFault>> {
    let mut marks = Marks::default();
    let mut faults = Vec::new();
    for (index, given) in given.iter().enumerate() {
        let raw = given.value.expose_secret();
        let done = match given.kind {
            GivenKind::Email => email(raw, forms, marker, &mut marks),
            GivenKind::Phone => phone(raw, given.country.as_deref(), forms, marker, &mut marks),
            GivenKind::CustomerId if raw.trim().is_empty() => Err("is empty".to_owned()),
            GivenKind::CustomerId => {
                marks.suppress.insert(marker.mark(Tag::Member, &member_key(member_secret, raw.trim()).0));
                Ok(())
            }
        };
        match done {
            Ok(()) => *marks.counts.entry(given.kind.name()).or_default() += 1,
            Err(what) => faults.push(GivenFault { place: index + 1, what }),
        }
    }
    if faults.is_empty() { Ok(marks) } else { Err(faults) }
}

fn email(raw: &str, forms: &Forms, marker: &Marker, marks: &mut Marks) -> Result<(), String> {
    let mut digests = digests(IdentifierKind::Email, raw, "", &forms.options);
    if digests.is_empty() {
        return Err("is not an e-mail address".to_owned());
    }
    digests.extend(identity(&RawPerson { emails: &[raw], ..RawPerson::default() }, &forms.options));
    marks.suppress.extend(digests.iter().map(|digest| marker.mark(Tag::Email, digest)));
    for spelling in spellings(raw, &forms.options) {
        marks.find.insert(marker.mark(Tag::Email, &Sha256::digest(spelling)));
    }
    Ok(())
}

fn phone(raw: &str, country: Option<&str>, forms: &Forms, marker: &Marker, marks: &mut Marks) -> Result<(), String> {
    let countries: Vec<&str> = match country {
        Some(country) => vec![country],
        None => std::iter::once("").chain(forms.countries.iter().map(String::as_str)).collect(),
    };
    let mut found = BTreeSet::new();
    for country in countries {
        found.extend(digests(IdentifierKind::Phone, raw, country, &forms.options));
        let person = RawPerson { phones: &[raw], country, ..RawPerson::default() };
        found.extend(identity(&person, &forms.options));
    }
    if found.is_empty() {
        return Err(
            "is not a phone number; one without country code needs its country (or [erasure] countries)".to_owned()
        );
    }
    marks.suppress.extend(found.iter().map(|digest| marker.mark(Tag::Phone, digest)));
    Ok(())
}

/// The digest of every platform's form, and of the common one.
fn digests(kind: IdentifierKind, raw: &str, country: &str, options: &NormalizationOptions) -> BTreeSet<[u8; 32]> {
    let mut digests = BTreeSet::new();
    for table in ALL.iter().filter(|table| table.spec(kind).is_some()) {
        let identified = identify(table, options, kind, raw, country);
        digests.extend(identified.canonical.map(|text| <[u8; 32]>::from(Sha256::digest(text))));
        let Some(value) = identified.value else { continue };
        let bytes = match identified.encoding {
            Encoding::Hex => const_hex::decode(value).ok(),
            Encoding::Base64 => STANDARD.decode(value).ok(),
            Encoding::Plain => None,
        };
        digests.extend(bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()));
    }
    digests
}

/// The digest by which customers are compared with each other.
fn identity(raw: &RawPerson<'_>, options: &NormalizationOptions) -> Vec<[u8; 32]> {
    let mut person = CanonicalPerson::new();
    Canonicaliser::new(options).person(raw, &mut person);
    let of_slot =
        |(slot, digest): (Slot, &[u8; 32])| matches!(slot, Slot::Email(_) | Slot::Phone(_)).then_some(*digest);
    person.identity_digests().filter_map(of_slot).collect()
}

/// Gmail's spellings of one mailbox: platforms that do not fold them got the one the customer typed.
fn spellings(raw: &str, options: &NormalizationOptions) -> Vec<String> {
    let address = raw.trim().to_lowercase();
    let Some((local, domain)) = address.rsplit_once('@') else { return Vec::new() };
    let local: String = local.split('+').next().unwrap_or_default().chars().filter(|c| *c != '.').collect();
    let folds = options.gmail_domains.iter().any(|known| known.trim().eq_ignore_ascii_case(domain));
    if !folds || !local.is_ascii() || !(1..=MOST_DOTTED).contains(&local.len()) {
        return Vec::new();
    }
    (0_u32..1 << (local.len() - 1))
        .map(|dots| {
            let mut spelling = String::with_capacity(2 * local.len() + domain.len());
            for (index, letter) in local.chars().enumerate() {
                if index > 0 && dots & (1 << (index - 1)) != 0 {
                    spelling.push('.');
                }
                spelling.push(letter);
            }
            format!("{spelling}@{domain}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(kind: GivenKind, value: &str, country: Option<&str>) -> Given {
        Given { kind, value: SecretString::from(value), country: country.map(str::to_owned) }
    }
    fn of(given: &[Given], countries: &[&str]) -> Result<Marks, Vec<GivenFault>> {
        let countries = countries.iter().map(|country| (*country).to_owned()).collect();
        let forms = Forms { options: NormalizationOptions::default(), countries };
        marks(given, &forms, &Marker::new(&[1; 32]), &[1; 32])
    }
    fn mark(tag: Tag, text: &str) -> Mark {
        Marker::new(&[1; 32]).mark(tag, &Sha256::digest(text))
    }

    #[test]
    fn every_form_that_a_platform_was_sent_is_recognised() {
        let email = of(&[given(GivenKind::Email, " Ann.Lee+Shop@GMAIL.com ", None)], &[]).unwrap();
        for form in ["ann.lee+shop@gmail.com", "annlee@gmail.com"] {
            assert!(email.suppress.contains(&mark(Tag::Email, form)), "{form}");
        }
        // Somebody else's spelling of the same mailbox finds what was sent.
        for form in ["annlee@gmail.com", "ann.lee@gmail.com", "a.n.n.l.e.e@gmail.com"] {
            assert!(email.find.contains(&mark(Tag::Email, form)), "{form}");
        }
        assert_eq!(email.find.len(), 1 << 5);
        let phone = of(&[given(GivenKind::Phone, "06 39 98 00 01", None)], &["FR", "DE"]).unwrap();
        for form in ["+33639980001", "33639980001"] {
            assert!(phone.suppress.contains(&mark(Tag::Phone, form)), "{form}");
        }
        let international = of(&[given(GivenKind::Phone, "0033 639980001", Some("FR"))], &[]).unwrap();
        assert!(international.suppress.contains(&mark(Tag::Phone, "33639980001")));
    }

    #[test]
    fn what_cannot_be_used_is_named_by_its_place_and_stops_the_request() {
        let faults = of(
            &[
                given(GivenKind::CustomerId, "K1", None),
                given(GivenKind::Email, "nobody", None),
                given(GivenKind::Phone, "06 39 98 00 01", None),
                given(GivenKind::CustomerId, " ", None),
            ],
            &[],
        )
        .unwrap_err();
        assert_eq!(faults.iter().map(|fault| fault.place).collect::<Vec<_>>(), [2, 3, 4]);
        assert!(!format!("{faults:?}").contains("39 98"));
        let member = of(&[given(GivenKind::CustomerId, "K1", None)], &[]).unwrap();
        assert!(member.suppress.contains(&Marker::new(&[1; 32]).mark(Tag::Member, &member_key(&[1; 32], "K1").0)));
    }
}
