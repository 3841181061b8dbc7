//! `segment purge`: who is really lost.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;

use super::list::CustomerList;
use crate::cli::exit::{CliError, Exit};
use crate::cli::setup::{Global, audience_key, instant, load, print_json};
use crate::cli::table::count;
use crate::segment;
use crate::warehouse::{self, Columns};

/// See [`super::SegmentCommand::Purge`].
#[derive(Debug, Args)]
pub struct PurgeArgs {
    /// The audience; may be left out when there is only one
    audience: Option<String>,
    /// Write the customer ids here, readable by you only
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// As of this date or instant; default now
    #[arg(long, value_parser = instant, value_name = "DATE")]
    as_of: Option<DateTime<Utc>>,
    /// The counts as one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Purged {
    audience: String,
    as_of: DateTime<Utc>,
    inactive: u64,
    lost: u64,
    file: PathBuf,
}

pub(super) async fn purge(global: &Global, args: PurgeArgs) -> anyhow::Result<Exit> {
    let (config, _) = load(global)?;
    let key = audience_key(&config, args.audience.as_deref())?;
    let Some(lost) = &config.lost else {
        return Err(CliError::new(Exit::Usage, "the configuration does not say who is lost")
            .hint("add [lost] with after_campaigns = 2 and quiet_days = 30, and map [warehouse.deliveries]")
            .into());
    };
    let as_of = args.as_of.unwrap_or_else(Utc::now);
    let source = warehouse::open(&config.warehouse).await?;
    let mapping = segment::resolve(&*source, &config.warehouse).await?;
    let definition = segment::settle(&*source, &mapping, &config.audience(&key)?.inactive, as_of).await?.definition;
    let sql = segment::sql::sync_query(&mapping, &definition, as_of, source.dialect(), Some(lost))?;
    let mut batches = source.query(&sql).await?;
    let shown = args.out.display().to_string();
    let mut out = CustomerList::create(&args.out, &["customer_id"])?;
    let mut purged = Purged { audience: key, as_of, inactive: 0, lost: 0, file: args.out.clone() };
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let columns = Columns::new(&batch);
        let (Some(id), Some(state), Some(is_lost)) =
            (columns.get("customer_id"), columns.get("state"), columns.get("lost"))
        else {
            anyhow::bail!("the warehouse returned no column of the segment");
        };
        for row in 0..columns.rows() {
            if state.borrowed(row) != Some("inactive") {
                continue;
            }
            purged.inactive += 1;
            if is_lost.bool(row) == Some(true) {
                purged.lost += 1;
                out.row(&[&id.string(row).unwrap_or_default()])?;
            }
        }
    }
    out.finish()?;
    if args.json {
        print_json(&purged)?;
    } else {
        println!(
            "{} of {} inactive customers are lost: {} campaigns or more, each {} days old, and nothing since. Their ids are in {shown}.",
            count(purged.lost),
            count(purged.inactive),
            lost.after_campaigns,
            lost.quiet_days
        );
    }
    Ok(Exit::Done)
}
