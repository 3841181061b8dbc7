//! `reveil state`: where runs, jobs and the audit log are kept.

use clap::Subcommand;

use super::exit::{CliError, Exit};
use super::setup::{Global, engine};
use super::table::{Align, Table, count};
use crate::store::audit::local_actor;

/// See the module.
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// Fill an empty PostgreSQL (state.url) from this machine's state.db, which stays as it is; stop the daemon first
    Copy,
}

/// # Errors
/// Config, or either database.
pub async fn run(global: &Global, command: StateCommand) -> anyhow::Result<Exit> {
    let StateCommand::Copy = command;
    let engine = engine(global).await?;
    if !engine.store.is_shared() {
        return Err(CliError::new(Exit::Usage, "there is nowhere to copy to: state.url is not set")
            .hint("write [state] url = \"postgres://user:password@host:5432/database\"")
            .into());
    }
    let copied = engine.store.copy_from(&engine.config.state_dir).await?;
    let detail = copied.iter().map(|(table, rows)| ((*table).to_owned(), (*rows).into())).collect();
    let detail = serde_json::Value::Object(detail);
    engine.store.audit(engine.clock.now(), &local_actor(), "copy_state", "state", &detail).await?;
    let mut table = Table::new(&[("table", Align::Left), ("rows", Align::Right)]);
    for (name, rows) in copied.into_iter().filter(|(_, rows)| *rows > 0) {
        table.row([name.to_owned(), count(rows)]);
    }
    print!("{}", table.render(0));
    println!("Copied to {}; state.db is not used any more.", engine.store.place());
    Ok(Exit::Done)
}
