//! The target: the members an audience should have now, scattered to temporary buckets as they are prepared.

use std::path::{Path, PathBuf};

use reveil_sdk::MemberRef;

use super::base::bucket_of;
use super::consent::MAX_GROUPS;
use super::effective::bits_for;
use super::error::{LedgerError, Result};
use super::spill::{Spill, SpillWriter};

const HEAD: usize = 7;
/// What a row with one e-mail and one phone takes; the guess from which the number of buckets is chosen.
const USUAL_ROW_BYTES: u64 = (HEAD + 80) as u64;

/// A prepared row of the segment.
#[derive(Debug, Clone, Copy)]
pub struct TargetRow<'a> {
    /// Row number within the run.
    pub index: u32,
    /// Consent group; see [`consent`](super::consent).
    pub group: u8,
    /// Which of the row's e-mail (phone) columns are present in the member: bit i for column i, in encoding order.
    pub email_slots: u8,
    pub phone_slots: u8,
    pub member: MemberRef<'a>,
}

impl<'a> TargetRow<'a> {
    /// The row at the start of `bytes`, and its length.
    pub(super) fn read(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let member = MemberRef::read(rest)?;
        let index = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let row = Self { index, group: head[4], email_slots: head[5], phone_slots: head[6], member };
        Some((row, HEAD + member.bytes().len()))
    }
}

/// Takes rows in any order.
#[derive(Debug)]
pub struct TargetWriter {
    dir: PathBuf,
    spill: SpillWriter,
    bits: u32,
    rows: u64,
}

impl TargetWriter {
    /// `dir` holds the temporary file; `expected_rows` need not be exact.
    pub fn create(dir: &Path, expected_rows: u64) -> Result<Self> {
        Self::with_bits(dir, bits_for(expected_rows * USUAL_ROW_BYTES))
    }
    fn with_bits(dir: &Path, bits: u32) -> Result<Self> {
        let spill = SpillWriter::create(dir, 1 << bits).map_err(LedgerError::io("make a temporary file in", dir))?;
        Ok(Self { dir: dir.to_path_buf(), spill, bits, rows: 0 })
    }
    pub fn push(&mut self, row: &TargetRow<'_>) -> Result<()> {
        assert!(usize::from(row.group) < MAX_GROUPS, "consent groups go up to {MAX_GROUPS}");
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&row.index.to_le_bytes());
        head[4..].copy_from_slice(&[row.group, row.email_slots, row.phone_slots]);
        let bucket = bucket_of(&row.member.key(), self.bits);
        self.rows += 1;
        let pushed = self.spill.push(bucket, &[&head, row.member.bytes()]);
        pushed.map_err(LedgerError::io("write a temporary file in", &self.dir))
    }
    pub fn finish(self) -> Result<Target> {
        let spill = self.spill.finish().map_err(LedgerError::io("write a temporary file in", &self.dir))?;
        Ok(Target { dir: self.dir, spill, bits: self.bits, rows: self.rows })
    }
}

/// All rows, in buckets by key. Gone from the disk when dropped.
#[derive(Debug)]
pub struct Target {
    dir: PathBuf,
    spill: Spill,
    pub(super) bits: u32,
    rows: u64,
}

impl Target {
    pub fn rows(&self) -> u64 {
        self.rows
    }
    /// Number of buckets; a row's is chosen by the leading bits of its key.
    pub(crate) fn buckets(&self) -> usize {
        self.spill.parts()
    }
    /// Shows every row of a bucket, in the order they came. `chunk` is scratch.
    pub(crate) fn each(&self, bucket: usize, chunk: &mut Vec<u8>, mut show: impl FnMut(TargetRow<'_>)) -> Result<()> {
        for index in 0.. {
            if !self.read_chunk(bucket, index, chunk)? {
                break;
            }
            let mut rest = chunk.as_slice();
            while let Some((row, length)) = TargetRow::read(rest) {
                show(row);
                rest = &rest[length..];
            }
        }
        Ok(())
    }
    /// Bytes of the largest bucket.
    pub(super) fn largest(&self) -> u64 {
        (0..self.spill.parts()).map(|bucket| self.spill.bytes(bucket)).max().unwrap_or(0)
    }
    pub(super) fn bytes(&self) -> u64 {
        (0..self.spill.parts()).map(|bucket| self.spill.bytes(bucket)).sum()
    }
    pub(super) fn read(&self, bucket: usize, out: &mut Vec<u8>) -> Result<()> {
        self.spill.read(bucket, out).map_err(LedgerError::io("read a temporary file in", &self.dir))
    }
    /// Chunk `index` of the bucket; false after the last.
    pub(super) fn read_chunk(&self, bucket: usize, index: usize, out: &mut Vec<u8>) -> Result<bool> {
        self.spill.read_chunk(bucket, index, out).map_err(LedgerError::io("read a temporary file in", &self.dir))
    }
    /// The same rows in the same order, cut finer.
    pub(super) fn recut(&self, bits: u32) -> Result<Self> {
        let mut writer = TargetWriter::with_bits(&self.dir, bits)?;
        let mut chunk = Vec::new();
        for bucket in 0..self.spill.parts() {
            let mut index = 0;
            while self.read_chunk(bucket, index, &mut chunk)? {
                index += 1;
                let mut at = 0;
                while at < chunk.len() {
                    let (row, length) = TargetRow::read(&chunk[at..]).expect("chunks hold whole rows");
                    writer.push(&row)?;
                    at += length;
                }
            }
        }
        writer.finish()
    }
}
