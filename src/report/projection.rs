//! What a projection can learn from the state and the warehouse: match readings, delivery figures, own experiments, the
//! segment's own orders and its spontaneous return. Every projection of an audience is fed from here.

use chrono::{DateTime, Utc};

use super::history::History;
use super::match_rates::{Reading, readings};
use crate::config::warehouse::{Field as Column, WarehouseConfig};
use crate::config::{Config, RoiConfig};
use crate::roi::measure::proportions::Arms;
use crate::roi::update::PastLift;
use crate::roi::{Currency, Field, Inputs};
use crate::segment;
use crate::store::deliveries::DeliveryFigures;
use crate::store::experiments::MeasuredExperiment;
use crate::sync::Engine;
use crate::warehouse::{self, Source};

/// Spread of the average order value between campaigns, relative; house guess.
const AOV_CV: f64 = 0.15;

/// What is known of one audience.
#[derive(Debug, Clone)]
pub struct Known {
    pub audience: String,
    /// Destinations of the audience and their connectors.
    pub destinations: Vec<(String, String)>,
    /// People who may be sent, by the latest run; else all inactives.
    pub people: u64,
    /// True when `people` was counted before any rule but inactivity.
    pub before_rules: bool,
    pub currency: Option<Currency>,
    pub history: History,
    /// Latest readings of all audiences.
    readings: Vec<Reading>,
    /// Flights of all audiences, by connector.
    flights: Vec<(String, DeliveryFigures)>,
    /// Of all audiences.
    experiments: Vec<MeasuredExperiment>,
}

/// The currency of the events when the configuration states it as a literal.
pub fn currency_of(warehouse: &WarehouseConfig) -> Option<Currency> {
    warehouse.events.iter().find_map(|events| match &events.currency {
        Some(Column::Literal(code)) => code.parse().ok(),
        _ => None,
    })
}

impl Known {
    /// Asks the state, then the warehouse for [`History`].
    ///
    /// # Errors
    /// There is no such audience, or the state's or the warehouse's errors.
    pub async fn gather(engine: &Engine, audience: &str, as_of: DateTime<Utc>) -> anyhow::Result<Self> {
        let source = warehouse::open(&engine.config.warehouse).await?;
        let mapping = segment::resolve(&*source, &engine.config.warehouse).await?;
        Self::gather_from(engine, &*source, &mapping, audience, as_of).await
    }

    /// The same over a source that is already open.
    ///
    /// # Errors
    /// As [`Known::gather`].
    pub async fn gather_from(
        engine: &Engine,
        source: &dyn Source,
        mapping: &WarehouseConfig,
        audience: &str,
        as_of: DateTime<Utc>,
    ) -> anyhow::Result<Self> {
        let definition = &engine.config.audience(audience)?.inactive;
        let mut known = Self::of_state(engine, audience).await?;
        known.history = History::read(source, mapping, definition, as_of).await?;
        if known.before_rules {
            known.people = segment::count(source, mapping, definition, as_of).await?.inactive;
        }
        Ok(known)
    }

    /// What the state alone knows.
    ///
    /// # Errors
    /// There is no such audience, or the state's errors.
    pub async fn of_state(engine: &Engine, audience: &str) -> anyhow::Result<Self> {
        let destinations = connectors(&engine.config, &engine.config.audience(audience)?.destinations);
        let connector = |name: &str| engine.config.destination.get(name).map(|found| found.connector.clone());
        let latest = engine.store.runs(Some(audience), 20).await?;
        let eligible = latest.iter().find_map(|run| run.segment.as_ref()?.get("eligible")?.as_u64());
        let flights = engine.store.deliveries().await?;
        Ok(Self {
            audience: audience.to_owned(),
            destinations,
            people: eligible.unwrap_or_default(),
            before_rules: eligible.is_none(),
            currency: currency_of(&engine.config.warehouse),
            history: History::default(),
            readings: readings(engine.store.observations(None).await?, false),
            flights: flights.into_iter().filter_map(|flight| Some((connector(&flight.destination)?, flight))).collect(),
            experiments: engine.store.experiments().await?,
        })
    }

    /// Moves the assumptions of a projection on `inputs.platform`: the priors of the configuration first, then what was
    /// observed. Set the currency first: prices in another one are left aside. What cannot be used is said in the
    /// projection's warnings.
    ///
    /// # Errors
    /// When an observation is impossible.
    pub fn apply(&self, priors: &RoiConfig, inputs: &mut Inputs) -> anyhow::Result<()> {
        priors.apply(inputs)?;
        let connector = inputs.platform.slug;
        self.matches(inputs, connector)?;
        self.flights(inputs, connector)?;
        self.returns(inputs)?;
        let lift = |it: &MeasuredExperiment| {
            let arms = Arms {
                treated: it.treated,
                treated_buyers: it.treated_buyers,
                holdout: it.holdout,
                holdout_buyers: it.holdout_buyers,
            };
            PastLift::of(&arms, it.reached_share)
        };
        let lifts: Vec<PastLift> = self.experiments.iter().filter_map(lift).collect();
        if !lifts.is_empty() {
            inputs.observe_lifts(&lifts)?;
        }
        Ok(())
    }

    fn returns(&self, inputs: &mut Inputs) -> anyhow::Result<()> {
        let windows = self.history.windows();
        if windows.is_empty() {
            inputs.remark(Field::P0, "nothing could be learned of this shop, see the warnings");
        } else {
            inputs.observe_p0(&windows)?;
        }
        inputs.warnings.extend(self.history.missing.iter().cloned());
        if let Some(minor) = self.history.aov_minor.filter(|minor| *minor > 0.0) {
            inputs.observe_aov(minor / 100.0, AOV_CV, "mean of the segment's own past orders")?;
        }
        Ok(())
    }

    /// Share of the persons uploaded who saw an ad on any of the audience's platforms, and how that is known: the reach the
    /// platforms reported, else what match readings and priors give at the usual pressure. None without a platform that
    /// anything is known of.
    ///
    /// # Errors
    /// When an observation is impossible.
    pub fn reached(&self, priors: &RoiConfig, uploaded: u64) -> anyhow::Result<Option<(f64, &'static str)>> {
        let (mut missed, mut reported, mut assumed) = (1.0, false, false);
        for (destination, connector) in &self.destinations {
            let own = self.flights.iter().map(|(_, flight)| flight);
            let own = own.filter(|it| it.audience == self.audience && it.destination == *destination);
            if let Some(reach) = own.filter_map(|flight| flight.reach).max() {
                missed *= 1.0 - (reach as f64 / uploaded.max(1) as f64).min(1.0);
                reported = true;
            } else if let Ok(mut inputs) = Inputs::for_platform(connector, uploaded) {
                priors.apply(&mut inputs)?;
                let slug = inputs.platform.slug;
                self.matches(&mut inputs, slug)?;
                missed *= 1.0 - inputs.central_reach();
                assumed = true;
            }
        }
        let how = match (reported, assumed) {
            (true, false) => "reach reported by the platforms",
            (true, true) => "reach reported by a platform, match readings and priors for the others",
            (false, true) => "match readings and priors",
            (false, false) => return Ok(None),
        };
        Ok(Some((1.0 - missed, how)).filter(|(share, _)| *share > 0.0))
    }

    fn matches(&self, inputs: &mut Inputs, connector: &str) -> anyhow::Result<()> {
        let exact = |reading: &&Reading| reading.kind == "exact" && reading.matched.is_some();
        // The platform may count more than were sent: two people of one household, say.
        let counts = |reading: &Reading| (reading.matched.unwrap_or(0).min(reading.sent), reading.sent);
        let here = |reading: &&Reading| reading.connector == connector;
        let others = self.readings.iter().filter(here).filter(exact).filter(|it| it.audience != self.audience);
        let lists: Vec<_> = others.map(counts).collect();
        if !lists.is_empty() {
            inputs.observe_match_past_lists(&lists)?;
        }
        for reading in self.readings.iter().filter(here).filter(|it| it.audience == self.audience) {
            match (reading.kind, reading.low, reading.high) {
                ("exact", ..) if reading.matched.is_some() => {
                    let (matched, sent) = counts(reading);
                    inputs.observe_match_exact(matched, sent)?;
                }
                ("bucket" | "bounds", Some(low), Some(high)) if low < high.min(1.0) => {
                    inputs.observe_match_interval(low.max(0.0), high.min(1.0))?;
                }
                // A count without denominator says nothing of a share.
                _ => {}
            }
        }
        Ok(())
    }

    fn flights(&self, inputs: &mut Inputs, connector: &str) -> anyhow::Result<()> {
        let flights: Vec<&DeliveryFigures> =
            self.flights.iter().filter(|(of, _)| of == connector).map(|(_, flight)| flight).collect();
        let clicked = flights.iter().filter_map(|flight| Some((flight.clicks?, flight.impressions)));
        let (clicks, views) = clicked.fold((0, 0), |sum, flight| (sum.0 + flight.0, sum.1 + flight.1));
        if views > 0 {
            inputs.observe_clicks(clicks, views)?;
        }
        let landing = inputs.get(Field::Landing).map_or(1.0, |landing| landing.value.central());
        let ordered = flights.iter().filter_map(|flight| Some((flight.orders?, flight.clicks?)));
        let (orders, clicks) = ordered.fold((0, 0), |sum, flight| (sum.0 + flight.0, sum.1 + flight.1));
        let visits = (clicks as f64 * landing).round() as u64;
        if visits >= orders && visits > 0 {
            inputs.observe_orders(orders, visits)?;
        } else if orders > 0 {
            inputs.warnings.push(format!(
                "The platform claims {orders} orders of some {visits} visits, so it counts people who never clicked; \
                 the share of visits that order was left as it was."
            ));
        }
        let (mut paid, mut foreign) = (Vec::new(), 0);
        for flight in flights.iter().filter(|flight| flight.impressions > 0) {
            let Some(spend) = flight.spend.filter(|spend| *spend > 0.0) else { continue };
            match &flight.currency {
                Some(code) if code != inputs.currency.code() => foreign += 1,
                _ => paid.push(1000.0 * spend / flight.impressions as f64),
            }
        }
        if !paid.is_empty() {
            inputs.observe_cpms(&paid)?;
        }
        if foreign > 0 {
            inputs.warnings.push(format!(
                "{foreign} flight(s) paid in another currency than {} do not count for the price of ad views.",
                inputs.currency.code()
            ));
        }
        self.reach(inputs, &flights);
        Ok(())
    }

    /// The shape of the reach curve from this audience's latest flight.
    fn reach(&self, inputs: &mut Inputs, flights: &[&DeliveryFigures]) {
        let own = flights.iter().rev().find(|flight| flight.audience == self.audience && flight.reach.is_some());
        let Some((flight, reach)) = own.and_then(|flight| Some((flight, flight.reach?))) else { return };
        let sent = self
            .readings
            .iter()
            .find(|reading| reading.audience == self.audience && reading.destination == flight.destination)
            .map_or(self.people, |reading| reading.sent);
        let central = |field| inputs.get(field).map_or(1.0, |known| known.value.central());
        let reachable = sent as f64 * central(Field::Match) * central(Field::InFlight);
        let seen = inputs.observe_reach(flight.impressions as f64 / reachable, reach as f64 / reachable);
        if seen.is_err() {
            inputs.warnings.push(format!(
                "{reach} persons reached by {} views do not fit some {reachable:.0} reachable ones; the reach curve was \
                 left as it was. Was the flight shown to others too?",
                flight.impressions
            ));
        }
    }
}

/// Destinations with their connectors.
fn connectors(config: &Config, destinations: &[String]) -> Vec<(String, String)> {
    let connector = |name: &String| config.destination.get(name).map(|found| found.connector.clone());
    destinations.iter().filter_map(|name| Some((name.clone(), connector(name)?))).collect()
}

/// What was spent on this audience and what the platforms claim for it, over flights that began in these days;
/// spend in another currency is left out, and then counted third.
pub fn spent(
    flights: &[DeliveryFigures],
    audience: &str,
    from: chrono::NaiveDate,
    until: chrono::NaiveDate,
    currency: Currency,
) -> (Option<f64>, Option<f64>, u64) {
    let (mut spend, mut orders, mut foreign) = (None, None, 0);
    for flight in flights.iter().filter(|it| it.audience == audience && it.from >= from && it.from < until) {
        if let Some(amount) = flight.spend {
            match &flight.currency {
                Some(code) if code != currency.code() => foreign += 1,
                _ => spend = Some(spend.unwrap_or(0.0) + amount),
            }
        }
        if let Some(claimed) = flight.orders {
            orders = Some(orders.unwrap_or(0.0) + claimed as f64);
        }
    }
    (spend, orders, foreign)
}
