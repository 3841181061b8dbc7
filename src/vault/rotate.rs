//! `reveil vault rotate`: everything sealed anew under the current master key.
//!
//! One secret after another, each replaced in one statement and only while it is what was read: a process that ends
//! in the middle leaves every secret whole, under the one key or the other, and the next rotation goes on from there.
//! The old key stays configured until nothing uses it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Vault, VaultError};

/// What a rotation did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rotated {
    /// The key that everything is sealed with now.
    pub key_id: String,
    pub sealed_anew: u64,
    /// Sealed with the current key before.
    pub unchanged: u64,
    /// Keys of the config that no secret uses any more: they can go.
    pub unused_keys: Vec<String>,
    /// Secrets by a key other than the current one: changed by somebody else meanwhile, or of a key not configured.
    pub left: BTreeMap<String, u64>,
}

impl Vault {
    /// # Errors
    /// A secret that does not open stops it there; nothing is lost.
    pub async fn rotate(&self, now: DateTime<Utc>) -> Result<Rotated, VaultError> {
        let current = self.key_id().to_owned();
        let mut rotated = Rotated { key_id: current.clone(), ..Rotated::default() };
        for row in self.table.all().await? {
            if row.key_id == current {
                rotated.unchanged += 1;
                continue;
            }
            let plain = match self.opened(&row) {
                Ok(plain) => plain,
                // Says which key is missing below; the others are done all the same.
                Err(VaultError::OtherKey { .. }) => continue,
                Err(error) => return Err(error),
            };
            let anew = self.sealed(&row.name, &plain, row.meta.clone(), now)?;
            rotated.sealed_anew += u64::from(self.table.replace(&anew, &row).await?);
        }
        let left = self.table.all().await?.into_iter().map(|row| row.key_id).filter(|id| *id != current);
        for key_id in left {
            *rotated.left.entry(key_id).or_default() += 1;
        }
        let unused = self.keys.ids().filter(|id| *id != current && !rotated.left.contains_key(*id));
        rotated.unused_keys = unused.map(str::to_owned).collect();
        Ok(rotated)
    }
}
