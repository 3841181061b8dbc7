//! Regions and their numbering plans, from the metadata of the pinned `rlibphonenumber`, which does not hand them
//! out (`tools/phone_regions.py` writes the table).

use std::sync::{LazyLock, OnceLock};

use super::automaton::Automaton;

/// What is known of every region.
#[derive(Debug)]
pub(super) struct RegionFacts {
    pub name: [u8; 2],
    pub country_code: u16,
    /// Dialled before national numbers; blank: none.
    pub trunk: &'static str,
    /// For the fast path; plans with peculiar prefixes have none.
    pub plan: Option<Plan>,
}

/// A numbering plan simple enough for the fast path. Lengths are bit masks.
#[derive(Debug)]
pub(super) struct Plan {
    /// `country_code` as digits.
    pub code: String,
    /// The trunk prefix is simply cut off.
    pub strips: bool,
    /// Beginnings of national numbers, trunk prefix gone, that ask for the library.
    pub hazards: Vec<&'static str>,
    /// Beginnings that may be an international prefix.
    pub idd: Vec<&'static str>,
    pub lengths: u32,
    pub mobile_lengths: u32,
    /// Possible for a mobile or a fixed line.
    pub person_lengths: u32,
    general: &'static str,
    types: &'static str,
    general_automaton: OnceLock<Option<Automaton>>,
    types_automaton: OnceLock<Option<Automaton>>,
}

impl Plan {
    /// Whether the plan as a whole has the number; `None`: not known.
    pub(super) fn has(&self, digits: &[u8]) -> Option<bool> {
        let automaton = self.general_automaton.get_or_init(|| Automaton::new([(1, self.general)].into_iter()));
        Some(automaton.as_ref()?.run(digits) != 0)
    }

    /// Whether the number lies in a range given out in the plan's main region.
    pub(super) fn is_valid(&self, digits: &[u8]) -> bool {
        let automaton = self.types_automaton.get_or_init(|| {
            let types = self.types.split(' ').filter_map(|entry| entry.split_once(':'));
            Automaton::new(types.map(|(mask, pattern)| (hex(mask), pattern)))
        });
        let lengths = automaton.as_ref().map_or(0, |automaton| automaton.run(digits));
        self.has(digits) == Some(true) && has_length(self.lengths, digits) && has_length(lengths, digits)
    }
}

/// Whether the mask has the length of `digits`.
pub(super) fn has_length(mask: u32, digits: &[u8]) -> bool {
    digits.len() < 32 && mask & (1 << digits.len()) != 0
}

fn hex(mask: &str) -> u32 {
    u32::from_str_radix(mask, 16).expect("the table holds hexadecimal masks")
}

#[derive(Debug)]
struct Regions {
    regions: Vec<RegionFacts>,
    /// Index + 1 by the two letters of a region.
    by_name: [u8; 26 * 26],
    /// Index + 1 of the region whose plan a calling code has.
    by_code: [u8; 1000],
}

static REGIONS: LazyLock<Regions> = LazyLock::new(|| {
    let mut read = Regions { regions: Vec::new(), by_name: [0; 26 * 26], by_code: [0; 1000] };
    for line in include_str!("regions.tsv").lines() {
        let region = read_line(line).expect("the table has the columns its tool writes");
        let index = u8::try_from(read.regions.len() + 1).expect("there are fewer than 255 regions");
        read.by_name[name_index(&region.name).expect("regions are two letters")] = index;
        if region.plan.is_some() {
            read.by_code[usize::from(region.country_code)] = index;
        }
        read.regions.push(region);
    }
    read
});

fn read_line(line: &'static str) -> Option<RegionFacts> {
    let mut columns = line.split('\t');
    let name = columns.next()?.as_bytes().try_into().ok()?;
    let code = columns.next()?;
    let trunk = columns.next()?;
    let mut region = RegionFacts { name, country_code: code.parse().ok()?, trunk, plan: None };
    if let Some(strips) = columns.next() {
        let list = |text: &'static str| text.split(',').filter(|item| !item.is_empty()).collect();
        region.plan = Some(Plan {
            code: code.to_owned(),
            strips: strips == "1",
            hazards: list(columns.next()?),
            idd: list(columns.next()?),
            lengths: hex(columns.next()?),
            mobile_lengths: hex(columns.next()?),
            person_lengths: hex(columns.next()?),
            general: columns.next()?,
            types: columns.next()?,
            general_automaton: OnceLock::new(),
            types_automaton: OnceLock::new(),
        });
    }
    Some(region)
}

fn name_index(name: &[u8; 2]) -> Option<usize> {
    let [a, b] = name.map(|letter| letter.to_ascii_uppercase().wrapping_sub(b'A'));
    (a < 26 && b < 26).then(|| usize::from(a) * 26 + usize::from(b))
}

/// The region of a two-letter code in any case; `None`: no such region has phone numbers.
pub(super) fn region(name: &str) -> Option<&'static RegionFacts> {
    let index = name_index(name.trim().as_bytes().try_into().ok()?)?;
    let known = REGIONS.by_name[index];
    REGIONS.regions.get(usize::from(known).checked_sub(1)?)
}

/// The region with the plan of the calling code that `digits` start with. Calling codes begin none of each other.
pub(super) fn by_calling_code(digits: &[u8]) -> Option<&'static RegionFacts> {
    let mut code = 0;
    for byte in digits.iter().take(3) {
        code = code * 10 + usize::from(byte - b'0');
        if let Some(index) = usize::from(REGIONS.by_code[code]).checked_sub(1) {
            return Some(&REGIONS.regions[index]);
        }
        if code == 0 {
            return None;
        }
    }
    None
}

#[cfg(test)]
pub(super) fn all() -> &'static [RegionFacts] {
    &REGIONS.regions
}
