//! Two arms of buyers: test, intervals, and the probability that the lift is positive.

use crate::roi::special::{beta_cdf, beta_density, beta_quantile, integrate, normal_quantile, normal_two_sided};

use serde::Serialize;
use utoipa::ToSchema;

use super::Interval;

/// Persons assigned to each arm and distinct buyers among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arms {
    /// Persons uploaded.
    pub treated: u64,
    /// Buyers among them.
    pub treated_buyers: u64,
    /// Persons held out.
    pub holdout: u64,
    /// Buyers among them.
    pub holdout_buyers: u64,
}

impl Arms {
    /// Buyers per person: treated, holdout.
    pub fn rates(&self) -> (f64, f64) {
        (self.treated_buyers as f64 / self.treated as f64, self.holdout_buyers as f64 / self.holdout as f64)
    }
}

/// Pooled two-proportion z and its two-sided p-value; (0, 1) when nobody or everybody bought.
pub fn pooled_z(arms: &Arms) -> (f64, f64) {
    let (p_t, p_c) = arms.rates();
    let (n_t, n_c) = (arms.treated as f64, arms.holdout as f64);
    let pooled = (arms.treated_buyers + arms.holdout_buyers) as f64 / (n_t + n_c);
    let error = (pooled * (1.0 - pooled) * (1.0 / n_t + 1.0 / n_c)).sqrt();
    if error == 0.0 {
        return (0.0, 1.0);
    }
    let z = (p_t - p_c) / error;
    (z, normal_two_sided(z))
}

/// Variance of the difference. An arm without buyers, or of buyers only, counts half a person on the other side, so that
/// no certainty follows from emptiness.
pub fn unpooled_variance(arms: &Arms) -> f64 {
    let one = |buyers: u64, persons: u64| {
        let n = persons as f64;
        let p = if buyers == 0 || buyers == persons { (buyers as f64 + 0.5) / (n + 1.0) } else { buyers as f64 / n };
        p * (1.0 - p) / n
    };
    one(arms.treated_buyers, arms.treated) + one(arms.holdout_buyers, arms.holdout)
}

/// Newcombe's interval of the difference (1998, method 10): Wilson limits of each arm, combined.
pub fn newcombe(arms: &Arms, alpha: f64) -> [f64; 2] {
    let (p_t, p_c) = arms.rates();
    let [low_t, high_t] = wilson(arms.treated_buyers, arms.treated, alpha);
    let [low_c, high_c] = wilson(arms.holdout_buyers, arms.holdout, alpha);
    let diff = p_t - p_c;
    [diff - (p_t - low_t).hypot(high_c - p_c), diff + (high_t - p_t).hypot(p_c - low_c)]
}

/// Wilson's interval of one proportion.
fn wilson(buyers: u64, persons: u64, alpha: f64) -> [f64; 2] {
    let z = normal_quantile(1.0 - alpha / 2.0);
    let (n, p) = (persons as f64, buyers as f64 / persons as f64);
    let scale = 1.0 + z * z / n;
    let centre = (p + z * z / (2.0 * n)) / scale;
    let half = z / scale * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    [centre - half, centre + half]
}

/// Relative lift with its log-ratio interval; none when an arm has no buyer.
pub fn log_ratio(arms: &Arms, alpha: f64) -> Option<Interval> {
    if arms.treated_buyers == 0 || arms.holdout_buyers == 0 {
        return None;
    }
    let (p_t, p_c) = arms.rates();
    let ratio = p_t / p_c;
    let error = ((1.0 - p_t) / arms.treated_buyers as f64 + (1.0 - p_c) / arms.holdout_buyers as f64).sqrt();
    let factor = (normal_quantile(1.0 - alpha / 2.0) * error).exp();
    Some(Interval { estimate: ratio - 1.0, low: ratio / factor - 1.0, high: ratio * factor - 1.0 })
}

/// P(treated rate > holdout rate) with flat Beta(1,1) priors, by quadrature over the holdout's posterior.
pub fn p_lift_positive(arms: &Arms) -> f64 {
    (1.0 - Posteriors::of(arms).treated_below(|holdout| holdout)).clamp(0.0, 1.0)
}

/// Where the lift lies with a given probability, flat Beta(1,1) priors: what a Bayesian reads beside Newcombe.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Credible {
    /// Of the difference of the rates.
    pub diff: [f64; 2],
    /// Of the relative lift; absent when no one held out bought.
    pub relative: Option<[f64; 2]>,
}

/// The equal-tailed interval that leaves `alpha` outside, by quadrature and bisection.
pub fn credible(arms: &Arms, alpha: f64) -> Credible {
    let posteriors = Posteriors::of(arms);
    let ends = |low: f64, high: f64, below: &dyn Fn(f64) -> f64| {
        [alpha / 2.0, 1.0 - alpha / 2.0].map(|p| root(low, high, |x| below(x) - p))
    };
    let diff = ends(-1.0, 1.0, &|diff| posteriors.treated_below(|holdout| holdout + diff));
    let relative = (arms.holdout_buyers > 0).then(|| {
        // Far beyond any ratio that these counts leave possible.
        let (p_t, p_c) = arms.rates();
        let most = 1e4 * (1.0 + p_t / p_c);
        ends(0.0, most, &|ratio| posteriors.treated_below(|holdout| holdout * ratio)).map(|ratio| ratio - 1.0)
    });
    Credible { diff, relative }
}

/// What the counts leave possible for the two rates: Beta distributions.
struct Posteriors {
    treated: (f64, f64),
    holdout: (f64, f64),
    /// All of the holdout's that matters.
    range: (f64, f64),
}

impl Posteriors {
    fn of(arms: &Arms) -> Self {
        let posterior = |buyers: u64, persons: u64| (buyers as f64 + 1.0, (persons - buyers) as f64 + 1.0);
        let holdout = posterior(arms.holdout_buyers, arms.holdout);
        let range = (beta_quantile(1e-13, holdout.0, holdout.1), beta_quantile(1.0 - 1e-13, holdout.0, holdout.1));
        Self { treated: posterior(arms.treated_buyers, arms.treated), holdout, range }
    }

    /// P(treated rate < `bound` of the holdout rate).
    fn treated_below(&self, bound: impl Fn(f64) -> f64) -> f64 {
        let ((a_t, b_t), (a_c, b_c)) = (self.treated, self.holdout);
        integrate(self.range.0, self.range.1, 24, |p| beta_density(p, a_c, b_c) * beta_cdf(bound(p), a_t, b_t))
    }
}

/// Where a rising function crosses 0, to the last digits that matter.
fn root(mut low: f64, mut high: f64, f: impl Fn(f64) -> f64) -> f64 {
    for _ in 0..60 {
        let middle = low + (high - low) / 2.0;
        if high - low < 1e-12 * middle.abs().max(1e-3) {
            break;
        }
        if f(middle) < 0.0 { low = middle } else { high = middle }
    }
    low + (high - low) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arms_without_buyers_prove_nothing() {
        let none = Arms { treated: 900, treated_buyers: 0, holdout: 100, holdout_buyers: 0 };
        assert_eq!(pooled_z(&none), (0.0, 1.0));
        assert_eq!(log_ratio(&none, 0.05), None);
        assert!(unpooled_variance(&none) > 0.0);
        let [low, high] = newcombe(&none, 0.05);
        assert!(low < 0.0 && high > 0.0);
        // Beta(1,901) against Beta(1,101): P = 101 / (101 + 901), in closed form.
        assert!((p_lift_positive(&none) - 101.0 / 1002.0).abs() < 1e-9);
    }

    #[test]
    fn credible_intervals_have_their_closed_forms() {
        // Nobody assigned: two flat rates, whose difference has the triangle's distribution.
        let nothing = Arms { treated: 0, treated_buyers: 0, holdout: 0, holdout_buyers: 0 };
        let Credible { diff: [low, high], relative } = credible(&nothing, 0.05);
        assert!((low - (0.05_f64.sqrt() - 1.0)).abs() < 1e-5 && (low + high).abs() < 1e-6, "{low} {high}");
        assert_eq!(relative, None);
        // Large arms: as the normal approximation, but for the flat priors' own weight, one part in a hundred.
        let large = Arms { treated: 900_000, treated_buyers: 19_800, holdout: 100_000, holdout_buyers: 2_000 };
        let Credible { diff, relative } = credible(&large, 0.05);
        let wald = 1.96 * unpooled_variance(&large).sqrt();
        assert!((diff[0] - (0.002 - wald)).abs() < 2e-5 && (diff[1] - (0.002 + wald)).abs() < 2e-5, "{diff:?}");
        let log = log_ratio(&large, 0.05).unwrap();
        let relative = relative.unwrap();
        assert!((relative[0] - log.low).abs() < 2e-3 && (relative[1] - log.high).abs() < 2e-3, "{relative:?}");
    }

    #[test]
    fn equal_arms_are_a_coin_toss() {
        let same = Arms { treated: 5000, treated_buyers: 100, holdout: 5000, holdout_buyers: 100 };
        assert!((p_lift_positive(&same) - 0.5).abs() < 1e-9);
    }
}
