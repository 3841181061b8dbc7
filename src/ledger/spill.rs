//! Records scattered to numbered parts of one temporary file, to be read back part by part.
//!
//! One file for all parts, not a file each: a thousand parts would need a thousand descriptors. Every part
//! collects a chunk in memory, a full chunk is appended to the file, and a list per part remembers where its
//! chunks lie. The file is unlinked as soon as it is open, so that no crash leaves digests behind.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// How the names of temporary files begin; what bears it after a crash may be deleted.
pub(crate) const PREFIX: &str = "spill-";
const CHUNK_BYTES: usize = 32 * 1024;

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A name in `dir` that nothing else has.
pub(crate) fn new_path(dir: &Path) -> PathBuf {
    dir.join(format!("{PREFIX}{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)))
}

#[derive(Clone, Copy)]
struct Chunk {
    at: u64,
    length: u32,
}

/// Writing half. Holds at most 32 KiB per part in use (more only for a longer record).
pub(crate) struct SpillWriter {
    file: File,
    end: u64,
    buffers: Vec<Vec<u8>>,
    chunks: Vec<Vec<Chunk>>,
}

impl fmt::Debug for SpillWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpillWriter({} parts)", self.buffers.len())
    }
}

impl SpillWriter {
    pub(crate) fn create(dir: &Path, parts: usize) -> io::Result<Self> {
        let path = new_path(dir);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        fs::remove_file(&path)?;
        Ok(Self { file, end: 0, buffers: vec![Vec::new(); parts], chunks: vec![Vec::new(); parts] })
    }
    /// Appends one record, the concatenation of `pieces`. A record never straddles two chunks.
    pub(crate) fn push(&mut self, part: usize, pieces: &[&[u8]]) -> io::Result<()> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        let held = self.buffers[part].len();
        if held + length > CHUNK_BYTES && held > 0 {
            self.flush(part)?;
        }
        let buffer = &mut self.buffers[part];
        if buffer.capacity() == 0 {
            buffer.reserve_exact(CHUNK_BYTES);
        }
        for piece in pieces {
            buffer.extend_from_slice(piece);
        }
        Ok(())
    }
    fn flush(&mut self, part: usize) -> io::Result<()> {
        let buffer = &mut self.buffers[part];
        if buffer.is_empty() {
            return Ok(());
        }
        self.file.write_all_at(buffer, self.end)?;
        self.chunks[part].push(Chunk { at: self.end, length: buffer.len() as u32 });
        self.end += buffer.len() as u64;
        buffer.clear();
        Ok(())
    }
    pub(crate) fn finish(mut self) -> io::Result<Spill> {
        for part in 0..self.buffers.len() {
            self.flush(part)?;
            self.buffers[part] = Vec::new();
        }
        Ok(Spill { file: self.file, chunks: self.chunks })
    }
}

/// Reading half; may be shared by threads.
pub(crate) struct Spill {
    file: File,
    chunks: Vec<Vec<Chunk>>,
}

impl fmt::Debug for Spill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spill({} parts)", self.chunks.len())
    }
}

impl Spill {
    pub(crate) fn parts(&self) -> usize {
        self.chunks.len()
    }
    /// Bytes of one part.
    pub(crate) fn bytes(&self, part: usize) -> u64 {
        self.chunks[part].iter().map(|chunk| u64::from(chunk.length)).sum()
    }
    /// Replaces `out` by the whole part, in the order it was pushed.
    pub(crate) fn read(&self, part: usize, out: &mut Vec<u8>) -> io::Result<()> {
        out.clear();
        out.reserve_exact(self.bytes(part) as usize);
        for chunk in &self.chunks[part] {
            let start = out.len();
            out.resize(start + chunk.length as usize, 0);
            self.file.read_exact_at(&mut out[start..], chunk.at)?;
        }
        Ok(())
    }
    /// Replaces `out` by chunk `index` of the part: whole records. False after the last chunk.
    pub(crate) fn read_chunk(&self, part: usize, index: usize, out: &mut Vec<u8>) -> io::Result<bool> {
        out.clear();
        let Some(chunk) = self.chunks[part].get(index) else { return Ok(false) };
        out.resize(chunk.length as usize, 0);
        self.file.read_exact_at(out, chunk.at)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_whole_in_order_and_no_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = SpillWriter::create(dir.path(), 3).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let mut expected = vec![Vec::new(); 3];
        for number in 0u32..30_000 {
            let part = (number % 7 % 3) as usize;
            writer.push(part, &[&[1], &number.to_le_bytes()]).unwrap();
            expected[part].push(1);
            expected[part].extend_from_slice(&number.to_le_bytes());
        }
        let spill = writer.finish().unwrap();
        let mut read = Vec::new();
        for (part, expected) in expected.iter().enumerate() {
            spill.read(part, &mut read).unwrap();
            assert!(read == *expected, "part {part}");
            let mut joined = Vec::new();
            let mut index = 0;
            while spill.read_chunk(part, index, &mut read).unwrap() {
                assert_eq!(read.len() % 5, 0, "whole records");
                joined.extend_from_slice(&read);
                index += 1;
            }
            assert!(joined == *expected && index > 1);
        }
    }
}
