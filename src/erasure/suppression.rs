//! Who asked to be forgotten, as keyed hashes: enough to recognise them, of no use to whoever has the state alone.
//!
//! Each hash is HMAC-SHA-256, under a key made from the installation's member key, of a tag and a digest or member key:
//!
//! | tag | of | recognised |
//! |---|---|---|
//! | 1, 2 | every form of an e-mail or phone the person gave | rows and ledger records that hold it |
//! | 3 | the member key of a customer id given, or found with what was given | that customer, whatever they hold now |
//! | 4, 5, 6 | e-mail, phone, device id that was sent with them, though not given | the identifier alone: another person may share it |

use std::collections::HashSet;
use std::fmt;

use reveil_sdk::identifier::{CanonicalPerson, Prepared, Slot};
use reveil_sdk::{IdentifierKind, MemberKey, MemberRef, ValueRef};
use ring::hmac;
use sha2::{Digest as _, Sha256};

use crate::store::{Store, StoreError};

/// A keyed hash.
pub(crate) type Mark = [u8; 32];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    Email = 1,
    Phone = 2,
    Member = 3,
    LinkedEmail = 4,
    LinkedPhone = 5,
    LinkedMobileId = 6,
}

/// Makes the hashes.
#[derive(Clone)]
pub(crate) struct Marker(hmac::Key);

impl fmt::Debug for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Marker(…)")
    }
}

impl Marker {
    /// The member key itself makes other hashes; a key of its own keeps the two apart.
    pub(crate) fn new(member_key: &[u8; 32]) -> Self {
        let own = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, member_key), b"reveil suppression 1");
        Self(hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()))
    }
    pub(crate) fn mark(&self, tag: Tag, value: &[u8]) -> Mark {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&[tag as u8]);
        context.update(value);
        context.sign().as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
    }
    /// The marks of everything that was sent with a member.
    pub(crate) fn linked<'a>(&'a self, member: MemberRef<'a>) -> impl Iterator<Item = Mark> + 'a {
        member.identifiers().filter_map(|(kind, value)| {
            let tag = match kind {
                IdentifierKind::Email => Tag::LinkedEmail,
                IdentifierKind::Phone => Tag::LinkedPhone,
                IdentifierKind::MobileAdId => Tag::LinkedMobileId,
                _ => return None,
            };
            Some(self.mark(tag, &digest(value)))
        })
    }
}

/// Plain values are hashed first, so that every mark is of 32 bytes.
fn digest(value: ValueRef<'_>) -> [u8; 32] {
    match value {
        ValueRef::Digest(digest) => *digest,
        ValueRef::Plain(text) => Sha256::digest(text).into(),
    }
}

/// Everybody who asked, for a sync.
#[derive(Clone)]
pub struct Suppression {
    marker: Marker,
    marks: HashSet<Mark>,
}

impl fmt::Debug for Suppression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Suppression({} marks)", self.marks.len())
    }
}

impl Suppression {
    /// # Errors
    /// The state's.
    pub async fn load(store: &Store, member_key: &[u8; 32]) -> Result<Self, StoreError> {
        let marks = store.suppressions().await?.into_iter().filter_map(|mark| mark.try_into().ok()).collect();
        Ok(Self { marker: Marker::new(member_key), marks })
    }

    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Whether the customer asked, by their id or by anything they hold.
    pub fn covers(&self, key: MemberKey, person: &CanonicalPerson) -> bool {
        !self.is_empty()
            && (self.marks.contains(&self.marker.mark(Tag::Member, &key.0))
                || person.identity_digests().any(|(slot, digest)| {
                    let tag = if matches!(slot, Slot::Email(_)) { Tag::Email } else { Tag::Phone };
                    self.marks.contains(&self.marker.mark(tag, digest))
                }))
    }

    /// The slots of a prepared member whose value was once sent for somebody who asked.
    pub(crate) fn linked_slots(&self, member: MemberRef<'_>, prepared: Prepared) -> Vec<Slot> {
        let mut slots = Vec::new();
        if self.is_empty() {
            return slots;
        }
        let kinds = [
            (Tag::LinkedEmail, member.emails(), prepared.email_slots, Slot::Email as fn(u8) -> Slot),
            (Tag::LinkedPhone, member.phones(), prepared.phone_slots, Slot::Phone),
        ];
        for (tag, digests, mask, slot) in kinds {
            let of_kind: Vec<u8> = (0..7).filter(|bit| mask & (1 << bit) != 0).collect();
            // Two slots may have become one value; which is not known here, so all of the kind go.
            let folded = of_kind.len() != digests.len();
            for (index, digest) in digests.iter().enumerate() {
                if self.marks.contains(&self.marker.mark(tag, digest)) {
                    match folded {
                        true => slots.extend(of_kind.iter().map(|bit| slot(*bit))),
                        false => slots.push(slot(of_kind[index])),
                    }
                }
            }
        }
        slots
    }
}

/// The marks of one request, to recognise its person in ledgers and assignments.
#[derive(Clone)]
pub(crate) struct Matcher {
    pub(crate) marker: Marker,
    pub(crate) marks: HashSet<Mark>,
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Matcher({} marks)", self.marks.len())
    }
}

impl Matcher {
    pub(crate) fn is_member(&self, key: MemberKey) -> bool {
        self.marks.contains(&self.marker.mark(Tag::Member, &key.0))
    }
    /// Whether a record is the person's: by its key, or by an identifier they gave.
    pub(crate) fn is_of(&self, member: MemberRef<'_>) -> bool {
        let held = |tag, digests: &[[u8; 32]]| {
            digests.iter().any(|digest| self.marks.contains(&self.marker.mark(tag, digest)))
        };
        self.is_member(member.key()) || held(Tag::Email, member.emails()) || held(Tag::Phone, member.phones())
    }
    /// Adds the member key of a record.
    pub(crate) fn add_member(&mut self, key: MemberKey) -> Option<Mark> {
        let mark = self.marker.mark(Tag::Member, &key.0);
        self.marks.insert(mark).then_some(mark)
    }
}
