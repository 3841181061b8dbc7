//! What the vault needs of the state.

use std::fmt::Debug;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::SecretMeta;
use crate::store::secrets::SealedSecret;
use crate::store::{Store, StoreError};

/// A sealed secret as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRow {
    pub name: String,
    pub sealed: Vec<u8>,
    pub key_id: String,
    /// Grows with every change; the state counts it, 0 in a row that is to be written.
    pub version: i64,
    pub updated_at: DateTime<Utc>,
    pub meta: SecretMeta,
}

/// The rows of sealed secrets.
#[async_trait]
pub trait SecretTable: Send + Sync + Debug {
    async fn get(&self, name: &str) -> Result<Option<SecretRow>, StoreError>;
    /// By name.
    async fn all(&self) -> Result<Vec<SecretRow>, StoreError>;
    async fn put(&self, row: &SecretRow) -> Result<(), StoreError>;
    /// Writes the row only while there is none of its name, in one statement.
    async fn add(&self, row: &SecretRow) -> Result<bool, StoreError>;
    /// Writes the row only while the one there is the version `old`, in one statement.
    async fn replace(&self, row: &SecretRow, old: &SecretRow) -> Result<bool, StoreError>;
    async fn delete(&self, name: &str) -> Result<bool, StoreError>;
}

impl TryFrom<SealedSecret> for SecretRow {
    type Error = StoreError;

    fn try_from(secret: SealedSecret) -> Result<Self, StoreError> {
        let SealedSecret { name, sealed, key_id, version, updated_at, meta } = secret;
        let meta = serde_json::from_value(meta).map_err(|_| StoreError::Malformed { what: "secret.meta".into() })?;
        Ok(Self { name, sealed, key_id, version, updated_at, meta })
    }
}

fn meta_of(row: &SecretRow) -> serde_json::Value {
    serde_json::to_value(&row.meta).expect("texts and a time serialise")
}

#[async_trait]
impl SecretTable for Store {
    async fn get(&self, name: &str) -> Result<Option<SecretRow>, StoreError> {
        self.secret(name).await?.map(SecretRow::try_from).transpose()
    }
    async fn all(&self) -> Result<Vec<SecretRow>, StoreError> {
        self.secrets().await?.into_iter().map(SecretRow::try_from).collect()
    }
    async fn put(&self, row: &SecretRow) -> Result<(), StoreError> {
        self.put_secret(&row.name, &row.sealed, &row.key_id, &meta_of(row), row.updated_at).await
    }
    async fn add(&self, row: &SecretRow) -> Result<bool, StoreError> {
        self.add_secret(&row.name, &row.sealed, &row.key_id, &meta_of(row), row.updated_at).await
    }
    async fn replace(&self, row: &SecretRow, old: &SecretRow) -> Result<bool, StoreError> {
        let known = SealedSecret {
            name: old.name.clone(),
            sealed: Vec::new(),
            key_id: old.key_id.clone(),
            version: old.version,
            updated_at: old.updated_at,
            meta: serde_json::Value::Null,
        };
        self.replace_secret(&known, &row.sealed, &row.key_id, &meta_of(row), row.updated_at).await
    }
    async fn delete(&self, name: &str) -> Result<bool, StoreError> {
        self.delete_secret(name).await
    }
}
