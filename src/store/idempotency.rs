//! A request sent twice under one key is carried out once and answered twice.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::sql::sql;
use super::{Store, StoreError};

/// What is known about a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// Nothing: carry it out, then call [`Store::idempotent_finish`] or, when it came to nothing, `idempotent_drop`.
    New,
    /// Another request of the key is being carried out.
    InProgress,
    /// It was carried out; this was the answer.
    Answered { status: u16, body: Value },
    /// The key was used for something else.
    Mismatch,
}

/// Whoever has not answered by then is dead.
const IN_PROGRESS: TimeDelta = TimeDelta::minutes(2);
/// Clients retry within minutes; Airflow within hours.
const REMEMBERED: TimeDelta = TimeDelta::days(2);

impl Store {
    /// Asks whether `caller` has sent this before. `request_hash` tells requests apart; it must not be made of
    /// anything personal.
    ///
    /// # Errors
    /// The database's.
    pub async fn idempotent_begin(
        &self,
        caller: &str,
        key: &str,
        request_hash: &str,
        now: DateTime<Utc>,
    ) -> Result<Begun, StoreError> {
        let mut tx = self.begin().await?;
        let stale = sql("DELETE FROM idempotency WHERE caller = $1 AND key = $2
             AND (created_at < $3 OR (status IS NULL AND created_at < $4))");
        tx.execute(stale.bind(caller).bind(key).bind(now - REMEMBERED).bind(now - IN_PROGRESS)).await?;
        let insert = sql("INSERT INTO idempotency (caller, key, request_hash, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT DO NOTHING");
        let fresh = tx.execute(insert.bind(caller).bind(key).bind(request_hash).bind(now)).await? > 0;
        let known = sql("SELECT request_hash, status, body FROM idempotency WHERE caller = $1 AND key = $2");
        let known: Option<(String, Option<i64>, Option<String>)> =
            tx.fetch_optional(known.bind(caller).bind(key)).await?;
        tx.commit().await?;
        let Some((hash, status, body)) = known.filter(|_| !fresh) else {
            // Without a row, another request has just given up on it; the client asks again.
            return Ok(if fresh { Begun::New } else { Begun::InProgress });
        };
        if hash != request_hash {
            return Ok(Begun::Mismatch);
        }
        let (Some(status), Some(body)) = (status, body) else { return Ok(Begun::InProgress) };
        let malformed = || StoreError::Malformed { what: "idempotency".to_owned() };
        Ok(Begun::Answered {
            status: u16::try_from(status).map_err(|_| malformed())?,
            body: serde_json::from_str(&body).map_err(|_| malformed())?,
        })
    }

    /// Remembers the answer.
    ///
    /// # Errors
    /// The database's.
    pub async fn idempotent_finish(
        &self,
        caller: &str,
        key: &str,
        status: u16,
        body: &Value,
    ) -> Result<(), StoreError> {
        let update = sql("UPDATE idempotency SET status = $3, body = $4 WHERE caller = $1 AND key = $2");
        self.execute(update.bind(caller).bind(key).bind(u32::from(status)).bind(body)).await.map(drop)
    }

    /// Forgets a request that came to nothing, so that it can be sent again.
    ///
    /// # Errors
    /// The database's.
    pub async fn idempotent_drop(&self, caller: &str, key: &str) -> Result<(), StoreError> {
        let delete = sql("DELETE FROM idempotency WHERE caller = $1 AND key = $2 AND status IS NULL");
        self.execute(delete.bind(caller).bind(key)).await.map(drop)
    }
}
