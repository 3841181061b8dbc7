//! From a canonical person to the member one platform is sent.

use super::attributes::apply;
use super::email::{self, Folded, MAX_ADDRESS};
use super::hash::sha256;
use super::person::{CanonicalPerson, Slot, Source, Value};
use super::{Encoding, IdentifierKind, IdentifierSpec, IdentifierTable, NormalizationOptions, Rule};
use crate::member::{MemberBuf, MemberKey, ValueRef};

/// The kinds after e-mails, phones and device ids, in the order a member is encoded.
const ATTRIBUTES: [IdentifierKind; 5] = [
    IdentifierKind::GivenName,
    IdentifierKind::FamilyName,
    IdentifierKind::Postcode,
    IdentifierKind::City,
    IdentifierKind::Country,
];

/// What was written of a person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prepared {
    /// Bit i: the e-mail of slot i is in the member. Two slots that the platform's rule makes one value both count.
    pub email_slots: u8,
    /// The same for phones.
    pub phone_slots: u8,
    /// Identifiers in the member; 0: nothing by which the platform could find the person, and no member was left.
    pub identifiers: u8,
}

/// Applies one platform's table. One per thread and destination.
#[derive(Debug)]
pub struct Preparer {
    gmail_domains: Vec<String>,
    email: Option<IdentifierSpec>,
    phone: Option<IdentifierSpec>,
    mobile_id: Option<IdentifierSpec>,
    attributes: [Option<IdentifierSpec>; 5],
    together: &'static [IdentifierKind],
    /// Every kind that only goes with others is among those to use.
    together_whole: bool,
    value: String,
}

impl Preparer {
    /// `kinds` are the ones to use of those the table has; a group of kinds that only go together is used whole or
    /// not at all.
    pub fn new(table: &'static IdentifierTable, options: &NormalizationOptions, kinds: &[IdentifierKind]) -> Self {
        let wanted = |kind: IdentifierKind| kinds.contains(&kind).then(|| table.spec(kind).copied()).flatten();
        Self {
            gmail_domains: options.lowered_gmail_domains(),
            email: wanted(IdentifierKind::Email),
            phone: wanted(IdentifierKind::Phone),
            mobile_id: wanted(IdentifierKind::MobileAdId),
            attributes: ATTRIBUTES.map(wanted),
            together: table.together,
            together_whole: table.together.iter().all(|kind| wanted(*kind).is_some()),
            value: String::new(),
        }
    }

    /// Writes `person` to `out` as a member of day 0. When nothing identifies the person, `out` is as before.
    pub fn prepare(&mut self, person: &CanonicalPerson, key: MemberKey, out: &mut MemberBuf) -> Prepared {
        out.begin(key, 0);
        let mut prepared = Prepared::default();
        if let Some(spec) = self.email {
            prepared.email_slots = self.emails(&spec, person, out, &mut prepared.identifiers);
        }
        if let Some(spec) = self.phone {
            prepared.phone_slots = phones(&spec, person, out, &mut prepared.identifiers);
        }
        if let Some(spec) = self.mobile_id {
            for id in person.mobile_ids() {
                prepared.identifiers += u8::from(push(&spec, id, out));
            }
        }
        let direct = prepared.identifiers > 0;
        if self.attributes(person, direct, out, &mut prepared.identifiers) {
            return prepared;
        }
        out.discard_last();
        Prepared::default()
    }

    fn emails(&self, spec: &IdentifierSpec, person: &CanonicalPerson, out: &mut MemberBuf, count: &mut u8) -> u8 {
        let mut slots = 0;
        for (index, value) in (0u8..).zip(person.emails()) {
            let spaced = value.source == Source::SpacedCell && !spec.remove_inner_whitespace;
            if spaced || person.is_dropped(Slot::Email(index)) {
                continue;
            }
            let Some(digest) = self.email_digest(spec, value, person) else { continue };
            if push_digest(IdentifierKind::Email, &digest, slots == 0, out, count) {
                slots |= 1 << index;
            }
        }
        slots
    }

    #[inline]
    fn email_digest(&self, spec: &IdentifierSpec, value: &Value, person: &CanonicalPerson) -> Option<[u8; 32]> {
        if spec.rule == Rule::Canonical || value.source == Source::Declared {
            return Some(value.canonical_digest(person));
        }
        let address = value.text(person);
        let at = usize::from(value.at);
        if !email::folds(spec.rule, &address[at + 1..], &self.gmail_domains) {
            return Some(value.canonical_digest(person));
        }
        let mut buffer = [0; MAX_ADDRESS];
        match email::fold(address, at, spec.rule == Rule::EmailAlphanumericLocal, &mut buffer) {
            Folded::Unchanged => Some(value.canonical_digest(person)),
            Folded::Changed(length) => Some(sha256(&buffer[..length])),
            Folded::Empty => None,
        }
    }

    /// Names and places. False when the member, with them, identifies nobody.
    fn attributes(&mut self, person: &CanonicalPerson, direct: bool, out: &mut MemberBuf, count: &mut u8) -> bool {
        if self.attributes.iter().all(Option::is_none) {
            return direct;
        }
        let mut values = [(0, 0); ATTRIBUTES.len()];
        self.value.clear();
        let country = person.attribute(IdentifierKind::Country);
        for ((spec, kind), value) in self.attributes.iter().zip(ATTRIBUTES).zip(&mut values) {
            let Some(spec) = spec else { continue };
            let start = self.value.len();
            let canonical = person.attribute(kind);
            if !canonical.is_empty() {
                apply(spec.rule, canonical, kind == IdentifierKind::FamilyName, country, &mut self.value);
            }
            *value = (start, self.value.len());
        }
        let present = |kind: IdentifierKind| {
            ATTRIBUTES.iter().zip(values).any(|(other, (start, end))| *other == kind && start < end)
        };
        let group = self.together_whole && self.together.iter().all(|kind| present(*kind));
        let usable = |kind: IdentifierKind| present(kind) && (group || !self.together.contains(&kind));
        // A name alone, or a place alone, fits thousands.
        let named = usable(IdentifierKind::GivenName) && usable(IdentifierKind::FamilyName);
        let placed = usable(IdentifierKind::Postcode) || usable(IdentifierKind::City);
        let identifies = direct || (named && placed);
        if !identifies {
            return false;
        }
        for ((spec, kind), (start, end)) in self.attributes.iter().zip(ATTRIBUTES).zip(values) {
            if let Some(spec) = spec.filter(|_| usable(kind)) {
                *count += u8::from(push(&spec, &self.value[start..end], out));
            }
        }
        true
    }
}

fn phones(spec: &IdentifierSpec, person: &CanonicalPerson, out: &mut MemberBuf, count: &mut u8) -> u8 {
    let mut slots = 0;
    for (index, value) in (0u8..).zip(person.phones()) {
        if person.is_dropped(Slot::Phone(index)) {
            continue;
        }
        let digest = if spec.rule == Rule::PhoneDigits && value.source != Source::Declared {
            value.sha256_from(person, 1)
        } else {
            value.canonical_digest(person)
        };
        if push_digest(IdentifierKind::Phone, &digest, slots == 0, out, count) {
            slots |= 1 << index;
        }
    }
    slots
}

/// Writes a digest unless the member has it; true when the member has it now. The first of a kind needs no search.
fn push_digest(kind: IdentifierKind, digest: &[u8; 32], first: bool, out: &mut MemberBuf, count: &mut u8) -> bool {
    if !first {
        let last = out.last();
        let known = last.map_or(&[][..], |member| match kind {
            IdentifierKind::Email => member.emails(),
            _ => member.phones(),
        });
        if known.contains(digest) {
            return true;
        }
    }
    let written = out.push(kind, ValueRef::Digest(digest));
    *count += u8::from(written);
    written
}

/// Writes a value in the form the platform wants.
fn push(spec: &IdentifierSpec, value: &str, out: &mut MemberBuf) -> bool {
    match spec.encoding {
        Encoding::Plain => out.push(spec.kind, ValueRef::Plain(value)),
        Encoding::Hex | Encoding::Base64 => out.push(spec.kind, ValueRef::Digest(&sha256(value.as_bytes()))),
    }
}
