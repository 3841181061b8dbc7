//! `reveil runs`: the latest runs.

use clap::{Args, Subcommand};

use super::exit::Exit;
use super::setup::{Global, engine, print_json};
use super::table::{Align, Table, count};
use crate::daemon::requests;
use crate::store::audit::local_actor;
use crate::store::model::RunState;
use crate::sync::Engine;

/// See the module.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RunsArgs {
    #[command(subcommand)]
    command: Option<RunsCommand>,
    /// Only of this audience
    audience: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 20)]
    most: u32,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

/// What to do about one.
#[derive(Debug, Subcommand)]
enum RunsCommand {
    /// Stop a run: at once when it waits, before its next batch when it runs. What it sent stays.
    Cancel {
        /// As `reveil runs` shows it
        id: String,
    },
}

async fn cancel(engine: &Engine, id: &str) -> anyhow::Result<Exit> {
    let run = requests::cancel(&engine.store, id, &local_actor(), engine.clock.now()).await?;
    match run.state {
        RunState::Cancelled => println!("Cancelled run {id}; it had not begun."),
        _ => println!("Run {id} stops before its next batch."),
    }
    Ok(Exit::Done)
}

/// # Errors
/// Config or state.
pub async fn run(global: &Global, args: RunsArgs) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    if let Some(RunsCommand::Cancel { id }) = &args.command {
        return cancel(&engine, id).await;
    }
    if let Some(audience) = &args.audience {
        engine.config.audience(audience)?;
    }
    let runs = engine.store.runs(args.audience.as_deref(), args.most).await?;
    let mut documents = Vec::new();
    let mut table = Table::new(&[
        ("run", Align::Left),
        ("audience", Align::Left),
        ("as of", Align::Left),
        ("destination", Align::Left),
        ("state", Align::Left),
        ("sent", Align::Right),
        ("removed", Align::Right),
        ("kept", Align::Right),
    ]);
    for run in runs {
        let destinations = engine.store.destination_runs(&run.id).await?;
        let as_of = run.as_of.format("%Y-%m-%d").to_string();
        if destinations.is_empty() {
            let cells = [run.id.clone(), run.audience.clone(), as_of.clone(), "-".into(), run.state.name().into()];
            table.row(cells);
        }
        for destination in &destinations {
            let number =
                |key: &str| destination.counts.get(key).and_then(serde_json::Value::as_u64).map_or("-".into(), count);
            table.row([
                run.id.clone(),
                run.audience.clone(),
                as_of.clone(),
                destination.destination.clone(),
                destination.state.name().to_owned(),
                number("sent"),
                number("remove"),
                number("keep"),
            ]);
        }
        let mut document = serde_json::to_value(&run)?;
        document["destinations"] = serde_json::to_value(&destinations)?;
        documents.push(document);
    }
    if args.json {
        print_json(&serde_json::json!({ "runs": documents }))?;
    } else if table.is_empty() {
        println!("No run yet; `reveil sync` makes one.");
    } else {
        print!("{}", table.render(0));
    }
    Ok(Exit::Done)
}
