//! Master keys: where they come from, what they are called.

use std::collections::HashMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretBox};
use sha2::{Digest as _, Sha256};

use super::VaultError;
use crate::config::vault::{KeySource, VaultConfig};

pub(crate) const KEY_BYTES: usize = 32;

/// A key and the name that sealed secrets call it by. The name says nothing about the key.
pub(crate) struct MasterKey {
    id: String,
    bytes: SecretBox<[u8; KEY_BYTES]>,
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

impl MasterKey {
    pub(crate) fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        let digest = Sha256::new().chain_update(b"reveil master key\0").chain_update(bytes).finalize();
        Self { id: const_hex::encode(&digest[..4]), bytes: SecretBox::new(Box::new(*bytes)) }
    }
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        self.bytes.expose_secret()
    }
    /// Reads 64 hexadecimal digits or the Base64 of 32 bytes.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        if text.len() == 2 * KEY_BYTES {
            const_hex::decode_to_slice(text, bytes.as_mut()).ok()?;
        } else {
            let decoded = Zeroizing::new(STANDARD.decode(text).ok()?);
            bytes.copy_from_slice(decoded.get(..KEY_BYTES).filter(|_| decoded.len() == KEY_BYTES)?);
        }
        Some(Self::new(&bytes))
    }
}

/// A new key as text for a file or a variable.
///
/// # Errors
/// The system gives no random bytes.
pub fn generate() -> Result<Zeroizing<String>, VaultError> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    random(bytes.as_mut())?;
    Ok(Zeroizing::new(STANDARD.encode(bytes.as_ref())))
}

pub(crate) fn random(bytes: &mut [u8]) -> Result<(), VaultError> {
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), bytes).map_err(|_| VaultError::NoRandomness)
}

/// The keys of a config, the one to seal with first.
#[derive(Debug)]
pub(crate) struct Keyring(Vec<MasterKey>);

impl Keyring {
    /// # Errors
    /// No key is configured, or one cannot be read.
    pub(crate) fn read(
        config: &VaultConfig,
        environment: &HashMap<String, String>,
        base_dir: &Path,
    ) -> Result<Self, VaultError> {
        let master = config.master_key.as_ref().ok_or(VaultError::NotConfigured)?;
        let sources = std::iter::once(master).chain(&config.old_keys);
        sources.map(|source| read_key(source, environment, base_dir)).collect::<Result<_, _>>().map(Self)
    }
    #[cfg(test)]
    pub(crate) fn of(keys: &[[u8; KEY_BYTES]]) -> Self {
        Self(keys.iter().map(MasterKey::new).collect())
    }
    /// The key that new secrets are sealed with.
    pub(crate) fn current(&self) -> &MasterKey {
        &self.0[0]
    }
    pub(crate) fn find(&self, id: &str) -> Option<&MasterKey> {
        self.0.iter().find(|key| key.id == id)
    }
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(MasterKey::id)
    }
}

fn read_key(
    source: &KeySource,
    environment: &HashMap<String, String>,
    base_dir: &Path,
) -> Result<MasterKey, VaultError> {
    let text = match source {
        KeySource::Env(name) => {
            let value = environment.get(name).filter(|value| !value.is_empty());
            Zeroizing::new(value.ok_or_else(|| VaultError::NoKey { place: source.to_string() })?.clone())
        }
        KeySource::File(path) => read_private(&base_dir.join(path))?,
    };
    MasterKey::parse(&text).ok_or_else(|| VaultError::BadKey { place: source.to_string() })
}

/// A key that others can read is no secret, so such a file is refused.
pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<String>, VaultError> {
    use std::os::unix::fs::PermissionsExt as _;
    let fail = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => VaultError::NoKey { place: format!("the file {}", path.display()) },
        _ => VaultError::File { what: "read", path: path.to_owned(), source },
    };
    let mode = std::fs::metadata(path).map_err(fail)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(VaultError::OpenKey { path: path.to_owned(), mode });
    }
    Ok(Zeroizing::new(std::fs::read_to_string(path).map_err(fail)?))
}

/// Writes a new file for its owner alone; one that is there stays as it is.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), VaultError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let fail = |source| VaultError::File { what: "write", path: path.to_owned(), source };
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_and_base64_are_the_same_key_and_nothing_else_is_one() {
        let bytes = [0xab; KEY_BYTES];
        let hex = MasterKey::parse(&format!("{}\n", const_hex::encode(bytes))).unwrap();
        let base64 = MasterKey::parse(&STANDARD.encode(bytes)).unwrap();
        assert_eq!((hex.bytes(), hex.id()), (base64.bytes(), base64.id()));
        for wrong in ["", "abcd", &STANDARD.encode([1; 31]), &STANDARD.encode([1; 33]), &"zz".repeat(32)] {
            assert!(MasterKey::parse(wrong).is_none(), "{wrong}");
        }
        assert!(MasterKey::parse(&generate().unwrap()).is_some());
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let config = VaultConfig { master_key: Some(KeySource::File("key".into())), old_keys: Vec::new() };
        let read = || Keyring::read(&config, &HashMap::new(), dir.path());
        assert!(matches!(read(), Err(VaultError::NoKey { .. })));
        let path = dir.path().join("key");
        write_private(&path, &generate().unwrap()).unwrap();
        assert!(read().is_ok());
        assert!(write_private(&path, "other").is_err(), "a key is never overwritten");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read(), Err(VaultError::OpenKey { mode: 0o640, .. })));
    }
}
