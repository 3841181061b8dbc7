//! Takes one machine's `state.db` to the PostgreSQL of a replica set: runs, readings, platforms' ids, tokens, the audit
//! log with its chain, all or nothing.

use std::path::Path;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::database::{Database, Tx, sqlite_options};
use super::sql::{Value, sql, sql_owned};
use super::{Store, StoreError, migrate};

/// Every table with data, referred-to ones first.
pub(super) const TABLES: [&str; 20] = [
    "audience",
    "run",
    "run_destination",
    "run_event",
    "observation",
    "delivery",
    "experiment",
    "job",
    "job_destination",
    "schedule",
    "api_token",
    "secret",
    "audit",
    "audit_head",
    "suppression",
    "forget_request",
    "forget_target",
    "idempotency",
    "alert_state",
    "destination_health",
];

/// Read this many rows at a time.
const BATCH: i64 = 500;

impl Store {
    /// Fills this state, which must be empty and on PostgreSQL, from the `state.db` in `dir`, which stays as it is and
    /// must not be written to meanwhile. How many rows of each table.
    ///
    /// # Errors
    /// The databases'; `NotEmpty`.
    pub async fn copy_from(&self, dir: &Path) -> Result<Vec<(&'static str, u64)>, StoreError> {
        let source =
            Database::sqlite(sqlite_options(&dir.join("state.db")).create_if_missing(false).foreign_keys(false));
        // Holds writers off until all is read. Brings an older one to the same tables, and undoes that in the end.
        let mut from = source.begin().await?;
        migrate::migrate(&mut from).await?;
        let mut to = self.begin().await?;
        if let Some(table) = first_filled(&mut to).await? {
            return Err(StoreError::NotEmpty { place: self.place().to_owned(), table });
        }
        let mut copied = Vec::new();
        for table in TABLES {
            copied.push((table, copy_table(table, &mut from, &mut to).await?));
        }
        to.commit().await?;
        drop(from);
        source.close().await;
        Ok(copied)
    }

    /// Whether nothing has been kept here yet.
    ///
    /// # Errors
    /// The database's.
    pub async fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(first_filled(&mut self.begin().await?).await?.is_none())
    }
}

/// A table that is not as it was made. Schedules and health come by themselves with the first start of a daemon.
async fn first_filled(to: &mut Tx) -> Result<Option<&'static str>, StoreError> {
    for table in TABLES.into_iter().filter(|table| !["audit_head", "schedule", "destination_health"].contains(table)) {
        let count: (i64,) = to.fetch_one(sql_owned(format!("SELECT COUNT(*) FROM {table}"))).await?;
        if count.0 > 0 {
            return Ok(Some(table));
        }
    }
    Ok(None)
}

async fn copy_table(table: &'static str, from: &mut Tx, to: &mut Tx) -> Result<u64, StoreError> {
    if table == "audit_head" {
        return Ok(1); // Goes forward with each entry of the log.
    }
    let columns: Vec<(String, String)> = to
        .fetch_all(
            sql("SELECT column_name::text, data_type::text FROM information_schema.columns
                 WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position")
            .bind(table),
        )
        .await?;
    // The server numbers readings itself; it would give the copied numbers out again.
    let columns: Vec<_> = columns.into_iter().filter(|(name, _)| table != "observation" || name != "id").collect();
    let names = columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let places = (1..=columns.len()).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ");
    let conflict = if ["schedule", "destination_health"].contains(&table) { " ON CONFLICT DO NOTHING" } else { "" };
    let mut rows = 0;
    let mut last = i64::MIN;
    loop {
        let select =
            format!("SELECT rowid AS row_number, {names} FROM {table} WHERE rowid > $1 ORDER BY rowid LIMIT $2");
        let batch = from.sqlite_rows(sql_owned(select).bind(last).bind(BATCH)).await?;
        let Some(end) = batch.last() else { return Ok(rows) };
        last = end.try_get("row_number").map_err(|_| malformed(table))?;
        for row in batch {
            let insert = sql_owned(format!("INSERT INTO {table} ({names}) VALUES ({places}){conflict}"));
            let insert = columns.iter().try_fold(insert, |insert, (name, kind)| {
                Ok::<_, StoreError>(insert.bind(value(&row, name, kind).map_err(|_| malformed(table))?))
            })?;
            to.execute(insert).await?;
            if table == "audit" {
                let (id, hash) = (row.try_get::<i64, _>("id"), row.try_get::<String, _>("hash"));
                let (Ok(id), Ok(hash)) = (id, hash) else { return Err(malformed(table)) };
                super::audit::set_head(to, id, &hash).await?;
            }
            rows += 1;
        }
    }
}

fn malformed(table: &str) -> StoreError {
    StoreError::Malformed { what: table.to_owned() }
}

/// The column as the type it has on PostgreSQL.
fn value(row: &SqliteRow, column: &str, kind: &str) -> sqlx::Result<Value> {
    Ok(match kind {
        "bigint" => Value::Whole(row.try_get(column)?),
        "double precision" => Value::Real(row.try_get(column)?),
        "boolean" => Value::Flag(row.try_get(column)?),
        "bytea" => Value::Bytes(row.try_get(column)?),
        _ => Value::Text(row.try_get(column)?),
    })
}
