//! The effective state: the base with the journal applied, bucket by bucket, so that memory stays bounded by one
//! bucket whatever the journal holds.

use reveil_sdk::{MemberKey, MemberRef, Operation};

use super::base::{Base, MAX_BITS, bucket_of};
use super::error::{LedgerError, Result};
use super::journal::{Action, Entry, Journal, Status};
use super::record::{Effect, RecordState};
use super::spill::{Spill, SpillWriter};

/// Most bytes one bucket should have. Some eight of them are in memory at a time.
pub(crate) const BUCKET_BYTES: u64 = if cfg!(test) { 256 } else { 8 << 20 };
const PENDING: u8 = 0x80;
const OP_HEAD: usize = 3;

/// Bits of the key to cut `bytes` by, so that a bucket stays near `BUCKET_BYTES`.
pub(crate) fn bits_for(bytes: u64) -> u32 {
    bytes.div_ceil(BUCKET_BYTES).max(1).next_power_of_two().trailing_zeros().min(MAX_BITS)
}

/// Days since 2020-01-01 of a time in seconds since 1970.
pub fn day_of(timestamp: i64) -> u16 {
    const DAYS_1970_TO_2020: i64 = 18_262;
    (timestamp.div_euclid(86_400) - DAYS_1970_TO_2020).clamp(0, i64::from(u16::MAX)) as u16
}

/// A bucket's records in key order.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    pub(crate) records: Vec<u8>,
    /// Keys, sorted, of records whose last word is not spoken: a verdict may undo what was done to them.
    pub(crate) pending: Vec<MemberKey>,
    base: Vec<u8>,
    ops: Vec<u8>,
}

impl Bucket {
    /// Whether a verdict may yet change the record.
    pub(crate) fn is_pending(&self, record: MemberRef<'_>) -> bool {
        !self.pending.is_empty() && self.pending.binary_search(&record.key()).is_ok()
    }
}

/// The base and the scattered effects of journal entries.
#[derive(Debug)]
pub(crate) struct Effective<'a> {
    base: &'a Base,
    ops: Option<Spill>,
    pub(crate) bits: u32,
}

impl<'a> Effective<'a> {
    /// The state after the `entries`, cut by at least `min_bits` bits.
    pub(crate) fn new(
        base: &'a Base,
        journal: &Journal,
        entries: &[Entry],
        temp: &std::path::Path,
        min_bits: u32,
    ) -> Result<Self> {
        let bits = bits_for(base.bytes() + journal.bytes()).max(min_bits);
        let mut effective = Self { base, ops: None, bits };
        if entries.is_empty() {
            return Ok(effective);
        }
        let write = |error| LedgerError::io("write a temporary file in", temp)(error);
        let mut ops = SpillWriter::create(temp, 1 << bits).map_err(write)?;
        for entry in entries {
            if entry.status == Status::Failed {
                continue;
            }
            let batch = journal.batch(entry)?;
            for (index, member) in batch.iter().enumerate() {
                let Some((effect, day, pending)) = effect_of(entry, index as u32) else { continue };
                let head =
                    [effect as u8 | if pending { PENDING } else { 0 }, day.to_le_bytes()[0], day.to_le_bytes()[1]];
                ops.push(bucket_of(&member.key(), bits), &[&head, member.bytes()]).map_err(write)?;
            }
        }
        effective.ops = Some(ops.finish().map_err(write)?);
        Ok(effective)
    }
    pub(crate) fn buckets(&self) -> usize {
        1 << self.bits
    }
    pub(crate) fn read(&self, bucket: usize, temp: &std::path::Path, out: &mut Bucket) -> Result<()> {
        out.pending.clear();
        match &self.ops {
            Some(ops) if ops.bytes(bucket) > 0 => {
                self.base.read(bucket, self.bits, &mut out.base)?;
                ops.read(bucket, &mut out.ops).map_err(LedgerError::io("read a temporary file in", temp))?;
                merge(out).ok_or_else(|| self.base.damaged(0))
            }
            _ => self.base.read(bucket, self.bits, &mut out.records),
        }
    }
}

/// What an entry does to its member `index`: effect, day, whether it may be undone. `None`: nothing.
fn effect_of(entry: &Entry, index: u32) -> Option<(Effect, u16, bool)> {
    let operation = match entry.action {
        Action::Forget => return Some((Effect::Removed, 0, false)),
        Action::Send(operation, _) => operation,
    };
    match (&entry.status, operation) {
        (Status::Failed, _) => None,
        (Status::InFlight | Status::Uncertain, Operation::Add) => Some((Effect::AddUncertain, 0, false)),
        (Status::InFlight | Status::Uncertain, Operation::Remove) => Some((Effect::RemoveUncertain, 0, false)),
        (Status::Accepted { at, ticket, rejected }, operation) => {
            let rejected = rejected.binary_search(&index).is_ok();
            match operation {
                Operation::Add => {
                    let effect = if rejected { Effect::AddRejected } else { Effect::Added };
                    Some((effect, day_of(*at), ticket.is_some()))
                }
                Operation::Remove => (!rejected).then_some((Effect::Removed, 0, ticket.is_some())),
            }
        }
    }
}

/// `None` when the bytes are not records.
fn merge(bucket: &mut Bucket) -> Option<()> {
    bucket.records.clear();
    bucket.records.reserve_exact(bucket.base.len() + bucket.ops.len());
    let mut ops = Vec::new();
    let mut at = 0;
    while at < bucket.ops.len() {
        let member = MemberRef::read(&bucket.ops[at + OP_HEAD..])?;
        ops.push((member.key(), at));
        at += OP_HEAD + member.bytes().len();
    }
    // Position breaks ties: entries apply in their order.
    ops.sort_unstable();
    let mut state = RecordState::default();
    let mut base = bucket.base.as_slice();
    for group in ops.chunk_by(|a, b| a.0 == b.0) {
        let key = group[0].0;
        let mut own = None;
        while let Some(record) = MemberRef::read(base).filter(|record| record.key() <= key) {
            base = &base[record.bytes().len()..];
            if record.key() == key {
                own = Some(record);
            } else {
                bucket.records.extend_from_slice(record.bytes());
            }
        }
        state.reset(own);
        for (_, at) in group {
            let [code, low, high] = *bucket.ops[*at..].first_chunk()?;
            let member = MemberRef::read(&bucket.ops[at + OP_HEAD..])?;
            let day = u16::from_le_bytes([low, high]);
            state.apply(Effect::from_code(code & !PENDING)?, member, day, code & PENDING != 0);
        }
        if let Some(record) = state.get() {
            bucket.records.extend_from_slice(record.bytes());
            if state.pending {
                bucket.pending.push(key);
            }
        }
    }
    bucket.records.extend_from_slice(base);
    Some(())
}
