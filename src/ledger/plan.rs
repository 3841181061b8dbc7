//! What a diff found to do, kept in a temporary file and handed out as batches.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use reveil_sdk::{Batch, Consent, MemberRef, Operation};

use super::consent::{self, MAX_GROUPS};
use super::error::{LedgerError, Result};
use super::spill::{Spill, SpillWriter};

const REMOVES: usize = MAX_GROUPS;
const FORGETS: usize = MAX_GROUPS + 1;
const PARTS: usize = MAX_GROUPS + 2;

/// Members by what becomes of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct PlanCounts {
    /// Sent: new, of unknown fate, or with identifiers gained or changed.
    pub add: u64,
    /// Sent: no longer wanted.
    pub remove: u64,
    /// Sent anew before the platform lets them expire.
    pub refresh: u64,
    /// On the platform as wanted.
    pub keep: u64,
    /// Still wanted, but with identifiers lost, whose removal is sent.
    pub update: u64,
    /// Of these, members whose remaining identifiers have to be sent by a later plan: platforms do not keep
    /// requests in order, so an add must not follow a removal of the same person at once.
    pub deferred: u64,
    /// Refused by the platform earlier and unchanged since: not sent.
    pub rejected_kept: u64,
    /// Records dropped or shortened without sending anything.
    pub forget: u64,
    /// No longer wanted, but each identifier is wanted of another member that is not yet surely on the platform, or
    /// shared with a member that still waits for a verdict; nothing happens until that is clear.
    pub held_for_others: u64,
    /// Rows that repeat the key of an earlier row; joined to it.
    pub duplicates: u64,
    /// Rows dropped by the refining function.
    pub dropped: u64,
}

/// The outcome of a diff. Gone from the disk when dropped.
#[derive(Debug)]
pub struct Plan {
    dir: PathBuf,
    spill: Spill,
    counts: PlanCounts,
}

pub(super) struct PlanWriter {
    dir: PathBuf,
    spill: SpillWriter,
    pub(super) counts: PlanCounts,
}

impl PlanWriter {
    pub(super) fn create(dir: &Path) -> Result<Self> {
        let spill = SpillWriter::create(dir, PARTS).map_err(LedgerError::io("make a temporary file in", dir))?;
        Ok(Self { dir: dir.to_path_buf(), spill, counts: PlanCounts::default() })
    }
    fn push(&mut self, part: usize, member: MemberRef<'_>) -> Result<()> {
        let pushed = self.spill.push(part, &[member.bytes()]);
        pushed.map_err(LedgerError::io("write a temporary file in", &self.dir))
    }
    pub(super) fn add(&mut self, group: u8, member: MemberRef<'_>) -> Result<()> {
        self.push(usize::from(group), member)
    }
    pub(super) fn remove(&mut self, member: MemberRef<'_>) -> Result<()> {
        self.push(REMOVES, member)
    }
    pub(super) fn forget(&mut self, member: MemberRef<'_>) -> Result<()> {
        self.counts.forget += 1;
        self.push(FORGETS, member)
    }
    pub(super) fn finish(self) -> Result<Plan> {
        let spill = self.spill.finish().map_err(LedgerError::io("write a temporary file in", &self.dir))?;
        Ok(Plan { dir: self.dir, spill, counts: self.counts })
    }
}

impl Plan {
    pub fn counts(&self) -> PlanCounts {
        self.counts
    }
    /// Nothing to send and nothing to forget.
    pub fn is_empty(&self) -> bool {
        (0..PARTS).all(|part| self.spill.bytes(part) == 0)
    }
    /// The members to add (refreshed ones among them) or to remove, in batches of one consent group each, of at
    /// most `max_members` and `max_bytes` of encoding (but at least one member). All removals must have been sent
    /// before the first add. Consent of people to remove is not known any more: unknown.
    pub fn batches(&self, operation: Operation, max_members: usize, max_bytes: Option<usize>) -> Batches<'_> {
        let parts = match operation {
            Operation::Add => (0..MAX_GROUPS).filter(|part| self.spill.bytes(*part) > 0).collect(),
            Operation::Remove => VecDeque::from([REMOVES]),
        };
        self.read(operation, parts, max_members, max_bytes)
    }
    pub(super) fn forgets(&self, max_members: usize) -> Batches<'_> {
        self.read(Operation::Remove, VecDeque::from([FORGETS]), max_members, None)
    }
    fn read(
        &self,
        operation: Operation,
        parts: VecDeque<usize>,
        max_members: usize,
        max_bytes: Option<usize>,
    ) -> Batches<'_> {
        let max_bytes = max_bytes.unwrap_or(usize::MAX);
        Batches { plan: self, operation, parts, max_members, max_bytes, chunk: Vec::new(), at: 0, next_chunk: 0 }
    }
}

/// Batches of a plan, read as they are asked for.
#[derive(Debug)]
pub struct Batches<'a> {
    plan: &'a Plan,
    operation: Operation,
    /// Still to read; the first is being read.
    parts: VecDeque<usize>,
    max_members: usize,
    max_bytes: usize,
    chunk: Vec<u8>,
    at: usize,
    next_chunk: usize,
}

impl Batches<'_> {
    /// Sees to it that the chunk has a member; false at the end of the part.
    fn fill(&mut self, part: usize) -> Result<bool> {
        if self.at < self.chunk.len() {
            return Ok(true);
        }
        self.at = 0;
        let read = self.plan.spill.read_chunk(part, self.next_chunk, &mut self.chunk);
        self.next_chunk += 1;
        read.map_err(LedgerError::io("read a temporary file in", &self.plan.dir))
    }
    fn next_batch(&mut self) -> Result<Option<Batch>> {
        while let Some(&part) = self.parts.front() {
            let consent = if part < MAX_GROUPS { consent::from_group(part as u8) } else { Consent::UNKNOWN };
            let mut batch = Batch::new(self.operation, consent);
            while self.fill(part)? {
                let member = MemberRef::read(&self.chunk[self.at..]).expect("chunks hold whole members");
                let length = member.bytes().len();
                let full = batch.len() >= self.max_members || batch.byte_len() + length > self.max_bytes;
                if full && !batch.is_empty() {
                    return Ok(Some(batch));
                }
                batch.push(member);
                self.at += length;
            }
            self.parts.pop_front();
            self.next_chunk = 0;
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}
