//! The file of assignments.
//!
//! ```text
//! magic | 30-byte records in key order: key 12, day u16, arm bit and planned share u32, unit 12 | count u64 | crc32 of
//! all before
//! ```
//! Little-endian. Files from before units were recorded lack the last 12 bytes; every customer is a unit there. Written beside itself and renamed, so that a reader finds the old or the new one.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use reveil_sdk::MemberKey;

use super::{Arm, AssignmentError, PLANNED_SCALE, Record};

const MAGIC: &[u8; 8] = b"RVLASGN2";
const RECORD: usize = 30;
const OLD_MAGIC: &[u8; 8] = b"RVLASGN1";
const OLD_RECORD: usize = 18;
const FOOTER: u64 = 12;
const ARM_BIT: u32 = 1 << 31;
const BUFFER: usize = 1 << 16;

impl Record {
    fn encode(&self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        bytes[..12].copy_from_slice(&self.key.0);
        bytes[12..14].copy_from_slice(&self.day.to_le_bytes());
        let arm = if self.arm == Arm::Holdout { ARM_BIT } else { 0 };
        bytes[14..18].copy_from_slice(&(self.planned | arm).to_le_bytes());
        bytes[18..].copy_from_slice(&self.unit.0);
        bytes
    }
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (key, rest) = bytes.split_first_chunk::<12>()?;
        let word = u32::from_le_bytes(*rest[2..].first_chunk()?);
        let planned = word & !ARM_BIT;
        (planned <= PLANNED_SCALE).then_some(Self {
            key: MemberKey(*key),
            unit: MemberKey(*rest[6..].first_chunk().unwrap_or(key)),
            arm: if word & ARM_BIT == 0 { Arm::Treated } else { Arm::Holdout },
            day: u16::from_le_bytes([rest[0], rest[1]]),
            planned,
        })
    }
}

/// Records of one file, one after another in key order. What is read is checked as far as it can be before the end:
/// [`Assignments::next`] fails on a record out of order, and at the end when the checksum does not fit.
pub struct Assignments {
    path: PathBuf,
    file: BufReader<File>,
    /// Bytes of a record.
    width: usize,
    left: u64,
    count: u64,
    last: Option<MemberKey>,
    finished: bool,
    sum: crc32fast::Hasher,
}

impl std::fmt::Debug for Assignments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assignments").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Assignments {
    /// `None` when nobody was assigned yet.
    ///
    /// # Errors
    /// The file cannot be read or is none of these.
    pub fn open(path: &Path) -> Result<Option<Self>, AssignmentError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(AssignmentError::io("open", path)(error)),
        };
        let length = file.metadata().map_err(AssignmentError::io("read", path))?.len();
        let damaged = || AssignmentError::Damaged { path: path.to_owned() };
        let records = length.checked_sub(MAGIC.len() as u64 + FOOTER).ok_or_else(damaged)?;
        let mut file = BufReader::with_capacity(BUFFER, file);
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic).map_err(AssignmentError::io("read", path))?;
        let width = if magic == *OLD_MAGIC { OLD_RECORD } else { RECORD };
        if (width == RECORD && magic != *MAGIC) || records % width as u64 != 0 {
            return Err(damaged());
        }
        let mut sum = crc32fast::Hasher::new();
        sum.update(&magic);
        let count = records / width as u64;
        Ok(Some(Self { path: path.to_owned(), file, width, left: count, count, last: None, finished: false, sum }))
    }

    /// Customers assigned.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// # Errors
    /// The file cannot be read or is damaged.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot fail this plainly")]
    pub fn next(&mut self) -> Result<Option<Record>, AssignmentError> {
        let damaged = || AssignmentError::Damaged { path: self.path.clone() };
        if self.left == 0 {
            if !self.finished {
                self.finish()?;
            }
            return Ok(None);
        }
        let mut bytes = [0; RECORD];
        let bytes = &mut bytes[..self.width];
        self.file.read_exact(bytes).map_err(AssignmentError::io("read", &self.path))?;
        self.sum.update(bytes);
        self.left -= 1;
        let record = Record::decode(bytes).filter(|record| self.last.is_none_or(|last| last.0 < record.key.0));
        let record = record.ok_or_else(damaged)?;
        self.last = Some(record.key);
        Ok(Some(record))
    }

    fn finish(&mut self) -> Result<(), AssignmentError> {
        let mut footer = [0; FOOTER as usize];
        self.file.read_exact(&mut footer).map_err(AssignmentError::io("read", &self.path))?;
        let (count, sum) = footer.split_at(8);
        self.sum.update(count);
        self.finished = true;
        let fits = sum == self.sum.clone().finalize().to_le_bytes() && count == self.count.to_le_bytes();
        if fits { Ok(()) } else { Err(AssignmentError::Damaged { path: self.path.clone() }) }
    }
}

/// Adds records to a file, making it when absent: known customers keep what is written of them. Records come in key
/// order; of equal keys the first counts.
pub struct Merger {
    path: PathBuf,
    new: PathBuf,
    out: BufWriter<File>,
    old: Option<Assignments>,
    /// The old file's next record.
    ahead: Option<Record>,
    last: Option<MemberKey>,
    count: u64,
    added: u64,
    sum: crc32fast::Hasher,
    _lock: File,
}

impl std::fmt::Debug for Merger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merger").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Merger {
    /// Waits while another process adds to the same file.
    ///
    /// # Errors
    /// Files that cannot be made or read.
    pub fn start(path: &Path) -> Result<Self, AssignmentError> {
        let create = |path: &Path| {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            options.open(path).map_err(AssignmentError::io("create", path))
        };
        let lock_path = path.with_extension("lock");
        let lock = create(&lock_path)?;
        lock.lock().map_err(AssignmentError::io("lock", &lock_path))?;
        let mut old = Assignments::open(path)?;
        let ahead = old.as_mut().map_or(Ok(None), Assignments::next)?;
        let new = path.with_extension("new");
        let out = BufWriter::with_capacity(BUFFER, create(&new)?);
        let path = path.to_owned();
        let sum = crc32fast::Hasher::new();
        let mut merger = Self { path, new, out, old, ahead, last: None, count: 0, added: 0, sum, _lock: lock };
        merger.write(MAGIC)?;
        Ok(merger)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), AssignmentError> {
        self.sum.update(bytes);
        self.out.write_all(bytes).map_err(AssignmentError::io("write", &self.new))
    }

    fn put(&mut self, record: Record) -> Result<(), AssignmentError> {
        self.last = Some(record.key);
        self.count += 1;
        self.write(&record.encode())
    }

    /// Takes the old file's next record.
    fn next_old(&mut self) -> Result<Option<Record>, AssignmentError> {
        let next = self.ahead.take();
        self.ahead = self.old.as_mut().map_or(Ok(None), Assignments::next)?;
        Ok(next)
    }

    /// Copies old records up to and including `key`.
    fn copy_old(&mut self, key: Option<MemberKey>) -> Result<(), AssignmentError> {
        while self.ahead.is_some_and(|record| key.is_none_or(|key| record.key.0 <= key.0)) {
            if let Some(record) = self.next_old()? {
                self.put(record)?;
            }
        }
        Ok(())
    }

    /// # Errors
    /// A file that cannot be written, or an old one that is damaged.
    pub fn push(&mut self, record: Record) -> Result<(), AssignmentError> {
        self.copy_old(Some(record.key))?;
        if self.last == Some(record.key) {
            return Ok(());
        }
        debug_assert!(self.last.is_none_or(|last| last.0 < record.key.0), "records come in key order");
        self.added += 1;
        self.put(record)
    }

    /// Makes the new file the valid one. Returns how many customers were added.
    ///
    /// # Errors
    /// As [`Merger::push`]; the old file then stays.
    pub fn finish(mut self) -> Result<u64, AssignmentError> {
        self.copy_old(None)?;
        self.write(&self.count.to_le_bytes())?;
        let sum = self.sum.clone().finalize();
        self.write(&sum.to_le_bytes())?;
        self.out.flush().map_err(AssignmentError::io("write", &self.new))?;
        self.out.get_ref().sync_all().map_err(AssignmentError::io("flush", &self.new))?;
        fs::rename(&self.new, &self.path).map_err(AssignmentError::io("rename", &self.new))?;
        let dir = self.path.parent().unwrap_or(Path::new("."));
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(AssignmentError::io("flush", dir))?;
        Ok(self.added)
    }
}

/// Writes the file anew without the customers for whom `drop` says true. Returns how many there were; without any the
/// file stays as it is.
///
/// # Errors
/// As [`Merger::push`]; the old file then stays.
pub(super) fn erase(path: &Path, drop: impl Fn(MemberKey) -> bool) -> Result<u64, AssignmentError> {
    let mut dropped = 0;
    let Some(mut all) = Assignments::open(path)? else { return Ok(0) };
    while let Some(record) = all.next()? {
        dropped += u64::from(drop(record.key));
    }
    if dropped == 0 {
        return Ok(0);
    }
    let mut merger = Merger::start(path)?;
    while let Some(record) = merger.next_old()? {
        if !drop(record.key) {
            merger.put(record)?;
        }
    }
    merger.finish()?;
    Ok(dropped)
}
