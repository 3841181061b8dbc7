//! `reveil segment`: who is inactive.

mod cadence;
mod figures;
mod list;
mod matrix;
mod purge;

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use reveil_sdk::IdentifierKind;
use reveil_sdk::identifier::mask;

use self::cadence::CadenceArgs;
use self::figures::{CompareArgs, ExplainArgs};
use self::matrix::RfmArgs;
use self::purge::PurgeArgs;
use super::exit::{CliError, Exit};
use super::setup::{Global, audience_key, instant, load, print_json};
use super::table::{Align, Table, count};
use crate::config::Inactive;
use crate::segment;
use crate::segment::sql::{BaseOptions, base_query, sync_query};
use crate::warehouse::{self, Columns};

/// See the module.
#[derive(Debug, Subcommand)]
pub enum SegmentCommand {
    /// The SQL that a sync runs in the warehouse
    Sql(Which),
    /// How many customers are inactive
    Count(CountArgs),
    /// Some inactive customers, masked
    Preview(PreviewArgs),
    /// Why one customer is inactive, active or unknown
    Explain(ExplainArgs),
    /// Several definitions side by side: size, overlap, who came back by themselves
    Compare(CompareArgs),
    /// The matrix of recency, frequency and value (or opens, or clicks)
    Rfm(RfmArgs),
    /// How often customers buy, and what a limit by their own rhythm changes
    Cadence(CadenceArgs),
    /// Who is really lost: customer ids for a file, to be purged
    Purge(PurgeArgs),
}

/// Which audience, as of when.
#[derive(Debug, Args)]
pub struct Which {
    /// The audience; may be left out when there is only one
    audience: Option<String>,
    /// As of this date or instant; default now
    #[arg(long, value_parser = instant, value_name = "DATE")]
    as_of: Option<DateTime<Utc>>,
}

/// See [`SegmentCommand::Count`].
#[derive(Debug, Args)]
pub struct CountArgs {
    #[command(flatten)]
    which: Which,
    /// Count in this CSV of events (customer_id, ts, kind, value) instead of a configured warehouse
    #[arg(long, value_name = "FILE.csv", requires = "inactive")]
    orders: Option<PathBuf>,
    /// The definition, as TOML or JSON: 'purchase_recency = { days = 180 }'
    #[arg(long, value_name = "DEFINITION")]
    inactive: Option<String>,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

/// See [`SegmentCommand::Preview`].
#[derive(Debug, Args)]
pub struct PreviewArgs {
    #[command(flatten)]
    which: Which,
    /// Rows to show
    #[arg(long, default_value_t = 10)]
    most: usize,
}

/// # Errors
/// Config or warehouse.
pub async fn run(global: &Global, command: SegmentCommand) -> anyhow::Result<Exit> {
    match command {
        SegmentCommand::Sql(which) => sql(global, which).await,
        SegmentCommand::Count(args) => count_inactive(global, args).await,
        SegmentCommand::Preview(args) => preview(global, args).await,
        SegmentCommand::Explain(args) => figures::explain(global, args).await,
        SegmentCommand::Compare(args) => figures::compare(global, args).await,
        SegmentCommand::Rfm(args) => matrix::rfm(global, args).await,
        SegmentCommand::Cadence(args) => cadence::cadence(global, args).await,
        SegmentCommand::Purge(args) => purge::purge(global, args).await,
    }
}

async fn sql(global: &Global, which: Which) -> anyhow::Result<Exit> {
    let (config, _) = load(global)?;
    let key = audience_key(&config, which.audience.as_deref())?;
    let source = warehouse::open(&config.warehouse).await?;
    let mapping = segment::resolve(&*source, &config.warehouse).await?;
    let as_of = which.as_of.unwrap_or_else(Utc::now);
    let definition = segment::settle(&*source, &mapping, &config.audience(&key)?.inactive, as_of).await?.definition;
    let text = sync_query(&mapping, &definition, as_of, source.dialect(), config.lost.as_ref())?;
    writeln!(std::io::stdout(), "{text}").context("stdout is closed")?;
    Ok(Exit::Done)
}

async fn count_inactive(global: &Global, args: CountArgs) -> anyhow::Result<Exit> {
    let as_of = args.which.as_of.unwrap_or_else(Utc::now);
    let definition = args.inactive.as_deref().map(parse_definition).transpose()?;
    let counted = if let Some(orders) = &args.orders {
        let definition = definition.as_ref().expect("clap requires it with --orders");
        given_file(orders)?;
        let counted = segment::count_from_events_csv(orders, definition, as_of).await?;
        segment::Count { audience: Some(args.which.audience.unwrap_or_else(|| "orders".to_owned())), ..counted }
    } else {
        let (config, _) = load(global)?;
        let key = audience_key(&config, args.which.audience.as_deref())?;
        let definition = definition.as_ref().unwrap_or(&config.audience(&key)?.inactive);
        let source = warehouse::open(&config.warehouse).await?;
        let mapping = segment::resolve(&*source, &config.warehouse).await?;
        segment::Count { audience: Some(key), ..segment::count(&*source, &mapping, definition, as_of).await? }
    };
    if args.json {
        print_json(&counted)?;
    } else {
        println!(
            "{} as of {}: {} of {} customers inactive ({}); {} more have no data to judge them by, {} in all",
            counted.audience.as_deref().unwrap_or_default(),
            as_of.format("%Y-%m-%d"),
            count(counted.inactive),
            count(counted.customers),
            super::table::share(counted.inactive, counted.customers),
            count(counted.unknown),
            count(counted.total)
        );
        for fitted in &counted.fitted {
            println!(
                "Fitted to {} customers: r {:.6}, alpha {:.6}, a {:.6}, b {:.6} (weeks), log-likelihood {:.2}",
                count(fitted.customers),
                fitted.r,
                fitted.alpha,
                fitted.a,
                fitted.b,
                fitted.log_likelihood
            );
        }
    }
    Ok(Exit::Done)
}

/// A definition given on the command line.
fn parse_definition(text: &str) -> anyhow::Result<Inactive> {
    let fault = |message: String| {
        CliError::new(Exit::Usage, format!("--inactive: {message}")).hint(
            "for example --inactive 'purchase_recency = { days = 180 }' or '{\"purchase_recency\":{\"days\":180}}'",
        )
    };
    let trimmed = text.trim_start();
    let value: serde_json::Value = if trimmed.starts_with('{') && !trimmed.contains('=') {
        serde_json::from_str(text).map_err(|error| fault(format!("not JSON: {error}")))?
    } else if trimmed.starts_with('{') {
        let wrapped: toml::Value =
            toml::from_str(&format!("inactive = {text}")).map_err(|error| fault(error.message().to_owned()))?;
        serde_json::to_value(&wrapped["inactive"])?
    } else {
        let table: toml::Value = toml::from_str(text).map_err(|error| fault(error.message().to_owned()))?;
        let inner = table.get("inactive").unwrap_or(&table);
        serde_json::to_value(inner)?
    };
    Ok(serde_json::from_value(value).map_err(|error| fault(error.to_string()))?)
}

async fn preview(global: &Global, args: PreviewArgs) -> anyhow::Result<Exit> {
    let (config, _) = load(global)?;
    let key = audience_key(&config, args.which.audience.as_deref())?;
    let source = warehouse::open(&config.warehouse).await?;
    let as_of = args.which.as_of.unwrap_or_else(Utc::now);
    let mapping = segment::resolve(&*source, &config.warehouse).await?;
    let definition = segment::settle(&*source, &mapping, &config.audience(&key)?.inactive, as_of).await?.definition;
    let text = base_query(&mapping, &definition, as_of, source.dialect(), BaseOptions::SYNC)?;
    let mut batches = source.query(&text).await?;
    let mut table = Table::new(&[
        ("customer", Align::Left),
        ("e-mail", Align::Left),
        ("phone", Align::Left),
        ("country", Align::Left),
        ("last activity", Align::Left),
    ]);
    let mut shown = 0;
    while shown < args.most {
        let Some(batch) = batches.next().await else { break };
        let batch = batch?;
        let columns = Columns::new(&batch);
        let cell = |name: &str, row: usize| columns.get(name).and_then(|values| values.string(row)).unwrap_or_default();
        for row in 0..columns.rows() {
            if cell("state", row) != "inactive" {
                continue;
            }
            table.row([
                masked_id(&cell("customer_id", row)),
                mask(IdentifierKind::Email, &cell("email_1", row)),
                mask(IdentifierKind::Phone, &cell("phone_1", row)),
                cell("country", row),
                cell("last_activity_at", row),
            ]);
            shown += 1;
            if shown == args.most {
                break;
            }
        }
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    if table.is_empty() {
        writeln!(out, "Nobody is inactive as of {}.", as_of.format("%Y-%m-%d"))?;
    } else {
        write!(out, "{}", table.render(0))?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// Enough of a customer id to find the row again among a few, not to name the person.
fn masked_id(id: &str) -> String {
    let tail: String = id.chars().rev().take(3).collect::<Vec<_>>().into_iter().rev().collect();
    format!("…{tail}")
}

/// A file named on the command line is there, or the command line is wrong.
fn given_file(path: &Path) -> Result<(), CliError> {
    match std::fs::File::open(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(CliError::new(Exit::Usage, format!("cannot open {}: {error}", path.display()))
            .hint("give a CSV file with the columns customer_id, ts, kind, value")),
    }
}
