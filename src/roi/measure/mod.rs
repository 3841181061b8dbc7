//! What the ads caused: persons uploaded against persons held out, by intention to treat.
//!
//! Both arms are everyone *assigned*, whether matched, reached or not; the outcome is distinct buyers in the warehouse in
//! the window after upload, whatever the channel. Comparing matched with unmatched persons would compare two kinds of
//! people. `proportions` holds the counts' statistics, `revenue` those of money per person, `sequential` what may be said
//! before the planned end.

mod outcome;
pub mod proportions;
pub mod revenue;
pub mod sequential;

pub use outcome::{ArmOutcome, Outcome};
use serde::Serialize;
use utoipa::ToSchema;

use super::special::{chi_square_upper, normal_quantile};
use proportions::{Arms, log_ratio, newcombe, p_lift_positive, pooled_z, unpooled_variance};
use sequential::{AlwaysValid, Look, always_valid, planned_tau2};

/// Two-sided error rate of every interval here.
pub const ALPHA: f64 = 0.05;

/// Below this probability the arm sizes do not fit the planned split and nothing may be read from the arms.
pub const SAMPLE_RATIO_LIMIT: f64 = 0.001;

/// An estimate with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Interval {
    /// Best single value.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    fn scaled(self, factor: f64) -> Self {
        Self { estimate: self.estimate * factor, low: self.low * factor, high: self.high * factor }
    }

    fn shifted(self, by: f64) -> Self {
        Self { estimate: self.estimate + by, low: self.low + by, high: self.high + by }
    }

    /// True when 0 is inside.
    pub fn holds_zero(&self) -> bool {
        self.low <= 0.0 && self.high >= 0.0
    }
}

/// What an incremental buyer is worth and what the campaign cost, in one currency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Money {
    /// Average order value.
    pub aov: Option<f64>,
    /// Gross margin share.
    pub margin: Option<f64>,
    /// Media and other cost.
    pub cost: Option<f64>,
}

/// When the result is being read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reading {
    /// Once, at the planned end: the fixed interval decides.
    PlannedEnd,
    /// At any time, as often as wished: the always-valid interval decides.
    Interim,
    /// At one of several planned looks: the O'Brien-Fleming boundary decides.
    PlannedLook {
        /// Which look, from 1.
        look: usize,
        /// Looks planned.
        of: usize,
    },
}

/// A finished or running experiment, as counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Experiment {
    /// Persons and buyers of both arms.
    pub arms: Arms,
    /// Money side; all absent when only persons count.
    pub money: Money,
    /// Planned share held out; without it arm sizes cannot be checked.
    pub holdout_share: Option<f64>,
    /// Variance of the difference foreseen when the test was planned; without it, the present one.
    pub planned_variance: Option<f64>,
    /// When this is read.
    pub reading: Reading,
    /// Buyers the platform claims for itself.
    pub attributed_buyers: Option<f64>,
    /// Share of the uploaded persons who were matched, served and reached; turns the diluted effect into that on the reached.
    pub reached_share: Option<f64>,
}

/// Counts that cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MeasureError {
    /// An empty arm.
    #[error("the {0} arm has no persons\nhint: without persons in both arms nothing can be compared")]
    EmptyArm(&'static str),
    /// More buyers than persons.
    #[error("the {arm} arm has {buyers} buyers but only {persons} persons\nhint: count distinct buyers, not orders")]
    TooManyBuyers {
        /// Which arm.
        arm: &'static str,
        /// Its buyers.
        buyers: u64,
        /// Its persons.
        persons: u64,
    },
    /// A share outside (0, 1), or an amount below 0.
    #[error("{name} = {value} is out of range\nhint: {expected}")]
    Range {
        /// Name of the value.
        name: &'static str,
        /// What was given.
        value: f64,
        /// What is allowed.
        expected: &'static str,
    },
    /// A look that was not planned.
    #[error("look {look} of {of} does not exist\nhint: looks count from 1, at most {max} of them", max = sequential::MAX_LOOKS)]
    Look {
        /// Look asked for.
        look: usize,
        /// Looks planned.
        of: usize,
    },
}

impl MeasureError {
    /// The field at fault, where one is.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::EmptyArm(arm) => Some(arm),
            Self::TooManyBuyers { arm: "treated", .. } => Some("treated_buyers"),
            Self::TooManyBuyers { .. } => Some("holdout_buyers"),
            Self::Range { name, .. } => Some(name),
            Self::Look { .. } => Some("look"),
        }
    }
}

/// Fit of the arm sizes to the planned split.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct SampleRatio {
    /// Chi-square of the arm sizes against the planned split, one degree of freedom; absent without a planned share.
    pub chi_square: Option<f64>,
    /// Probability of a split at least this far off; absent without a planned share.
    pub p_value: Option<f64>,
    /// True when the split is so far off that assignment, upload or counting is broken.
    pub blocked: bool,
}

/// Platform claims beside what the holdout shows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Attributed {
    /// Buyers the platform claims.
    pub buyers: f64,
    /// Claimed / caused; absent unless some were caused.
    pub ratio_to_incremental: Option<f64>,
}

/// What the ads did.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Measurement {
    /// Buyers per person among the uploaded.
    pub treated_rate: f64,
    /// Buyers per person among the held out: what happens without ads.
    pub holdout_rate: f64,
    /// Difference of the two.
    pub diff: f64,
    /// Pooled two-proportion z.
    pub z: f64,
    /// Two-sided p-value of it.
    pub p_value: f64,
    /// Its standard error, unpooled.
    pub standard_error: f64,
    /// Wald's 95 % interval of the difference; Newcombe's is the one to read.
    pub wald: [f64; 2],
    /// Newcombe's 95 % interval of the difference.
    pub newcombe: [f64; 2],
    /// Relative lift; absent when an arm has no buyer.
    pub relative: Option<Interval>,
    /// Probability of a positive lift, flat Beta(1,1) priors.
    pub p_lift_positive: f64,
    /// What holds however often one looks.
    pub always_valid: AlwaysValid,
    /// O'Brien-Fleming boundary of a planned look.
    pub group_sequential: Option<Look>,
    /// Fit of the arm sizes.
    pub sample_ratio: SampleRatio,
    /// Buyers caused among the uploaded; withheld when blocked.
    pub incremental_buyers: Option<Interval>,
    /// Revenue they brought.
    pub incremental_revenue: Option<Interval>,
    /// Margin they brought.
    pub incremental_margin: Option<Interval>,
    /// Incremental revenue / cost.
    pub iroas: Option<Interval>,
    /// (incremental margin - cost) / cost.
    pub incremental_roi: Option<Interval>,
    /// Cost of one caused buyer; absent unless some were caused.
    pub cost_per_incremental_buyer: Option<f64>,
    /// Difference at which margin pays the cost.
    pub breakeven_diff: Option<f64>,
    /// Effect on persons reached, when the reached share is known.
    pub effect_on_reached: Option<Interval>,
    /// Platform claims beside it.
    pub attributed: Option<Attributed>,
    /// One line to act on.
    pub verdict: Verdict,
}

/// The conclusion the data allow; its words are part of the JSON contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub enum Verdict {
    /// The interval lies above 0.
    #[serde(rename = "above zero: the ads brought buyers back")]
    Above,
    /// The interval lies below 0.
    #[serde(rename = "below zero: fewer bought than without ads")]
    Below,
    /// The interval holds 0.
    #[serde(rename = "not distinguishable from zero")]
    NotDistinguishable,
    /// The arms are not comparable.
    #[serde(rename = "blocked: the arm sizes do not fit the planned split")]
    Blocked,
}

impl Verdict {
    /// The conclusion in words, the same as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Above => "above zero: the ads brought buyers back",
            Self::Below => "below zero: fewer bought than without ads",
            Self::NotDistinguishable => "not distinguishable from zero",
            Self::Blocked => "blocked: the arm sizes do not fit the planned split",
        }
    }
}

/// Reads an experiment.
///
/// # Errors
/// When counts or amounts are impossible.
pub fn measure(experiment: &Experiment) -> Result<Measurement, MeasureError> {
    check(experiment)?;
    let arms = experiment.arms;
    let (treated_rate, holdout_rate) = arms.rates();
    let diff = treated_rate - holdout_rate;
    let (z, p_value) = pooled_z(&arms);
    let newcombe = newcombe(&arms, ALPHA);
    let variance = unpooled_variance(&arms);
    let standard_error = variance.sqrt();
    let wald = normal_quantile(1.0 - ALPHA / 2.0) * standard_error;
    let tau2 = planned_tau2(ALPHA, experiment.planned_variance.unwrap_or(variance));
    let always_valid = always_valid(diff, variance, tau2, ALPHA);
    let group_sequential = match experiment.reading {
        Reading::PlannedLook { look, of } => Some(sequential::look(look, of, z, ALPHA)),
        _ => None,
    };
    let sample_ratio = sample_ratio(arms, experiment.holdout_share);

    let decisive = match experiment.reading {
        Reading::PlannedEnd => newcombe[0] > 0.0 || newcombe[1] < 0.0,
        Reading::Interim => always_valid.interval[0] > 0.0 || always_valid.interval[1] < 0.0,
        Reading::PlannedLook { .. } => group_sequential.is_some_and(|l| l.crossed),
    };
    let verdict = match (sample_ratio.blocked, decisive) {
        (true, _) => Verdict::Blocked,
        (_, false) => Verdict::NotDistinguishable,
        _ if diff > 0.0 => Verdict::Above,
        _ => Verdict::Below,
    };

    // The interval shown with the money is the one the verdict rests on.
    let [low, high] = if experiment.reading == Reading::Interim { always_valid.interval } else { newcombe };
    let effect = Interval { estimate: diff, low, high };
    let readable = !sample_ratio.blocked;
    let buyers = effect.scaled(arms.treated as f64);
    let Money { aov, margin, cost } = experiment.money;
    let cost = cost.filter(|c| *c > 0.0);
    let revenue = aov.filter(|_| readable).map(|aov| buyers.scaled(aov));
    let profit_margin = revenue.zip(margin).map(|(r, m)| r.scaled(m));
    Ok(Measurement {
        treated_rate,
        holdout_rate,
        diff,
        z,
        p_value,
        standard_error,
        wald: [diff - wald, diff + wald],
        newcombe,
        relative: log_ratio(&arms, ALPHA),
        p_lift_positive: p_lift_positive(&arms),
        always_valid,
        group_sequential,
        sample_ratio,
        incremental_buyers: readable.then_some(buyers),
        incremental_revenue: revenue,
        incremental_margin: profit_margin,
        iroas: revenue.zip(cost).map(|(r, c)| r.scaled(1.0 / c)),
        incremental_roi: profit_margin.zip(cost).map(|(m, c)| m.scaled(1.0 / c).shifted(-1.0)),
        cost_per_incremental_buyer: cost.filter(|_| readable && buyers.estimate > 0.0).map(|c| c / buyers.estimate),
        breakeven_diff: aov
            .zip(margin)
            .zip(cost)
            .map(|((aov, margin), cost)| cost / (aov * margin * arms.treated as f64))
            .filter(|d| d.is_finite()),
        effect_on_reached: experiment.reached_share.filter(|_| readable).map(|share| effect.scaled(1.0 / share)),
        attributed: experiment.attributed_buyers.map(|claimed| Attributed {
            buyers: claimed,
            ratio_to_incremental: (readable && buyers.estimate > 0.0).then(|| claimed / buyers.estimate),
        }),
        verdict,
    })
}

fn check(experiment: &Experiment) -> Result<(), MeasureError> {
    let a = experiment.arms;
    for (arm, persons, buyers) in [("treated", a.treated, a.treated_buyers), ("holdout", a.holdout, a.holdout_buyers)] {
        if persons == 0 {
            return Err(MeasureError::EmptyArm(arm));
        }
        if buyers > persons {
            return Err(MeasureError::TooManyBuyers { arm, buyers, persons });
        }
    }
    let range = |name, value: Option<f64>, fine: fn(f64) -> bool, expected| match value {
        Some(v) if !fine(v) => Err(MeasureError::Range { name, value: v, expected }),
        _ => Ok(()),
    };
    range("holdout_share", experiment.holdout_share, |v| v > 0.0 && v < 1.0, "a share strictly between 0 and 1")?;
    range("reached_share", experiment.reached_share, |v| v > 0.0 && v <= 1.0, "a share above 0, at most 1")?;
    range(
        "planned_base_rate",
        experiment.planned_variance,
        |v| v > 0.0 && v.is_finite(),
        "a share strictly between 0 and 1",
    )?;
    range("margin", experiment.money.margin, |v| (0.0..=1.0).contains(&v), "a share between 0 and 1")?;
    range("aov", experiment.money.aov, |v| v > 0.0 && v.is_finite(), "an amount above 0")?;
    range("cost", experiment.money.cost, |v| v >= 0.0 && v.is_finite(), "an amount of at least 0")?;
    range("attributed", experiment.attributed_buyers, |v| v >= 0.0 && v.is_finite(), "a count of at least 0")?;
    match experiment.reading {
        Reading::PlannedLook { look, of } if look == 0 || look > of || of > sequential::MAX_LOOKS => {
            Err(MeasureError::Look { look, of })
        }
        _ => Ok(()),
    }
}

/// Chi-square check of two arm sizes against the planned share held out.
pub fn sample_ratio(arms: Arms, holdout_share: Option<f64>) -> SampleRatio {
    let chi_square = holdout_share.map(|share| {
        let counts = [arms.treated as f64, arms.holdout as f64];
        sample_ratio_chi(&counts, &[1.0 - share, share])
    });
    let p_value = chi_square.map(|chi| chi_square_upper(chi, 1.0));
    SampleRatio { chi_square, p_value, blocked: p_value.is_some_and(|p| p < SAMPLE_RATIO_LIMIT) }
}

/// Chi-square p-value of arm sizes against planned shares (of any total).
pub fn sample_ratio_p(counts: &[f64], planned: &[f64]) -> f64 {
    chi_square_upper(sample_ratio_chi(counts, planned), counts.len() as f64 - 1.0)
}

fn sample_ratio_chi(counts: &[f64], planned: &[f64]) -> f64 {
    let (total, parts): (f64, f64) = (counts.iter().sum(), planned.iter().sum());
    counts
        .iter()
        .zip(planned)
        .map(|(count, part)| {
            let expected = total * part / parts;
            (count - expected).powi(2) / expected
        })
        .sum()
}
