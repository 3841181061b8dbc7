//! What happens during a run, for whoever watches, on whichever replica they are.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use super::sql::sql;
use super::{Store, StoreError};

/// One happening. Counts and names only.
#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct RunEvent {
    /// 1, 2, 3 … within the run, without gaps.
    pub seq: i64,
    #[sqlx(try_from = "super::sql::Cell")]
    pub at: DateTime<Utc>,
    pub kind: String,
    #[sqlx(try_from = "super::sql::Cell")]
    pub body: Value,
}

impl Store {
    /// Adds an event and returns its number.
    ///
    /// # Errors
    /// The database's; `LeaseLost`; `Unknown` run.
    pub async fn add_run_event(
        &self,
        run_id: &str,
        now: DateTime<Utc>,
        kind: &str,
        body: &Value,
    ) -> Result<i64, StoreError> {
        let mut tx = self.begin_fenced().await?;
        // The run's row is locked until the event is there to be seen, so that readers see numbers in their order.
        let next = sql("UPDATE run SET last_event = last_event + 1 WHERE id = $1 RETURNING last_event").bind(run_id);
        let next: Option<(i64,)> = tx.fetch_optional(next).await?;
        let (seq,) = next.ok_or_else(|| StoreError::Unknown { what: "run", key: run_id.to_owned() })?;
        let insert = sql("INSERT INTO run_event (run_id, seq, at, kind, body) VALUES ($1, $2, $3, $4, $5)");
        tx.execute(insert.bind(run_id).bind(seq).bind(now).bind(kind).bind(body)).await?;
        tx.commit().await?;
        self.bell.send_replace(());
        Ok(seq)
    }

    /// Changes when this process writes an event of any run. Those of other processes have to be asked for.
    pub fn run_event_bell(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }

    /// Events after that number (0: from the start), at most 500.
    ///
    /// # Errors
    /// The database's.
    pub async fn run_events(&self, run_id: &str, after_seq: i64) -> Result<Vec<RunEvent>, StoreError> {
        let query =
            sql("SELECT seq, at, kind, body FROM run_event WHERE run_id = $1 AND seq > $2 ORDER BY seq LIMIT 500");
        self.fetch_all(query.bind(run_id).bind(after_seq)).await
    }
}
