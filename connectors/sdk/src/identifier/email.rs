//! E-mail addresses: raw cell to canonical form, and the platforms' ways of folding it.
//!
//! Most cells are clean ASCII: one pass lowers and checks them. That pass only ever accepts; whatever it does not
//! like goes the long way, which alone refuses.

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
    if let Some(at) = ascii(raw.as_bytes(), out) {
        return Ok(at);
    }
    out.truncate(start);
    let result = general(raw, remove_white_space, out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// What a byte may be part of.
const ATOM: u8 = 1;
const LABEL: u8 = 2;
const DIGIT: u8 = 4;

const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut b = 0;
    while b < 128 {
        let byte = b as u8;
        if byte.is_ascii_alphabetic() {
            class[b] = ATOM | LABEL;
        } else if byte.is_ascii_digit() {
            class[b] = ATOM | LABEL | DIGIT;
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
            | b'-'
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

/// The one pass for clean ASCII. `None`: not sure.
fn ascii(raw: &[u8], out: &mut String) -> Option<usize> {
    let raw = raw.trim_ascii();
    if raw.len() > MAX_ADDRESS {
        return None;
    }
    let mut lowered = [0u8; MAX_ADDRESS];
    let lowered = &mut lowered[..raw.len()];
    // An apostrophe or a word such as `mailto:` at the start calls for unwrapping.
    if matches!(raw.first()?, b'\'' | b'`' | b'{') {
        return None;
    }
    let mut at = 0;
    let mut after_dot = true;
    for (i, (&byte, slot)) in raw.iter().zip(lowered.iter_mut()).enumerate() {
        *slot = byte.to_ascii_lowercase();
        if CLASS[byte as usize] & ATOM != 0 {
            after_dot = false;
        } else if byte == b'.' && !after_dot {
            after_dot = true;
        } else if byte == b'@' && !after_dot {
            at = i;
            break;
        } else {
            return None;
        }
    }
    if at == 0 || at > MAX_LOCAL {
        return None;
    }
    // The domain: `previous` starts as a dot so that labels cannot begin with a hyphen.
    let mut previous = b'.';
    let mut label = at + 1;
    let mut digits_only = true;
    for (i, (&byte, slot)) in raw.iter().zip(lowered.iter_mut()).enumerate().skip(at + 1) {
        let class = CLASS[byte as usize];
        if class & LABEL != 0 {
            digits_only &= class & DIGIT != 0;
        } else if byte == b'.' && previous != b'.' && previous != b'-' {
            label = i + 1;
            digits_only = true;
        } else if byte == b'-' && previous != b'.' {
            digits_only = false;
        } else {
            return None;
        }
        previous = byte;
        *slot = byte.to_ascii_lowercase();
    }
    if label == at + 1 || digits_only || previous == b'-' || raw.len() - label < 2 {
        return None;
    }
    out.push_str(std::str::from_utf8(lowered).ok()?);
    Some(at)
}

/// The long way: every rule, in order.
fn general(raw: &str, remove_white_space: bool, out: &mut String) -> Result<usize, RejectReason> {
    let visible: String = raw.chars().filter(|c| !is_invisible(*c)).collect();
    let bare = unwrap(visible.trim());
    if bare.is_empty() {
        return Err(reason::EMPTY);
    }
    if looks_hashed(bare) {
        return Err(reason::LOOKS_HASHED);
    }
    // Full-width forms are typed on East Asian keyboards; NFC alone keeps them.
    let narrow: String = bare
        .chars()
        .map(|c| match c {
            '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
            '\u{3002}' | '\u{ff61}' => '.',
            c => c,
        })
        .filter(|c| !remove_white_space || !c.is_whitespace())
        .collect();
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
    if local.bytes().any(|b| b.is_ascii() && b != b'.' && CLASS[b as usize] & ATOM == 0) {
        return Err(reason::BAD_LOCAL);
    }
    let label_symbol = |b: u8| b == b'-' || b == b'.' || CLASS[b as usize] & LABEL != 0;
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
