//! Who a customer is to the platforms and in the ledger: a keyed hash of the customer id. The key is made once per
//! installation and kept beside the ledgers.

use std::io::Write as _;
use std::path::Path;

use reveil_sdk::MemberKey;
use sha2::{Digest as _, Sha256};

use super::error::SyncError;
use crate::ledger::Ledgers;
use crate::ledger::shared::Shared;

/// Who a customer is to the platforms: says nothing without the key.
pub(crate) fn member_key(secret: &[u8; 32], customer_id: impl AsRef<[u8]>) -> MemberKey {
    let digest = Sha256::new().chain_update(secret).chain_update(customer_id).finalize();
    MemberKey(*digest.first_chunk().expect("32 bytes"))
}

/// Where the secret is: in the store that replicas share, or on this machine.
#[derive(Debug, Clone, Copy)]
pub struct MemberKeySource<'a> {
    pub state_dir: &'a Path,
    pub ledgers: &'a Ledgers,
}

impl MemberKeySource<'_> {
    /// The secret that makes member keys, made once and kept beside the ledgers.
    ///
    /// # Errors
    /// When it cannot be read or written, or this machine and the shared store have different ones.
    pub fn load(self) -> Result<[u8; 32], SyncError> {
        match self.ledgers.shared() {
            None => own(self.state_dir),
            Some(shared) => self.shared(shared),
        }
    }

    /// Replicas that start together agree on the first one that was put. A secret from before there was a store goes
    /// there: ledgers and assignments were made with it.
    fn shared(self, shared: &Shared) -> Result<[u8; 32], SyncError> {
        let known = read(self.state_dir)?;
        let there = match shared.objects.get(SHARED_NAME)? {
            Some(there) => there.to_vec(),
            None => {
                let key = known.map_or_else(new_key, Ok)?;
                shared.objects.put_new(SHARED_NAME, key.to_vec().into())?.map_or(key.to_vec(), Vec::from)
            }
        };
        let key = as_key(&there, SHARED_NAME)?;
        if known.is_some_and(|known| known != key) {
            let path = self.state_dir.join(FILE).display().to_string();
            let source = std::io::Error::other(
                "the shared ledger store has another one: this was an installation of its own; if the shared one is right, \
                 move it and the directory `ledger` beside it away",
            );
            return Err(SyncError::File { what: "cannot use the member key", path, source });
        }
        Ok(key)
    }
}

const FILE: &str = "member.key";
const SHARED_NAME: &str = "member.key";

fn new_key() -> Result<[u8; 32], SyncError> {
    let mut key = [0; 32];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut key).map_err(|_| SyncError::File {
        what: "cannot make the member key",
        path: FILE.to_owned(),
        source: std::io::Error::other("no randomness"),
    })?;
    Ok(key)
}

fn as_key(bytes: &[u8], path: &str) -> Result<[u8; 32], SyncError> {
    bytes.try_into().map_err(|_| SyncError::File {
        what: "cannot use the member key",
        path: path.to_owned(),
        source: std::io::Error::other("it is not 32 bytes; restore it from a backup"),
    })
}

/// The secret of this machine, if there is one.
fn read(state_dir: &Path) -> Result<Option<[u8; 32]>, SyncError> {
    let path = state_dir.join(FILE);
    match std::fs::read(&path) {
        Ok(bytes) => as_key(&bytes, &path.display().to_string()).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => {
            Err(SyncError::File { what: "cannot read the member key", path: path.display().to_string(), source })
        }
    }
}

/// The secret of this machine, made when there is none.
fn own(state_dir: &Path) -> Result<[u8; 32], SyncError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    if let Some(key) = read(state_dir)? {
        return Ok(key);
    }
    let path = state_dir.join(FILE);
    let file = |what: &'static str| {
        let path = path.display().to_string();
        move |source| SyncError::File { what, path, source }
    };
    let key = new_key()?;
    crate::store::private_dir(state_dir).map_err(file("cannot make the state directory of"))?;
    let temporary = path.with_extension("new");
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(file("cannot write the member key"))?;
    out.write_all(&key).and_then(|()| out.sync_all()).map_err(file("cannot write the member key"))?;
    std::fs::rename(&temporary, &path).map_err(file("cannot write the member key"))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::shared::tests::cloud::Cloud;

    fn load(ledgers: &Ledgers, dir: &Path) -> Result<[u8; 32], SyncError> {
        MemberKeySource { state_dir: dir, ledgers }.load()
    }

    #[test]
    fn replicas_that_start_together_agree_and_strangers_are_refused() {
        let cloud = Cloud::new();
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let client = cloud.client();
        let (ledgers, other) = (Ledgers::in_store(client.shared(), first.path()), cloud.clone());
        let path = second.path().to_owned();
        // The other comes after the first has looked and before it puts.
        client.interrupt_at(2, move || {
            load(&Ledgers::in_store(other.shared(), &path), &path).unwrap();
        });
        let key = load(&ledgers, first.path()).unwrap();
        assert!(!client.calm());
        assert_eq!(load(&Ledgers::in_store(cloud.shared(), second.path()), second.path()).unwrap(), key);
        assert!(!first.path().join(FILE).exists(), "it is in the store alone");
        let stranger = tempfile::tempdir().unwrap();
        load(&Ledgers::on_this_machine(stranger.path()), stranger.path()).unwrap();
        let error = load(&Ledgers::in_store(cloud.shared(), stranger.path()), stranger.path()).unwrap_err();
        assert!(error.to_string().contains("move it"), "{error}");
    }

    #[test]
    fn the_key_of_one_machine_becomes_the_shared_one() {
        let cloud = Cloud::new();
        let dir = tempfile::tempdir().unwrap();
        let key = load(&Ledgers::on_this_machine(dir.path()), dir.path()).unwrap();
        assert_eq!(load(&Ledgers::on_this_machine(dir.path()), dir.path()).unwrap(), key);
        assert_eq!(load(&Ledgers::in_store(cloud.shared(), dir.path()), dir.path()).unwrap(), key);
        let other = tempfile::tempdir().unwrap();
        assert_eq!(load(&Ledgers::in_store(cloud.shared(), other.path()), other.path()).unwrap(), key);
    }
}
