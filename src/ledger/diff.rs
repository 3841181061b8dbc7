//! The difference between what the platform holds and what it should hold.
//!
//! Ledger and target are merged bucket by bucket, each sorted in memory by a second thread while the first merges
//! the bucket before. What needs no look at other members goes straight to the plan. Members that are gone or have
//! lost identifiers become [candidates](super::removals): before anything of theirs is removed, a second pass over
//! the target finds the identifiers that somebody else still wants.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use reveil_sdk::{IdentifierKind, MemberBuf, MemberKey, MemberRef, ValueRef};

use super::effective::{Bucket, Effective, bits_for};
use super::error::{LedgerError, Result};
use super::plan::{Plan, PlanWriter};
use super::record::{REJECTED, UNCERTAIN, anchors, has, is_anchor, join, without};
use super::removals::{Candidates, Later};
use super::store::Ledger;
use super::target::{Target, TargetRow};
use super::wanted::Bitmap;

/// A target bucket this large is cut finer first.
const MAX_BUCKET_BYTES: u64 = if cfg!(test) { 1024 } else { 48 << 20 };

/// How to compare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiffOptions {
    /// Days since 2020-01-01; see [`day_of`](super::day_of).
    pub today: u16,
    /// Members accepted more days ago than this are sent anew.
    pub renew_after_days: Option<u16>,
    /// Send everybody anew, whenever they were accepted: for a full replace.
    pub renew_all: bool,
    /// Whoever and whatever is not sent leaves the platform by itself, in a replace: so nobody's add waits for a
    /// removal, and nobody stays behind because nothing new is to be said of them.
    pub replaces: bool,
    /// Send members again that the platform refused, though nothing about them has changed.
    pub retry_rejected: bool,
}

/// Finds what to send so that the platform holds the target.
///
/// `refine` sees every row before it is compared and may be asked about a row more than once; it must answer the
/// same each time. It returns false to leave the member out. To drop single identifiers it encodes what shall
/// remain, under the same key, into the (empty) buffer; a buffer left empty keeps the member as it is.
///
/// # Errors
/// Reading and writing files; nothing is planned then.
pub fn diff(
    ledger: &Ledger,
    target: &Target,
    refine: impl FnMut(TargetRow<'_>, &mut MemberBuf) -> bool,
    options: DiffOptions,
) -> Result<Plan> {
    let temp = ledger.temp_dir();
    let finer = if target.largest() > MAX_BUCKET_BYTES { bits_for(target.bytes()) } else { 0 };
    let effective = ledger.effective(target.bits.max(finer))?;
    let recut;
    let target = if effective.bits == target.bits {
        target
    } else {
        recut = target.recut(effective.bits)?;
        &recut
    };
    let mut merge = Merge {
        options,
        refine,
        plan: PlanWriter::create(temp)?,
        candidates: Candidates::create(temp)?,
        covered: Bitmap::new(target.rows()),
        first_row: 0,
        refined: MemberBuf::new(),
        joined: MemberBuf::new(),
        scratch: MemberBuf::new(),
    };
    thread::scope(|scope| {
        // Capacity 1: one bucket is merged, one waits, one is being read.
        let (send, loaded) = sync_channel(1);
        let (give_back, empty) = channel();
        let effective = &effective;
        scope.spawn(move || load_all(effective, target, temp, &send, empty));
        merge_all(&mut merge, &loaded, &give_back)
    })?;
    let Merge { mut plan, candidates, covered, mut refine, .. } = merge;
    candidates.resolve(target, &covered, &mut refine, options.replaces, &mut plan)?;
    plan.finish()
}

/// One bucket, ready to merge.
#[derive(Default)]
struct Loaded {
    target: Vec<u8>,
    rows: Vec<Row>,
    ledger: Bucket,
}

/// Where a row lies, as one number that sorts by key, then by order of arrival: the key's first 8 bytes, the row's
/// position in the bucket's bytes, its number in the bucket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row(u128);

impl Row {
    fn new(key: MemberKey, at: usize, number: usize) -> Self {
        let prefix = u64::from_be_bytes(*key.0.first_chunk().expect("12 bytes"));
        Self(u128::from(prefix) << 64 | (at as u128) << 32 | number as u128)
    }
    fn prefix(self) -> u64 {
        (self.0 >> 64) as u64
    }
    fn number(self) -> u64 {
        u64::from(self.0 as u32)
    }
    fn read(self, bucket: &[u8]) -> TargetRow<'_> {
        let at = (self.0 >> 32) as u32;
        TargetRow::read(&bucket[at as usize..]).expect("read before").0
    }
}

fn load_all(
    effective: &Effective<'_>,
    target: &Target,
    temp: &Path,
    send: &SyncSender<Result<Loaded>>,
    empty: Receiver<Loaded>,
) {
    for bucket in 0..effective.buckets() {
        let mut loaded = empty.try_recv().unwrap_or_default();
        let result = loaded.load(effective, target, temp, bucket).map(|()| loaded);
        let failed = result.is_err();
        // The merging side hangs up when it has failed.
        if send.send(result).is_err() || failed {
            return;
        }
    }
}

impl Loaded {
    fn load(&mut self, effective: &Effective<'_>, target: &Target, temp: &Path, bucket: usize) -> Result<()> {
        target.read(bucket, &mut self.target)?;
        self.rows.clear();
        let mut at = 0;
        while at < self.target.len() {
            let (row, length) = TargetRow::read(&self.target[at..]).expect("buckets hold whole rows");
            self.rows.push(Row::new(row.member.key(), at, self.rows.len()));
            at += length;
        }
        self.rows.sort_unstable();
        // Keys that share their first 8 bytes are rare: put those few in order of the whole key.
        let bytes = &self.target;
        for same in self.rows.chunk_by_mut(|a, b| a.prefix() == b.prefix()) {
            if same.len() > 1 {
                same.sort_by_key(|row| row.read(bytes).member.key());
            }
        }
        effective.read(bucket, temp, &mut self.ledger)
    }
}

fn merge_all<R>(merge: &mut Merge<R>, loaded: &Receiver<Result<Loaded>>, give_back: &Sender<Loaded>) -> Result<()>
where
    R: FnMut(TargetRow<'_>, &mut MemberBuf) -> bool,
{
    while let Ok(bucket) = loaded.recv() {
        let bucket = bucket?;
        merge.bucket(&bucket)?;
        merge.first_row += bucket.rows.len() as u64;
        // The loader may be done.
        let _ = give_back.send(bucket);
    }
    Ok(())
}

/// The records of a bucket, one after another.
struct Records<'a> {
    next: Option<MemberRef<'a>>,
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self { next: MemberRef::read(rest), rest }
    }
    fn next_if(&mut self, fits: impl FnOnce(MemberRef<'a>) -> bool) -> Option<MemberRef<'a>> {
        let next = self.next.filter(|next| fits(*next))?;
        self.rest = &self.rest[next.bytes().len()..];
        self.next = MemberRef::read(self.rest);
        Some(next)
    }
}

struct Merge<R> {
    options: DiffOptions,
    refine: R,
    plan: PlanWriter,
    candidates: Candidates,
    /// Rows whose identifiers are all in a record that answers for them.
    covered: Bitmap,
    first_row: u64,
    refined: MemberBuf,
    joined: MemberBuf,
    scratch: MemberBuf,
}

impl<R> Merge<R>
where
    R: FnMut(TargetRow<'_>, &mut MemberBuf) -> bool,
{
    fn bucket(&mut self, bucket: &Loaded) -> Result<()> {
        let mut records = Records::new(&bucket.ledger.records);
        let mut rest = bucket.rows.as_slice();
        while let Some(&row) = rest.first() {
            let first = row.read(&bucket.target);
            let key = first.member.key();
            while let Some(record) = records.next_if(|record| record.key() < key) {
                self.gone(record, bucket.ledger.is_pending(record))?;
            }
            let record = records.next_if(|record| record.key() == key);
            let repeats = |next: &&Row| next.prefix() == row.prefix() && next.read(&bucket.target).member.key() == key;
            let repeats = rest[1..].iter().take_while(repeats).count();
            let (same, after) = rest.split_at(1 + repeats);
            rest = after;
            let record = record.map(|record| (record, bucket.ledger.is_pending(record)));
            if repeats == 0 {
                self.refined.clear();
                if !(self.refine)(first, &mut self.refined) {
                    self.plan.counts.dropped += 1;
                    record.map_or(Ok(()), |(record, pending)| self.gone(record, pending))?;
                    continue;
                }
                let refined = std::mem::take(&mut self.refined);
                let member = refined.last().unwrap_or(first.member);
                debug_assert!(member.key() == key, "refining keeps the key");
                if self.wanted(first.group, member, record)? {
                    self.covered.set(self.first_row + row.number());
                }
                self.refined = refined;
            } else {
                let rows = same.iter().map(|row| row.read(&bucket.target));
                self.several(key, rows, record, |merge| {
                    same.iter().for_each(|row| merge.covered.set(merge.first_row + row.number()));
                })?;
            }
        }
        while let Some(record) = records.next_if(|_| true) {
            self.gone(record, bucket.ledger.is_pending(record))?;
        }
        Ok(())
    }

    /// Several rows of one key: the first one's consent and names, everybody's e-mails, phones and mobile ids.
    fn several<'a>(
        &mut self,
        key: MemberKey,
        rows: impl Iterator<Item = TargetRow<'a>>,
        record: Option<(MemberRef<'_>, bool)>,
        cover: impl Fn(&mut Self),
    ) -> Result<()> {
        let mut joined = std::mem::take(&mut self.joined);
        let mut group = None;
        let mut complete = true;
        self.plan.counts.duplicates += rows.size_hint().0.saturating_sub(1) as u64;
        joined.clear();
        for row in rows {
            self.refined.clear();
            if !(self.refine)(row, &mut self.refined) {
                self.plan.counts.dropped += 1;
                continue;
            }
            let member = self.refined.last().unwrap_or(row.member);
            debug_assert!(member.key() == key, "refining keeps the key");
            match group {
                None => {
                    group = Some(row.group);
                    joined.push_member(member, 0, 0);
                }
                // Under another consent the identifiers may not travel with the first row's.
                Some(group) if group != row.group => complete = false,
                Some(_) => {
                    join(joined.last().expect("pushed before"), member, 0, 0, &mut self.scratch);
                    std::mem::swap(&mut joined, &mut self.scratch);
                    let all = joined.last().expect("just joined");
                    complete &= anchors(member).all(|identifier| has(all, identifier));
                }
            }
        }
        match group {
            None => record.map_or(Ok(()), |(record, pending)| self.gone(record, pending))?,
            Some(group) => {
                let member = joined.last().expect("pushed before");
                if self.wanted(group, member, record)? && complete {
                    cover(self);
                }
            }
        }
        self.joined = joined;
        Ok(())
    }

    /// The member has a record and is not in the target.
    fn gone(&mut self, record: MemberRef<'_>, pending: bool) -> Result<()> {
        // While a verdict may yet bring back what was on the platform, a removal is the safe way.
        if record.ledger_bits() == REJECTED && !pending {
            self.scratch.clear();
            self.scratch.push_member(record, 0, 0);
            return self.plan.forget(self.scratch.last().expect("just pushed"));
        }
        self.candidates.gone(record, pending)
    }

    /// The member is in the target; `record` with whether it is pending. Returns whether the record answers for
    /// all identifiers of the member.
    fn wanted(&mut self, group: u8, member: MemberRef<'_>, record: Option<(MemberRef<'_>, bool)>) -> Result<bool> {
        let Some((record, pending)) = record else {
            self.plan.counts.add += 1;
            self.plan.add(group, member)?;
            return Ok(false);
        };
        let change = Change::between(record, member);
        let bits = record.ledger_bits();
        if bits == REJECTED {
            if change.any() || self.options.retry_rejected {
                self.plan.counts.add += 1;
                self.plan.add(group, member)?;
            } else {
                self.plan.counts.rejected_kept += 1;
            }
            return Ok(false);
        }
        let age = self.options.today.saturating_sub(record.day());
        let later = if change.gained
            || change.details
            || bits == UNCERTAIN
            || (bits & REJECTED != 0 && self.options.retry_rejected)
        {
            Later::Add
        } else if bits & REJECTED != 0 {
            Later::StayRejected
        } else if self.options.renew_all || self.options.renew_after_days.is_some_and(|days| age > days) {
            Later::Refresh
        } else {
            Later::Keep
        };
        if change.lost {
            if anchors(record).next().is_some() {
                let kept = |kind, value: ValueRef<'_>| !is_anchor(kind) || has(member, (kind, value));
                without(record, 0, 0, &mut self.scratch, kept);
            } else {
                self.scratch.clear();
                self.scratch.push_member(record, 0, 0);
            }
            let lost = self.scratch.last().expect("just encoded");
            self.candidates.lost(lost, pending, later, group, member)?;
        } else {
            later.put(&mut self.plan, group, member)?;
        }
        Ok(!change.gained && !pending)
    }
}

/// How the target's member differs from the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    gained: bool,
    lost: bool,
    /// Names or places differ.
    details: bool,
}

impl Change {
    fn between(record: MemberRef<'_>, member: MemberRef<'_>) -> Self {
        if record.payload() == member.payload() {
            return Self { gained: false, lost: false, details: false };
        }
        let details =
            |member| MemberRef::identifiers(member).filter(|(kind, _): &(IdentifierKind, _)| !is_anchor(*kind));
        let details = !details(record).eq(details(member));
        let gained = anchors(member).any(|identifier| !has(record, identifier));
        let lost = match anchors(record).next() {
            Some(_) => anchors(record).any(|identifier| !has(member, identifier)),
            // Found by names and places together: with others it is found no more.
            None => gained || details,
        };
        Self { gained, lost, details }
    }
    fn any(self) -> bool {
        self.gained || self.lost || self.details
    }
}

impl LedgerError {
    /// For temporary files.
    pub(super) fn spill(temp: &Path) -> impl FnOnce(std::io::Error) -> Self {
        Self::io("use a temporary file in", temp)
    }
}
