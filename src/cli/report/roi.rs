//! `reveil report roi`: what an audience is worth, for people, programs, spreadsheets and a browser.

use std::path::PathBuf;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::Args;

use crate::cli::exit::Exit;
use crate::cli::setup::{Global, audience_key, engine, instant, print_json};
use crate::cli::table::{Align, Table, count, percent};
use crate::report::roi::{Options, RoiReport, build, html, rows};

/// See [`super::ReportCommand::Roi`].
#[derive(Debug, Args)]
pub struct RoiArgs {
    /// The audience; may be left out when there is only one
    audience: Option<String>,
    /// Write one self-contained HTML page with charts here
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// One JSON document
    #[arg(long)]
    json: bool,
    /// Every figure as a row of comma-separated values
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// As of this date or instant; default that of the last run. Without a run of that day the people are counted in the warehouse
    #[arg(long, value_parser = instant, value_name = "DATE")]
    as_of: Option<DateTime<Utc>>,
    /// Media money per platform; default what the cap of ad views allows
    #[arg(long, value_parser = amount)]
    budget: Option<f64>,
    /// Gross margin: 40% or 0.4
    #[arg(long, value_parser = share)]
    margin: Option<f64>,
    /// Currency of the amounts, such as EUR; default that of the mapped events
    #[arg(long)]
    currency: Option<String>,
    /// The same seed gives the same figures
    #[arg(long)]
    seed: Option<u64>,
    /// Simulated campaigns
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    draws: Option<u32>,
}

fn amount(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0);
    value.ok_or_else(|| "write an amount such as 5000".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    crate::config::share::Share::parse(text).map(crate::config::share::Share::ratio)
}

pub(super) async fn run(global: &Global, args: RoiArgs) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    let key = audience_key(&engine.config, args.audience.as_deref())?;
    let options = Options {
        as_of: args.as_of,
        budget: args.budget,
        margin: args.margin,
        currency: args.currency,
        seed: args.seed,
        draws: args.draws.map(|draws| draws as usize),
    };
    let report = build(&engine, &key, &options).await?;
    if let Some(file) = &args.html {
        std::fs::write(file, html(&report)).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    if args.json {
        print_json(&report)?;
    } else if args.csv {
        let mut out = csv::Writer::from_writer(std::io::stdout().lock());
        for row in rows(&report) {
            out.serialize(row)?;
        }
        out.flush()?;
    } else {
        print!("{}", text(&report));
        if let Some(file) = &args.html {
            println!("\nThe page is in {}.", file.display());
        }
    }
    Ok(Exit::Done)
}

fn text(report: &RoiReport) -> String {
    let funnel = &report.funnel;
    let mut text = format!(
        "Audience {} as of {}: {} customers, {} inactive, {} may be uploaded\n",
        report.audience,
        report.as_of.format("%Y-%m-%d"),
        count(funnel.customers),
        count(funnel.inactive),
        count(funnel.eligible)
    );
    let day = funnel.as_of.format("%Y-%m-%d");
    text.push_str(&match &funnel.run {
        Some(run) => format!("People: as of {day}, by run {run}\n"),
        None => format!("People: as of {day}, counted in the warehouse\n"),
    });
    let mut table = Table::new(&[
        ("inactive on", Align::Left),
        ("people", Align::Right),
        ("back in 30 d", Align::Right),
        ("60 d", Align::Right),
        ("90 d", Align::Right),
    ]);
    for curve in &report.returns {
        let row = [curve.as_of.format("%Y-%m-%d").to_string(), count(curve.inactive)];
        table.row(row.into_iter().chain(curve.points.iter().map(|point| percent(point.share))));
    }
    if !table.is_empty() {
        text.push_str("\nWho comes back without ads\n");
        text.push_str(&table.render(2));
    }
    let mut table = Table::new(&[
        ("platform", Align::Left),
        ("usual claim", Align::Right),
        ("baskets by clicks", Align::Right),
        ("back without ads", Align::Right),
        ("caused by the ads", Align::Right),
        ("chance to pay", Align::Right),
    ]);
    let range = |middle: f64, low: f64, high: f64| format!("{middle:.0} ({low:.0} to {high:.0})");
    for it in &report.projections {
        let sim = &it.simulation;
        let [middle, low, high] = it.spontaneous_return;
        table.row([
            it.platform_label.to_owned(),
            format!("{:.0}", it.common_assumption.baskets),
            range(sim.baskets.p50, sim.baskets.p05, sim.baskets.p95),
            range(middle, low, high),
            range(sim.incremental_buyers.p50, sim.incremental_buyers.p05, sim.incremental_buyers.p95),
            percent(sim.p_incremental_roi_positive),
        ]);
    }
    if !table.is_empty() {
        text.push_str("\nWhat ads would bring (90 % ranges)\n");
        text.push_str(&table.render(2));
    }
    if let Some(holdout) = &report.holdout {
        text.push_str(&format!("\nHoldout: {}\n", holdout.judgement.sentence));
    }
    for note in &report.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}
