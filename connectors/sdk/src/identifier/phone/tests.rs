//! The fast path against the rules and the library, over generated numbers of every plan and many layouts.

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberType, Region, get_national_significant_number_owned};

use super::plan::{self, RegionFacts};
use super::{Home, fast, full, settle};

/// SplitMix64: the same numbers in every run.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    fn digits(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from(b'0' + self.below(10) as u8)).collect()
    }
}

/// A national number: an example of the plan with some digits changed, or any digits of a plausible length.
fn national(draws: &mut Draws, examples: &[String]) -> String {
    if examples.is_empty() || draws.below(4) == 0 {
        let length = 5 + draws.below(9);
        return draws.digits(length);
    }
    let mut number = examples[draws.below(examples.len())].clone().into_bytes();
    let kept = draws.below(4);
    for digit in number.iter_mut().skip(kept) {
        *digit = b'0' + draws.below(10) as u8;
    }
    match draws.below(12) {
        0 => drop(number.pop()),
        1 => number.push(b'7'),
        2 => number.fill(b'4'),
        _ => {}
    }
    String::from_utf8(number).unwrap()
}

/// One of the ways a number gets into a cell.
fn layout(draws: &mut Draws, code: &str, trunk: &str, national: &str) -> String {
    let separators = [" ", ".", "-", "\u{a0}", "\u{202f}", "", "/", ". "];
    let separator = separators[draws.below(separators.len())];
    let mut grouped = String::new();
    for (at, digit) in national.chars().enumerate() {
        if at > 0 && at % (2 + draws.below(2)) == 0 {
            grouped.push_str(separator);
        }
        grouped.push(digit);
    }
    match draws.below(16) {
        0..3 => format!("{trunk}{grouped}"),
        3 | 4 => format!("+{code} {grouped}"),
        5 => format!("+{code}{national}"),
        6 => format!("00{code}{separator}{grouped}"),
        7 => national.to_owned(),
        8 => format!("{code}{national}"),
        9 => format!("+{code} (0){grouped}"),
        10 => format!("+{code} ({trunk}) {grouped}"),
        11 => format!("00{code} (0){separator}{grouped}"),
        12 => format!("({trunk}{}){separator}{grouped} ", &national[..2]),
        13 => format!("{code} (0){grouped}"),
        14 => format!("+{code}{trunk}{national}"),
        _ => format!(" {trunk}{national}.0"),
    }
}

fn examples(facts: &RegionFacts) -> Vec<String> {
    let region = Region::from_code(std::str::from_utf8(&facts.name).unwrap()).unwrap();
    let kinds = [
        PhoneNumberType::Mobile,
        PhoneNumberType::Mobile,
        PhoneNumberType::FixedLine,
        PhoneNumberType::VoIP,
        PhoneNumberType::TollFree,
        PhoneNumberType::UAN,
        PhoneNumberType::PersonalNumber,
    ];
    kinds
        .into_iter()
        .filter_map(|kind| PHONE_NUMBER_UTIL.get_example_number_for_type_and_region(region, kind).ok())
        .map(|number: PhoneNumber| get_national_significant_number_owned(&number))
        .collect()
}

#[test]
fn the_fast_path_says_what_the_rules_and_the_library_say() {
    let mut draws = Draws(20_261_122);
    let regions = plan::all();
    let known: Vec<_> = regions.iter().map(|facts| (facts, examples(facts))).collect();
    // Where most customers are, and plans with peculiar prefixes.
    let frequent = ["FR", "BE", "CH", "DE", "ES", "IT", "GB", "US", "RU", "HU", "BR", "AU", "JP", "CI", "KR", "AR"];
    let (mut compared, mut taken, mut accepted) = (0u32, 0u32, 0u32);
    while compared < 200_000 {
        let (facts, examples) = if draws.below(2) == 0 {
            let name = frequent[draws.below(frequent.len())].as_bytes();
            known.iter().find(|(facts, _)| facts.name == name).unwrap()
        } else {
            &known[draws.below(known.len())]
        };
        let national = national(&mut draws, examples);
        let cell = layout(&mut draws, &facts.country_code.to_string(), facts.trunk, &national);
        // The row's country is mostly the number's, sometimes another or none.
        let region = match draws.below(8) {
            0 => None,
            1 => Some(known[draws.below(known.len())].0),
            _ => Some(*facts),
        };
        compared += 1;
        let reading = full(&cell, region.and_then(Home::of));
        for strict in [false, true] {
            let mut text = String::new();
            let expected = reading.clone().and_then(|reading| settle(reading, strict));
            accepted += u32::from(expected.is_ok());
            if fast::read(&cell, region, strict, &mut text) {
                taken += 1;
                let expected = expected.map(|(code, national)| format!("+{code}{national}"));
                let name = region.map(|facts| String::from_utf8_lossy(&facts.name));
                assert_eq!(Ok(text), expected, "{cell:?} in {name:?}, strict: {strict}");
            } else {
                assert!(text.is_empty());
            }
        }
    }
    println!("{compared} numbers in both modes: {accepted} accepted, {taken} of them by the fast path");
    assert!(taken * 2 > accepted, "the fast path took {taken} of {accepted}");
}

#[test]
fn the_table_agrees_with_the_library() {
    assert_eq!(plan::all().len(), PHONE_NUMBER_UTIL.get_supported_regions().len());
    for region in PHONE_NUMBER_UTIL.get_supported_regions() {
        let facts = plan::region(&region.as_region_str()).expect("every region of the library is in the table");
        assert_eq!(PHONE_NUMBER_UTIL.get_country_code_for_region(region), Some(i32::from(facts.country_code)));
    }
}

#[test]
fn every_pattern_of_every_plan_is_understood() {
    for facts in plan::all() {
        let Some(plan) = &facts.plan else { continue };
        assert!(plan.has(b"123").is_some());
        let valid = examples(facts).iter().filter(|number| plan.is_valid(number.as_bytes())).count();
        assert_eq!(valid, examples(facts).len(), "{}", String::from_utf8_lossy(&facts.name));
    }
}
