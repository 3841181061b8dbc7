//! What did the ads cause? Asked with `reveil roi measure` and `POST /v1/roi/measure`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    RequestError,
    value::{Counts, Number, Pair, optional_instant},
};
use crate::clock::instant;
use crate::roi::{
    Currency,
    measure::{
        ALPHA, Experiment, MeasureError, Measurement, Money, Outcome, Reading, measure,
        proportions::{Arms, Credible, credible},
        revenue::{ArmMoments, Revenue, RevenueTest, WINSORISE_AT, percentile, welch},
    },
};

/// An experiment to be read. Count everyone assigned to an arm, whether matched or not.
#[derive(Debug, Clone, Default, clap::Args, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MeasureRequest {
    /// Count in the warehouse: everybody this audience's syncs sent or withheld, and what they bought since
    #[arg(long, value_name = "KEY")]
    pub audience: Option<String>,
    /// With an audience: days counted from each customer's first assignment; default 60
    #[arg(long)]
    pub window_days: Option<u32>,
    /// With an audience: as of this date or instant; default now
    #[arg(long, value_parser = instant, value_name = "DATE")]
    #[serde(deserialize_with = "optional_instant")]
    pub as_of: Option<DateTime<Utc>>,
    /// Persons uploaded; everybody assigned, whether matched or not
    #[arg(long)]
    pub treated: Option<u64>,
    /// Distinct buyers among them
    #[arg(long)]
    pub treated_buyers: Option<u64>,
    /// Persons held out
    #[arg(long)]
    pub holdout: Option<u64>,
    /// Distinct buyers among them
    #[arg(long)]
    pub holdout_buyers: Option<u64>,
    /// Average order value
    #[arg(long)]
    pub aov: Option<Number>,
    /// Gross margin as a share of revenue
    #[arg(long)]
    pub margin: Option<Number>,
    /// Media and other cost of the campaign
    #[arg(long)]
    pub cost: Option<Number>,
    /// Currency of every amount; default that of the warehouse's events, else EUR
    #[arg(long)]
    #[schema(value_type = Option<String>, example = "EUR")]
    pub currency: Option<Currency>,
    /// Share planned to be held out; checks that the arms were filled as planned
    #[arg(long)]
    pub holdout_share: Option<Number>,
    /// The test is still running: let the always-valid interval decide
    #[arg(long)]
    pub interim: bool,
    /// One of several planned looks, such as 2/5: let the O'Brien-Fleming boundary decide
    #[arg(long, value_name = "LOOK/OF")]
    pub look: Option<Counts>,
    /// Share of buyers foreseen when the test was planned; fixes the always-valid interval beforehand
    #[arg(long)]
    pub planned_base_rate: Option<Number>,
    /// Buyers the platform claims
    #[arg(long)]
    pub attributed: Option<Number>,
    /// Share of the uploaded who were reached; shows the effect on those
    #[arg(long)]
    pub reached_share: Option<Number>,
    /// Revenue per person uploaded, zeros included: mean and standard deviation
    #[arg(long, value_name = "MEAN,SD")]
    pub treated_revenue: Option<Pair>,
    /// Revenue per person held out, zeros included: mean and standard deviation
    #[arg(long, value_name = "MEAN,SD")]
    pub holdout_revenue: Option<Pair>,
    /// Every person assigned, zeros included; on the command line a file
    #[arg(skip)]
    pub persons: Option<Vec<Person>>,
    /// Cut each person's revenue at this amount in the second line; without it, the 99.5th percentile of `before`
    #[arg(long, value_name = "AMOUNT")]
    pub winsorise_at: Option<Number>,
}

/// What one person spent.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct Person {
    pub arm: Arm,
    /// In the window; 0 for nothing.
    pub revenue: f64,
    /// Before the test: gives the cap for whales and takes out what the past explains.
    pub before: Option<f64>,
}

/// Sent or withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Arm {
    Treated,
    Holdout,
}

/// What the ads did, and of whom it was counted.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct MeasureAnswer {
    #[serde(flatten)]
    pub measurement: Measurement,
    /// 95 % credible intervals.
    pub credible: Credible,
    /// Money per person; absent when it is not known or the arms are not comparable.
    pub revenue: Option<Revenue>,
    pub currency: String,
    /// Who was assigned; only with an audience.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignment: Option<Assignment>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Who was assigned, and what was taken from the warehouse.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Assignment {
    pub audience: String,
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Average order value used for the money, given or of these orders.
    pub aov: Option<f64>,
    /// Cost used, given or from the imported deliveries.
    pub cost: Option<f64>,
}

impl MeasureRequest {
    /// Days counted unless told otherwise.
    pub const WINDOW_DAYS: u32 = 60;
    const MAX_WINDOW_DAYS: u32 = 730;

    pub fn window_days(&self) -> u32 {
        self.window_days.unwrap_or(Self::WINDOW_DAYS)
    }

    /// What has to hold before anything is counted.
    ///
    /// # Errors
    /// Counts and an audience together, or neither; options of the other kind.
    pub fn check(&self) -> Result<(), RequestError> {
        let misplaced =
            |field, problem: &str, hint| Err(RequestError::Misplaced { field, problem: problem.to_owned(), hint });
        let counts = [
            ("treated", self.treated.is_some()),
            ("treated_buyers", self.treated_buyers.is_some()),
            ("holdout", self.holdout.is_some()),
            ("holdout_buyers", self.holdout_buyers.is_some()),
            ("holdout_share", self.holdout_share.is_some()),
            ("treated_revenue", self.treated_revenue.is_some()),
            ("holdout_revenue", self.holdout_revenue.is_some()),
            ("persons", self.persons.is_some()),
        ];
        if self.audience.is_some() {
            if let Some((field, _)) = counts.iter().find(|(_, given)| *given) {
                return misplaced(
                    field,
                    "is counted in the warehouse when an audience is given",
                    "leave one of them out",
                );
            }
        } else {
            if let Some((field, _)) = counts[..4].iter().find(|(_, given)| !given) {
                return Err(RequestError::Missing { field, hint: "give both arms, or an audience to count them of" });
            }
            if self.as_of.is_some() || self.window_days.is_some() {
                let field = if self.as_of.is_some() { "as_of" } else { "window_days" };
                return misplaced(field, "says what to count of an audience, and there is none", "give an audience");
            }
            if self.winsorise_at.is_some() && self.persons.is_none() {
                return misplaced("winsorise_at", "needs persons to cut", "give persons or an audience");
            }
        }
        if !(1..=Self::MAX_WINDOW_DAYS).contains(&self.window_days()) {
            return misplaced("window_days", "is out of range", "from 1 to 730 days");
        }
        if self.interim && self.look.is_some() {
            return misplaced("look", "is planned, and `interim` says it was not", "leave one of them out");
        }
        if self.treated_revenue.is_some() != self.holdout_revenue.is_some() {
            return misplaced("treated_revenue", "and `holdout_revenue` go together", "give both arms");
        }
        if self.treated_revenue.is_some() && self.persons.is_some() {
            return misplaced("persons", "already say the revenue of both arms", "leave `treated_revenue` out");
        }
        Ok(())
    }

    /// The experiment of these arms; `early` says that windows still run.
    pub fn experiment(&self, arms: Arms, aov: Option<f64>, holdout_share: Option<f64>, early: bool) -> Experiment {
        let number = |value: Option<Number>| value.map(|it| it.0);
        Experiment {
            arms,
            money: Money { aov, margin: number(self.margin), cost: number(self.cost) },
            holdout_share,
            planned_variance: number(self.planned_base_rate)
                .map(|p| p * (1.0 - p) * (1.0 / arms.treated as f64 + 1.0 / arms.holdout as f64)),
            reading: match self.look {
                Some(Counts(look, of)) => Reading::PlannedLook { look: look as usize, of: of as usize },
                None if self.interim || early => Reading::Interim,
                None => Reading::PlannedEnd,
            },
            attributed_buyers: number(self.attributed),
            reached_share: number(self.reached_share),
        }
    }

    /// Reads the counts given.
    ///
    /// # Errors
    /// Counts or amounts that cannot be, or persons that do not fit them.
    pub fn of_counts(&self) -> Result<(Experiment, MeasureAnswer), RequestError> {
        self.check()?;
        let count = |value: Option<u64>| value.unwrap_or_default();
        let arms = Arms {
            treated: count(self.treated),
            treated_buyers: count(self.treated_buyers),
            holdout: count(self.holdout),
            holdout_buyers: count(self.holdout_buyers),
        };
        let experiment =
            self.experiment(arms, self.aov.map(|aov| aov.0), self.holdout_share.map(|share| share.0), false);
        let measurement = measure(&experiment)?;
        let revenue = if measurement.sample_ratio.blocked { None } else { self.revenue(arms)? };
        let currency = self.currency.unwrap_or(Currency::EUR).code().to_owned();
        let credible = credible(&arms, ALPHA);
        let answer = MeasureAnswer { measurement, credible, revenue, currency, assignment: None, warnings: Vec::new() };
        Ok((experiment, answer))
    }

    fn revenue(&self, arms: Arms) -> Result<Option<Revenue>, RequestError> {
        if let Some(persons) = &self.persons {
            return self.revenue_of(persons, arms);
        }
        let arm = |persons, Pair(mean, sd)| ArmMoments::from_summary(persons, mean, sd);
        Ok(self
            .treated_revenue
            .zip(self.holdout_revenue)
            .and_then(|(t, c)| welch(&arm(arms.treated, t), &arm(arms.holdout, c), ALPHA))
            .map(|plain| Revenue { plain, winsorised: None, cuped: None }))
    }

    fn revenue_of(&self, persons: &[Person], arms: Arms) -> Result<Option<Revenue>, RequestError> {
        let amounts = persons.iter().flat_map(|p| [Some(p.revenue), p.before]).flatten();
        if let Some(value) = amounts.into_iter().find(|amount| !amount.is_finite()) {
            let expected = "plain numbers, 0 for no revenue";
            return Err(MeasureError::Range { name: "persons", value, expected }.into());
        }
        let count = |arm| persons.iter().filter(|p| p.arm == arm).count() as u64;
        let (treated, holdout) = (count(Arm::Treated), count(Arm::Holdout));
        if (treated, holdout) != (arms.treated, arms.holdout) {
            return Err(RequestError::Misplaced {
                field: "persons",
                problem: format!(
                    "are {treated} treated and {holdout} held out, the counts say {} and {}",
                    arms.treated, arms.holdout
                ),
                hint: "list every person assigned, those who spent nothing too",
            });
        }
        let before: Vec<f64> = persons.iter().filter_map(|p| p.before).collect();
        let given = self.winsorise_at.map(|cap| cap.0);
        let cap = given.or_else(|| percentile(&before, WINSORISE_AT).filter(|c| *c > 0.0));
        let mut test = RevenueTest::new(cap);
        for p in persons {
            test.add(p.arm == Arm::Treated, p.revenue, p.before.unwrap_or(0.0));
        }
        Ok(test.result(ALPHA))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(body: serde_json::Value) -> MeasureRequest {
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn counts_and_persons_come_in_one_body() {
        let person = |n: u32| {
            let arm = if n.is_multiple_of(4) { "holdout" } else { "treated" };
            json!({"arm": arm, "revenue": if n % 10 == 1 { 50 + n % 7 } else { 0 }, "before": n % 13})
        };
        let mut body = json!({"treated": 300, "treated_buyers": 20, "holdout": 100, "holdout_buyers": 20});
        body["persons"] = (0..400).map(person).collect();
        let answer = request(body.clone()).of_counts().unwrap().1;
        assert!(answer.revenue.is_some_and(|revenue| revenue.winsorised.is_some() && revenue.cuped.is_some()));
        body["treated"] = json!(301);
        assert_eq!(request(body).of_counts().unwrap_err().field(), Some("persons"));
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        let arms = |more: serde_json::Value| {
            let mut body = json!({"treated": 9, "treated_buyers": 1, "holdout": 9, "holdout_buyers": 1});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            request(body)
        };
        for (asked, field) in [
            (request(json!({})), "treated"),
            (request(json!({"treated": 9, "treated_buyers": 1, "holdout": 9})), "holdout_buyers"),
            (request(json!({"audience": "dormant", "treated": 9})), "treated"),
            (arms(json!({"window_days": 30})), "window_days"),
            (arms(json!({"winsorise_at": 30})), "winsorise_at"),
            (arms(json!({"interim": true, "look": "1/5"})), "look"),
            (arms(json!({"treated_revenue": [1, 2]})), "treated_revenue"),
            (request(json!({"audience": "dormant", "window_days": 0})), "window_days"),
        ] {
            let error = asked.check().unwrap_err();
            assert_eq!(error.field(), Some(field));
            assert!(error.to_string().contains("hint:"), "{error}");
        }
        assert_eq!(arms(json!({"treated_buyers": 10})).of_counts().unwrap_err().field(), Some("treated_buyers"));
        assert_eq!(arms(json!({"margin": 7})).of_counts().unwrap_err().field(), Some("margin"));
    }
}
