//! Distributions made ready to be drawn from a probability, a hundred thousand times over.

use super::special::{beta_cdf, ln_beta, normal_quantile};

/// A distribution made ready: the value below which it lies with a given probability, fast.
#[derive(Debug, Clone)]
pub(crate) enum Sampler {
    Point(f64),
    LogNormal { median: f64, sigma: f64 },
    Table(Box<Table>),
}

impl Sampler {
    /// The value below which it lies with probability `u` in (0, 1).
    pub(crate) fn at(&self, u: f64) -> f64 {
        match self {
            Self::Point(value) => *value,
            Self::LogNormal { median, sigma } => median * (sigma * normal_quantile(u)).exp(),
            Self::Table(table) => table.at(u),
        }
    }
}

/// Inverse of a tabulated Beta, perhaps cut to a part of it: searching the quantile anew would take seconds for 200,000
/// draws.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    low: f64,
    step: f64,
    /// Powers by which the mass begins at 0 and ends at 1, where the table reaches so far.
    ends: [Option<f64>; 2],
    /// Share of the mass below each cell's upper end.
    upto: Vec<f64>,
    /// First cell that may hold a probability, by its first digits.
    guide: Vec<u16>,
}

impl Table {
    const CELLS: usize = 2048;
    /// Cells at either end whose mass is computed, not integrated: there the density may begin with a singularity.
    const EXACT: usize = 16;

    /// Beta(a, b) cut to [low, high].
    pub(crate) fn new(a: f64, b: f64, low: f64, high: f64) -> Self {
        let mean = a / (a + b);
        let reach = 12.0 * (mean * (1.0 - mean) / (a + b + 1.0)).sqrt();
        // Cells go where the mass is; a bound far outside would waste them.
        let (from, to) = (low.max(mean - reach), high.min(mean + reach));
        let (low, high) = if from < to { (from, to) } else { (low, high) };
        let step = (high - low) / Self::CELLS as f64;
        let mut upto = Self::masses(a, b, low, step);
        let total = upto[Self::CELLS - 1];
        if total > 0.0 {
            upto.iter_mut().for_each(|mass| *mass /= total);
        } else {
            // No mass that could be told from none: evenly.
            upto.iter_mut().enumerate().for_each(|(cell, mass)| *mass = (cell + 1) as f64 / Self::CELLS as f64);
        }
        let first = |part: usize| upto.partition_point(|mass| *mass <= part as f64 / Self::CELLS as f64);
        let guide = (0..Self::CELLS).map(|part| first(part).min(Self::CELLS - 1) as u16).collect();
        let ends = [(low <= 0.0).then(|| 1.0 / a), (high >= 1.0).then(|| 1.0 / b)];
        Self { low, step, ends, upto, guide }
    }

    /// Mass from `low` up to each cell's upper end.
    fn masses(a: f64, b: f64, low: f64, step: f64) -> Vec<f64> {
        let scale = ln_beta(a, b);
        let density = |x: f64| ((a - 1.0) * x.ln() + (b - 1.0) * (-x).ln_1p() - scale).exp();
        let at = |cell: usize| low + step * cell as f64;
        let (mut below, mut mass) = (beta_cdf(low, a, b), 0.0);
        let mut upto = Vec::with_capacity(Self::CELLS);
        let mut left = density(at(Self::EXACT));
        for cell in 0..Self::CELLS {
            if (Self::EXACT..Self::CELLS - Self::EXACT).contains(&cell) {
                let right = density(at(cell + 1));
                mass += step / 6.0 * (left + 4.0 * density(at(cell) + 0.5 * step) + right);
                left = right;
            } else {
                if cell == Self::CELLS - Self::EXACT {
                    below = beta_cdf(at(cell), a, b);
                }
                let upper = beta_cdf(at(cell + 1), a, b);
                mass += upper - below;
                below = upper;
            }
            upto.push(mass);
        }
        upto
    }

    fn at(&self, u: f64) -> f64 {
        let mut cell = usize::from(self.guide[(u * Self::CELLS as f64) as usize]);
        while cell < Self::CELLS - 1 && self.upto[cell] <= u {
            cell += 1;
        }
        let below = if cell > 0 { self.upto[cell - 1] } else { 0.0 };
        let mass = self.upto[cell] - below;
        let mut inside = if mass > 0.0 { ((u - below) / mass).clamp(0.0, 1.0) } else { 0.5 };
        match self.ends {
            [Some(power), _] if cell == 0 => inside = inside.powf(power),
            [_, Some(power)] if cell == Self::CELLS - 1 => inside = 1.0 - (1.0 - inside).powf(power),
            _ => {}
        }
        self.low + self.step * (cell as f64 + inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roi::{distribution::Distribution, special::beta_quantile};

    #[test]
    fn tables_give_the_quantiles() {
        for (a, b) in [(0.4, 3.0), (1.5, 48.5), (12.4, 7.6), (18.0, 2.0), (31_252.4, 20_767.6), (1.0, 1.0), (3.0, 0.2)]
        {
            let table = Table::new(a, b, 0.0, 1.0);
            let spread = (a * b / (a + b + 1.0)).sqrt() / (a + b);
            for i in 1..1000 {
                let u = f64::from(i) / 1000.0;
                let (got, want) = (table.at(u), beta_quantile(u, a, b));
                assert!((got - want).abs() < 5e-4 * spread, "Beta({a},{b}) at {u}: {got}, want {want}");
            }
            for u in [1e-9, 1e-5, 1.0 - 1e-5, 1.0 - 1e-9] {
                assert!((0.0..=1.0).contains(&table.at(u)));
            }
        }
    }

    #[test]
    fn cut_draws_have_the_cut_mean_and_bounds() {
        let bucket = Distribution::TruncatedBeta { a: 10.4, b: 9.6, low: 0.405, high: 0.505 };
        let sampler = bucket.sampler();
        let draws: Vec<f64> = (0..50_000).map(|i| sampler.at((f64::from(i) + 0.5) / 50_000.0)).collect();
        assert!(draws.iter().all(|d| (0.405..=0.505).contains(d)));
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        assert!((mean - bucket.mean()).abs() < 1e-6, "{mean}");
        // A bucket in which the prior has no mass left.
        let lost = Distribution::TruncatedBeta { a: 5e5, b: 5e5, low: 0.9, high: 0.95 }.sampler().at(0.3);
        assert!((0.9..=0.95).contains(&lost), "{lost}");
    }
}
