//! What e-mails, phones and names share: invisible characters, white space, quotes, digests.

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Characters that show nothing and get into cells by copying: soft hyphen, zero-width and bidi marks, BOM.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'
            ..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    )
}

/// The text between a pair of quotes or brackets that enclose it whole.
pub(super) fn unwrap_pair<'a>(text: &'a str, pairs: &[(char, char)]) -> Option<&'a str> {
    pairs.iter().find_map(|&(open, close)| text.strip_prefix(open)?.strip_suffix(close))
}

pub(super) const QUOTES: &[(char, char)] =
    &[('"', '"'), ('\'', '\''), ('`', '`'), ('“', '”'), ('‘', '’'), ('«', '»'), ('„', '“'), ('‚', '‘'), ('’', '’')];

/// Whether the text is a SHA-256 in hexadecimal, by its shape.
pub(super) fn looks_hashed(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The digest a text of 64 hexadecimal digits stands for.
pub(super) fn parse_digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    const_hex::decode_to_slice(text.as_bytes().get(..64).filter(|_| text.len() == 64)?, &mut digest).ok()?;
    Some(digest)
}

/// NFC, lower case without locale, NFC; the Turkish capital İ becomes a plain i.
pub(super) fn push_lower(text: &str, out: &mut String) {
    if text.is_ascii() {
        let start = out.len();
        out.push_str(text);
        out[start..].make_ascii_lowercase();
        return;
    }
    let plain = is_nfc_quick(text.chars()) == IsNormalized::Yes && !text.contains('\u{130}');
    let lowered = if plain {
        text.to_lowercase()
    } else {
        text.nfc().map(|c| if c == '\u{130}' { 'i' } else { c }).collect::<String>().to_lowercase()
    };
    if is_nfc_quick(lowered.chars()) == IsNormalized::Yes {
        out.push_str(&lowered);
    } else {
        out.extend(lowered.nfc());
    }
}

/// Invisible characters gone, white space at the ends gone and inside made one space, NFC. Case is kept.
pub(super) fn push_tidy(text: &str, out: &mut String) {
    let start = out.len();
    let mut gap = false;
    for c in text.nfc().filter(|c| !is_invisible(*c)) {
        if c.is_whitespace() || c.is_control() {
            gap = true;
            continue;
        }
        if gap && out.len() > start {
            out.push(' ');
        }
        gap = false;
        out.push(c);
    }
}
