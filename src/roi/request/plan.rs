//! Can a holdout answer? Asked with `reveil roi plan-holdout` and `POST /v1/roi/plan-holdout`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    RequestError,
    value::{Limit, Number},
};
use crate::roi::{
    Field, InputError, Inputs,
    funnel::{reach_share, share_of_full_lift},
    measure::sequential::{Looks, MAX_LOOKS},
    plan::{HoldoutJudgement, HoldoutPlan},
};

/// A holdout to be judged before it is drawn. Shares are written 0.1 or 10%.
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanHoldoutRequest {
    /// Persons in the segment, both arms together
    #[arg(long)]
    pub population: Number,
    /// Share held out
    #[arg(long, default_value = "10%")]
    #[serde(default = "tenth")]
    pub holdout: Number,
    /// Share who buy in the window without any ads
    #[arg(long)]
    pub base_rate: Number,
    /// Accepted chance of a false alarm
    #[arg(long, default_value = "0.05")]
    #[serde(default = "twentieth")]
    pub alpha: Number,
    /// Wanted chance of seeing a real effect
    #[arg(long, default_value = "0.8")]
    #[serde(default = "four_fifths")]
    pub power: Number,
    /// Relative rise of buyers expected among persons reached; without it, the prior's 10 %
    #[arg(long)]
    pub lift: Option<Number>,
    /// In its place: relative rise among persons who see very many ads; those who see x have 1 - exp(-x/3) of it
    #[arg(long, conflicts_with = "lift")]
    pub full_lift: Option<Number>,
    /// Platform whose priors say how many of the list are reached
    #[arg(long, default_value = "meta")]
    #[serde(default = "meta")]
    pub platform: String,
    /// Share of persons the platform recognises; without it, the platform's prior
    #[arg(long = "match")]
    #[serde(rename = "match")]
    pub match_rate: Option<Number>,
    /// Share of those it can show ads to; without it, the prior's 90 %
    #[arg(long)]
    pub in_flight: Option<Number>,
    /// Ad views per person served, on average; without it, what the platform's cap allows. Some of those served see none
    #[arg(long)]
    pub views: Option<Number>,
    /// Shape of the reach curve, or `inf` for views spread at random; without it, the prior's 1.2
    #[arg(long)]
    pub shape: Option<Limit>,
    /// Length of the outcome window in days
    #[arg(long, default_value = "60")]
    #[serde(default = "sixty")]
    pub window_days: Number,
    /// Looks at equal distances, the last at the end: what they do to false alarms, and the boundaries that allow for them
    #[arg(long, value_name = "NUMBER")]
    #[schema(minimum = 1, maximum = 50)]
    pub looks: Option<u8>,
}

fn tenth() -> Number {
    Number(0.1)
}
fn twentieth() -> Number {
    Number(0.05)
}
fn four_fifths() -> Number {
    Number(0.8)
}
fn meta() -> String {
    "meta".to_owned()
}
fn sixty() -> Number {
    Number(60.0)
}

impl PlanHoldoutRequest {
    /// The plan with the platform's priors in the gaps.
    ///
    /// # Errors
    /// A platform without priors.
    pub fn plan(&self) -> Result<HoldoutPlan, RequestError> {
        let priors = Inputs::for_platform(&self.platform, 0)?.resolve().central();
        let or_prior = |given: Option<Number>, field: Field| given.map_or(priors[field as usize], |given| given.0);
        let views = or_prior(self.views, Field::Cap);
        let shape = self.shape.map_or(priors[Field::Shape as usize], |shape| shape.0.central());
        for (name, value) in [("views", views), ("shape", shape)] {
            if value.is_nan() || value <= 0.0 {
                let expected = "above 0";
                return Err(InputError::Range { name, value: value.to_string(), expected }.into());
            }
        }
        let reached = reach_share(views, shape);
        let lift = match (self.full_lift, self.lift) {
            (Some(_), Some(_)) => {
                let problem = "and `lift` say the same in two ways".to_owned();
                return Err(RequestError::Misplaced { field: "full_lift", problem, hint: "leave one of them out" });
            }
            (Some(full), None) => full.0 * share_of_full_lift(views, shape) / reached,
            (None, given) => or_prior(given, Field::Lift),
        };
        Ok(HoldoutPlan {
            population: self.population.0,
            holdout: self.holdout.0,
            base_rate: self.base_rate.0,
            alpha: self.alpha.0,
            power: self.power.0,
            lift,
            reached: or_prior(self.match_rate, Field::Match) * or_prior(self.in_flight, Field::InFlight) * reached,
            window_days: self.window_days.0,
        })
    }

    /// Judges it.
    ///
    /// # Errors
    /// A value out of range.
    pub fn answer(&self) -> Result<HoldoutJudgement, RequestError> {
        let plan = self.plan()?;
        let mut judgement = plan.judge()?;
        if let Some(looks) = self.looks.map(usize::from) {
            if looks == 0 || looks > MAX_LOOKS {
                return Err(
                    InputError::Range { name: "looks", value: looks.to_string(), expected: "from 1 to 50" }.into()
                );
            }
            judgement.looks = Some(Looks::at(looks, plan.alpha));
        }
        Ok(judgement)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_leaves_out_what_has_a_default() {
        let asked = json!({"population": 100_000, "base_rate": "2%", "holdout": 0.1});
        let asked: PlanHoldoutRequest = serde_json::from_value(asked).unwrap();
        assert!((asked.answer().unwrap().mde_relative - 0.206_719_11).abs() < 1e-7);
        let faulty = PlanHoldoutRequest { holdout: Number(1.0), ..asked.clone() };
        assert_eq!(faulty.answer().unwrap_err().field(), Some("holdout"));
        assert!((asked.plan().unwrap().reached - 0.62 * 0.9 * (1.0 - 11f64.powf(-1.2))).abs() < 1e-12);
        let often = PlanHoldoutRequest { views: Some(Number(1e9)), ..asked.clone() };
        assert!((often.plan().unwrap().reached - 0.62 * 0.9).abs() < 1e-6, "everybody served sees one");
        let never = PlanHoldoutRequest { views: Some(Number(0.0)), ..asked.clone() };
        assert_eq!(never.answer().unwrap_err().field(), Some("views"));
        let looked = PlanHoldoutRequest { looks: Some(10), ..asked.clone() }.answer().unwrap().looks.unwrap();
        assert!((looked.boundaries_z.len() == 10) && (looked.false_alarms_plain - 0.193).abs() < 6e-4, "{looked:?}");
        for looks in [0, 51] {
            let wrong = PlanHoldoutRequest { looks: Some(looks), ..asked.clone() };
            assert_eq!(wrong.answer().unwrap_err().field(), Some("looks"));
        }
        let unknown = json!({"population": 1000, "base_rate": 0.02, "base-rate": 0.02});
        assert!(serde_json::from_value::<PlanHoldoutRequest>(unknown).is_err());
    }
}
