//! One projection, ready to print or to serialise: point, simulation, optimum, sensitivity and every assumption.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    distribution::Distribution,
    funnel::{CampaignFunnel, Optimum},
    inputs::{FIELDS, Field, Inputs, Resolved},
    plan::grouped,
    simulate::{Simulation, available_threads, simulate},
};

/// An assumption as reports show it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Assumption)]
pub struct AssumptionLine {
    /// Which one.
    #[serde(rename = "name")]
    pub field: Field,
    /// What it is, for people.
    pub label: &'static str,
    /// In the syntax of the command line.
    pub value: String,
    /// Value of the point projection; `null` in JSON for no cap.
    pub central: f64,
    /// 5 % quantile.
    pub low: f64,
    /// 95 % quantile.
    pub high: f64,
    /// Where it comes from.
    pub source: String,
}

/// What one assumption does to the answer while the others stay at their central values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Sensitivity {
    /// Which assumption.
    #[serde(rename = "name")]
    pub field: Field,
    /// Its 5 % and 95 % quantile.
    pub input: [f64; 2],
    /// Baskets of the click funnel at those two.
    pub baskets: [f64; 2],
    /// Buyers the ads cause at those two.
    pub incremental_buyers: [f64; 2],
    /// Profit of the caused buyers at those two.
    pub incremental_profit: [f64; 2],
}

/// The common assumption, for comparison.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct CommonAssumption {
    /// Share matched: .5.
    pub match_rate: f64,
    /// Baskets per matched person: .03.
    pub baskets_per_matched: f64,
    /// Baskets that follow.
    pub baskets: f64,
    /// Return those baskets would give at this campaign's cost, order value and margin.
    pub roi: Option<f64>,
}

/// "100,000 inactives give 1,500 baskets": half matched, 3 baskets per 100 matched. Derived; its source states only the ratio.
pub fn common_assumption(inactives: f64) -> f64 {
    inactives * 0.5 * 0.03
}

/// Everything known about a campaign before it runs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Projection {
    /// Platform slug.
    pub platform: &'static str,
    /// Platform name for people.
    pub platform_label: &'static str,
    /// Currency of every amount.
    pub currency: String,
    /// Persons in the segment.
    pub inactives: u64,
    /// All assumptions at their central values.
    pub point: CampaignFunnel,
    /// All assumptions as uncertain as they are.
    pub simulation: Simulation,
    /// Most profitable pressure.
    pub optimum: Optimum,
    /// Share of simulated campaigns whose caused buyers pay the media at that pressure, fixed cost aside.
    pub p_optimum_pays: f64,
    /// Persons who return in the window without any ads: central, 5 % and 95 %.
    pub spontaneous_return: [f64; 3],
    /// The common assumption beside it.
    pub common_assumption: CommonAssumption,
    /// Every assumption with its source.
    pub assumptions: Vec<AssumptionLine>,
    /// What moves the answer most, first.
    pub sensitivity: Vec<Sensitivity>,
    /// What the reader must know before trusting the figures.
    pub warnings: Vec<String>,
}

impl Projection {
    /// The line of one assumption.
    pub fn assumption(&self, field: Field) -> &AssumptionLine {
        &self.assumptions[field as usize]
    }
}

/// Projects a campaign.
pub fn project(inputs: &Inputs) -> Projection {
    project_with_threads(inputs, available_threads())
}

/// Projects a campaign on this many threads; the result does not depend on it.
pub fn project_with_threads(inputs: &Inputs, threads: usize) -> Projection {
    let resolved = inputs.resolve();
    let campaign = resolved.campaign(&resolved.central());
    let point = campaign.funnel();
    let assumptions: Vec<AssumptionLine> = Field::ALL.map(|field| line(field, &resolved)).into();
    let p0 = &assumptions[Field::P0 as usize];
    let everyone = inputs.inactives as f64;
    let optimum = campaign.optimum();
    let common = common_assumption(everyone);
    let common_margin = common * campaign.aov * campaign.margin;
    Projection {
        platform: inputs.platform.slug,
        platform_label: inputs.platform.label,
        currency: inputs.currency.code().to_owned(),
        inactives: inputs.inactives,
        point,
        simulation: simulate(&resolved, inputs.seed, inputs.draws, inputs.target(), threads),
        p_optimum_pays: optimum_pays(inputs, &resolved, optimum.budget, threads),
        optimum,
        spontaneous_return: [everyone * p0.central, everyone * p0.low, everyone * p0.high],
        common_assumption: CommonAssumption {
            match_rate: 0.5,
            baskets_per_matched: 0.03,
            baskets: common,
            roi: super::funnel::ratio(common_margin - point.cost, point.cost),
        },
        sensitivity: sensitivity(&resolved),
        warnings: warnings(inputs, &resolved, &point),
        assumptions,
    }
}

fn line(field: Field, resolved: &Resolved) -> AssumptionLine {
    let assumption = &resolved.values[field as usize];
    let central = assumption.value.central();
    AssumptionLine {
        field,
        label: field.label(),
        value: if central.is_infinite() { "none".into() } else { assumption.value.to_string() },
        central,
        low: assumption.value.quantile(0.05),
        high: assumption.value.quantile(0.95),
        source: assumption.source.clone(),
    }
}

/// Draws that settle one probability to half a per cent.
const OPTIMUM_DRAWS: usize = 20_000;

fn optimum_pays(inputs: &Inputs, resolved: &Resolved, budget: f64, threads: usize) -> f64 {
    if budget <= 0.0 {
        return 0.0;
    }
    let mut at_optimum = resolved.clone();
    at_optimum.values[Field::Budget as usize].value = Distribution::Point(budget);
    at_optimum.values[Field::Fixed as usize].value = Distribution::Point(0.0);
    let draws = inputs.draws.min(OPTIMUM_DRAWS);
    simulate(&at_optimum, inputs.seed, draws, inputs.target(), threads).p_incremental_roi_positive
}

fn sensitivity(resolved: &Resolved) -> Vec<Sensitivity> {
    let central = resolved.central();
    let at = |field: Field, value: f64| {
        let mut values: [f64; FIELDS] = central;
        values[field as usize] = value;
        let campaign = resolved.campaign(&values);
        let funnel = campaign.funnel();
        (funnel, funnel.incremental_buyers * campaign.aov * campaign.margin - funnel.cost)
    };
    let mut lines: Vec<Sensitivity> = Field::ALL
        .into_iter()
        .filter(|field| !resolved.values[*field as usize].value.is_point())
        .map(|field| {
            let value = resolved.values[field as usize].value;
            let input = [value.quantile(0.05), value.quantile(0.95)];
            let [low, high] = input.map(|v| at(field, v));
            Sensitivity {
                field,
                input,
                baskets: [low.0.baskets, high.0.baskets],
                incremental_buyers: [low.0.incremental_buyers, high.0.incremental_buyers],
                incremental_profit: [low.1, high.1],
            }
        })
        .collect();
    let swing = |s: &Sensitivity| (s.incremental_profit[1] - s.incremental_profit[0]).abs();
    // Ties (what only the click funnel uses) go by baskets.
    let second = |s: &Sensitivity| (s.baskets[1] - s.baskets[0]).abs();
    lines.sort_by(|a, b| swing(b).total_cmp(&swing(a)).then(second(b).total_cmp(&second(a))));
    lines
}

fn warnings(inputs: &Inputs, resolved: &Resolved, point: &CampaignFunnel) -> Vec<String> {
    let mut all = inputs.warnings.clone();
    let code = inputs.currency.code();
    let campaign = resolved.campaign(&resolved.central());
    if campaign.budget > point.spend * 1.000_001 {
        all.push(format!(
            "The cap of {} ad views per person binds: {} of {} {code} can be spent.",
            campaign.cap,
            grouped(point.spend.round() as u64),
            grouped(campaign.budget.round() as u64)
        ));
    }
    // Vendor glossary figure: small retargeting audiences tire above about 7 views a week, 30 in a 30-day flight.
    if point.frequency.is_some_and(|f| f > 30.0) && !inputs.platform.per_click() {
        all.push(format!(
            "{:.0} ad views per person reached: above about 7 a week people tire and clicks fall below the assumed rate.",
            point.frequency.unwrap_or_default()
        ));
    }
    let cpm_is_prior = resolved.values[Field::Cpm as usize].source.starts_with(inputs.platform.slug);
    if code != "EUR" && cpm_is_prior {
        all.push(format!("The price prior is in EUR and was read as {code} without conversion: give --cpm in {code}."));
    }
    if inputs.platform.per_click() {
        all.push(
            "Billed per click: each paid click counts as one ad view, so reach means persons who clicked, and what the ads \
             do to those who saw them without clicking is left out."
                .to_owned(),
        );
    }
    if point.reachable < 1000.0 {
        all.push(format!(
            "Only {:.0} persons can be reached: platforms refuse or under-deliver lists under about 1,000.",
            point.reachable
        ));
    }
    all
}
