//! `reveil audit`: who did what, and whether the log is as it was written.

use clap::{Args, Subcommand};

use super::exit::Exit;
use super::setup::{Global, engine, print_json};
use super::table::{Align, Table};
use crate::store::audit::AuditFilter;

/// See the module.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: Option<AuditCommand>,
    /// Only this kind of entry: override_guard, connect, request_erasure …
    #[arg(long)]
    action: Option<String>,
    /// Only what this user or token did
    #[arg(long)]
    actor: Option<String>,
    /// Entries to show, the newest first
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: u32,
    /// Go on behind an earlier list: its `next_cursor`
    #[arg(long)]
    cursor: Option<String>,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

/// What else there is to the log.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check the chain of hashes from the first entry to the last
    Verify {
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
}

/// # Errors
/// The state's.
pub async fn run(global: &Global, args: AuditArgs) -> anyhow::Result<Exit> {
    match args.command {
        Some(AuditCommand::Verify { json }) => verify(global, json).await,
        None => list(global, args).await,
    }
}

async fn list(global: &Global, args: AuditArgs) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    let filter = AuditFilter { action: args.action, actor: args.actor };
    let page = engine.store.audit_page(&filter, args.cursor.as_deref(), args.limit).await?;
    if args.json {
        print_json(&serde_json::json!({ "items": page.items, "next_cursor": page.next }))?;
        return Ok(Exit::Done);
    }
    let columns = ["#", "at", "who", "did", "to", "with"].map(|name| (name, Align::Left));
    let mut table = Table::new(&columns);
    for entry in page.items {
        table.row([
            entry.id.to_string(),
            entry.at.format("%Y-%m-%d %H:%M:%S").to_string(),
            entry.actor,
            entry.action,
            entry.subject,
            entry.detail.to_string(),
        ]);
    }
    if table.is_empty() {
        println!("Nothing is written down.");
    } else {
        print!("{}", table.render(0));
    }
    if let Some(cursor) = page.next {
        println!("More: --cursor {cursor}");
    }
    Ok(Exit::Done)
}

async fn verify(global: &Global, json: bool) -> anyhow::Result<Exit> {
    let check = engine(global).await?.store.audit_verify().await?;
    if json {
        print_json(&serde_json::json!({ "ok": check.first_bad.is_none(), "check": check }))?;
    } else {
        let (id, hash) = &check.head;
        match &check.first_bad {
            None => println!("{} entries, as they were written. The newest is {id}: {hash}", check.entries),
            Some((bad, fault)) => {
                let what = match fault {
                    crate::store::audit::AuditFault::Changed => "was changed",
                    crate::store::audit::AuditFault::Missing => "is missing",
                    crate::store::audit::AuditFault::Unlinked => "does not follow the one before it",
                };
                println!("Entry {bad} {what}; what stands from there on cannot be trusted.");
            }
        }
    }
    Ok(if check.first_bad.is_none() { Exit::Done } else { Exit::Failed })
}
