//! `segment cadence`: how often people buy.

use chrono::Utc;
use clap::Args;

use super::figures::{Data, open};
use super::parse_definition;
use crate::cli::exit::{CliError, Exit};
use crate::cli::setup::{Global, print_json};
use crate::cli::table::{Align, Table, count, share};
use crate::config::Inactive;
use crate::config::audience_inactive::PersonalCadence;
use crate::segment::{self, Cadence};

/// See [`super::SegmentCommand::Cadence`].
#[derive(Debug, Args)]
pub struct CadenceArgs {
    /// Late is who is silent for longer than so many times the own median gap
    #[arg(long, default_value_t = 2.0)]
    k: f64,
    /// Days of silence for everybody without a rhythm
    #[arg(long, default_value_t = 180, value_name = "DAYS")]
    fallback: u32,
    /// Purchase days needed to know a rhythm
    #[arg(long, default_value_t = 3, value_name = "DAYS")]
    min_days: u32,
    /// All of it from this definition: 'personal_cadence = { … }'
    #[arg(long, value_name = "DEFINITION", conflicts_with_all = ["k", "fallback", "min_days"])]
    inactive: Option<String>,
    #[command(flatten)]
    data: Data,
}

pub(super) async fn cadence(global: &Global, args: CadenceArgs) -> anyhow::Result<Exit> {
    let definition = match args.inactive.as_deref().map(parse_definition).transpose()? {
        Some(Inactive::PersonalCadence(cadence)) => cadence,
        Some(other) => {
            return Err(CliError::new(Exit::Usage, format!("--inactive is `{}`, not a rhythm", other.name()))
                .hint("for example 'personal_cadence = { k = 2, fallback_days = 180 }'")
                .into());
        }
        None => PersonalCadence { k: args.k, min_days: args.min_days, fallback_days: args.fallback },
    };
    let (source, mapping) = open(global, &args.data).await?;
    let as_of = args.data.as_of.unwrap_or_else(Utc::now);
    let found = segment::cadence(&*source, &mapping, &definition, as_of).await?;
    if args.data.json {
        print_json(&found)?;
    } else {
        print!("{}", page(&found));
    }
    Ok(Exit::Done)
}

fn page(found: &Cadence) -> String {
    let (k, days) = (found.k, found.fallback_days);
    let mut text = format!("Rhythm of {} customers as of {}\n", count(found.customers), found.as_of.format("%Y-%m-%d"));
    let mut table = Table::new(&[("", Align::Left), ("", Align::Right), ("", Align::Right)]);
    let mut line = |label: String, people: u64| {
        table.row([label, count(people), share(people, found.customers)]);
    };
    line(format!("bought on {} days or more, so a rhythm is known", found.min_days), found.with_rhythm);
    line(format!("inactive: silent for {k} times their own rhythm, else {days} days"), found.inactive);
    line("  by their own rhythm".into(), found.inactive_by_rhythm);
    line(format!("  by the {days} days"), found.inactive_by_fallback);
    line(format!("noticed earlier than by {days} days for everybody"), found.noticed_earlier);
    line(format!("left alone, though silent for more than {days} days"), found.left_alone);
    text.push_str(&table.render(2));
    if let Some(gap) = &found.gap_days {
        text.push_str(&format!(
            "Days between their purchases, median of each: 5 % have up to {:.1}, 25 % {:.1}, 50 % {:.1}, 75 % {:.1}, 95 % {:.1}\n",
            gap.p05, gap.p25, gap.p50, gap.p75, gap.p95
        ));
    }
    text
}
