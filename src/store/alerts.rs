//! Which alerts stand, since when, and when somebody was told.

use chrono::{DateTime, TimeDelta, Utc};

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

    /// Sets an alert's state. True: it is for this caller to tell somebody, and for no other replica: the state is
    /// new, or it stands and nobody was told for `remind_after`. When telling fails, call [`Self::alert_unsent`].
    ///
    /// # Errors
    /// The database's.
    pub async fn alert_due(
        &self,
        key: &str,
        state: &str,
        remind_after: Option<TimeDelta>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let upsert = sql("INSERT INTO alert_state (key, state, since, last_sent_at) VALUES ($1, $2, $3, $3)
             ON CONFLICT (key) DO UPDATE SET state = excluded.state, last_sent_at = excluded.last_sent_at,
                since = CASE WHEN alert_state.state = excluded.state THEN alert_state.since ELSE excluded.since END
             WHERE alert_state.state <> excluded.state OR alert_state.last_sent_at IS NULL
                OR alert_state.last_sent_at <= $4");
        let remind = remind_after.map(|after| now - after);
        Ok(self.execute(upsert.bind(key).bind(state).bind(now).bind(remind)).await? > 0)
    }

    /// Nobody could be told: the next [`Self::alert_due`] is true again.
    ///
    /// # Errors
    /// The database's.
    pub async fn alert_unsent(&self, key: &str) -> Result<(), StoreError> {
        self.execute(sql("UPDATE alert_state SET last_sent_at = NULL WHERE key = $1").bind(key)).await.map(drop)
    }
}
