//! Meta's error body, and the faults that answer with one.

use crate::core::faults::FaultKind;
use crate::core::http::Reply;
use crate::core::key::mix;
use crate::world::Shared;
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// Only makes trace ids differ.
static TRACES: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
pub(crate) struct MetaError {
    http: u16,
    code: u32,
    subcode: Option<u32>,
    kind: &'static str,
    message: String,
    user: Option<(&'static str, String)>,
    transient: bool,
    blame: Option<&'static str>,
}

impl MetaError {
    pub(crate) fn new(code: u32, message: impl Into<String>) -> Self {
        let kind = if matches!(code, 100 | 803) { "GraphMethodException" } else { "OAuthException" };
        Self {
            http: 400,
            code,
            subcode: None,
            kind,
            message: message.into(),
            user: None,
            transient: false,
            blame: None,
        }
    }

    /// Code 100 with what is wrong.
    pub(crate) fn invalid(what: impl std::fmt::Display) -> Self {
        let mut error = Self::new(100, format!("(#100) {what}"));
        error.kind = "OAuthException";
        error
    }

    pub(crate) fn missing_object(id: &str) -> Self {
        let message = format!(
            "Unsupported request. Object with ID '{id}' does not exist, cannot be loaded due to missing permissions, or \
             does not support this operation"
        );
        Self::new(100, message).sub(33)
    }

    pub(crate) fn sub(mut self, subcode: u32) -> Self {
        self.subcode = Some(subcode);
        self
    }
    pub(crate) fn http(mut self, status: u16) -> Self {
        self.http = status;
        self
    }
    pub(crate) fn user(mut self, title: &'static str, message: impl Into<String>) -> Self {
        self.user = Some((title, message.into()));
        self
    }
    pub(crate) fn blame(mut self, field: &'static str) -> Self {
        self.blame = Some(field);
        self
    }

    pub(crate) fn terms() -> Self {
        Self::new(200, "Permissions error")
            .sub(1_870_090)
            .http(403)
            .user("Custom Audience Terms Not Accepted", "Accept the Custom Audience terms of this ad account first.")
            .blame("payload")
    }

    /// The reply in the documented shape.
    pub(crate) fn reply(&self, seed: u64) -> Reply {
        let mut error = Map::new();
        error.insert("message".into(), self.message.as_str().into());
        error.insert("type".into(), self.kind.into());
        error.insert("code".into(), self.code.into());
        if let Some(subcode) = self.subcode {
            error.insert("error_subcode".into(), subcode.into());
        }
        error.insert("is_transient".into(), self.transient.into());
        if let Some((title, message)) = &self.user {
            error.insert("error_user_title".into(), (*title).into());
            error.insert("error_user_msg".into(), message.as_str().into());
        }
        if let Some(field) = self.blame {
            // A JSON document inside a string, as documented.
            error.insert("error_data".into(), json!({"blame_field_specs": [[field]]}).to_string().into());
        }
        let trace = format!("A{:011x}", mix(seed, TRACES.fetch_add(1, Ordering::Relaxed)) >> 20);
        error.insert("fbtrace_id".into(), trace.as_str().into());
        let reply = Reply::json(self.http, &json!({"error": Value::Object(error)})).header("x-fb-trace-id", trace);
        match self.code {
            190 => reply.header(
                "WWW-Authenticate",
                "OAuth \"Facebook Platform\" \"invalid_token\" \"The access token could not be used\"",
            ),
            80_003 => reply.header(
                "X-Business-Use-Case-Usage",
                json!({"1": [{"type": "custom_audience", "call_count": 100, "total_cputime": 25, "total_time": 25,
                    "estimated_time_to_regain_access": 5, "ads_api_access_tier": "standard_access"}]})
                .to_string(),
            ),
            _ => reply,
        }
    }
}

fn throttled(code: u32) -> MetaError {
    let (message, subcode) = match code {
        4 => ("(#4) Application request limit reached", Some(1_504_022)),
        17 => ("(#17) User request limit reached", Some(2_446_079)),
        613 => ("(#613) Calls to this api have exceeded the rate limit.", Some(1_487_742)),
        80_003 => ("(#80003) There have been too many calls to this ad-account.", None),
        _ => ("There have been too many calls.", None),
    };
    let error = MetaError::new(code, message);
    match subcode {
        Some(subcode) => error.sub(subcode),
        None => error,
    }
}

/// The reply of a fault that keeps a request from happening; `None` for the others.
pub(crate) fn fault_reply(shared: &Shared, kind: &FaultKind) -> Option<Reply> {
    let error = match kind {
        FaultKind::Throttle(code) => throttled(*code),
        FaultKind::RetryAfter(secs) => {
            return Some(throttled(4).http(429).reply(shared.settings.seed).header("Retry-After", secs.to_string()));
        }
        FaultKind::DayQuota => throttled(4).http(429),
        FaultKind::Status(status @ 500..) => {
            let code = if *status == 503 { 2 } else { 1 };
            MetaError::new(code, "An unknown error has occurred.").http(*status)
        }
        FaultKind::Status(status) => MetaError::invalid("Invalid parameter").http(*status),
        FaultKind::Transient => {
            let mut error = MetaError::new(2, "Service temporarily unavailable").http(500);
            error.transient = true;
            error
        }
        FaultKind::ExpiredToken => expired_token(),
        FaultKind::NotVisible => MetaError::new(803, "(#803) Some of the aliases you requested do not exist: users"),
        FaultKind::Terms => MetaError::terms(),
        _ => return None,
    };
    Some(error.reply(shared.settings.seed))
}

pub(crate) fn expired_token() -> MetaError {
    MetaError::new(190, "Error validating access token: Session has expired.").sub(463)
}
