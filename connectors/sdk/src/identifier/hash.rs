//! The one place where identifiers become digests.

use sha2::block_api::compress256;

/// SHA-256's initial state (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// SHA-256. Nearly every identifier fits one block, so the padding is laid by hand: the streaming interface costs a
/// tenth of the time.
pub(super) fn sha256(message: &[u8]) -> [u8; 32] {
    let mut state = INITIAL;
    let mut last = [0u8; 64];
    let length = message.len() as u64 * 8;
    if message.len() < 56 {
        last[..message.len()].copy_from_slice(message);
        last[message.len()] = 0x80;
    } else {
        let (whole, rest) = message.as_chunks::<64>();
        compress256(&mut state, whole);
        last[..rest.len()].copy_from_slice(rest);
        last[rest.len()] = 0x80;
        if rest.len() >= 56 {
            compress256(&mut state, &[last]);
            last = [0; 64];
        }
    }
    last[56..].copy_from_slice(&length.to_be_bytes());
    compress256(&mut state, &[last]);
    bytes(state)
}

/// Room that must lie behind a message for [`sha256_within`] to take the quick way.
pub(super) const ROOM: usize = 64;

/// SHA-256 of the first `length` bytes of `text`. With [`ROOM`] bytes there, whatever they are, the block is made
/// by masking them whole sixteens at a time: copied piece by piece, the processor would wait for the pieces to
/// arrive in memory before it could load them as one.
#[inline]
pub(super) fn sha256_within(text: &[u8], length: usize) -> [u8; 32] {
    let (Some(room), Some(padding)) = (text.first_chunk::<ROOM>(), PADDING.get(length)) else {
        return sha256(&text[..length]);
    };
    let kept: &[u8; 64] = KEPT[PADDING.len() - length..].first_chunk().expect("the table has a block more");
    let mut block = *padding;
    for ((padded, byte), kept) in block.iter_mut().zip(room).zip(kept) {
        *padded |= byte & kept;
    }
    let mut state = INITIAL;
    compress256(&mut state, &[block]);
    bytes(state)
}

/// What follows a message of each length that fits one block: a one, and the length in bits.
static PADDING: [[u8; 64]; 56] = {
    let mut padding = [[0; 64]; 56];
    let mut length = 0;
    while length < padding.len() {
        let [high, low] = (length as u16 * 8).to_be_bytes();
        padding[length][length] = 0x80;
        padding[length][62] = high;
        padding[length][63] = low;
        length += 1;
    }
    padding
};

/// Ones, then a block of zeros: seen from `n` bytes before the zeros, the mask of a message of `n` bytes.
static KEPT: [u8; 56 + 64] = {
    let mut kept = [0; 56 + 64];
    let mut at = 0;
    while at < 56 {
        kept[at] = 0xff;
        at += 1;
    }
    kept
};

#[inline]
fn bytes(state: [u32; 8]) -> [u8; 32] {
    let mut digest = [0; 32];
    for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    digest
}

/// SHA-256 of nothing: a blank cell that somebody hashed.
pub(super) const EMPTY: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::{EMPTY, sha256, sha256_within};

    #[test]
    fn agrees_with_the_streaming_interface_at_every_length() {
        let bytes: Vec<u8> = (0..300u32).map(|i| (i * 7 + 3) as u8).collect();
        for length in 0..=bytes.len() {
            assert_eq!(sha256(&bytes[..length])[..], Sha256::digest(&bytes[..length])[..], "{length} bytes");
            assert_eq!(sha256_within(&bytes, length), sha256(&bytes[..length]), "{length} bytes of more");
            assert_eq!(
                sha256_within(&bytes[..length], length),
                sha256(&bytes[..length]),
                "{length} bytes without room"
            );
        }
        assert_eq!(sha256(b""), EMPTY);
    }
}
