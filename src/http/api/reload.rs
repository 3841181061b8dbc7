//! Takes over a changed configuration.

use axum::Json;
use axum::extract::State;

use super::super::App;
use super::super::auth::Caller;
use super::super::problem::Problem;
use crate::daemon::Reloaded;

/// Reload the configuration
///
/// Taken over whole, or, when it has a fault, not at all. Runs go on with the one they began with. Settings that a
/// running process cannot change keep their value and are in `needs_restart`.
#[utoipa::path(post, path = "/v1/reload", tag = "service", operation_id = "reload_config",
    security(("token" = ["admin"])),
    responses((status = 200, description = "It is in force, `needs_restart` excepted", body = Reloaded),
              (status = 409, description = "The process stands on what was changed (`restart_needed`); the old one stays \
                in force", body = super::super::problem::ProblemDocument, content_type = "application/problem+json"),
              (status = 422, description = "It has faults (`config_faulty`), all of them in `errors`; the old one stays \
                in force", body = super::super::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn reload(State(app): State<App>, caller: Caller) -> Result<Json<Reloaded>, Problem> {
    caller.unscoped()?;
    Ok(Json(app.daemon.reload(&caller.name).await?))
}
