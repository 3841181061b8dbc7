//! One value, explained: what it canonically is, what a platform gets, or why not. For people at a terminal.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::attributes::{apply, push_country, push_mobile_id, push_name};
use super::email::{self, Folded, MAX_ADDRESS};
use super::hash::sha256;
use super::phone::PhoneReader;
use super::text::{is_invisible, push_tidy};
use super::{Encoding, IdentifierKind, IdentifierSpec, IdentifierTable, NormalizationOptions, Rule, reason};
use crate::outcome::RejectReason;

/// What became of one raw value. Holds personal data: for the terminal of whoever typed it, never for a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Identified {
    /// The common form before the platform's own rule.
    pub canonical: Option<String>,
    /// What the platform gets, in its encoding.
    pub value: Option<String>,
    pub encoding: Encoding,
    /// Why there is no value.
    pub rejected: Option<RejectReason>,
}

impl std::fmt::Debug for Identified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.rejected {
            Some(reason) => write!(f, "Identified(rejected: {reason})"),
            None => write!(f, "Identified({:?})", self.encoding),
        }
    }
}

/// Takes a raw value the way [`Canonicaliser`](super::Canonicaliser) and [`Preparer`](super::Preparer) do. `region`
/// is the country of the person, for phones and postcodes.
pub fn identify(
    table: &IdentifierTable,
    options: &NormalizationOptions,
    kind: IdentifierKind,
    raw: &str,
    region: &str,
) -> Identified {
    let spec = table.spec(kind);
    let encoding = spec.map_or(Encoding::Plain, |spec| spec.encoding);
    let (canonical, value) = match canonical(options, kind, raw, region, false) {
        Ok((text, at)) => {
            let value = spec.ok_or(reason::NOT_TAKEN).and_then(|spec| platform_text(spec, options, &text, at, region));
            (Some(text), value)
        }
        Err(reason) => {
            let removes = spec.filter(|spec| spec.remove_inner_whitespace && reason == reason::INNER_WHITESPACE);
            let value = match removes {
                Some(spec) => canonical(options, kind, raw, region, true)
                    .and_then(|(text, at)| platform_text(spec, options, &text, at, region)),
                None => Err(reason),
            };
            (None, value)
        }
    };
    match value {
        Ok(text) => Identified { canonical, value: Some(encode(encoding, text)), encoding, rejected: None },
        Err(reason) => Identified { canonical, value: None, encoding, rejected: Some(reason) },
    }
}

/// The canonical text, and for e-mails where the `@` is.
fn canonical(
    options: &NormalizationOptions,
    kind: IdentifierKind,
    raw: &str,
    region: &str,
    remove_white_space: bool,
) -> Result<(String, usize), RejectReason> {
    let mut text = String::new();
    let mut at = 0;
    match kind {
        IdentifierKind::Email => at = email::canonicalise(raw, remove_white_space, &mut text)?,
        IdentifierKind::Phone => PhoneReader::new(options.strict_phones).read(raw, region, &mut text)?,
        IdentifierKind::MobileAdId => push_mobile_id(raw, &mut text)?,
        IdentifierKind::Country => push_country(raw, &mut text)?,
        IdentifierKind::Postcode => push_tidy(raw, &mut text),
        _ => push_name(raw, &mut text),
    }
    if text.is_empty() { Err(reason::EMPTY) } else { Ok((text, at)) }
}

/// The text the platform's rule makes, before hashing.
fn platform_text(
    spec: &IdentifierSpec,
    options: &NormalizationOptions,
    text: &str,
    at: usize,
    region: &str,
) -> Result<String, RejectReason> {
    match spec.kind {
        IdentifierKind::Email if email::folds(spec.rule, &text[at + 1..], &options.lowered_gmail_domains()) => {
            let mut buffer = [0; MAX_ADDRESS];
            match email::fold(text, at, spec.rule == Rule::EmailAlphanumericLocal, &mut buffer) {
                Folded::Unchanged => Ok(text.to_owned()),
                Folded::Changed(length) => Ok(String::from_utf8_lossy(&buffer[..length]).into_owned()),
                Folded::Empty => Err(reason::EMPTY_LOCAL),
            }
        }
        IdentifierKind::Phone if spec.rule == Rule::PhoneDigits => Ok(text[1..].to_owned()),
        IdentifierKind::Email | IdentifierKind::Phone | IdentifierKind::MobileAdId => Ok(text.to_owned()),
        kind => {
            let mut value = String::new();
            let country = region.trim().to_ascii_uppercase();
            apply(spec.rule, text, kind == IdentifierKind::FamilyName, &country, &mut value);
            if value.is_empty() { Err(reason::NOTHING_LEFT) } else { Ok(value) }
        }
    }
}

fn encode(encoding: Encoding, text: String) -> String {
    match encoding {
        Encoding::Hex => const_hex::encode(sha256(text.as_bytes())),
        Encoding::Base64 => STANDARD.encode(sha256(text.as_bytes())),
        Encoding::Plain => text,
    }
}

/// Most characters of a mask.
const MASK_CHARS: usize = 64;

/// A raw value masked for a terminal: its shape, not whom it names. Letters become `x` and `X`, digits `9`; invisible
/// and unusual white space is spelt out, for that is what one looks for. Phones keep leading zeros and two digits of
/// a country code.
pub fn mask(kind: IdentifierKind, raw: &str) -> String {
    let mut masked = String::new();
    let phone = kind == IdentifierKind::Phone;
    let mut shown = if phone && raw.trim_start().starts_with('+') { 2 } else { 0 };
    let mut leading = phone;
    for (index, c) in raw.chars().enumerate() {
        if index == MASK_CHARS {
            masked.push('…');
            break;
        }
        if c.is_numeric() {
            if shown > 0 {
                shown -= 1;
                masked.push(c);
            } else {
                masked.push(if leading && c == '0' { '0' } else { '9' });
            }
            leading &= c == '0';
        } else if c != ' ' && (is_invisible(c) || c.is_whitespace() || c.is_control()) {
            masked.push_str(&format!("<U+{:04X}>", c as u32));
        } else if c.is_alphabetic() {
            masked.push(if c.is_uppercase() { 'X' } else { 'x' });
        } else if c.is_ascii() {
            masked.push(c);
        } else {
            masked.push('·');
        }
    }
    masked
}
