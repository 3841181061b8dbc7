//! What a sync would do.

use std::future::Future;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::super::App;
use super::super::auth::Caller;
use super::super::contract::Input;
use super::super::limits::Limits;
use super::super::problem::{Code, Problem};
use super::audiences::visible;
use super::moment::Moment;
use super::paths::AudiencePath;
use crate::daemon::memory;
use crate::sync::preview::Show;
use crate::sync::{AudiencePlan, Selection, Silent};

/// What to plan; everything may be left out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// The segment as of this date or instant; now when left out.
    as_of: Option<Moment>,
    /// Only these destinations of the audience; all when empty.
    #[schema(max_items = 50, example = json!(["meta-fr"]))]
    #[serde(default)]
    destinations: Vec<super::paths::Name>,
    /// Show the exact requests, the first so many of each operation. They hold digests of customers: only for an
    /// operator.
    #[schema(minimum = 0, maximum = 5)]
    show_requests: Option<u32>,
}

/// Plan: what a sync would do
///
/// Reads the warehouse and compares with what the platforms hold. Sends nothing.
#[utoipa::path(post, path = "/v1/audiences/{key}/plan", tag = "audiences", operation_id = "plan_audience",
    params(AudiencePath), request_body(content = PlanRequest, description = "May be left out"),
    security(("token" = ["operator"])),
    responses((status = 200, description = "The plan, as `reveil plan --json` prints it", body = AudiencePlan),
              (status = 502, description = "The warehouse failed", body = super::super::problem::ProblemDocument,
               content_type = "application/problem+json"),
              (status = 504, description = "It took longer than server.plan_timeout_secs",
               body = super::super::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn plan(
    State(app): State<App>,
    caller: Caller,
    Path(AudiencePath { key }): Path<AudiencePath>,
    Input(request): Input<PlanRequest>,
) -> Result<Json<AudiencePlan>, Problem> {
    let engine = app.daemon.engine();
    let config = visible(&engine, &caller, &key)?;
    let destinations = super::paths::known_destinations(config, &key, request.destinations)?;
    let as_of = request.as_of.map_or_else(|| engine.clock.now(), Moment::instant);
    let selection = Selection { audience: key, as_of, destinations };
    let requests = request.show_requests.unwrap_or(0) as usize;
    let plan = apart(&app, async move {
        engine.plan(&selection, Show { samples: 3, requests }, &Silent).await.map_err(Problem::from)
    })
    .await?;
    Ok(Json(plan))
}

/// How long somebody waits in turn before they are told to come back.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs something long on a thread of its own, so many at a time, and gives up when it takes too long or nobody waits
/// for it any more.
///
/// # Errors
/// `overloaded`, `deadline_exceeded`, and what the work says.
pub async fn apart<T: Send + 'static>(
    app: &App,
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let plans = std::sync::Arc::clone(&app.limits().plans);
    let permit = Limits::permit_within(&plans, "plans and measurements", PATIENCE).await?;
    let nobody_waits = CancellationToken::new();
    let waiting = nobody_waits.clone().drop_guard();
    let within = Duration::from_secs(app.server().plan_timeout_secs);
    let thread = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        Handle::current().block_on(async {
            tokio::select! {
                result = work => Some(result),
                () = nobody_waits.cancelled() => None,
                () = tokio::time::sleep(within) => None,
            }
        })
    });
    let result = thread.await.map_err(anyhow::Error::from)?;
    drop(waiting);
    memory::give_back().await;
    result.unwrap_or_else(|| {
        Err(Problem::new(Code::DeadlineExceeded).detail(format!("given up after {} s", within.as_secs())))
    })
}
