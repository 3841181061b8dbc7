//! What the shared ledgers need of an object store, as blocking calls. Nothing here is ever overwritten: an object is
//! put where there is none, read, or removed.

use std::fmt;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::FuturesUnordered;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path as Location;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::bridge::wait;
use super::fault::is_absent;
use crate::ledger::disk;
use crate::ledger::error::{LedgerError, Result};

/// A file of at least this size goes up in parts of this size. Stores take 10,000 parts: 160 GB.
const PART_BYTES: usize = 16 << 20;
/// Parts under way, each in memory.
const PARTS_AT_ONCE: usize = 3;
/// Small objects fetched side by side.
const FETCHES_AT_ONCE: usize = 8;

/// What a large object is known by. Not a CRC: of files that end in their own, all of one length have the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sum {
    pub(crate) bytes: u64,
    sha256: String,
}

/// Adds up a [`Sum`].
#[derive(Default)]
pub(super) struct Summing {
    bytes: u64,
    hasher: Sha256,
}

impl Summing {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hasher.update(bytes);
    }
    pub(super) fn sum(self) -> Sum {
        Sum { bytes: self.bytes, sha256: const_hex::encode(self.hasher.finalize()) }
    }
}

/// An object in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Without the folder's.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// By the store's clock.
    pub(crate) put_at: DateTime<Utc>,
}

/// What a folder holds.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) folders: Vec<String>,
    pub(crate) objects: Vec<Entry>,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Location,
    /// The folder on this machine, when that is where the store is.
    local: Option<PathBuf>,
    part_bytes: usize,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Objects({})", self.store)
    }
}

impl Objects {
    /// Everything lies under `prefix`; `local` when the store is that folder.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, prefix: Location, local: Option<PathBuf>) -> Self {
        Self { store, prefix, local, part_bytes: PART_BYTES }
    }
    #[cfg(test)]
    pub(crate) fn in_parts_of(self, part_bytes: usize) -> Self {
        Self { part_bytes, ..self }
    }

    fn location(&self, name: &str) -> Location {
        name.split('/').fold(self.prefix.clone(), |location, part| location.join(part))
    }
    fn file(&self, name: &str) -> Option<PathBuf> {
        self.local.as_ref().map(|folder| folder.join(name))
    }

    /// The object's content; `None` when there is none.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Bytes>> {
        let location = self.location(name);
        let read = async { self.store.get(&location).await?.bytes().await };
        match wait(read) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(LedgerError::store("read", name)(error)),
        }
    }

    /// Hands out the contents of many objects in the order of `names`, some fetched ahead. False when one is gone.
    pub(crate) fn get_all(&self, names: &[String], mut take: impl FnMut(usize, Bytes) -> Result<()>) -> Result<bool> {
        wait(async {
            let mut read =
                stream::iter(names)
                    .map(|name| async move {
                        (name, async { self.store.get(&self.location(name)).await?.bytes().await }.await)
                    })
                    .buffered(FETCHES_AT_ONCE)
                    .enumerate();
            while let Some((number, (name, bytes))) = read.next().await {
                match bytes {
                    Ok(bytes) => take(number, bytes)?,
                    Err(error) if is_absent(&error) => return Ok(false),
                    Err(error) => return Err(LedgerError::store("read", name)(error)),
                }
            }
            Ok(true)
        })
    }

    /// Puts an object where there is none. Returns the content of the one that somebody else put there before.
    /// Contents must tell their writers apart: an object that equals `bytes` is taken for an earlier attempt of this
    /// call, whose answer was lost.
    pub(crate) fn put_new(&self, name: &str, bytes: Bytes) -> Result<Option<Bytes>> {
        self.make_folder(name)?;
        let location = self.location(name);
        match wait(self.store.put_opts(&location, PutPayload::from(bytes.clone()), PutMode::Create.into())) {
            Ok(_) => {}
            Err(error @ (Error::AlreadyExists { .. } | Error::Precondition { .. })) => {
                let there = self.get(name)?.ok_or_else(|| LedgerError::store("write", name)(error))?;
                if there != bytes {
                    return Ok(Some(there));
                }
            }
            Err(error) => return Err(LedgerError::store("write", name)(error)),
        }
        self.keep_private(name)?;
        Ok(None)
    }

    /// Shows that the store refuses to put an object where there is one, as not everything does that speaks a cloud's
    /// protocol. Needs the right to write, read and delete; leaves nothing. `name` has to be used by nobody.
    ///
    /// # Errors
    /// [`LedgerError::Overwrites`] when it does not.
    pub(crate) fn check_puts(&self, name: &str) -> Result<()> {
        let refused = self.put_new(name, "first".into())?.is_none() && self.put_new(name, "second".into())?.is_some();
        self.remove(name)?;
        if refused { Ok(()) } else { Err(LedgerError::Overwrites) }
    }

    /// What lies directly in a folder.
    pub(crate) fn list(&self, folder: &str) -> Result<Listing> {
        let listed = wait(self.store.list_with_delimiter(Some(&self.location(folder))));
        let listed = listed.map_err(LedgerError::store("list", folder))?;
        let last = |location: &Location| location.filename().unwrap_or_default().to_owned();
        let entry = |object: &object_store::ObjectMeta| Entry {
            name: last(&object.location),
            bytes: object.size,
            put_at: object.last_modified,
        };
        Ok(Listing {
            folders: listed.common_prefixes.iter().map(last).collect(),
            objects: listed.objects.iter().map(entry).collect(),
        })
    }

    /// When the object was put, by the store's clock.
    pub(crate) fn put_at(&self, name: &str) -> Result<DateTime<Utc>> {
        let head = wait(self.store.head(&self.location(name)));
        Ok(head.map_err(LedgerError::store("look at", name))?.last_modified)
    }

    /// Puts a file, large ones in parts. Nobody else may use the name: it has to have something random in it.
    pub(crate) fn upload(&self, name: &str, path: &Path) -> Result<Sum> {
        self.make_folder(name)?;
        let mut file = File::open(path).map_err(LedgerError::io("open", path))?;
        let mut summing = Summing::default();
        let mut next = || {
            let mut part = Vec::with_capacity(self.part_bytes);
            (&mut file).take(self.part_bytes as u64).read_to_end(&mut part).map_err(LedgerError::io("read", path))?;
            summing.add(&part);
            Ok(part)
        };
        let first = next()?;
        if first.len() < self.part_bytes {
            wait(self.store.put(&self.location(name), first.into())).map_err(LedgerError::store("write", name))?;
        } else {
            wait(self.upload_parts(name, first, next))?;
        }
        self.keep_private(name)?;
        Ok(summing.sum())
    }

    async fn upload_parts(&self, name: &str, first: Vec<u8>, mut next: impl FnMut() -> Result<Vec<u8>>) -> Result<()> {
        let fail = || LedgerError::store("write", name);
        let mut upload = self.store.put_multipart(&self.location(name)).await.map_err(fail())?;
        let mut under_way = FuturesUnordered::new();
        let mut part = first;
        let sent = loop {
            if part.is_empty() {
                break under_way.try_collect::<Vec<()>>().await.map_err(fail());
            }
            under_way.push(upload.put_part(part.into()));
            if under_way.len() == PARTS_AT_ONCE
                && let Some(Err(error)) = under_way.next().await
            {
                break Err(fail()(error));
            }
            match next() {
                Ok(bytes) => part = bytes,
                Err(error) => break Err(error),
            }
        };
        match sent {
            Ok(_) => upload.complete().await.map(drop).map_err(fail()),
            Err(error) => {
                // The store drops unfinished uploads by itself, if told to; see the documentation.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }

    /// Writes the object to a new file. False when it is gone.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] when it is not what `sum` says.
    pub(crate) fn download(&self, name: &str, path: &Path, sum: &Sum) -> Result<bool> {
        let file = disk::create(path)?;
        let mut summing = Summing::default();
        let found = wait(async {
            let mut parts = match self.store.get(&self.location(name)).await {
                Ok(found) => found.into_stream(),
                Err(error) if is_absent(&error) => return Ok(false),
                Err(error) => return Err(LedgerError::store("read", name)(error)),
            };
            while let Some(part) = parts.next().await {
                let part = part.map_err(LedgerError::store("read", name))?;
                disk::write_at(&file, path, &part, summing.bytes)?;
                summing.add(&part);
            }
            Ok(true)
        })?;
        if found && *sum != summing.sum() {
            return Err(LedgerError::Damaged { path: name.into(), at: 0 });
        }
        Ok(found)
    }

    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        match wait(self.store.delete(&self.location(name))) {
            Ok(()) => Ok(()),
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(LedgerError::store("remove", name)(error)),
        }
    }

    /// Removes a folder with all that is in it.
    pub(crate) fn remove_folder(&self, folder: &str) -> Result<()> {
        if let Some(path) = self.file(folder) {
            // With what a killed writer left half-written, which the store does not show.
            return match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(LedgerError::io("remove", &path)(error))
                }
                _ => Ok(()),
            };
        }
        let location = self.location(folder);
        let found = self.store.list(Some(&location)).map_ok(|object| object.location).boxed();
        let removed = wait(self.store.delete_stream(found).try_for_each(|_| async { Ok(()) }));
        removed.map_err(LedgerError::store("remove", folder))
    }

    /// On this machine: folders and files are for their owner alone.
    fn make_folder(&self, name: &str) -> Result<()> {
        match self.file(name).as_deref().and_then(Path::parent) {
            Some(folder) if !folder.is_dir() => disk::make_dir(folder),
            _ => Ok(()),
        }
    }
    fn keep_private(&self, name: &str) -> Result<()> {
        let Some(path) = self.file(name) else { return Ok(()) };
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(LedgerError::io("protect", &path))
    }
}
