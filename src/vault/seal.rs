//! Sealing: XChaCha20-Poly1305 with a random nonce. A sealed secret opens only under its own name and with its own
//! key, so that rows of the table cannot be exchanged.
//!
//! ```text
//! version u8 = 1 | nonce 24 | ciphertext and tag
//! ```

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use secrecy::zeroize::Zeroizing;

use super::VaultError;
use super::key::{MasterKey, random};

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;

fn cipher(key: &MasterKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.bytes().into())
}

/// What a sealed secret is bound to.
fn bound(key: &MasterKey, name: &str) -> Vec<u8> {
    [b"reveil secret\0".as_slice(), key.id().as_bytes(), b"\0", name.as_bytes()].concat()
}

pub(crate) fn seal(key: &MasterKey, name: &str, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
    let mut nonce = [0; NONCE_BYTES];
    random(&mut nonce)?;
    let payload = Payload { msg: plain, aad: &bound(key, name) };
    let sealed = cipher(key).encrypt(&XNonce::from(nonce), payload).map_err(|_| VaultError::TooLarge)?;
    Ok([&[VERSION], nonce.as_slice(), &sealed].concat())
}

/// `None`: another key, another name, or bytes that were changed.
pub(crate) fn open(key: &MasterKey, name: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (&version, rest) = sealed.split_first()?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
    let payload = Payload { msg: sealed, aad: &bound(key, name) };
    (version == VERSION).then(|| cipher(key).decrypt(&XNonce::from(*nonce), payload).ok())?.map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_as_it_was_sealed_and_never_seals_twice_alike() {
        let key = MasterKey::new(&[7; 32]);
        for plain in [b"".as_slice(), b"a token", &[0xff; 5_000]] {
            let sealed = seal(&key, "meta-fr", plain).unwrap();
            assert_eq!(open(&key, "meta-fr", &sealed).unwrap().as_slice(), plain);
            assert_ne!(sealed, seal(&key, "meta-fr", plain).unwrap());
        }
    }

    #[test]
    fn every_changed_byte_name_and_key_is_refused() {
        let key = MasterKey::new(&[7; 32]);
        let sealed = seal(&key, "meta-fr", b"a token").unwrap();
        for at in 0..sealed.len() {
            for change in [1, 0x80] {
                let mut wrong = sealed.clone();
                wrong[at] ^= change;
                assert!(open(&key, "meta-fr", &wrong).is_none(), "byte {at}");
            }
            assert!(open(&key, "meta-fr", &sealed[..at]).is_none(), "cut at {at}");
        }
        assert!(open(&key, "meta-fr", &[sealed.as_slice(), &[0]].concat()).is_none());
        assert!(open(&key, "meta-fs", &sealed).is_none());
        assert!(open(&MasterKey::new(&[8; 32]), "meta-fr", &sealed).is_none());
    }
}
