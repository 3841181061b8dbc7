//! How sure an assumption is: a point, a Beta share, or a log-normal amount, with the syntax the command line uses.

use std::{fmt, str::FromStr};

use super::{
    sampler::{Sampler, Table},
    special::{beta_cdf, beta_quantile, normal_quantile},
};

/// An assumption's value and its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Known exactly. Written as a bare number.
    Point(f64),
    /// A share. Written `beta(a,b)`.
    Beta { a: f64, b: f64 },
    /// A share known to lie in [low, high), from a platform's bucket or bounds. Written `beta(a,b,low,high)`.
    TruncatedBeta { a: f64, b: f64, low: f64, high: f64 },
    /// A positive amount. Written `lognormal(median,sigma)`, sigma on the natural-log scale.
    LogNormal { median: f64, sigma: f64 },
    /// A positive amount, log-normal, by mean and coefficient of variation. Written `mean(m,cv)`.
    MeanCv { mean: f64, cv: f64 },
}

impl Distribution {
    /// Beta with this mean, worth `weight` observed persons.
    pub fn beta_from_mean(mean: f64, weight: f64) -> Self {
        Self::Beta { a: mean * weight, b: (1.0 - mean) * weight }
    }

    /// The value the point projection uses: the mean, or the median for `lognormal(median,sigma)`.
    pub fn central(&self) -> f64 {
        match *self {
            Self::LogNormal { median, .. } => median,
            _ => self.mean(),
        }
    }

    /// Expected value.
    pub fn mean(&self) -> f64 {
        match *self {
            Self::Point(value) => value,
            Self::Beta { a, b } => a / (a + b),
            Self::TruncatedBeta { a, b, low, high } => {
                let mass = beta_cdf(high, a, b) - beta_cdf(low, a, b);
                if mass <= 0.0 {
                    return 0.5 * (low + high);
                }
                a / (a + b) * (beta_cdf(high, a + 1.0, b) - beta_cdf(low, a + 1.0, b)) / mass
            }
            Self::LogNormal { median, sigma } => median * (0.5 * sigma * sigma).exp(),
            Self::MeanCv { mean, .. } => mean,
        }
    }

    /// The value below which it lies with probability `p`.
    pub fn quantile(&self, p: f64) -> f64 {
        match *self {
            Self::Point(value) => value,
            Self::Beta { a, b } => beta_quantile(p, a, b),
            Self::TruncatedBeta { a, b, low, high } => {
                let (below, upto) = (beta_cdf(low, a, b), beta_cdf(high, a, b));
                beta_quantile(below + p * (upto - below), a, b).clamp(low, high)
            }
            Self::LogNormal { median, sigma } => median * (sigma * normal_quantile(p)).exp(),
            Self::MeanCv { mean, cv } => {
                let (median, sigma) = median_sigma(mean, cv);
                median * (sigma * normal_quantile(p)).exp()
            }
        }
    }

    /// True for a bare number.
    pub fn is_point(&self) -> bool {
        matches!(self, Self::Point(_))
    }

    /// Precomputes what repeated draws need.
    pub(crate) fn sampler(&self) -> Sampler {
        match *self {
            Self::Point(value) => Sampler::Point(value),
            Self::Beta { a, b } => Sampler::Table(Box::new(Table::new(a, b, 0.0, 1.0))),
            Self::TruncatedBeta { a, b, low, high } => Sampler::Table(Box::new(Table::new(a, b, low, high))),
            Self::LogNormal { median, sigma } => Sampler::LogNormal { median, sigma },
            Self::MeanCv { mean, cv } => {
                let (median, sigma) = median_sigma(mean, cv);
                Sampler::LogNormal { median, sigma }
            }
        }
    }
}

fn median_sigma(mean: f64, cv: f64) -> (f64, f64) {
    let variance = (cv * cv).ln_1p();
    (mean * (-0.5 * variance).exp(), variance.sqrt())
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Point(value) => write!(f, "{}", short(value)),
            Self::Beta { a, b } => write!(f, "beta({},{})", short(a), short(b)),
            Self::TruncatedBeta { a, b, low, high } => {
                write!(f, "beta({},{},{},{})", short(a), short(b), short(low), short(high))
            }
            Self::LogNormal { median, sigma } => write!(f, "lognormal({},{})", short(median), short(sigma)),
            Self::MeanCv { mean, cv } => write!(f, "mean({},{})", short(mean), short(cv)),
        }
    }
}

/// Up to ten significant digits, no trailing zeros: hides the noise of 0.62 x 20.
fn short(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10f64.powi(9 - value.abs().log10().floor() as i32);
    let rounded = (value * scale).round() / scale;
    if rounded.is_finite() { rounded } else { value }
}

/// Why a distribution could not be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "cannot read `{text}` as a number or distribution: {why}\nhint: write 0.5, 50%, beta(a,b), beta(a,b,low,high), lognormal(median,sigma) or mean(m,cv)"
)]
pub struct ParseError {
    text: String,
    why: &'static str,
}

impl FromStr for Distribution {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let fail = |why| ParseError { text: text.to_owned(), why };
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
        let Some((name, rest)) = compact.split_once('(') else {
            return parse_number(&compact).map(Self::Point).ok_or_else(|| fail("it is not a finite number"));
        };
        let inside = rest.strip_suffix(')').ok_or_else(|| fail("the closing parenthesis is missing"))?;
        let numbers: Vec<f64> = inside
            .split(',')
            .map(parse_number)
            .collect::<Option<_>>()
            .ok_or_else(|| fail("an argument is not a finite number"))?;
        match (name, numbers.as_slice()) {
            ("beta", &[a, b]) if a > 0.0 && b > 0.0 => Ok(Self::Beta { a, b }),
            ("beta", &[a, b, low, high]) if a > 0.0 && b > 0.0 && 0.0 <= low && low < high && high <= 1.0 => {
                Ok(Self::TruncatedBeta { a, b, low, high })
            }
            ("beta", &[_, _]) => Err(fail("both parameters of beta must be above 0")),
            ("beta", &[_, _, _, _]) => Err(fail("beta needs a, b above 0 and 0 <= low < high <= 1")),
            ("lognormal", &[median, sigma]) if median > 0.0 && sigma >= 0.0 => Ok(Self::LogNormal { median, sigma }),
            ("lognormal", &[_, _]) => Err(fail("lognormal needs a median above 0 and a sigma of at least 0")),
            ("mean", &[mean, cv]) if mean > 0.0 && cv >= 0.0 => Ok(Self::MeanCv { mean, cv }),
            ("mean", &[_, _]) => Err(fail("mean needs a mean above 0 and a coefficient of variation of at least 0")),
            ("beta" | "lognormal" | "mean", _) => Err(fail("it has the wrong number of arguments")),
            _ => Err(fail("this distribution is not known")),
        }
    }
}

/// A finite number; a trailing `%` divides by 100.
pub fn parse_number(text: &str) -> Option<f64> {
    let (digits, scale) = text.strip_suffix('%').map_or((text, 1.0), |d| (d, 0.01));
    let value: f64 = digits.trim().parse().ok()?;
    value.is_finite().then_some(value * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, want: f64) {
        assert!((got - want).abs() <= 1e-6 * want.abs(), "got {got}, want {want}");
    }

    #[test]
    fn text_form_round_trips() {
        for text in ["0.5", "beta(12.4,7.6)", "beta(10.4,9.6,0.405,0.505)", "lognormal(11,0.35)", "mean(60,0.15)"] {
            assert_eq!(text.parse::<Distribution>().unwrap().to_string(), text);
        }
        assert_eq!("2.5%".parse(), Ok(Distribution::Point(0.025)));
        assert_eq!(Distribution::beta_from_mean(0.62, 20.0).to_string(), "beta(12.4,7.6)");
    }

    #[test]
    fn nonsense_is_refused_with_a_hint() {
        for text in
            ["", "nan", "inf", "beta(0,1)", "beta(1)", "beta(1,2", "gauss(0,1)", "lognormal(-1,1)", "beta(1,1,.5,.2)"]
        {
            let error = text.parse::<Distribution>().unwrap_err().to_string();
            assert!(error.contains("hint:"), "{text}: {error}");
        }
    }

    #[test]
    fn quantiles_follow_the_goldens() {
        let ctr = Distribution::Beta { a: 5453.0, b: 408_547.0 };
        close(ctr.mean(), 0.013171498);
        close(ctr.quantile(0.05), 0.01288139);
        close(ctr.quantile(0.95), 0.013464279);
        let aov = Distribution::MeanCv { mean: 60.0, cv: 0.15 };
        let log_mean = 60f64.ln() - 0.5 * (1.0 + 0.15f64 * 0.15).ln();
        close(aov.quantile(0.5), log_mean.exp());
    }
}
