//! What a daemon that runs for years need not remember. Runs, readings, deliveries and the audit log stay.

use chrono::{DateTime, Utc};

use super::sql::sql;
use super::{Store, StoreError};

impl Store {
    /// Deletes jobs, events and remembered answers that ended before `before`. How many rows went.
    ///
    /// # Errors
    /// The database's.
    pub async fn prune(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let old = [
            "DELETE FROM job WHERE state NOT IN ('queued', 'running') AND finished_at < $1",
            "DELETE FROM run_event WHERE at < $1
             AND run_id IN (SELECT id FROM run WHERE state NOT IN ('queued', 'running'))",
            "DELETE FROM idempotency WHERE created_at < $1",
        ];
        let mut rows = 0;
        for statement in old {
            rows += self.execute(sql(statement).bind(before)).await?;
        }
        Ok(rows)
    }
}
