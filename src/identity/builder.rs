//! Finds equal digests: scattered to parts by their leading bits, sorted inside each part.

use std::fmt;
use std::io;
use std::path::Path;

use reveil_sdk::MemberKey;

use super::bitmap::{Bitmap, Ranked};
use super::units::{UnitCounts, Units};
use crate::ledger::spill::{Spill, SpillWriter};

/// Slots of a customer: numbers of e-mail and phone columns, chosen by the caller.
pub const MAX_SLOTS: u8 = 16;
/// Parts of the temporary file: at 10^8 customers with two digests each some 7 MiB.
const PARTS: usize = 1024;
/// digest[16] | key[12] | index u32 | slot | role, so that sorting the bytes sorts by digest, then key.
const RECORD: usize = 34;
const LINK: usize = 8;
const DROP: usize = 6;

/// What a customer is to the audience at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Role {
    /// To be sent.
    Target = 0,
    /// A customer outside the segment, because active: ads for dormant customers must not reach them.
    Active = 1,
    /// Objected, opted out, asked for erasure or denied consent.
    Refused = 2,
    /// Links and counts, but forbids nothing.
    Other = 3,
}

/// Why an identifier of a target customer is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Drop {
    /// Held by more customers than a person or a household has.
    SharedPlaceholder = 1,
    HeldByActive = 2,
    HeldByRefused = 3,
    /// Another target customer, with a smaller key, sends it.
    HeldByOther = 4,
}

impl Drop {
    /// Stable name for reports and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::SharedPlaceholder => "shared_placeholder",
            Self::HeldByActive => "held_by_active",
            Self::HeldByRefused => "held_by_refused",
            Self::HeldByOther => "held_by_other",
        }
    }
    fn from_nibble(nibble: u64) -> Option<Self> {
        let all = [Self::SharedPlaceholder, Self::HeldByActive, Self::HeldByRefused, Self::HeldByOther];
        all.into_iter().find(|drop| *drop as u64 == nibble)
    }
}

/// Figures of an identity graph.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IdentityCounts {
    pub customers: u64,
    pub units: u64,
    /// Units of more than one customer.
    pub multi_customer_units: u64,
    /// Customers in the largest unit.
    pub largest_unit: u32,
    /// Digests that link nobody because too many share them.
    pub placeholders: u64,
}

/// Takes customers in any order, each once.
pub struct IdentityBuilder {
    dir: std::path::PathBuf,
    digests: SpillWriter,
    shared_above: u32,
    customers: u64,
}

impl fmt::Debug for IdentityBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityBuilder({} customers)", self.customers)
    }
}

impl IdentityBuilder {
    /// `dir` holds the temporary files. Digests of more than `shared_above` customers are placeholders (domain
    /// practice: 5).
    pub fn create(dir: &Path, shared_above: u32) -> io::Result<Self> {
        let digests = SpillWriter::create(dir, PARTS)?;
        Ok(Self { dir: dir.to_path_buf(), digests, shared_above, customers: 0 })
    }
    /// A customer with its row number, which must be its own, and its digests by slot (below [`MAX_SLOTS`]).
    /// E-mail and phone digests never meet: one hash is not both.
    pub fn push<'a>(
        &mut self,
        index: u32,
        key: MemberKey,
        role: Role,
        digests: impl Iterator<Item = (u8, &'a [u8; 32])>,
    ) -> io::Result<()> {
        self.customers += 1;
        for (slot, digest) in digests {
            assert!(slot < MAX_SLOTS, "slots go up to {MAX_SLOTS}");
            let part = usize::from(u16::from_be_bytes([digest[0], digest[1]])) >> 6;
            let rest = [slot, role as u8];
            // Half a SHA-256 tells 10^9 values apart with certainty enough (10^-21).
            self.digests.push(part, &[&digest[..16], &key.0, &index.to_be_bytes(), &rest])?;
        }
        Ok(())
    }
    pub fn finish(self) -> io::Result<Identity> {
        let digests = self.digests.finish()?;
        let mut groups = Groups::create(&self.dir, self.shared_above)?;
        let mut bytes = Vec::new();
        for part in 0..digests.parts() {
            digests.read(part, &mut bytes)?;
            let (records, _) = bytes.as_chunks_mut::<RECORD>();
            records.sort_unstable();
            for group in records.chunk_by(|a, b| a[..16] == b[..16]).filter(|group| group.len() > 1) {
                groups.take(group)?;
            }
        }
        drop((digests, bytes));
        groups.finish(self.customers)
    }
}

fn key(record: &[u8; RECORD]) -> &[u8] {
    &record[16..28]
}

fn index(record: &[u8; RECORD]) -> u32 {
    u32::from_be_bytes([record[28], record[29], record[30], record[31]])
}

fn is(record: &[u8; RECORD], role: Role) -> bool {
    record[33] == role as u8
}

/// What the groups of equal digests say, collected on disk.
struct Groups {
    shared_above: u32,
    linked: Bitmap,
    links: SpillWriter,
    dropped: Bitmap,
    drops: SpillWriter,
    placeholders: u64,
}

impl Groups {
    fn create(dir: &Path, shared_above: u32) -> io::Result<Self> {
        Ok(Self {
            shared_above,
            linked: Bitmap::default(),
            links: SpillWriter::create(dir, 1)?,
            dropped: Bitmap::default(),
            drops: SpillWriter::create(dir, 1)?,
            placeholders: 0,
        })
    }
    /// Records of one digest, sorted by key, then row.
    fn take(&mut self, group: &[[u8; RECORD]]) -> io::Result<()> {
        // Several rows or columns of one customer share nothing with anybody.
        let customers = group.chunk_by(|a, b| key(a) == key(b)).count();
        if customers > self.shared_above as usize {
            self.placeholders += 1;
            return self.drop_all(group, |_| Some(Drop::SharedPlaceholder));
        }
        let first = index(&group[0]);
        for other in group[1..].iter().map(index).filter(|other| *other != first) {
            self.linked.set(first, true);
            self.linked.set(other, true);
            self.links.push(0, &[&first.to_le_bytes(), &other.to_le_bytes()])?;
        }
        let owner = group.iter().find(|record| is(record, Role::Target)).map(key);
        let by = |role| group.iter().any(|record| is(record, role));
        let (refused, active) = (by(Role::Refused), by(Role::Active));
        self.drop_all(group, |record| match () {
            () if refused => Some(Drop::HeldByRefused),
            () if active => Some(Drop::HeldByActive),
            () if Some(key(record)) != owner => Some(Drop::HeldByOther),
            () => None,
        })
    }
    fn drop_all(&mut self, group: &[[u8; RECORD]], why: impl Fn(&[u8; RECORD]) -> Option<Drop>) -> io::Result<()> {
        for record in group.iter().filter(|record| is(record, Role::Target)) {
            if let Some(drop) = why(record) {
                self.dropped.set(index(record), true);
                self.drops.push(0, &[&index(record).to_le_bytes(), &[record[32], drop as u8]])?;
            }
        }
        Ok(())
    }
    fn finish(self, customers: u64) -> io::Result<Identity> {
        let linked = Ranked::new(self.linked);
        let mut units = Units::new(linked.len());
        each::<LINK>(&self.links.finish()?, |link| {
            let [a, b] = [0, 4].map(|at| u32::from_le_bytes([link[at], link[at + 1], link[at + 2], link[at + 3]]));
            let position = |row| linked.position(row).expect("marked with the link");
            units.union(position(a), position(b));
        })?;
        let (units, UnitCounts { several, largest }) = units.finish(&linked);
        let dropped = Ranked::new(self.dropped);
        let mut drops = vec![0u64; dropped.len() as usize];
        each::<DROP>(&self.drops.finish()?, |drop| {
            let row = u32::from_le_bytes([drop[0], drop[1], drop[2], drop[3]]);
            let position = dropped.position(row).expect("marked with the drop");
            let shift = 4 * u32::from(drop[4]);
            let nibble = &mut drops[position as usize];
            *nibble = *nibble & !(0xf << shift) | u64::from(drop[5]) << shift;
        })?;
        let counts = IdentityCounts {
            customers,
            units: customers - u64::from(linked.len()) + several,
            multi_customer_units: several,
            largest_unit: largest.max(u32::from(customers > 0)),
            placeholders: self.placeholders,
        };
        Ok(Identity { linked, units, dropped, drops, counts })
    }
}

fn each<const N: usize>(spill: &Spill, mut take: impl FnMut(&[u8; N])) -> io::Result<()> {
    let mut chunk = Vec::new();
    let mut number = 0;
    while spill.read_chunk(0, number, &mut chunk)? {
        number += 1;
        chunk.as_chunks::<N>().0.iter().for_each(&mut take);
    }
    Ok(())
}

/// Who shares what. Small: see the [module](super).
#[derive(Debug)]
pub struct Identity {
    pub(super) linked: Ranked,
    /// For each linked customer the row of its unit's root.
    units: Vec<u32>,
    dropped: Ranked,
    /// For each customer with a drop, four bits per slot.
    drops: Vec<u64>,
    counts: IdentityCounts,
}

impl Identity {
    /// Why the identifier in `slot` of a target customer must not be sent; `None` when it may.
    pub fn verdict(&self, index: u32, slot: u8) -> Option<Drop> {
        let position = self.dropped.position(index)?;
        let nibbles = self.drops[position as usize];
        if slot < MAX_SLOTS { Drop::from_nibble(nibbles >> (4 * slot) & 0xf) } else { None }
    }
    /// Whether any identifier of the customer has a verdict; cheaper than asking for each.
    pub fn any_verdict(&self, index: u32) -> bool {
        self.dropped.position(index).is_some()
    }
    /// The unit of a customer, named by the row of one of its customers.
    pub fn unit(&self, index: u32) -> u32 {
        self.linked.position(index).map_or(index, |position| self.units[position as usize])
    }
    pub fn counts(&self) -> IdentityCounts {
        self.counts
    }
}
