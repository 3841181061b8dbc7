//! Figures about segments: one customer explained, definitions compared.

use std::path::PathBuf;

use chrono::{DateTime, Duration, Utc};
use clap::Args;
use serde::Serialize;

use super::parse_definition;
use crate::cli::exit::{CliError, Exit};
use crate::cli::setup::{Global, audience_key, instant, load, print_json};
use crate::cli::table::{Align, Table, count, percent, share};
use crate::config::WarehouseConfig;
use crate::segment::compare::{Candidate, Comparison, presets};
use crate::segment::{self, open_events_csv};
use crate::warehouse::{self, Source};

/// Where the events are.
#[derive(Debug, Args)]
pub(super) struct Data {
    /// Read this CSV of events (customer_id, ts, kind, value) instead of a configured warehouse
    #[arg(long, value_name = "FILE.csv")]
    orders: Option<PathBuf>,
    /// As of this date or instant; default now
    #[arg(long, value_parser = instant, value_name = "DATE")]
    pub(super) as_of: Option<DateTime<Utc>>,
    /// One JSON document
    #[arg(long)]
    pub(super) json: bool,
}

/// See [`super::SegmentCommand::Explain`].
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The audience; may be left out when there is only one
    audience: Option<String>,
    /// The customer's id, as in the warehouse
    #[arg(long, value_name = "ID")]
    customer: String,
    /// Another definition, as TOML or JSON: 'purchase_recency = { days = 180 }'
    #[arg(long, value_name = "DEFINITION")]
    inactive: Option<String>,
    #[command(flatten)]
    data: Data,
}

/// See [`super::SegmentCommand::Compare`].
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Only these audiences; default all of the configuration
    audiences: Vec<String>,
    /// A definition, as TOML or JSON (repeatable), in place of the audiences
    #[arg(long, value_name = "DEFINITION", conflicts_with = "audiences")]
    inactive: Vec<String>,
    /// Compare a starting set of definitions, besides whatever else is given
    #[arg(long)]
    presets: bool,
    /// Count who came back from this date on; default 90 days before --as-of
    #[arg(long, value_parser = instant, value_name = "DATE")]
    backtest: Option<DateTime<Utc>>,
    #[command(flatten)]
    data: Data,
}

/// The events file, or the configured warehouse with its column types settled.
pub(super) async fn open(global: &Global, data: &Data) -> anyhow::Result<(Box<dyn Source>, WarehouseConfig)> {
    if let Some(file) = &data.orders {
        super::given_file(file)?;
        let (source, mapping) = open_events_csv(file).await?;
        return Ok((Box::new(source), mapping));
    }
    let (config, _) = load(global)?;
    let source = warehouse::open(&config.warehouse).await?;
    let mapping = segment::resolve(&*source, &config.warehouse).await?;
    Ok((source, mapping))
}

#[derive(Serialize)]
struct Explained<'a> {
    customer: &'a str,
    as_of: DateTime<Utc>,
    state: &'a str,
    /// One sentence per simple definition.
    reasons: Vec<String>,
    /// The same in parts.
    parts: &'a [segment::LeafExplanation],
    last_activity_at: Option<DateTime<Utc>>,
    orders: Option<i64>,
}

pub(super) async fn explain(global: &Global, args: ExplainArgs) -> anyhow::Result<Exit> {
    let as_of = args.data.as_of.unwrap_or_else(Utc::now);
    let definition = match (&args.inactive, &args.data.orders) {
        (Some(text), _) => parse_definition(text)?,
        (None, Some(_)) => {
            return Err(CliError::new(Exit::Usage, "--orders needs --inactive: there is no audience to take it from")
                .hint("for example --inactive 'purchase_recency = { days = 180 }'")
                .into());
        }
        (None, None) => {
            let (config, _) = load(global)?;
            config.audience(&audience_key(&config, args.audience.as_deref())?)?.inactive.clone()
        }
    };
    let (source, mapping) = open(global, &args.data).await?;
    let found = segment::explain(&*source, &mapping, &definition, as_of, &args.customer).await?;
    let found = found.ok_or_else(|| {
        CliError::new(Exit::Failed, "there is no such customer").hint("give the id as it stands in the warehouse")
    })?;
    let reasons =
        found.leaves.iter().map(|leaf| format!("{}: {}: {}", leaf.definition, leaf.state, leaf.reason)).collect();
    let explained = Explained {
        customer: &args.customer,
        as_of,
        state: &found.state,
        reasons,
        parts: &found.leaves,
        last_activity_at: found.last_activity_at,
        orders: found.orders_count,
    };
    if args.data.json {
        print_json(&explained)?;
        return Ok(Exit::Done);
    }
    println!("Customer {} as of {}: {}", args.customer, as_of.format("%Y-%m-%d"), found.state);
    let mut table = Table::new(&[("", Align::Left), ("", Align::Left), ("", Align::Left)]);
    for leaf in &found.leaves {
        let p_alive = leaf.p_alive.map_or_else(String::new, |p| format!(" ({p:.3})"));
        table.row([leaf.definition.clone(), leaf.state.clone(), format!("{}{p_alive}", leaf.reason)]);
    }
    print!("{}", table.render(2));
    if found.reason.starts_with("an event has a time") {
        println!("  An event has a time that cannot be read, so the customer is never taken for inactive.");
    }
    Ok(Exit::Done)
}

pub(super) async fn compare(global: &Global, args: CompareArgs) -> anyhow::Result<Exit> {
    let as_of = args.data.as_of.unwrap_or_else(Utc::now);
    let backtest = args.backtest.unwrap_or(as_of - Duration::days(90));
    if backtest >= as_of {
        return Err(CliError::new(Exit::Usage, "--backtest must lie before --as-of")
            .hint("what happened after --as-of is not known there")
            .into());
    }
    let mut candidates = Vec::new();
    for text in &args.inactive {
        let definition = parse_definition(text)?;
        candidates.push(Candidate { name: definition.label(), definition, optional: false });
    }
    if args.inactive.is_empty() && args.data.orders.is_none() {
        let (config, _) = load(global)?;
        let keys = if args.audiences.is_empty() { config.audience.keys().cloned().collect() } else { args.audiences };
        for key in keys {
            let definition = config.audience(&key)?.inactive.clone();
            candidates.push(Candidate { name: key, definition, optional: false });
        }
    } else if !args.audiences.is_empty() {
        return Err(CliError::new(Exit::Usage, "audiences cannot be compared over --orders")
            .hint("give definitions with --inactive")
            .into());
    }
    if args.presets || candidates.is_empty() {
        candidates.extend(presets());
    }
    number_alike(&mut candidates);
    let (source, mapping) = open(global, &args.data).await?;
    let comparison = segment::compare::compare(&*source, &mapping, &candidates, as_of, backtest).await?;
    if args.data.json {
        print_json(&comparison)?;
    } else {
        print!("{}", comparison_text(&comparison));
    }
    Ok(Exit::Done)
}

/// Tells definitions of one label apart.
fn number_alike(candidates: &mut [Candidate]) {
    for index in 1..candidates.len() {
        let name = candidates[index].name.clone();
        let before = candidates[..index].iter().filter(|known| known.definition.label() == name || known.name == name);
        let before = before.count();
        if before > 0 {
            candidates[index].name = format!("{name} ({})", before + 1);
        }
    }
}

fn comparison_text(comparison: &Comparison) -> String {
    let dash = || "-".to_owned();
    let money = |minor: Option<f64>| minor.map_or_else(dash, |minor| format!("{:.2}", minor / 100.0));
    let backtest = comparison.definitions.first().map_or(comparison.as_of, |first| first.backtest.as_of);
    let mut text = format!(
        "As of {}. Who came back by themselves is counted from {} on, among those inactive then.\n",
        comparison.as_of.format("%Y-%m-%d"),
        backtest.format("%Y-%m-%d")
    );
    let mut table = Table::new(&[
        ("", Align::Right),
        ("definition", Align::Left),
        ("inactive", Align::Right),
        ("of judged", Align::Right),
        ("unknown", Align::Right),
        ("back in 30 d", Align::Right),
        ("60 d", Align::Right),
        ("90 d", Align::Right),
        ("own AOV", Align::Right),
        ("AOV on return", Align::Right),
    ]);
    for (index, one) in comparison.definitions.iter().enumerate() {
        let back = |days: u32| {
            let found = one.backtest.returns.iter().find(|found| found.window_days == days);
            found.and_then(|found| found.share).map_or_else(dash, percent)
        };
        table.row([
            (index + 1).to_string(),
            one.name.clone(),
            count(one.inactive),
            share(one.inactive, one.customers),
            count(one.unknown),
            back(30),
            back(60),
            back(90),
            money(one.backtest.aov_own_minor),
            money(one.backtest.aov_return_minor),
        ]);
    }
    text.push_str(&table.render(0));
    if !comparison.overlap.is_empty() {
        text.push_str("\nWhom they share (1 = the same people)\n");
        let place = |name: &str| {
            comparison.definitions.iter().position(|one| one.name == name).map_or_else(dash, |at| (at + 1).to_string())
        };
        let mut table = Table::new(&[
            ("", Align::Right),
            ("", Align::Right),
            ("in both", Align::Right),
            ("only first", Align::Right),
            ("only second", Align::Right),
            ("Jaccard", Align::Right),
        ]);
        for pair in &comparison.overlap {
            table.row([
                place(&pair.a),
                place(&pair.b),
                count(pair.both),
                count(pair.only_a),
                count(pair.only_b),
                pair.jaccard.map_or_else(dash, |jaccard| format!("{jaccard:.3}")),
            ]);
        }
        text.push_str(&table.render(0));
    }
    for skipped in &comparison.skipped {
        text.push_str(&format!("Left out: {}: {}\n", skipped.name, skipped.why));
    }
    for warning in &comparison.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text
}
