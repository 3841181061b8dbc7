//! Names, places and device ids: canonical form, and the platforms' rules.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::Rule;
use super::reason;
use super::text::{push_lower, push_tidy};
use crate::outcome::RejectReason;

/// Forms of address before a given name, suffixes after a family name, as Google's helper drops them.
const TITLES: [&str; 4] = ["mr.", "mrs.", "ms.", "dr."];
const SUFFIXES: [&str; 16] =
    ["jr.", "sr.", "2nd", "3rd", "ii", "iii", "iv", "v", "vi", "cpa", "dc", "dds", "vm", "jd", "md", "phd"];

/// A name: tidied and lowered.
pub(super) fn push_name(raw: &str, out: &mut String) {
    if raw.is_ascii() {
        let start = out.len();
        push_tidy(raw, out);
        out[start..].make_ascii_lowercase();
        return;
    }
    let mut tidy = String::new();
    push_tidy(raw, &mut tidy);
    push_lower(&tidy, out);
}

/// A two-letter country code in upper case.
pub(super) fn push_country(raw: &str, out: &mut String) -> Result<(), RejectReason> {
    let code = raw.trim();
    if code.is_empty() {
        return Err(reason::EMPTY);
    }
    // XX and ZZ are what ISO 3166 leaves to users, and what systems write for "unknown".
    match code.as_bytes() {
        [b'x' | b'X', b'x' | b'X'] | [b'z' | b'Z', b'z' | b'Z'] => Err(reason::BAD_COUNTRY),
        [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
            out.push(char::from(a.to_ascii_uppercase()));
            out.push(char::from(b.to_ascii_uppercase()));
            Ok(())
        }
        _ => Err(reason::BAD_COUNTRY),
    }
}

/// A device id in lower case; all zeros is what a device says whose owner opted out.
pub(super) fn push_mobile_id(raw: &str, out: &mut String) -> Result<(), RejectReason> {
    let id = raw.trim();
    if id.is_empty() {
        return Err(reason::EMPTY);
    }
    let shape = id.len() == 36
        && id.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        });
    if !shape {
        return Err(reason::INVALID_MOBILE_ID);
    }
    if id.bytes().all(|b| b == b'0' || b == b'-') {
        return Err(reason::PLACEHOLDER);
    }
    out.extend(id.chars().map(|c| c.to_ascii_lowercase()));
    Ok(())
}

/// What `rule` makes of a canonical value that is not an e-mail or a phone; blank when it leaves nothing. `family`
/// tells which of the name rules applies, `country` (canonical) which of the postcode rules.
pub(super) fn apply(rule: Rule, value: &str, family: bool, country: &str, out: &mut String) {
    match rule {
        Rule::NameLettersOnly => out.extend(value.chars().filter(|c| c.is_alphabetic() || is_combining_mark(*c))),
        Rule::NameWithoutTitles if family => out.push_str(without_suffixes(value)),
        Rule::NameWithoutTitles => push_without_titles(value, out),
        Rule::PostcodeCompact => push_compact_postcode(value, country, out),
        Rule::PostcodeAlphanumeric => {
            let start = out.len();
            push_compact_postcode(value, if country == "US" { country } else { "" }, out);
            let kept: String = out[start..].chars().filter(|c| c.is_alphanumeric()).collect();
            out.truncate(start);
            out.push_str(&kept);
        }
        Rule::Transliterated => push_transliterated(value, out),
        Rule::CityLettersOnly => push_ascii_letters(value, out),
        Rule::CountryLower => out.extend(value.chars().map(|c| c.to_ascii_lowercase())),
        _ => out.push_str(value),
    }
}

fn push_without_titles(name: &str, out: &mut String) {
    let start = out.len();
    for word in name.split(' ').filter(|word| !TITLES.contains(word)) {
        if out.len() > start {
            out.push(' ');
        }
        out.push_str(word);
    }
}

fn without_suffixes(mut name: &str) -> &str {
    loop {
        name = name.trim_end_matches([' ', ',']);
        let Some((before, last)) = name.rsplit_once([' ', ',']) else { return name };
        if !SUFFIXES.contains(&last) {
            return name;
        }
        name = before;
    }
}

/// Lower case without spaces; the United States' first five digits; British codes without the unit, which leaves
/// area, district and sector.
fn push_compact_postcode(value: &str, country: &str, out: &mut String) {
    let start = out.len();
    out.extend(value.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase));
    let compact = &out[start..];
    let keep = match country {
        "US" => compact.bytes().take(5).take_while(u8::is_ascii_digit).count(),
        "GB" => match compact.as_bytes() {
            [_, _, .., sector, a, b]
                if sector.is_ascii_digit() && a.is_ascii_alphabetic() && b.is_ascii_alphabetic() =>
            {
                compact.len() - 2
            }
            _ => compact.len(),
        },
        _ => compact.len(),
    };
    out.truncate(start + keep);
}

/// ASCII letters alone, accents folded as the languages fold them.
fn push_ascii_letters(value: &str, out: &mut String) {
    for c in value.nfd() {
        match c {
            'a'..='z' => out.push(c),
            'ß' => out.push_str("ss"),
            'æ' => out.push_str("ae"),
            'œ' => out.push_str("oe"),
            'ø' => out.push('o'),
            'ł' => out.push('l'),
            'đ' | 'ð' => out.push('d'),
            'þ' => out.push_str("th"),
            'ı' => out.push('i'),
            _ => {}
        }
    }
}

/// Letters and digits; the letters Amazon's helpers spell out are, other accents stay.
fn push_transliterated(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            'ß' => out.push_str("ss"),
            'ä' | 'æ' => out.push_str("ae"),
            'ö' => out.push_str("oe"),
            'ü' => out.push_str("ue"),
            'ø' => out.push('o'),
            c if c.is_alphanumeric() || is_combining_mark(c) => out.push(c),
            _ => {}
        }
    }
}
