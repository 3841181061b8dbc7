//! What a projection can learn from the state and the warehouse: match readings, delivery figures, the segment's own
//! orders and its spontaneous return. The command line and the demonstration feed their projections from here.

use chrono::{DateTime, Duration, Utc};

use super::match_rates::{Reading, readings};
use crate::config::warehouse::{Field as Column, WarehouseConfig};
use crate::roi::{Currency, Field, Inputs};
use crate::segment;
use crate::store::deliveries::DeliveryFigures;
use crate::sync::Engine;
use crate::warehouse;

/// Windows of spontaneous return: how long, and how many of them back in time.
pub const RETURN_WINDOW_DAYS: u32 = 60;
const RETURN_WINDOWS: i64 = 3;
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
    /// `(returned, inactive)` of each window.
    windows: Vec<(u64, u64)>,
    /// Net revenue per order of the inactives' own past, in whole units.
    aov: Option<f64>,
    /// Latest readings of all audiences.
    readings: Vec<Reading>,
    /// Flights of all audiences, by connector.
    flights: Vec<(String, DeliveryFigures)>,
}

/// The currency of the events when the configuration states it as a literal.
pub fn currency_of(warehouse: &WarehouseConfig) -> Option<Currency> {
    warehouse.events.iter().find_map(|events| match &events.currency {
        Some(Column::Literal(code)) => code.parse().ok(),
        _ => None,
    })
}

impl Known {
    /// Asks the state, then the warehouse: three windows of [`RETURN_WINDOW_DAYS`] days before `as_of`.
    ///
    /// # Errors
    /// There is no such audience, or the state's or the warehouse's errors.
    pub async fn gather(engine: &Engine, audience: &str, as_of: DateTime<Utc>) -> anyhow::Result<Self> {
        let config = engine.config.audience(audience)?;
        let connector = |name: &str| engine.config.destination.get(name).map(|found| found.connector.clone());
        let destinations =
            config.destinations.iter().filter_map(|name| Some((name.clone(), connector(name)?))).collect();
        let source = warehouse::open(&engine.config.warehouse).await?;
        let mapping = segment::resolve(&*source, &engine.config.warehouse).await?;
        let (mut windows, mut aov) = (Vec::new(), None);
        for back in 1..=RETURN_WINDOWS {
            let at = as_of - Duration::days(back * i64::from(RETURN_WINDOW_DAYS));
            let returns = segment::returns(&*source, &mapping, &config.inactive, at, RETURN_WINDOW_DAYS).await?;
            if returns.inactive > 0 {
                windows.push((returns.returned, returns.inactive));
                aov = aov.or(returns.aov_pooled_minor);
            }
        }
        let latest = engine.store.runs(Some(audience), 20).await?;
        let eligible = latest.iter().find_map(|run| run.segment.as_ref()?.get("eligible")?.as_u64());
        let people = match eligible {
            Some(people) => people,
            None => segment::count(&*source, &mapping, &config.inactive, as_of).await?.inactive,
        };
        let flights = engine.store.deliveries().await?;
        Ok(Self {
            audience: audience.to_owned(),
            destinations,
            people,
            before_rules: eligible.is_none(),
            currency: currency_of(&engine.config.warehouse),
            windows,
            aov: aov.map(|minor| minor / 100.0),
            readings: readings(engine.store.observations(None).await?, false),
            flights: flights.into_iter().filter_map(|flight| Some((connector(&flight.destination)?, flight))).collect(),
        })
    }

    /// Moves the assumptions of a projection on `inputs.platform`. Set the currency first: prices in another one are
    /// left aside. What cannot be used is said in the projection's warnings.
    ///
    /// # Errors
    /// When an observation is impossible.
    pub fn apply(&self, inputs: &mut Inputs) -> anyhow::Result<()> {
        let connector = inputs.platform.slug;
        self.matches(inputs, connector)?;
        self.flights(inputs, connector)?;
        if !self.windows.is_empty() {
            inputs.observe_p0(&self.windows)?;
        }
        if let Some(mean) = self.aov.filter(|mean| *mean > 0.0) {
            inputs.observe_aov(mean, AOV_CV, "mean of the segment's own past orders")?;
        }
        Ok(())
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
