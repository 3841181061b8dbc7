//! `reveil demo`: the whole line, shown.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Args, Subcommand};
use reveil_synth::{Histories, People};

use super::exit::{CliError, Exit};
use super::output::progress;
use super::setup::print_json;
use crate::demo::{DemoOptions, run as run_demo, write};

/// See the module.
#[derive(Debug, Args)]
pub struct DemoArgs {
    #[command(subcommand)]
    command: Option<DemoCommand>,
    #[command(flatten)]
    world: World,
    /// Keep warehouse, config and state in this new directory, and say how to go on by hand
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Everything as one JSON document
    #[arg(long)]
    json: bool,
}

/// Who the made-up people are.
#[derive(Debug, Args)]
struct World {
    /// How many people
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    customers: u64,
    /// The same seed makes the same people
    #[arg(long, default_value_t = 20_260_101)]
    seed: u64,
    /// The day of the first sync
    #[arg(long, default_value = "2026-01-01", value_name = "DATE")]
    as_of: NaiveDate,
}

#[derive(Debug, Subcommand)]
enum DemoCommand {
    /// Write only the generated contacts.csv, accounts.csv and orders.csv
    Data {
        #[command(flatten)]
        world: World,
        /// Where to
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// In a kept configuration, where `reveil sandbox` listens.
const SANDBOX_PORT: u16 = super::sandbox::DEFAULT_PORT;

/// # Errors
/// A file that cannot be written, or anything the engine can say.
pub async fn run(args: DemoArgs) -> anyhow::Result<Exit> {
    if let Some(DemoCommand::Data { world, out }) = args.command {
        return data(&world, &out);
    }
    let temporary = std::env::temp_dir().join(format!("reveil-demo-{}", std::process::id()));
    let dir = args.keep.clone().unwrap_or_else(|| temporary.clone());
    if args.keep.is_some() && dir.exists() && std::fs::read_dir(&dir)?.next().is_some() {
        return Err(CliError::new(Exit::Usage, format!("{} is not empty", dir.display()))
            .hint("give --keep a new directory")
            .into());
    }
    crate::store::private_dir(&dir)?;
    let options = DemoOptions {
        customers: args.world.customers,
        seed: args.world.seed,
        as_of: args.world.as_of,
        dir: dir.clone(),
        sandbox_port: SANDBOX_PORT,
    };
    let progress = progress(args.json);
    let result = run_demo(&options, &*progress).await;
    drop(progress);
    if args.keep.is_none() {
        // Made-up people only; a leftover harms nobody.
        let _ = std::fs::remove_dir_all(&temporary);
    }
    let report = result?;
    if args.json {
        print_json(&report)?;
    } else {
        print!("{}", text::render(&report)?);
        if let Some(kept) = &args.keep {
            print!("{}", text::by_hand(kept, report.as_of));
        }
    }
    Ok(Exit::Done)
}

fn data(world: &World, out: &std::path::Path) -> anyhow::Result<Exit> {
    std::fs::create_dir_all(out)?;
    let people = People { persons: world.customers, seed: world.seed };
    write(&out.join("contacts.csv"), |file| people.write_contacts(file).map(drop))?;
    write(&out.join("accounts.csv"), |file| people.write_accounts(file).map(drop))?;
    let histories = Histories::online_retail();
    write(&out.join("orders.csv"), |file| {
        histories.write_orders(world.customers, world.seed, world.as_of, file).map(drop)
    })?;
    println!("Wrote contacts.csv, accounts.csv and orders.csv to {}.", out.display());
    Ok(Exit::Done)
}

mod text {
    //! The demonstration for people.

    use std::fmt::Write as _;
    use std::path::Path;

    use chrono::NaiveDate;
    use reveil_sdk::{MatchKind, MatchObservation};

    use crate::cli::plan::exclusions;
    use crate::cli::roi::page::page;
    use crate::cli::roi::text::hanging;
    use crate::cli::table::{Align, Table, count, percent, share};
    use crate::demo::report::{DemoReport, DestinationPart};
    use crate::sync::eligibility::reason;

    pub fn render(report: &DemoReport) -> anyhow::Result<String> {
        let mut text = String::new();
        let segment = &report.segment;
        writeln!(text, "\n1. The warehouse: an SQLite file, as of {}", report.as_of)?;
        writeln!(
            text,
            "   {} made-up people in {} customer rows, with {} orders of real shop histories (Online Retail II)",
            count(report.customers),
            count(report.warehouse.rows),
            count(report.warehouse.orders)
        )?;
        writeln!(
            text,
            "   and {} clicks and visits. The platforms are simulated, on this machine.\n",
            count(report.warehouse.engagement)
        )?;

        writeln!(text, "2. Who is inactive: no order, click or visit on any channel for 180 days")?;
        let mut table = Table::new(&[("", Align::Right), ("", Align::Left)]);
        table.row([count(segment.customers), "customers".into()]);
        table.row([count(segment.active), "active".into()]);
        table.row([
            count(segment.unknown),
            "unknown: nothing is known of them, which is not the same as inactive".into(),
        ]);
        table.row([count(segment.inactive), format!("inactive ({})", share(segment.inactive, segment.customers))]);
        text.push_str(&table.render(3));
        writeln!(text, "   Of the inactive, left out:")?;
        text.push_str(&exclusions(&segment.excluded, 5));
        writeln!(text, "   {} people may be uploaded.\n", count(segment.eligible))?;

        writeln!(text, "3. The plan (reveil plan): nothing sent yet")?;
        let mut table = Table::new(&[
            ("destination", Align::Left),
            ("add", Align::Right),
            ("remove", Align::Right),
            ("keep", Align::Right),
            ("requests", Align::Right),
        ]);
        for plan in &report.plan.destinations {
            table.row([
                plan.destination.clone(),
                count(plan.add),
                count(plan.remove),
                count(plan.keep),
                count(plan.requests),
            ]);
        }
        text.push_str(&table.render(3));

        writeln!(
            text,
            "\n4. The sync (reveil sync), and what the platforms say a day later (reveil report match-rates)"
        )?;
        text.push_str(&matches(report).render(3));
        for part in &report.destinations {
            text.push_str(&unmatched(report, part)?);
        }

        if let Some(projection) = &report.projection {
            writeln!(text, "\n5. What it is worth (reveil roi project), on {}\n", projection.platform_label)?;
            writeln!(
                text,
                "   The usual promise is \"100,000 inactives → 1,500 baskets\" (half matched, 3 % of them buy): {} here.\n   \
                 The same people without that promise:\n",
                count(projection.common_assumption.baskets.round() as u64)
            )?;
            let mut shown = Vec::new();
            page(&mut shown, projection)?;
            for line in String::from_utf8(shown)?.lines() {
                writeln!(text, "   {line}").map(|()| trim_end(&mut text))?;
            }
        }

        if report.projection.is_some() {
            writeln!(
                text,
                "   The orders are large because the histories are a gift wholesaler's; with --keep, put your own in their place."
            )?;
        }
        writeln!(
            text,
            "\n6. A week later: {} new orders in the warehouse; only the difference is sent",
            count(report.week.orders)
        )?;
        let mut table = Table::new(&[
            ("destination", Align::Left),
            ("add (fell asleep)", Align::Right),
            ("remove (came back)", Align::Right),
            ("keep (not sent)", Align::Right),
            ("requests", Align::Right),
        ]);
        for part in &report.refresh {
            table.row([
                part.destination.clone(),
                count(part.add),
                count(part.remove),
                count(part.keep),
                count(part.requests),
            ]);
        }
        text.push_str(&table.render(3));
        Ok(text)
    }

    fn trim_end(text: &mut String) {
        let length = text.trim_end().len();
        text.truncate(length);
        text.push('\n');
    }

    fn matches(report: &DemoReport) -> Table {
        let mut table = Table::new(&[
            ("destination", Align::Left),
            ("sent", Align::Right),
            ("rejected", Align::Right),
            ("match rate", Align::Right),
            ("kind", Align::Left),
            ("truth*", Align::Right),
        ]);
        for part in &report.destinations {
            let (rate, kind) = part.observation.as_ref().map_or(("-".into(), "-"), rate);
            table.row([
                part.destination.clone(),
                count(part.sent),
                count(part.rejected.values().sum()),
                rate,
                kind.to_owned(),
                part.truth_matched.map_or("-".into(), |matched| share(matched, part.sent)),
            ]);
        }
        table
    }

    fn rate(reading: &MatchObservation) -> (String, &'static str) {
        let kind = crate::store::model::kind_name(reading.kind);
        let rate = match (reading.kind, reading.low, reading.high) {
            (MatchKind::Exact, Some(low), _) => percent(low),
            (_, Some(low), Some(high)) => format!("{:.0}–{:.0} %", low * 100.0, high * 100.0),
            _ => "-".to_owned(),
        };
        (rate, kind)
    }

    /// Why the others did not match, as far as can be known.
    fn unmatched(report: &DemoReport, part: &DestinationPart) -> anyhow::Result<String> {
        let mut text = String::new();
        let plan = report.plan.destinations.iter().find(|plan| plan.destination == part.destination);
        let excluded = |code: &str| plan.map_or(0, |plan| plan.excluded.get(code));
        let defects: u64 = report.segment.identifiers.values().flat_map(|counts| counts.defects.values()).sum();
        writeln!(text, "\n   {}: of {} eligible people", part.destination, count(report.segment.eligible))?;
        let mut table = Table::new(&[("", Align::Right), ("", Align::Left)]);
        table.row([count(excluded(reason::NO_IDENTIFIER)), "have no usable identifier".into()]);
        let shared = [reason::SHARED_PLACEHOLDER, reason::HELD_BY_ACTIVE, reason::HELD_BY_REFUSED, reason::DUPLICATE];
        let shared: u64 = shared.into_iter().map(excluded).sum();
        table.row([count(shared), "share their identifiers with somebody active, refusing, or sent already".into()]);
        table.row([count(excluded(reason::HOLDOUT)), "held out as control group".into()]);
        table.row([count(part.rejected.values().sum()), "refused by the platform".into()]);
        if let Some(matched) = part.truth_matched {
            table.row([
                count(part.sent.saturating_sub(matched)),
                "sent, and not known to the platform under these identifiers*".into(),
            ]);
        }
        text.push_str(&table.render(5));
        if let Some(reading) = &part.observation {
            let mut wrapped = Vec::new();
            hanging(&mut wrapped, "     The platform's figure: ", &reading.definition)?;
            text.push_str(&String::from_utf8(wrapped)?);
        }
        if part.destination == report.destinations.last().map_or("", |last| &last.destination) {
            writeln!(
                text,
                "\n   {} single values were unusable (broken mail syntax, numbers without enough digits);",
                count(defects)
            )?;
            writeln!(text, "   reveil report identifiers says what each defect costs.")?;
            writeln!(
                text,
                "   * Known only because the platforms are simulated; a real one tells no more than its own figure."
            )?;
        }
        Ok(text)
    }

    pub fn by_hand(dir: &Path, as_of: NaiveDate) -> String {
        let dir = dir.display();
        let next = as_of + chrono::Days::new(14);
        format!(
            "\nKept in {dir}. Go on by hand:\n  \
             reveil sandbox --dir {dir} &\n  \
             reveil --config {dir}/reveil.toml check\n  \
             reveil --config {dir}/reveil.toml segment preview --as-of {next}\n  \
             reveil --config {dir}/reveil.toml plan --as-of {next}\n  \
             reveil --config {dir}/reveil.toml sync --as-of {next} --wait\n  \
             reveil --config {dir}/reveil.toml report match-rates\n"
        )
    }
}
