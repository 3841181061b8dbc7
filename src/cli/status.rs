//! `reveil status`: what each audience holds, what waits for a verdict, when it ran last.

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;

use super::exit::Exit;
use super::output::progress;
use super::setup::{Global, engine, print_json};
use super::table::{Align, Table, count};
use crate::daemon::work::hold::holding;
use crate::store::model::RunState;
use crate::sync::Engine;
use crate::vault::{CredentialExpiry, credential_expiries, expiry_of};

/// See the module.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Only this audience
    audience: Option<String>,
    /// Ask the platforms now: verdicts that wait, fresh match readings
    #[arg(long)]
    refresh: bool,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Line {
    audience: String,
    destination: String,
    connector: String,
    platform_id: Option<String>,
    /// Members the destination holds, as far as is known.
    held: u64,
    /// Of them: sent without an answer; the next run sends them again.
    uncertain: u64,
    /// Refused by the platform.
    rejected: u64,
    pending_members: u64,
    ledger_bytes: u64,
    /// When the sealed credential ends, as far as the platform says; renewed before, where that can be.
    credential_expires_at: Option<DateTime<Utc>>,
    last_run: Option<String>,
    last_state: Option<RunState>,
}

/// # Errors
/// Config, state or ledger; with `--refresh` the platforms'.
pub async fn run(global: &Global, args: StatusArgs) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    let keys: Vec<String> = match &args.audience {
        Some(key) => {
            engine.config.audience(key)?;
            vec![key.clone()]
        }
        None => engine.config.audience.keys().cloned().collect(),
    };
    if args.refresh {
        let progress = progress(args.json);
        let mut first_error = None;
        for key in &keys {
            let asked = holding(&engine, key, "status --refresh", async |engine, control| {
                engine.refresh(key, control, &*progress).await
            });
            // What keeps one audience back does not keep the others' verdicts.
            if let Err(error) = asked.await {
                first_error.get_or_insert(error);
            }
        }
        if let Some(error) = first_error {
            return Err(error);
        }
    }
    let expiries = credential_expiries(&engine.store).await?;
    let mut lines = Vec::new();
    for key in &keys {
        for name in &engine.config.audience(key)?.destinations {
            lines.push(line(&engine, key, name, &expiries).await?);
        }
    }
    if args.json {
        print_json(&serde_json::json!({ "audiences": lines }))?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        ("audience", Align::Left),
        ("destination", Align::Left),
        ("platform id", Align::Left),
        ("held", Align::Right),
        ("waiting", Align::Right),
        ("uncertain", Align::Right),
        ("rejected", Align::Right),
        ("last run", Align::Left),
        ("state", Align::Left),
    ]);
    for line in &lines {
        table.row([
            line.audience.clone(),
            line.destination.clone(),
            line.platform_id.clone().unwrap_or_else(|| "-".into()),
            count(line.held),
            count(line.pending_members),
            count(line.uncertain),
            count(line.rejected),
            line.last_run.clone().unwrap_or_else(|| "never".into()),
            line.last_state.map_or("-", RunState::name).to_owned(),
        ]);
    }
    print!("{}", table.render(0));
    let mut told = std::collections::BTreeSet::new();
    for line in &lines {
        if let Some(end) = line.credential_expires_at.filter(|_| told.insert(&line.destination)) {
            let days = (end - engine.clock.now()).num_days();
            println!("{}: the credential ends {} ({days} days)", line.destination, end.format("%Y-%m-%d %H:%M UTC"));
        }
    }
    Ok(Exit::Done)
}

async fn line(engine: &Engine, key: &str, name: &str, expiries: &[CredentialExpiry]) -> anyhow::Result<Line> {
    let config = engine.config.destination(name)?;
    let temp = std::env::temp_dir();
    let (stats, pending) = tokio::task::block_in_place(|| {
        let ledger = engine.ledgers.peek(key, name, &temp)?;
        anyhow::Ok((ledger.stats()?, ledger.pending()))
    })?;
    let mut last = None;
    for run in engine.store.runs(Some(key), 50).await? {
        if let Some(part) =
            engine.store.destination_runs(&run.id).await?.into_iter().find(|part| part.destination == name)
        {
            last = Some((run.started_at.unwrap_or(run.requested_at).format("%Y-%m-%d %H:%M").to_string(), part.state));
            break;
        }
    }
    Ok(Line {
        audience: key.to_owned(),
        destination: name.to_owned(),
        connector: config.connector.clone(),
        credential_expires_at: expiry_of(expiries, config),
        platform_id: engine.store.audience(key, name).await?.map(|audience| audience.id),
        held: stats.held,
        uncertain: stats.uncertain,
        rejected: stats.rejected,
        pending_members: pending.iter().map(|batch| u64::from(batch.members)).sum(),
        ledger_bytes: stats.bytes,
        last_run: last.as_ref().map(|(at, _)| at.clone()),
        last_state: last.map(|(_, state)| state),
    })
}
