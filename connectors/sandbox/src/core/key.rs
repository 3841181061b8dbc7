//! What a platform remembers of an identifier: its kind and a 32-byte digest, never the identifier.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// SHA-256 of an identifier.
pub(crate) type Digest = [u8; 32];

/// SHA-256 of nothing: what careless clients send for an empty cell.
pub(crate) const EMPTY_HASH: Digest = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Kind {
    Email,
    Phone,
    /// Name and postcode together, digested once more.
    Address,
    /// Digest of the plain value.
    ExternId,
    /// Digest of the plain value.
    MobileId,
    /// Digest of the plain value.
    UserId,
}

impl Kind {
    const ALL: [Kind; 6] = [Kind::Email, Kind::Phone, Kind::Address, Kind::ExternId, Kind::MobileId, Kind::UserId];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Email => "email",
            Kind::Phone => "phone",
            Kind::Address => "address",
            Kind::ExternId => "extern_id",
            Kind::MobileId => "mobile_id",
            Kind::UserId => "user_id",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    pub(crate) digest: Digest,
}

impl Key {
    pub(crate) fn new(kind: Kind, digest: Digest) -> Self {
        Self { kind, digest }
    }

    /// The key of a value that platforms take unhashed.
    pub(crate) fn of_plain(kind: Kind, value: &str) -> Self {
        Self::new(kind, sha256(value.as_bytes()))
    }

    /// Eight uniform bytes of it.
    pub(crate) fn word(&self) -> u64 {
        let mut word = [0; 8];
        word.copy_from_slice(&self.digest[..8]);
        u64::from_le_bytes(word) ^ self.kind as u64
    }

    /// `kind:hex`, the form the control endpoint lists.
    pub(crate) fn text(&self) -> String {
        format!("{}:{}", self.kind.name(), const_hex::encode(self.digest))
    }
}

/// Shows the kind only.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.kind.name())
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.word());
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        let (kind, hex) = text.split_once(':').ok_or_else(|| de::Error::custom("a key is written kind:hex"))?;
        let kind = Kind::ALL.into_iter().find(|k| k.name() == kind).ok_or_else(|| de::Error::custom("unknown kind"))?;
        let digest = const_hex::decode_to_array(hex).map_err(|_| de::Error::custom("not 64 hex digits"))?;
        Ok(Key { kind, digest })
    }
}

/// Takes the digest's own bytes as hash: they are uniform already.
#[derive(Default, Clone, Copy)]
pub(crate) struct PassHasher(u64);

impl Hasher for PassHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(b);
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
    fn write_u32(&mut self, word: u32) {
        self.0 = u64::from(word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

pub(crate) type PassState = BuildHasherDefault<PassHasher>;
pub(crate) type KeyMap<V> = HashMap<Key, V, PassState>;
pub(crate) type PersonMap<V> = HashMap<u32, V, PassState>;
pub(crate) type PersonSet = HashSet<u32, PassState>;

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// Reads 64 lower-case hex digits; with `any_case` upper case too.
pub(crate) fn from_hex(text: &str, any_case: bool) -> Option<Digest> {
    if text.len() != 64 || (!any_case && text.bytes().any(|b| b.is_ascii_uppercase())) {
        return None;
    }
    const_hex::decode_to_array(text.as_bytes()).ok()
}

/// Members of one request: keys laid end to end, one slice per row.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Rows {
    keys: Vec<Key>,
    ends: Vec<u32>,
}

impl Rows {
    pub(crate) fn with_capacity(rows: usize, keys_per_row: usize) -> Self {
        Self { keys: Vec::with_capacity(rows * keys_per_row), ends: Vec::with_capacity(rows) }
    }
    pub(crate) fn key(&mut self, key: Key) {
        self.keys.push(key);
    }
    /// Closes the row begun; says whether it has any key.
    pub(crate) fn end_row(&mut self) -> bool {
        let end = u32::try_from(self.keys.len()).expect("a request has far fewer than 2^32 keys");
        let start = self.ends.last().copied().unwrap_or(0);
        self.ends.push(end);
        end > start
    }
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }
    pub(crate) fn row(&self, index: usize) -> &[Key] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.keys[start..self.ends[index] as usize]
    }
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[Key]> {
        (0..self.len()).map(|i| self.row(i))
    }
    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }
}

/// A well-mixed number from a seed and a counter (SplitMix64): the one source of chance in the crate.
pub(crate) fn mix(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A number in [0, 1).
pub(crate) fn unit(seed: u64, n: u64) -> f64 {
    (mix(seed, n) >> 11) as f64 * 2f64.powi(-53)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_exact() {
        let hex = const_hex::encode(EMPTY_HASH);
        assert_eq!(from_hex(&hex, false), Some(EMPTY_HASH));
        assert_eq!(sha256(b""), EMPTY_HASH);
        assert_eq!(from_hex(&hex.to_uppercase(), false), None);
        assert_eq!(from_hex(&hex.to_uppercase(), true), Some(EMPTY_HASH));
        assert_eq!(from_hex(&hex[1..], true), None);
        assert_eq!(from_hex(&format!("0x{}", &hex[2..]), true), None, "a prefix is no hex digit");
    }

    #[test]
    fn rows_keep_their_bounds() {
        let mut rows = Rows::default();
        rows.key(Key::of_plain(Kind::UserId, "a"));
        rows.key(Key::of_plain(Kind::UserId, "b"));
        assert!(rows.end_row());
        assert!(!rows.end_row());
        assert_eq!(rows.iter().map(<[Key]>::len).collect::<Vec<_>>(), [2, 0]);
    }

    #[test]
    fn a_key_survives_writing_and_hides_itself() {
        let key = Key::new(Kind::Email, EMPTY_HASH);
        let text = serde_json::to_string(&key).unwrap();
        assert!(serde_json::from_str::<Key>(&text).unwrap() == key);
        assert_eq!(format!("{key:?}"), "Key(email)");
    }
}
