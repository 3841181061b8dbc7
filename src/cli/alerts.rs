//! `reveil alerts`: which alerts stand, and whether the channels work.

use clap::Subcommand;

use super::exit::{CliError, Exit};
use super::setup::{Global, engine, print_json};
use super::table::{Align, Table};
use crate::daemon::test_channels;

/// See the module.
#[derive(Debug, Subcommand)]
pub enum AlertsCommand {
    /// Send a test message to every channel, or to those named
    Test {
        /// Only these (repeatable)
        channel: Vec<String>,
    },
    /// What stands now, and since when
    List {
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
}

/// # Errors
/// Config or state; `test`: a channel does not work.
pub async fn run(global: &Global, command: AlertsCommand) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    match command {
        AlertsCommand::Test { channel } => {
            let channels = &engine.config.alerts.channel;
            if channels.is_empty() {
                let message = "the config has no channel; nobody would be told";
                return Err(CliError::new(Exit::Usage, message).hint("add [alerts.channel.<name>]").into());
            }
            if let Some(unknown) = channel.iter().find(|name| !channels.contains_key(*name)) {
                let known: Vec<&str> = channels.keys().map(String::as_str).collect();
                let message = format!("there is no channel `{unknown}`; the config has: {}", known.join(", "));
                return Err(CliError::new(Exit::Usage, message).into());
            }
            let mut all = true;
            for (name, result) in test_channels(&engine, &channel).await {
                match result {
                    Ok(()) => println!("ok   {name}"),
                    Err(error) => {
                        all = false;
                        println!("FAIL {name}: {error}");
                    }
                }
            }
            Ok(if all { Exit::Done } else { Exit::Failed })
        }
        AlertsCommand::List { json } => {
            let standing = engine.store.alert_states().await?.into_iter().filter(|alert| alert.state != "ok");
            let standing: Vec<_> = standing.collect();
            if json {
                let one = |alert: &crate::store::alerts::AlertState| {
                    serde_json::json!({ "key": alert.key, "state": alert.state, "since": alert.since,
                                        "last_sent_at": alert.last_sent_at })
                };
                print_json(&serde_json::json!({ "alerts": standing.iter().map(one).collect::<Vec<_>>() }))?;
                return Ok(Exit::Done);
            }
            let mut table = Table::new(&[("alert", Align::Left), ("state", Align::Left), ("since", Align::Left)]);
            for alert in &standing {
                let since = alert.since.format("%Y-%m-%d %H:%M").to_string();
                table.row([alert.key.clone(), alert.state.clone(), since]);
            }
            if table.is_empty() {
                println!("Nothing stands.");
            } else {
                print!("{}", table.render(0));
            }
            Ok(Exit::Done)
        }
    }
}
