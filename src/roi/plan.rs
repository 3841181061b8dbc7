//! Can a holdout of this size show the effect? Asked before launch, answered in a plain sentence.

use serde::Serialize;
use utoipa::ToSchema;

use super::measure::sequential::Looks;
use super::special::{normal_cdf, normal_quantile};

/// A holdout to be judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HoldoutPlan {
    /// Persons in the segment.
    pub population: f64,
    /// Share held out.
    pub holdout: f64,
    /// Share who buy in the window without ads.
    pub base_rate: f64,
    /// Two-sided error rate.
    pub alpha: f64,
    /// Wanted probability of seeing a real effect.
    pub power: f64,
    /// Relative lift expected among persons reached.
    pub lift: f64,
    /// Share of uploaded persons who see at least one ad: matched, times in flight, times reached.
    pub reached: f64,
    /// Length of the outcome window in days.
    pub window_days: f64,
}

/// A plan that cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{name} = {value} is out of range\nhint: {expected}")]
pub struct PlanError {
    name: &'static str,
    value: f64,
    expected: &'static str,
}

impl PlanError {
    /// Which value it is.
    pub fn field(&self) -> &'static str {
        self.name
    }
}

/// What would make the test able to answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Remedies {
    /// Persons held out that suffice in this population; absent when even half does not.
    pub holdout_persons: Option<u64>,
    /// Days of outcome window that suffice if buyers keep coming at the same pace; absent beyond two years.
    pub window_days: Option<u64>,
    /// Persons that suffice at this share held out, by pooling refreshes under one salt.
    pub population: u64,
}

/// The judgement.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct HoldoutJudgement {
    /// Smallest difference of rates seen with the wanted power.
    pub mde_absolute: f64,
    /// The same, relative to the base rate.
    pub mde_relative: f64,
    /// Persons to hold out so that the expected effect is seen; absent when even half the population does not suffice.
    pub required_holdout: Option<u64>,
    /// Relative effect expected over everyone uploaded, reached or not.
    pub expected_relative: f64,
    /// Probability that this test sees it.
    pub expected_power: f64,
    /// True when it is seen with the wanted power.
    pub answers: bool,
    /// What would help; absent when the test answers.
    pub remedies: Option<Remedies>,
    /// What looking early does; absent when only the end is looked at.
    pub looks: Option<Looks>,
    /// All of it in words.
    pub sentence: String,
}

impl HoldoutPlan {
    fn quantiles(&self) -> f64 {
        normal_quantile(1.0 - self.alpha / 2.0) + normal_quantile(self.power)
    }

    fn variance(&self) -> f64 {
        self.base_rate * (1.0 - self.base_rate)
    }

    /// Smallest difference of rates seen with the wanted power.
    pub fn mde(&self) -> f64 {
        let held = self.population * self.holdout;
        self.quantiles() * (self.variance() * (1.0 / held + 1.0 / (self.population - held))).sqrt()
    }

    /// Persons to hold out of this population to see a relative effect over everyone uploaded; none when even half is too few.
    pub fn required_holdout(&self, relative: f64) -> Option<u64> {
        let difference = relative * self.base_rate;
        // 1 / (1/n_T + 1/n_C) must reach this; n_C (N - n_C) / N = needed is solved for the smaller n_C.
        let needed = self.variance() * (self.quantiles() / difference).powi(2);
        let root = 1.0 - 4.0 * needed / self.population;
        (difference > 0.0 && root >= 0.0).then(|| (2.0 * needed / (1.0 + root.sqrt())).ceil() as u64)
    }

    fn power_at(&self, difference: f64) -> f64 {
        let z = normal_quantile(1.0 - self.alpha / 2.0);
        let signal = difference / (self.mde() / self.quantiles());
        normal_cdf(signal - z) + normal_cdf(-signal - z)
    }

    fn remedies(&self, relative: f64) -> Remedies {
        let split = self.holdout * (1.0 - self.holdout);
        let evidence = (self.quantiles() / relative).powi(2) / split;
        // Base rate at which this population suffices: (1 - p) / p = N / evidence.
        let rate = 1.0 / (1.0 + self.population / evidence);
        let days = (self.window_days * rate / self.base_rate).ceil();
        Remedies {
            holdout_persons: self.required_holdout(relative),
            window_days: (days <= 730.0).then_some(days as u64),
            population: (evidence * (1.0 - self.base_rate) / self.base_rate).ceil() as u64,
        }
    }

    fn check(&self) -> Result<(), PlanError> {
        let open = |v: f64| v > 0.0 && v < 1.0;
        for (name, value, fine, expected) in [
            ("population", self.population, self.population >= 2.0, "at least 2 persons"),
            ("holdout", self.holdout, open(self.holdout), "a share strictly between 0 and 1, such as 10%"),
            ("base_rate", self.base_rate, open(self.base_rate), "a share strictly between 0 and 1, such as 2%"),
            ("alpha", self.alpha, open(self.alpha), "a share strictly between 0 and 1, such as 0.05"),
            ("power", self.power, self.power >= 0.5 && self.power < 1.0, "from 0.5 up to, not including, 1"),
            ("lift", self.lift, self.lift > 0.0, "relative and above 0, such as 10%"),
            ("match", self.reached, self.reached > 0.0 && self.reached <= 1.0, "above 0, at most 1"),
            ("window_days", self.window_days, self.window_days > 0.0, "a number of days above 0"),
        ] {
            if !fine {
                return Err(PlanError { name, value, expected });
            }
        }
        Ok(())
    }

    /// Judges the plan against the effect expected.
    ///
    /// # Errors
    /// When a value is out of range.
    pub fn judge(&self) -> Result<HoldoutJudgement, PlanError> {
        self.check()?;
        let mde_absolute = self.mde();
        let mde_relative = mde_absolute / self.base_rate;
        let expected_relative = self.reached * self.lift;
        let expected_power = self.power_at(expected_relative * self.base_rate);
        let answers = mde_relative <= expected_relative;
        let remedies = (!answers).then(|| self.remedies(expected_relative));
        let mut judgement = HoldoutJudgement {
            mde_absolute,
            mde_relative,
            required_holdout: self.required_holdout(expected_relative),
            expected_relative,
            expected_power,
            answers,
            remedies,
            looks: None,
            sentence: String::new(),
        };
        judgement.sentence = self.sentence(&judgement);
        Ok(judgement)
    }

    fn sentence(&self, j: &HoldoutJudgement) -> String {
        let percent = |v: f64| format!("{} %", significant(100.0 * v));
        let held = (self.population * self.holdout).round() as u64;
        let expected = format!(
            "If ads raise buying by {} among the persons they reach, and reach {} of the list, the whole list shows {}.",
            percent(self.lift),
            percent(self.reached),
            percent(j.expected_relative),
        );
        let visible = format!(
            "Holding out {} of {} ({} persons) shows a rise of {} or more in the share who buy ({} to {}).",
            percent(self.holdout),
            grouped(self.population as u64),
            grouped(held),
            percent(j.mde_relative),
            percent(self.base_rate),
            percent(self.base_rate + j.mde_absolute),
        );
        let Some(remedies) = j.remedies else {
            return format!(
                "{visible} {expected} This test can answer: it sees that effect {} of the time.",
                percent(j.expected_power)
            );
        };
        let mut ways = Vec::new();
        if let Some(persons) = remedies.holdout_persons {
            ways.push(format!("hold out {} persons", grouped(persons)));
        }
        if let Some(days) = remedies.window_days {
            ways.push(format!("count buyers for about {days} days instead of {}", self.window_days));
        }
        ways.push(format!(
            "pool refreshes under the same salt until {} persons took part",
            grouped(remedies.population)
        ));
        ways.push("read the result as a direction only".to_owned());
        format!(
            "{visible} {expected} This test cannot answer: it would see that effect only {} of the time. What would: {}.",
            percent(j.expected_power),
            ways.join("; or "),
        )
    }
}

/// Three significant digits at most, without trailing zeros.
fn significant(value: f64) -> String {
    let decimals = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A count with commas between thousands.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        assert_eq!((grouped(0), grouped(999), grouped(1_234_567)), ("0".into(), "999".into(), "1,234,567".into()));
    }

    #[test]
    fn remedies_make_the_test_answer() {
        let plan = HoldoutPlan {
            population: 100_000.0,
            holdout: 0.1,
            base_rate: 0.02,
            alpha: 0.05,
            power: 0.8,
            lift: 0.3,
            reached: 0.558,
            window_days: 60.0,
        };
        let judged = plan.judge().unwrap();
        assert!(!judged.answers && judged.expected_power < 0.8);
        let remedies = judged.remedies.unwrap();
        let pooled = HoldoutPlan { population: remedies.population as f64, ..plan };
        assert!(pooled.judge().unwrap().answers);
        let days = remedies.window_days.unwrap();
        let longer = HoldoutPlan { base_rate: plan.base_rate * days as f64 / 60.0, ..plan };
        assert!(longer.judge().unwrap().answers);
        let held = remedies.holdout_persons.unwrap() as f64;
        assert!(HoldoutPlan { holdout: held / plan.population, ..plan }.judge().unwrap().answers);
    }

    #[test]
    fn power_at_the_mde_is_the_wanted_power() {
        let plan = HoldoutPlan {
            population: 1e6,
            holdout: 0.2,
            base_rate: 0.05,
            alpha: 0.05,
            power: 0.8,
            lift: 0.2,
            reached: 1.0,
            window_days: 30.0,
        };
        assert!((plan.power_at(plan.mde()) - 0.8).abs() < 1e-4);
        assert!(HoldoutPlan { holdout: 0.0, ..plan }.judge().unwrap_err().to_string().contains("hint:"));
    }
}
