//! State: runs and their events, jobs and schedules, tokens, sealed secrets, the audit log, erasure, readings. SQL
//! through `sqlx`, on SQLite (one machine, `state.db`) or PostgreSQL (several replicas).
//!
//! The ledger (who is in which audience) is not here, see [`crate::ledger`]; nothing here holds an identifier or a
//! digest of one, except as keyed hash ([`suppression`]) or sealed ([`secrets`]).
//!
//! One file per subject. Statements are written once for both databases ([`sql`], [`database`]); tables and their
//! history are in `migrations/`. Locks are taken in the order job, run, everything else.

pub mod alerts;
pub mod audiences;
pub mod audit;
pub mod claims;
mod copy;
mod database;
pub mod deliveries;
mod error;
pub mod events;
pub mod experiments;
pub mod forget;
pub mod health;
pub mod idempotency;
pub mod jobs;
mod migrate;
pub mod model;
pub mod observations;
pub mod page;
mod prune;
pub mod runs;
pub mod schedules;
pub mod secrets;
mod sql;
pub mod suppression;
#[cfg(test)]
mod tests;
pub mod tokens;

use std::path::Path;
use std::sync::Arc;

use secrecy::ExposeSecret;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::watch;
use tracing::warn;

use crate::config::StateConfig;
use claims::Fence;
use database::{Database, Stored, Tx, sqlite_options};
pub use error::StoreError;
use sql::{Sql, sql};

/// The state of one config. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
    fence: Option<Fence>,
    server_clock: bool,
    /// Rung when this process writes an event of a run.
    bell: Arc<watch::Sender<()>>,
}

impl Store {
    /// Opens the state that the config names: PostgreSQL at `state.url`, else SQLite in `dir`.
    ///
    /// # Errors
    /// [`StoreError`]; `is_transient` when the server is out of reach.
    pub async fn connect(config: &StateConfig, dir: &Path) -> Result<Self, StoreError> {
        let Some(url) = &config.url else { return Self::open(dir).await };
        // The parser's own message may repeat parts of the address, password included.
        let options: PgConnectOptions =
            url.expose_secret().parse().map_err(|_| StoreError::Url("not an address of a database".to_owned()))?;
        let database = Database::postgres(options, config.connections, config.patience());
        let mut tx = database.begin().await?;
        migrate::migrate(&mut tx).await?;
        tx.commit().await?;
        let store = Self { database, fence: None, server_clock: true, bell: Arc::default() };
        if dir.join("state.db").exists() && store.is_empty().await? {
            warn!("A state.db is there and not used; `reveil state copy` takes it to state.url");
        }
        Ok(store)
    }

    /// Opens `state.db` in `dir`, making both when absent (readable by the owner only).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(dir: &Path) -> Result<Self, StoreError> {
        private_dir(dir).map_err(|source| StoreError::Directory { path: dir.display().to_string(), source })?;
        let options = sqlite_options(&dir.join("state.db"));
        // Where a new file is made ready for many readers, SQLite does not wait for others who do the same.
        let started = std::time::Instant::now();
        loop {
            match Self::prepare(options.clone()).await {
                Err(error) if error.is_busy() && started.elapsed() < database::BUSY => {
                    tokio::time::sleep(database::BUSY / 200).await;
                }
                prepared => break prepared?,
            }
        }
        Ok(Self { database: Database::sqlite(options), fence: None, server_clock: false, bell: Arc::default() })
    }

    async fn prepare(options: sqlx::sqlite::SqliteConnectOptions) -> Result<(), StoreError> {
        // Tables are made anew on the way; what refers to them must not go with them.
        let once = Database::sqlite(options.foreign_keys(false));
        let mut tx = once.begin().await?;
        migrate::migrate(&mut tx).await?;
        tx.commit().await?;
        once.close().await;
        Ok(())
    }

    /// The same state, written to in the name of a claimed job: once another worker has taken the job over, what
    /// belongs to a run (the run, its destinations and events, readings, audiences' ids) is refused with `LeaseLost`.
    /// The audit log takes everything: what a slow worker did has happened.
    #[must_use]
    pub fn fenced(&self, fence: Fence) -> Self {
        Self { fence: Some(fence), ..self.clone() }
    }

    /// The same state with leases measured by the caller's clock, as SQLite does anyway. For a clock that jumps;
    /// replicas whose clocks differ would take over jobs that are being worked on.
    #[must_use]
    pub fn on_caller_clock(&self) -> Self {
        Self { server_clock: false, ..self.clone() }
    }

    /// Whether several replicas can share this state.
    pub fn is_shared(&self) -> bool {
        self.database.is_postgres()
    }

    /// Where the state is, without user and password.
    pub fn place(&self) -> &str {
        self.database.place()
    }

    /// Answers when the database does.
    ///
    /// # Errors
    /// The database's.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let answer: Option<(i32,)> = self.fetch_optional(sql("SELECT CAST(1 AS INTEGER)")).await?;
        answer.map(drop).ok_or_else(|| StoreError::Malformed { what: "an answer".to_owned() })
    }

    /// Waits for running statements and closes the connections, of all clones.
    pub async fn close(&self) {
        self.database.close().await;
    }

    async fn fetch_all<T: Stored>(&self, sql: Sql) -> Result<Vec<T>, StoreError> {
        self.database.fetch_all(sql).await
    }

    async fn fetch_optional<T: Stored>(&self, sql: Sql) -> Result<Option<T>, StoreError> {
        self.database.fetch_optional(sql).await
    }

    async fn execute(&self, sql: Sql) -> Result<u64, StoreError> {
        self.database.execute(sql).await
    }

    async fn begin(&self) -> Result<Tx, StoreError> {
        self.database.begin().await
    }

    /// A transaction that may write what belongs to a run.
    async fn begin_fenced(&self) -> Result<Tx, StoreError> {
        let mut tx = self.begin().await?;
        if let Some(fence) = &self.fence {
            fence.hold(&mut tx).await?;
        }
        Ok(tx)
    }

    /// One statement about what belongs to a run.
    async fn execute_fenced(&self, sql: Sql) -> Result<u64, StoreError> {
        if self.fence.is_none() {
            return self.execute(sql).await;
        }
        let mut tx = self.begin_fenced().await?;
        let rows = tx.execute(sql).await?;
        tx.commit().await?;
        Ok(rows)
    }
}

/// A new id that sorts by time and that nobody can guess: 12 digits of milliseconds, 20 of chance.
pub fn new_id(now: chrono::DateTime<chrono::Utc>) -> String {
    let mut random = [0; 10];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random)
        .expect("the operating system gives random bytes");
    format!("{:012x}{}", now.timestamp_millis(), const_hex::encode(random))
}

/// Makes a directory that only its owner can enter.
///
/// # Errors
/// As `create_dir_all`.
pub fn private_dir(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}
