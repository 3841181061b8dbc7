//! Takes over a changed configuration.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::App;
use super::super::auth::Caller;
use super::super::problem::Problem;
use crate::daemon::Change;

/// What changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reloaded {
    /// Empty when nothing did.
    changed: Vec<Change>,
}

/// Reload the configuration
///
/// Taken over whole, or, when it has a fault, not at all. Runs go on with the one they began with.
#[utoipa::path(post, path = "/v1/reload", tag = "service", operation_id = "reload_config",
    security(("token" = ["admin"])),
    responses((status = 200, description = "It is in force", body = Reloaded),
              (status = 501, description = "It has faults (`not_configured`); the old one stays in force",
               body = super::super::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn reload(State(app): State<App>, caller: Caller) -> Result<Json<Reloaded>, Problem> {
    caller.unscoped()?;
    let changed = app.daemon.reload().await?;
    let keys: Vec<&str> = changed.iter().map(|change| change.key.as_str()).collect();
    let now = app.daemon.clock().now();
    app.daemon.store().audit(now, &caller.name, "reload_config", "", &serde_json::json!({ "keys": keys })).await?;
    Ok(Json(Reloaded { changed }))
}
