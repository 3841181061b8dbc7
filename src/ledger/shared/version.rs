//! A file in the shared store that is replaced as a whole, by whoever has seen its latest version.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Shared;
use super::objects::{Objects, Sum, Summing};
use crate::ledger::error::{LedgerError, Result};
use crate::ledger::generation::random;

/// Between our listing and our reading, a version may have been replaced and removed.
const ATTEMPTS: usize = 5;

/// The file of one name. In its folder, `NUMBER` says which file is the version and `NUMBER-RANDOM` is the file.
#[derive(Debug)]
pub(crate) struct SharedFile {
    objects: Objects,
    folder: String,
}

/// One state of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    number: u64,
    id: String,
    sum: Sum,
}

impl Shared {
    /// `folder` belongs to this file alone.
    pub(crate) fn file(&self, folder: String) -> SharedFile {
        SharedFile { objects: self.objects.clone(), folder }
    }
}

impl SharedFile {
    /// Brings `copy` up to the latest version and returns it; `None` when there is none. A copy of something else is
    /// fetched anew.
    pub(crate) fn fetch(&self, copy: &Path) -> Result<Option<Version>> {
        for _ in 0..ATTEMPTS {
            let Some(number) = self.newest()? else { return Ok(None) };
            let name = self.pointer(number);
            let Some(text) = self.objects.get(&name)? else { continue };
            let version: Version = serde_json::from_slice(&text)
                .map_err(|_| LedgerError::Damaged { path: name.as_str().into(), at: 0 })?;
            if sum_of(copy)?.as_ref() == Some(&version.sum) {
                return Ok(Some(version));
            }
            let new = copy.with_extension("fetched");
            if self.objects.download(&self.object(&version), &new, &version.sum)? {
                fs::rename(&new, copy).map_err(LedgerError::io("rename", &new))?;
                return Ok(Some(version));
            }
        }
        Err(LedgerError::Damaged { path: self.folder.as_str().into(), at: 0 })
    }

    /// Makes `file` the version after `previous`. False when somebody else made another meanwhile.
    pub(crate) fn publish(&self, previous: Option<&Version>, file: &Path) -> Result<bool> {
        let number = previous.map_or(0, |previous| previous.number + 1);
        let mut version = Version { number, id: const_hex::encode(random::<8>()?), sum: Sum::default() };
        version.sum = self.objects.upload(&self.object(&version), file)?;
        let text = serde_json::to_vec(&version).expect("numbers and a name");
        let taken = self.objects.put_new(&self.pointer(number), text.into())?.is_some();
        // Who slept long may have found a place free that was taken and cleared.
        if taken || self.newest()? != Some(number) {
            self.objects.remove(&self.object(&version))?;
            return Ok(false);
        }
        self.clean(number)?;
        Ok(true)
    }

    fn pointer(&self, number: u64) -> String {
        format!("{}/{number:016x}", self.folder)
    }
    fn object(&self, version: &Version) -> String {
        format!("{}-{}", self.pointer(version.number), version.id)
    }
    fn newest(&self) -> Result<Option<u64>> {
        let listing = self.objects.list(&self.folder)?;
        Ok(listing.objects.iter().filter_map(|object| u64::from_str_radix(&object.name, 16).ok()).max())
    }

    /// The version before stays for those who are reading it.
    fn clean(&self, newest: u64) -> Result<()> {
        for object in self.objects.list(&self.folder)?.objects {
            let number = object.name.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok());
            if number.is_some_and(|number| number + 1 < newest) {
                self.objects.remove(&format!("{}/{}", self.folder, object.name))?;
            }
        }
        Ok(())
    }
}

/// Of a file that may not be there.
fn sum_of(path: &Path) -> Result<Option<Sum>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LedgerError::io("open", path)(error)),
    };
    let mut summing = Summing::default();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(LedgerError::io("read", path))? {
            0 => return Ok(Some(summing.sum())),
            read => summing.add(&buffer[..read]),
        }
    }
}
