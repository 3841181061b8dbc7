//! Random numbers that depend only on (seed, draw, variable), never on which thread asks first.
//!
//! Philox 4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3") turns a counter into
//! 128 random bits. Each variable of each draw has its own counter range, so draws may be computed in any order and
//! changing one assumption leaves the random numbers of all others as they were. Assumptions come from a shifted
//! [`Lattice`] instead of independent numbers: it fills their space more evenly, so quantiles settle with fewer draws.

use statrs::function::gamma::ln_gamma;

const ROUNDS: usize = 10;

/// One block of Philox 4x32-10.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..ROUNDS {
        let left = u64::from(counter[0]) * 0xD251_1F53;
        let right = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [
            (right >> 32) as u32 ^ counter[1] ^ key[0],
            right as u32,
            (left >> 32) as u32 ^ counter[3] ^ key[1],
            left as u32,
        ];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

/// The random numbers of one variable in one draw.
#[derive(Debug, Clone)]
pub struct Stream {
    key: [u32; 2],
    counter: [u32; 4],
    spare: Option<u64>,
}

impl Stream {
    /// Stream of `variable` in draw number `draw` under `seed`.
    pub fn new(seed: u64, draw: u64, variable: u32) -> Self {
        Self {
            key: [seed as u32, (seed >> 32) as u32],
            counter: [0, variable, draw as u32, (draw >> 32) as u32],
            spare: None,
        }
    }

    fn next_u64(&mut self) -> u64 {
        if let Some(bits) = self.spare.take() {
            return bits;
        }
        let block = philox(self.counter, self.key);
        self.counter[0] = self.counter[0].wrapping_add(1);
        self.spare = Some(u64::from(block[2]) | u64::from(block[3]) << 32);
        u64::from(block[0]) | u64::from(block[1]) << 32
    }

    /// Uniform in the open interval (0, 1).
    pub fn uniform(&mut self) -> f64 {
        open_unit(self.next_u64())
    }

    /// Poisson count with this mean (0 for a mean of 0), by inversion or Hörmann's PTRS (1993).
    pub fn poisson(&mut self, mean: f64) -> f64 {
        if mean <= 0.0 {
            return 0.0;
        }
        if mean < 10.0 {
            return self.poisson_by_inversion(mean);
        }
        let b = 0.931 + 2.53 * mean.sqrt();
        let a = -0.059 + 0.02483 * b;
        let quick = 0.9277 - 3.6224 / (b - 2.0);
        loop {
            let u = self.uniform() - 0.5;
            let v = self.uniform();
            let us = 0.5 - u.abs();
            let k = ((2.0 * a / us + b) * u + mean + 0.43).floor();
            if us >= 0.07 && v <= quick {
                return k;
            }
            if k < 0.0 || (us < 0.013 && v > us) {
                continue;
            }
            let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
            if (v * inverse_alpha / (a / (us * us) + b)).ln() <= k * mean.ln() - mean - ln_gamma(k + 1.0) {
                return k;
            }
        }
    }

    /// Adds up the probabilities of 0, 1, 2, ... until they pass one uniform number.
    fn poisson_by_inversion(&mut self, mean: f64) -> f64 {
        let u = self.uniform();
        let (mut count, mut mass) = (0.0, (-mean).exp());
        let mut below = mass;
        // The masses stop counting long before 100 at means below 10.
        while u > below && count < 100.0 {
            count += 1.0;
            mass *= mean / count;
            below += mass;
        }
        count
    }
}

/// Evenly spread points of the unit cube: an extensible rank-1 lattice, shifted by the seed.
///
/// Any first part of its points fills the cube far more evenly than random ones; the shift makes every point uniform and
/// the seeds independent of each other.
#[derive(Debug, Clone, Copy)]
pub struct Lattice {
    shift: [u32; Self::AXES],
}

impl Lattice {
    /// Axes; the first ones are the most even.
    pub const AXES: usize = GENERATOR.len();

    /// Lattice of `seed`; its shift comes from a variable number no draw uses.
    pub fn new(seed: u64) -> Self {
        let mut stream = Stream::new(seed, u64::MAX, u32::MAX);
        Self { shift: std::array::from_fn(|_| stream.next_u64() as u32) }
    }

    /// Coordinate `axis` of the point of draw number `draw`, in (0, 1).
    pub fn at(&self, draw: u64, axis: usize) -> f64 {
        // Bits reversed: the points of every power of two, so far, are the whole lattice of that size.
        let point = (draw as u32).reverse_bits().wrapping_mul(GENERATOR[axis]).wrapping_add(self.shift[axis]);
        (f64::from(point) + 0.5) * (1.0 / (1u64 << 32) as f64)
    }
}

/// Generating vector of the order-2 lattice sequence exod2_base2_m20 (Cools, Kuo, Nuyens 2006, "Constructing embedded
/// lattice rules for multivariate integration"), built for up to 2^20 points.
const GENERATOR: [u32; 14] = [
    1, 182_667, 469_891, 498_753, 110_745, 446_247, 250_185, 118_627, 245_333, 283_199, 408_519, 391_023, 246_327,
    126_539,
];

fn open_unit(bits: u64) -> f64 {
    ((bits >> 11) as f64 + 0.5) * (1.0 / (1u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_answers() {
        // Known answers of the Random123 distribution (kat_vectors, philox4x32 10).
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    /// Mean, variance and fourth standardised moment of `n` draws.
    fn moments(n: u64, mut draw: impl FnMut(&mut Stream) -> f64) -> (f64, f64, f64) {
        let values: Vec<f64> = (0..n).map(|i| draw(&mut Stream::new(7, i, 3))).collect();
        let mean = values.iter().sum::<f64>() / n as f64;
        let centred = |power: i32| values.iter().map(|v| (v - mean).powi(power)).sum::<f64>() / n as f64;
        (mean, centred(2), centred(4) / centred(2).powi(2))
    }

    #[test]
    fn counts_have_their_moments() {
        let n = 200_000;
        for rate in [0.2, 4.0, 9.9, 12.0, 700.0] {
            let (mean, variance, _) = moments(n, |s| s.poisson(rate));
            assert!((mean / rate - 1.0).abs() < 0.01 && (variance / rate - 1.0).abs() < 0.02, "poisson {rate}");
        }
        let (mean, variance, kurtosis) = moments(n, Stream::uniform);
        assert!((mean - 0.5).abs() < 0.002 && (variance - 1.0 / 12.0).abs() < 0.001 && (kurtosis - 1.8).abs() < 0.02);
    }

    #[test]
    fn every_pair_of_axes_is_filled_evenly() {
        let lattice = Lattice::new(5);
        for first in 0..Lattice::AXES {
            for second in 0..first {
                let mut cells = [0; 100];
                for draw in 0..10_000 {
                    let [row, column] = [first, second].map(|axis| (lattice.at(draw, axis) * 10.0) as usize);
                    cells[10 * row + column] += 1;
                }
                // Random points would leave cells between about 75 and 125.
                assert!(cells.iter().all(|n| (85..=115).contains(n)), "axes {first} and {second}: {cells:?}");
            }
        }
        assert_ne!(lattice.at(0, 0), Lattice::new(6).at(0, 0));
    }
}
