//! Looking before the end: always-valid intervals for any number of looks, O'Brien-Fleming boundaries for planned ones.
//!
//! Ten looks at a plain 95 % test raise its false alarms to 19 %.

use serde::Serialize;
use utoipa::ToSchema;

use crate::roi::special::{gauss_legendre, normal_cdf, normal_quantile};

/// Most looks a boundary is computed for.
pub const MAX_LOOKS: usize = 50;

/// What holds however often one looks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct AlwaysValid {
    /// p-value that stays valid under any stopping.
    pub p_value: f64,
    /// 95 % interval of the difference that stays valid under any stopping.
    pub interval: [f64; 2],
}

/// Mixture variance that makes the interval narrowest at the variance planned for the end: 7.936 of it at 5 %.
pub fn planned_tau2(alpha: f64, planned_variance: f64) -> f64 {
    let evidence = -2.0 * alpha.ln();
    (evidence + (evidence + 1.0).ln()) * planned_variance
}

/// Mixture sequential test (Robbins 1970; Johari, Pekelis, Walsh 2015) of a difference with this variance.
pub fn always_valid(diff: f64, variance: f64, tau2: f64, alpha: f64) -> AlwaysValid {
    let total = variance + tau2;
    let log_ratio = (total / variance).ln();
    let p_value = (0.5 * log_ratio - diff * diff * tau2 / (2.0 * variance * total)).exp().min(1.0);
    let half = (variance * total / tau2 * (-2.0 * alpha.ln() + log_ratio)).sqrt();
    AlwaysValid { p_value, interval: [diff - half, diff + half] }
}

/// One planned look.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Look {
    /// Which look, from 1.
    pub look: usize,
    /// Looks planned.
    pub of: usize,
    /// |z| needed at this look.
    pub boundary_z: f64,
    /// True when it is reached.
    pub crossed: bool,
}

/// Judges `z` at an equally spaced look (`1 <= look <= of`).
pub(crate) fn look(look: usize, of: usize, z: f64, alpha: f64) -> Look {
    let times: Vec<f64> = (1..=of).map(|i| i as f64 / of as f64).collect();
    let boundary_z = obrien_fleming(&times[..look], alpha)[look - 1];
    Look { look, of, boundary_z, crossed: z.abs() >= boundary_z }
}

/// Two-sided boundaries |z| at rising information fractions in (0, 1], by the Lan-DeMets (1983) spending function of
/// O'Brien-Fleming type.
pub fn obrien_fleming(times: &[f64], alpha: f64) -> Vec<f64> {
    let side = alpha / 2.0;
    let critical = normal_quantile(1.0 - side / 2.0);
    let spent = |t: f64| 2.0 * normal_cdf(-critical / t.sqrt());
    let mut score = Score::new();
    let mut already = 0.0;
    let boundary = |&t: &f64| {
        let spend = (spent(t) - already).max(f64::MIN_POSITIVE);
        let (mut low, mut high) = (0.0, 40.0);
        for _ in 0..100 {
            let middle = 0.5 * (low + high);
            if score.crossing(t, middle) > spend {
                low = middle;
            } else {
                high = middle;
            }
        }
        let z = 0.5 * (low + high);
        score.go_on(t, z);
        already = spent(t);
        z
    };
    times.iter().map(boundary).collect()
}

/// The score process without an effect, as long as it has crossed no two-sided boundary: Armitage, McPherson, Rowe 1969.
struct Score {
    time: f64,
    /// Nodes of what has not crossed: (position, weight x density).
    alive: Vec<(f64, f64)>,
    rule: Vec<(f64, f64)>,
}

impl Score {
    fn new() -> Self {
        Self { time: 0.0, alive: vec![(0.0, 1.0)], rule: gauss_legendre(120) }
    }

    /// Probability to cross +z at `time` and not before.
    fn crossing(&self, time: f64, z: f64) -> f64 {
        let (step, edge) = ((time - self.time).sqrt(), z * time.sqrt());
        self.alive.iter().map(|(x, mass)| mass * normal_cdf((x - edge) / step)).sum()
    }

    /// Goes on with what has not crossed |z| at `time`.
    fn go_on(&mut self, time: f64, z: f64) {
        let (step, edge) = ((time - self.time).sqrt(), z * time.sqrt());
        let scale = 1.0 / (step * (2.0 * std::f64::consts::PI).sqrt());
        let node = |(node, weight): &(f64, f64)| {
            let y = node * edge;
            let density: f64 = self.alive.iter().map(|(x, mass)| mass * (-0.5 * ((y - x) / step).powi(2)).exp()).sum();
            (y, weight * edge * density * scale)
        };
        self.alive = self.rule.iter().map(node).collect();
        self.time = time;
    }
}

/// Probability that |z| reaches its boundary at one of several looks although the ads do nothing.
pub fn false_alarms(times: &[f64], boundaries: &[f64]) -> f64 {
    let mut score = Score::new();
    let crossed = |(&time, &z): (&f64, &f64)| {
        let both_sides = 2.0 * score.crossing(time, z);
        score.go_on(time, z);
        both_sides
    };
    times.iter().zip(boundaries).map(crossed).sum()
}

/// What several equally spaced looks do to the chance of a false alarm, when one stops at the first that seems to show
/// something.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Looks {
    /// How many, the one at the end included.
    pub looks: usize,
    /// Chance of a false alarm when each look is read as if it were the only one.
    pub false_alarms_plain: f64,
    /// The same with always-valid intervals.
    pub false_alarms_always_valid: f64,
    /// The same with the boundaries below.
    pub false_alarms_planned: f64,
    /// |z| needed at each look, by O'Brien-Fleming: `roi measure --look 1/5`, `2/5` and so on.
    pub boundaries_z: Vec<f64>,
}

impl Looks {
    /// `looks` is at least 1, at most [`MAX_LOOKS`].
    pub(crate) fn at(looks: usize, alpha: f64) -> Self {
        let times: Vec<f64> = (1..=looks).map(|look| look as f64 / looks as f64).collect();
        let plain = vec![normal_quantile(1.0 - alpha / 2.0); looks];
        let tau2 = planned_tau2(alpha, 1.0);
        let half = |time: &f64| always_valid(0.0, 1.0 / time, tau2, alpha).interval[1] * time.sqrt();
        let always: Vec<f64> = times.iter().map(half).collect();
        let boundaries_z = obrien_fleming(&times, alpha);
        Self {
            looks,
            false_alarms_plain: false_alarms(&times, &plain),
            false_alarms_always_valid: false_alarms(&times, &always),
            false_alarms_planned: false_alarms(&times, &boundaries_z),
            boundaries_z,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_look_is_the_plain_test() {
        assert!((obrien_fleming(&[1.0], 0.05)[0] - 1.959964).abs() < 1e-5);
    }

    #[test]
    fn looks_add_up_false_alarms() {
        let one = Looks::at(1, 0.05);
        assert!(
            (one.false_alarms_plain - 0.05).abs() < 1e-9 && (one.false_alarms_planned - 0.05).abs() < 1e-9,
            "{one:?}"
        );
        // Armitage, McPherson, Rowe (1969), table 2.
        for (looks, published) in [(2, 0.083), (5, 0.142), (10, 0.193), (20, 0.248), (50, 0.320)] {
            let found = Looks::at(looks, 0.05);
            assert!((found.false_alarms_plain - published).abs() < 6e-4, "{looks}: {found:?}");
            assert!((found.false_alarms_planned - 0.05).abs() < 1e-6, "{looks}: {found:?}");
            assert!(found.false_alarms_always_valid < 0.02, "{looks}: {found:?}");
        }
    }

    #[test]
    fn mixture_variance_matches_its_rule() {
        assert!((planned_tau2(0.05, 1.0) - 7.9361546).abs() < 1e-6);
        let half = always_valid(0.0, 1.0, planned_tau2(0.05, 1.0), 0.05).interval[1];
        assert!((half - 3.035209).abs() < 1e-6, "{half}");
    }
}
