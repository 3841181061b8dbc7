//! Prepared members: a compact encoding shared by batches and the ledger, so that a member is written once and
//! travels as bytes from preparation to the request body.
//!
//! ```text
//! key[12] | day u16 | mask u16 | e-mail digests 32 each | phone digests 32 each | others: head u8, bytes
//! ```
//! `day` counts days since 2020-01-01 at which the platform last took the member (0 = never). `mask` holds the
//! counts: bits 0-2 e-mails, 3-5 phones, 6-7 mobile ids, then one bit each for given name, family name,
//! postcode, city, country, region; bits 14-15 belong to the ledger. The `head` of the others is the length, with
//! the top bit set for a digest. With one e-mail and one phone a member takes exactly 80 bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::identifier::IdentifierKind;

/// Bytes before the identifiers.
pub const HEADER_BYTES: usize = 16;
/// Most values of one kind that fit the mask.
pub const MAX_EMAILS: usize = 7;
pub const MAX_PHONES: usize = 7;
pub const MAX_MOBILE_IDS: usize = 3;

/// Who a member is to us: a keyed hash of the customer id, stable over runs. Says nothing to anybody else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MemberKey(pub [u8; 12]);

impl MemberKey {
    /// As sent to platforms that take an id of ours.
    pub fn to_hex(self) -> String {
        const_hex::encode(self.0)
    }
}

impl fmt::Debug for MemberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemberKey(…)")
    }
}

/// A value as it goes on the wire, before its text encoding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ValueRef<'a> {
    Digest(&'a [u8; 32]),
    Plain(&'a str),
}

impl fmt::Debug for ValueRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Digest(_) => "Digest(…)",
            Self::Plain(_) => "Plain(…)",
        })
    }
}

/// The kinds after e-mails and phones, in encoding order, with the mask bit (mobile ids have two).
const OTHERS: [(IdentifierKind, u16); 6] = [
    (IdentifierKind::GivenName, 1 << 8),
    (IdentifierKind::FamilyName, 1 << 9),
    (IdentifierKind::Postcode, 1 << 10),
    (IdentifierKind::City, 1 << 11),
    (IdentifierKind::Country, 1 << 12),
    (IdentifierKind::Region, 1 << 13),
];
const LEDGER_BITS: u16 = 0b11 << 14;

/// One encoded member.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MemberRef<'a> {
    bytes: &'a [u8],
}

impl fmt::Debug for MemberRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemberRef({} identifiers)", self.len())
    }
}

impl<'a> MemberRef<'a> {
    /// The member at the start of `bytes`; `None` when they are too short to hold it.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let length = encoded_len(bytes)?;
        Some(Self { bytes: &bytes[..length] })
    }
    /// The whole encoding.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }
    pub fn key(self) -> MemberKey {
        MemberKey(*self.bytes.first_chunk().expect("a member has a header"))
    }
    pub fn day(self) -> u16 {
        u16::from_le_bytes([self.bytes[12], self.bytes[13]])
    }
    fn mask(self) -> u16 {
        u16::from_le_bytes([self.bytes[14], self.bytes[15]])
    }
    /// The two bits that belong to the ledger.
    pub fn ledger_bits(self) -> u8 {
        (self.mask() >> 14) as u8
    }
    /// The identifiers alone, for comparing what is wanted with what was sent.
    pub fn payload(self) -> (&'a [u8], u16) {
        (&self.bytes[HEADER_BYTES..], self.mask() & !LEDGER_BITS)
    }
    pub fn emails(self) -> &'a [[u8; 32]] {
        let count = (self.mask() & 7) as usize;
        digests(&self.bytes[HEADER_BYTES..], count)
    }
    pub fn phones(self) -> &'a [[u8; 32]] {
        let emails = (self.mask() & 7) as usize;
        let phones = ((self.mask() >> 3) & 7) as usize;
        digests(&self.bytes[HEADER_BYTES + 32 * emails..], phones)
    }
    /// Number of identifiers.
    pub fn len(self) -> usize {
        let mask = self.mask() & !LEDGER_BITS;
        ((mask & 7) + ((mask >> 3) & 7) + ((mask >> 6) & 3)) as usize + (mask >> 8).count_ones() as usize
    }
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
    /// Everything that is not an e-mail or a phone, in encoding order.
    pub fn others(self) -> impl Iterator<Item = (IdentifierKind, ValueRef<'a>)> {
        let mask = self.mask();
        let skip = 32 * ((mask & 7) + ((mask >> 3) & 7)) as usize;
        let mut rest = &self.bytes[HEADER_BYTES + skip..];
        let mobiles = ((mask >> 6) & 3) as usize;
        std::iter::repeat_n(IdentifierKind::MobileAdId, mobiles)
            .chain(OTHERS.into_iter().filter(move |(_, bit)| mask & bit != 0).map(|(kind, _)| kind))
            .map(move |kind| {
                let (value, after) = take_other(rest).expect("checked when read");
                rest = after;
                (kind, value)
            })
    }
    pub fn get(self, kind: IdentifierKind) -> Option<ValueRef<'a>> {
        match kind {
            IdentifierKind::Email => self.emails().first().map(ValueRef::Digest),
            IdentifierKind::Phone => self.phones().first().map(ValueRef::Digest),
            _ => self.others().find(|(other, _)| *other == kind).map(|(_, value)| value),
        }
    }
    /// Every identifier with its kind.
    pub fn identifiers(self) -> impl Iterator<Item = (IdentifierKind, ValueRef<'a>)> {
        self.emails()
            .iter()
            .map(|digest| (IdentifierKind::Email, ValueRef::Digest(digest)))
            .chain(self.phones().iter().map(|digest| (IdentifierKind::Phone, ValueRef::Digest(digest))))
            .chain(self.others())
    }
}

fn digests(bytes: &[u8], count: usize) -> &[[u8; 32]] {
    &bytes.as_chunks::<32>().0[..count]
}

fn take_other(bytes: &[u8]) -> Option<(ValueRef<'_>, &[u8])> {
    let (&head, rest) = bytes.split_first()?;
    let (value, rest) = rest.split_at_checked((head & 0x7f) as usize)?;
    let value = if head & 0x80 != 0 {
        ValueRef::Digest(value.try_into().ok()?)
    } else {
        ValueRef::Plain(std::str::from_utf8(value).ok()?)
    };
    Some((value, rest))
}

/// Length of the member at the start of `bytes`.
fn encoded_len(bytes: &[u8]) -> Option<usize> {
    let header = bytes.first_chunk::<HEADER_BYTES>()?;
    let mask = u16::from_le_bytes([header[14], header[15]]) & !LEDGER_BITS;
    let mut length = HEADER_BYTES + 32 * ((mask & 7) + ((mask >> 3) & 7)) as usize;
    if bytes.len() < length {
        return None;
    }
    for _ in 0..(((mask >> 6) & 3) as u32 + (mask >> 8).count_ones()) {
        let (_, rest) = take_other(&bytes[length..])?;
        length = bytes.len() - rest.len();
    }
    Some(length)
}

/// Encodes members one after another.
///
/// Values must be pushed in encoding order: e-mails, phones, mobile ids, then the kinds of [`OTHERS`]'s order.
#[derive(Default, Clone)]
pub struct MemberBuf {
    bytes: Vec<u8>,
    start: usize,
}

impl fmt::Debug for MemberBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemberBuf({} bytes)", self.bytes.len())
    }
}

impl MemberBuf {
    pub fn new() -> Self {
        Self::default()
    }
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
    }
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    /// Starts a member; the previous one is complete.
    pub fn begin(&mut self, key: MemberKey, day: u16) {
        self.start = self.bytes.len();
        let mut header = [0; HEADER_BYTES];
        header[..12].copy_from_slice(&key.0);
        header[12..14].copy_from_slice(&day.to_le_bytes());
        self.bytes.extend_from_slice(&header);
    }
    fn mask(&self) -> u16 {
        u16::from_le_bytes([self.bytes[self.start + 14], self.bytes[self.start + 15]])
    }
    fn set_mask(&mut self, mask: u16) {
        self.bytes[self.start + 14..self.start + 16].copy_from_slice(&mask.to_le_bytes());
    }
    /// False when the kind is full or the value too long (127 bytes); nothing is written then.
    pub fn push(&mut self, kind: IdentifierKind, value: ValueRef<'_>) -> bool {
        let mask = self.mask();
        match (kind, value) {
            (IdentifierKind::Email, ValueRef::Digest(digest)) => {
                if (mask & 7) as usize >= MAX_EMAILS {
                    return false;
                }
                debug_assert_eq!(mask >> 3, 0, "e-mails come first");
                self.bytes.extend_from_slice(digest);
                self.set_mask(mask + 1);
            }
            (IdentifierKind::Phone, ValueRef::Digest(digest)) => {
                if ((mask >> 3) & 7) as usize >= MAX_PHONES {
                    return false;
                }
                debug_assert_eq!(mask >> 6, 0, "phones come second");
                self.bytes.extend_from_slice(digest);
                self.set_mask(mask + (1 << 3));
            }
            (IdentifierKind::Email | IdentifierKind::Phone, ValueRef::Plain(_)) => return false,
            (IdentifierKind::MobileAdId, value) => {
                if ((mask >> 6) & 3) as usize >= MAX_MOBILE_IDS || !self.push_other(value) {
                    return false;
                }
                debug_assert_eq!(mask >> 8, 0, "mobile ids come third");
                self.set_mask(mask + (1 << 6));
            }
            (kind, value) => {
                let Some((_, bit)) = OTHERS.into_iter().find(|(other, _)| *other == kind) else { return false };
                debug_assert_eq!(mask & !LEDGER_BITS & !(bit - 1), 0, "kinds come in encoding order, once");
                if !self.push_other(value) {
                    return false;
                }
                self.set_mask(mask | bit);
            }
        }
        true
    }
    fn push_other(&mut self, value: ValueRef<'_>) -> bool {
        let (head, bytes): (u8, &[u8]) = match value {
            ValueRef::Digest(digest) => (0x80 | 32, digest),
            ValueRef::Plain(text) if text.len() <= 127 => (text.len() as u8, text.as_bytes()),
            ValueRef::Plain(_) => return false,
        };
        self.bytes.push(head);
        self.bytes.extend_from_slice(bytes);
        true
    }
    /// Copies a member, with another day and other ledger bits.
    pub fn push_member(&mut self, member: MemberRef<'_>, day: u16, ledger_bits: u8) {
        self.start = self.bytes.len();
        self.bytes.extend_from_slice(member.bytes());
        self.bytes[self.start + 12..self.start + 14].copy_from_slice(&day.to_le_bytes());
        self.set_mask((member.mask() & !LEDGER_BITS) | (u16::from(ledger_bits & 3) << 14));
    }
    /// The member begun last.
    pub fn last(&self) -> Option<MemberRef<'_>> {
        MemberRef::read(self.bytes.get(self.start..)?)
    }
    /// Drops the member begun last.
    pub fn discard_last(&mut self) {
        self.bytes.truncate(self.start);
    }
}

/// What the people of a batch said about their data; uniform within a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ConsentState {
    Granted,
    Denied,
    Unknown,
}

/// Consent as the EEA signals name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Consent {
    pub ad_user_data: ConsentState,
    pub ad_personalization: ConsentState,
}

impl Consent {
    pub const GRANTED: Self = Self { ad_user_data: ConsentState::Granted, ad_personalization: ConsentState::Granted };
    pub const UNKNOWN: Self = Self { ad_user_data: ConsentState::Unknown, ad_personalization: ConsentState::Unknown };
}

/// What a batch does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Add,
    Remove,
}

impl Operation {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
        }
    }
}

/// Members of one request. Uniform in operation and consent.
#[derive(Clone)]
pub struct Batch {
    pub operation: Operation,
    pub consent: Consent,
    bytes: Vec<u8>,
    /// Start of each member, and the end.
    offsets: Vec<u32>,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({}, {} members)", self.operation.name(), self.len())
    }
}

impl Batch {
    pub fn new(operation: Operation, consent: Consent) -> Self {
        Self { operation, consent, bytes: Vec::new(), offsets: vec![0] }
    }
    pub fn push(&mut self, member: MemberRef<'_>) {
        self.bytes.extend_from_slice(member.bytes());
        self.offsets.push(u32::try_from(self.bytes.len()).expect("a batch is far below 4 GiB"));
    }
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Size of the encoding.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }
    pub fn get(&self, index: usize) -> Option<MemberRef<'_>> {
        let start = *self.offsets.get(index)? as usize;
        let end = *self.offsets.get(index + 1)? as usize;
        Some(MemberRef { bytes: &self.bytes[start..end] })
    }
    pub fn iter(&self) -> impl ExactSizeIterator<Item = MemberRef<'_>> {
        self.offsets.windows(2).map(|pair| MemberRef { bytes: &self.bytes[pair[0] as usize..pair[1] as usize] })
    }
    /// The members whose index is not in `dropped` (any order), and for each its index here.
    pub fn without(&self, dropped: &[u32]) -> (Self, Vec<u32>) {
        let mut rest = Self::new(self.operation, self.consent);
        let mut origin = Vec::new();
        for (index, member) in self.iter().enumerate() {
            let index = index as u32;
            if !dropped.contains(&index) {
                rest.push(member);
                origin.push(index);
            }
        }
        (rest, origin)
    }
    /// Members `range` as a batch of their own.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        let mut part = Self::new(self.operation, self.consent);
        for index in range {
            part.push(self.get(index).expect("the range lies within the batch"));
        }
        part
    }
    /// All members, encoded one after another.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    /// # Errors
    /// The position at which `bytes` stop being members.
    pub fn from_bytes(operation: Operation, consent: Consent, bytes: Vec<u8>) -> Result<Self, usize> {
        let mut offsets = vec![0];
        let mut at = 0;
        while at < bytes.len() {
            let member = MemberRef::read(&bytes[at..]).ok_or(at)?;
            at += member.bytes().len();
            offsets.push(u32::try_from(at).map_err(|_| at)?);
        }
        Ok(Self { operation, consent, bytes, offsets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_email_and_one_phone_take_80_bytes_and_read_back() {
        let mut buffer = MemberBuf::new();
        buffer.begin(MemberKey([7; 12]), 3);
        assert!(buffer.push(IdentifierKind::Email, ValueRef::Digest(&[1; 32])));
        assert!(buffer.push(IdentifierKind::Phone, ValueRef::Digest(&[2; 32])));
        assert_eq!(buffer.bytes().len(), 80);
        let member = buffer.last().unwrap();
        assert_eq!((member.key(), member.day(), member.len()), (MemberKey([7; 12]), 3, 2));
        assert_eq!(member.emails(), [[1; 32]]);
        assert_eq!(member.phones(), [[2; 32]]);
    }

    #[test]
    fn every_kind_reads_back_in_order() {
        let mut buffer = MemberBuf::new();
        buffer.begin(MemberKey([1; 12]), 0);
        for digest in [[3; 32], [4; 32]] {
            assert!(buffer.push(IdentifierKind::Email, ValueRef::Digest(&digest)));
        }
        assert!(buffer.push(IdentifierKind::MobileAdId, ValueRef::Plain("aaaa-bbbb")));
        assert!(buffer.push(IdentifierKind::GivenName, ValueRef::Digest(&[5; 32])));
        assert!(buffer.push(IdentifierKind::Postcode, ValueRef::Plain("75001")));
        assert!(buffer.push(IdentifierKind::Country, ValueRef::Plain("FR")));
        let member = buffer.last().unwrap();
        let kinds: Vec<_> = member.identifiers().map(|(kind, _)| kind).collect();
        use IdentifierKind::{Country, Email, GivenName, MobileAdId, Postcode};
        assert_eq!(kinds, [Email, Email, MobileAdId, GivenName, Postcode, Country]);
        assert_eq!(member.get(Postcode), Some(ValueRef::Plain("75001")));
        let mut batch = Batch::new(Operation::Add, Consent::GRANTED);
        batch.push(member);
        batch.push(member);
        let again = Batch::from_bytes(Operation::Add, Consent::GRANTED, batch.bytes().to_vec()).unwrap();
        assert_eq!(again.len(), 2);
        assert_eq!(again.get(1), Some(member));
        assert!(Batch::from_bytes(Operation::Add, Consent::GRANTED, batch.bytes()[1..].to_vec()).is_err());
    }
}
