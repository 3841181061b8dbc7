//! Who is withheld as the control group: by a hash, so that the answer needs no memory and never changes.
//!
//! The unit's key is its smallest customer id, compared byte by byte (`"10" < "9"`): any fixed order does, and ids
//! need not be numbers. A unit that grows by a smaller id may change sides; nothing stateless can avoid that.

use std::io;
use std::path::Path;

use reveil_sdk::MemberKey;
use sha2::{Digest, Sha256};

use super::bitmap::Bitmap;
use super::builder::Identity;
use crate::ledger::spill::SpillWriter;
use crate::sync::member_key::member_key;

/// Parts for the ids of linked customers.
const PARTS: usize = 256;

/// The place of a unit among 10,000: the first 8 bytes of SHA-256(`salt:unit`), scaled.
pub fn bucket(salt: &str, unit_key: impl AsRef<[u8]>) -> u16 {
    let hash = Sha256::new().chain_update(salt).chain_update(b":").chain_update(unit_key).finalize();
    let number = u64::from_be_bytes(*hash.first_chunk().expect("32 bytes"));
    ((u128::from(number) * 10_000) >> 64) as u16
}

/// One holdout: a universal one, or an experiment's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arm {
    pub salt: String,
    /// Share withheld, in 1/10,000.
    pub holdout_bps: u16,
}

impl Arm {
    fn holds(&self, unit_key: &[u8]) -> bool {
        bucket(&self.salt, unit_key) < self.holdout_bps
    }
}

/// Takes the customer ids. Those of linked customers wait in a temporary file that nobody else can open.
#[derive(Debug)]
pub struct HoldoutBuilder<'a> {
    identity: &'a Identity,
    arms: Vec<Arm>,
    held: Bitmap,
    linked_ids: SpillWriter,
    /// Of the member keys, when units are to be known by one.
    secret: Option<&'a [u8; 32]>,
}

impl<'a> HoldoutBuilder<'a> {
    /// A unit is held out if any arm holds it: the universal holdout and the experiment's own, for instance.
    pub fn create(identity: &'a Identity, dir: &Path, arms: Vec<Arm>) -> io::Result<Self> {
        Ok(Self { identity, arms, held: Bitmap::default(), linked_ids: SpillWriter::create(dir, PARTS)?, secret: None })
    }
    /// Makes [`Holdout::unit_key`] answer.
    #[must_use]
    pub fn with_unit_keys(mut self, secret: &'a [u8; 32]) -> Self {
        self.secret = Some(secret);
        self
    }
    /// Every customer of the identity graph has to come, in any order, or units get another key.
    pub fn push(&mut self, index: u32, customer_id: &str) -> io::Result<()> {
        if self.identity.linked.position(index).is_none() {
            if self.arms.iter().any(|arm| arm.holds(customer_id.as_bytes())) {
                self.held.set(index, true);
            }
            return Ok(());
        }
        let unit = self.identity.unit(index);
        let length = u32::try_from(customer_id.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let head = [unit.to_le_bytes(), length.to_le_bytes()];
        self.linked_ids.push(unit as usize % PARTS, &[head.as_flattened(), customer_id.as_bytes()])
    }
    pub fn finish(mut self) -> io::Result<Holdout> {
        let ids = self.linked_ids.finish()?;
        let (mut bytes, mut units) = (Vec::new(), Vec::new());
        for part in 0..ids.parts() {
            ids.read(part, &mut bytes)?;
            let mut members = Vec::new();
            let mut rest = bytes.as_slice();
            while let Some((head, after)) = rest.split_first_chunk::<8>() {
                let [unit, length] = [0, 4].map(|at| u32::from_le_bytes(head[at..at + 4].try_into().expect("4 bytes")));
                let (id, after) = after.split_at(length as usize);
                members.push((unit, id));
                rest = after;
            }
            members.sort_unstable();
            for unit in members.chunk_by(|a, b| a.0 == b.0) {
                let (root, smallest) = unit[0];
                if self.arms.iter().any(|arm| arm.holds(smallest)) {
                    self.held.set(root, true);
                }
                if let Some(secret) = self.secret {
                    units.push((root, member_key(secret, smallest)));
                }
            }
        }
        units.sort_unstable_by_key(|(root, _)| *root);
        // A root comes before its members, so its bit is final when they look.
        for index in self.identity.linked.iter() {
            let held = self.held.get(self.identity.unit(index));
            self.held.set(index, held);
        }
        Ok(Holdout { held: self.held, units })
    }
}

/// Who is withheld: one bit per customer. And the keys of units of several, 16 bytes each.
#[derive(Debug, Clone)]
pub struct Holdout {
    held: Bitmap,
    units: Vec<(u32, MemberKey)>,
}

impl Holdout {
    pub fn held_out(&self, index: u32) -> bool {
        self.held.get(index)
    }
    /// The member key of the unit's smallest id; `None` for a customer alone, whose own key it would be.
    pub fn unit_key(&self, unit: u32) -> Option<MemberKey> {
        let found = self.units.binary_search_by_key(&unit, |(root, _)| *root).ok()?;
        Some(self.units[found].1)
    }
    /// Customers withheld.
    pub fn count(&self) -> u64 {
        self.held.count()
    }
}
