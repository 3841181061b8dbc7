//! What the vault needs of the state.

use std::fmt::Debug;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::SecretMeta;
use crate::store::StoreError;

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
