//! When each schedule is due next. Several schedulers watch the same rows; each due time is fired by one of them.

use chrono::{DateTime, Utc};

use super::jobs::{Enqueued, NewJob};
use super::sql::sql;
use super::{Store, StoreError};

#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Schedule {
    /// `sync:dormant`, `status:dormant` …
    pub key: String,
    pub paused: bool,
    #[sqlx(try_from = "super::sql::Cell")]
    pub next_at: Option<DateTime<Utc>>,
    #[sqlx(try_from = "super::sql::Cell")]
    pub last_fired_at: Option<DateTime<Utc>>,
}

impl Store {
    /// # Errors
    /// The database's.
    pub async fn schedule_state(&self, key: &str) -> Result<Option<Schedule>, StoreError> {
        let query = "SELECT key, paused, next_at, last_fired_at FROM schedule WHERE key = $1";
        self.fetch_optional(sql(query).bind(key)).await
    }

    /// # Errors
    /// The database's.
    pub async fn schedules(&self) -> Result<Vec<Schedule>, StoreError> {
        self.fetch_all(sql("SELECT key, paused, next_at, last_fired_at FROM schedule ORDER BY key")).await
    }

    /// Sets when a schedule is due, if it still stands at `expected` (absent: new, or not planned). False: somebody
    /// else was faster; read it again.
    ///
    /// # Errors
    /// The database's.
    pub async fn plan_schedule(
        &self,
        key: &str,
        expected: Option<DateTime<Utc>>,
        next_at: Option<DateTime<Utc>>,
    ) -> Result<bool, StoreError> {
        let upsert = match expected {
            None => sql("INSERT INTO schedule (key, next_at) VALUES ($1, $2)
                 ON CONFLICT (key) DO UPDATE SET next_at = excluded.next_at WHERE schedule.next_at IS NULL")
            .bind(key)
            .bind(next_at),
            Some(expected) => sql("UPDATE schedule SET next_at = $2 WHERE key = $1 AND next_at = $3")
                .bind(key)
                .bind(next_at)
                .bind(expected),
        };
        Ok(self.execute(upsert).await? > 0)
    }

    /// Fires a due time: moves the schedule on and queues its job, both or neither. `None`: it is paused, or another
    /// scheduler has fired this due time.
    ///
    /// # Errors
    /// The database's.
    pub async fn fire_schedule(
        &self,
        key: &str,
        due_at: DateTime<Utc>,
        next_at: Option<DateTime<Utc>>,
        job: &NewJob,
        now: DateTime<Utc>,
    ) -> Result<Option<Enqueued>, StoreError> {
        let mut tx = self.begin().await?;
        let moved = sql(
            "UPDATE schedule SET next_at = $3, last_fired_at = $2 WHERE key = $1 AND next_at = $2 AND paused = FALSE",
        );
        if tx.execute(moved.bind(key).bind(due_at).bind(next_at)).await? == 0 {
            return Ok(None);
        }
        let enqueued = self.enqueue_in(&mut tx, job, now).await?;
        tx.commit().await?;
        Ok(Some(enqueued))
    }

    /// Whether it was the other way before.
    ///
    /// # Errors
    /// The database's.
    pub async fn set_paused(&self, key: &str, paused: bool) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        tx.execute(sql("INSERT INTO schedule (key) VALUES ($1) ON CONFLICT DO NOTHING").bind(key)).await?;
        let update = sql("UPDATE schedule SET paused = $2 WHERE key = $1 AND paused <> $2");
        let changed = tx.execute(update.bind(key).bind(paused)).await? > 0;
        tx.commit().await?;
        Ok(changed)
    }

    /// For a schedule that the config no longer has.
    ///
    /// # Errors
    /// The database's.
    pub async fn drop_schedule(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.execute(sql("DELETE FROM schedule WHERE key = $1").bind(key)).await? > 0)
    }
}
