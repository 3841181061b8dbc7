//! `reveil serve`: what the process is made of, and what its edges (HTTP, signals, command line) may ask of it.
//!
//! - [`service`]: the process: starts the parts, listens to signals, ends in good order; `notify` tells systemd.
//! - [`Daemon`]: the state that scheduler, workers, alerts and the HTTP server share.
//! - [`cadence`]: when a schedule comes due.
//! - [`requests`]: what people and programs ask for; [`scheduler`]: what comes due by itself.
//! - `work`: the workers.
//! - `alerts`: who is told when something is wrong.
//! - [`reload`]: a new configuration, checked whole and taken whole.
//! - [`readiness`]: whether the process can do its work.
//! - `measure`: the gauges, read from the state from time to time. - `memory`: given back to the system.
//!
//! Time comes from the clock that is handed in; nothing here reads the machine's.

pub(crate) mod alerts;
pub mod cadence;
mod measure;
pub(crate) mod memory;
mod notify;
pub mod readiness;
pub mod reload;
pub mod requests;
pub mod scheduler;
pub mod service;
#[cfg(test)]
mod tests;
pub(crate) mod work;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use reveil_sdk::Clock;
use tokio::sync::watch;

use crate::config::{Config, Sources};
use crate::http::certificate::Shown;
use crate::ledger::{self, Ledgers};
use crate::store::Store;
use crate::sync::Engine;
use crate::telemetry::Metrics;
use crate::transport::Shared;

pub(crate) use alerts::{channel_faults, test_channels};
pub use readiness::{Condition, Readiness};
pub use reload::{Change, ConfigFile, ReloadError, Reloaded};

/// A configuration as it was loaded: whole and checked. Runs keep the one they began with.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// Relative paths of the config start here.
    pub base_dir: PathBuf,
    pub environment: HashMap<String, String>,
    pub at: DateTime<Utc>,
}

/// See the module.
#[derive(Debug)]
pub struct Daemon {
    loaded: watch::Sender<Arc<Loaded>>,
    file: ConfigFile,
    store: Store,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    ledgers: Ledgers,
    transport: Shared,
    wake: watch::Sender<()>,
    pulse: readiness::Pulse,
    measured: std::sync::Mutex<measure::Measured>,
    /// Jobs this process works on, by id.
    held: std::sync::Mutex<HashMap<String, work::Held>>,
    /// Names this process in leases.
    owner: String,
    reloading: tokio::sync::Mutex<()>,
    /// The certificate, while TLS is spoken.
    shown: std::sync::OnceLock<Shown>,
}

impl Daemon {
    /// A daemon on a configuration that was loaded and checked.
    ///
    /// # Errors
    /// The store of the ledgers cannot be used.
    pub fn new(
        file: ConfigFile,
        config: Config,
        sources: Sources,
        store: Store,
        clock: Arc<dyn Clock>,
    ) -> ledger::Result<Arc<Self>> {
        let ledgers = Ledgers::open(&config.ledger, &config.state_dir, &sources.environment, &clock)?;
        let metrics = Arc::new(Metrics::default());
        let loaded = Loaded { config, base_dir: file.base_dir(), environment: sources.environment, at: clock.now() };
        Ok(Arc::new(Self {
            ledgers,
            loaded: watch::Sender::new(Arc::new(loaded)),
            file,
            store,
            transport: Shared::metered(Arc::clone(&metrics) as Arc<dyn crate::transport::Meter>),
            metrics,
            wake: watch::Sender::new(()),
            pulse: readiness::Pulse::new(clock.now()),
            measured: std::sync::Mutex::default(),
            held: std::sync::Mutex::default(),
            owner: worker_name(),
            clock,
            reloading: tokio::sync::Mutex::new(()),
            shown: std::sync::OnceLock::new(),
        }))
    }

    /// The configuration of this moment.
    pub fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.loaded.borrow())
    }

    /// Tells when the configuration changes.
    pub fn watch(&self) -> watch::Receiver<Arc<Loaded>> {
        self.loaded.subscribe()
    }

    /// An engine on the configuration of this moment.
    pub fn engine(&self) -> Engine {
        let loaded = self.loaded();
        Engine {
            config: loaded.config.clone(),
            base_dir: loaded.base_dir.clone(),
            environment: loaded.environment.clone(),
            clock: Arc::clone(&self.clock),
            store: self.store.clone(),
            ledgers: self.ledgers.clone(),
            transport: self.transport.clone(),
        }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Who this process is in leases.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The listener's certificate, for reloads to replace.
    pub(crate) fn shows(&self, shown: Shown) {
        // There is one listener.
        let _ = self.shown.set(shown);
    }

    /// Lets scheduler and workers look for work now.
    pub fn wake(&self) {
        self.wake.send_replace(());
    }

    /// Changes whenever somebody [`wake`](Self::wake)s.
    pub fn wakes(&self) -> watch::Receiver<()> {
        self.wake.subscribe()
    }
}

/// Host, process and a random part: two containers can both be process 1 of a host of the same name.
pub(crate) fn worker_name() -> String {
    let mut random = [0; 4];
    // Without randomness host and process still tell most apart.
    let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "host" } else { host.trim() };
    format!("{host}:{}:{}", std::process::id(), const_hex::encode(random))
}
