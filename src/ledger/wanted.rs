//! Which identifiers about to be removed does another member of the target still want?
//!
//! The identifiers to remove go to a compact table (8 bytes a slot), through which the target is streamed. They
//! are told apart by 60 bits of the digest: among 10^8 members a chance collision (about 1 in 30 for a whole
//! audience exchanged at once) would keep one identifier for as long as both members stay.

use reveil_sdk::{MemberRef, ValueRef};
use sha2::{Digest, Sha256};

use super::record::anchors;

/// Most identifiers that one table takes: 64 MiB at 60 % load.
pub(crate) const TABLE_ANCHORS: u64 = if cfg!(test) { 4 } else { 5_000_000 };

/// What may be done about an identifier that a member has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Want {
    /// Nobody wants it: it is to be removed.
    Nobody = 1,
    /// A member wants it that is not surely on the platform with it, or it is not clear who answers for it.
    Wanted = 2,
    /// Another record answers for it.
    Covered = 3,
}

impl Want {
    fn from_code(code: u64) -> Option<Self> {
        [Self::Nobody, Self::Wanted, Self::Covered].into_iter().find(|want| *want as u64 == code)
    }
}

fn mark(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().expect("a digest has 32 bytes"))
}

/// What finds the member, as numbers, in encoding order. A member that has nothing but names and places is found
/// by all of them together.
pub(crate) fn marks(member: MemberRef<'_>, mut each: impl FnMut(u64)) {
    let mut any = false;
    for (_, value) in anchors(member) {
        any = true;
        each(match value {
            ValueRef::Digest(digest) => mark(digest),
            ValueRef::Plain(text) => mark(&Sha256::digest(text)),
        });
    }
    if !any {
        let (bytes, mask) = member.payload();
        each(mark(&Sha256::new().chain_update(mask.to_le_bytes()).chain_update(bytes).finalize()));
    }
}

/// Spreads marks evenly even if they were not digests.
fn spread(mark: u64) -> u64 {
    (mark | FLAGS).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The part of `parts` a mark belongs to, when one table cannot hold all.
pub(crate) fn part_of(mark: u64, parts: u64) -> u64 {
    if parts == 1 { 0 } else { ((u128::from(spread(mark).swap_bytes()) * u128::from(parts)) >> 64) as u64 }
}

/// Open addressing. The low bits of a slot are the [`Want`], then whether several lost members hold the
/// identifier, then whether the record of any is pending; 0 is empty.
#[derive(Debug)]
pub(crate) struct WantTable {
    slots: Vec<u64>,
    shift: u32,
    /// A bit for each mark, of some 7 to 13 bits a mark. Small enough for the processor's cache, it answers most
    /// questions.
    hints: Vec<u64>,
}

const WANT: u64 = 3;
const SHARED: u64 = 4;
const PENDING: u64 = 8;
const FLAGS: u64 = WANT | SHARED | PENDING;

impl WantTable {
    pub(crate) fn new(anchors: u64) -> Self {
        let slots = (anchors * 5 / 3 + 2).next_power_of_two();
        let hints = vec![0; slots.div_ceil(16) as usize];
        Self { slots: vec![0; slots as usize], shift: 64 - slots.trailing_zeros(), hints }
    }
    /// Word and bit of the mark's hint.
    fn hint(&self, mark: u64) -> (usize, u64) {
        let bit = (spread(mark) >> 20) as usize & (self.hints.len() * 64 - 1);
        (bit / 64, 1 << (bit % 64))
    }
    fn find(&self, mark: u64) -> usize {
        let mut at = (spread(mark) >> self.shift) as usize;
        while self.slots[at] != 0 && (self.slots[at] ^ mark) & !FLAGS != 0 {
            at = (at + 1) & (self.slots.len() - 1);
        }
        at
    }
    pub(crate) fn insert(&mut self, mark: u64, pending: bool) {
        let (word, bit) = self.hint(mark);
        self.hints[word] |= bit;
        let at = self.find(mark);
        let slot = &mut self.slots[at];
        *slot = if *slot == 0 { mark & !FLAGS | Want::Nobody as u64 } else { *slot | SHARED };
        *slot |= if pending { PENDING } else { 0 };
    }
    /// Raises what is known of the mark, if it is to be removed at all.
    pub(crate) fn want(&mut self, mark: u64, want: Want) {
        let (word, bit) = self.hint(mark);
        if self.hints[word] & bit == 0 {
            return;
        }
        let at = self.find(mark);
        let slot = self.slots[at];
        if slot != 0 && slot & WANT < want as u64 {
            self.slots[at] = slot & !WANT | want as u64;
        }
    }
    /// What may be done for the next member that lost the mark. Of several that hold an unwanted one, the first
    /// removes it and answers for it until that is accepted; the others let go of it, or else they would believe
    /// it on the platform if their own removal came to nothing. With a record that may be undone among them, none
    /// can answer for the others, and all wait.
    pub(crate) fn take(&mut self, mark: u64) -> Option<Want> {
        let at = self.find(mark);
        let slot = self.slots[at];
        let want = Want::from_code(slot & WANT)?;
        if want != Want::Nobody {
            return Some(want);
        }
        if slot & SHARED != 0 && slot & PENDING != 0 {
            return Some(Want::Wanted);
        }
        self.slots[at] = slot & !WANT | Want::Covered as u64;
        Some(want)
    }
}

/// Two bits for each identifier, in the order they were spooled.
#[derive(Debug)]
pub(crate) struct Wants(Vec<u8>);

impl Wants {
    pub(crate) fn new(anchors: u64) -> Self {
        Self(vec![0; anchors.div_ceil(4) as usize])
    }
    pub(crate) fn set(&mut self, number: u64, want: Want) {
        self.0[(number / 4) as usize] |= (want as u8) << (2 * (number % 4));
    }
    pub(crate) fn get(&self, number: u64) -> Want {
        let code = self.0[(number / 4) as usize] >> (2 * (number % 4)) & 3;
        Want::from_code(u64::from(code)).expect("every identifier was looked up")
    }
}

/// One bit per row.
#[derive(Debug)]
pub(crate) struct Bitmap(Vec<u64>);

impl Bitmap {
    pub(crate) fn new(bits: u64) -> Self {
        Self(vec![0; bits.div_ceil(64) as usize])
    }
    pub(crate) fn set(&mut self, bit: u64) {
        self.0[(bit / 64) as usize] |= 1 << (bit % 64);
    }
    pub(crate) fn get(&self, bit: u64) -> bool {
        self.0[(bit / 64) as usize] >> (bit % 64) & 1 != 0
    }
}
