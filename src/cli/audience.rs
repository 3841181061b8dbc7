//! `reveil audience`: what only a person should decide: deleting an audience on a platform, forgetting what was sent.

use clap::Subcommand;

use super::exit::{CliError, Exit};
use super::setup::{Global, engine};
use crate::daemon::requests;
use crate::daemon::work::hold::holding;
use crate::store::audit::local_actor;
use crate::sync::RunControl as _;
use crate::transport::retry::RetryPolicy;

/// See the module.
#[derive(Debug, Subcommand)]
pub enum AudienceCommand {
    /// Delete the audience on the platform and forget its ledger. Ads that use it stop.
    Delete {
        audience: String,
        destination: String,
        /// Really do it
        #[arg(long)]
        yes: bool,
    },
    /// Send it nothing on its own until it is resumed; runs that are asked for still go
    Pause { audience: String },
    /// Let its schedules go on; what came due during the pause is not made up for
    Resume { audience: String },
    /// Forget what was sent to a destination, because the audience is gone there; the next sync starts anew
    Reset {
        audience: String,
        destination: String,
        /// Really do it
        #[arg(long)]
        yes: bool,
    },
}

async fn set_paused(global: &Global, audience: &str, paused: bool) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    let now = engine.clock.now();
    let changed = requests::set_paused(&engine.store, &engine.config, audience, paused, &local_actor(), now).await?;
    let is = if paused { "paused" } else { "on its schedule" };
    println!("{audience} is {}{is}.", if changed { "" } else { "already " });
    Ok(Exit::Done)
}

/// # Errors
/// Not confirmed, or the platform refuses.
pub async fn run(global: &Global, command: AudienceCommand) -> anyhow::Result<Exit> {
    let (audience, destination, yes, delete) = match command {
        AudienceCommand::Pause { audience } => return set_paused(global, &audience, true).await,
        AudienceCommand::Resume { audience } => return set_paused(global, &audience, false).await,
        AudienceCommand::Delete { audience, destination, yes } => (audience, destination, yes, true),
        AudienceCommand::Reset { audience, destination, yes } => (audience, destination, yes, false),
    };
    let engine = engine(global).await?;
    engine.config.destination(&destination)?;
    engine.config.audience(&audience)?;
    if !yes {
        let what = if delete {
            "deletes the audience on the platform and stops ads that use it"
        } else {
            "forgets who was sent"
        };
        return Err(CliError::new(Exit::Guarded, format!("this {what}; nothing was done"))
            .hint("add --yes to do it")
            .into());
    }
    let command = if delete { "audience delete" } else { "audience reset" };
    holding(&engine, &audience, command, async |engine, control| {
        let known = engine.store.audience(&audience, &destination).await?;
        let ledger = tokio::task::block_in_place(|| engine.ledgers.hold(&audience, &destination))?;
        if let (true, Some(known)) = (delete, &known) {
            let opened = engine.open_destination(&destination, RetryPolicy::default()).await?;
            opened.connector.delete(&opened.context(), known).await?;
        }
        control.check()?;
        tokio::task::block_in_place(|| ledger.reset())?;
        engine.store.forget_audience(&audience, &destination).await?;
        let detail = serde_json::json!({ "destination": destination });
        let action = if delete { "delete_audience" } else { "reset_audience" };
        engine.store.audit(engine.clock.now(), &local_actor(), action, &audience, &detail).await?;
        Ok(())
    })
    .await?;
    println!("{} {audience} at {destination}.", if delete { "Deleted" } else { "Forgot" });
    Ok(Exit::Done)
}
