//! The audit log: who did what, with counts and names only. It grows and never changes.
//!
//! Each entry carries the hash of the one before: `hash = SHA-256(prev_hash ‖ entry)` where both hashes are 64 hex
//! digits, the first `prev_hash` is 64 zeros, and `entry` is its JSON without blanks, keys in the order of the
//! alphabet: `{"action":…,"actor":…,"at":…,"detail":…,"id":…,"subject":…}`, `detail` as stored. `sha256sum` can check
//! it. Triggers refuse changes to whoever works through SQL; whoever takes the triggers away is found by
//! [`Store::audit_verify`], unless they write the chain anew from there on: note [`AuditCheck::head`] elsewhere.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::database::Tx;
use super::page::{Cursor, Page, page};
use super::sql::{sql, stamp};
use super::{Store, StoreError};

#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct AuditEntry {
    /// 1, 2, 3 … without gaps.
    pub id: i64,
    #[sqlx(try_from = "super::sql::Cell")]
    pub at: DateTime<Utc>,
    pub actor: String,
    pub action: String,
    /// What it was done to: an audience, a destination, a token's name.
    pub subject: String,
    #[sqlx(try_from = "super::sql::Cell")]
    pub detail: Value,
    pub prev_hash: String,
    pub hash: String,
}

/// Which entries to list; empty for all.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    pub action: Option<String>,
    pub actor: Option<String>,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditFault {
    /// It does not have the hash of its content: changed, or moved to another place.
    Changed,
    /// It is not there.
    Missing,
    /// It does not follow the one before, which was replaced.
    Unlinked,
}

/// What a look at the whole log found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditCheck {
    pub entries: u64,
    /// The first entry that is not as it was written, and what is wrong with it.
    pub first_bad: Option<(i64, AuditFault)>,
    /// Id and hash of the newest entry. Noted outside this database, it also finds a chain that was written anew.
    pub head: (i64, String),
}

/// An entry as its columns are.
#[derive(sqlx::FromRow)]
struct Raw {
    id: i64,
    at: String,
    actor: String,
    action: String,
    subject: String,
    detail: String,
    prev_hash: String,
    hash: String,
}

impl Raw {
    fn sealed(&self) -> String {
        let text = |text: &str| Value::from(text).to_string();
        let entry = format!(
            r#"{{"action":{},"actor":{},"at":{},"detail":{},"id":{},"subject":{}}}"#,
            text(&self.action),
            text(&self.actor),
            text(&self.at),
            self.detail,
            self.id,
            text(&self.subject)
        );
        const_hex::encode(Sha256::new().chain_update(&self.prev_hash).chain_update(entry).finalize())
    }
}

/// Who works at this machine's command line: by name, else by number, as in containers and cron.
pub fn local_actor() -> String {
    use std::os::unix::fs::MetadataExt as _;
    let named = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()));
    named.unwrap_or_else(|| match std::fs::metadata("/proc/self") {
        Ok(process) => format!("uid {}", process.uid()),
        Err(_) => "unknown".to_owned(),
    })
}

/// Verified this many at a time.
const BATCH: i64 = 1_000;
/// Before the first entry.
const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

macro_rules! columns {
    () => {
        "id, at, actor, action, subject, detail, prev_hash, hash"
    };
}

impl Store {
    /// Writes down what `actor` did. Counts and names only: never an identifier, never a secret.
    ///
    /// # Errors
    /// The database's.
    pub async fn audit(
        &self,
        now: DateTime<Utc>,
        actor: &str,
        action: &str,
        subject: &str,
        detail: &Value,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        // A change of nothing, which locks the row on PostgreSQL: entries are made one after the other.
        let (id, prev_hash): (i64, String) =
            tx.fetch_one(sql("UPDATE audit_head SET one = one WHERE one = 1 RETURNING id, hash")).await?;
        let mut entry = Raw {
            id: id + 1,
            at: stamp(now),
            actor: actor.to_owned(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            detail: canonical(detail).to_string(),
            prev_hash,
            hash: String::new(),
        };
        entry.hash = entry.sealed();
        let insert = sql("INSERT INTO audit (id, at, actor, action, subject, detail, prev_hash, hash)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)");
        let insert = insert.bind(entry.id).bind(&entry.at).bind(&entry.actor).bind(&entry.action).bind(&entry.subject);
        tx.execute(insert.bind(&entry.detail).bind(&entry.prev_hash).bind(&entry.hash)).await?;
        set_head(&mut tx, entry.id, &entry.hash).await?;
        tx.commit().await
    }

    /// Entries, newest first.
    ///
    /// # Errors
    /// The database's; `Cursor`.
    pub async fn audit_page(
        &self,
        filter: &AuditFilter,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<AuditEntry>, StoreError> {
        let before = cursor.map(Cursor::number).transpose()?;
        let query = sql(concat!(
            "SELECT ",
            columns!(),
            " FROM audit WHERE ($1 IS NULL OR action = $1) AND ($2 IS NULL OR actor = $2) AND ($3 IS NULL OR id < $3)
             ORDER BY id DESC LIMIT $4"
        ));
        let query = query.bind(&filter.action).bind(&filter.actor).bind(before).bind(i64::from(limit) + 1);
        let rows: Vec<AuditEntry> = self.fetch_all(query).await?;
        Ok(page(rows, limit, |entry| Cursor { at: String::new(), id: entry.id.to_string() }))
    }

    /// Reads the whole log and says whether it is as it was written.
    ///
    /// # Errors
    /// The database's.
    pub async fn audit_verify(&self) -> Result<AuditCheck, StoreError> {
        // First: entries made while this reads come after it and are not missed.
        let head: Option<(i64, String)> = self.fetch_optional(sql("SELECT id, hash FROM audit_head")).await?;
        let head = head.unwrap_or((0, GENESIS.to_owned()));
        let mut check = AuditCheck { entries: 0, first_bad: None, head: head.clone() };
        let mut last = (0, GENESIS.to_owned());
        loop {
            let query = concat!("SELECT ", columns!(), " FROM audit WHERE id > $1 ORDER BY id LIMIT $2");
            let entries: Vec<Raw> = self.fetch_all(sql(query).bind(last.0).bind(BATCH)).await?;
            let Some(newest) = entries.last().map(|entry| entry.id) else { break };
            for entry in entries {
                check.entries += 1;
                check.first_bad = check.first_bad.or_else(|| fault(&entry, &last));
                last = (entry.id, entry.hash);
            }
            last.0 = newest;
            if head.0 == last.0 && head.1 != last.1 {
                check.first_bad = check.first_bad.or(Some((last.0, AuditFault::Changed)));
            }
        }
        if last.0 < head.0 {
            check.first_bad = check.first_bad.or(Some((last.0 + 1, AuditFault::Missing)));
        }
        Ok(check)
    }
}

fn fault(entry: &Raw, (last_id, last_hash): &(i64, String)) -> Option<(i64, AuditFault)> {
    if entry.id != last_id + 1 {
        Some((last_id + 1, AuditFault::Missing))
    } else if entry.sealed() != entry.hash {
        Some((entry.id, AuditFault::Changed))
    } else if entry.prev_hash != *last_hash {
        Some((entry.id, AuditFault::Unlinked))
    } else {
        None
    }
}

/// Keys in the order of the alphabet, whatever order `serde_json` is built to keep.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            Value::Object(sorted.into_iter().map(|(key, field)| (key.clone(), canonical(field))).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(canonical).collect(),
        plain => plain.clone(),
    }
}

pub(super) async fn set_head(tx: &mut Tx, id: i64, hash: &str) -> Result<(), StoreError> {
    tx.execute(sql("UPDATE audit_head SET id = $1, hash = $2 WHERE one = 1").bind(id).bind(hash)).await.map(drop)
}

/// Numbers and chains the entries of a database from before the chain, in their order.
pub(super) async fn chain_old_entries(tx: &mut Tx) -> Result<(), StoreError> {
    let old: Vec<Raw> = tx.fetch_all(sql(concat!("SELECT ", columns!(), " FROM audit ORDER BY id"))).await?;
    let mut prev_hash = GENESIS.to_owned();
    let mut id = 0;
    for mut entry in old {
        let old_id = entry.id;
        id += 1;
        entry.id = id;
        entry.prev_hash = prev_hash;
        entry.hash = entry.sealed();
        // Ascending, so that a smaller number is free.
        let update = sql("UPDATE audit SET id = $2, prev_hash = $3, hash = $4 WHERE id = $1");
        tx.execute(update.bind(old_id).bind(id).bind(&entry.prev_hash).bind(&entry.hash)).await?;
        prev_hash = entry.hash;
    }
    set_head(tx, id, &prev_hash).await
}
