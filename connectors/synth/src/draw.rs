//! Counter-based randomness: every drawn number is a pure function of (seed, index, field).
//!
//! A stateful generator was rejected: it would force one order of generation and hence one thread. Here any slice of the
//! people can be made alone, in any order, on any number of threads, in any language, and comes out the same.

/// The golden-ratio increment of SplitMix64.
const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// The finaliser of SplitMix64 (Stafford's variant 13).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// All draws of one index (a person, mostly) under one seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draws {
    key: u64,
}

impl Draws {
    pub(crate) fn new(seed: u64, index: u64) -> Self {
        Self { key: mix(seed.wrapping_add(GAMMA.wrapping_mul(index.wrapping_add(1)))) }
    }

    /// A double in `[0, 1)` with 53 random bits.
    pub(crate) fn unit(self, field: u64) -> f64 {
        let bits = mix(self.key.wrapping_add(GAMMA.wrapping_mul(field.wrapping_add(1))));
        (bits >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// An integer in `0..n`.
    pub(crate) fn below(self, field: u64, n: u64) -> u64 {
        (self.unit(field) * n as f64) as u64
    }

    /// True with the given probability.
    pub(crate) fn chance(self, field: u64, probability: f64) -> bool {
        self.unit(field) < probability
    }

    /// One entry of a weighted table.
    pub(crate) fn pick<T: Copy>(self, field: u64, table: &[(T, f64)]) -> T {
        pick(self.unit(field), table)
    }
}

/// The first entry whose running sum of weights lies above `u`. The sums carry rounding errors, so a hair is taken off
/// each and the last entry catches what is left; the reference files depend on that hair.
fn pick<T: Copy>(u: f64, table: &[(T, f64)]) -> T {
    let mut sum = 0.0;
    for &(value, weight) in table {
        sum += weight;
        if u < sum - 1e-12 {
            return value;
        }
    }
    table.last().expect("weight tables are never empty").0
}

/// The field numbers of the contact model. They are part of the file format: a new draw takes a new number.
pub(crate) mod field {
    pub(crate) const COUNTRY: u64 = 0;
    pub(crate) const GENDER: u64 = 1;
    pub(crate) const FIRST_NAME: u64 = 2;
    pub(crate) const LAST_NAME: u64 = 3;
    pub(crate) const AGE: u64 = 4;
    pub(crate) const MAIN_DOMAIN: u64 = 5;
    pub(crate) const MAIN_PATTERN: u64 = 6;
    pub(crate) const HAS_SECOND: u64 = 7;
    pub(crate) const SECOND_DOMAIN: u64 = 8;
    pub(crate) const SECOND_PATTERN: u64 = 9;
    pub(crate) const HAS_ABANDONED: u64 = 10;
    pub(crate) const ABANDONED_DOMAIN: u64 = 11;
    pub(crate) const HAS_WORK: u64 = 12;
    pub(crate) const HAS_MOBILE: u64 = 13;
    pub(crate) const HAS_OLD_MOBILE: u64 = 14;
    pub(crate) const HELD_EMAIL: u64 = 15;
    pub(crate) const TYPO: u64 = 16;
    pub(crate) const CASE: u64 = 17;
    pub(crate) const PLUS_TAG: u64 = 18;
    pub(crate) const SPACE: u64 = 19;
    pub(crate) const DECOMPOSED: u64 = 20;
    pub(crate) const HELD_PHONE: u64 = 21;
    pub(crate) const PHONE_LAYOUT: u64 = 22;
    pub(crate) const PHONE_JUNK: u64 = 23;
    pub(crate) const SECOND_ROW: u64 = 24;
    pub(crate) const SECOND_ROW_KIND: u64 = 25;
    pub(crate) const HOUSEHOLD: u64 = 26;
    pub(crate) const POSTCODE: u64 = 27;
    pub(crate) const CONSENT: u64 = 28;
    pub(crate) const UNSUBSCRIBED: u64 = 29;
    pub(crate) const HARD_BOUNCE: u64 = 30;
    pub(crate) const COMPLAINT: u64 = 31;
    pub(crate) const OBJECTION: u64 = 32;
    pub(crate) const ERASURE: u64 = 33;
    pub(crate) const LAST_OPEN: u64 = 34;
    pub(crate) const SENDS: u64 = 35;
    pub(crate) const US_OPT_OUT: u64 = 36;
    pub(crate) const EMAIL_2: u64 = 37;
    /// Platform accounts: `ACCOUNT + 16 * platform + j`, up to 199.
    pub(crate) const ACCOUNT: u64 = 64;
    pub(crate) const HISTORY: u64 = 200;
    pub(crate) const WEEKS_BACK: u64 = 201;
    pub(crate) const AMOUNT: u64 = 202;
    pub(crate) const CHANNEL: u64 = 203;
    pub(crate) const LONG_GONE: u64 = 204;
    // From here on: not in the reference generator.
    pub(crate) const CLICKED: u64 = 210;
    pub(crate) const CLICK_SECOND: u64 = 211;
    pub(crate) const VISITED: u64 = 212;
    pub(crate) const VISIT_DAY: u64 = 213;
    pub(crate) const VISIT_SECOND: u64 = 214;
    pub(crate) const IN_FLIGHT: u64 = 220;
    pub(crate) const EXPOSURES: u64 = 221;
    pub(crate) const PURCHASE: u64 = 222;
    pub(crate) const PURCHASE_SECOND: u64 = 223;
    /// One per exposure, up to `campaign::EXPOSURE_LIMIT` of them.
    pub(crate) const EXPOSURE_SECOND: u64 = 1_000;
    /// One per exposure as well.
    pub(crate) const EXPOSURE_CLICK: u64 = 2_000;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_lie_in_the_unit_interval_and_are_spread_evenly() {
        let n = 20_000;
        let draws = (0..n).map(|i| Draws::new(7, i).unit(3)).collect::<Vec<_>>();
        assert!(draws.iter().all(|u| (0.0..1.0).contains(u)));
        let mean = draws.iter().sum::<f64>() / n as f64;
        assert!((mean - 0.5).abs() < 0.01, "mean {mean}");
    }

    #[test]
    fn a_weighted_choice_falls_back_to_the_last_entry() {
        let table = [("a", 0.5), ("b", 0.5)];
        assert_eq!(pick(0.0, &table), "a");
        assert_eq!(pick(0.5, &table), "b");
        assert_eq!(pick(1.0 - f64::EPSILON, &table), "b");
    }
}
