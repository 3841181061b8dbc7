//! How each destination was when it was last looked at.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::sql::sql;
use super::{Store, StoreError};

#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct DestinationHealth {
    pub destination: String,
    /// `ok`, `degraded`, `down` or `unknown`.
    pub state: String,
    #[sqlx(try_from = "super::sql::Cell")]
    pub checked_at: DateTime<Utc>,
    #[sqlx(try_from = "super::sql::Cell")]
    pub detail: Value,
}

impl Store {
    /// # Errors
    /// The database's.
    pub async fn save_destination_health(&self, health: &DestinationHealth) -> Result<(), StoreError> {
        let upsert =
            sql("INSERT INTO destination_health (destination, state, checked_at, detail) VALUES ($1, $2, $3, $4)
             ON CONFLICT (destination) DO UPDATE SET state = excluded.state, checked_at = excluded.checked_at,
                detail = excluded.detail WHERE destination_health.checked_at <= excluded.checked_at");
        let upsert = upsert.bind(&health.destination).bind(&health.state).bind(health.checked_at);
        self.execute(upsert.bind(&health.detail)).await.map(drop)
    }

    /// # Errors
    /// The database's.
    pub async fn destination_health(&self, destination: &str) -> Result<Option<DestinationHealth>, StoreError> {
        let query = "SELECT destination, state, checked_at, detail FROM destination_health WHERE destination = $1";
        self.fetch_optional(sql(query).bind(destination)).await
    }

    /// # Errors
    /// The database's.
    pub async fn destination_healths(&self) -> Result<Vec<DestinationHealth>, StoreError> {
        let query = "SELECT destination, state, checked_at, detail FROM destination_health ORDER BY destination";
        self.fetch_all(sql(query)).await
    }
}
