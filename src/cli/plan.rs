//! `reveil plan`: what a sync would do.

use chrono::{DateTime, Utc};
use clap::Args;

use super::exit::Exit;
use super::output::progress;
use super::setup::{Global, audience_key, engine, instant, print_json};
use super::table::{Align, Table, count};
use crate::sync::eligibility::reason;
use crate::sync::preview::Show;
use crate::sync::{AudiencePlan, Exclusions, Selection};

/// See the module.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The audience; may be left out when there is only one
    audience: Option<String>,
    /// Only these destinations (repeatable)
    #[arg(long, value_name = "NAME")]
    destination: Vec<String>,
    /// As of this date or instant; default now
    #[arg(long, value_parser = instant, value_name = "DATE")]
    as_of: Option<DateTime<Utc>>,
    /// Show the exact requests, the first N of each operation. They hold digests of your customers.
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1")]
    show_requests: Option<usize>,
    /// Masked members to show per destination
    #[arg(long, default_value_t = 3)]
    samples: usize,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

/// # Errors
/// Config, warehouse or ledger.
pub async fn run(global: &Global, args: PlanArgs) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    let selection = Selection {
        audience: audience_key(&engine.config, args.audience.as_deref())?,
        as_of: args.as_of.unwrap_or_else(Utc::now),
        destinations: args.destination,
    };
    let show = Show { samples: args.samples, requests: args.show_requests.unwrap_or(0) };
    let plan = engine.plan(&selection, show, &*progress(args.json)).await?;
    if args.json {
        print_json(&plan)?;
    } else {
        print!("{}", render(&plan));
    }
    Ok(Exit::Done)
}

/// The plan for people.
pub fn render(plan: &AudiencePlan) -> String {
    let mut text = format!("Audience {} as of {}\n", plan.audience, plan.as_of.format("%Y-%m-%d %H:%M UTC"));
    let segment = &plan.segment;
    text.push_str(&format!(
        "  {} customers: {} inactive, {} active, {} unknown; {} of the inactive may be uploaded\n\n",
        count(segment.customers),
        count(segment.inactive),
        count(segment.active),
        count(segment.unknown),
        count(segment.eligible)
    ));
    let mut table = Table::new(&[
        ("destination", Align::Left),
        ("add", Align::Right),
        ("remove", Align::Right),
        ("refresh", Align::Right),
        ("keep", Align::Right),
        ("requests", Align::Right),
    ]);
    for destination in &plan.destinations {
        table.row(
            [destination.destination.clone()].into_iter().chain(
                [destination.add, destination.remove, destination.refresh, destination.keep, destination.requests]
                    .map(count),
            ),
        );
    }
    text.push_str(&table.render(2));
    for destination in &plan.destinations {
        text.push_str(&format!(
            "\n  Left out for {}:\n{}",
            destination.destination,
            exclusions(&destination.excluded, 4)
        ));
        for sample in &destination.samples {
            let others =
                if sample.others.is_empty() { String::new() } else { format!(", {}", sample.others.join(", ")) };
            text.push_str(&format!(
                "    to add: member {} ({} e-mail, {} phone{others})\n",
                sample.member, sample.emails, sample.phones
            ));
        }
        for refusal in &destination.refusals {
            text.push_str(&format!("    a sync would refuse: {refusal}\n"));
        }
        for request in &destination.shown_requests {
            text.push_str(&format!(
                "\n{} {}  # {}\n{}\n",
                request.method, request.url, request.operation, request.body
            ));
        }
    }
    text.push_str("\nNothing was sent.\n");
    text
}

/// Reasons with counts and what they mean.
pub fn exclusions(excluded: &Exclusions, indent: usize) -> String {
    if excluded.total() == 0 {
        return format!("{}nobody\n", " ".repeat(indent));
    }
    let mut table = Table::new(&[("", Align::Right), ("", Align::Left)]);
    for (reason, number) in excluded.iter() {
        table.row([count(number), reason::describe(reason).to_owned()]);
    }
    table.render(indent)
}
