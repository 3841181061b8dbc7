//! `reveil roi deliveries`: delivery figures of earlier flights, from a file.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::{json, text};
use crate::cli::setup::{Global, engine};
use crate::config::Config;
use crate::report::deliveries::{Flight, figures};
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

fn read(path: &Path, config: &Config) -> anyhow::Result<Vec<DeliveryFigures>> {
    let shown = path.display();
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(path)
        .with_context(|| format!("cannot open {shown}"))?;
    let mut flights = Vec::new();
    for (index, row) in reader.deserialize::<Flight>().enumerate() {
        flights.push(row.map_err(|_| {
            anyhow::anyhow!(
                "{shown}, line {}: cannot be read\nhint: columns are audience, destination, from, to, impressions, reach, \
                 clicks, spend, orders, currency; dates as 2026-01-31, counts whole, amounts with a point; leave unknown \
                 ones empty",
                line(index)
            )
        })?);
    }
    if flights.is_empty() {
        bail!("{shown} holds no flight\nhint: one line each under the header, see `reveil roi deliveries --help`");
    }
    figures(config, flights).map_err(|faults| {
        let told: Vec<String> =
            faults.into_iter().map(|fault| format!("{shown}, line {}: {}", line(fault.index), fault.message)).collect();
        anyhow::anyhow!("{}", told.join("\n"))
    })
}

/// Line 1 is the header.
fn line(index: usize) -> usize {
    index + 2
}
