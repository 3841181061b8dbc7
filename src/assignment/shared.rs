//! The file of assignments where replicas share the ledgers: whoever adds to it has seen all that was added before.

use std::fs;
use std::path::Path;

use super::AssignmentError;
use crate::ledger::Ledgers;
use crate::ledger::shared::version::Version;
use crate::ledger::shared::{Shared, SharedFile};

/// One run at a time adds to an audience; others come in between only when a lease was lost.
const ATTEMPTS: usize = 20;

/// Brings the copy up to what the store has, or to what this machine had before there was a store.
pub(super) fn bring(
    ledgers: &Ledgers,
    shared: &Shared,
    audience: &str,
    copy: &Path,
) -> Result<Option<Version>, AssignmentError> {
    let dir = copy.parent().expect("a file of assignments lies in a directory");
    crate::store::private_dir(dir).map_err(AssignmentError::io("make", dir))?;
    if let Some(version) = file(shared, audience, copy).fetch(copy)? {
        return Ok(Some(version));
    }
    // What a run left that never got it into the store is not known to the others.
    let own = ledgers.own_audience_dir(audience).join(copy.file_name().expect("a file of assignments has a name"));
    let found = if own.exists() { fs::copy(&own, copy).map(drop) } else { fs::remove_file(copy) };
    match found {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(AssignmentError::io("replace", copy)(error)),
        _ => Ok(None),
    }
}

/// Adds to the file with `merge`, which gets the copy and says how many it added. It is called again when somebody else
/// was first.
pub(super) fn add(
    ledgers: &Ledgers,
    shared: &Shared,
    audience: &str,
    copy: &Path,
    mut merge: impl FnMut(&Path) -> Result<u64, AssignmentError>,
) -> Result<u64, AssignmentError> {
    for _ in 0..ATTEMPTS {
        let version = bring(ledgers, shared, audience, copy)?;
        let added = merge(copy)?;
        let known = added == 0 && version.is_some();
        if known || file(shared, audience, copy).publish(version.as_ref(), copy)? {
            return Ok(added);
        }
    }
    Err(AssignmentError::Contended { path: copy.to_owned() })
}

fn file(shared: &Shared, audience: &str, copy: &Path) -> SharedFile {
    let name = copy.file_stem().and_then(|name| name.to_str()).expect("a file of assignments has a name");
    shared.file(format!("assignments/{}/{name}", crate::ledger::file_name(audience)))
}

/// The experiments of an audience in the store, by the names of their files.
pub(super) fn names(shared: &Shared, audience: &str) -> Result<Vec<String>, AssignmentError> {
    let folder = format!("assignments/{}", crate::ledger::file_name(audience));
    Ok(shared.objects.list(&folder)?.folders)
}
