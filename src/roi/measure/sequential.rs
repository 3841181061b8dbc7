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
    let rule = gauss_legendre(120);
    let mut boundaries = Vec::with_capacity(times.len());
    // Nodes of the score process that has not crossed yet: (position, weight x density).
    let mut alive: Vec<(f64, f64)> = vec![(0.0, 1.0)];
    let (mut before, mut already) = (0.0, 0.0);
    for &t in times {
        let step = (t - before).sqrt();
        let spend = (spent(t) - already).max(f64::MIN_POSITIVE);
        let crossing = |b: f64| alive.iter().map(|(x, mass)| mass * normal_cdf((x - b) / step)).sum::<f64>();
        let (mut low, mut high) = (0.0, 40.0 * t.sqrt());
        for _ in 0..100 {
            let middle = 0.5 * (low + high);
            if crossing(middle) > spend {
                low = middle;
            } else {
                high = middle;
            }
        }
        let edge = 0.5 * (low + high);
        boundaries.push(edge / t.sqrt());
        let scale = 1.0 / (step * (2.0 * std::f64::consts::PI).sqrt());
        alive = rule
            .iter()
            .map(|(node, weight)| {
                let y = node * edge;
                let density: f64 = alive.iter().map(|(x, mass)| mass * (-0.5 * ((y - x) / step).powi(2)).exp()).sum();
                (y, weight * edge * density * scale)
            })
            .collect();
        (before, already) = (t, spent(t));
    }
    boundaries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_look_is_the_plain_test() {
        assert!((obrien_fleming(&[1.0], 0.05)[0] - 1.959964).abs() < 1e-5);
    }

    #[test]
    fn mixture_variance_matches_its_rule() {
        assert!((planned_tau2(0.05, 1.0) - 7.9361546).abs() < 1e-6);
        let half = always_valid(0.0, 1.0, planned_tau2(0.05, 1.0), 0.05).interval[1];
        assert!((half - 3.035209).abs() < 1e-6, "{half}");
    }
}
