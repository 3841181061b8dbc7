//! What the engine hands a connector for a call: a way to send a request, and the time.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::error::{Error, ErrorKind, Result};

/// Time, injected so that nothing depends on the date of a run.
#[async_trait]
pub trait Clock: Send + Sync + fmt::Debug {
    fn now(&self) -> DateTime<Utc>;
    async fn sleep(&self, duration: Duration);
}

/// The machine's clock. Its `sleep` needs a runtime, so the engine brings its own; here only `now` is real.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
    async fn sleep(&self, _duration: Duration) {}
}

/// How requests of a destination prove who they come from. The transport gets and renews tokens.
#[derive(Debug, Clone)]
pub enum Auth {
    None,
    /// `Authorization: Bearer …` with a token that does not change during a run.
    Bearer(SecretString),
    /// OAuth 2 refresh-token grant.
    RefreshToken {
        token_url: Url,
        client_id: String,
        client_secret: SecretString,
        refresh_token: SecretString,
    },
    /// OAuth 2 JWT-bearer grant with an RS256 key (a Google service account).
    ServiceAccount {
        token_url: Url,
        issuer: String,
        key_id: Option<String>,
        private_key_pem: SecretString,
        scope: String,
    },
}

/// One request, described. Bodies hold digests: they are never logged.
pub struct Call {
    /// Constant name for logs and errors: `AddUsers`.
    pub operation: &'static str,
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// False: sending it twice could do harm, so it is not retried when the outcome is unknown.
    pub idempotent: bool,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("operation", &self.operation)
            .field("method", &self.method)
            .field("path", &self.url.path())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl Call {
    pub fn new(operation: &'static str, method: Method, url: Url) -> Self {
        Self { operation, method, url, headers: HeaderMap::new(), body: Bytes::new(), idempotent: true }
    }
    pub fn get(operation: &'static str, url: Url) -> Self {
        Self::new(operation, Method::GET, url)
    }
    pub fn post(operation: &'static str, url: Url) -> Self {
        Self::new(operation, Method::POST, url)
    }
    pub fn delete(operation: &'static str, url: Url) -> Self {
        Self::new(operation, Method::DELETE, url)
    }
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
    /// A JSON body from bytes already written (the fast path of member uploads).
    #[must_use]
    pub fn json_bytes(mut self, body: impl Into<Bytes>) -> Self {
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body = body.into();
        self
    }
    /// # Errors
    /// `Unexpected` when the value does not serialise.
    pub fn json(self, value: &impl Serialize) -> Result<Self> {
        let operation = self.operation;
        let body = serde_json::to_vec(value).map_err(|error| {
            Error::new(ErrorKind::Unexpected, operation, "the request does not serialise").source(error)
        })?;
        Ok(self.json_bytes(body))
    }
    #[must_use]
    pub fn not_idempotent(mut self) -> Self {
        self.idempotent = false;
        self
    }
}

/// What came back, whatever the status.
pub struct Reply {
    pub operation: &'static str,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("operation", &self.operation)
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl Reply {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
    /// # Errors
    /// `Protocol` when the body is not of that shape; the text of the body is not repeated.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Error::new(ErrorKind::Protocol, self.operation, "the reply is not of the documented shape")
                .with("status", self.status)
                .with("line", error.line())
                .with("column", error.column())
        })
    }
    pub fn header_text(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// How hard a platform says it is being used; the transport slows down accordingly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Share of the allowance used, 0–1 and above.
    pub used_ratio: f64,
    /// Do not call again for this long.
    pub pause: Option<Duration>,
}

/// How a connector reads every reply of its platform.
pub trait Interpret: Sync {
    /// The error a reply stands for, if any. Called for every status, because some platforms say no with a 200
    /// and others say "slow down" with a 400.
    fn error(&self, reply: &Reply) -> Option<Error>;
    /// Usage headers, if the platform has them.
    fn pace(&self, _reply: &Reply) -> Option<Pace> {
        None
    }
}

/// Sends calls: adds authorisation, paces, retries what may be retried, bounds time. The only door to the network.
#[async_trait]
pub trait Transport: Send + Sync {
    /// The reply of the last try, for which `interpret` saw no error.
    ///
    /// # Errors
    /// What `interpret` made of the reply; `Unavailable` when there was none. `Retry::After` never comes out of
    /// here: it became `Exhausted`.
    async fn send(&self, call: Call, interpret: &dyn Interpret) -> Result<Reply>;
}

/// Everything a connector may use in a call.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub transport: &'a dyn Transport,
    pub clock: &'a dyn Clock,
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

impl Context<'_> {
    /// Sends a call and reads the reply as JSON.
    ///
    /// # Errors
    /// As [`Transport::send`], and `Protocol` when the reply is of another shape.
    pub async fn fetch<T: DeserializeOwned>(&self, call: Call, interpret: &dyn Interpret) -> Result<T> {
        self.transport.send(call, interpret).await?.json()
    }
}
