//! `reveil roi deliveries`: delivery figures of earlier flights, from a file.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use chrono::NaiveDate;
use serde::Deserialize;

use super::{json, text};
use crate::cli::setup::{Global, engine};
use crate::config::Config;
use crate::roi::Currency;
use crate::store::audit::local_actor;
use crate::store::deliveries::DeliveryFigures;

/// Options of `roi deliveries`; without any, shows what is known.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "CSV columns: audience, destination, from, to (dates, both included), impressions, and where known\n\
    reach, clicks, spend, orders, currency. A flight given again replaces what was known of it."
)]
pub struct DeliveriesArgs {
    /// CSV of what the platforms report
    #[arg(long, value_name = "FILE")]
    import: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// # Errors
/// A file that cannot be read or names what the config does not have; nothing is taken over then.
pub async fn run(global: &Global, args: &DeliveriesArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let engine = engine(global).await?;
    if let Some(path) = &args.import {
        let flights = read(path, &engine.config)?;
        engine.store.save_deliveries(&flights).await?;
        let detail = serde_json::json!({ "flights": flights.len() });
        engine.store.audit(engine.clock.now(), &local_actor(), "import_deliveries", "deliveries", &detail).await?;
        if !args.json {
            writeln!(out, "Took over {} flight(s).", flights.len())?;
        }
    }
    let known = engine.store.deliveries().await?;
    if args.json {
        return json(out, &known);
    }
    for flight in &known {
        let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| text::count(value as f64));
        let spend = match (flight.spend, &flight.currency) {
            (Some(spend), Some(code)) => text::money(spend, code),
            (Some(spend), None) => format!("{spend:.2}"),
            _ => "-".to_owned(),
        };
        writeln!(
            out,
            "{} at {}, {} to {}: {} views, {} reached, {} clicks, {} orders claimed, {spend} spent",
            flight.audience,
            flight.destination,
            flight.from,
            flight.to,
            text::count(flight.impressions as f64),
            number(flight.reach),
            number(flight.clicks),
            number(flight.orders),
        )?;
    }
    Ok(())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    audience: String,
    destination: String,
    from: NaiveDate,
    to: NaiveDate,
    impressions: u64,
    reach: Option<u64>,
    clicks: Option<u64>,
    spend: Option<f64>,
    orders: Option<u64>,
    currency: Option<String>,
}

fn read(path: &Path, config: &Config) -> anyhow::Result<Vec<DeliveryFigures>> {
    let shown = path.display();
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(path)
        .with_context(|| format!("cannot open {shown}"))?;
    let mut flights = Vec::new();
    let mut seen = BTreeSet::new();
    for (number, row) in reader.deserialize::<Row>().enumerate() {
        // Line 1 is the header.
        let line = number + 2;
        let fault = |what: &str| anyhow::anyhow!("{shown}, line {line}: {what}");
        let row = row.map_err(|_| {
            fault(
                "cannot be read\nhint: columns are audience, destination, from, to, impressions, reach, clicks, spend, \
                 orders, currency; dates as 2026-01-31, counts whole, amounts with a point; leave unknown ones empty",
            )
        })?;
        let audience = config.audience(&row.audience).map_err(|error| fault(&error.to_string()))?;
        if !audience.destinations.contains(&row.destination) {
            let known = audience.destinations.join(", ");
            return Err(fault(&format!("`{}` does not go to `{}`, but to {known}", row.audience, row.destination)));
        }
        if row.to < row.from {
            return Err(fault("ends before it begins"));
        }
        for (name, count) in [("reach", row.reach), ("clicks", row.clicks)] {
            if count.is_some_and(|count| count > row.impressions) {
                return Err(fault(&format!("more {name} than impressions")));
            }
        }
        if row.spend.is_some_and(|spend| !(spend.is_finite() && spend >= 0.0)) {
            return Err(fault("spend is not an amount of at least 0"));
        }
        let currency = row.currency.filter(|code| !code.is_empty());
        let currency =
            currency.map(|code| code.parse::<Currency>()).transpose().map_err(|error| fault(&error.to_string()))?;
        if !seen.insert((row.audience.clone(), row.destination.clone(), row.from, row.to)) {
            return Err(fault("the same flight stands above"));
        }
        flights.push(DeliveryFigures {
            audience: row.audience,
            destination: row.destination,
            from: row.from,
            to: row.to,
            impressions: row.impressions,
            reach: row.reach,
            clicks: row.clicks,
            spend: row.spend,
            orders: row.orders,
            currency: currency.map(|currency| currency.code().to_owned()),
        });
    }
    if flights.is_empty() {
        bail!("{shown} holds no flight\nhint: one line each under the header, see `reveil roi deliveries --help`");
    }
    Ok(flights)
}
