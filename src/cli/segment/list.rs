//! Lists of customers in a file of the user's choice.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// A CSV file that only its owner can read, and that is there whole or not at all.
pub(super) struct CustomerList {
    out: csv::Writer<File>,
    path: PathBuf,
    /// Takes the path's place at the end; `None` for a pipe or a device, which nothing can take the place of.
    part: Option<PathBuf>,
}

impl CustomerList {
    pub(super) fn create(path: &Path, columns: &[&str]) -> anyhow::Result<Self> {
        let special = path.metadata().is_ok_and(|found| !found.is_file());
        let part = (!special).then(|| {
            let mut name = path.as_os_str().to_owned();
            name.push(".part");
            PathBuf::from(name)
        });
        // Not truncated when opened but made anew: an older one may be readable by others.
        if let Some(part) = &part
            && part.exists()
        {
            std::fs::remove_file(part).with_context(|| failed(part))?;
        }
        let target = part.as_deref().unwrap_or(path);
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600).create_new(!special);
        let file = options.open(target).with_context(|| failed(path))?;
        let mut list = Self { out: csv::Writer::from_writer(file), path: path.to_owned(), part };
        list.row(columns)?;
        Ok(list)
    }

    pub(super) fn row(&mut self, cells: &[&str]) -> anyhow::Result<()> {
        self.out.write_record(cells).with_context(|| failed(&self.path))
    }

    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        self.out.flush().with_context(|| failed(&self.path))?;
        if let Some(part) = self.part.take() {
            self.out.get_ref().sync_all().with_context(|| failed(&self.path))?;
            std::fs::rename(part, &self.path).with_context(|| failed(&self.path))?;
        }
        Ok(())
    }
}

impl Drop for CustomerList {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            let _ = std::fs::remove_file(part);
        }
    }
}

fn failed(path: &Path) -> String {
    format!("{} cannot be written", path.display())
}
