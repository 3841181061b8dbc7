//! Money per person: Welch's comparison, a winsorised second line, and CUPED.
//!
//! Arms are kept as running moments, never as rows, so that a warehouse's millions of persons stream through. Persons who
//! spent nothing are persons: they count as zeros.

use serde::Serialize;
use utoipa::ToSchema;

use crate::roi::special::{student_critical, student_two_sided};

/// Share of persons whose revenue before the test lies under the cap of the winsorised line.
pub const WINSORISE_AT: f64 = 0.995;

/// Running moments of outcome `y` and earlier covariate `x` over the persons of one arm.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ArmMoments {
    /// Persons.
    pub persons: f64,
    mean_y: f64,
    mean_x: f64,
    sum_yy: f64,
    sum_xx: f64,
    sum_xy: f64,
}

impl ArmMoments {
    /// Arm known only by its mean and standard deviation.
    pub fn from_summary(persons: u64, mean: f64, sd: f64) -> Self {
        let n = persons as f64;
        Self { persons: n, mean_y: mean, sum_yy: sd * sd * (n - 1.0).max(0.0), ..Self::default() }
    }

    /// Counts one person with outcome `y` and covariate `x` (0 when unused).
    pub fn add(&mut self, y: f64, x: f64) {
        self.persons += 1.0;
        let (dy, dx) = (y - self.mean_y, x - self.mean_x);
        self.mean_y += dy / self.persons;
        self.mean_x += dx / self.persons;
        self.sum_yy += dy * (y - self.mean_y);
        self.sum_xx += dx * (x - self.mean_x);
        self.sum_xy += dx * (y - self.mean_y);
    }

    /// Joins two parts.
    #[must_use]
    pub fn merged(self, other: Self) -> Self {
        let n = self.persons + other.persons;
        if n == 0.0 {
            return self;
        }
        let (dy, dx) = (other.mean_y - self.mean_y, other.mean_x - self.mean_x);
        let weight = self.persons * other.persons / n;
        Self {
            persons: n,
            mean_y: self.mean_y + dy * other.persons / n,
            mean_x: self.mean_x + dx * other.persons / n,
            sum_yy: self.sum_yy + other.sum_yy + dy * dy * weight,
            sum_xx: self.sum_xx + other.sum_xx + dx * dx * weight,
            sum_xy: self.sum_xy + other.sum_xy + dx * dy * weight,
        }
    }

    /// Mean outcome per person.
    pub fn mean(&self) -> f64 {
        self.mean_y
    }

    /// Sample variance of the outcome.
    pub fn variance(&self) -> f64 {
        self.sum_yy / (self.persons - 1.0)
    }

    /// The arm after subtracting theta (x - mean x).
    fn adjusted(&self, theta: f64, mean_x: f64) -> Self {
        Self {
            mean_y: self.mean_y - theta * (self.mean_x - mean_x),
            sum_yy: self.sum_yy - 2.0 * theta * self.sum_xy + theta * theta * self.sum_xx,
            sum_xy: self.sum_xy - theta * self.sum_xx,
            ..*self
        }
    }
}

/// Welch's comparison of two arms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Welch {
    /// Mean per person, treated.
    pub mean_treated: f64,
    /// Mean per person, holdout.
    pub mean_holdout: f64,
    /// Difference per person.
    pub diff: f64,
    /// The same over the holdout's mean; absent when that is not above zero.
    pub relative: Option<f64>,
    /// Standard error of the difference.
    pub standard_error: f64,
    /// t statistic.
    pub t: f64,
    /// Degrees of freedom (Satterthwaite).
    pub degrees: f64,
    /// Two-sided p-value.
    pub p_value: f64,
    /// 95 % interval of the difference.
    pub interval: [f64; 2],
    /// Difference times the persons treated.
    pub incremental_total: f64,
}

/// Compares two arms without assuming equal spread; none when an arm has fewer than two persons or nothing varies.
pub fn welch(treated: &ArmMoments, holdout: &ArmMoments, alpha: f64) -> Option<Welch> {
    if treated.persons < 2.0 || holdout.persons < 2.0 {
        return None;
    }
    let (v_t, v_c) = (treated.variance() / treated.persons, holdout.variance() / holdout.persons);
    let variance = v_t + v_c;
    if variance.is_nan() || variance <= 0.0 {
        return None;
    }
    let standard_error = variance.sqrt();
    let degrees = variance * variance / (v_t * v_t / (treated.persons - 1.0) + v_c * v_c / (holdout.persons - 1.0));
    let diff = treated.mean_y - holdout.mean_y;
    let t = diff / standard_error;
    let half = student_critical(alpha, degrees) * standard_error;
    Some(Welch {
        mean_treated: treated.mean_y,
        mean_holdout: holdout.mean_y,
        diff,
        relative: (holdout.mean_y > 0.0).then(|| diff / holdout.mean_y),
        standard_error,
        t,
        degrees,
        p_value: student_two_sided(t, degrees),
        interval: [diff - half, diff + half],
        incremental_total: diff * treated.persons,
    })
}

/// Welch after taking out what the covariate explains.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Cuped {
    /// cov(y, x) / var(x), both arms pooled.
    pub theta: f64,
    /// Correlation of outcome and covariate, pooled.
    pub correlation: f64,
    /// Variance of the difference against the plain one; about 1 for inactives, whose past year is empty.
    pub variance_ratio: f64,
    /// The adjusted comparison.
    pub adjusted: Welch,
}

/// CUPED (Deng, Xu, Kohavi, Walker 2013) with a covariate fixed before assignment, such as revenue of the year before.
pub fn cuped(treated: &ArmMoments, holdout: &ArmMoments, alpha: f64) -> Option<Cuped> {
    let all = treated.merged(*holdout);
    if all.sum_xx <= 0.0 || all.sum_yy <= 0.0 {
        return None;
    }
    let theta = all.sum_xy / all.sum_xx;
    let plain = welch(treated, holdout, alpha)?;
    let adjusted = welch(&treated.adjusted(theta, all.mean_x), &holdout.adjusted(theta, all.mean_x), alpha)?;
    Some(Cuped {
        theta,
        correlation: all.sum_xy / (all.sum_xx * all.sum_yy).sqrt(),
        variance_ratio: (adjusted.standard_error / plain.standard_error).powi(2),
        adjusted,
    })
}

/// The revenue lines of one experiment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Revenue {
    /// As it is.
    pub plain: Welch,
    /// Each person's amount cut at a cap fixed before the test; absent without one.
    pub winsorised: Option<Welch>,
    /// With a covariate; absent without one.
    pub cuped: Option<Cuped>,
}

/// Collects persons of both arms and compares them.
#[derive(Debug, Clone, Copy, Default)]
pub struct RevenueTest {
    cap: Option<f64>,
    plain: [ArmMoments; 2],
    cut: [ArmMoments; 2],
}

impl RevenueTest {
    /// `cap`: the 99.5th percentile of the same amount *before* the test, so that the ads cannot move it.
    pub fn new(cap: Option<f64>) -> Self {
        Self { cap, ..Self::default() }
    }

    /// Counts a person: net revenue in the window (0 for none) and the covariate (0 when unused).
    pub fn add(&mut self, treated: bool, revenue: f64, covariate: f64) {
        let arm = usize::from(!treated);
        self.plain[arm].add(revenue, covariate);
        self.cut[arm].add(self.cap.map_or(revenue, |c| revenue.min(c)), covariate);
    }

    /// The comparison; none while an arm has fewer than two persons or nothing varies.
    pub fn result(&self, alpha: f64) -> Option<Revenue> {
        let [treated, holdout] = &self.plain;
        Some(Revenue {
            plain: welch(treated, holdout, alpha)?,
            winsorised: self.cap.and_then(|_| welch(&self.cut[0], &self.cut[1], alpha)),
            cuped: cuped(treated, holdout, alpha),
        })
    }
}

/// The value below which a share `p` of `values` lies (linear between order statistics); none for no values.
pub fn percentile(values: &[f64], p: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let place = p.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let low = sorted[place as usize];
    let high = sorted[(place.ceil() as usize).min(sorted.len() - 1)];
    Some(low + place.fract() * (high - low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_parts_equals_counting_at_once() {
        let rows: Vec<(f64, f64)> = (0..50).map(|i| (f64::from(i * i % 17), f64::from(i % 7))).collect();
        let count = |rows: &[(f64, f64)]| {
            let mut m = ArmMoments::default();
            rows.iter().for_each(|(y, x)| m.add(*y, *x));
            m
        };
        let (whole, parts) = (count(&rows), count(&rows[..20]).merged(count(&rows[20..])));
        for (a, b) in [(whole.mean_y, parts.mean_y), (whole.sum_yy, parts.sum_yy), (whole.sum_xy, parts.sum_xy)] {
            assert!((a - b).abs() < 1e-9);
        }
    }

    #[test]
    fn one_whale_moves_the_plain_line_only() {
        let mut test = RevenueTest::new(Some(50.0));
        for i in 0..2000 {
            test.add(i % 2 == 0, f64::from(i % 40), 0.0);
        }
        test.add(true, 100_000.0, 0.0);
        let r = test.result(0.05).unwrap();
        assert!(r.plain.diff > 90.0 && r.winsorised.unwrap().diff.abs() < 2.0);
        assert_eq!(r.cuped, None, "a constant covariate explains nothing");
    }

    #[test]
    fn percentile_interpolates() {
        assert_eq!(percentile(&[4.0, 1.0, 3.0, 2.0], 0.5), Some(2.5));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
