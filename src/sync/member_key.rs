//! Who a customer is to the platforms and in the ledger: a keyed hash of the customer id. The key is made once per
//! installation and kept beside the ledgers.

use std::io::Write as _;
use std::path::Path;

use reveil_sdk::MemberKey;
use sha2::{Digest as _, Sha256};

use super::error::SyncError;

/// Who a customer is to the platforms: says nothing without the key.
pub(crate) fn member_key(secret: &[u8; 32], customer_id: &str) -> MemberKey {
    let digest = Sha256::new().chain_update(secret).chain_update(customer_id.as_bytes()).finalize();
    MemberKey(*digest.first_chunk().expect("32 bytes"))
}

/// Where the secret is.
#[derive(Debug, Clone, Copy)]
pub struct MemberKeySource<'a> {
    pub state_dir: &'a Path,
}

impl MemberKeySource<'_> {
    /// The secret that makes member keys, made once and kept beside the ledgers.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn load(self) -> Result<[u8; 32], SyncError> {
        own(self.state_dir)
    }
}

/// The secret of this machine.
fn own(state_dir: &Path) -> Result<[u8; 32], SyncError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = state_dir.join("member.key");
    let file = |what: &'static str| {
        let path = path.display().to_string();
        move |source| SyncError::File { what, path, source }
    };
    match std::fs::read(&path) {
        Ok(bytes) => bytes.try_into().map_err(|_| {
            file("cannot use the member key")(std::io::Error::other("it is not 32 bytes; restore it from a backup"))
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut key = [0; 32];
            ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut key)
                .map_err(|_| file("cannot make the member key")(std::io::Error::other("no randomness")))?;
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
        Err(error) => Err(file("cannot read the member key")(error)),
    }
}
