//! The journal: what was sent and what became of it, appended and flushed before the call returns.
//!
//! ```text
//! frame   = length u32 | crc32 u32 | payload
//! payload = kind u8 | …          (integers little-endian; see `Frame`)
//! ```
//! Every frame is on the disk before the next is begun, so a crash can only leave the last one torn. A frame that
//! is wrong with a sound one behind it is damage, and an error.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use reveil_sdk::{Batch, Consent, Operation};

use super::consent;
use super::disk;
use super::error::{LedgerError, Result};
use super::shared::{Appender, Writer};

const FRAME_HEAD: usize = 8;
/// No batch comes near; a longer length is not one.
const MAX_FRAME_BYTES: u32 = 1 << 30;

const INTEND: u8 = 1;
const ACCEPT: u8 = 2;
const FAIL: u8 = 3;
const VERDICT: u8 = 4;
const FORGET: u8 = 5;
const UNKNOWN: u8 = 6;
// Only in shared stores:
const OPEN: u8 = 7;
const SEAL: u8 = 8;
const REPLACE: u8 = 9;

/// What an entry does to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Send(Operation, Consent),
    /// Local: nothing was sent.
    Forget,
}

/// Where an entry stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Status {
    /// Intended by this process, no answer yet.
    InFlight,
    /// The answer will never be known.
    Uncertain,
    /// The platform took it; with a ticket it has not yet said the last word.
    Accepted { at: i64, ticket: Option<String>, rejected: Vec<u32> },
    /// Surely not applied.
    Failed,
}

impl Status {
    /// Nothing can change it any more.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::InFlight => false,
            Self::Accepted { ticket, .. } => ticket.is_none(),
            Self::Uncertain | Self::Failed => true,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) action: Action,
    pub(crate) members: u32,
    pub(crate) status: Status,
    /// Where its members lie in the file.
    at: u64,
    bytes: u32,
}

#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    end: u64,
    /// In the order of the file.
    pub(crate) entries: Vec<Entry>,
    positions: BTreeMap<u64, usize>,
    pub(crate) next_seq: u64,
    /// Of everything before the end.
    sum: crc32fast::Hasher,
    /// Where every frame has to be before it counts; without, the file is what counts.
    pub(super) appender: Option<Appender>,
    /// Nobody may append any more: its generation is being followed by another. In shared stores.
    pub(crate) sealed: bool,
    /// A swap was begun and is not whole. In shared stores.
    pub(crate) replacing: bool,
}

impl Journal {
    pub(crate) fn create(path: PathBuf, next_seq: u64) -> Result<Self> {
        let file = disk::create(&path)?;
        Ok(Self::empty(path, file, next_seq))
    }
    fn empty(path: PathBuf, file: File, next_seq: u64) -> Self {
        Self {
            path,
            file,
            end: 0,
            entries: Vec::new(),
            positions: BTreeMap::new(),
            next_seq,
            sum: crc32fast::Hasher::new(),
            appender: None,
            sealed: false,
            replacing: false,
        }
    }
    /// Reads and checks all frames. What an earlier process left in flight is uncertain now. With `repair` a torn
    /// tail is cut off; otherwise the file is only read.
    pub(crate) fn open(path: PathBuf, next_seq: u64, repair: bool) -> Result<Self> {
        let file =
            std::fs::OpenOptions::new().read(true).write(repair).open(&path).map_err(LedgerError::io("open", &path))?;
        let length = file.metadata().map_err(LedgerError::io("read", &path))?.len();
        let mut journal = Self::empty(path, file, next_seq);
        let mut payload = Vec::new();
        while journal.end < length {
            let at = journal.end;
            let Some(frame_bytes) = journal.read_frame(at, length, &mut payload)? else {
                journal.check_tail(at, length)?;
                if repair {
                    disk::truncate(&journal.file, &journal.path, at)?;
                }
                break;
            };
            journal.replay(&payload, at).ok_or_else(|| journal.damaged(at))?;
            journal.end += frame_bytes;
        }
        journal.abandon_in_flight();
        Ok(journal)
    }
    /// Whoever was to write the answers is gone.
    pub(super) fn abandon_in_flight(&mut self) {
        for entry in &mut self.entries {
            if entry.status == Status::InFlight {
                entry.status = Status::Uncertain;
            }
        }
    }
    /// A copy of a shared journal, as far as it is sound and up to the last of `bounds`: where objects in the store
    /// begin. The rest is cut off; a copy that ends between two of them is emptied.
    pub(super) fn open_copy(path: PathBuf, next_seq: u64, replacing: bool, bounds: &[u64]) -> Result<Self> {
        let file = match File::options().read(true).write(true).open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => disk::create(&path)?,
            opened => opened.map_err(LedgerError::io("open", &path))?,
        };
        let length = file.metadata().map_err(LedgerError::io("read", &path))?.len();
        let length = length.min(bounds.last().copied().unwrap_or(0));
        let mut journal = Self { replacing, ..Self::empty(path, file, next_seq) };
        let mut payload = Vec::new();
        while journal.end < length {
            let Some(frame_bytes) = journal.read_frame(journal.end, length, &mut payload)? else { break };
            if journal.replay(&payload, journal.end).is_none() {
                break;
            }
            journal.add_to_sum(&payload);
            journal.end += frame_bytes;
        }
        if bounds.binary_search(&journal.end).is_err() {
            return Ok(Self { replacing, ..Self::create(journal.path, next_seq)? });
        }
        disk::truncate(&journal.file, &journal.path, journal.end)?;
        Ok(journal)
    }
    /// Takes over frames from the store, which follow on a journal of the checksum `before`. False when this is another.
    pub(super) fn extend(&mut self, before: u32, frames: &[u8]) -> Result<bool> {
        if before != self.sum.clone().finalize() {
            return Ok(false);
        }
        let start = self.end;
        let end = start + frames.len() as u64;
        disk::write_at(&self.file, &self.path, frames, start)?;
        let mut payload = Vec::new();
        while self.end < end {
            let at = self.end;
            let frame_bytes = self.read_frame(at, end, &mut payload)?.ok_or_else(|| self.damaged(at))?;
            self.replay(&payload, at).ok_or_else(|| self.damaged(at))?;
            self.end += frame_bytes;
        }
        self.sum.update(frames);
        Ok(true)
    }
    /// Hands out the frames in parts of at most `most` bytes (but at least a frame each): where each begins, the checksum
    /// of all before it, its bytes.
    pub(super) fn parts(&self, most: u64, mut take: impl FnMut(u64, u32, &[u8]) -> Result<()>) -> Result<()> {
        let mut sum = crc32fast::Hasher::new();
        let (mut start, mut end) = (0, 0);
        while start < self.end {
            let mut head = [0; 4];
            if end < self.end {
                self.file.read_exact_at(&mut head, end).map_err(LedgerError::io("read", &self.path))?;
            }
            let next = end + FRAME_HEAD as u64 + u64::from(u32::from_le_bytes(head));
            if end < self.end && (end == start || next - start <= most) {
                end = next;
                continue;
            }
            let mut part = vec![0; (end - start) as usize];
            self.file.read_exact_at(&mut part, start).map_err(LedgerError::io("read", &self.path))?;
            take(start, sum.clone().finalize(), &part)?;
            sum.update(&part);
            start = end;
        }
        Ok(())
    }
    /// Length of the frame at `at` with its payload in `payload`; `None` when there is no sound frame.
    fn read_frame(&self, at: u64, length: u64, payload: &mut Vec<u8>) -> Result<Option<u64>> {
        let mut head = [0; FRAME_HEAD];
        if length - at < FRAME_HEAD as u64 {
            return Ok(None);
        }
        self.file.read_exact_at(&mut head, at).map_err(LedgerError::io("read", &self.path))?;
        let bytes = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let total = FRAME_HEAD as u64 + u64::from(bytes);
        if bytes == 0 || bytes > MAX_FRAME_BYTES || length - at < total {
            return Ok(None);
        }
        payload.resize(bytes as usize, 0);
        self.file.read_exact_at(payload, at + FRAME_HEAD as u64).map_err(LedgerError::io("read", &self.path))?;
        Ok((crc32fast::hash(payload).to_le_bytes() == head[4..]).then_some(total))
    }
    /// # Errors
    /// When a sound frame follows the broken one at `at`.
    fn check_tail(&self, at: u64, length: u64) -> Result<()> {
        if length - at < FRAME_HEAD as u64 {
            return Ok(());
        }
        let mut head = [0; 4];
        self.file.read_exact_at(&mut head, at).map_err(LedgerError::io("read", &self.path))?;
        let next = at + FRAME_HEAD as u64 + u64::from(u32::from_le_bytes(head));
        if next < length && self.read_frame(next, length, &mut Vec::new())?.is_some() {
            return Err(self.damaged(at));
        }
        Ok(())
    }
    /// Applies a frame that is in the file already. `None` when its content makes no sense.
    fn replay(&mut self, payload: &[u8], at: u64) -> Option<()> {
        let mut read = Fields(payload);
        let kind = read.u8()?;
        match kind {
            OPEN => return Some(()),
            SEAL => {
                self.sealed = true;
                return Some(());
            }
            REPLACE => {
                self.replacing = read.u8()? != 0;
                return Some(());
            }
            _ => {}
        }
        if kind == FORGET || kind == INTEND {
            let seq = read.u64()?;
            let action = if kind == FORGET {
                Action::Forget
            } else {
                let operation = if read.u8()? == 0 { Operation::Add } else { Operation::Remove };
                Action::Send(operation, consent::from_group(read.u8()?))
            };
            let members = read.u32()?;
            let status = if kind == FORGET {
                Status::Accepted { at: 0, ticket: None, rejected: Vec::new() }
            } else {
                Status::InFlight
            };
            let start = at + (FRAME_HEAD + payload.len() - read.0.len()) as u64;
            self.positions.insert(seq, self.entries.len());
            self.entries.push(Entry { seq, action, members, status, at: start, bytes: read.0.len() as u32 });
            self.next_seq = self.next_seq.max(seq + 1);
            return Some(());
        }
        let position = *self.positions.get(&read.u64()?)?;
        let entry = &mut self.entries[position];
        match kind {
            ACCEPT => {
                let at = read.u64()?.cast_signed();
                let ticket = match read.u8()? {
                    0 => None,
                    _ => Some(String::from_utf8(read.sized()?.to_vec()).ok()?),
                };
                entry.status = Status::Accepted { at, ticket, rejected: read.indices()? };
            }
            FAIL => entry.status = Status::Failed,
            UNKNOWN => entry.status = Status::Uncertain,
            VERDICT => {
                if read.u8()? != 0 {
                    entry.status = Status::Failed;
                } else if let Status::Accepted { ticket, rejected, .. } = &mut entry.status {
                    *ticket = None;
                    rejected.extend(read.indices()?);
                    rejected.sort_unstable();
                    rejected.dedup();
                }
            }
            _ => return None,
        }
        Some(())
    }
    /// Writes one frame, makes it durable, and only then believes it.
    fn append(&mut self, payload: &[u8]) -> Result<()> {
        let mut frame = Vec::with_capacity(FRAME_HEAD + payload.len());
        frame.extend_from_slice(&frame_head(payload));
        frame.extend_from_slice(payload);
        match &mut self.appender {
            Some(appender) => {
                appender.put(self.end, self.sum.clone().finalize(), &frame)?;
                disk::write_at(&self.file, &self.path, &frame, self.end)?;
            }
            None => {
                disk::write_at(&self.file, &self.path, &frame, self.end)?;
                disk::sync(&self.file, &self.path)?;
            }
        }
        self.replay(payload, self.end).expect("a frame just made reads back");
        self.sum.update(&frame);
        self.end += frame.len() as u64;
        Ok(())
    }
    fn add_to_sum(&mut self, payload: &[u8]) {
        self.sum.update(&frame_head(payload));
        self.sum.update(payload);
    }
    /// From here on the journal is this writer's.
    pub(super) fn claim(&mut self, writer: Writer) -> Result<()> {
        self.append(&[&[OPEN], &writer.0[..]].concat())
    }
    /// The last frame of a generation.
    pub(super) fn seal(&mut self) -> Result<()> {
        self.append(&[SEAL])
    }
    pub(super) fn replace(&mut self, begun: bool) -> Result<()> {
        self.append(&[REPLACE, u8::from(begun)])
    }
    pub(crate) fn intend(&mut self, batch: &Batch) -> Result<u64> {
        let seq = self.next_seq;
        let mut payload = Vec::with_capacity(32 + batch.byte_len());
        payload.push(INTEND);
        payload.extend_from_slice(&seq.to_le_bytes());
        payload.push(u8::from(batch.operation == Operation::Remove));
        payload.push(consent::group(batch.consent));
        payload.extend_from_slice(&(batch.len() as u32).to_le_bytes());
        payload.extend_from_slice(batch.bytes());
        self.append(&payload)?;
        Ok(seq)
    }
    pub(crate) fn forget(&mut self, batch: &Batch) -> Result<()> {
        let mut payload = Vec::with_capacity(32 + batch.byte_len());
        payload.push(FORGET);
        payload.extend_from_slice(&self.next_seq.to_le_bytes());
        payload.extend_from_slice(&(batch.len() as u32).to_le_bytes());
        payload.extend_from_slice(batch.bytes());
        self.append(&payload)
    }
    pub(crate) fn accept(&mut self, seq: u64, at: DateTime<Utc>, ticket: Option<&str>, rejected: &[u32]) -> Result<()> {
        let mut payload = vec![ACCEPT];
        payload.extend_from_slice(&seq.to_le_bytes());
        payload.extend_from_slice(&at.timestamp().to_le_bytes());
        payload.push(u8::from(ticket.is_some()));
        if let Some(ticket) = ticket {
            payload.extend_from_slice(&(ticket.len() as u32).to_le_bytes());
            payload.extend_from_slice(ticket.as_bytes());
        }
        push_indices(&mut payload, rejected);
        self.append(&payload)
    }
    pub(crate) fn fail(&mut self, seq: u64) -> Result<()> {
        self.append(&[&[FAIL], &seq.to_le_bytes()[..]].concat())
    }
    pub(crate) fn unknown(&mut self, seq: u64) -> Result<()> {
        self.append(&[&[UNKNOWN], &seq.to_le_bytes()[..]].concat())
    }
    /// `None` when nothing of the batch was applied.
    pub(crate) fn verdict(&mut self, seq: u64, rejected: Option<&[u32]>) -> Result<()> {
        let mut payload = vec![VERDICT];
        payload.extend_from_slice(&seq.to_le_bytes());
        payload.push(u8::from(rejected.is_none()));
        push_indices(&mut payload, rejected.unwrap_or_default());
        self.append(&payload)
    }
    pub(crate) fn entry(&self, seq: u64) -> Option<&Entry> {
        Some(&self.entries[*self.positions.get(&seq)?])
    }
    /// The members of an entry.
    pub(crate) fn batch(&self, entry: &Entry) -> Result<Batch> {
        let mut bytes = vec![0; entry.bytes as usize];
        self.file.read_exact_at(&mut bytes, entry.at).map_err(LedgerError::io("read", &self.path))?;
        let (operation, consent) = match entry.action {
            Action::Send(operation, consent) => (operation, consent),
            Action::Forget => (Operation::Remove, Consent::UNKNOWN),
        };
        Batch::from_bytes(operation, consent, bytes).map_err(|at| self.damaged(entry.at + at as u64))
    }
    /// Writes the entries from `first` on to a new journal, as they stand.
    pub(crate) fn copy_tail(&self, first: usize, path: PathBuf) -> Result<Self> {
        let mut copy = Self::create(path, self.next_seq)?;
        for entry in &self.entries[first..] {
            let batch = self.batch(entry)?;
            copy.next_seq = entry.seq;
            match entry.action {
                Action::Forget => copy.forget(&batch)?,
                Action::Send(..) => {
                    copy.intend(&batch)?;
                }
            }
            match &entry.status {
                _ if entry.action == Action::Forget => {}
                Status::InFlight => {}
                Status::Uncertain => copy.unknown(entry.seq)?,
                Status::Failed => copy.fail(entry.seq)?,
                Status::Accepted { at, ticket, rejected } => {
                    let at = DateTime::from_timestamp(*at, 0).unwrap_or_default();
                    copy.accept(entry.seq, at, ticket.as_deref(), rejected)?;
                }
            }
        }
        copy.next_seq = self.next_seq;
        copy.replacing = self.replacing;
        // An empty copy has flushed nothing yet.
        disk::sync(&copy.file, &copy.path)?;
        Ok(copy)
    }
    pub(crate) fn bytes(&self) -> u64 {
        self.end
    }
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
    fn damaged(&self, at: u64) -> LedgerError {
        LedgerError::Damaged { path: self.path.clone(), at }
    }
}

fn frame_head(payload: &[u8]) -> [u8; FRAME_HEAD] {
    let mut head = [0; FRAME_HEAD];
    head[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    head[4..].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
    head
}

fn push_indices(payload: &mut Vec<u8>, indices: &[u32]) {
    payload.extend_from_slice(&(indices.len() as u32).to_le_bytes());
    for index in indices {
        payload.extend_from_slice(&index.to_le_bytes());
    }
}

/// Reads fields off the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }
    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }
    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
    fn sized(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }
    fn indices(&mut self) -> Option<Vec<u32>> {
        let count = self.u32()?;
        (0..count).map(|_| self.u32()).collect()
    }
}
