//! `reveil report`: match rates, audiences, identifiers.

mod roi;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use super::exit::Exit;
use super::output::progress;
use super::plan::exclusions;
use super::setup::{Global, audience_key, engine, instant, print_json};
use super::table::{Align, Table, count, percent, share};
use crate::report::match_rates::{Reading, readings};
use crate::sync::Selection;

/// See the module.
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// What the platforms say of matching, each figure with its kind and definition
    MatchRates(MatchRatesArgs),
    /// Size, sent, rejected and left out, per destination
    Audience(AudienceArgs),
    /// What each defect of the segment's identifiers costs, and what mending it would add
    Identifiers(IdentifiersArgs),
    /// What the audience is worth: funnel, who comes back anyway, projection, holdout; also as a page with charts
    Roi(roi::RoiArgs),
}

/// See [`ReportCommand::MatchRates`].
#[derive(Debug, Args)]
pub struct MatchRatesArgs {
    /// Only this audience
    audience: Option<String>,
    /// Every reading, not only the latest
    #[arg(long)]
    history: bool,
    /// One JSON document
    #[arg(long)]
    json: bool,
    /// Comma-separated values
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// See [`ReportCommand::Audience`].
#[derive(Debug, Args)]
pub struct AudienceArgs {
    /// The audience; may be left out when there is only one
    audience: Option<String>,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

/// See [`ReportCommand::Identifiers`].
#[derive(Debug, Args)]
pub struct IdentifiersArgs {
    /// The audience; may be left out when there is only one
    audience: Option<String>,
    /// As of this date or instant; default now
    #[arg(long, value_parser = instant, value_name = "DATE")]
    as_of: Option<DateTime<Utc>>,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

/// # Errors
/// Config, state or warehouse.
pub async fn run(global: &Global, command: ReportCommand) -> anyhow::Result<Exit> {
    match command {
        ReportCommand::MatchRates(args) => match_rates(global, args).await,
        ReportCommand::Audience(args) => audience(global, args).await,
        ReportCommand::Identifiers(args) => identifiers(global, args).await,
        ReportCommand::Roi(args) => roi::run(global, args).await,
    }
}

async fn match_rates(global: &Global, args: MatchRatesArgs) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    if let Some(key) = &args.audience {
        engine.config.audience(key)?;
    }
    let readings = readings(engine.store.observations(args.audience.as_deref()).await?, args.history);
    if args.json {
        print_json(&serde_json::json!({ "observations": readings }))?;
        return Ok(Exit::Done);
    }
    if args.csv {
        let mut out = csv::Writer::from_writer(std::io::stdout().lock());
        for reading in &readings {
            out.serialize(reading)?;
        }
        out.flush()?;
        return Ok(Exit::Done);
    }
    if readings.is_empty() {
        println!("No reading yet; a sync takes the first one, `reveil status --refresh` a fresh one.");
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        ("audience", Align::Left),
        ("destination", Align::Left),
        ("as of", Align::Left),
        ("sent", Align::Right),
        ("match rate", Align::Right),
        ("kind", Align::Left),
        ("rules", Align::Right),
    ]);
    for reading in &readings {
        table.row([
            reading.audience.clone(),
            reading.destination.clone(),
            reading.as_of.format("%Y-%m-%d %H:%M").to_string(),
            count(reading.sent),
            rate(reading),
            reading.kind.to_owned(),
            format!("v{}", reading.rules_version),
        ]);
    }
    print!("{}", table.render(0));
    let mut told: Vec<&str> = Vec::new();
    for reading in &readings {
        if !told.contains(&reading.connector.as_str()) {
            println!("\n{}: {}", reading.connector, reading.definition);
            told.push(&reading.connector);
        }
    }
    println!(
        "\nA match rate says that the data is usable, not that ads perform. Platforms define it differently: do not compare across them."
    );
    Ok(Exit::Done)
}

fn rate(reading: &Reading) -> String {
    match (reading.kind, reading.low, reading.high) {
        ("exact", Some(low), _) => percent(low),
        (_, Some(low), Some(high)) => format!("{} – {}", percent(low), percent(high)),
        (_, Some(low), None) => format!("at least {}", percent(low)),
        _ => "-".to_owned(),
    }
}

async fn audience(global: &Global, args: AudienceArgs) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    let key = audience_key(&engine.config, args.audience.as_deref())?;
    let runs = engine.store.runs(Some(&key), 50).await?;
    let Some(run) = runs.into_iter().find(|run| run.segment.is_some()) else {
        if args.json {
            print_json(&serde_json::json!({ "audience": key, "run": null, "destinations": [] }))?;
        } else {
            println!("Audience {key} has not run yet; `reveil sync {key}` does.");
        }
        return Ok(Exit::Done);
    };
    let destinations = engine.store.destination_runs(&run.id).await?;
    let readings = readings(engine.store.observations(Some(&key)).await?, false);
    if args.json {
        let mut document = serde_json::to_value(&run)?;
        document["destinations"] = destinations
            .iter()
            .map(|part| {
                let mut value = serde_json::to_value(part)?;
                let reading = readings.iter().find(|reading| reading.destination == part.destination);
                value["observation"] = serde_json::to_value(reading)?;
                Ok(value)
            })
            .collect::<anyhow::Result<serde_json::Value>>()?;
        print_json(&document)?;
        return Ok(Exit::Done);
    }
    let number =
        |value: &serde_json::Value, name: &str| value.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
    println!("Audience {key}, run {} as of {}", run.id, run.as_of.format("%Y-%m-%d"));
    if let Some(segment) = &run.segment {
        println!(
            "  {} customers, {} inactive, {} of them may be uploaded",
            count(number(segment, "customers")),
            count(number(segment, "inactive")),
            count(number(segment, "eligible"))
        );
        if let Some(excluded) = segment.get("excluded").and_then(serde_json::Value::as_object) {
            let mut table = Table::new(&[("", Align::Right), ("", Align::Left)]);
            for code in crate::sync::eligibility::reason::ORDER {
                if let Some(people) = excluded.get(*code).and_then(serde_json::Value::as_u64) {
                    table.row([count(people), crate::sync::eligibility::reason::describe(code).to_owned()]);
                }
            }
            print!("{}", table.render(4));
        }
    }
    let mut table = Table::new(&[
        ("destination", Align::Left),
        ("state", Align::Left),
        ("sent", Align::Right),
        ("removed", Align::Right),
        ("kept", Align::Right),
        ("rejected", Align::Right),
        ("match rate", Align::Right),
        ("kind", Align::Left),
    ]);
    for part in &destinations {
        let rejected = part.counts.get("rejected").and_then(serde_json::Value::as_object);
        let rejected: u64 = rejected.map_or(0, |reasons| reasons.values().filter_map(serde_json::Value::as_u64).sum());
        let reading = readings.iter().find(|reading| reading.destination == part.destination);
        table.row([
            part.destination.clone(),
            part.state.name().to_owned(),
            count(number(&part.counts, "sent")),
            count(number(&part.counts, "remove")),
            count(number(&part.counts, "keep")),
            count(rejected + number(&part.counts, "rejected_unnamed")),
            reading.map_or("-".into(), rate),
            reading.map_or("-".into(), |reading| reading.kind.to_owned()),
        ]);
    }
    print!("{}", table.render(2));
    Ok(Exit::Done)
}

async fn identifiers(global: &Global, args: IdentifiersArgs) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    let selection = Selection {
        audience: audience_key(&engine.config, args.audience.as_deref())?,
        as_of: args.as_of.unwrap_or_else(Utc::now),
        destinations: Vec::new(),
    };
    let plan = engine.plan(&selection, crate::sync::preview::Show::default(), &*progress(args.json)).await?;
    let report = &plan.identifiers;
    if args.json {
        print_json(report)?;
        return Ok(Exit::Done);
    }
    println!(
        "Identifiers of audience {}: {} eligible people, {} reachable ({}), {} without any",
        report.audience,
        count(report.people),
        count(report.reachable),
        share(report.reachable, report.people),
        count(report.blank)
    );
    let mut table = Table::new(&[
        ("kind", Align::Left),
        ("values", Align::Right),
        ("usable", Align::Right),
        ("people", Align::Right),
        ("only by this", Align::Right),
    ]);
    for kind in &report.kinds {
        let row = [kind.values, kind.usable, kind.people, kind.only_this].map(count);
        table.row([kind.kind.to_owned()].into_iter().chain(row));
    }
    print!("{}", table.render(2));
    if report.defects.is_empty() {
        println!("\n  No defect.");
    } else {
        println!("\n  Defects, the costliest first:");
        let mut table = Table::new(&[
            ("kind", Align::Left),
            ("defect", Align::Left),
            ("values", Align::Right),
            ("share", Align::Right),
            ("people won by mending", Align::Right),
            ("remedy", Align::Left),
        ]);
        for defect in &report.defects {
            table.row([
                defect.kind.to_owned(),
                defect.reason.clone(),
                count(defect.values),
                percent(defect.share),
                count(defect.people_gained),
                defect.remedy.to_owned(),
            ]);
        }
        print!("{}", table.render(2));
    }
    println!(
        "\n  {} people have nothing but placeholders that many customers share.",
        count(report.shared_placeholder_people)
    );
    for destination in &plan.destinations {
        println!("  Left out for {}:\n{}", destination.destination, exclusions(&destination.excluded, 4).trim_end());
    }
    Ok(Exit::Done)
}
