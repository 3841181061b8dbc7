//! What most commands start with: global options, the log, the engine of a config.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use reveil_sdk::Clock;

use super::exit::{CliError, Exit};
use crate::clock::MachineClock;
pub use crate::clock::instant;
use crate::config::{self, Config, Sources};
use crate::ledger::Ledgers;
use crate::store::Store;
use crate::sync::Engine;
use crate::transport::Shared;

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The configuration
    #[arg(long, short, global = true, env = "REVEIL_CONFIG", default_value = "reveil.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// Set one key over file and environment: guards.max_removal_ratio=0.2
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// What goes to the log on stderr: error, warn (default; `serve`: info), info, debug, or a filter like reveil=debug
    #[arg(long, global = true, env = "REVEIL_LOG", value_name = "LEVEL")]
    pub log: Option<String>,
    /// Log as JSON lines
    #[arg(long, global = true, env = "REVEIL_LOG_JSON")]
    pub log_json: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .ok_or_else(|| "write KEY=VALUE".to_owned())
}

/// Starts the log. Called once.
pub fn logging(global: &Global, serves: bool) {
    let usual = if serves { "info" } else { "warn" };
    crate::telemetry::log::start(global.log.as_deref().unwrap_or(usual), global.log_json);
}

/// The checked configuration and where it came from.
///
/// # Errors
/// All faults at once.
pub fn load(global: &Global) -> anyhow::Result<(Config, Sources)> {
    let sources = Sources::from_environment(&global.config, global.set.clone())?;
    let config = config::load(&global.config, &sources)?;
    Ok((config, sources))
}

/// The engine of the configuration, on the machine's clock.
///
/// # Errors
/// Faults of the config, or the state cannot be opened.
pub async fn engine(global: &Global) -> anyhow::Result<Engine> {
    let (config, sources) = load(global)?;
    let store = Store::connect(&config.state, &config.state_dir).await?;
    let base_dir = global.config.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    let clock: Arc<dyn Clock> = Arc::new(MachineClock);
    let ledgers = Ledgers::open(&config.ledger, &config.state_dir, &sources.environment, &clock)?;
    Ok(Engine {
        config,
        base_dir,
        environment: sources.environment,
        clock,
        store,
        transport: Shared::default(),
        ledgers,
    })
}

/// The only audience of the config, or the one asked for.
///
/// # Errors
/// Which audiences there are, when that leaves a choice.
pub fn audience_key(config: &Config, asked: Option<&str>) -> anyhow::Result<String> {
    if let Some(asked) = asked {
        config.audience(asked)?;
        return Ok(asked.to_owned());
    }
    let mut keys = config.audience.keys();
    match (keys.next(), keys.next()) {
        (Some(only), None) => Ok(only.clone()),
        _ => {
            let known: Vec<&str> = config.audience.keys().map(String::as_str).collect();
            Err(CliError::new(Exit::Usage, format!("which audience? the config has: {}", known.join(", "))).into())
        }
    }
}

/// Writes a value as one JSON document.
///
/// # Errors
/// When stdout is closed.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    use std::io::Write as _;
    let text = serde_json::to_string_pretty(value).context("the result does not serialise")?;
    writeln!(std::io::stdout(), "{text}").context("stdout is closed")
}
