//! E-mail addresses: raw cell to canonical form, and the platforms' ways of folding it.
//!
//! Most cells are clean ASCII: one pass lowers and checks them. That pass only ever accepts; whatever it does not
//! like goes the long way, which alone refuses.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

use super::Rule;
use super::reason;
use super::text::{QUOTES, is_invisible, looks_hashed, push_lower, unwrap_pair};
use crate::outcome::RejectReason;

/// Longest local part and longest address, in bytes (RFC 5321).
const MAX_LOCAL: usize = 64;
pub(super) const MAX_ADDRESS: usize = 254;

const BRACKETS: &[(char, char)] = &[('(', ')'), ('[', ']'), ('{', '}'), ('<', '>')];

/// Appends the canonical form of `raw` and returns where its `@` is, counted from the start of the address.
/// With `remove_white_space` white space inside is dropped instead of refused. Nothing is appended on refusal.
pub(super) fn canonicalise(raw: &str, remove_white_space: bool, out: &mut String) -> Result<usize, RejectReason> {
    let start = out.len();
    let trimmed = raw.trim_ascii();
    if let Some(clean) = ascii(trimmed.as_bytes()) {
        out.push_str(trimmed);
        if clean.has_capitals {
            out[start..].make_ascii_lowercase();
        }
        return Ok(clean.at);
    }
    let result = general(raw, remove_white_space, out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

// What a byte may be part of.
const ATOM: u8 = 1;
const LABEL: u8 = 2;
const DOT: u8 = 8;
const HYPHEN: u8 = 16;

const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut b = 0;
    while b < 128 {
        let byte = b as u8;
        if byte.is_ascii_alphanumeric() {
            class[b] = ATOM | LABEL;
        } else if byte == b'-' {
            class[b] = ATOM | HYPHEN;
        } else if byte == b'.' {
            class[b] = DOT;
        } else if is_atom_symbol(byte) {
            class[b] = ATOM;
        }
        b += 1;
    }
    class
};

const fn is_atom_symbol(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'#'
            | b'$'
            | b'%'
            | b'&'
            | b'\''
            | b'*'
            | b'+'
            | b'/'
            | b'='
            | b'?'
            | b'^'
            | b'_'
            | b'`'
            | b'{'
            | b'|'
            | b'}'
            | b'~'
    )
}

// What `ascii` knows of a byte, one bit each; a letter or digit has none of the first four.
const BIT_SYMBOL: u8 = 1;
const BIT_DOT: u8 = 2;
const BIT_HYPHEN: u8 = 4;
const BIT_AT: u8 = 8;
const PLANES: usize = 4;
const BIT_UPPER: u8 = 16;
/// Stands in no address.
const BIT_OTHER: u8 = 32;

/// Longest address the short way looks at.
const LONG: usize = 64;

/// What is known of a clean ASCII address.
struct Clean {
    at: usize,
    has_capitals: bool,
}

/// `None`: not sure.
fn ascii(address: &[u8]) -> Option<Clean> {
    // An apostrophe or bracket at the start calls for unwrapping. At the end there is mostly a letter; then neither
    // dot nor hyphen stands there, and the top level is not a number.
    if matches!(address.first()?, b'\'' | b'`' | b'{') || !address.last()?.is_ascii_alphabetic() {
        return None;
    }
    let ([symbol, dot, hyphen, at_sign], any) = match address.len() {
        8..16 => planes::<8>(address)?,
        16..=32 => planes::<16>(address)?,
        33..=LONG => planes::<32>(address)?,
        _ => return None,
    };
    if any & BIT_OTHER != 0 || at_sign.count_ones() != 1 {
        return None;
    }
    let domain = !(at_sign | (at_sign - 1));
    // No dot stands at the start or beside a dot or the `@`; nor, in the domain, does a hyphen.
    let end = dot | at_sign;
    let after_end = (end << 1) | 1;
    let bad = (symbol & domain) | (end & after_end) | (hyphen & domain & after_end) | (dot & domain & (hyphen << 1));
    let last_dot = (dot & domain).checked_ilog2()? as usize;
    let top_is_long = address.len() - last_dot > 2;
    (bad == 0 && top_is_long)
        .then_some(Clean { at: at_sign.trailing_zeros() as usize, has_capitals: any & BIT_UPPER != 0 })
}

/// For each bit of what is known of a byte, the bytes of `address` that have it, as a mask; and the bits that any
/// byte has. `None` unless the address has `N` to `2 * N` bytes: it is taken as its first `N` and its last `N`, which
/// may overlap, so that nothing is copied and every length costs the same.
fn planes<const N: usize>(address: &[u8]) -> Option<([u64; PLANES], u8)> {
    let (first, last) = (address.first_chunk::<N>()?, address.last_chunk::<N>()?);
    let ((mut planes, any), (rest, any_rest)) = (gather(first), gather(last));
    let offset = address.len() - N;
    for (plane, rest) in planes.iter_mut().zip(rest) {
        *plane |= rest << offset;
    }
    Some((planes, any | any_rest))
}

/// Simple enough for the compiler to look at sixteen bytes at a time, where a loop with a table would go byte by byte.
#[inline(always)]
fn gather<const N: usize>(chunk: &[u8; N]) -> ([u64; PLANES], u8) {
    let mut block = *chunk;
    let mut any = 0;
    for byte in &mut block {
        let b = *byte;
        let within = |first: u8, last: u8| b.wrapping_sub(first) <= last - first;
        let upper = within(b'A', b'Z');
        let alphanumeric = within(b'a', b'z') | upper | within(b'0', b'9');
        let (dot, hyphen, at_sign) = (b == b'.', b == b'-', b == b'@');
        let symbol = within(b'#', b'\'')
            | within(b'*', b'+')
            | within(b'^', b'`')
            | within(b'{', b'~')
            | (b == b'!')
            | (b == b'/')
            | (b == b'=')
            | (b == b'?');
        *byte = (u8::from(symbol) * BIT_SYMBOL)
            | (u8::from(dot) * BIT_DOT)
            | (u8::from(hyphen) * BIT_HYPHEN)
            | (u8::from(at_sign) * BIT_AT)
            | (u8::from(upper) * BIT_UPPER)
            | (u8::from(!(alphanumeric | dot | hyphen | at_sign | symbol)) * BIT_OTHER);
        any |= *byte;
    }
    let mut planes = [0; PLANES];
    for (group, bytes) in block.as_chunks::<8>().0.iter().enumerate() {
        let bytes = u64::from_le_bytes(*bytes);
        for (bit, plane) in planes.iter_mut().enumerate() {
            // Gathers the lowest bit of each byte into the top byte.
            let gathered = ((bytes >> bit) & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            *plane |= gathered << (8 * group);
        }
    }
    (planes, any)
}

/// The long way: every rule, in order.
fn general(raw: &str, remove_white_space: bool, out: &mut String) -> Result<usize, RejectReason> {
    let visible = if raw.contains(is_invisible) {
        Cow::Owned(raw.chars().filter(|c| !is_invisible(*c)).collect())
    } else {
        Cow::Borrowed(raw)
    };
    let bare = unwrap(visible.trim());
    if bare.is_empty() {
        return Err(reason::EMPTY);
    }
    if looks_hashed(bare) {
        return Err(reason::LOOKS_HASHED);
    }
    // Full-width forms are typed on East Asian keyboards; NFC alone keeps them.
    let is_wide = |c: char| matches!(c, '\u{ff01}'..='\u{ff5e}' | '\u{3002}' | '\u{ff61}');
    let narrow = if bare.contains(is_wide) || remove_white_space {
        let narrow = bare.chars().map(|c| match c {
            '\u{3002}' | '\u{ff61}' => '.',
            c if is_wide(c) => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
            c => c,
        });
        Cow::Owned(narrow.filter(|c| !remove_white_space || !c.is_whitespace()).collect())
    } else {
        Cow::Borrowed(bare)
    };
    // Narrowing can lay bare what unwrapping looks for (full-width quotes, an ideographic full stop at the end).
    let narrow = unwrap(&narrow);
    let start = out.len();
    push_lower(narrow, out);
    check(&out[start..])
}

/// Takes off display names, `mailto:`, quotes, brackets and separators around, until nothing changes.
fn unwrap(mut text: &str) -> &str {
    loop {
        let before = text.len();
        text = text.trim();
        if let Some((_, address)) = text.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
            text = address;
        }
        if text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("mailto:")) {
            text = &text[7..];
            text = text.split_once('?').map_or(text, |(address, _)| address);
        }
        if let Some(inner) = unwrap_pair(text, QUOTES).or_else(|| unwrap_pair(text, BRACKETS)) {
            text = inner;
        }
        text = text.strip_suffix([',', ';', '.']).unwrap_or(text);
        if text.len() == before {
            return text;
        }
    }
}

/// Whether a lowered address is one; the position of its `@`.
fn check(address: &str) -> Result<usize, RejectReason> {
    if address.is_empty() {
        return Err(reason::EMPTY);
    }
    let Some((local, domain)) = address.split_once('@') else { return Err(reason::NO_AT) };
    if domain.contains('@') {
        return Err(reason::SEVERAL_AT);
    }
    if address.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(reason::INNER_WHITESPACE);
    }
    if local.is_empty() {
        return Err(reason::EMPTY_LOCAL);
    }
    if local.len() > MAX_LOCAL || address.len() > MAX_ADDRESS {
        return Err(reason::TOO_LONG);
    }
    for part in [local, domain] {
        if part.starts_with('.') || part.ends_with('.') || part.contains("..") {
            return Err(reason::DOTS);
        }
    }
    if local.bytes().any(|b| b.is_ascii() && CLASS[b as usize] & (ATOM | DOT) == 0) {
        return Err(reason::BAD_LOCAL);
    }
    let label_symbol = |b: u8| CLASS[b as usize] & (LABEL | DOT | HYPHEN) != 0;
    if domain.is_empty() || domain.bytes().any(|b| b.is_ascii() && !label_symbol(b)) {
        return Err(reason::BAD_DOMAIN);
    }
    if domain.split('.').any(|label| label.starts_with('-') || label.ends_with('-')) {
        return Err(reason::BAD_DOMAIN);
    }
    let Some((_, top)) = domain.rsplit_once('.') else { return Err(reason::NO_TLD) };
    if top.nfc().nth(1).is_none() || top.chars().all(char::is_numeric) {
        return Err(reason::BAD_DOMAIN);
    }
    Ok(local.len())
}

/// What a platform's rule makes of a canonical address.
#[derive(PartialEq, Eq)]
pub(super) enum Folded {
    Unchanged,
    /// The changed address lies in the first bytes of the buffer.
    Changed(usize),
    /// The rule leaves no local part.
    Empty,
}

/// Whether `domain` folds under `rule`, given the configured Gmail-like domains.
pub(super) fn folds(rule: Rule, domain: &str, gmail_domains: &[String]) -> bool {
    match rule {
        Rule::EmailFoldGmail => gmail_domains.iter().any(|gmail| gmail == domain),
        Rule::EmailFoldGmailComOnly => domain != "googlemail.com" && gmail_domains.iter().any(|gmail| gmail == domain),
        Rule::EmailFoldAll | Rule::EmailAlphanumericLocal => true,
        _ => false,
    }
}

/// Cuts the local part of `address` (its `@` at `at`) at `+` and deletes its dots, or everything but ASCII letters
/// and digits.
pub(super) fn fold(address: &str, at: usize, alphanumeric: bool, buffer: &mut [u8; MAX_ADDRESS]) -> Folded {
    let (local, rest) = address.as_bytes().split_at(at);
    let kept = local.iter().position(|&b| b == b'+').map_or(local, |plus| &local[..plus]);
    let mut length = 0;
    for &byte in kept {
        let keep = if alphanumeric { byte.is_ascii_alphanumeric() } else { byte != b'.' };
        if keep {
            buffer[length] = byte;
            length += 1;
        }
    }
    if length == 0 {
        return Folded::Empty;
    }
    if length == at {
        return Folded::Unchanged;
    }
    buffer[length..length + rest.len()].copy_from_slice(rest);
    Folded::Changed(length + rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

    use super::{canonicalise, general};

    proptest! {
        #![proptest_config(ProptestConfig { cases: 30_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// The one pass for clean ASCII may leave work to the long way, but never say anything else.
        #[test]
        fn the_short_way_says_what_the_long_way_says(
            raw in r"[ \t]?['`{<]?[a-cA-C0-9.+_'-]{0,6}([a-zA-Z]{8,40})?[!-~]?@[a-cA-C0-9.-]{0,8}[!-~]?[.-]?[a-c0-9-]{0,3}[ .;'}]?"
        ) {
            let (mut short, mut long) = (String::new(), String::new());
            prop_assert_eq!(canonicalise(&raw, false, &mut short), general(&raw, false, &mut long));
            if !short.is_empty() {
                prop_assert_eq!(short, long);
            }
        }
    }
}
