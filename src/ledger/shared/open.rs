//! Opens a shared ledger: brings the copy on this machine up to date, and takes the ledger over from whoever wrote it
//! before.

use std::fs;
use std::path::Path;

use tracing::info;

use super::appender::{HEAD_BYTES, object_name, read};
use super::manifest::Manifest;
use super::{Appender, SharedLedger};
use crate::ledger::base::Base;
use crate::ledger::disk;
use crate::ledger::error::{LedgerError, Result};
use crate::ledger::generation::Generation;
use crate::ledger::journal::Journal;
use crate::ledger::local;
use crate::ledger::spill;
use crate::ledger::store::Ledger;

/// Another writer may come between any two steps of an opening; each time the whole is begun again.
const ATTEMPTS: usize = 100;
/// A list shows objects put meanwhile or not, so it may have gaps; several in a row have another cause.
const LISTINGS: usize = 5;

impl SharedLedger {
    /// Opens the ledger to write, with a copy in `dir`, and takes it from whoever had it. A ledger of this machine alone
    /// in `own`, from before there was a shared store, becomes the shared one.
    ///
    /// Who may open a ledger is settled elsewhere, by a lease: this only sees to it that of two writers one finds out.
    pub(in crate::ledger) fn hold(self, dir: &Path, own: &Path) -> Result<Ledger> {
        let lock = local::lock(dir)?;
        for _ in 0..ATTEMPTS {
            let seen_at = self.clock.now();
            let Some(manifest) = self.newest()? else {
                unless_lost(self.begin(dir, own))?;
                continue;
            };
            if local::lives_here(own) && local::moved(own)?.is_none() {
                return Err(LedgerError::Foreign { dir: own.to_path_buf() });
            }
            local::remove_strays(dir, &manifest.generation())?;
            let Some(mut ledger) = self.bring(&manifest, dir)? else { continue };
            if ledger.journal.sealed {
                // The writer before ended in the middle of a fold.
                unless_lost(ledger.rewrite())?;
                continue;
            }
            let at = ledger.journal.bytes();
            ledger.journal.appender = Some(Appender::new(&self, &ledger.generation, seen_at));
            if unless_lost(ledger.journal.claim(self.writer))?.is_none() {
                continue;
            }
            ledger.journal.abandon_in_flight();
            self.clean(|| self.objects.put_at(&object_name(&self.journal_folder(&ledger.generation), at)));
            ledger.lock = Some(lock);
            return Ok(ledger);
        }
        Err(LedgerError::Held { dir: dir.to_path_buf() })
    }

    /// Opens the ledger to look only: writes nothing in `dir`, where a copy may be, nor in the store.
    pub(in crate::ledger) fn peek(self, dir: &Path, own: &Path, temp: &Path) -> Result<Ledger> {
        for _ in 0..ATTEMPTS {
            let Some(manifest) = self.newest()? else { return Ledger::peek(own, temp) };
            let generation = manifest.generation();
            let copy = spill::new_path(temp);
            let base = self.base(&manifest, &generation.base_path(dir), &copy);
            unlink(&copy)?;
            let Some(base) = base? else { continue };
            // What is there already saves fetching it; torn or missing, it does not matter.
            let _ = fs::copy(generation.journal_path(dir), &copy);
            let journal = self.journal(&manifest, &copy);
            unlink(&copy)?;
            let Some(mut journal) = journal? else { continue };
            // A generation that is being removed looks like one that is short.
            if self.newest_number()? != Some(generation.number) {
                continue;
            }
            journal.abandon_in_flight();
            let (dir, temp) = (dir.to_path_buf(), temp.to_path_buf());
            return Ok(Ledger { dir, temp, lock: None, generation, base, journal, shared: Some(self), broken: false });
        }
        Err(LedgerError::Held { dir: dir.to_path_buf() })
    }

    /// Removes old generations from the store and from the copy in `dir`; one that is in use here stays.
    pub(in crate::ledger) fn tidy(self, dir: &Path) -> Result<()> {
        self.clean(|| Ok(self.clock.now()));
        let Some(manifest) = self.newest()? else { return Ok(()) };
        if !dir.exists() || !local::has_strays(dir, &manifest.generation())? {
            return Ok(());
        }
        match local::lock(dir) {
            Ok(_lock) => local::remove_strays(dir, &manifest.generation()),
            Err(error) if error.is_locked() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The first generation: what this machine has in `own`, or nothing.
    fn begin(&self, dir: &Path, own: &Path) -> Result<()> {
        self.objects.check_puts(&format!("{}/probe-{}", self.folder, const_hex::encode(self.writer.0)))?;
        let first = Generation::shared(0)?;
        if !local::lives_here(own) {
            let path = spill::new_path(dir);
            let journal = Journal::create(path.clone(), 1)?;
            unlink(&path)?;
            return self.publish(&first, None, &journal).map(drop);
        }
        let lock = local::lock(own)?;
        if local::moved(own)? == Some(local::Moved::Whole) {
            return Err(LedgerError::Gone { ledger: self.folder.clone(), dir: own.to_path_buf() });
        }
        let mut ledger = Ledger::open_locked(own, lock)?;
        local::mark_moved(own, local::Moved::Begun)?;
        ledger.journal.replacing = ledger.is_replacing();
        let base = (ledger.generation.number > 0).then(|| ledger.generation.base_path(own));
        self.publish(&first, base.as_deref(), &ledger.journal)?;
        info!(ledger = self.folder, "Moved a ledger to the shared store");
        local::mark_moved(own, local::Moved::Whole)
    }

    /// The generation's files in `dir`, as the store has them. `None` when it was followed and removed meanwhile.
    fn bring(&self, manifest: &Manifest, dir: &Path) -> Result<Option<Ledger>> {
        let generation = manifest.generation();
        let path = generation.base_path(dir);
        let new = path.with_extension("new");
        let Some(base) = self.base(manifest, &path, &new)? else { return Ok(None) };
        if new.exists() {
            fs::rename(&new, &path).map_err(LedgerError::io("rename", &new))?;
        }
        let Some(journal) = self.journal(manifest, &generation.journal_path(dir))? else { return Ok(None) };
        let (dir, temp, shared) = (dir.to_path_buf(), dir.to_path_buf(), Some(self.clone()));
        Ok(Some(Ledger { dir, temp, lock: None, generation, base, journal, shared, broken: false }))
    }

    /// The base: the copy if it is whole, otherwise fetched to `new`.
    fn base(&self, manifest: &Manifest, copy: &Path, new: &Path) -> Result<Option<Base>> {
        let Some(sum) = &manifest.base else { return Ok(Some(Base::empty(copy.to_path_buf()))) };
        if fs::metadata(copy).is_ok_and(|copy| copy.len() == sum.bytes)
            && let Ok(base) = Base::open(copy.to_path_buf(), true)
        {
            return Ok(Some(base));
        }
        let name = format!("{}/base", self.generation_folder(&manifest.generation()));
        if !self.objects.download(&name, new, sum)? {
            return Ok(None);
        }
        Base::open(new.to_path_buf(), true).map(Some)
    }

    /// The journal: the copy as far as it goes, the rest fetched. The last object is always fetched: it tells whether
    /// the copy has the same past.
    fn journal(&self, manifest: &Manifest, copy: &Path) -> Result<Option<Journal>> {
        let folder = self.journal_folder(&manifest.generation());
        let damaged = || LedgerError::Damaged { path: folder.as_str().into(), at: 0 };
        for _ in 0..LISTINGS {
            let Some(offsets) = self.offsets(&folder)? else { continue };
            let mut journal = Journal::open_copy(copy.to_path_buf(), manifest.next_seq, manifest.replacing, &offsets)?;
            let start = journal.bytes();
            let missing = offsets.iter().filter(|at| **at >= start);
            let names: Vec<String> = missing.map(|at| object_name(&folder, *at)).collect();
            let mut follows = true;
            let found = self.objects.get_all(&names, |number, object| {
                let (before, frames) = read(&names[number], &object)?;
                follows = follows && journal.extend(before, frames)?;
                Ok(())
            })?;
            match (found, follows) {
                (true, true) => return Ok(Some(journal)),
                (true, false) if start == 0 => return Err(damaged()),
                // Another ledger's copy.
                (true, false) => unlink(copy)?,
                (false, _) => return Ok(None),
            }
        }
        if self.newest_number()? != Some(manifest.generation) {
            return Ok(None);
        }
        Err(damaged())
    }

    /// Where the objects of a journal begin, in order. `None` when the list has a gap.
    fn offsets(&self, folder: &str) -> Result<Option<Vec<u64>>> {
        let mut objects = Vec::new();
        for object in self.objects.list(folder)?.objects {
            let at = u64::from_str_radix(&object.name, 16);
            let at =
                at.map_err(|_| LedgerError::Damaged { path: format!("{folder}/{}", object.name).into(), at: 0 })?;
            objects.push((at, object.bytes.saturating_sub(HEAD_BYTES as u64)));
        }
        objects.sort_unstable();
        let mut end = 0;
        let whole = objects.iter().all(|(at, bytes)| {
            let follows = *at == end;
            end = at + bytes;
            follows
        });
        Ok(whole.then(|| objects.iter().map(|(at, _)| *at).collect()))
    }
}

fn unless_lost<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(LedgerError::Lost { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An open file stays readable.
fn unlink(path: &Path) -> Result<()> {
    if path.exists() { disk::remove(path) } else { Ok(()) }
}
