//! `Idempotency-Key`: a request that is sent twice is done once. What was answered is kept with the state, for each
//! token apart, so that a client may try again after a lost answer, at another replica too.

use std::future::Future;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::warn;
use utoipa::IntoParams;

use super::App;
use super::auth::Caller;
use super::problem::{Code, Problem};
use crate::store::idempotency::Begun;
use crate::sync::Engine;

/// The header in the document.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header in the document; it is read as it is")]
pub struct KeyHeader {
    /// Chosen by the caller; the same key with the same body gets the same answer for 24 hours, and nothing is done
    /// twice
    #[serde(rename = "Idempotency-Key")]
    #[param(pattern = "^[!-~]{1,200}$", min_length = 1, max_length = 200, example = "dormant-2026-01-01")]
    idempotency_key: Option<String>,
}

/// An answer that can be given again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub location: Option<String>,
    pub body: Value,
}

/// Does `work` once for the key in `headers`, or answers as it did before. `request` is what makes two requests the
/// same: it is hashed with the token's own id and nothing of it is kept.
///
/// # Errors
/// `key_in_use`, `key_reused`, and what the work says, which is not kept.
pub async fn once(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    request: &str,
    status: StatusCode,
    work: impl Future<Output = Result<Answer, Problem>>,
) -> Result<Response, Problem> {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let Some(key) = key else { return work.await.map(|answer| respond(status, answer, false)) };
    let engine = app.daemon.engine();
    let store = &engine.store;
    match store.idempotent_begin(&caller.id, key, &digest(&engine, request)?, engine.clock.now()).await? {
        Begun::New => {}
        Begun::InProgress => return Err(Problem::new(Code::KeyInUse).retry_after(1)),
        Begun::Mismatch => return Err(Problem::new(Code::KeyReused)),
        Begun::Answered { status, body } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            let answer: Answer = serde_json::from_value(body).map_err(anyhow::Error::from)?;
            return Ok(respond(status, answer, true));
        }
    }
    match work.await {
        Ok(answer) => {
            let kept = serde_json::to_value(&answer).map_err(anyhow::Error::from)?;
            store.idempotent_finish(&caller.id, key, status.as_u16(), &kept).await?;
            Ok(respond(status, answer, false))
        }
        Err(problem) => {
            if let Err(error) = store.idempotent_drop(&caller.id, key).await {
                warn!(error = %error, "An Idempotency-Key stays taken until it runs out");
            }
            Err(problem)
        }
    }
}

/// With the installation's secret, because a request may name a person: nobody can try addresses against it.
fn digest(engine: &Engine, request: &str) -> Result<String, Problem> {
    let key = engine.member_key().map_err(anyhow::Error::from)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    Ok(const_hex::encode(hmac::sign(&key, format!("idempotency {request}").as_bytes())))
}

fn respond(status: StatusCode, answer: Answer, again: bool) -> Response {
    let mut response = (status, Json(answer.body)).into_response();
    let headers = response.headers_mut();
    if let Some(location) = answer.location.and_then(|location| HeaderValue::from_str(&location).ok()) {
        headers.insert(axum::http::header::LOCATION, location);
    }
    if again {
        headers.insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
    }
    response
}
