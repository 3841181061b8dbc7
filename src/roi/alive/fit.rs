//! Maximum likelihood by Nelder and Mead's simplex on the logarithms of the parameters.
//!
//! Histories repeat (many bought once, on the same day), so they are counted first; the gamma functions depend on the
//! number of repeats only and are computed once per number.

use std::collections::BTreeMap;

use super::{Constants, History, Model, Parameters};

/// A fitted model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// Best parameters.
    pub parameters: Parameters,
    /// Log-likelihood at them.
    pub log_likelihood: f64,
}

/// Why nothing could be fitted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FitError {
    /// Nothing to learn from.
    #[error(
        "{0} customers, {1} of them with a repeat purchase, are too few to fit\nhint: use purchase_recency instead, or a longer history"
    )]
    TooFew(usize, usize),
    /// A history that cannot be.
    #[error(
        "a history has its last purchase {last} weeks after the first but is only {age} weeks old\nhint: count events before the day of judgement only"
    )]
    Impossible {
        /// First to last purchase.
        last: f64,
        /// Age.
        age: f64,
    },
}

/// Fits a model to all histories of a base.
///
/// # Errors
/// When fewer than 10 customers bought again, or a history is impossible.
pub fn fit(model: Model, histories: &[History]) -> Result<Fit, FitError> {
    fit_counted(model, histories.iter().map(|h| (*h, 1)))
}

/// As [`fit`], with each history given once and how many customers have it.
///
/// # Errors
/// As [`fit`].
pub fn fit_counted(model: Model, histories: impl IntoIterator<Item = (History, u64)>) -> Result<Fit, FitError> {
    let histories: Vec<(History, u64)> = histories.into_iter().collect();
    if let Some((h, _)) = histories.iter().find(|(h, _)| !(h.last >= 0.0 && h.last <= h.age && h.age.is_finite())) {
        return Err(FitError::Impossible { last: h.last, age: h.age });
    }
    let customers: u64 = histories.iter().map(|(_, n)| n).sum();
    let repeaters: u64 = histories.iter().filter(|(h, _)| h.repeats > 0).map(|(_, n)| n).sum();
    if repeaters < 10 {
        return Err(FitError::TooFew(customers as usize, repeaters as usize));
    }
    let mut counted: BTreeMap<(u32, u64, u64), f64> = BTreeMap::new();
    for (h, n) in &histories {
        *counted.entry((h.repeats, h.last.to_bits(), h.age.to_bits())).or_default() += *n as f64;
    }
    let groups: Vec<(History, f64)> = counted
        .into_iter()
        .map(|((repeats, last, age), n)| (History { repeats, last: f64::from_bits(last), age: f64::from_bits(age) }, n))
        .collect();

    let cost = |point: &[f64; 4]| -> f64 {
        // Beyond these bounds the likelihood is flat and the gamma functions lose their digits.
        if point.iter().any(|v| v.abs() > 12.0) {
            return f64::INFINITY;
        }
        let p = parameters(point);
        let mut constants: Option<(u32, Constants)> = None;
        let mut total = 0.0;
        // Groups are ordered by repeats, so each number's constants are computed once.
        for (h, n) in &groups {
            let known = match constants {
                Some((repeats, c)) if repeats == h.repeats => c,
                _ => model.constants(&p, h.repeats),
            };
            constants = Some((h.repeats, known));
            total -= n * known.log_likelihood(&p, h);
        }
        if total.is_nan() { f64::INFINITY } else { total }
    };

    let mean_age = histories.iter().map(|(h, n)| h.age * *n as f64).sum::<f64>() / customers as f64;
    let mut best = [-0.7, (mean_age / 6.0).max(1e-3).ln(), -0.7, 0.0];
    let mut value = cost(&best);
    // A simplex can collapse short of the top; a fresh one around the point shows whether it did.
    for round in 0..12 {
        let size = if round == 0 { 0.5 } else { 0.1 };
        let (point, reached) = simplex(best, size, &cost);
        let gain = value - reached;
        (best, value) = (point, reached);
        if round > 0 && gain < 1e-9 * value.abs() {
            break;
        }
    }
    Ok(Fit { parameters: parameters(&best), log_likelihood: -value })
}

fn parameters(point: &[f64; 4]) -> Parameters {
    let [r, alpha, a, b] = point.map(f64::exp);
    Parameters { r, alpha, a, b }
}

/// Nelder-Mead from a simplex of this size; returns the best point and its cost.
fn simplex(start: [f64; 4], size: f64, cost: &impl Fn(&[f64; 4]) -> f64) -> ([f64; 4], f64) {
    let mut corners: Vec<([f64; 4], f64)> = (0..5)
        .map(|i| {
            let mut point = start;
            if i > 0 {
                point[i - 1] += size;
            }
            (point, cost(&point))
        })
        .collect();
    for _ in 0..600 {
        corners.sort_by(|a, b| a.1.total_cmp(&b.1));
        let spread = (0..4).map(|d| (corners[4].0[d] - corners[0].0[d]).abs()).fold(0.0, f64::max);
        if spread < 1e-8 {
            break;
        }
        let centre: [f64; 4] = std::array::from_fn(|d| corners[..4].iter().map(|c| c.0[d]).sum::<f64>() / 4.0);
        let worst = corners[4];
        let along = |t: f64| {
            let point: [f64; 4] = std::array::from_fn(|d| centre[d] + t * (worst.0[d] - centre[d]));
            (point, cost(&point))
        };
        let reflected = along(-1.0);
        let next = if reflected.1 < corners[0].1 {
            let expanded = along(-2.0);
            if expanded.1 < reflected.1 { expanded } else { reflected }
        } else if reflected.1 < corners[3].1 {
            reflected
        } else {
            let contracted = along(if reflected.1 < worst.1 { -0.5 } else { 0.5 });
            if contracted.1 >= worst.1.min(reflected.1) {
                let first = corners[0].0;
                for corner in &mut corners[1..] {
                    corner.0 = std::array::from_fn(|d| first[d] + 0.5 * (corner.0[d] - first[d]));
                    corner.1 = cost(&corner.0);
                }
                continue;
            }
            contracted
        };
        corners[4] = next;
    }
    corners.sort_by(|a, b| a.1.total_cmp(&b.1));
    corners[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_or_impossible_data_is_refused() {
        let once = History { repeats: 0, last: 0.0, age: 10.0 };
        assert!(fit(Model::MbgNbd, &[once; 50]).unwrap_err().to_string().contains("hint:"));
        let bad = History { repeats: 1, last: 11.0, age: 10.0 };
        assert!(matches!(fit(Model::MbgNbd, &[bad]), Err(FitError::Impossible { .. })));
    }

    #[test]
    fn simplex_finds_a_curved_valley() {
        let rosenbrock =
            |p: &[f64; 4]| (0..3).map(|i| 100.0 * (p[i + 1] - p[i] * p[i]).powi(2) + (1.0 - p[i]).powi(2)).sum::<f64>();
        let (mut point, _) = simplex([0.0; 4], 0.5, &rosenbrock);
        for _ in 0..5 {
            (point, _) = simplex(point, 0.1, &rosenbrock);
        }
        assert!(point.iter().all(|v| (v - 1.0).abs() < 1e-5), "{point:?}");
    }
}
