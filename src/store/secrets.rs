//! Credentials as sealed bytes. The vault seals and opens; here nobody can read them.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::sql::sql;
use super::{Store, StoreError};

#[derive(Clone, PartialEq, sqlx::FromRow)]
pub struct SealedSecret {
    pub name: String,
    pub sealed: Vec<u8>,
    /// Which master key opens it.
    pub key_id: String,
    /// Grows with every change.
    pub version: i64,
    #[sqlx(try_from = "super::sql::Cell")]
    pub updated_at: DateTime<Utc>,
    /// Nothing secret: `expires_at`, kind …
    #[sqlx(try_from = "super::sql::Cell")]
    pub meta: Value,
}

impl std::fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedSecret").field("name", &self.name).field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

macro_rules! columns {
    () => {
        "name, sealed, key_id, version, updated_at, meta"
    };
}

impl Store {
    /// Writes a secret, new or over the old one.
    ///
    /// # Errors
    /// The database's.
    pub async fn put_secret(
        &self,
        name: &str,
        sealed: &[u8],
        key_id: &str,
        meta: &Value,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let upsert =
            sql("INSERT INTO secret (name, sealed, key_id, version, updated_at, meta) VALUES ($1, $2, $3, 1, $4, $5)
             ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, key_id = excluded.key_id,
                version = secret.version + 1, updated_at = excluded.updated_at, meta = excluded.meta");
        self.execute(upsert.bind(name).bind(sealed).bind(key_id).bind(now).bind(meta)).await.map(drop)
    }

    /// Writes a secret if there is none of that name. False: there is one.
    ///
    /// # Errors
    /// The database's.
    pub async fn add_secret(
        &self,
        name: &str,
        sealed: &[u8],
        key_id: &str,
        meta: &Value,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let insert =
            sql("INSERT INTO secret (name, sealed, key_id, version, updated_at, meta) VALUES ($1, $2, $3, 1, $4, $5)
             ON CONFLICT (name) DO NOTHING");
        Ok(self.execute(insert.bind(name).bind(sealed).bind(key_id).bind(now).bind(meta)).await? > 0)
    }

    /// Writes over exactly that version. False: somebody else has changed or deleted it (two replicas renew the same
    /// token, a key is rotated meanwhile); read it again.
    ///
    /// # Errors
    /// The database's.
    pub async fn replace_secret(
        &self,
        old: &SealedSecret,
        sealed: &[u8],
        key_id: &str,
        meta: &Value,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let update =
            sql("UPDATE secret SET sealed = $3, key_id = $4, version = version + 1, updated_at = $5, meta = $6
             WHERE name = $1 AND version = $2");
        let update = update.bind(&old.name).bind(old.version).bind(sealed).bind(key_id).bind(now).bind(meta);
        Ok(self.execute(update).await? > 0)
    }

    /// # Errors
    /// The database's.
    pub async fn secret(&self, name: &str) -> Result<Option<SealedSecret>, StoreError> {
        self.fetch_optional(sql(concat!("SELECT ", columns!(), " FROM secret WHERE name = $1")).bind(name)).await
    }

    /// # Errors
    /// The database's.
    pub async fn secrets(&self) -> Result<Vec<SealedSecret>, StoreError> {
        self.fetch_all(sql(concat!("SELECT ", columns!(), " FROM secret ORDER BY name"))).await
    }

    /// # Errors
    /// The database's.
    pub async fn delete_secret(&self, name: &str) -> Result<bool, StoreError> {
        Ok(self.execute(sql("DELETE FROM secret WHERE name = $1").bind(name)).await? > 0)
    }
}
