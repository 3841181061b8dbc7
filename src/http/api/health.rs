//! Probes, metrics, the OpenAPI document and the version.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::App;
use crate::daemon::Readiness;
use crate::telemetry::Metrics;

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
    let readiness = app.daemon.readiness().await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

/// Metrics for Prometheus
///
/// Open to everybody when `server.metrics_public` is set.
#[utoipa::path(get, path = "/metrics", tag = "service", security(("token" = ["viewer"])),
    responses((status = 200, description = "The metrics", body = String,
               content_type = "application/openmetrics-text")))]
pub async fn metrics(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], app.daemon.metrics().render()).into_response()
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
