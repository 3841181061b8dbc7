//! Runs and their parts at each destination.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::database::Tx;
use super::model::{DestinationRun, Run, RunKind, RunState};
use super::page::{Cursor, Page, page};
use super::sql::{Cell, sql, stamp};
use super::{Store, StoreError};

macro_rules! columns {
    () => {
        "id, kind, audience, as_of, requested_at, requested_by, options, started_at, finished_at, state, attempt,
         cancel_requested, segment, outcome, error"
    };
}

/// Which runs to list; empty for all.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    pub audience: Option<String>,
    pub state: Option<RunState>,
    pub kind: Option<RunKind>,
}

/// What became of a wish to cancel.
#[derive(Debug, Clone, PartialEq)]
pub enum Cancel {
    /// It had not begun and never will.
    Done(Run),
    /// Its worker stops before the next batch.
    Requested(Run),
    /// Too late.
    AlreadyOver(Run),
}

impl Store {
    /// Writes a run, new or changed. What it was asked to do, by whom, and a wish to cancel it stay as they were.
    ///
    /// # Errors
    /// The database's; `LeaseLost`.
    pub async fn save_run(&self, run: &Run) -> Result<(), StoreError> {
        let upsert = sql(
            "INSERT INTO run (id, kind, audience, as_of, requested_at, requested_by, options, started_at, finished_at,
                              state, attempt, segment, outcome, error)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
             ON CONFLICT (id) DO UPDATE SET as_of = excluded.as_of, started_at = excluded.started_at,
                finished_at = excluded.finished_at, state = excluded.state, segment = excluded.segment,
                outcome = excluded.outcome, error = excluded.error",
        );
        let upsert = upsert.bind(&run.id).bind(run.kind.name()).bind(&run.audience).bind(run.as_of);
        let upsert = upsert.bind(run.requested_at).bind(&run.requested_by).bind(&run.options).bind(run.started_at);
        let upsert = upsert.bind(run.finished_at).bind(run.state.name()).bind(run.attempt);
        let upsert = upsert.bind(run.segment.as_ref()).bind(run.outcome.as_ref()).bind(&run.error);
        self.execute_fenced(upsert).await.map(drop)
    }

    /// # Errors
    /// The database's; `LeaseLost`.
    pub async fn save_destination_run(&self, run: &DestinationRun) -> Result<(), StoreError> {
        let upsert = sql("INSERT INTO run_destination (run_id, destination, connector, state, counts, upload, error)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (run_id, destination) DO UPDATE SET state = excluded.state, counts = excluded.counts,
                upload = excluded.upload, error = excluded.error");
        let upsert = upsert.bind(&run.run_id).bind(&run.destination).bind(&run.connector).bind(run.state.name());
        self.execute_fenced(upsert.bind(&run.counts).bind(&run.upload).bind(&run.error)).await.map(drop)
    }

    /// # Errors
    /// The database's.
    pub async fn run(&self, id: &str) -> Result<Option<Run>, StoreError> {
        self.fetch_optional(sql(concat!("SELECT ", columns!(), " FROM run WHERE id = $1")).bind(id)).await
    }

    /// The latest runs, newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn runs(&self, audience: Option<&str>, most: u32) -> Result<Vec<Run>, StoreError> {
        let filter = RunFilter { audience: audience.map(str::to_owned), ..RunFilter::default() };
        Ok(self.runs_page(&filter, None, most).await?.items)
    }

    /// Runs, newest first. New runs do not move the pages that follow a cursor.
    ///
    /// # Errors
    /// The database's; `Cursor`.
    pub async fn runs_page(
        &self,
        filter: &RunFilter,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Run>, StoreError> {
        let after = cursor.map(Cursor::read).transpose()?;
        let query = sql(concat!(
            "SELECT ",
            columns!(),
            " FROM run WHERE ($1 IS NULL OR audience = $1) AND ($2 IS NULL OR state = $2) AND ($3 IS NULL OR kind = $3)
             AND ($4 IS NULL OR requested_at < $4 OR (requested_at = $4 AND id < $5))
             ORDER BY requested_at DESC, id DESC LIMIT $6"
        ));
        let query = query.bind(&filter.audience).bind(filter.state.map(RunState::name));
        let query = query.bind(filter.kind.map(RunKind::name));
        let query = query.bind(after.as_ref().map(|after| after.at.as_str()));
        let query = query.bind(after.as_ref().map(|after| after.id.as_str())).bind(i64::from(limit) + 1);
        let rows: Vec<Run> = self.fetch_all(query).await?;
        Ok(page(rows, limit, |run| Cursor { at: stamp(run.requested_at), id: run.id.clone() }))
    }

    /// What a run did at each destination.
    ///
    /// # Errors
    /// The database's.
    pub async fn destination_runs(&self, run_id: &str) -> Result<Vec<DestinationRun>, StoreError> {
        let query = sql("SELECT run_id, destination, connector, state, counts, upload, error FROM run_destination
             WHERE run_id = $1 ORDER BY destination");
        self.fetch_all(query.bind(run_id)).await
    }

    /// When each destination of the audience was last brought up to date, verdicts aside. A rehearsal brings nothing.
    ///
    /// # Errors
    /// The database's.
    pub async fn delivered_at(&self, audience: &str) -> Result<HashMap<String, DateTime<Utc>>, StoreError> {
        let query = sql("SELECT part.destination, MAX(run.finished_at) FROM run
             JOIN run_destination part ON part.run_id = run.id
             WHERE run.audience = $1 AND part.state IN ('done', 'pending') AND run.finished_at IS NOT NULL
             GROUP BY part.destination");
        let rows: Vec<(String, Cell)> = self.fetch_all(query.bind(audience)).await?;
        let malformed = |_| StoreError::Malformed { what: "finished_at".to_owned() };
        rows.into_iter().map(|(name, at)| Ok((name, at.read().map_err(malformed)?))).collect()
    }

    /// The platform has decided on all that the destination was ever sent: runs that only waited for that are done; one that
    /// has more to send goes on by itself.
    ///
    /// # Errors
    /// The database's; `LeaseLost`.
    pub async fn settle_verdicts(&self, audience: &str, destination: &str) -> Result<(), StoreError> {
        let parts = sql("UPDATE run_destination SET state = 'done' WHERE destination = $2 AND state = 'pending'
             AND run_id IN (SELECT id FROM run WHERE audience = $1 AND state NOT IN ('queued', 'running'))");
        self.execute_fenced(parts.bind(audience).bind(destination)).await?;
        let runs = sql("UPDATE run SET state = 'done' WHERE audience = $1 AND state = 'pending' AND NOT EXISTS
             (SELECT 1 FROM run_destination part WHERE part.run_id = run.id AND part.state <> 'done')");
        self.execute_fenced(runs.bind(audience)).await?;
        let failed = sql("UPDATE run SET state = 'failed' WHERE audience = $1 AND state = 'pending' AND NOT EXISTS
             (SELECT 1 FROM run_destination part WHERE part.run_id = run.id AND part.state <> 'failed')");
        self.execute_fenced(failed.bind(audience)).await?;
        let partial = sql("UPDATE run SET state = 'partial' WHERE audience = $1 AND state = 'pending' AND NOT EXISTS
             (SELECT 1 FROM run_destination part WHERE part.run_id = run.id AND part.state = 'pending')");
        self.execute_fenced(partial.bind(audience)).await.map(drop)
    }

    /// Asks for a run to stop: at once when nobody has taken it up, else its worker is told.
    ///
    /// # Errors
    /// The database's; `Unknown`.
    pub async fn request_cancel(&self, run_id: &str, now: DateTime<Utc>) -> Result<Cancel, StoreError> {
        let mut tx = self.begin().await?;
        let waiting = "UPDATE job SET state = 'cancelled', finished_at = $2 WHERE run_id = $1 AND state = 'queued'";
        let waited = tx.execute(sql(waiting).bind(run_id).bind(now)).await? > 0;
        let wish = if waited {
            sql("UPDATE run SET state = 'cancelled', finished_at = $2, cancel_requested = TRUE WHERE id = $1")
                .bind(run_id)
                .bind(now)
        } else {
            sql("UPDATE run SET cancel_requested = TRUE WHERE id = $1 AND state IN ('queued', 'running')").bind(run_id)
        };
        let told = tx.execute(wish).await? > 0;
        let run = find(&mut tx, run_id).await?;
        tx.commit().await?;
        let run = run.ok_or_else(|| StoreError::Unknown { what: "run", key: run_id.to_owned() })?;
        Ok(match (waited, told) {
            (true, _) => Cancel::Done(run),
            (false, true) => Cancel::Requested(run),
            (false, false) => Cancel::AlreadyOver(run),
        })
    }

    /// Whether somebody wants the run to stop.
    ///
    /// # Errors
    /// The database's.
    pub async fn cancel_requested(&self, run_id: &str) -> Result<bool, StoreError> {
        let query = sql("SELECT cancel_requested FROM run WHERE id = $1").bind(run_id);
        let row: Option<(bool,)> = self.fetch_optional(query).await?;
        Ok(row.is_some_and(|(requested,)| requested))
    }
}

async fn find(tx: &mut Tx, id: &str) -> Result<Option<Run>, StoreError> {
    tx.fetch_optional(sql(concat!("SELECT ", columns!(), " FROM run WHERE id = $1")).bind(id)).await
}
