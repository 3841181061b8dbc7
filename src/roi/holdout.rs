//! Who is held out: a stable, stateless draw from a hash, made before anything is uploaded.

use sha2::{Digest, Sha256};

/// Number of buckets; a holdout of 10 % is the buckets below 1,000.
pub const BUCKETS: u32 = 10_000;

/// Bucket in [0, 10,000) of a unit (smallest customer id of its household cluster) under an experiment's salt.
///
/// The first 8 bytes of SHA-256("salt:unit"), big-endian, scaled without modulo bias.
pub fn bucket(salt: &str, unit: &str) -> u32 {
    let digest = Sha256::new().chain_update(salt).chain_update(b":").chain_update(unit).finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    ((u128::from(u64::from_be_bytes(first)) * u128::from(BUCKETS)) >> 64) as u32
}

/// True when the unit is withheld from upload by a holdout of `holdout_bps` ten-thousandths.
pub fn is_held_out(salt: &str, unit: &str, holdout_bps: u32) -> bool {
    bucket(salt, unit) < holdout_bps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_match_the_golden_vectors() {
        for (salt, unit, want) in [
            ("exp-2026-01", "12346", 4609),
            ("exp-2026-01", "17850", 8446),
            ("exp-2026-01", "1", 8513),
            ("exp-2026-02", "1", 344),
            ("réactivation", "C-0001", 6766),
        ] {
            assert_eq!(bucket(salt, unit), want, "{salt}:{unit}");
        }
    }

    #[test]
    fn a_tenth_of_23570_units_is_held_out() {
        let held = (1..=23_570).filter(|id| is_held_out("exp-2026-01", &id.to_string(), 1000)).count();
        assert_eq!(held, 2271);
    }
}
