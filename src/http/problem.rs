//! What a caller is told when something is not done: RFC 9457 problem documents.
//!
//! A handler returns a [`Problem`]; it travels as an extension of the response until the outermost layer, which knows
//! the request's id and writes the document.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// Stable names of what can go wrong. They are a contract: programs branch on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    MalformedRequest,
    InvalidRequest,
    Unauthenticated,
    Forbidden,
    CrossSite,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    RequestTimeout,
    AudienceBusy,
    RunEnded,
    NotYet,
    RestartNeeded,
    GuardRefused,
    KeyInUse,
    KeyReused,
    Unprocessable,
    ConfigFaulty,
    PayloadTooLarge,
    UnsupportedMediaType,
    WrongHost,
    TooManyRequests,
    HeadersTooLarge,
    Internal,
    NotConfigured,
    WarehouseFailed,
    PlatformFailed,
    Unavailable,
    Overloaded,
    DeadlineExceeded,
}

struct Facts {
    code: Code,
    status: StatusCode,
    title: &'static str,
    /// What to do, unless the place where it happened knows better.
    hint: &'static str,
}

const fn facts(code: Code, status: StatusCode, title: &'static str, hint: &'static str) -> Facts {
    Facts { code, status, title, hint }
}

/// In the order of their status, so that the first of a status stands for it.
static FACTS: [Facts; 30] = [
    facts(
        Code::MalformedRequest,
        StatusCode::BAD_REQUEST,
        "The request cannot be read",
        "send UTF-8 JSON; the detail says where reading stopped",
    ),
    facts(
        Code::InvalidRequest,
        StatusCode::BAD_REQUEST,
        "The request does not fit its schema",
        "`errors` lists every fault; the schema is in /v1/openapi.json",
    ),
    facts(
        Code::Unauthenticated,
        StatusCode::UNAUTHORIZED,
        "A valid token is needed",
        "send `Authorization: Bearer rvl_…`; `reveil token create` makes one",
    ),
    facts(
        Code::Forbidden,
        StatusCode::FORBIDDEN,
        "The token may not do this",
        "use a token with the role named in the detail",
    ),
    facts(
        Code::CrossSite,
        StatusCode::FORBIDDEN,
        "A page of another site may not do this",
        "send the token in the Authorization header, or add the site to server.cors_origins",
    ),
    facts(Code::NotFound, StatusCode::NOT_FOUND, "There is no such thing", "look at /v1/openapi.json, or list first"),
    facts(
        Code::MethodNotAllowed,
        StatusCode::METHOD_NOT_ALLOWED,
        "The address takes other methods",
        "use one of the methods in the Allow header",
    ),
    facts(
        Code::NotAcceptable,
        StatusCode::NOT_ACCEPTABLE,
        "The form asked for is not offered",
        "ask for application/json",
    ),
    facts(
        Code::RequestTimeout,
        StatusCode::REQUEST_TIMEOUT,
        "The request came too slowly",
        "send the whole body at once",
    ),
    facts(
        Code::AudienceBusy,
        StatusCode::CONFLICT,
        "Another run holds the audience",
        "wait until it ends, or cancel it",
    ),
    facts(Code::RunEnded, StatusCode::CONFLICT, "The run has ended", "only queued and running runs can be cancelled"),
    facts(Code::NotYet, StatusCode::CONFLICT, "Nothing can be said yet", "come back when a run has ended"),
    facts(
        Code::RestartNeeded,
        StatusCode::CONFLICT,
        "The configuration changes what the process stands on",
        "restart the daemon, or set the keys in `errors` back and reload again",
    ),
    facts(
        Code::GuardRefused,
        StatusCode::CONFLICT,
        "A guard refused",
        "look at the plan; `allow` lets a guard pass, which is audited",
    ),
    facts(
        Code::KeyInUse,
        StatusCode::CONFLICT,
        "The request with this Idempotency-Key is still being answered",
        "try again in a moment with the same key",
    ),
    facts(
        Code::PayloadTooLarge,
        StatusCode::PAYLOAD_TOO_LARGE,
        "The body is too large",
        "send less at once; server.body_limit_bytes sets the limit",
    ),
    facts(
        Code::UnsupportedMediaType,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "The body has another type",
        "send `Content-Type: application/json`",
    ),
    facts(
        Code::WrongHost,
        StatusCode::MISDIRECTED_REQUEST,
        "This server does not answer to that name",
        "use the address it listens on, or add the name to server.allowed_hosts",
    ),
    facts(
        Code::Unprocessable,
        StatusCode::UNPROCESSABLE_ENTITY,
        "The request is understood and cannot be carried out",
        "`errors` says what would have to change",
    ),
    facts(
        Code::ConfigFaulty,
        StatusCode::UNPROCESSABLE_ENTITY,
        "The configuration has faults",
        "`errors` lists every fault; correct the file and reload again",
    ),
    facts(
        Code::KeyReused,
        StatusCode::UNPROCESSABLE_ENTITY,
        "The Idempotency-Key was used for another request",
        "use a new key for a new request",
    ),
    facts(
        Code::TooManyRequests,
        StatusCode::TOO_MANY_REQUESTS,
        "Too many requests",
        "wait as long as Retry-After says",
    ),
    facts(
        Code::HeadersTooLarge,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The headers are too large",
        "send fewer cookies",
    ),
    facts(
        Code::Internal,
        StatusCode::INTERNAL_SERVER_ERROR,
        "Something unforeseen happened",
        "look for the request id in the log",
    ),
    facts(Code::NotConfigured, StatusCode::NOT_IMPLEMENTED, "The configuration does not allow this", "see the detail"),
    facts(
        Code::WarehouseFailed,
        StatusCode::BAD_GATEWAY,
        "The warehouse failed",
        "`reveil check` says what is wrong with it",
    ),
    facts(
        Code::PlatformFailed,
        StatusCode::BAD_GATEWAY,
        "The platform failed",
        "`reveil check` says what is wrong with the destination",
    ),
    facts(
        Code::Unavailable,
        StatusCode::SERVICE_UNAVAILABLE,
        "The state cannot be reached",
        "try again; /readyz says what is missing",
    ),
    facts(
        Code::Overloaded,
        StatusCode::SERVICE_UNAVAILABLE,
        "Too much is asked at the moment",
        "try again as Retry-After says",
    ),
    facts(
        Code::DeadlineExceeded,
        StatusCode::GATEWAY_TIMEOUT,
        "It took too long",
        "ask for less, or raise server.plan_timeout_secs",
    ),
];

impl Code {
    fn facts(self) -> &'static Facts {
        FACTS.iter().find(|facts| facts.code == self).expect("every code has its line; see the test")
    }
    pub fn status(self) -> StatusCode {
        self.facts().status
    }
    pub fn title(self) -> &'static str {
        self.facts().title
    }
    pub fn hint(self) -> &'static str {
        self.facts().hint
    }
    /// The code that stands for a status that some library answered with.
    pub fn of_status(status: StatusCode) -> Self {
        let known = FACTS.iter().find(|facts| facts.status == status).map(|facts| facts.code);
        known.unwrap_or(if status.is_server_error() { Self::Internal } else { Self::MalformedRequest })
    }
    /// `snake_case`, as in the document.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            _ => String::from("internal"),
        }
    }
}

/// One thing wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldFault {
    /// Where: `body`, `query`, `path`, `header`, or `config` for the daemon's own configuration.
    #[schema(example = "body")]
    pub location: &'static str,
    /// JSON pointer into the body, the parameter's name, or the key of the configuration; empty for the whole.
    #[schema(example = "/destinations/0")]
    pub field: String,
    /// What is wrong, and what would do.
    #[schema(example = "is not a field of this request; it takes as_of, destinations")]
    pub message: String,
    /// What to do, where that is not the same for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, example = "write it as in /v1/openapi.json")]
    pub hint: Option<String>,
}

impl FieldFault {
    pub fn new(location: &'static str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { location, field: field.into(), message: message.into(), hint: None }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Problem {
    pub code: Code,
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub errors: Vec<FieldFault>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// As written to the caller.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Problem")]
pub struct ProblemDocument {
    /// Names the kind of problem; the same as `code`, as a URI.
    #[serde(rename = "type")]
    #[schema(example = "urn:reveil:problem:not_found", format = "uri")]
    pub kind: String,
    /// The kind of problem in words.
    pub title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What happened this time. Never personal data.
    pub detail: String,
    pub code: Code,
    /// What to do.
    pub hint: String,
    /// The id of this request; the log has it too.
    pub request_id: String,
    /// Every fault of a request that does not fit its schema.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<FieldFault>,
}

impl Problem {
    pub fn new(code: Code) -> Self {
        Self { code, detail: None, hint: None, errors: Vec::new(), headers: Vec::new() }
    }
    pub fn not_found(what: &str, name: &str) -> Self {
        Self::new(Code::NotFound).detail(format!("there is no {what} `{name}`, or the token may not see it"))
    }
    pub fn invalid(errors: Vec<FieldFault>) -> Self {
        let detail = match errors.len() {
            1 => "one fault".to_owned(),
            count => format!("{count} faults"),
        };
        Self { errors, ..Self::new(Code::InvalidRequest).detail(detail) }
    }
    /// Of the right form, and impossible all the same.
    pub fn unprocessable(errors: Vec<FieldFault>) -> Self {
        Self { code: Code::Unprocessable, ..Self::invalid(errors) }
    }
    /// Of the daemon's own configuration; nothing of it was taken.
    pub fn config_faulty(errors: Vec<FieldFault>) -> Self {
        Self { code: Code::ConfigFaulty, ..Self::invalid(errors) }
    }
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
    #[must_use]
    pub fn retry_after(self, secs: u64) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(secs.max(1)))
    }

    pub fn document(&self, request_id: &str) -> ProblemDocument {
        ProblemDocument {
            kind: format!("urn:reveil:problem:{}", self.code.name()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: self.detail.clone().unwrap_or_else(|| self.code.title().to_owned()),
            code: self.code,
            hint: self.hint.clone().unwrap_or_else(|| self.code.hint().to_owned()),
            request_id: request_id.to_owned(),
            errors: self.errors.clone(),
        }
    }

    /// The document as a response.
    pub fn write(&self, request_id: &str) -> Response {
        let body = serde_json::to_vec(&self.document(request_id)).unwrap_or_default();
        let mut response = (self.code.status(), body).into_response();
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        for (name, value) in &self.headers {
            response.headers_mut().insert(name.clone(), value.clone());
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_facts_and_a_status_of_its_kind() {
        let schema = serde_json::to_value(<Code as utoipa::PartialSchema>::schema()).expect("a schema");
        let names = schema["enum"].as_array().expect("an enum");
        assert_eq!(names.len(), FACTS.len());
        for facts in &FACTS {
            assert!(names.contains(&facts.code.name().into()), "{:?}", facts.code);
            assert!(facts.status.is_client_error() || facts.status.is_server_error());
            assert!(!facts.hint.is_empty());
        }
    }

    #[test]
    fn a_status_without_its_own_code_still_gets_one() {
        assert_eq!(Code::of_status(StatusCode::NOT_FOUND), Code::NotFound);
        assert_eq!(Code::of_status(StatusCode::FORBIDDEN), Code::Forbidden);
        assert_eq!(Code::of_status(StatusCode::CONFLICT), Code::AudienceBusy);
        assert_eq!(Code::of_status(StatusCode::IM_A_TEAPOT), Code::MalformedRequest);
        assert_eq!(Code::of_status(StatusCode::LOOP_DETECTED), Code::Internal);
    }
}
