//! Requests to be forgotten and how far each audience is with them. Nothing here says who asked.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::database::Tx;
use super::page::{Cursor, Page, page};
use super::sql::{sql, stamp};
use super::{Store, StoreError};

#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct ForgetRequest {
    pub id: String,
    /// The user's own number for it; never the person.
    pub reference: Option<String>,
    #[sqlx(try_from = "super::sql::Cell")]
    pub requested_at: DateTime<Utc>,
    pub requested_by: String,
    pub state: String,
    /// Counts per kind of identifier and the like; nothing personal.
    #[sqlx(try_from = "super::sql::Cell")]
    pub detail: Value,
}

/// One audience on one destination that must let go of the person.
#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct ForgetTarget {
    pub request_id: String,
    pub audience: String,
    pub destination: String,
    pub state: String,
    #[sqlx(try_from = "i64")]
    pub attempts: u32,
    #[sqlx(try_from = "super::sql::Cell")]
    pub receipt: Option<Value>,
}

macro_rules! request_columns {
    () => {
        "id, reference, requested_at, requested_by, state, detail"
    };
}

impl Store {
    /// Writes a request with its targets and suppresses the person, all or nothing: from here on no sync sends them.
    ///
    /// # Errors
    /// The database's.
    pub async fn add_forget_request(
        &self,
        request: &ForgetRequest,
        targets: &[ForgetTarget],
        keys: &[Vec<u8>],
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let insert = sql("INSERT INTO forget_request (id, reference, requested_at, requested_by, state, detail)
             VALUES ($1, $2, $3, $4, $5, $6)");
        let insert = insert.bind(&request.id).bind(&request.reference).bind(request.requested_at);
        tx.execute(insert.bind(&request.requested_by).bind(&request.state).bind(&request.detail)).await?;
        for target in targets {
            save_target(&mut tx, target).await?;
        }
        suppress(&mut tx, keys, &request.id, request.requested_at).await?;
        tx.commit().await
    }

    /// # Errors
    /// The database's.
    pub async fn forget_request(&self, id: &str) -> Result<Option<ForgetRequest>, StoreError> {
        let query = sql(concat!("SELECT ", request_columns!(), " FROM forget_request WHERE id = $1"));
        self.fetch_optional(query.bind(id)).await
    }

    /// Requests, newest first.
    ///
    /// # Errors
    /// The database's; `Cursor`.
    pub async fn forget_requests(&self, cursor: Option<&str>, limit: u32) -> Result<Page<ForgetRequest>, StoreError> {
        let after = cursor.map(Cursor::read).transpose()?;
        let query = sql(concat!(
            "SELECT ",
            request_columns!(),
            " FROM forget_request WHERE ($1 IS NULL OR requested_at < $1 OR (requested_at = $1 AND id < $2))
             ORDER BY requested_at DESC, id DESC LIMIT $3"
        ));
        let query = query.bind(after.as_ref().map(|after| after.at.as_str()));
        let query = query.bind(after.as_ref().map(|after| after.id.as_str())).bind(i64::from(limit) + 1);
        let rows: Vec<ForgetRequest> = self.fetch_all(query).await?;
        Ok(page(rows, limit, |request| Cursor { at: stamp(request.requested_at), id: request.id.clone() }))
    }

    /// How many requests were made before `before` and are not done yet.
    ///
    /// # Errors
    /// The database's.
    pub async fn forget_requests_open_before(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let query = sql("SELECT COUNT(*) FROM forget_request WHERE state <> 'erased' AND requested_at < $1");
        let count: Option<(i64,)> = self.fetch_optional(query.bind(before)).await?;
        Ok(count.map_or(0, |(count,)| u64::try_from(count).unwrap_or(0)))
    }

    /// # Errors
    /// The database's.
    pub async fn set_forget_state(&self, id: &str, state: &str, detail: &Value) -> Result<(), StoreError> {
        let update = sql("UPDATE forget_request SET state = $2, detail = $3 WHERE id = $1");
        self.execute(update.bind(id).bind(state).bind(detail)).await.map(drop)
    }

    /// Writes a target, new or changed.
    ///
    /// # Errors
    /// The database's; `LeaseLost`.
    pub async fn save_forget_target(&self, target: &ForgetTarget) -> Result<(), StoreError> {
        let mut tx = self.begin_fenced().await?;
        save_target(&mut tx, target).await?;
        tx.commit().await
    }

    /// # Errors
    /// The database's.
    pub async fn forget_targets(&self, request_id: &str) -> Result<Vec<ForgetTarget>, StoreError> {
        let query = sql("SELECT request_id, audience, destination, state, attempts, receipt FROM forget_target
             WHERE request_id = $1 ORDER BY audience, destination");
        self.fetch_all(query.bind(request_id)).await
    }

    /// Targets in that state, of all requests, oldest request first.
    ///
    /// # Errors
    /// The database's.
    pub async fn forget_targets_in(&self, state: &str) -> Result<Vec<ForgetTarget>, StoreError> {
        let query = sql("SELECT t.request_id, t.audience, t.destination, t.state, t.attempts, t.receipt
             FROM forget_target t JOIN forget_request r ON r.id = t.request_id
             WHERE t.state = $1 ORDER BY r.requested_at, t.request_id, t.audience, t.destination");
        self.fetch_all(query.bind(state)).await
    }
}

async fn save_target(tx: &mut Tx, target: &ForgetTarget) -> Result<(), StoreError> {
    let upsert = sql("INSERT INTO forget_target (request_id, audience, destination, state, attempts, receipt)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (request_id, audience, destination) DO UPDATE SET state = excluded.state,
            attempts = excluded.attempts, receipt = excluded.receipt");
    let upsert = upsert.bind(&target.request_id).bind(&target.audience).bind(&target.destination);
    let upsert = upsert.bind(&target.state).bind(target.attempts).bind(target.receipt.as_ref());
    tx.execute(upsert).await.map(drop)
}

/// See [`Store::suppress`].
pub(super) async fn suppress(
    tx: &mut Tx,
    keys: &[Vec<u8>],
    request_id: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    for key in keys {
        let insert = sql("INSERT INTO suppression (key, at, request_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING");
        tx.execute(insert.bind(key.as_slice()).bind(now).bind(request_id)).await?;
    }
    Ok(())
}
