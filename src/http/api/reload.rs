//! Takes over a changed configuration.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::App;
use super::super::auth::Caller;
use super::super::host::ConfigChange;
use super::super::problem::Problem;

/// What changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reloaded {
    /// Empty when nothing did.
    changed: Vec<ConfigChange>,
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
    Ok(Json(Reloaded { changed: app.host.reload(&caller.name).await? }))
}
