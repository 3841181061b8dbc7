//! Phone numbers: raw cell to E.164, around a port of libphonenumber.
//!
//! The library takes what people type; the rules here are for what warehouses hold: floats, two numbers in a cell,
//! country codes without `+`, typographic spaces, stand-ins.

mod automaton;
mod fast;
mod plan;

use rlibphonenumber::{
    NumberLengthType, PHONE_NUMBER_UTIL, ParseError, PhoneNumber, PhoneNumberType, Region, ValidationError,
    get_national_significant_number_owned,
};

use self::plan::RegionFacts;
use super::reason;
use super::text::{QUOTES, is_invisible, looks_hashed, unwrap_pair};
use crate::outcome::RejectReason;

/// Most digits E.164 allows, country code included.
const MAX_DIGITS: usize = 15;
/// With this many digits before it, a letter or separator begins something else: an extension, a second number.
const DIGITS_BEFORE_CUT: usize = 7;
/// Where numbers of the French plan that France itself does not use belong: Réunion and Mayotte, Guadeloupe,
/// French Guiana, Martinique.
const FRENCH_OVERSEAS: [i32; 4] = [262, 590, 594, 596];

/// Reads phone numbers; holds the buffers that takes.
#[derive(Debug)]
pub(super) struct PhoneReader {
    strict: bool,
    /// The region read last, as the row wrote it: rows of one country follow each other.
    last: Option<([u8; 2], Option<&'static RegionFacts>)>,
}

impl PhoneReader {
    pub(super) fn new(strict: bool) -> Self {
        Self { strict, last: None }
    }

    /// Appends the number as `+` and digits. `region` is the row's country, in any case, possibly unknown or blank.
    /// Nothing is appended on refusal.
    pub(super) fn read(&mut self, raw: &str, region: &str, out: &mut String) -> Result<(), RejectReason> {
        let region = self.region(region);
        if fast::read(raw, region, self.strict, out) {
            return Ok(());
        }
        let (country_code, national) = settle(full(raw, region.and_then(Home::of))?, self.strict)?;
        push_e164(country_code, &national, out);
        Ok(())
    }
}

impl PhoneReader {
    fn region(&mut self, name: &str) -> Option<&'static RegionFacts> {
        let Ok(letters) = <[u8; 2]>::try_from(name.as_bytes()) else { return plan::region(name) };
        match self.last {
            Some((last, facts)) if last == letters => facts,
            _ => {
                let facts = plan::region(name);
                self.last = Some((letters, facts));
                facts
            }
        }
    }
}

fn push_e164(country_code: i32, national: &str, out: &mut String) {
    use std::fmt::Write;
    write!(out, "+{country_code}{national}").expect("writing to a string does not fail");
}

/// The country of the row.
#[derive(Clone, Copy)]
struct Home {
    region: Region,
    country_code: u16,
    trunk: &'static str,
}

impl Home {
    fn of(facts: &RegionFacts) -> Option<Self> {
        let region = Region::from_code(std::str::from_utf8(&facts.name).ok()?).ok()?;
        Some(Self { region, country_code: facts.country_code, trunk: facts.trunk })
    }
}

/// How good a reading is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    No,
    Possible,
    Valid,
}

#[derive(Clone)]
struct Reading {
    number: PhoneNumber,
    rank: Rank,
}

impl Reading {
    fn of(number: PhoneNumber) -> Self {
        let util = &*PHONE_NUMBER_UTIL;
        let possible =
            |kind| util.is_possible_number_for_type_with_reason(&number, kind) == Ok(NumberLengthType::IsPossible);
        let rank = if util.is_valid_number(&number) {
            Rank::Valid
        } else if possible(PhoneNumberType::Mobile) || possible(PhoneNumberType::FixedLine) {
            Rank::Possible
        } else {
            Rank::No
        };
        Self { number, rank }
    }
}

/// The reading of a raw cell by every rule and the library.
fn full(raw: &str, home: Option<Home>) -> Result<Reading, RejectReason> {
    let cleaned = clean(raw);
    best(prepare(cleaned.trim())?, home)
}

/// Invisible characters gone, white space as spaces, full-width forms as ASCII.
fn clean(raw: &str) -> String {
    raw.chars()
        .filter(|c| !is_invisible(*c))
        .map(|c| match c {
            c if c.is_whitespace() => ' ',
            '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
            c => c,
        })
        .collect()
}

/// The part of a cleaned cell that can be a number, from its first digit or `+` on.
fn prepare(mut text: &str) -> Result<&str, RejectReason> {
    while let Some(inner) = unwrap_pair(text, QUOTES) {
        text = inner.trim();
    }
    if text.is_empty() {
        return Err(reason::EMPTY);
    }
    if looks_hashed(text) {
        return Err(reason::LOOKS_HASHED);
    }
    if is_scientific(text) {
        return Err(reason::SCIENTIFIC);
    }
    text = without_fraction(text);
    let Some(first) = text.find(char::is_numeric) else { return Err(reason::NO_NUMBER) };
    // A plus counts when only punctuation stands between it and the digits.
    let plus = text[..first].rfind('+').filter(|&at| !text[at..first].contains(char::is_alphabetic));
    text = &text[plus.unwrap_or(first)..];
    let mut digits = 0;
    for (at, c) in text.char_indices() {
        if c.is_numeric() {
            digits += 1;
        } else if digits >= DIGITS_BEFORE_CUT && (c.is_alphabetic() || matches!(c, ';' | ',' | '|')) {
            return Ok(text[..at].trim_end());
        } else if c.is_alphabetic() {
            return Err(reason::LETTERS);
        }
    }
    Ok(text)
}

/// `1.99001234E8`: digits are lost for good.
fn is_scientific(text: &str) -> bool {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return false };
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let mantissa = mantissa.strip_prefix(['+', '-']).unwrap_or(mantissa);
    let all_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once(['.', ',']).unwrap_or((mantissa, "0"));
    all_digits(exponent) && all_digits(whole) && all_digits(fraction)
}

/// `199001234.0`: a column of floats.
fn without_fraction(text: &str) -> &str {
    let Some((whole, fraction)) = text.split_once('.') else { return text };
    let digits = whole.strip_prefix('+').unwrap_or(whole);
    let zeros = !fraction.is_empty() && fraction.bytes().all(|b| b == b'0');
    if zeros && digits.len() >= 6 && digits.bytes().all(|b| b.is_ascii_digit()) { whole } else { text }
}

/// The better reading of a leading `00`: as it is, or as `+`.
fn best(text: &str, home: Option<Home>) -> Result<Reading, RejectReason> {
    let Some(rest) = text.strip_prefix("00") else { return read_one(text, home) };
    let plus = read_one(&format!("+{rest}"), home);
    if home.is_none() {
        return plus;
    }
    match (read_one(text, home), plus) {
        (Ok(plain), Ok(plus)) if plus.rank > plain.rank => Ok(plus),
        (Err(_), Ok(plus)) if plus.rank > Rank::No => Ok(plus),
        (plain, _) => plain,
    }
}

fn parse(text: &str, home: Option<Home>) -> Result<Reading, RejectReason> {
    match PHONE_NUMBER_UTIL.parse(text, home.map(|home| home.region)) {
        Ok(number) => Ok(Reading::of(number)),
        Err(ParseError::InvalidCountryCode) if text.starts_with('+') || home.is_some() => {
            Err(reason::UNKNOWN_COUNTRY_CODE)
        }
        Err(ParseError::InvalidCountryCode) => Err(reason::NO_REGION),
        Err(ParseError::NotANumber(_)) => Err(reason::NO_NUMBER),
        Err(ParseError::TooShortAfterIdd | ParseError::TooShortNsn) => Err(reason::INVALID_LENGTH),
        Err(ParseError::TooLongNsn) => Err(reason::TOO_LONG),
    }
}

fn read_one(text: &str, home: Option<Home>) -> Result<Reading, RejectReason> {
    if text.starts_with('+') {
        if let Some(without) = without_bracketed_zero(text) {
            return match parse(text, home) {
                Ok(reading) if reading.rank == Rank::Valid => Ok(reading),
                _ => parse(&without, home),
            };
        }
    } else if let Some(reading) = home.and_then(|home| after_own_country_code(text, home)) {
        return Ok(reading);
    }
    parse(text, home)
}

/// `+33 (0)1 …`: the number without the trunk zero that is not dialled from abroad.
fn without_bracketed_zero(text: &str) -> Option<String> {
    let (before, after) = text.split_once("(0)")?;
    let digits = before.chars().filter(char::is_ascii_digit).count();
    let plain = before.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | ' ' | '.' | '-' | '(' | ')'));
    (plain && (1..=3).contains(&digits)).then(|| format!("{before}{after}"))
}

/// `4915228817386` in a German row: the country code without `+`. Only where a trunk prefix tells national numbers
/// apart; elsewhere the library decides.
fn after_own_country_code(text: &str, Home { trunk, country_code, .. }: Home) -> Option<Reading> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let code = country_code.to_string();
    if trunk.is_empty() || digits.starts_with(trunk) || !digits.starts_with(&code) {
        return None;
    }
    let rest = parse(&format!("+{digits}"), None).ok()?;
    if rest.rank == Rank::Valid {
        return Some(rest);
    }
    let mobile = |number: &PhoneNumber| {
        PHONE_NUMBER_UTIL.is_possible_number_for_type_with_reason(number, PhoneNumberType::Mobile)
    };
    let whole = PhoneNumber {
        country_code: i32::from(country_code),
        national_number: digits.parse().ok()?,
        ..PhoneNumber::default()
    };
    let fits =
        mobile(&whole) == Err(ValidationError::TooLong) && mobile(&rest.number) == Ok(NumberLengthType::IsPossible);
    fits.then_some(rest)
}

/// Accepts the chosen reading, as calling code and national number, or refuses it.
fn settle(reading: Reading, strict: bool) -> Result<(i32, String), RejectReason> {
    let Reading { number, rank } = reading;
    let national = get_national_significant_number_owned(&number);
    let country_code = number.country_code;
    if rank == Rank::Valid {
        return within_e164(country_code, national);
    }
    if country_code == 33 && (national.starts_with("69") || national.starts_with("639")) {
        for overseas in FRENCH_OVERSEAS {
            let moved = PhoneNumber { country_code: overseas, ..number.clone() };
            if PHONE_NUMBER_UTIL.is_valid_number(&moved) {
                return within_e164(overseas, national);
            }
        }
    }
    if national.bytes().all(|b| Some(b) == national.bytes().next()) {
        return Err(reason::PLACEHOLDER);
    }
    if rank == Rank::No {
        return Err(match PHONE_NUMBER_UTIL.is_possible_number_with_reason(&number) {
            Err(ValidationError::TooLong) => reason::TOO_LONG,
            Err(ValidationError::InvalidCountryCode) => reason::UNKNOWN_COUNTRY_CODE,
            _ => reason::INVALID_LENGTH,
        });
    }
    let trunk = PHONE_NUMBER_UTIL
        .get_region_for_country_code(country_code)
        .and_then(|region| plan::region(&region.as_region_str()))
        .map_or("", |facts| facts.trunk);
    if !trunk.is_empty() && national.starts_with(trunk) {
        return Err(reason::INVALID_LENGTH);
    }
    if strict { Err(reason::NOT_VALID) } else { within_e164(country_code, national) }
}

fn within_e164(country_code: i32, national: String) -> Result<(i32, String), RejectReason> {
    let code_digits = country_code.checked_ilog10().map_or(0, |log| log as usize + 1);
    if code_digits + national.len() > MAX_DIGITS { Err(reason::TOO_LONG) } else { Ok((country_code, national)) }
}

#[cfg(test)]
mod tests;
