//! One call over `reqwest`, with authorisation, pacing and retries around it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reveil_sdk::{Auth, Call, Clock, Error, ErrorKind, Interpret, Limits, Reply, Result, Retry, Transport};
use secrecy::ExposeSecret;
use tracing::{Instrument as _, Span, debug, field, info_span};

use super::auth::{Authenticator, TokenKeeper};
use super::pace::Pacer;
use super::retry::{RetryPolicy, with_retry};
use super::shared::{Meter, Shared};

/// Settings of one destination's transport.
#[derive(Debug, Clone)]
pub struct TransportOptions {
    /// A call that takes longer is given up (and perhaps tried again).
    pub timeout: Duration,
    pub retry: RetryPolicy,
    /// Refuse every host that is not this machine: the source is marked `synthetic`.
    pub loopback_only: bool,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(60), retry: RetryPolicy::default(), loopback_only: false }
    }
}

/// Whose calls these are.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    pub destination: &'a str,
    pub connector: &'static str,
    pub shared: &'a Shared,
}

/// See the module. One per destination.
#[derive(Debug)]
pub struct HttpTransport {
    client: reqwest::Client,
    auth: Authenticator,
    pacer: Arc<Pacer>,
    meter: Arc<dyn Meter>,
    connector: &'static str,
    clock: Arc<dyn Clock>,
    options: TransportOptions,
}

impl HttpTransport {
    /// # Errors
    /// `Config` when the TLS roots of the system cannot be read.
    pub fn new(
        auth: Auth,
        limits: &Limits,
        clock: Arc<dyn Clock>,
        options: TransportOptions,
        caller: Caller<'_>,
    ) -> Result<Self> {
        let client = client(options.timeout)?;
        if options.loopback_only {
            check_auth_loopback(&auth)?;
        }
        Ok(Self {
            auth: Authenticator::new(auth, client.clone(), Arc::clone(&clock)),
            pacer: caller.shared.pacer(caller.destination, limits, &clock),
            meter: Arc::clone(caller.shared.meter()),
            connector: caller.connector,
            client,
            clock,
            options,
        })
    }

    /// Lets `keeper` get the tokens in place of the grant that the connector named.
    #[must_use]
    pub fn keeping(mut self, keeper: Option<Arc<dyn TokenKeeper>>) -> Self {
        if let Some(keeper) = keeper {
            self.auth.keep(keeper);
        }
        self
    }

    async fn attempt(&self, call: &Call, interpret: &dyn Interpret) -> Result<Reply> {
        let started = Instant::now();
        let result = self.interpreted(call, interpret).await;
        let error = result.as_ref().err().map(Error::kind);
        self.meter.answered(self.connector, error, started.elapsed());
        result
    }

    async fn interpreted(&self, call: &Call, interpret: &dyn Interpret) -> Result<Reply> {
        let reply = self.exchange(call).await?;
        if reply.status == 429 {
            self.meter.throttled(self.connector);
        }
        if let Some(pace) = interpret.pace(&reply) {
            self.pacer.observe(pace);
        }
        let Some(error) = interpret.error(&reply) else { return Ok(reply) };
        // A connector that named a delay knows better than the general header.
        let asked = match error.retry_advice() {
            Retry::After(None) => retry_after(&reply, self.clock.now()),
            _ => None,
        };
        let error = if let Some(asked) = asked { error.retry(Retry::After(Some(asked))) } else { error };
        if !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Protocol | ErrorKind::Unexpected) {
            return Err(error);
        }
        let error = error.unanswered();
        if call.idempotent {
            return Err(error);
        }
        Err(error.retry(Retry::Never).hint("it is not known whether this took effect; look before running again"))
    }

    /// Sends once, and once more with a new token when the first answer is 401.
    async fn exchange(&self, call: &Call) -> Result<Reply> {
        let reply = self.exchange_once(call).instrument(self.span(call)).await?;
        if reply.status == 401 && self.auth.renewable() {
            self.auth.invalidate().await;
            return self.exchange_once(call).instrument(self.span(call)).await;
        }
        Ok(reply)
    }

    fn span(&self, call: &Call) -> Span {
        info_span!("call", connector = self.connector, operation = call.operation, status = field::Empty)
    }

    async fn exchange_once(&self, call: &Call) -> Result<Reply> {
        let _permit = self.pacer.admit(call.operation).await?;
        let token = self.auth.token().await?;
        let mut request = self.client.request(call.method.clone(), call.url.clone()).headers(call.headers.clone());
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).map_err(|_| {
                Error::new(ErrorKind::Config, call.operation, "the token has characters that no header may hold")
                    .hint("look for a line break or a quote around the secret")
            })?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let started = Instant::now();
        let result = async {
            let reply = request.body(call.body.clone()).send().await?;
            let (status, headers) = (reply.status().as_u16(), reply.headers().clone());
            Ok::<_, reqwest::Error>((status, headers, reply.bytes().await?))
        }
        .await;
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match result {
            Ok((status, headers, body)) => {
                Span::current().record("status", status);
                debug!(operation = call.operation, status, duration_ms, body_bytes = call.body.len(), "Called");
                Ok(Reply { operation: call.operation, status, headers, body })
            }
            Err(error) => {
                debug!(operation = call.operation, duration_ms, "Call failed");
                Err(unanswered(call, &error, self.options.timeout))
            }
        }
    }
}

/// The one way to make an HTTP client: our name, bounded times, no redirects.
///
/// # Errors
/// `Config` when the TLS roots of the system cannot be read.
pub fn client(timeout: Duration) -> Result<reqwest::Client> {
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("reveil/", env!("CARGO_PKG_VERSION")))
        .timeout(timeout)
        .connect_timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| Error::config("cannot set up TLS").source(error))
}

fn unanswered(call: &Call, error: &reqwest::Error, timeout: Duration) -> Error {
    let host = call.url.host_str().unwrap_or("?");
    let refused = error.is_connect();
    let message = if error.is_timeout() {
        format!("no answer within {} s", timeout.as_secs())
    } else if refused {
        "cannot connect".to_owned()
    } else {
        "the connection broke before the whole answer came".to_owned()
    };
    let retry = if call.idempotent || refused { Retry::After(None) } else { Retry::Never };
    let error = Error::new(ErrorKind::Unavailable, call.operation, message).with("host", host).retry(retry);
    if refused { error } else { error.unanswered() }
}

/// `Retry-After` as seconds or as a date.
fn retry_after(reply: &Reply, now: chrono::DateTime<chrono::Utc>) -> Option<Duration> {
    let text = reply.header_text(RETRY_AFTER.as_str())?.trim();
    if let Ok(secs) = text.parse::<u64>() {
        return Some(Duration::from_secs(secs));
    }
    let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    (date.with_timezone(&chrono::Utc) - now).to_std().ok()
}

pub(crate) fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn check_auth_loopback(auth: &Auth) -> Result<()> {
    match auth {
        Auth::RefreshToken { token_url, .. } | Auth::ServiceAccount { token_url, .. } if !is_loopback(token_url) => {
            Err(synthetic("GetToken", token_url))
        }
        _ => Ok(()),
    }
}

fn synthetic(operation: &'static str, url: &url::Url) -> Error {
    Error::new(ErrorKind::Config, operation, "the source is marked synthetic; it is sent to this machine only")
        .with("host", url.host_str().unwrap_or("?"))
        .hint("set base_url (and token_url) of the destination to a sandbox on 127.0.0.1, or remove `synthetic = true`")
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(&self, call: Call, interpret: &dyn Interpret) -> Result<Reply> {
        if self.options.loopback_only && !is_loopback(&call.url) {
            return Err(synthetic(call.operation, &call.url));
        }
        let failed_before = Mutex::new(None);
        let result = with_retry(self.options.retry, &self.clock, || async {
            let before = *failed_before.lock().expect("no panic while held");
            if let Some(kind) = before {
                self.meter.retried(self.connector, kind);
            }
            let result = self.attempt(&call, interpret).await;
            *failed_before.lock().expect("no panic while held") = result.as_ref().err().map(Error::kind);
            result
        })
        .await;
        let reached = !matches!(&result, Err(error) if error.kind() == ErrorKind::Unavailable);
        self.pacer.record(reached);
        result
    }
}
