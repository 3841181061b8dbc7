//! Google's error body (google.rpc shapes), and the faults that answer with one.

use crate::core::faults::FaultKind;
use crate::core::http::Reply;
use crate::core::key::mix;
use crate::world::Shared;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// Violations listed in one reply, at most.
const MAX_VIOLATIONS: usize = 100;
/// Only makes request ids of errors differ.
static TRACES: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
pub(crate) struct Violation {
    field: String,
    reason: &'static str,
    description: &'static str,
}

impl Violation {
    pub(crate) fn new(field: impl Into<String>, reason: &'static str, description: &'static str) -> Self {
        Self { field: field.into(), reason, description }
    }
}

#[derive(Debug)]
pub(crate) struct GoogleError {
    http: u16,
    status: &'static str,
    message: String,
    violations: Vec<Violation>,
    quota: Option<String>,
}

impl GoogleError {
    pub(crate) fn new(http: u16, status: &'static str, message: impl Into<String>) -> Self {
        Self { http, status, message: message.into(), violations: Vec::new(), quota: None }
    }

    pub(crate) fn invalid(violations: Vec<Violation>) -> Self {
        Self { violations, ..Self::new(400, "INVALID_ARGUMENT", "There was a problem with the request.") }
    }

    pub(crate) fn field(field: impl Into<String>, reason: &'static str, description: &'static str) -> Self {
        Self::invalid(vec![Violation::new(field, reason, description)])
    }

    pub(crate) fn with(mut self, violation: Violation) -> Self {
        self.violations.push(violation);
        self
    }

    pub(crate) fn unauthenticated() -> Self {
        let what = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid \
                    authentication credential.";
        Self::new(401, "UNAUTHENTICATED", what)
    }

    pub(crate) fn quota(limit: String) -> Self {
        Self { quota: Some(limit), ..Self::new(429, "RESOURCE_EXHAUSTED", "Quota exceeded.") }
    }

    /// What serde found wrong with a body: the field it names, or only the place, never a value.
    pub(crate) fn json(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let said = text.split(" at line").next().unwrap_or("");
        let (field, what) = match said.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next()) {
            Some(name) => {
                let name: String = name.chars().take(40).collect();
                let what = format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot find field.");
                (name, what)
            }
            None if said.starts_with("missing field") => {
                (String::new(), format!("Invalid JSON payload received: {said}."))
            }
            None => (String::new(), format!("Invalid value or malformed JSON at character {}.", error.column())),
        };
        let mut error = Self::new(400, "INVALID_ARGUMENT", what);
        error.violations.push(Violation::new(
            field,
            "INVALID_FORMAT",
            "The field or its value does not exist in this message.",
        ));
        error
    }

    pub(crate) fn reply(&self, seed: u64) -> Reply {
        let id = format!("t-{:012x}", mix(seed, TRACES.fetch_add(1, Ordering::Relaxed)) >> 16);
        let info = match &self.quota {
            Some(limit) => json!({
                "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "RATE_LIMIT_EXCEEDED", "domain": "googleapis.com",
                "metadata": {"service": "datamanager.googleapis.com", "quota_limit": limit},
            }),
            None => json!({
                "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": self.status,
                "domain": "datamanager.googleapis.com", "metadata": {"requestId": id},
            }),
        };
        let mut details = vec![info];
        if !self.violations.is_empty() {
            let shown = self.violations.iter().take(MAX_VIOLATIONS);
            let list: Vec<Value> =
                shown.map(|v| json!({"field": v.field, "description": v.description, "reason": v.reason})).collect();
            details.push(json!({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": list}));
        }
        details.push(json!({"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": id}));
        let body =
            json!({"error": {"code": self.http, "status": self.status, "message": self.message, "details": details}});
        Reply::json(self.http, &body)
    }
}

/// The reply of a fault that keeps a request from happening; `None` for the others.
pub(crate) fn fault_reply(shared: &Shared, kind: &FaultKind) -> Option<Reply> {
    let minute = || GoogleError::quota("IngestionMutateRequestsPerMinutePerProject".into());
    let error = match kind {
        FaultKind::Throttle(_) => minute(),
        FaultKind::RetryAfter(secs) => {
            return Some(minute().reply(shared.settings.seed).header("Retry-After", secs.to_string()));
        }
        FaultKind::DayQuota => GoogleError::quota("IngestionMutateRequestsPerDayPerProject".into()),
        FaultKind::Status(status) => {
            let name = match status {
                400 => "INVALID_ARGUMENT",
                401 => return Some(GoogleError::unauthenticated().reply(shared.settings.seed)),
                403 => "PERMISSION_DENIED",
                404 => "NOT_FOUND",
                409 => "ABORTED",
                429 => "RESOURCE_EXHAUSTED",
                500 => "INTERNAL",
                503 => "UNAVAILABLE",
                504 => "DEADLINE_EXCEEDED",
                _ => "UNKNOWN",
            };
            GoogleError::new(*status, name, "An injected error.")
        }
        FaultKind::Transient => GoogleError::new(503, "UNAVAILABLE", "The service is currently unavailable."),
        FaultKind::ExpiredToken => GoogleError::unauthenticated(),
        FaultKind::NotVisible => GoogleError::new(404, "NOT_FOUND", "Requested entity was not found."),
        FaultKind::Terms => {
            GoogleError::new(403, "PERMISSION_DENIED", "The caller does not have permission").with(Violation::new(
                "destinations[0].operating_account",
                "ADVERTISER_TOS_NOT_ACCEPTED",
                "The advertiser has not accepted the terms of service.",
            ))
        }
        _ => return None,
    };
    Some(error.reply(shared.settings.seed))
}
