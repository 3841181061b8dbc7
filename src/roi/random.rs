//! Random numbers that depend only on (seed, draw, variable), never on which thread asks first.
//!
//! Philox 4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3") turns a counter into
//! 128 random bits. Each variable of each draw has its own counter range, so draws may be computed in any order and
//! changing one assumption leaves the random numbers of all others as they were.

use std::sync::LazyLock;

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
    ziggurat: &'static Ziggurat,
}

impl Stream {
    /// Stream of `variable` in draw number `draw` under `seed`.
    pub fn new(seed: u64, draw: u64, variable: u32) -> Self {
        Self {
            key: [seed as u32, (seed >> 32) as u32],
            counter: [0, variable, draw as u32, (draw >> 32) as u32],
            spare: None,
            ziggurat: &ZIGGURAT,
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

    /// Standard normal, by the ziggurat of Marsaglia and Tsang (2000) with 256 layers.
    pub fn normal(&mut self) -> f64 {
        loop {
            let bits = self.next_u64();
            let layer = (bits & 0xFF) as usize;
            let u = 2.0 * open_unit(bits) - 1.0;
            let x = u * self.ziggurat.edge[layer];
            if x.abs() < self.ziggurat.edge[layer + 1] {
                return x;
            }
            if layer == 0 {
                return self.normal_tail().copysign(u);
            }
            let (below, above) = (self.ziggurat.height[layer], self.ziggurat.height[layer + 1]);
            if below + self.uniform() * (above - below) < (-0.5 * x * x).exp() {
                return x;
            }
        }
    }

    fn normal_tail(&mut self) -> f64 {
        loop {
            let x = -self.uniform().ln() / TAIL_START;
            let y = -self.uniform().ln();
            if 2.0 * y > x * x {
                return TAIL_START + x;
            }
        }
    }

    /// Gamma with this shape and scale 1, by Marsaglia and Tsang (2000).
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let boost = self.uniform().powf(1.0 / shape);
            return boost * self.gamma(shape + 1.0);
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = 1.0 + c * x;
            if v <= 0.0 {
                continue;
            }
            let v = v * v * v;
            let u = self.uniform();
            let squared = x * x;
            if u < 1.0 - 0.0331 * squared * squared || u.ln() < 0.5 * squared + d * (1.0 - v + v.ln()) {
                return d * v;
            }
        }
    }

    /// Beta(a, b).
    pub fn beta(&mut self, a: f64, b: f64) -> f64 {
        let x = self.gamma(a);
        let y = self.gamma(b);
        // Both can underflow to 0 when a and b are tiny.
        if x + y > 0.0 { x / (x + y) } else { f64::from(self.uniform() < a / (a + b)) }
    }

    /// Poisson count with this mean (0 for a mean of 0), by products of uniforms or Hörmann's PTRS (1993).
    pub fn poisson(&mut self, mean: f64) -> f64 {
        if mean <= 0.0 {
            return 0.0;
        }
        if mean < 10.0 {
            let floor = (-mean).exp();
            let mut product = self.uniform();
            let mut count = 0.0;
            while product > floor {
                product *= self.uniform();
                count += 1.0;
            }
            return count;
        }
        let log_mean = mean.ln();
        let b = 0.931 + 2.53 * mean.sqrt();
        let a = -0.059 + 0.02483 * b;
        let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
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
            if (v * inverse_alpha / (a / (us * us) + b)).ln() <= k * log_mean - mean - ln_gamma(k + 1.0) {
                return k;
            }
        }
    }
}

/// Evenly spread points of the unit square, for the two variables that decide the tails: the R2 lattice (Roberts 2018,
/// "The unreasonable effectiveness of quasirandom sequences"), shifted by the seed.
///
/// Any run of its points fills the square far more evenly than random ones, so quantiles settle sooner.
#[derive(Debug, Clone, Copy)]
pub struct Lattice {
    shift: [f64; 2],
}

impl Lattice {
    /// Powers -1 and -2 of the plastic number, the real root of x^3 = x + 1.
    const STEP: [f64; 2] = [0.754_877_666_246_692_8, 0.569_840_290_998_053_3];

    /// Lattice of `seed`; its shift comes from a variable number no draw uses.
    pub fn new(seed: u64) -> Self {
        let mut stream = Stream::new(seed, u64::MAX, u32::MAX);
        Self { shift: [stream.uniform(), stream.uniform()] }
    }

    /// Coordinate `axis` (0 or 1) of the point of draw number `draw`, in (0, 1).
    pub fn at(&self, draw: u64, axis: usize) -> f64 {
        (self.shift[axis] + draw as f64 * Self::STEP[axis]).fract().clamp(1e-12, 1.0 - 1e-12)
    }
}

fn open_unit(bits: u64) -> f64 {
    ((bits >> 11) as f64 + 0.5) * (1.0 / (1u64 << 53) as f64)
}

const TAIL_START: f64 = 3.654_152_885_361_009;
const LAYER_AREA: f64 = 0.004_928_673_233_99;

#[derive(Debug)]
struct Ziggurat {
    edge: [f64; 257],
    height: [f64; 257],
}

static ZIGGURAT: LazyLock<Ziggurat> = LazyLock::new(|| {
    let density = |x: f64| (-0.5 * x * x).exp();
    let mut edge = [0.0; 257];
    edge[0] = LAYER_AREA / density(TAIL_START);
    edge[1] = TAIL_START;
    for i in 2..256 {
        edge[i] = (-2.0 * (LAYER_AREA / edge[i - 1] + density(edge[i - 1])).ln()).sqrt();
    }
    Ziggurat { edge, height: edge.map(density) }
});

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
    fn samplers_have_their_moments() {
        let n = 200_000;
        let (mean, variance, kurtosis) = moments(n, Stream::normal);
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.015 && (kurtosis - 3.0).abs() < 0.08);
        for shape in [0.3, 1.5, 40.0] {
            let (mean, variance, _) = moments(n, |s| s.gamma(shape));
            assert!((mean / shape - 1.0).abs() < 0.02 && (variance / shape - 1.0).abs() < 0.04, "gamma {shape}");
        }
        for rate in [0.2, 4.0, 12.0, 700.0] {
            let (mean, variance, _) = moments(n, |s| s.poisson(rate));
            assert!((mean / rate - 1.0).abs() < 0.01 && (variance / rate - 1.0).abs() < 0.02, "poisson {rate}");
        }
        let (mean, variance, _) = moments(n, |s| s.beta(1.5, 48.5));
        assert!((mean - 0.03).abs() < 3e-4 && (variance / (0.03 * 0.97 / 51.0) - 1.0).abs() < 0.03);
    }

    #[test]
    fn lattice_fills_the_square_evenly() {
        let lattice = Lattice::new(5);
        let mut cells = [0; 100];
        for draw in 0..10_000 {
            let [row, column] = [0, 1].map(|axis| (lattice.at(draw, axis) * 10.0) as usize);
            cells[10 * row + column] += 1;
        }
        // Random points would leave cells between about 75 and 125.
        assert!(cells.iter().all(|n| (90..=110).contains(n)), "{cells:?}");
        assert_ne!(lattice.at(0, 0), Lattice::new(6).at(0, 0));
    }

    #[test]
    fn normal_tail_is_populated() {
        let beyond = (0..2_000_000u64).filter(|i| Stream::new(1, *i, 0).normal().abs() > 3.7).count();
        // 2 (1 - Phi(3.7)) = 2.156e-4: 431 expected, standard error 21.
        assert!((350..=515).contains(&beyond), "{beyond}");
    }
}
