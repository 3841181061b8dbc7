//! Which alerts stand, since when, and when somebody was told.

use chrono::{DateTime, Utc};

use super::jobs::NewJob;
use super::sql::sql;
use super::{Store, StoreError};

#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct AlertState {
    /// Rule and what it is about: `run_failed:dormant`.
    pub key: String,
    pub state: String,
    #[sqlx(try_from = "super::sql::Cell")]
    pub since: DateTime<Utc>,
    #[sqlx(try_from = "super::sql::Cell")]
    pub last_sent_at: Option<DateTime<Utc>>,
}

/// What came of [`Store::raise_alert`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raised {
    /// The state is another than before, and this caller is the one who says so.
    pub is_new: bool,
    /// A job was put in the queue that tells of it.
    pub queued: bool,
}

impl Store {
    /// # Errors
    /// The database's.
    pub async fn alert_state(&self, key: &str) -> Result<Option<AlertState>, StoreError> {
        let query = "SELECT key, state, since, last_sent_at FROM alert_state WHERE key = $1";
        self.fetch_optional(sql(query).bind(key)).await
    }

    /// # Errors
    /// The database's.
    pub async fn alert_states(&self) -> Result<Vec<AlertState>, StoreError> {
        self.fetch_all(sql("SELECT key, state, since, last_sent_at FROM alert_state ORDER BY key")).await
    }

    /// Sets an alert's state and queues the job that tells of it, both or neither. A state that stands already is left
    /// as it is; its job is queued again only while nobody was told, and unless it is there.
    ///
    /// # Errors
    /// The database's.
    pub async fn raise_alert(
        &self,
        key: &str,
        state: &str,
        job: Option<&NewJob>,
        now: DateTime<Utc>,
    ) -> Result<Raised, StoreError> {
        let mut tx = self.begin().await?;
        let upsert = sql("INSERT INTO alert_state (key, state, since, last_sent_at) VALUES ($1, $2, $3, NULL)
             ON CONFLICT (key) DO UPDATE SET state = excluded.state, since = excluded.since, last_sent_at = NULL
             WHERE alert_state.state <> excluded.state");
        let is_new = tx.execute(upsert.bind(key).bind(state).bind(now)).await? > 0;
        let mut raised = Raised { is_new, queued: false };
        if !is_new {
            let untold = sql("SELECT key FROM alert_state WHERE key = $1 AND last_sent_at IS NULL");
            let untold: Option<(String,)> = tx.fetch_optional(untold.bind(key)).await?;
            if untold.is_none() {
                return Ok(raised);
            }
        }
        if let Some(job) = job {
            raised.queued = self.enqueue_in(&mut tx, job, now).await?.fresh;
        }
        tx.commit().await?;
        Ok(raised)
    }

    /// Somebody was told of that state.
    ///
    /// # Errors
    /// The database's.
    pub async fn alert_told(&self, key: &str, state: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
        let update = sql("UPDATE alert_state SET last_sent_at = $3 WHERE key = $1 AND state = $2");
        self.execute(update.bind(key).bind(state).bind(now)).await.map(drop)
    }
}
