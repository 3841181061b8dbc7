//! Probes, metrics, the OpenAPI document and the version.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::host::Check;
use super::super::App;

/// Whether the process answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Alive {
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether requests make sense now.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    ready: bool,
    checks: Vec<Check>,
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
              (status = 503, description = "They do not; `checks` says why", body = Readiness)))]
pub async fn readyz(State(app): State<App>) -> Response {
    let checks = app.host.readiness().await;
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, checks })).into_response()
}

/// Metrics for Prometheus
///
/// Open to everybody when `server.metrics_public` is set.
#[utoipa::path(get, path = "/metrics", tag = "service", security(("token" = ["viewer"])),
    responses((status = 200, description = "The metrics", body = String,
               content_type = "application/openmetrics-text")))]
pub async fn metrics(State(app): State<App>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.host.metrics_text()).into_response()
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
