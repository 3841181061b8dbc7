//! The vault over a table in memory that can fail at a chosen write.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};

use super::table::{SecretRow, SecretTable};
use super::{SecretMeta, Vault, VaultError, credential_expiries};
use crate::store::StoreError;

const OLD: [u8; 32] = [1; 32];
const NEW: [u8; 32] = [2; 32];

/// Rows in memory. Writes fail once `writes_left` are used up.
#[derive(Debug, Default)]
pub(crate) struct MemoryTable {
    rows: Mutex<BTreeMap<String, SecretRow>>,
    writes_left: Mutex<Option<u32>>,
}

impl MemoryTable {
    fn write<T>(&self, write: impl FnOnce(&mut BTreeMap<String, SecretRow>) -> T) -> Result<T, StoreError> {
        let mut left = self.writes_left.lock().unwrap();
        if let Some(left) = left.as_mut() {
            *left = left.checked_sub(1).ok_or(StoreError::Malformed { what: "killed".to_owned() })?;
        }
        Ok(write(&mut self.rows.lock().unwrap()))
    }
}

#[async_trait]
impl SecretTable for MemoryTable {
    async fn get(&self, name: &str) -> Result<Option<SecretRow>, StoreError> {
        Ok(self.rows.lock().unwrap().get(name).cloned())
    }
    async fn all(&self) -> Result<Vec<SecretRow>, StoreError> {
        Ok(self.rows.lock().unwrap().values().cloned().collect())
    }
    async fn put(&self, row: &SecretRow) -> Result<(), StoreError> {
        self.write(|rows| {
            let version = rows.get(&row.name).map_or(1, |known| known.version + 1);
            rows.insert(row.name.clone(), SecretRow { version, ..row.clone() });
        })
    }
    async fn add(&self, row: &SecretRow) -> Result<bool, StoreError> {
        self.write(|rows| {
            let free = !rows.contains_key(&row.name);
            rows.entry(row.name.clone()).or_insert_with(|| SecretRow { version: 1, ..row.clone() });
            free
        })
    }
    async fn replace(&self, row: &SecretRow, old: &SecretRow) -> Result<bool, StoreError> {
        self.write(|rows| {
            let Some(known) = rows.get_mut(&row.name).filter(|known| known.version == old.version) else {
                return false;
            };
            *known = SecretRow { version: old.version + 1, ..row.clone() };
            true
        })
    }
    async fn delete(&self, name: &str) -> Result<bool, StoreError> {
        self.write(|rows| rows.remove(name).is_some())
    }
}

fn now() -> DateTime<Utc> {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

async fn value(vault: &Vault, name: &str) -> Result<String, VaultError> {
    Ok(vault.get(name).await?.value.expose_secret().to_owned())
}

#[tokio::test]
async fn secrets_come_back_and_a_wrong_key_says_which_is_missing_and_destroys_nothing() {
    let table = Arc::new(MemoryTable::default());
    let vault = Vault::with_keys(&[OLD], table.clone());
    let meta = SecretMeta { expires_at: Some(now()), destination: Some("meta".into()), ..SecretMeta::of_kind("oauth") };
    vault.set("meta/token", &SecretString::from("EAA-secret"), meta.clone(), now()).await.unwrap();
    assert_eq!(value(&vault, "meta/token").await.unwrap(), "EAA-secret");
    assert!(matches!(vault.get("other").await, Err(VaultError::Absent { .. })));
    let stored = format!("{:?}", table.all().await.unwrap());
    assert!(!stored.contains("EAA") && !format!("{:?}", vault.get("meta/token").await).contains("EAA"));

    let before = table.all().await.unwrap();
    let other = Vault::with_keys(&[NEW], table.clone());
    let error = other.get("meta/token").await.unwrap_err();
    assert!(error.to_string().contains(vault.key_id()), "{error}");
    let rotated = other.rotate(now()).await.unwrap();
    assert_eq!((rotated.sealed_anew, rotated.left[vault.key_id()]), (0, 1));
    assert_eq!(table.all().await.unwrap(), before);

    let expiries = credential_expiries(&*table).await.unwrap();
    assert_eq!((expiries.len(), expiries[0].destination.as_deref()), (1, Some("meta")));
    for name in ["", "two words", "new\nline", &"x".repeat(101)] {
        let set = vault.set(name, &SecretString::from("x"), SecretMeta::default(), now()).await;
        assert!(matches!(set, Err(VaultError::Name { .. })), "{name}");
    }
}

#[tokio::test]
async fn a_row_moved_to_another_name_does_not_open() {
    let table = Arc::new(MemoryTable::default());
    let vault = Vault::with_keys(&[OLD], table.clone());
    vault.set("a", &SecretString::from("value"), SecretMeta::default(), now()).await.unwrap();
    let mut row = table.get("a").await.unwrap().unwrap();
    row.name = "b".to_owned();
    table.put(&row).await.unwrap();
    assert!(matches!(vault.get("b").await, Err(VaultError::Tampered { .. })));
}

#[tokio::test]
async fn only_one_of_two_replaces_the_same_version() {
    let table = Arc::new(MemoryTable::default());
    let vault = Vault::with_keys(&[OLD], table);
    let secret = |text: &str| SecretString::from(text);
    assert!(vault.set_new("a", &secret("1"), SecretMeta::default(), now()).await.unwrap());
    assert!(!vault.set_new("a", &secret("2"), SecretMeta::default(), now()).await.unwrap());
    let (first, second) = (vault.get("a").await.unwrap(), vault.get("a").await.unwrap());
    assert!(vault.replace(&first, &secret("3"), SecretMeta::default(), now()).await.unwrap().is_some());
    assert!(vault.replace(&second, &secret("4"), SecretMeta::default(), now()).await.unwrap().is_none());
    assert_eq!(value(&vault, "a").await.unwrap(), "3");
}

/// The process ends after each possible number of writes; another one carries on.
#[tokio::test]
async fn a_rotation_that_is_killed_loses_nothing_and_is_taken_up_again() {
    for writes in 0..=5 {
        let table = Arc::new(MemoryTable::default());
        let old = Vault::with_keys(&[OLD], table.clone());
        for number in 0..5 {
            let name = format!("secret-{number}");
            old.set(&name, &SecretString::from(name.as_str()), SecretMeta::default(), now()).await.unwrap();
        }
        let both = Vault::with_keys(&[NEW, OLD], table.clone());
        *table.writes_left.lock().unwrap() = Some(writes);
        assert_eq!(both.rotate(now()).await.is_err(), writes < 5);
        *table.writes_left.lock().unwrap() = None;
        for number in 0..5 {
            let name = format!("secret-{number}");
            assert_eq!(value(&both, &name).await.unwrap(), name, "after {writes} writes");
        }
        let rotated = both.rotate(now()).await.unwrap();
        assert_eq!((rotated.sealed_anew, rotated.unchanged), (5 - u64::from(writes), u64::from(writes)));
        assert_eq!(rotated.unused_keys, [old.key_id()]);
        let new = Vault::with_keys(&[NEW], table);
        assert_eq!(value(&new, "secret-4").await.unwrap(), "secret-4");
    }
}
