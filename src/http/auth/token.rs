//! The tokens themselves: `rvl_<id>_<secret>`. The id may be shown; of the secret only a digest is kept, which cannot
//! be guessed back because the secret is random.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

const ID_BYTES: usize = 6;
/// 256 bits.
const SECRET_BYTES: usize = 32;

/// A token that was just made. Shown once; afterwards nobody can say it again.
#[derive(Clone)]
pub struct NewToken {
    pub id: String,
    text: String,
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewToken").field("id", &self.id).finish_non_exhaustive()
    }
}

impl NewToken {
    /// # Errors
    /// When the machine has no randomness to give.
    pub fn draw() -> Result<Self, ring::error::Unspecified> {
        let mut random = [0; ID_BYTES + SECRET_BYTES];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random)?;
        let (id, secret) = random.split_at(ID_BYTES);
        let id = const_hex::encode(id);
        let text = format!("rvl_{id}_{}", const_hex::encode(secret));
        Ok(Self { id, text })
    }
    /// For its owner, once.
    pub fn reveal(&self) -> &str {
        &self.text
    }
    pub fn hash(&self) -> String {
        hash(&self.text)
    }
}

/// The id of a text that has the form of a token.
pub fn id_of(text: &str) -> Option<&str> {
    let (id, secret) = text.strip_prefix("rvl_")?.split_once('_')?;
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    (id.len() == 2 * ID_BYTES && secret.len() == 2 * SECRET_BYTES && hex(id) && hex(secret)).then_some(id)
}

/// What is kept of a token.
pub fn hash(text: &str) -> String {
    const_hex::encode(Sha256::digest(text.as_bytes()))
}

/// Takes as long for any two digests.
pub fn same_hash(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_random_and_do_not_show() {
        let (one, two) = (NewToken::draw().unwrap(), NewToken::draw().unwrap());
        assert_ne!(one.reveal(), two.reveal());
        assert_eq!(id_of(one.reveal()), Some(one.id.as_str()));
        assert!(same_hash(&one.hash(), &hash(one.reveal())) && !same_hash(&one.hash(), &two.hash()));
        assert!(!format!("{one:?}").contains(one.reveal()));
        for wrong in ["", "rvl_", "rvl_0_0", "Bearer x", &one.reveal()[1..], &one.reveal().to_uppercase()] {
            assert_eq!(id_of(wrong), None, "{wrong}");
        }
    }
}
