//! How people and forms mangle what they are given: typos, tags, capitals, spaces, nine layouts of a phone number.

use crate::country::Country;
use crate::draw::{Draws, field};

/// The address with the mistakes of whoever typed it.
pub(crate) fn typed_email(draws: Draws, address: &str) -> String {
    let typo = draws.unit(field::TYPO);
    let mut typed = if typo < 0.004 {
        address.replace('@', "")
    } else if typo < 0.007 {
        address.replace('@', "@@")
    } else if typo < 0.010 {
        address.replace(".example", ".exmaple")
    } else if typo < 0.013 {
        address.replacen('.', "..", 1)
    } else if typo < 0.015 {
        "noemail@shop.example".to_owned()
    } else {
        address.to_owned()
    };
    let gmail = typed.ends_with("@gmail.example") && !typed.contains("@@");
    if gmail && draws.chance(field::PLUS_TAG, 0.04) {
        typed = typed.replace('@', "+shop@");
    }
    let case = draws.unit(field::CASE);
    if case < 0.04 {
        typed.make_ascii_uppercase();
    } else if case < 0.12 {
        typed[..1].make_ascii_uppercase();
    }
    let space = draws.unit(field::SPACE);
    if space < 0.03 {
        typed.insert(0, if space < 0.003 { '\u{a0}' } else { ' ' });
        if space < 0.02 {
            typed.push(' ');
        }
    }
    typed
}

/// The number in one of nine layouts, or junk.
pub(crate) fn typed_phone(draws: Draws, country: Country, number: u64) -> String {
    let code = country.calling_code();
    let national = format!("{}{number}", country.trunk_prefix());
    let layout = draws.unit(field::PHONE_LAYOUT);
    let mut typed = if layout < 0.25 {
        national
    } else if layout < 0.50 {
        in_pairs(&national, ' ')
    } else if layout < 0.68 {
        format!("+{code}{number}")
    } else if layout < 0.76 {
        format!("+{code} {number}")
    } else if layout < 0.84 {
        format!("00{code}{number}")
    } else if layout < 0.90 {
        in_pairs(&national, '.')
    } else if layout < 0.94 {
        number.to_string()
    } else if layout < 0.97 {
        format!("+{code} (0){number}")
    } else {
        format!("{code}{number}")
    };
    let junk = draws.unit(field::PHONE_JUNK);
    if junk < 0.004 {
        "0000000000".to_owned()
    } else if junk < 0.007 {
        "N/A".to_owned()
    } else if junk < 0.010 {
        typed.truncate(typed.len() - 3);
        typed
    } else {
        typed
    }
}

fn in_pairs(digits: &str, separator: char) -> String {
    let mut spaced = String::with_capacity(digits.len() * 3 / 2);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && position % 2 == 0 {
            spaced.push(separator);
        }
        spaced.push(digit);
    }
    spaced
}

/// Capital at the start of every run of letters, the rest lower: addresses here are ASCII, so ASCII letters suffice.
pub(crate) fn title_case(text: &str) -> String {
    let mut after_letter = false;
    let cased = text.chars().map(|c| {
        let cased = if after_letter { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() };
        after_letter = c.is_ascii_alphabetic();
        cased
    });
    cased.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn title_case_starts_again_after_digits_and_marks() {
        assert_eq!(title_case("zoe.da_silva.a3bc@gmail.example"), "Zoe.Da_Silva.A3Bc@Gmail.Example");
    }

    #[test]
    fn pairs_keep_an_odd_digit_alone() {
        assert_eq!(in_pairs("0700000001", ' '), "07 00 00 00 01");
        assert_eq!(in_pairs("700000001", '.'), "70.00.00.00.1");
    }
}
