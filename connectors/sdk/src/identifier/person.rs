//! One customer's raw cells and what they canonically are.

use std::cell::OnceCell;
use std::fmt;

use super::attributes::{push_country, push_mobile_id, push_name};
use super::email::{self, Folded, MAX_ADDRESS};
use super::hash::{self, sha256, sha256_within};
use super::phone::PhoneReader;
use super::text::{parse_digest, push_tidy};
use super::{IdentifierKind, NormalizationOptions, Rule, reason};
use crate::member::{MAX_EMAILS, MAX_MOBILE_IDS, MAX_PHONES};
use crate::outcome::RejectReason;

/// A customer as the warehouse has them; blank means absent. Lives only until it is canonicalised.
#[derive(Clone, Copy, Default)]
pub struct RawPerson<'a> {
    pub emails: &'a [&'a str],
    pub phones: &'a [&'a str],
    pub mobile_ids: &'a [&'a str],
    /// Cells of columns declared as holding SHA-256 of canonical e-mails, 64 hexadecimal digits.
    pub email_digests: &'a [&'a str],
    /// The same for phones.
    pub phone_digests: &'a [&'a str],
    pub given_name: &'a str,
    pub family_name: &'a str,
    pub postcode: &'a str,
    pub city: &'a str,
    /// ISO 3166-1 alpha-2, any case; also the region that national phone numbers belong to.
    pub country: &'a str,
}

impl fmt::Debug for RawPerson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawPerson({} e-mails, {} phones, …)", self.emails.len(), self.phones.len())
    }
}

/// Which accepted e-mail or phone of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// 0 to 6.
    Email(u8),
    /// 0 to 6.
    Phone(u8),
}

impl From<Slot> for u8 {
    /// E-mails are 0 to 6, phones 8 to 14.
    fn from(slot: Slot) -> Self {
        match slot {
            Slot::Email(index) => index,
            Slot::Phone(index) => 8 + index,
        }
    }
}

/// Where a value came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Cell,
    /// An e-mail that is one only without its inner white space: refused, but for platforms that document its
    /// removal.
    SpacedCell,
    /// Declared as hashed already; there is no text.
    Declared,
}

/// A stretch of the person's text.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

/// An accepted e-mail or phone.
pub(super) struct Value {
    span: Span,
    /// E-mails: where the `@` is.
    pub at: u8,
    pub source: Source,
    /// SHA-256 of the canonical text, once somebody asked.
    canonical: OnceCell<[u8; 32]>,
    identity: OnceCell<[u8; 32]>,
    /// E-mails: whether the domain folds its dots and tags.
    pub gmail: bool,
}

/// Laid behind the text, so that hashing finds whole blocks.
const ROOM: &str = match str::from_utf8(&[0; hash::ROOM]) {
    Ok(room) => room,
    Err(_) => unreachable!(),
};

/// What a person canonically is. Reused from person to person: buffers keep their capacity.
#[derive(Default)]
pub struct CanonicalPerson {
    /// The canonical values one after another, then [`ROOM`].
    text: String,
    emails: Vec<Value>,
    phones: Vec<Value>,
    mobile_ids: Vec<Span>,
    given_name: Span,
    family_name: Span,
    postcode: Span,
    city: Span,
    country: Span,
    /// One bit per slot that is not to be used.
    dropped: u16,
    rejections: Vec<(IdentifierKind, RejectReason)>,
}

impl fmt::Debug for CanonicalPerson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CanonicalPerson({} e-mails, {} phones, {} rejections, …)",
            self.emails.len(),
            self.phones.len(),
            self.rejections.len()
        )
    }
}

impl CanonicalPerson {
    pub fn new() -> Self {
        Self::default()
    }

    /// The digests by which customers are compared with each other, whatever the platform: SHA-256 of the e-mail
    /// with Gmail's dots and tags folded, of the phone as E.164; declared digests as they are.
    pub fn identity_digests(&self) -> impl Iterator<Item = (Slot, &[u8; 32])> {
        let emails = (0u8..).map(Slot::Email).zip(&self.emails);
        let phones = (0u8..).map(Slot::Phone).zip(&self.phones);
        emails
            .chain(phones)
            .filter(|(slot, _)| !self.is_dropped(*slot))
            .map(|(slot, value)| (slot, value.identity(self, matches!(slot, Slot::Email(_)))))
    }

    /// One per raw value that was not usable, in the order of the kinds. Blank cells are not listed.
    pub fn rejections(&self) -> &[(IdentifierKind, RejectReason)] {
        &self.rejections
    }

    /// Leaves a value out of what is prepared from here on: it is shared by too many customers, or suppressed.
    pub fn drop_slot(&mut self, slot: Slot) {
        self.dropped |= 1 << u8::from(slot);
    }

    /// Nothing by which anybody could find the person.
    pub fn is_empty(&self) -> bool {
        self.emails.is_empty() && self.phones.is_empty() && self.mobile_ids.is_empty() && self.text.len() <= ROOM.len()
    }

    pub(super) fn is_dropped(&self, slot: Slot) -> bool {
        self.dropped & (1 << u8::from(slot)) != 0
    }
    pub(super) fn emails(&self) -> &[Value] {
        &self.emails
    }
    pub(super) fn phones(&self) -> &[Value] {
        &self.phones
    }
    pub(super) fn mobile_ids(&self) -> impl Iterator<Item = &str> {
        self.mobile_ids.iter().map(|span| self.slice(*span))
    }
    /// The canonical value of a kind there is one of; blank when absent.
    pub(super) fn attribute(&self, kind: IdentifierKind) -> &str {
        self.slice(match kind {
            IdentifierKind::GivenName => self.given_name,
            IdentifierKind::FamilyName => self.family_name,
            IdentifierKind::Postcode => self.postcode,
            IdentifierKind::City => self.city,
            IdentifierKind::Country => self.country,
            _ => Span::default(),
        })
    }
    fn slice(&self, span: Span) -> &str {
        &self.text[span.start as usize..span.end as usize]
    }

    fn clear(&mut self) {
        self.text.clear();
        self.emails.clear();
        self.phones.clear();
        self.mobile_ids.clear();
        self.rejections.clear();
        self.dropped = 0;
        for span in [&mut self.given_name, &mut self.family_name, &mut self.postcode, &mut self.city, &mut self.country]
        {
            *span = Span::default();
        }
    }

    fn span_from(&self, start: usize) -> Span {
        // A person's text is a few hundred bytes; a cell of 4 GiB would have failed long before.
        let position = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span { start: position(start), end: position(self.text.len()) }
    }

    fn reject(&mut self, kind: IdentifierKind, reason: RejectReason) {
        if reason != reason::EMPTY {
            self.rejections.push((kind, reason));
        }
    }

    /// The first of its kind needs no search, and is written where it stays.
    #[inline(always)]
    fn push_cell(&mut self, kind: IdentifierKind, span: Span, at: usize, source: Source, gmail: bool) {
        let values = if kind == IdentifierKind::Email { &mut self.emails } else { &mut self.phones };
        if values.is_empty() {
            values.push(Value::new(span, at, source, gmail));
        } else {
            self.push_unique(kind, Value::new(span, at, source, gmail));
        }
    }

    #[inline(never)]
    fn push_unique(&mut self, kind: IdentifierKind, value: Value) {
        let (values, most) = match kind {
            IdentifierKind::Email => (&self.emails, MAX_EMAILS),
            _ => (&self.phones, MAX_PHONES),
        };
        let known = values.iter().any(|other| match (value.source, other.source) {
            (Source::Declared, _) | (_, Source::Declared) => other.canonical(self) == value.canonical(self),
            _ => self.slice(other.span) == self.slice(value.span),
        });
        if known {
            self.text.truncate(value.span.start as usize);
        } else if values.len() >= most {
            self.text.truncate(value.span.start as usize);
            self.reject(kind, reason::TOO_MANY);
        } else if kind == IdentifierKind::Email {
            self.emails.push(value);
        } else {
            self.phones.push(value);
        }
    }
}

impl Value {
    #[inline(always)]
    fn new(span: Span, at: usize, source: Source, gmail: bool) -> Self {
        let at = u8::try_from(at).expect("a local part has at most 64 bytes");
        Self { span, at, source, canonical: OnceCell::new(), identity: OnceCell::new(), gmail }
    }

    fn declared(digest: [u8; 32], at: usize) -> Self {
        let position = u32::try_from(at).unwrap_or(u32::MAX);
        let span = Span { start: position, end: position };
        Self { canonical: OnceCell::from(digest), ..Self::new(span, 0, Source::Declared, false) }
    }

    pub(super) fn text<'a>(&self, person: &'a CanonicalPerson) -> &'a str {
        person.slice(self.span)
    }

    /// SHA-256 of the canonical text.
    fn canonical(&self, person: &CanonicalPerson) -> &[u8; 32] {
        self.canonical.get_or_init(|| self.sha256_from(person, 0))
    }

    /// The same by value: a fresh digest is used as it comes, not read back from where it is kept.
    #[inline]
    pub(super) fn canonical_digest(&self, person: &CanonicalPerson) -> [u8; 32] {
        if let Some(digest) = self.canonical.get() {
            return *digest;
        }
        let digest = self.sha256_from(person, 0);
        let _set_just_now = self.canonical.set(digest);
        digest
    }

    /// SHA-256 of the canonical text without its first `skip` bytes.
    pub(super) fn sha256_from(&self, person: &CanonicalPerson, skip: u32) -> [u8; 32] {
        let (start, end) = (self.span.start + skip, self.span.end);
        sha256_within(&person.text.as_bytes()[start as usize..], (end - start) as usize)
    }

    fn identity(&self, person: &CanonicalPerson, email: bool) -> &[u8; 32] {
        if !(email && self.gmail) {
            return self.canonical(person);
        }
        self.identity.get_or_init(|| {
            let mut buffer = [0; MAX_ADDRESS];
            match email::fold(self.text(person), usize::from(self.at), false, &mut buffer) {
                Folded::Changed(length) => sha256(&buffer[..length]),
                Folded::Unchanged | Folded::Empty => *self.canonical(person),
            }
        })
    }
}

/// Turns raw cells into canonical values. One per thread; warm, it allocates nothing for common cells.
#[derive(Debug)]
pub struct Canonicaliser {
    gmail_domains: Vec<String>,
    phones: PhoneReader,
}

impl Canonicaliser {
    pub fn new(options: &NormalizationOptions) -> Self {
        Self { gmail_domains: options.lowered_gmail_domains(), phones: PhoneReader::new(options.strict_phones) }
    }

    /// Fills `out` with what `raw` is; what it held before is gone.
    pub fn person(&mut self, raw: &RawPerson<'_>, out: &mut CanonicalPerson) {
        out.clear();
        self.emails(raw, out);
        self.phones(raw, out);
        for id in raw.mobile_ids {
            Self::mobile_id(id, out);
        }
        Self::attributes(raw, out);
        out.text.push_str(ROOM);
    }

    fn emails(&self, raw: &RawPerson<'_>, out: &mut CanonicalPerson) {
        let mut spaced = false;
        for cell in raw.emails {
            if cell.is_empty() {
                continue;
            }
            match self.email(cell, Source::Cell, out) {
                Ok(()) => {}
                Err(reason) => {
                    spaced |= reason == reason::INNER_WHITESPACE;
                    out.reject(IdentifierKind::Email, reason);
                }
            }
        }
        if !raw.email_digests.is_empty() {
            Self::digests(IdentifierKind::Email, raw.email_digests, out);
        }
        if spaced {
            // Rare, so the cells are read again instead of being remembered; refusals are already listed.
            for cell in raw.emails {
                let start = out.text.len();
                let refused = email::canonicalise(cell, false, &mut out.text) == Err(reason::INNER_WHITESPACE);
                out.text.truncate(start);
                if refused {
                    let _still_refused = self.email(cell, Source::SpacedCell, out);
                }
            }
        }
    }

    fn email(&self, cell: &str, source: Source, out: &mut CanonicalPerson) -> Result<(), RejectReason> {
        let start = out.text.len();
        let at = email::canonicalise(cell, source == Source::SpacedCell, &mut out.text)?;
        let span = out.span_from(start);
        let gmail = email::folds(Rule::EmailFoldGmail, &out.text[start + at + 1..], &self.gmail_domains);
        out.push_cell(IdentifierKind::Email, span, at, source, gmail);
        Ok(())
    }

    fn phones(&mut self, raw: &RawPerson<'_>, out: &mut CanonicalPerson) {
        for cell in raw.phones {
            if cell.is_empty() {
                continue;
            }
            let start = out.text.len();
            match self.phones.read(cell, raw.country, &mut out.text) {
                Ok(()) => {
                    let span = out.span_from(start);
                    out.push_cell(IdentifierKind::Phone, span, 0, Source::Cell, false);
                }
                Err(reason) => out.reject(IdentifierKind::Phone, reason),
            }
        }
        if !raw.phone_digests.is_empty() {
            Self::digests(IdentifierKind::Phone, raw.phone_digests, out);
        }
    }

    fn digests(kind: IdentifierKind, cells: &[&str], out: &mut CanonicalPerson) {
        for cell in cells.iter().map(|cell| cell.trim()).filter(|cell| !cell.is_empty()) {
            match parse_digest(cell) {
                Some(hash::EMPTY) => out.reject(kind, reason::PLACEHOLDER),
                Some(digest) => out.push_unique(kind, Value::declared(digest, out.text.len())),
                None => out.reject(kind, reason::INVALID_DIGEST),
            }
        }
    }

    fn mobile_id(cell: &str, out: &mut CanonicalPerson) {
        let start = out.text.len();
        if let Err(reason) = push_mobile_id(cell, &mut out.text) {
            return out.reject(IdentifierKind::MobileAdId, reason);
        }
        let span = out.span_from(start);
        if out.mobile_ids().any(|known| known == out.slice(span)) {
            out.text.truncate(start);
        } else if out.mobile_ids.len() >= MAX_MOBILE_IDS {
            out.text.truncate(start);
            out.reject(IdentifierKind::MobileAdId, reason::TOO_MANY);
        } else {
            out.mobile_ids.push(span);
        }
    }

    fn attributes(raw: &RawPerson<'_>, out: &mut CanonicalPerson) {
        let mut tidied = |cell: &str, push: fn(&str, &mut String)| {
            let start = out.text.len();
            if !cell.is_empty() {
                push(cell, &mut out.text);
            }
            out.span_from(start)
        };
        let given_name = tidied(raw.given_name, push_name);
        let family_name = tidied(raw.family_name, push_name);
        let postcode = tidied(raw.postcode, push_tidy);
        let city = tidied(raw.city, push_name);
        (out.given_name, out.family_name, out.postcode, out.city) = (given_name, family_name, postcode, city);
        if raw.country.is_empty() {
            return;
        }
        let start = out.text.len();
        match push_country(raw.country, &mut out.text) {
            Ok(()) => out.country = out.span_from(start),
            Err(reason) => out.reject(IdentifierKind::Country, reason),
        }
    }
}
