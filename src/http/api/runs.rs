//! Runs: listed, looked at, cancelled.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::super::App;
use super::super::auth::Caller;
use super::super::contract::Query;
use super::super::listing::{DEFAULT_LIMIT, Page};
use super::super::problem::Problem;
use super::paths::RunPath;
use super::run::{RunDocument, RunKindName, RunStateName, document};
use crate::store::model::{Run, RunKind, RunState};
use crate::store::runs::RunFilter;

/// Which runs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunsQuery {
    /// Only of this audience
    #[param(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", max_length = 100, example = "dormant")]
    audience: Option<String>,
    /// Only in this state
    #[param(value_type = Option<RunStateName>, inline)]
    state: Option<RunState>,
    /// Only of this kind
    #[param(value_type = Option<RunKindName>, inline)]
    kind: Option<RunKind>,
    /// At most this many
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before
    #[param(max_length = 500)]
    cursor: Option<String>,
}

/// List runs, newest first
#[utoipa::path(get, path = "/v1/runs", tag = "runs", operation_id = "list_runs", params(RunsQuery),
    security(("token" = ["viewer"])),
    responses((status = 200, description = "A page of runs", body = Page<RunDocument>)))]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<RunsQuery>,
) -> Result<Json<Page<RunDocument>>, Problem> {
    let filter = RunFilter { audience: query.audience, state: query.state, kind: query.kind };
    let store = app.daemon.store();
    let page = store.runs_page(&filter, query.cursor.as_deref(), query.limit.unwrap_or(DEFAULT_LIMIT)).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for run in page.items.into_iter().filter(|run| caller.sees(&run.audience)) {
        items.push(document(&app, run).await?);
    }
    Ok(Json(Page { items, next_cursor: page.next }))
}

/// Look at one run
#[utoipa::path(get, path = "/v1/runs/{id}", tag = "runs", operation_id = "get_run", params(RunPath),
    security(("token" = ["viewer"])),
    responses((status = 200, description = "The run", body = RunDocument)))]
pub async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(RunPath { id }): Path<RunPath>,
) -> Result<Json<RunDocument>, Problem> {
    let run = visible_run(&app, &caller, &id).await?;
    Ok(Json(document(&app, run).await?))
}

/// Cancel a run
///
/// One that waits is over at once. One that runs stops before its next batch; what it sent by then stays sent and known.
#[utoipa::path(post, path = "/v1/runs/{id}/cancel", tag = "runs", operation_id = "cancel_run", params(RunPath),
    security(("token" = ["operator"])),
    responses((status = 202, description = "It is over, or will be soon", body = RunDocument),
              (status = 409, description = "It had ended (`run_ended`)", body = super::super::problem::ProblemDocument,
               content_type = "application/problem+json")))]
pub async fn cancel(
    State(app): State<App>,
    caller: Caller,
    Path(RunPath { id }): Path<RunPath>,
) -> Result<(StatusCode, Json<RunDocument>), Problem> {
    let run = cancel_run(&app, &caller, &id).await?;
    Ok((StatusCode::ACCEPTED, Json(document(&app, run).await?)))
}

/// Asks a run to stop.
///
/// # Errors
/// `not_found`, `run_ended`.
pub async fn cancel_run(app: &App, caller: &Caller, id: &str) -> Result<Run, Problem> {
    visible_run(app, caller, id).await?;
    Ok(app.daemon.cancel_run(id, &caller.name).await?)
}

/// The run, when there is one that the caller may see.
///
/// # Errors
/// `not_found`.
pub async fn visible_run(app: &App, caller: &Caller, id: &str) -> Result<Run, Problem> {
    let run = app.daemon.store().run(id).await?;
    run.filter(|run| caller.sees(&run.audience)).ok_or_else(|| Problem::not_found("run", id))
}
