//! `reveil serve`: schedules, workers, alerts and the HTTP edge in one process.

use std::sync::Arc;

use clap::Args;

use super::exit::Exit;
use super::setup::{Global, load};
use crate::clock::MachineClock;
use crate::config::{Fault, Faults};
use crate::daemon::{ConfigFile, Daemon, service};
use crate::store::Store;

/// See the module.
#[derive(Debug, Args)]
pub struct ServeArgs {}

/// # Errors
/// Faults of the config, TLS files that cannot be used, a state that cannot be opened, an address that cannot be listened on.
pub async fn run(global: &Global, _args: ServeArgs) -> anyhow::Result<Exit> {
    let (config, sources) = load(global)?;
    let base_dir = global.config.parent().unwrap_or(std::path::Path::new("."));
    let faults = config.server.tls.as_ref().map(|tls| tls.faults(base_dir)).unwrap_or_default();
    if !faults.is_empty() {
        let faults = faults.into_iter().map(|(key, message)| Fault { key, line: None, message }).collect();
        return Err(Faults { path: global.config.clone(), faults }.into());
    }
    let store = Store::connect(&config.state, &config.state_dir).await?;
    let file = ConfigFile { path: global.config.clone(), overrides: global.set.clone() };
    let daemon = Daemon::new(file, config, sources, store, Arc::new(MachineClock))?;
    service::run(daemon).await?;
    Ok(Exit::Done)
}
