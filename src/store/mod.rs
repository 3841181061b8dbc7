//! State: runs, audiences' platform ids, match observations, audit. SQL through `sqlx`, SQLite by default.
//!
//! The ledger (who is in which audience) is not here: it is files, see [`crate::ledger`].

pub mod deliveries;
pub mod model;

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reveil_sdk::{AudienceRef, MatchObservation};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, SqlitePool as Pool};

use model::{DestinationRun, Run, RunState, StoredObservation};

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the state directory {path} cannot be made: {source}")]
    Directory { path: String, source: std::io::Error },
    #[error(
        "the state database {path}: {source}\nhint: another program may hold it, the disk may be full, or the file is not Réveil's"
    )]
    Database { path: String, source: sqlx::Error },
    #[error("the state database holds something this version cannot read in {table}; was it written by a newer one?")]
    Malformed { table: &'static str },
}

/// The state database of one config.
#[derive(Debug, Clone)]
pub struct Store {
    pool: Pool,
    path: String,
}

impl Store {
    /// Opens `state.db` in `dir`, making both when absent (readable by the owner only).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(dir: &Path) -> Result<Self, StoreError> {
        private_dir(dir).map_err(|source| StoreError::Directory { path: dir.display().to_string(), source })?;
        let path = dir.join("state.db");
        let shown = path.display().to_string();
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10));
        let fail = |source| StoreError::Database { path: shown.clone(), source };
        let pool: SqlitePool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await.map_err(fail)?;
        sqlx::raw_sql(include_str!("schema.sql")).execute(&pool).await.map_err(fail)?;
        Ok(Self { pool, path: shown })
    }

    fn fail(&self, source: sqlx::Error) -> StoreError {
        StoreError::Database { path: self.path.clone(), source }
    }

    /// The platform's id of an audience, if it was made before.
    pub async fn audience(&self, audience: &str, destination: &str) -> Result<Option<AudienceRef>, StoreError> {
        let row = sqlx::query("SELECT platform_id FROM audience WHERE audience = ? AND destination = ?")
            .bind(audience)
            .bind(destination)
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| self.fail(error))?;
        Ok(row.map(|row| AudienceRef { id: row.get(0), created: false }))
    }

    pub async fn remember_audience(
        &self,
        audience: &str,
        destination: &str,
        reference: &AudienceRef,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO audience VALUES (?, ?, ?, ?)
             ON CONFLICT (audience, destination) DO UPDATE SET platform_id = excluded.platform_id",
        )
        .bind(audience)
        .bind(destination)
        .bind(&reference.id)
        .bind(now.to_rfc3339())
        .execute(&self.pool)
        .await
        .map_err(|error| self.fail(error))?;
        Ok(())
    }

    pub async fn forget_audience(&self, audience: &str, destination: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM audience WHERE audience = ? AND destination = ?")
            .bind(audience)
            .bind(destination)
            .execute(&self.pool)
            .await
            .map_err(|error| self.fail(error))?;
        Ok(())
    }

    /// Writes a run, new or changed.
    pub async fn save_run(&self, run: &Run) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO run (id, audience, as_of, started_at, finished_at, state, segment, error) VALUES (?,?,?,?,?,?,?,?)
             ON CONFLICT (id) DO UPDATE SET finished_at = excluded.finished_at, state = excluded.state,
             segment = excluded.segment, error = excluded.error",
        )
        .bind(&run.id)
        .bind(&run.audience)
        .bind(run.as_of.to_rfc3339())
        .bind(run.started_at.to_rfc3339())
        .bind(run.finished_at.map(|at| at.to_rfc3339()))
        .bind(run.state.name())
        .bind(run.segment.as_ref().map(ToString::to_string))
        .bind(&run.error)
        .execute(&self.pool)
        .await
        .map_err(|error| self.fail(error))?;
        Ok(())
    }

    pub async fn save_destination_run(&self, run: &DestinationRun) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO run_destination VALUES (?,?,?,?,?,?,?)
             ON CONFLICT (run_id, destination) DO UPDATE SET state = excluded.state, counts = excluded.counts,
             upload = excluded.upload, error = excluded.error",
        )
        .bind(&run.run_id)
        .bind(&run.destination)
        .bind(&run.connector)
        .bind(run.state.name())
        .bind(run.counts.to_string())
        .bind(run.upload.to_string())
        .bind(&run.error)
        .execute(&self.pool)
        .await
        .map_err(|error| self.fail(error))?;
        Ok(())
    }

    /// The latest runs, newest first.
    pub async fn runs(&self, audience: Option<&str>, most: u32) -> Result<Vec<Run>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, audience, as_of, started_at, finished_at, state, segment, error FROM run
             WHERE ?1 IS NULL OR audience = ?1 ORDER BY started_at DESC, id DESC LIMIT ?2",
        )
        .bind(audience)
        .bind(most)
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.fail(error))?;
        rows.iter()
            .map(|row| {
                Some(Run {
                    id: row.get(0),
                    audience: row.get(1),
                    as_of: instant(row.get(2))?,
                    started_at: instant(row.get(3))?,
                    finished_at: row.get::<Option<&str>, _>(4).and_then(instant),
                    state: RunState::from_name(row.get(5))?,
                    segment: row.get::<Option<&str>, _>(6).and_then(|text| serde_json::from_str(text).ok()),
                    error: row.get(7),
                })
            })
            .collect::<Option<_>>()
            .ok_or(StoreError::Malformed { table: "run" })
    }

    /// What a run did at each destination.
    pub async fn destination_runs(&self, run_id: &str) -> Result<Vec<DestinationRun>, StoreError> {
        let rows = sqlx::query(
            "SELECT run_id, destination, connector, state, counts, upload, error FROM run_destination
             WHERE run_id = ? ORDER BY destination",
        )
        .bind(run_id)
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.fail(error))?;
        rows.iter()
            .map(|row| {
                Some(DestinationRun {
                    run_id: row.get(0),
                    destination: row.get(1),
                    connector: row.get(2),
                    state: RunState::from_name(row.get(3))?,
                    counts: serde_json::from_str(row.get(4)).ok()?,
                    upload: serde_json::from_str(row.get(5)).ok()?,
                    error: row.get(6),
                })
            })
            .collect::<Option<_>>()
            .ok_or(StoreError::Malformed { table: "run_destination" })
    }

    /// Adds a reading. Readings are never changed.
    pub async fn add_observation(&self, observation: &StoredObservation) -> Result<(), StoreError> {
        let reading = &observation.reading;
        sqlx::query(
            "INSERT INTO observation (audience, destination, connector, run_id, as_of, sent, kind, low, high, matched,
             definition, rules_version, primary_reading) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
        )
        .bind(&observation.audience)
        .bind(&observation.destination)
        .bind(&observation.connector)
        .bind(&observation.run_id)
        .bind(reading.as_of.to_rfc3339())
        .bind(i64::try_from(reading.sent).unwrap_or(i64::MAX))
        .bind(model::kind_name(reading.kind))
        .bind(reading.low)
        .bind(reading.high)
        .bind(reading.matched.map(|matched| i64::try_from(matched).unwrap_or(i64::MAX)))
        .bind(&reading.definition)
        .bind(observation.rules_version)
        .bind(observation.primary)
        .execute(&self.pool)
        .await
        .map_err(|error| self.fail(error))?;
        Ok(())
    }

    /// Readings, oldest first.
    pub async fn observations(&self, audience: Option<&str>) -> Result<Vec<StoredObservation>, StoreError> {
        let rows = sqlx::query(
            "SELECT audience, destination, connector, run_id, as_of, sent, kind, low, high, matched, definition,
             rules_version, primary_reading FROM observation WHERE ?1 IS NULL OR audience = ?1 ORDER BY as_of, id",
        )
        .bind(audience)
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.fail(error))?;
        rows.iter()
            .map(|row| {
                Some(StoredObservation {
                    audience: row.get(0),
                    destination: row.get(1),
                    connector: row.get(2),
                    run_id: row.get(3),
                    rules_version: row.get(11),
                    primary: row.get(12),
                    reading: MatchObservation {
                        as_of: instant(row.get(4))?,
                        sent: u64::try_from(row.get::<i64, _>(5)).ok()?,
                        kind: model::kind_from_name(row.get(6))?,
                        low: row.get(7),
                        high: row.get(8),
                        matched: row.get::<Option<i64>, _>(9).and_then(|matched| u64::try_from(matched).ok()),
                        definition: row.get(10),
                    },
                })
            })
            .collect::<Option<_>>()
            .ok_or(StoreError::Malformed { table: "observation" })
    }

    /// Writes down who overrode or changed what. Counts and names only.
    pub async fn audit(&self, now: DateTime<Utc>, action: &str, detail: &serde_json::Value) -> Result<(), StoreError> {
        let actor = std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned());
        sqlx::query("INSERT INTO audit (at, actor, action, detail) VALUES (?,?,?,?)")
            .bind(now.to_rfc3339())
            .bind(actor)
            .bind(action)
            .bind(detail.to_string())
            .execute(&self.pool)
            .await
            .map_err(|error| self.fail(error))?;
        Ok(())
    }
}

fn instant(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.with_timezone(&Utc))
}

/// Makes a directory that only its owner can enter.
///
/// # Errors
/// As `create_dir_all`.
pub fn private_dir(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}
