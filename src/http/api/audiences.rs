//! Audiences: what they hold, when they run, pause and resume.

use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::App;
use super::super::auth::Caller;
use super::super::listing::Page;
use super::super::problem::Problem;
use super::paths::AudiencePath;
use super::run::RunStateName;
use crate::config::AudienceConfig;

use crate::store::model::{Run, RunState};
use crate::sync::Engine;

/// A list of people, kept equal on every destination to the segment.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Audience {
    #[schema(example = "dormant")]
    pub key: String,
    /// The name people see on the platforms.
    #[schema(example = "Dormant 180 days")]
    pub label: String,
    pub description: String,
    /// Its schedule does not fire.
    pub paused: bool,
    /// As in the configuration; `null` when it has none.
    #[schema(value_type = Option<Object>, example = json!({ "cron": "0 5 * * *", "timezone": "Europe/Paris" }))]
    pub schedule: Option<serde_json::Value>,
    pub next_run_at: Option<DateTime<Utc>>,
    pub last_run: Option<RunSummary>,
    pub destinations: Vec<Held>,
    /// Share of people withheld as a control group.
    #[schema(minimum = 0, maximum = 1, example = 0.1)]
    pub holdout: f64,
}

/// A run in a few words.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RunSummary {
    pub id: String,
    #[schema(value_type = RunStateName)]
    pub state: RunState,
    pub as_of: DateTime<Utc>,
    pub requested_at: DateTime<Utc>,
    pub requested_by: String,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

impl From<&Run> for RunSummary {
    fn from(run: &Run) -> Self {
        Self {
            id: run.id.clone(),
            state: run.state,
            as_of: run.as_of,
            requested_at: run.requested_at,
            requested_by: run.requested_by.clone(),
            started_at: run.started_at,
            finished_at: run.finished_at,
        }
    }
}

/// What one destination holds, as far as is known.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Held {
    #[schema(example = "meta-fr")]
    pub name: String,
    #[schema(example = "meta")]
    pub connector: String,
    /// The platform's id of the audience; `null` before the first sync.
    pub platform_id: Option<String>,
    /// Members.
    pub held: u64,
    /// Of them: sent without an answer; the next run sends them again.
    pub uncertain: u64,
    /// Refused by the platform.
    pub rejected: u64,
}

/// List audiences
#[utoipa::path(get, path = "/v1/audiences", tag = "audiences", operation_id = "list_audiences",
    security(("token" = ["viewer"])),
    responses((status = 200, description = "All that the token may see", body = Page<Audience>)))]
pub async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Page<Audience>>, Problem> {
    let engine = app.daemon.engine();
    let mut items = Vec::new();
    for (key, config) in engine.config.audience.iter().filter(|(key, _)| caller.sees(key)) {
        items.push(audience(&app, &engine, key, config).await?);
    }
    Ok(Json(Page::whole(items)))
}

/// Look at one audience
#[utoipa::path(get, path = "/v1/audiences/{key}", tag = "audiences", operation_id = "get_audience",
    params(AudiencePath), security(("token" = ["viewer"])),
    responses((status = 200, description = "The audience", body = Audience)))]
pub async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(AudiencePath { key }): Path<AudiencePath>,
) -> Result<Json<Audience>, Problem> {
    let engine = app.daemon.engine();
    let config = visible(&engine, &caller, &key)?;
    Ok(Json(audience(&app, &engine, &key, config).await?))
}

/// Pause an audience
///
/// Its schedule does not fire until it is resumed; a sync that is asked for still runs.
#[utoipa::path(post, path = "/v1/audiences/{key}/pause", tag = "audiences", operation_id = "pause_audience",
    params(AudiencePath), security(("token" = ["operator"])),
    responses((status = 200, description = "The audience, paused", body = Audience)))]
pub async fn pause(state: State<App>, caller: Caller, path: Path<AudiencePath>) -> Result<Json<Audience>, Problem> {
    set_paused(state, caller, path, true).await
}

/// Resume an audience
#[utoipa::path(post, path = "/v1/audiences/{key}/resume", tag = "audiences", operation_id = "resume_audience",
    params(AudiencePath), security(("token" = ["operator"])),
    responses((status = 200, description = "The audience, no longer paused", body = Audience)))]
pub async fn resume(state: State<App>, caller: Caller, path: Path<AudiencePath>) -> Result<Json<Audience>, Problem> {
    set_paused(state, caller, path, false).await
}

async fn set_paused(
    State(app): State<App>,
    caller: Caller,
    Path(AudiencePath { key }): Path<AudiencePath>,
    paused: bool,
) -> Result<Json<Audience>, Problem> {
    let engine = app.daemon.engine();
    let config = visible(&engine, &caller, &key)?;
    app.daemon.set_paused(&key, paused, &caller.name).await?;
    Ok(Json(audience(&app, &engine, &key, config).await?))
}

/// The audience of the config, when the caller may see it.
///
/// # Errors
/// `not_found`.
pub fn visible<'a>(engine: &'a Engine, caller: &Caller, key: &str) -> Result<&'a AudienceConfig, Problem> {
    let found = engine.config.audience.get(key).filter(|_| caller.sees(key));
    found.ok_or_else(|| Problem::not_found("audience", key))
}

/// All that is known of an audience.
///
/// # Errors
/// The state's, the ledgers'.
pub async fn audience(app: &App, engine: &Engine, key: &str, config: &AudienceConfig) -> Result<Audience, Problem> {
    let last_run = engine.store.runs(Some(key), 1).await?.first().map(RunSummary::from);
    let mut destinations = Vec::new();
    for name in &config.destinations {
        let stats = app.held.of(engine, key, name).await?;
        destinations.push(Held {
            name: name.clone(),
            connector: engine.config.destination(name).map_or_else(|_| String::new(), |found| found.connector.clone()),
            platform_id: engine.store.audience(key, name).await?.map(|audience| audience.id),
            held: stats.held,
            uncertain: stats.uncertain,
            rejected: stats.rejected,
        });
    }
    Ok(Audience {
        key: key.to_owned(),
        label: config.label.clone(),
        description: config.description.clone(),
        paused: app.daemon.is_paused(key).await?,
        schedule: config.schedule.as_ref().and_then(|schedule| serde_json::to_value(schedule).ok()),
        next_run_at: app.daemon.next_run_at(key).await?,
        last_run,
        destinations,
        holdout: config.holdout.ratio(),
    })
}
