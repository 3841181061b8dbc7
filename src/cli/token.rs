//! `reveil token`: who may call the API. A token is shown once; the state keeps only its digest.

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::exit::{CliError, Exit};
use super::setup::{Global, engine, instant, print_json};
use super::table::{Align, Table};
use crate::http::auth::role::Role;
use crate::http::auth::token::NewToken;
use crate::store::audit::local_actor;
use crate::store::tokens::ApiToken;
use crate::sync::Engine;

/// See the module.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and show it, once
    Create(CreateArgs),
    /// Print a token drawn at random and keep nothing: for server.first_token, which makes it the administrator's
    ///
    /// Nobody can call with it before a daemon finds it in server.first_token while there is no valid token. Store what
    /// is printed as that secret: an environment variable, a file, a Secret of the cluster.
    Draw,
    /// All tokens, without their secrets
    List {
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
    /// Make a token useless, at once and everywhere
    Revoke {
        /// Its id, or its name when only one valid token has it
        token: String,
    },
}

/// What a new token may do.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Who or what uses it; stands in the audit log
    #[arg(value_parser = name)]
    name: String,
    /// viewer reads; operator also plans, syncs and cancels; admin everything
    #[arg(long, value_enum)]
    role: Role,
    /// Only for this audience (repeatable); all when left out
    #[arg(long, value_name = "KEY")]
    audience: Vec<String>,
    /// Valid for so many days
    #[arg(long, value_name = "DAYS", default_value_t = 365, conflicts_with = "expires", value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Valid until this date or instant
    #[arg(long, value_name = "DATE", value_parser = instant)]
    expires: Option<DateTime<Utc>>,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

/// Names are shown in logs and headers of pages.
fn name(text: &str) -> Result<String, String> {
    let fine = |character: char| character.is_ascii_alphanumeric() || " ._@-".contains(character);
    if text.is_empty() || text.len() > 60 || !text.chars().all(fine) || text.trim() != text {
        return Err("up to 60 letters, digits, blanks and . _ @ -".to_owned());
    }
    Ok(text.to_owned())
}

/// # Errors
/// Config or state; a token that is not there.
pub async fn run(global: &Global, command: TokenCommand) -> anyhow::Result<Exit> {
    match command {
        TokenCommand::Create(args) => create(&engine(global).await?, args).await?,
        // Needs neither config nor state: often there is none yet.
        TokenCommand::Draw => println!("{}", drawn()?.reveal()),
        TokenCommand::List { json } => list(&engine(global).await?, json).await?,
        TokenCommand::Revoke { token } => revoke(&engine(global).await?, &token).await?,
    }
    Ok(Exit::Done)
}

fn drawn() -> anyhow::Result<NewToken> {
    NewToken::draw().map_err(|_| anyhow::anyhow!("this machine gives no random numbers"))
}

async fn create(engine: &Engine, args: CreateArgs) -> anyhow::Result<()> {
    for key in &args.audience {
        engine.config.audience(key)?;
    }
    let now = engine.clock.now();
    let expires_at = args.expires.unwrap_or(now + TimeDelta::days(args.days.into()));
    if expires_at <= now {
        return Err(CliError::new(Exit::Usage, "--expires is in the past").into());
    }
    let drawn = drawn()?;
    let token = ApiToken {
        id: drawn.id.clone(),
        name: args.name,
        role: args.role.name().to_owned(),
        audiences: Some(args.audience).filter(|audiences| !audiences.is_empty()),
        hash: drawn.hash(),
        created_at: now,
        expires_at: Some(expires_at),
        last_used_at: None,
        revoked_at: None,
    };
    engine.store.add_token(&token).await?;
    let detail = serde_json::json!({ "token": token.id, "role": token.role, "audiences": token.audiences,
        "expires_at": expires_at });
    engine.store.audit(now, &local_actor(), "create_token", &token.name, &detail).await?;
    if args.json {
        return print_json(&serde_json::json!({ "id": token.id, "token": drawn.reveal(), "name": token.name,
            "role": token.role, "audiences": token.audiences, "expires_at": expires_at }));
    }
    println!("{}", drawn.reveal());
    eprintln!(
        "Token {} for {} ({}), valid until {}. It is not shown again.",
        token.id,
        token.name,
        token.role,
        expires_at.format("%Y-%m-%d")
    );
    Ok(())
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    id: &'a str,
    name: &'a str,
    role: &'a str,
    audiences: Option<&'a [String]>,
    state: &'static str,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    /// Whole days left; nothing for one that has ended or never does.
    expires_in_days: Option<i64>,
    last_used_at: Option<DateTime<Utc>>,
}

/// From then on the list says how long a token has left.
const SOON_DAYS: i64 = 30;

fn state(token: &ApiToken, now: DateTime<Utc>) -> &'static str {
    match token.revoked_at {
        Some(_) => "revoked",
        None if token.is_valid(now) => "valid",
        None => "expired",
    }
}

async fn list(engine: &Engine, json: bool) -> anyhow::Result<()> {
    let tokens = engine.store.tokens().await?;
    let now = engine.clock.now();
    let lines: Vec<Line<'_>> = tokens
        .iter()
        .map(|token| Line {
            id: &token.id,
            name: &token.name,
            role: &token.role,
            audiences: token.audiences.as_deref(),
            state: state(token, now),
            created_at: token.created_at,
            expires_at: token.expires_at,
            expires_in_days: token.expires_at.filter(|_| token.is_valid(now)).map(|end| (end - now).num_days()),
            last_used_at: token.last_used_at,
        })
        .collect();
    if json {
        return print_json(&serde_json::json!({ "tokens": lines }));
    }
    let mut table = Table::new(
        &["id", "name", "role", "audiences", "state", "expires", "last used"].map(|title| (title, Align::Left)),
    );
    let day = |at: Option<DateTime<Utc>>| at.map_or_else(|| "never".to_owned(), |at| at.format("%Y-%m-%d").to_string());
    for line in &lines {
        table.row([
            line.id.to_owned(),
            line.name.to_owned(),
            line.role.to_owned(),
            line.audiences.map_or_else(|| "all".to_owned(), |audiences| audiences.join(", ")),
            match line.expires_in_days.filter(|days| *days < SOON_DAYS) {
                Some(0) => "ends today".to_owned(),
                Some(1) => "1 day left".to_owned(),
                Some(days) => format!("{days} days left"),
                None => line.state.to_owned(),
            },
            day(line.expires_at),
            day(line.last_used_at),
        ]);
    }
    if table.is_empty() {
        println!("No token yet; `reveil token create` makes one.");
    } else {
        print!("{}", table.render(0));
    }
    Ok(())
}

async fn revoke(engine: &Engine, asked: &str) -> anyhow::Result<()> {
    let tokens = engine.store.tokens().await?;
    let now = engine.clock.now();
    let named: Vec<&ApiToken> = tokens.iter().filter(|token| token.name == asked && token.is_valid(now)).collect();
    let found = tokens.iter().find(|token| token.id == asked).or(match named.as_slice() {
        [one] => Some(*one),
        _ => None,
    });
    let Some(token) = found else {
        let message = match named.len() {
            0 => format!("there is no valid token `{asked}`"),
            several => format!("{several} valid tokens are named `{asked}`"),
        };
        return Err(CliError::new(Exit::Usage, message).hint("give the id; `reveil token list` shows it").into());
    };
    if engine.store.revoke_token(&token.id, now).await? {
        let detail = serde_json::json!({ "token": token.id });
        engine.store.audit(now, &local_actor(), "revoke_token", &token.name, &detail).await?;
        println!("Token {} ({}) is useless now.", token.id, token.name);
    } else {
        println!("Token {} ({}) was revoked before.", token.id, token.name);
    }
    Ok(())
}
