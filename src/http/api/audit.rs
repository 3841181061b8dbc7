//! The audit log: read, and checked for changes. Nothing here writes to it.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::App;
use super::super::auth::Caller;
use super::super::contract::Query;
use super::super::listing::{DEFAULT_LIMIT, Page};
use super::super::problem::Problem;
use crate::store::audit::{AuditEntry, AuditFilter};

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only of this action
    #[param(pattern = "^[a-z_.]{1,100}$", max_length = 100, example = "sync_requested")]
    action: Option<String>,
    /// Only of this actor
    #[param(pattern = "^[ -~]{1,100}$", max_length = 100, example = "airflow")]
    actor: Option<String>,
    /// At most this many
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before
    #[param(max_length = 500)]
    cursor: Option<String>,
}

/// Who did what, with counts and names only.
#[derive(Debug, Serialize, ToSchema)]
pub struct Entry {
    /// 1, 2, 3 … without gaps.
    id: i64,
    at: DateTime<Utc>,
    /// A token's name, `schedule`, or the user of a command.
    actor: String,
    action: String,
    /// What it was done to.
    subject: String,
    #[schema(value_type = Object)]
    detail: serde_json::Value,
    /// Of the entry before.
    prev_hash: String,
    /// SHA-256 over the entry and `prev_hash`.
    hash: String,
}

impl From<AuditEntry> for Entry {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id,
            at: entry.at,
            actor: entry.actor,
            action: entry.action,
            subject: entry.subject,
            detail: entry.detail,
            prev_hash: entry.prev_hash,
            hash: entry.hash,
        }
    }
}

/// What a look at the whole log found.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditVerdict {
    /// Every entry is as it was written.
    ok: bool,
    entries: u64,
    /// The first entry that is not.
    first_bad: Option<i64>,
    /// The newest entry's hash. Noted elsewhere, it also finds a log that was written anew from some entry on.
    head: String,
}

/// List the audit log, newest first
#[utoipa::path(get, path = "/v1/audit", tag = "privacy", operation_id = "list_audit", params(AuditQuery),
    security(("token" = ["admin"])),
    responses((status = 200, description = "A page of entries", body = Page<Entry>)))]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<AuditQuery>,
) -> Result<Json<Page<Entry>>, Problem> {
    caller.unscoped()?;
    let filter = AuditFilter { action: query.action, actor: query.actor };
    let store = app.daemon.store();
    let page = store.audit_page(&filter, query.cursor.as_deref(), query.limit.unwrap_or(DEFAULT_LIMIT)).await?;
    Ok(Json(Page { items: page.items.into_iter().map(Entry::from).collect(), next_cursor: page.next }))
}

/// Verify the audit log
#[utoipa::path(post, path = "/v1/audit/verify", tag = "privacy", operation_id = "verify_audit",
    security(("token" = ["admin"])),
    responses((status = 200, description = "What was found", body = AuditVerdict)))]
pub async fn verify(State(app): State<App>, caller: Caller) -> Result<Json<AuditVerdict>, Problem> {
    caller.unscoped()?;
    let check = app.daemon.store().audit_verify().await?;
    Ok(Json(AuditVerdict {
        ok: check.first_bad.is_none(),
        entries: check.entries,
        first_bad: check.first_bad.map(|(id, _)| id),
        head: check.head.1,
    }))
}
