//! What can be done with a ledger, wherever it lives.

use std::fs::File;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use reveil_sdk::{Batch, MemberRef, Operation};

use super::base::{Base, BaseWriter, Counts};
use super::disk;
use super::effective::{Bucket, Effective};
use super::error::{LedgerError, Result};
use super::generation::Generation;
use super::journal::{Action, Journal, Status};
use super::local;
use super::plan::Plan;
use super::shared::SharedLedger;

/// Raised when the files change in a way an older version would misread.
pub const FORMAT: u32 = 1;
/// There from before the first request of a swap until it is whole.
const REPLACING: &str = "replacing";
/// A journal smaller than this is not worth a rewrite of the base.
const FOLD_MIN_BYTES: u64 = 1 << 20;

/// What one platform audience holds, as far as is known. See the [module](super).
#[derive(Debug)]
pub struct Ledger {
    /// Its files; a copy of them when it is shared.
    pub(super) dir: PathBuf,
    pub(super) temp: PathBuf,
    /// `None` when opened to look only. Held for its lock.
    pub(super) lock: Option<File>,
    pub(super) generation: Generation,
    pub(super) base: Base,
    pub(super) journal: Journal,
    /// Where it is in a store that replicas share.
    pub(super) shared: Option<SharedLedger>,
    pub(super) broken: bool,
}

/// A batch the platform took and has not decided on yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingBatch {
    pub seq: u64,
    pub ticket: String,
    pub operation: Operation,
    pub members: u32,
    pub accepted_at: DateTime<Utc>,
}

/// Figures of a ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Members believed to be on the platform.
    pub held: u64,
    /// Members of whom a request's fate is unknown.
    pub uncertain: u64,
    /// Members the platform refused, remembered so that they are not sent again.
    pub rejected: u64,
    /// Size of the base and the journal.
    pub bytes: u64,
}

impl Ledger {
    /// Where temporary files belong: on the same disk, for their owner alone.
    pub fn temp_dir(&self) -> &Path {
        &self.temp
    }

    /// Whether a swap of the whole audience was begun and not seen to its end. A platform may apply the part that
    /// arrived and drop everybody else, so that nothing the ledger says is sure any more.
    pub fn is_replacing(&self) -> bool {
        if self.shared.is_some() { self.journal.replacing } else { self.dir.join(REPLACING).exists() }
    }
    /// To be called before the first request of a swap. When this returns, it is durable.
    pub fn begin_replace(&mut self) -> Result<()> {
        self.write(|ledger| match ledger.shared {
            Some(_) => ledger.journal.replace(true),
            None => disk::replace(&ledger.dir, REPLACING, b"a swap was begun\n"),
        })
    }
    /// To be called when everybody wanted was sent, in a whole swap or otherwise.
    pub fn end_replace(&mut self) -> Result<()> {
        if !self.is_replacing() {
            return Ok(());
        }
        self.write(|ledger| match ledger.shared {
            Some(_) => ledger.journal.replace(false),
            None => {
                disk::remove(&ledger.dir.join(REPLACING))?;
                disk::sync_dir(&ledger.dir)
            }
        })
    }

    /// Forgets everything that was sent; the next ledger is empty.
    pub fn reset(mut self) -> Result<()> {
        self.write(|ledger| {
            if let Some(shared) = ledger.shared.clone() {
                ledger.journal.seal()?;
                let next = ledger.generation.next()?;
                let journal = Journal::create(next.journal_path(&ledger.dir), ledger.journal.next_seq)?;
                shared.publish(&next, None, &journal)?;
            }
            disk::remove_dir(&ledger.dir)
        })
    }

    fn write<T>(&mut self, write: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.lock.is_none() {
            return Err(LedgerError::ReadOnly { dir: self.dir.clone() });
        }
        if self.broken {
            return Err(LedgerError::Broken { dir: self.dir.clone() });
        }
        let result = write(self);
        self.broken = result.as_ref().is_err_and(LedgerError::leaves_doubt);
        result
    }
    fn expect(&self, seq: u64, what: &'static str, fits: impl Fn(&Status) -> bool) -> Result<u32> {
        match self.journal.entry(seq) {
            Some(entry) if entry.action != Action::Forget && fits(&entry.status) => Ok(entry.members),
            _ => Err(LedgerError::Entry { seq, what }),
        }
    }

    /// Records a batch before it is sent. When this returns, the batch is on the disk.
    pub fn intend(&mut self, batch: &Batch) -> Result<u64> {
        self.write(|ledger| ledger.journal.intend(batch))
    }
    /// The platform took the batch but for the `rejected` indices; with a `ticket` its verdict comes later.
    ///
    /// # Errors
    /// [`LedgerError::Entry`] when the batch was answered already, [`LedgerError::Index`].
    pub fn accept(&mut self, seq: u64, rejected: &[u32], ticket: Option<&str>, at: DateTime<Utc>) -> Result<()> {
        let members = self.expect(seq, "accepted", |status| matches!(status, Status::InFlight | Status::Uncertain))?;
        let rejected = checked(seq, members, rejected)?;
        self.write(|ledger| ledger.journal.accept(seq, at, ticket, &rejected))
    }
    /// The batch was surely not applied.
    pub fn fail(&mut self, seq: u64) -> Result<()> {
        self.expect(seq, "failed", |status| matches!(status, Status::InFlight | Status::Uncertain))?;
        self.write(|ledger| ledger.journal.fail(seq))
    }
    /// What became of the batch will never be known: no answer, or a ticket that the platform has lost.
    pub fn give_up(&mut self, seq: u64) -> Result<()> {
        self.expect(seq, "given up", |status| !status.is_final())?;
        self.write(|ledger| ledger.journal.unknown(seq))
    }
    /// The verdict on a batch with a ticket: applied but for `Some(rejected)`, or `None`, nothing was applied.
    pub fn verdict(&mut self, seq: u64, rejected: Option<&[u32]>) -> Result<()> {
        let waits = |status: &Status| matches!(status, Status::Accepted { ticket: Some(_), .. });
        let members = self.expect(seq, "decided", waits)?;
        let rejected = rejected.map(|rejected| checked(seq, members, rejected)).transpose()?;
        self.write(|ledger| ledger.journal.verdict(seq, rejected.as_deref()))
    }
    /// Drops from the records what other records answer for, as `plan` found. Must come before the plan's batches
    /// are sent. Nothing is sent.
    pub fn forget(&mut self, plan: &Plan) -> Result<()> {
        const MEMBERS: usize = 50_000;
        for batch in plan.forgets(MEMBERS) {
            let batch = batch?;
            self.write(|ledger| ledger.journal.forget(&batch))?;
        }
        Ok(())
    }
    /// Drops the members' identifiers from their records, though nothing is sent: for those who are surely not on the
    /// platform.
    pub(crate) fn erase(&mut self, members: &Batch) -> Result<()> {
        self.write(|ledger| ledger.journal.forget(members))
    }
    /// Hands out every member whose removal the platform took, and when, as far as the journal reaches back.
    pub(crate) fn each_removed(&self, mut take: impl FnMut(MemberRef<'_>, DateTime<Utc>)) -> Result<()> {
        for entry in &self.journal.entries {
            let (Action::Send(Operation::Remove, _), Status::Accepted { at, rejected, .. }) =
                (entry.action, &entry.status)
            else {
                continue;
            };
            let at = DateTime::from_timestamp(*at, 0).unwrap_or_default();
            for (index, member) in (0_u32..).zip(self.journal.batch(entry)?.iter()) {
                if rejected.binary_search(&index).is_err() {
                    take(member, at);
                }
            }
        }
        Ok(())
    }
    /// Hands out every member whose bytes lie in the journal, whatever became of their batch.
    pub(crate) fn each_journalled(&self, mut take: impl FnMut(MemberRef<'_>)) -> Result<()> {
        for entry in &self.journal.entries {
            self.journal.batch(entry)?.iter().for_each(&mut take);
        }
        Ok(())
    }
    /// The batches that wait for a verdict, oldest first.
    pub fn pending(&self) -> Vec<PendingBatch> {
        let entries = self.journal.entries.iter();
        entries
            .filter_map(|entry| match (&entry.status, entry.action) {
                (Status::Accepted { at, ticket: Some(ticket), .. }, Action::Send(operation, _)) => Some(PendingBatch {
                    seq: entry.seq,
                    ticket: ticket.clone(),
                    operation,
                    members: entry.members,
                    accepted_at: DateTime::from_timestamp(*at, 0).unwrap_or_default(),
                }),
                _ => None,
            })
            .collect()
    }
    /// The members of a batch of the journal, as they were intended; `None` when it is not (or no longer) there.
    pub fn batch(&self, seq: u64) -> Result<Option<Batch>> {
        self.journal.entry(seq).map(|entry| self.journal.batch(entry)).transpose()
    }
    /// Counts the records; reads all of them unless the journal is empty.
    pub fn stats(&self) -> Result<Stats> {
        let mut counts = self.base.counts;
        if !self.journal.entries.is_empty() {
            counts = Counts::default();
            self.each_record(|record| counts.count(record))?;
        }
        let Counts { held, uncertain, rejected } = counts;
        Ok(Stats { held, uncertain, rejected, bytes: self.base.bytes() + self.journal.bytes() })
    }
    /// Hands out every record of the effective state, in key order.
    pub(crate) fn each_record(&self, mut take: impl FnMut(MemberRef<'_>)) -> Result<()> {
        let effective = self.effective(0)?;
        let mut bucket = Bucket::default();
        for number in 0..effective.buckets() {
            effective.read(number, &self.temp, &mut bucket)?;
            let mut rest = bucket.records.as_slice();
            while let Some(record) = MemberRef::read(rest) {
                take(record);
                rest = &rest[record.bytes().len()..];
            }
        }
        Ok(())
    }
    /// The effective state, cut by at least `min_bits` leading bits of the key.
    pub(crate) fn effective(&self, min_bits: u32) -> Result<Effective<'_>> {
        Effective::new(&self.base, &self.journal, &self.journal.entries, &self.temp, min_bits)
    }

    /// Entries at the head of the journal that nothing can change any more. Later ones must stay behind those
    /// that wait: a verdict may undo them, and then the order matters.
    fn settled(&self) -> usize {
        self.journal.entries.iter().take_while(|entry| entry.status.is_final()).count()
    }
    /// Whether the journal has grown so far that [`fold`](Self::fold) pays.
    pub fn fold_due(&self) -> bool {
        self.settled() > 0 && self.journal.bytes() > (self.base.bytes() / 8).max(FOLD_MIN_BYTES)
    }
    /// Merges the settled head of the journal into the base and keeps the rest in a new journal. Needs the size
    /// of the ledger on the disk a second time while it runs. After a crash at any point the ledger is the same.
    pub fn fold(&mut self) -> Result<()> {
        let settled = self.settled();
        if settled == 0 {
            return Ok(());
        }
        self.write(|ledger| {
            if ledger.shared.is_some() {
                ledger.journal.seal()?;
            }
            ledger.rewrite()
        })
    }
    /// Makes the next generation of the ledger.
    pub(super) fn rewrite(&mut self) -> Result<()> {
        let (settled, next) = (self.settled(), self.generation.next()?);
        let base = next.base_path(&self.dir);
        self.write_base(settled, &base)?;
        let mut journal = self.journal.copy_tail(settled, next.journal_path(&self.dir))?;
        disk::sync_dir(&self.dir)?;
        match &self.shared {
            None => {
                local::write_manifest(&self.dir, next.number, journal.next_seq)?;
            }
            Some(shared) => journal.appender = Some(shared.publish(&next, Some(&base), &journal)?),
        }
        // From here on the new files are the ledger.
        let old = [self.generation.base_path(&self.dir), self.journal.path().to_path_buf()];
        self.base = Base::open(base, self.shared.is_some())?;
        self.journal = journal;
        self.generation = next;
        old.iter().try_for_each(|path| disk::remove(path))
    }
    fn write_base(&self, settled: usize, path: &Path) -> Result<()> {
        let entries = &self.journal.entries[..settled];
        let effective = Effective::new(&self.base, &self.journal, entries, &self.temp, 0)?;
        let mut writer = BaseWriter::create(path)?;
        let mut bucket = Bucket::default();
        for number in 0..effective.buckets() {
            effective.read(number, &self.temp, &mut bucket)?;
            let mut rest = bucket.records.as_slice();
            while let Some(record) = MemberRef::read(rest) {
                writer.push(record)?;
                rest = &rest[record.bytes().len()..];
            }
        }
        writer.finish()
    }
}

/// Sorted, each once, all within the batch.
fn checked(seq: u64, members: u32, rejected: &[u32]) -> Result<Vec<u32>> {
    let mut rejected = rejected.to_vec();
    rejected.sort_unstable();
    rejected.dedup();
    match rejected.last() {
        Some(&index) if index >= members => Err(LedgerError::Index { seq, index, members }),
        _ => Ok(rejected),
    }
}
