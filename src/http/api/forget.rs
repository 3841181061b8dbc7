//! Erasure: people who ask to be forgotten.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::super::App;
use super::super::auth::Caller;
use super::super::contract::{Input, Query, Same};
use super::super::idempotency::{Answer, KeyHeader, once};
use super::super::listing::{DEFAULT_LIMIT, Page};
use super::super::problem::{FieldFault, Problem};
use super::paths::ForgetPath;
use crate::erasure::{self, Given, GivenKind, RequestError, RequestStatus};
use crate::store::forget::ForgetRequest;
use crate::sync::Engine;

/// One person, by everything that is known of them.
#[derive(Debug, Deserialize, ToSchema)]
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
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PersonIdentifier {
    kind: PersonIdentifierKind,
    /// As the person wrote it.
    #[schema(value_type = String, min_length = 1, max_length = 320, example = "someone@example.com")]
    value: SecretString,
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

/// List forget requests, newest first
#[utoipa::path(get, path = "/v1/forget", tag = "privacy", operation_id = "list_forget", params(ForgetQuery),
    security(("token" = ["admin"])),
    responses((status = 200, description = "A page of requests", body = Page<RequestStatus>)))]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ForgetQuery>,
) -> Result<Json<Page<RequestStatus>>, Problem> {
    caller.unscoped()?;
    let engine = app.daemon.engine();
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
    responses((status = 200, description = "The request", body = RequestStatus)))]
pub async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(ForgetPath { id }): Path<ForgetPath>,
) -> Result<Json<RequestStatus>, Problem> {
    caller.unscoped()?;
    let engine = app.daemon.engine();
    let request = engine.store.forget_request(&id).await?.ok_or_else(|| Problem::not_found("forget request", &id))?;
    Ok(Json(document(&engine, request).await?))
}

/// Forget a person
///
/// Removes them from every audience they were ever sent to, tries until each platform has done it, and never sends them
/// again.
#[utoipa::path(post, path = "/v1/forget", tag = "privacy", operation_id = "forget", params(KeyHeader),
    request_body = ForgetBody, security(("token" = ["admin"])),
    responses((status = 202, description = "It is under way; the person is suppressed from now on", body = RequestStatus,
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
    let engine = app.daemon.engine();
    let given: Vec<Given> = body.identifiers.into_iter().map(Given::from).collect();
    once(&app, &caller, &headers, &format!("forget {same}"), StatusCode::ACCEPTED, async {
        let request = erasure::request(&engine, &given, body.reference.as_deref(), &caller.name).await?;
        app.daemon.wake();
        let document = document(&engine, request).await?;
        let location = Some(format!("/v1/forget/{}", document.id));
        Ok(Answer { location, body: serde_json::to_value(document).map_err(anyhow::Error::from)? })
    })
    .await
}

async fn document(engine: &Engine, request: ForgetRequest) -> Result<RequestStatus, Problem> {
    let targets = engine.store.forget_targets(&request.id).await?;
    Ok(erasure::show(request, &targets))
}

impl From<PersonIdentifier> for Given {
    fn from(given: PersonIdentifier) -> Self {
        let kind = match given.kind {
            PersonIdentifierKind::Email => GivenKind::Email,
            PersonIdentifierKind::Phone => GivenKind::Phone,
            PersonIdentifierKind::CustomerId => GivenKind::CustomerId,
        };
        Self { kind, value: given.value, country: given.country }
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        let fault = |field: String, message: String| FieldFault::new("body", field, message);
        match error {
            RequestError::Given(faults) => Self::unprocessable(
                faults
                    .into_iter()
                    .map(|bad| fault(format!("/identifiers/{}/value", bad.place.saturating_sub(1)), bad.what))
                    .collect(),
            ),
            RequestError::Empty => Self::unprocessable(vec![fault("/identifiers".to_owned(), error.to_string())]),
            RequestError::Reference => Self::unprocessable(vec![fault("/reference".to_owned(), error.to_string())]),
            RequestError::Other(error) => error.into(),
        }
    }
}
