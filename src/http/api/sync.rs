//! Asks for a sync. It enters the same queue as the scheduled ones.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::App;
use super::super::auth::Caller;
use super::super::contract::{Input, Same};
use super::super::idempotency::{Answer, KeyHeader, once};
use super::super::problem::Problem;
use super::audiences::visible;
use super::moment::Moment;
use super::paths::{AudiencePath, Name, known_destinations};
use super::run::{RunDocument, document};
use crate::daemon::requests::{RunOptions, RunRequest};

/// How to sync; everything may be left out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncBody {
    /// The segment as of this date or instant; when the run starts, when left out.
    as_of: Option<Moment>,
    /// Only these destinations of the audience; all when empty.
    #[schema(max_items = 50, example = json!(["meta-fr"]))]
    #[serde(default)]
    destinations: Vec<Name>,
    /// Send everybody again and let the platform drop the rest, without a gap.
    #[serde(default)]
    full: bool,
    /// Guards to let pass. Audited.
    #[schema(max_items = 5)]
    #[serde(default)]
    allow: Vec<Guard>,
    /// Send members again that a platform refused before, though unchanged.
    #[serde(default)]
    retry_rejected: bool,
    /// Compare and count, send nothing.
    #[serde(default)]
    dry_run: bool,
    /// Refuse when more than this share of an audience would be removed; instead of `guards.max_removal_ratio`.
    #[schema(minimum = 0, maximum = 1, example = 0.3)]
    max_removal_ratio: Option<f64>,
    /// Count a destination as failed that refused more than this share of what was sent.
    #[schema(minimum = 0, maximum = 1, example = 0.05)]
    fail_on_reject_ratio: Option<f64>,
    /// Who or what asks, for people who look at the run: a DAG and task, a ticket. Two requests of one Idempotency-Key
    /// may differ in it.
    #[schema(
        pattern = "^[^\\x00-\\x1f\\x7f]*$",
        max_length = 1000,
        example = "airflow dag winback, task sync_dormant"
    )]
    origin: Option<String>,
}

/// What a guard refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Guard {
    Empty,
    Shrink,
    Growth,
    BelowMinimum,
    NoConsentColumn,
}

impl Guard {
    #[cfg(test)]
    const ALL: [Self; 5] = [Self::Empty, Self::Shrink, Self::Growth, Self::BelowMinimum, Self::NoConsentColumn];

    /// As the engine and the command line call it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Shrink => "shrink",
            Self::Growth => "growth",
            Self::BelowMinimum => "below-minimum",
            Self::NoConsentColumn => "no-consent-column",
        }
    }
}

/// Sync: bring the destinations of an audience up to date
///
/// Answers at once with the queued run; follow it under `links.events`, or ask for it again.
#[utoipa::path(post, path = "/v1/audiences/{key}/sync", tag = "audiences", operation_id = "sync_audience",
    params(AudiencePath, KeyHeader), request_body(content = SyncBody, description = "May be left out"),
    security(("token" = ["operator"])),
    responses((status = 202, description = "The run, queued", body = RunDocument,
               headers(("Location" = String, description = "Where the run is"))),
              (status = 409, description = "The Idempotency-Key is being answered (`key_in_use`)",
               body = super::super::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn sync(
    State(app): State<App>,
    caller: Caller,
    Path(AudiencePath { key }): Path<AudiencePath>,
    headers: HeaderMap,
    Same(same): Same,
    Input(body): Input<SyncBody>,
) -> Result<Response, Problem> {
    let same = format!("sync {key} {}", without_origin(&same));
    let engine = app.daemon.engine();
    let destinations = known_destinations(visible(&engine, &caller, &key)?, &key, body.destinations)?;
    let request = RunRequest {
        audience: key,
        as_of: body.as_of.map(Moment::instant),
        options: RunOptions {
            destinations,
            full: body.full,
            allow: body.allow.into_iter().map(|guard| guard.word().to_owned()).collect(),
            retry_rejected: body.retry_rejected,
            dry_run: body.dry_run,
            max_removal_ratio: body.max_removal_ratio,
            fail_on_reject_ratio: body.fail_on_reject_ratio,
            origin: body.origin,
            ..RunOptions::default()
        },
        dedup_key: None,
    };
    once(&app, &caller, &headers, &same, StatusCode::ACCEPTED, async {
        let run = app.daemon.request_run(&request, &caller.name).await?;
        let detail = serde_json::json!({ "audience": run.audience, "options": run.options });
        engine.store.audit(engine.clock.now(), &caller.name, "request_run", &run.id, &detail).await?;
        let document = document(&app, run).await?;
        let location = Some(document.links.this.clone());
        Ok(Answer { location, body: serde_json::to_value(document).map_err(anyhow::Error::from)? })
    })
    .await
}

/// A retry comes from another try of a task; what it asks for is the same.
fn without_origin(body: &str) -> String {
    let mut value: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("origin");
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_does_not_make_another_request() {
        let (first, again) = (r#"{"full":true,"origin":"try 1"}"#, r#"{"origin":"try 2","full":true}"#);
        assert_eq!(without_origin(first), without_origin(again));
        assert_ne!(without_origin(first), without_origin("{}"));
    }

    #[test]
    fn guards_are_the_engines() {
        let engines: Vec<&str> = crate::sync::guards::OVERRIDES.iter().map(|(word, _)| *word).collect();
        let ours: Vec<&str> = Guard::ALL.iter().map(|guard| guard.word()).collect();
        assert_eq!(ours, engines);
        for guard in Guard::ALL {
            assert_eq!(serde_json::to_value(guard).unwrap(), guard.word());
        }
    }
}
