//! Probes, metrics, the OpenAPI document and the version.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::super::App;
use crate::daemon::Readiness;
use crate::telemetry::exposition::Format;

/// Whether the process answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Alive {
    #[schema(example = "ok")]
    status: &'static str,
}

/// What is running.
#[derive(Debug, Serialize, ToSchema)]
pub struct Version {
    #[schema(example = "reveil")]
    name: &'static str,
    #[schema(example = "0.1.0")]
    version: &'static str,
}

/// An answer is good for this long: nobody limits how often it is asked for, and each costs a query.
const GOOD_FOR: Duration = Duration::from_millis(500);

/// The latest answer of `/readyz`.
#[derive(Debug, Default)]
pub struct Probed(Mutex<Option<(Instant, Readiness)>>);

impl Probed {
    /// Those who ask at the same time wait for one answer.
    async fn readiness(&self, app: &App) -> Readiness {
        let mut latest = self.0.lock().await;
        if let Some((at, readiness)) = &*latest
            && at.elapsed() < GOOD_FOR
        {
            return readiness.clone();
        }
        let readiness = app.daemon.readiness().await;
        *latest = Some((Instant::now(), readiness.clone()));
        readiness
    }
}

/// Whether the process answers
#[utoipa::path(get, path = "/healthz", tag = "service", security(()),
    responses((status = 200, description = "It does", body = Alive)))]
pub async fn healthz() -> Json<Alive> {
    Json(Alive { status: "ok" })
}

/// Whether requests make sense now
///
/// The state is reachable and the scheduler runs. For load balancers and `systemd`.
#[utoipa::path(get, path = "/readyz", tag = "service", security(()),
    responses((status = 200, description = "They do", body = Readiness),
              (status = 503, description = "They do not; `conditions` say why", body = Readiness)))]
pub async fn readyz(State(app): State<App>) -> Response {
    let readiness = app.probed.readiness(&app).await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

/// Metrics for Prometheus
///
/// In the text format 0.0.4, or as OpenMetrics when `Accept` prefers `application/openmetrics-text`, as Prometheus does.
/// Open to everybody when `server.metrics_public` is set.
#[utoipa::path(get, path = "/metrics", tag = "service", security(("token" = ["viewer"])),
    responses((status = 200, description = "The metrics",
               content((String = "text/plain"), (String = "application/openmetrics-text")))))]
pub async fn metrics(State(app): State<App>, headers: HeaderMap) -> Response {
    let format = Format::asked_for(headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()));
    let headers = [(header::CONTENT_TYPE, format.content_type()), (header::VARY, "accept")];
    (headers, app.daemon.metrics().render(format)).into_response()
}

/// This document
#[utoipa::path(get, path = "/v1/openapi.json", tag = "service", security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)))]
pub async fn openapi(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.document.clone()).into_response()
}

/// What is running
#[utoipa::path(get, path = "/v1/version", tag = "service", security(()),
    responses((status = 200, description = "Name and version", body = Version)))]
pub async fn version() -> Json<Version> {
    Json(Version { name: "reveil", version: env!("CARGO_PKG_VERSION") })
}
