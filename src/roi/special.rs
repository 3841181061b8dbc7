//! The few special functions the statistics need: normal, Beta, Student and chi-square probabilities.
//!
//! `statrs` supplies the gamma and error functions. Its incomplete Beta stops after 140 terms of the continued fraction,
//! too few for arms of 100,000 persons, so that one is here, with an iteration count that grows with the parameters.

use statrs::function::{
    erf::{erfc, erfc_inv},
    gamma::{gamma_ur, ln_gamma},
};

/// P(Z <= z) for a standard normal Z.
pub fn normal_cdf(z: f64) -> f64 {
    0.5 * erfc(-z / std::f64::consts::SQRT_2)
}

/// Two-sided tail P(|Z| >= |z|), accurate far into the tail.
pub fn normal_two_sided(z: f64) -> f64 {
    erfc(z.abs() / std::f64::consts::SQRT_2)
}

/// The z with P(Z <= z) = `p`, for `p` in (0, 1).
pub fn normal_quantile(p: f64) -> f64 {
    -std::f64::consts::SQRT_2 * erfc_inv(2.0 * p)
}

/// ln B(a, b).
pub fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// Density of Beta(a, b) at `x` in (0, 1).
pub fn beta_density(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    ((a - 1.0) * x.ln() + (b - 1.0) * (-x).ln_1p() - ln_beta(a, b)).exp()
}

/// P(X <= x) for X ~ Beta(a, b): the regularised incomplete Beta function.
pub fn beta_cdf(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (a * x.ln() + b * (-x).ln_1p() - ln_beta(a, b)).exp();
    // The fraction converges fast on the side of the mean where x lies; the other side is its complement.
    if x < (a + 1.0) / (a + b + 2.0) {
        (front * beta_fraction(x, a, b) / a).clamp(0.0, 1.0)
    } else {
        (1.0 - front * beta_fraction(1.0 - x, b, a) / b).clamp(0.0, 1.0)
    }
}

/// Lentz's evaluation of the continued fraction of the incomplete Beta function.
fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let guard = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    // Terms needed grow with the square root of the larger parameter.
    let limit = 200 + (20.0 * a.max(b).sqrt()) as u64;
    for m in 1..=limit {
        let m = m as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / guard(1.0 + even * d);
        c = guard(1.0 + even / c);
        h *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / guard(1.0 + odd * d);
        c = guard(1.0 + odd / c);
        let step = d * c;
        h *= step;
        if (step - 1.0).abs() < 1e-15 {
            break;
        }
    }
    h
}

/// The x with P(X <= x) = `p` for X ~ Beta(a, b).
pub fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    invert(p, 0.0, 1.0, a / (a + b), |x| beta_cdf(x, a, b), |x| beta_density(x, a, b))
}

/// Two-sided tail P(|T| >= |t|) of Student's t with `df` degrees of freedom.
pub fn student_two_sided(t: f64, df: f64) -> f64 {
    beta_cdf(df / (df + t * t), df / 2.0, 0.5)
}

/// The t > 0 with P(|T| >= t) = `alpha` for Student's t.
pub fn student_critical(alpha: f64, df: f64) -> f64 {
    let x = beta_quantile(alpha, df / 2.0, 0.5);
    (df * (1.0 - x) / x).sqrt()
}

/// Upper tail P(X >= x) of chi-square with `df` degrees of freedom.
pub fn chi_square_upper(x: f64, df: f64) -> f64 {
    if x <= 0.0 { 1.0 } else { gamma_ur(df / 2.0, x / 2.0) }
}

/// Newton steps on a rising `cdf`, kept inside a shrinking bracket by bisection.
fn invert(p: f64, low: f64, high: f64, start: f64, cdf: impl Fn(f64) -> f64, density: impl Fn(f64) -> f64) -> f64 {
    if p <= 0.0 {
        return low;
    }
    if p >= 1.0 {
        return high;
    }
    let (mut low, mut high, mut x) = (low, high, start);
    for _ in 0..200 {
        let error = cdf(x) - p;
        if error == 0.0 {
            break;
        }
        if error > 0.0 {
            high = x;
        } else {
            low = x;
        }
        let slope = density(x);
        let newton = x - error / slope;
        let next = if slope > 0.0 && newton > low && newton < high { newton } else { 0.5 * (low + high) };
        if (next - x).abs() <= 1e-15 * x.abs() {
            return next;
        }
        x = next;
    }
    x
}

/// Nodes and weights of the n-point Gauss-Legendre rule on [-1, 1].
pub fn gauss_legendre(n: usize) -> Vec<(f64, f64)> {
    (0..n)
        .map(|i| {
            let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n as f64 + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..100 {
                let (mut before, mut p) = (1.0, x);
                for k in 2..=n {
                    let k = k as f64;
                    (before, p) = (p, ((2.0 * k - 1.0) * x * p - (k - 1.0) * before) / k);
                }
                slope = n as f64 * (x * p - before) / (x * x - 1.0);
                let step = p / slope;
                x -= step;
                if step.abs() < 1e-16 {
                    break;
                }
            }
            (x, 2.0 / ((1.0 - x * x) * slope * slope))
        })
        .collect()
}

/// Integral of `f` over [low, high] by `panels` panels of a 16-point rule.
pub fn integrate(low: f64, high: f64, panels: usize, f: impl Fn(f64) -> f64) -> f64 {
    let rule = gauss_legendre(16);
    let half = (high - low) / (2.0 * panels as f64);
    (0..panels)
        .map(|i| {
            let middle = low + half * (2.0 * i as f64 + 1.0);
            half * rule.iter().map(|(x, w)| w * f(middle + half * x)).sum::<f64>()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, want: f64, relative: f64) {
        assert!((got - want).abs() <= relative * want.abs(), "got {got}, want {want}");
    }

    #[test]
    fn normal_tails_and_quantiles_invert_each_other() {
        close(normal_quantile(0.975), 1.959963984540054, 1e-12);
        close(normal_two_sided(7.385114), 1.5232e-13, 1e-4);
        for p in [1e-10, 0.001, 0.3, 0.9] {
            close(normal_cdf(normal_quantile(p)), p, 1e-9);
        }
    }

    #[test]
    fn beta_matches_closed_forms() {
        // Beta(1, n): 1 - (1-x)^n; Beta(2, 2): 3x^2 - 2x^3.
        close(beta_cdf(0.01, 1.0, 300.0), 1.0 - 0.99f64.powi(300), 1e-12);
        close(beta_cdf(0.3, 2.0, 2.0), 3.0 * 0.09 - 2.0 * 0.027, 1e-12);
        for (a, b) in [(0.4, 3.0), (12.4, 7.6), (31252.4, 20767.6)] {
            for p in [0.001, 0.05, 0.5, 0.95] {
                close(beta_cdf(beta_quantile(p, a, b), a, b), p, 1e-8);
            }
        }
        close(beta_quantile(0.05, 31252.4, 20767.6), 0.59724257, 1e-7);
    }

    #[test]
    fn student_and_chi_square_match_tables() {
        close(student_critical(0.05, 10.0), 2.228138852, 1e-8);
        close(student_two_sided(2.228138852, 10.0), 0.05, 1e-8);
        close(chi_square_upper(3.841458821, 1.0), 0.05, 1e-8);
        close(chi_square_upper(0.20253125, 2.0), 0.90369296, 1e-7);
    }

    #[test]
    fn quadrature_is_exact_for_polynomials() {
        close(integrate(0.0, 2.0, 3, |x| x.powi(7)), 32.0, 1e-13);
    }
}
