//! The base: all records at one generation, sorted by key, in one file.
//!
//! ```text
//! records | 4096 × (end u64, crc32 u32) | held u64, uncertain u64, rejected u64 | crc32 of the index | magic
//! ```
//! The index cuts the records by the leading 12 bits of the key, so that a reader takes them in any power of two
//! of buckets up to 4096, whatever was chosen when they were written. One file, not one per bucket: it becomes
//! valid all at once, when the manifest names it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use reveil_sdk::{MemberKey, MemberRef};

use super::disk;
use super::error::{LedgerError, Result};
use super::record::{REJECTED, UNCERTAIN};

/// Finest cut: 2^12 buckets.
pub(crate) const MAX_BITS: u32 = 12;
const PARTS: usize = 1 << MAX_BITS;
const MAGIC: &[u8; 8] = b"RVLBASE1";
const INDEX_BYTES: usize = PARTS * 12 + 24;
const FOOTER_BYTES: usize = INDEX_BYTES + 4 + MAGIC.len();
const WRITE_BYTES: usize = 1 << 20;

/// The bucket a key belongs to when keys are cut by their `bits` leading bits.
pub(crate) fn bucket_of(key: &MemberKey, bits: u32) -> usize {
    (u16::from_be_bytes([key.0[0], key.0[1]]) as usize) >> (16 - bits)
}

/// How many records stand how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) held: u64,
    pub(crate) uncertain: u64,
    pub(crate) rejected: u64,
}

impl Counts {
    pub(crate) fn count(&mut self, member: MemberRef<'_>) {
        let bits = member.ledger_bits();
        if bits & REJECTED != 0 {
            self.rejected += 1;
        } else if bits & UNCERTAIN != 0 {
            self.uncertain += 1;
        } else {
            self.held += 1;
        }
    }
}

#[derive(Debug)]
pub(crate) struct Base {
    path: PathBuf,
    /// A copy: the store has the truth.
    copy: bool,
    /// Absent before the first fold.
    file: Option<File>,
    ends: Vec<u64>,
    sums: Vec<u32>,
    pub(crate) counts: Counts,
}

impl Base {
    pub(crate) fn empty(path: PathBuf) -> Self {
        Self { path, copy: false, file: None, ends: vec![0; PARTS], sums: vec![0; PARTS], counts: Counts::default() }
    }
    pub(crate) fn open(path: PathBuf, copy: bool) -> Result<Self> {
        let file = File::open(&path).map_err(LedgerError::io("open", &path))?;
        let length = file.metadata().map_err(LedgerError::io("read", &path))?.len();
        let damaged = |at| damaged(&path, copy, at);
        let records = length.checked_sub(FOOTER_BYTES as u64).ok_or_else(|| damaged(0))?;
        let mut footer = vec![0; FOOTER_BYTES];
        file.read_exact_at(&mut footer, records).map_err(LedgerError::io("read", &path))?;
        let (index, tail) = footer.split_at(INDEX_BYTES);
        if tail[4..] != *MAGIC || tail[..4] != crc32fast::hash(index).to_le_bytes() {
            return Err(damaged(records));
        }
        let (parts, counts) = index.split_at(PARTS * 12);
        let mut base = Self { copy, ..Self::empty(path.clone()) };
        for (part, entry) in parts.as_chunks::<12>().0.iter().enumerate() {
            let (end, sum) = entry.split_at(8);
            base.ends[part] = u64::from_le_bytes(end.try_into().expect("8 bytes"));
            base.sums[part] = u32::from_le_bytes(sum.try_into().expect("4 bytes"));
        }
        let [held, uncertain, rejected] = [0, 1, 2].map(|i| u64::from_le_bytes(counts.as_chunks::<8>().0[i]));
        base.counts = Counts { held, uncertain, rejected };
        if base.ends[PARTS - 1] != records || !base.ends.is_sorted() {
            return Err(damaged(records));
        }
        base.file = Some(file);
        Ok(base)
    }
    /// Bytes of all records.
    pub(crate) fn bytes(&self) -> u64 {
        self.ends[PARTS - 1]
    }
    /// Replaces `out` by the records of a bucket, checked.
    pub(crate) fn read(&self, bucket: usize, bits: u32, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        let Some(file) = &self.file else { return Ok(()) };
        let width = 1 << (MAX_BITS - bits);
        let parts = bucket * width..(bucket + 1) * width;
        let start = if parts.start == 0 { 0 } else { self.ends[parts.start - 1] };
        out.resize((self.ends[parts.end - 1] - start) as usize, 0);
        file.read_exact_at(out, start).map_err(LedgerError::io("read", &self.path))?;
        let mut at = start;
        for part in parts {
            let bytes = &out[(at - start) as usize..(self.ends[part] - start) as usize];
            if crc32fast::hash(bytes) != self.sums[part] {
                return Err(self.damaged(at));
            }
            at = self.ends[part];
        }
        Ok(())
    }
    pub(crate) fn damaged(&self, at: u64) -> LedgerError {
        damaged(&self.path, self.copy, at)
    }
}

/// A damaged copy is removed, so that the next opening fetches it anew.
fn damaged(path: &Path, copy: bool, at: u64) -> LedgerError {
    let path = path.to_path_buf();
    if !copy {
        return LedgerError::Damaged { path, at };
    }
    // Left there, it would be found damaged again.
    let _ = std::fs::remove_file(&path);
    LedgerError::DamagedCopy { path, at }
}

/// Writes a base; records must come in key order.
pub(crate) struct BaseWriter {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    written: u64,
    end: u64,
    part: usize,
    ends: Vec<u64>,
    sums: Vec<crc32fast::Hasher>,
    counts: Counts,
}

impl BaseWriter {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        Ok(Self {
            path: path.to_path_buf(),
            file: disk::create(path)?,
            buffer: Vec::with_capacity(WRITE_BYTES + 4096),
            written: 0,
            end: 0,
            part: 0,
            ends: vec![0; PARTS],
            sums: vec![crc32fast::Hasher::new(); PARTS],
            counts: Counts::default(),
        })
    }
    pub(crate) fn push(&mut self, member: MemberRef<'_>) -> Result<()> {
        let part = bucket_of(&member.key(), MAX_BITS);
        debug_assert!(part >= self.part, "records come in key order");
        while self.part < part {
            self.ends[self.part] = self.end;
            self.part += 1;
        }
        self.sums[part].update(member.bytes());
        self.counts.count(member);
        self.buffer.extend_from_slice(member.bytes());
        self.end += member.bytes().len() as u64;
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }
    fn flush(&mut self) -> Result<()> {
        disk::write_at(&self.file, &self.path, &self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
    /// Writes the index and makes the file durable (its name needs a flush of the directory still).
    pub(crate) fn finish(mut self) -> Result<()> {
        let end = self.end;
        self.ends[self.part..].fill(end);
        let mut index = Vec::with_capacity(INDEX_BYTES);
        for (end, sum) in self.ends.iter().zip(&self.sums) {
            index.extend_from_slice(&end.to_le_bytes());
            index.extend_from_slice(&sum.clone().finalize().to_le_bytes());
        }
        for count in [self.counts.held, self.counts.uncertain, self.counts.rejected] {
            index.extend_from_slice(&count.to_le_bytes());
        }
        self.buffer.extend_from_slice(&index);
        self.buffer.extend_from_slice(&crc32fast::hash(&index).to_le_bytes());
        self.buffer.extend_from_slice(MAGIC);
        self.flush()?;
        disk::sync(&self.file, &self.path)
    }
}
