//! Delivery figures as users give them, by file or by API: checked against the config, all or nothing.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::config::Config;
use crate::roi::Currency;
use crate::store::deliveries::DeliveryFigures;

/// What a platform reports of one flight of one audience. Sums of persons and money, nobody's data.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Flight {
    /// The audience's key.
    #[schema(max_length = 100, example = "dormant")]
    pub audience: String,
    /// The destination's name.
    #[schema(max_length = 100, example = "meta-fr")]
    pub destination: String,
    /// First day.
    #[schema(example = "2026-01-01")]
    pub from: NaiveDate,
    /// Last day, included.
    #[schema(example = "2026-01-31")]
    pub to: NaiveDate,
    #[schema(maximum = 1_000_000_000_000u64, example = 412_000)]
    pub impressions: u64,
    /// Distinct persons who saw it.
    #[schema(maximum = 1_000_000_000_000u64, example = 61_000)]
    pub reach: Option<u64>,
    #[schema(maximum = 1_000_000_000_000u64, example = 5_431)]
    pub clicks: Option<u64>,
    /// Whole units of `currency`.
    #[schema(minimum = 0, maximum = 1_000_000_000_000u64, example = 2_060.5)]
    pub spend: Option<f64>,
    /// Orders the platform claims.
    #[schema(maximum = 1_000_000_000_000u64, example = 96)]
    pub orders: Option<u64>,
    /// ISO 4217.
    #[schema(min_length = 3, max_length = 3, example = "EUR")]
    pub currency: Option<String>,
}

/// One flight that cannot be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlightFault {
    pub index: usize,
    pub field: &'static str,
    pub message: String,
}

/// The flights as the state keeps them.
///
/// # Errors
/// Every fault; nothing is to be taken over then.
pub fn figures(config: &Config, flights: Vec<Flight>) -> Result<Vec<DeliveryFigures>, Vec<FlightFault>> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    let mut taken = Vec::new();
    for (index, flight) in flights.into_iter().enumerate() {
        let before = faults.len();
        let mut fault = |field, message: String| faults.push(FlightFault { index, field, message });
        where_to(config, &flight, &mut fault);
        numbers(&flight, &mut fault);
        let currency = flight.currency.as_deref().filter(|code| !code.is_empty()).map(str::parse::<Currency>);
        let currency = currency.transpose().unwrap_or_else(|error| {
            fault("currency", error.to_string());
            None
        });
        if !seen.insert((flight.audience.clone(), flight.destination.clone(), flight.from, flight.to)) {
            fault("from", "the same flight stands above".to_owned());
        }
        if faults.len() == before {
            taken.push(DeliveryFigures {
                audience: flight.audience,
                destination: flight.destination,
                from: flight.from,
                to: flight.to,
                impressions: flight.impressions,
                reach: flight.reach,
                clicks: flight.clicks,
                spend: flight.spend,
                orders: flight.orders,
                currency: currency.map(|currency| currency.code().to_owned()),
            });
        }
    }
    if faults.is_empty() { Ok(taken) } else { Err(faults) }
}

fn where_to(config: &Config, flight: &Flight, fault: &mut impl FnMut(&'static str, String)) {
    match config.audience(&flight.audience) {
        Err(error) => fault("audience", error.to_string()),
        Ok(audience) if !audience.destinations.contains(&flight.destination) => {
            let known = audience.destinations.join(", ");
            fault(
                "destination",
                format!("`{}` does not go to `{}`, but to {known}", flight.audience, flight.destination),
            );
        }
        Ok(_) => {}
    }
}

fn numbers(flight: &Flight, fault: &mut impl FnMut(&'static str, String)) {
    if flight.to < flight.from {
        fault("to", "ends before it begins".to_owned());
    }
    for (name, count) in [("reach", flight.reach), ("clicks", flight.clicks)] {
        if count.is_some_and(|count| count > flight.impressions) {
            fault(name, format!("more {name} than impressions"));
        }
    }
    if flight.spend.is_some_and(|spend| !(spend.is_finite() && spend >= 0.0)) {
        fault("spend", "spend is not an amount of at least 0".to_owned());
    }
}
