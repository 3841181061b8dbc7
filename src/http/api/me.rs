//! Who the caller is.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::auth::{Caller, Role};

/// What a token may do.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    /// The token's name, which the audit log shows as the actor.
    #[schema(example = "airflow")]
    name: String,
    role: Role,
    /// Only these audiences; all when `null`.
    #[schema(example = json!(["dormant"]))]
    audiences: Option<Vec<String>>,
}

/// Who the caller is
#[utoipa::path(get, path = "/v1/me", tag = "service", security(("token" = ["viewer"])),
    responses((status = 200, description = "What the token may do", body = Me)))]
pub async fn me(caller: Caller) -> Json<Me> {
    Json(Me { name: caller.name, role: caller.role, audiences: caller.audiences })
}
