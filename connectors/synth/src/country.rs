//! The eight countries of the contact model and their blocks of phone numbers that belong to nobody.

use serde::Serialize;

/// A country a synthetic person lives in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Country {
    /// France.
    Fr,
    /// Belgium.
    Be,
    /// Switzerland.
    Ch,
    /// Germany.
    De,
    /// Spain.
    Es,
    /// Italy.
    It,
    /// United Kingdom.
    Gb,
    /// United States.
    Us,
}

impl Country {
    /// Every country, in the order of the weights.
    pub const ALL: [Self; 8] = [Self::Fr, Self::Be, Self::Ch, Self::De, Self::Es, Self::It, Self::Gb, Self::Us];

    /// Shares of persons.
    pub(crate) const WEIGHTS: [(Self, f64); 8] = [
        (Self::Fr, 0.82),
        (Self::Be, 0.06),
        (Self::Ch, 0.03),
        (Self::De, 0.03),
        (Self::Es, 0.02),
        (Self::It, 0.02),
        (Self::Gb, 0.01),
        (Self::Us, 0.01),
    ];

    /// ISO 3166-1 alpha-2, upper case.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Fr => "FR",
            Self::Be => "BE",
            Self::Ch => "CH",
            Self::De => "DE",
            Self::Es => "ES",
            Self::It => "IT",
            Self::Gb => "GB",
            Self::Us => "US",
        }
    }

    /// E.164 country calling code, without the plus sign.
    pub const fn calling_code(self) -> &'static str {
        match self {
            Self::Fr => "33",
            Self::Be => "32",
            Self::Ch => "41",
            Self::De => "49",
            Self::Es => "34",
            Self::It => "39",
            Self::Gb => "44",
            Self::Us => "1",
        }
    }

    /// The zero dialled before a national number, where there is one.
    pub(crate) const fn trunk_prefix(self) -> &'static str {
        match self {
            Self::It | Self::Us | Self::Es => "",
            Self::Fr | Self::Be | Self::Ch | Self::De | Self::Gb => "0",
        }
    }

    /// First national number of the country's block and how many numbers it has. The lengths are right, so a
    /// normaliser must accept them, yet libphonenumber 9.0.43 knows no allocation there: no subscriber can be reached.
    const fn phone_block(self) -> (u64, u64) {
        match self {
            Self::Fr => (700_000_000, 30_000_000),
            Self::Be => (440_000_000, 10_000_000),
            Self::Ch => (700_000_000, 10_000_000),
            Self::De => (15_400_000_000, 100_000_000),
            Self::Es => (750_000_000, 30_000_000),
            Self::It => (3_000_000_000, 100_000_000),
            Self::Gb => (7_610_000_000, 10_000_000),
            Self::Us => (2_000_000_000, 10_000_000),
        }
    }

    /// National number in the given slot; slots past the block's size start over, so that in large populations a few
    /// persons share a number, as old and handed-on numbers do.
    pub(crate) fn phone_number(self, slot: u64) -> u64 {
        /// Scatters neighbours over the block; coprime with every block size above.
        const STRIDE: u64 = 7919 * 1013;
        let (first, size) = self.phone_block();
        first + (slot % size) * STRIDE % size
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn numbers_stay_in_their_block_and_do_not_repeat_within_it() {
        for country in Country::ALL {
            let (first, size) = country.phone_block();
            let numbers = (0..20_000).map(|slot| country.phone_number(slot)).collect::<HashSet<_>>();
            assert_eq!(numbers.len(), 20_000, "{}", country.code());
            assert!(numbers.iter().all(|n| (first..first + size).contains(n)), "{}", country.code());
            assert_eq!(country.phone_number(5), country.phone_number(5 + size));
            assert_eq!(country.phone_number(u64::MAX % size), country.phone_number(u64::MAX), "no overflow");
        }
    }
}
