//! Is a customer still a customer? P(alive) from purchase dates alone, by two models of buying until dropping out.
//!
//! BG/NBD lets a customer drop out only right after a purchase, the first one excepted: every one-time buyer is "alive"
//! for ever, half of a real base. MBG/NBD lets the first purchase be the last too and is the one to use. P(alive) is not
//! the chance to return: rank spending by expected purchases.

mod fit;

pub use fit::{Fit, FitError, fit, fit_counted};

use statrs::function::gamma::ln_gamma;

use super::special::ln_beta;

/// Purchase dates of one customer, in weeks (days / 7).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct History {
    /// Distinct purchase days less one.
    pub repeats: u32,
    /// First to last purchase day.
    pub last: f64,
    /// First purchase day to the day of judgement.
    pub age: f64,
}

impl History {
    /// History from distinct, rising purchase days before `as_of`, all as day numbers; none when there is no purchase.
    pub fn from_days(days: &[i64], as_of: i64) -> Option<Self> {
        let (first, last) = (*days.first()?, *days.last()?);
        Some(Self {
            repeats: (days.len() - 1) as u32,
            last: (last - first) as f64 / 7.0,
            age: (as_of - first) as f64 / 7.0,
        })
    }
}

/// Which model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// Fader, Hardie, Lee 2005.
    BgNbd,
    /// Batislam, Denizel, Filiztekin 2007; Hoppe, Wagner 2007.
    MbgNbd,
}

/// Parameters: purchase rates are Gamma(r, alpha), drop-out chances Beta(a, b).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// Shape of the purchase rate.
    pub r: f64,
    /// Rate of it, in weeks.
    pub alpha: f64,
    /// Beta's first.
    pub a: f64,
    /// Beta's second.
    pub b: f64,
}

impl Model {
    /// Probability that the customer has not dropped out.
    pub fn p_alive(self, p: &Parameters, h: &History) -> f64 {
        let x = f64::from(h.repeats);
        let odds_base = match self {
            Self::BgNbd if h.repeats == 0 => return 1.0,
            Self::BgNbd => p.a / (p.b + x - 1.0),
            Self::MbgNbd => p.a / (p.b + x),
        };
        let silence = (p.r + x) * ((p.alpha + h.age) / (p.alpha + h.last)).ln();
        1.0 / (1.0 + odds_base * silence.exp())
    }

    /// Log-likelihood of one history.
    pub fn log_likelihood(self, p: &Parameters, h: &History) -> f64 {
        self.constants(p, h.repeats).log_likelihood(p, h)
    }

    /// What depends on the number of repeats only.
    fn constants(self, p: &Parameters, repeats: u32) -> Constants {
        let x = f64::from(repeats);
        let purchases = ln_gamma(p.r + x) - ln_gamma(p.r) + p.r * p.alpha.ln();
        let (alive, dropped) = match self {
            Self::BgNbd => {
                let stayed = ln_beta(p.a, p.b + x) - ln_beta(p.a, p.b);
                let left = if repeats > 0 { stayed + (p.a / (p.b + x - 1.0)).ln() } else { f64::NEG_INFINITY };
                (stayed, left)
            }
            Self::MbgNbd => {
                (ln_beta(p.a, p.b + x + 1.0) - ln_beta(p.a, p.b), ln_beta(p.a + 1.0, p.b + x) - ln_beta(p.a, p.b))
            }
        };
        Constants { alive: purchases + alive, dropped: purchases + dropped }
    }
}

#[derive(Debug, Clone, Copy)]
struct Constants {
    alive: f64,
    dropped: f64,
}

impl Constants {
    fn log_likelihood(&self, p: &Parameters, h: &History) -> f64 {
        let exponent = p.r + f64::from(h.repeats);
        let alive = self.alive - exponent * (p.alpha + h.age).ln();
        let dropped = self.dropped - exponent * (p.alpha + h.last).ln();
        let (high, low) = if alive > dropped { (alive, dropped) } else { (dropped, alive) };
        high + (low - high).exp().ln_1p()
    }
}
