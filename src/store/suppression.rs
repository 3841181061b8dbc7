//! People who must never be sent again, each as a hash keyed by a secret outside this database.

use chrono::{DateTime, Utc};

use super::sql::sql;
use super::{Store, StoreError};

impl Store {
    /// Adds keyed hashes; known ones stay as they are. All or none.
    ///
    /// # Errors
    /// The database's.
    pub async fn suppress(&self, keys: &[Vec<u8>], request_id: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        super::forget::suppress(&mut tx, keys, request_id, now).await?;
        tx.commit().await
    }

    /// All keyed hashes. Those who ask to be forgotten are few beside those who are sent: they fit in memory.
    ///
    /// # Errors
    /// The database's.
    pub async fn suppressions(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let rows: Vec<(Vec<u8>,)> = self.fetch_all(sql("SELECT key FROM suppression ORDER BY key")).await?;
        Ok(rows.into_iter().map(|(key,)| key).collect())
    }

    /// # Errors
    /// The database's.
    pub async fn is_suppressed(&self, key: &[u8]) -> Result<bool, StoreError> {
        let row: Option<(Vec<u8>,)> =
            self.fetch_optional(sql("SELECT key FROM suppression WHERE key = $1").bind(key)).await?;
        Ok(row.is_some())
    }
}
