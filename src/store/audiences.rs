//! What platforms call our audiences.

use chrono::{DateTime, Utc};
use reveil_sdk::AudienceRef;

use super::sql::sql;
use super::{Store, StoreError};

impl Store {
    /// The platform's id of an audience, if it was made before.
    ///
    /// # Errors
    /// The database's.
    pub async fn audience(&self, audience: &str, destination: &str) -> Result<Option<AudienceRef>, StoreError> {
        let query = sql("SELECT platform_id FROM audience WHERE audience = $1 AND destination = $2");
        let row: Option<(String,)> = self.fetch_optional(query.bind(audience).bind(destination)).await?;
        Ok(row.map(|(id,)| AudienceRef { id, created: false }))
    }

    /// Every audience ever made and not forgotten, as audience, destination and platform's id.
    ///
    /// # Errors
    /// The database's.
    pub async fn known_audiences(&self) -> Result<Vec<(String, String, String)>, StoreError> {
        self.fetch_all(sql("SELECT audience, destination, platform_id FROM audience ORDER BY audience, destination"))
            .await
    }

    /// # Errors
    /// The database's; `LeaseLost`.
    pub async fn remember_audience(
        &self,
        audience: &str,
        destination: &str,
        reference: &AudienceRef,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let insert =
            sql("INSERT INTO audience (audience, destination, platform_id, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (audience, destination) DO UPDATE SET platform_id = excluded.platform_id");
        let insert = insert.bind(audience).bind(destination).bind(&reference.id).bind(now);
        self.execute_fenced(insert).await.map(drop)
    }

    /// # Errors
    /// The database's; `LeaseLost`.
    pub async fn forget_audience(&self, audience: &str, destination: &str) -> Result<(), StoreError> {
        let delete = sql("DELETE FROM audience WHERE audience = $1 AND destination = $2");
        self.execute_fenced(delete.bind(audience).bind(destination)).await.map(drop)
    }
}
