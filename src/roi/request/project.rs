//! What would a campaign bring? Asked with `reveil roi project` and `POST /v1/roi/project`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    RequestError,
    value::{Counts, Limit, Number, Pair, optional_instant},
};
use crate::clock::instant;
use crate::roi::{
    Currency, Distribution, Field, Inputs, Projection, UnionProjection,
    inputs::InputError,
    priors::Identifiers,
    project, project_union,
    update::{PastLift, bucket_label},
};

/// Most simulated campaigns: 10 million take about 700 MB.
pub const MAX_DRAWS: usize = 10_000_000;

/// A campaign to be projected. A VALUE is a number, 5%, beta(a,b), lognormal(median,sigma) or mean(m,cv); what is left out
/// comes from the platform's priors.
#[derive(Debug, Clone, Default, clap::Args, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProjectRequest {
    /// Inactive customers in the segment; with an audience, default those who may be sent
    #[arg(long)]
    pub inactives: Option<u64>,
    /// Learn from this audience: its match rates, delivery figures, own orders, spontaneous return and experiments
    #[arg(long, value_name = "KEY")]
    pub audience: Option<String>,
    /// With an audience: as of this date or instant; default now
    #[arg(long, value_parser = instant, value_name = "DATE")]
    #[serde(deserialize_with = "optional_instant")]
    pub as_of: Option<DateTime<Utc>>,
    /// Platform whose priors fill the gaps; several, comma-separated, are counted in union. Default the audience's
    /// platforms, else meta
    #[arg(long, value_delimiter = ',')]
    pub platform: Vec<String>,
    /// The list carries e-mail addresses only, no phones
    #[arg(long)]
    pub mail_only: bool,
    /// Currency of every amount; default that of the audience's events, else EUR
    #[arg(long)]
    #[schema(value_type = Option<String>, example = "EUR")]
    pub currency: Option<Currency>,
    /// Share of persons the platform recognises
    #[arg(long = "match", value_name = "VALUE")]
    #[serde(rename = "match")]
    pub match_rate: Option<Distribution>,
    /// Share of those it can show ads to during the flight
    #[arg(long, value_name = "VALUE")]
    pub in_flight: Option<Distribution>,
    /// Media budget, shared equally by several platforms; without one, what the cap allows
    #[arg(long, value_name = "VALUE")]
    pub budget: Option<Distribution>,
    /// Price of 1,000 ad views
    #[arg(long, value_name = "VALUE")]
    pub cpm: Option<Distribution>,
    /// Clicks per ad view
    #[arg(long, value_name = "VALUE")]
    pub ctr: Option<Distribution>,
    /// Share of clicks that reach the shop
    #[arg(long, value_name = "VALUE")]
    pub landing: Option<Distribution>,
    /// Orders per visit
    #[arg(long, value_name = "VALUE")]
    pub cvr: Option<Distribution>,
    /// Average order value
    #[arg(long, value_name = "VALUE")]
    pub aov: Option<Distribution>,
    /// Gross margin as a share of revenue
    #[arg(long, value_name = "VALUE")]
    pub margin: Option<Distribution>,
    /// Cost besides media, shared equally by several platforms
    #[arg(long, value_name = "VALUE")]
    pub fixed: Option<Distribution>,
    /// Most ad views per person and flight, or `none`
    #[arg(long, value_name = "VALUE")]
    pub cap: Option<Limit>,
    /// Shape of the reach curve, or `inf` for views spread at random
    #[arg(long, value_name = "VALUE")]
    pub shape: Option<Limit>,
    /// Share of the segment that returns in the window without any ads
    #[arg(long, value_name = "VALUE")]
    pub p0: Option<Distribution>,
    /// Relative rise of that share among persons reached
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    pub lift: Option<Distribution>,
    /// Seed of the simulation: the same seed gives the same bytes; default 1
    #[arg(long)]
    pub seed: Option<u64>,
    /// Simulated campaigns; default 200,000
    #[arg(long)]
    pub draws: Option<usize>,
    /// Baskets hoped for; without it, 1.5 % of the inactives
    #[arg(long)]
    pub target: Option<Number>,
    /// Observed: persons matched of those sent, same audience
    #[arg(long, value_name = "MATCHED/SENT")]
    pub matched: Option<Counts>,
    /// Observed: an earlier list on this platform; repeatable
    #[arg(long, value_name = "MATCHED/SENT")]
    pub past_list: Vec<Counts>,
    /// Observed: the platform's label, such as 41-50 or <20
    #[arg(long, value_name = "LABEL")]
    pub match_bucket: Option<String>,
    /// Observed: bounds of the match share
    #[arg(long, value_name = "LOW,HIGH")]
    pub match_bounds: Option<Pair>,
    /// Observed: clicks of ad views in an earlier flight
    #[arg(long, value_name = "CLICKS/VIEWS")]
    pub clicks: Option<Counts>,
    /// Observed: orders of visits in an earlier flight
    #[arg(long, value_name = "ORDERS/VISITS")]
    pub orders: Option<Counts>,
    /// Observed: price of 1,000 ad views paid in an earlier flight; repeatable
    #[arg(long, value_name = "AMOUNT")]
    pub paid_cpm: Vec<Number>,
    /// Observed: ad views per reachable person, and the share of them reached
    #[arg(long, value_name = "VIEWS,SHARE")]
    pub reached: Option<Pair>,
    /// Observed: the segment rebuilt at an earlier date, and how many bought in the window after; repeatable
    #[arg(long, value_name = "BUYERS/INACTIVES")]
    pub backtest: Vec<Counts>,
    /// Observed: relative rise among persons reached in an own experiment, and its standard error; repeatable
    #[arg(long, value_name = "LIFT,ERROR", allow_hyphen_values = true)]
    pub past_lift: Vec<Pair>,
}

/// One platform, or several in union.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ProjectAnswer {
    /// One platform.
    One(Box<Projection>),
    /// Several, each person counted once.
    Several(Box<UnionProjection>),
}

impl ProjectRequest {
    /// What has to hold before anything is gathered.
    ///
    /// # Errors
    /// Neither people nor an audience, an instant without one, or draws out of range.
    pub fn check(&self) -> Result<(), RequestError> {
        if self.inactives.is_none() && self.audience.is_none() {
            return Err(RequestError::Missing { field: "inactives", hint: "give it, or an audience to learn it from" });
        }
        if self.as_of.is_some() && self.audience.is_none() {
            return Err(RequestError::Misplaced {
                field: "as_of",
                problem: "says when to look at an audience, and there is none".to_owned(),
                hint: "give an audience, or leave it out",
            });
        }
        match self.draws {
            Some(draws) if draws == 0 || draws > MAX_DRAWS => Err(RequestError::Misplaced {
                field: "draws",
                problem: format!("= {draws} is out of range"),
                hint: "from 1 to 10000000",
            }),
            _ => Ok(()),
        }
    }

    /// The platforms asked for, else `known`, else Meta; each once.
    pub fn platforms<'a>(&'a self, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        let asked = self.platform.iter().map(String::as_str);
        let all: Vec<&str> = if self.platform.is_empty() { known.collect() } else { asked.collect() };
        let mut once: Vec<&str> = Vec::with_capacity(all.len());
        for slug in all {
            if !once.contains(&slug) {
                once.push(slug);
            }
        }
        if once.is_empty() { vec!["meta"] } else { once }
    }

    /// A platform's priors for so many people, before anything is learned.
    ///
    /// # Errors
    /// A platform without priors.
    pub fn begin(&self, slug: &str, people: u64, currency: Option<Currency>) -> Result<Inputs, InputError> {
        let identifiers = if self.mail_only { Identifiers::MailOnly } else { Identifiers::Several };
        let mut inputs = Inputs::with_identifiers(slug, self.inactives.unwrap_or(people), identifiers)?;
        inputs.currency = self.currency.or(currency).unwrap_or(Currency::EUR);
        inputs.seed = self.seed.unwrap_or(inputs.seed);
        inputs.draws = self.draws.unwrap_or(inputs.draws);
        inputs.target = self.target.map(|target| target.0);
        Ok(inputs)
    }

    /// Puts in what the request states, over priors and what was learned; amounts are shared by so many platforms.
    ///
    /// # Errors
    /// A value out of range, or an impossible observation.
    pub fn complete(&self, inputs: &mut Inputs, platforms: usize) -> Result<(), InputError> {
        let part = |amount: Option<Distribution>| amount.map(|amount| divided(amount, platforms as f64));
        for (field, value) in [
            (Field::Match, self.match_rate),
            (Field::InFlight, self.in_flight),
            (Field::Budget, part(self.budget)),
            (Field::Cpm, self.cpm),
            (Field::Cap, self.cap.map(|cap| cap.0)),
            (Field::Shape, self.shape.map(|shape| shape.0)),
            (Field::Ctr, self.ctr),
            (Field::Landing, self.landing),
            (Field::Cvr, self.cvr),
            (Field::Aov, self.aov),
            (Field::Margin, self.margin),
            (Field::Fixed, part(self.fixed)),
            (Field::P0, self.p0),
            (Field::Lift, self.lift),
        ] {
            if let Some(value) = value {
                inputs.set(field, value, format!("given: {}", field.name()))?;
            }
        }
        self.observed(inputs)
    }

    fn observed(&self, inputs: &mut Inputs) -> Result<(), InputError> {
        let all = |counts: &[Counts]| counts.iter().map(|it| (it.0, it.1)).collect::<Vec<_>>();
        if !self.past_list.is_empty() {
            inputs.observe_match_past_lists(&all(&self.past_list))?;
        }
        if let Some(Counts(matched, sent)) = self.matched {
            inputs.observe_match_exact(matched, sent)?;
        }
        if let Some(label) = &self.match_bucket {
            let (low, high) = bucket_label(label)?;
            inputs.observe_match_interval(low, high)?;
        }
        if let Some(Pair(low, high)) = self.match_bounds {
            inputs.observe_match_interval(low, high)?;
        }
        if let Some(Counts(clicks, views)) = self.clicks {
            inputs.observe_clicks(clicks, views)?;
        }
        if let Some(Counts(orders, visits)) = self.orders {
            inputs.observe_orders(orders, visits)?;
        }
        if !self.paid_cpm.is_empty() {
            inputs.observe_cpms(&self.paid_cpm.iter().map(|paid| paid.0).collect::<Vec<_>>())?;
        }
        if let Some(Pair(views, share)) = self.reached {
            inputs.observe_reach(views, share)?;
        }
        if !self.backtest.is_empty() {
            inputs.observe_p0(&all(&self.backtest))?;
        }
        if !self.past_lift.is_empty() {
            let lift = |it: &Pair| PastLift { estimate: it.0, standard_error: it.1 };
            inputs.observe_lifts(&self.past_lift.iter().map(lift).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

impl ProjectAnswer {
    /// Projects one platform, or several in union; nothing for none.
    pub fn of(inputs: &[Inputs]) -> Option<Self> {
        match inputs {
            [one] => Some(Self::One(Box::new(project(one)))),
            several => project_union(several).map(Box::new).map(Self::Several),
        }
    }
}

/// An amount shared by several platforms.
fn divided(amount: Distribution, parts: f64) -> Distribution {
    match amount {
        Distribution::Point(value) => Distribution::Point(value / parts),
        Distribution::LogNormal { median, sigma } => Distribution::LogNormal { median: median / parts, sigma },
        Distribution::MeanCv { mean, cv } => Distribution::MeanCv { mean: mean / parts, cv },
        // Not an amount; `Inputs::set` judges it as it is.
        beta => beta,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(body: serde_json::Value) -> ProjectRequest {
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn a_body_says_what_the_options_say() {
        let asked = request(json!({
            "inactives": 100_000, "match": 0.5, "in_flight": "100%", "budget": 15_000, "cpm": 10, "ctr": "2%",
            "landing": 1, "cvr": 0.05, "aov": 60, "margin": "0.4", "shape": 1.2, "draws": 500, "clicks": null,
        }));
        asked.check().unwrap();
        let mut inputs = asked.begin(asked.platforms(std::iter::empty())[0], 0, None).unwrap();
        asked.complete(&mut inputs, 1).unwrap();
        let Some(ProjectAnswer::One(projection)) = ProjectAnswer::of(&[inputs]) else { panic!("one platform") };
        assert!((projection.point.roi.unwrap() - 1.4).abs() < 1e-9);
        let text = serde_json::to_value(ProjectAnswer::One(projection)).unwrap();
        assert_eq!(text["assumptions"][0]["name"], "match");
    }

    #[test]
    fn what_is_missing_or_misplaced_is_named() {
        for (body, field) in [
            (json!({}), "inactives"),
            (json!({"inactives": 5, "as_of": "2026-01-01T00:00:00Z"}), "as_of"),
            (json!({"inactives": 5, "draws": 0}), "draws"),
        ] {
            assert_eq!(request(body).check().unwrap_err().field(), Some(field));
        }
        assert!(serde_json::from_value::<ProjectRequest>(json!({"inactive": 5})).is_err());
    }

    #[test]
    fn platforms_come_once() {
        let asked = request(json!({"platform": ["meta", "google", "meta"]}));
        assert_eq!(asked.platforms(std::iter::once("tiktok")), ["meta", "google"]);
        assert_eq!(ProjectRequest::default().platforms(["x", "x"].into_iter()), ["x"]);
    }
}
