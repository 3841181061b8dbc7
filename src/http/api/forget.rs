//! Erasure: people who ask to be forgotten.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::App;
use super::super::auth::Caller;
use super::super::contract::{Input, Query, Same};
use super::super::idempotency::{Answer, KeyHeader, once};
use super::super::listing::{DEFAULT_LIMIT, Page};
use super::super::problem::Problem;
use super::paths::ForgetPath;
use crate::erasure;
use crate::store::forget::{ForgetRequest, ForgetTarget};
use crate::sync::Engine;

/// One person, by everything that is known of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgetBody {
    /// All identifiers of one person; more find more.
    #[schema(min_items = 1, max_items = 50)]
    identifiers: Vec<PersonIdentifier>,
    /// Your own number for it; never the person.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9 ._/-]{0,99}$", max_length = 100, example = "ticket-4711")]
    reference: Option<String>,
}

/// Lives for one call; nothing of it is kept as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PersonIdentifier {
    kind: PersonIdentifierKind,
    /// As the person wrote it.
    #[schema(min_length = 1, max_length = 320, example = "someone@example.com")]
    value: String,
    /// Of a phone number without `+`: ISO 3166 letters.
    #[schema(pattern = "^[A-Z]{2}$", example = "FR")]
    country: Option<String>,
}

/// What the value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PersonIdentifierKind {
    Email,
    Phone,
    CustomerId,
}

/// Which requests.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ForgetQuery {
    /// At most this many
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before
    #[param(max_length = 500)]
    cursor: Option<String>,
}

/// A request to be forgotten, and how far it is. Nothing here says who asked.
#[derive(Debug, Serialize, ToSchema)]
pub struct Forget {
    id: String,
    reference: Option<String>,
    /// `done` once every audience has let go of the person.
    #[schema(example = "running")]
    state: String,
    requested_at: DateTime<Utc>,
    requested_by: String,
    targets: Vec<Target>,
    /// One from each platform that has confirmed, signed by this installation.
    #[schema(value_type = Vec<Object>)]
    receipts: Vec<serde_json::Value>,
}

/// One audience on one destination.
#[derive(Debug, Serialize, ToSchema)]
pub struct Target {
    audience: String,
    destination: String,
    #[schema(example = "done")]
    state: String,
    attempts: u32,
}

/// List forget requests, newest first
#[utoipa::path(get, path = "/v1/forget", tag = "privacy", operation_id = "list_forget", params(ForgetQuery),
    security(("token" = ["admin"])),
    responses((status = 200, description = "A page of requests", body = Page<Forget>)))]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ForgetQuery>,
) -> Result<Json<Page<Forget>>, Problem> {
    caller.unscoped()?;
    let engine = app.host.engine();
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    let page = engine.store.forget_requests(query.cursor.as_deref(), limit).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for request in page.items {
        items.push(document(&engine, request).await?);
    }
    Ok(Json(Page { items, next_cursor: page.next }))
}

/// Look at one forget request
#[utoipa::path(get, path = "/v1/forget/{id}", tag = "privacy", operation_id = "get_forget", params(ForgetPath),
    security(("token" = ["admin"])),
    responses((status = 200, description = "The request", body = Forget)))]
pub async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(ForgetPath { id }): Path<ForgetPath>,
) -> Result<Json<Forget>, Problem> {
    caller.unscoped()?;
    let engine = app.host.engine();
    let request = engine.store.forget_request(&id).await?.ok_or_else(|| Problem::not_found("forget request", &id))?;
    Ok(Json(document(&engine, request).await?))
}

/// Forget a person
///
/// Removes them from every audience they were ever sent to, tries until each platform has done it, and never sends them
/// again.
#[utoipa::path(post, path = "/v1/forget", tag = "privacy", operation_id = "forget", params(KeyHeader),
    request_body = ForgetBody, security(("token" = ["admin"])),
    responses((status = 202, description = "It is under way; the person is suppressed from now on", body = Forget,
               headers(("Location" = String, description = "Where the request is"))),
              (status = 409, description = "The Idempotency-Key is being answered (`key_in_use`)",
               body = super::super::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn request(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Same(same): Same,
    Input(body): Input<ForgetBody>,
) -> Result<Response, Problem> {
    caller.unscoped()?;
    let engine = app.host.engine();
    let identifiers = body.identifiers.into_iter().map(erasure::Identifier::from).collect();
    once(&app, &caller, &headers, &format!("forget {same}"), StatusCode::ACCEPTED, async {
        let request = erasure::request(&engine, identifiers, body.reference, &caller.name).await?;
        app.host.wake();
        let document = document(&engine, request).await?;
        let location = Some(format!("/v1/forget/{}", document.id));
        Ok(Answer { location, body: serde_json::to_value(document).map_err(anyhow::Error::from)? })
    })
    .await
}

async fn document(engine: &Engine, request: ForgetRequest) -> Result<Forget, Problem> {
    let targets = engine.store.forget_targets(&request.id).await?;
    Ok(Forget {
        id: request.id,
        reference: request.reference,
        state: request.state,
        requested_at: request.requested_at,
        requested_by: request.requested_by,
        receipts: targets.iter().filter_map(|target| target.receipt.clone()).collect(),
        targets: targets.into_iter().map(Target::from).collect(),
    })
}

impl From<ForgetTarget> for Target {
    fn from(target: ForgetTarget) -> Self {
        let ForgetTarget { audience, destination, state, attempts, .. } = target;
        Self { audience, destination, state, attempts }
    }
}
