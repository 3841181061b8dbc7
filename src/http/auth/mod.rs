//! Who is calling, and may they: bearer tokens for programs, a session cookie for the pages.
//!
//! The role an operation needs stands in the OpenAPI document; an operation without one is open to anybody.

pub mod origin;
pub mod role;
pub mod session;
pub mod token;

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use chrono::TimeDelta;
use tracing::warn;

pub use role::Role;

use super::App;
use super::failure::of_store;
use super::limits::network;
use super::problem::{Code, Problem};
use crate::store::tokens::ApiToken;

/// How a caller showed who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    Bearer,
    /// The cookie of the pages.
    Session,
    /// By being on this machine, where that is allowed.
    Loopback,
}

/// Whoever is calling.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The token's id.
    pub id: String,
    /// The token's name: the actor in the audit log.
    pub name: String,
    pub role: Role,
    /// Only these; all when absent.
    pub audiences: Option<Vec<String>>,
    pub means: Means,
}

impl Caller {
    /// Whether the token's scope holds the audience.
    pub fn sees(&self, audience: &str) -> bool {
        self.audiences.as_ref().is_none_or(|audiences| audiences.iter().any(|key| key == audience))
    }

    /// What is about all audiences at once is not for a token of some.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn unscoped(&self) -> Result<(), Problem> {
        match &self.audiences {
            None => Ok(()),
            Some(audiences) => Err(Problem::new(Code::Forbidden)
                .detail(format!("this is about all audiences; the token is for {}", audiences.join(", ")))
                .hint("use a token without --audience")),
        }
    }

    fn may(&self, needed: Role) -> Result<(), Problem> {
        if self.role >= needed {
            return Ok(());
        }
        let (needed, role) = (needed.name(), self.role.name());
        Err(Problem::new(Code::Forbidden).detail(format!("needs the role {needed}; the token has {role}")))
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Problem> {
        parts.extensions.get().cloned().ok_or_else(|| Problem::new(Code::Internal))
    }
}

/// The layer of the API.
pub async fn authenticate(State(app): State<App>, mut request: Request, next: Next) -> Result<Response, Problem> {
    let operation = app.contract.operation(request.method(), request.extensions().get::<MatchedPath>());
    let role = operation.and_then(|operation| operation.role);
    let address = address(request.extensions());
    let path = request.uri().path();
    // They cost next to nothing, and a stranger who calls too often must not make the process look unwell.
    if is_probe(path) {
        return Ok(next.run(request).await);
    }
    let public = path == "/metrics" && app.server().metrics_public;
    let standing = match role.filter(|_| !public) {
        None => app.limits().addresses.take(&network(address))?,
        Some(role) => {
            let (parts, body) = request.into_parts();
            let caller = identify(&app, &parts).await?;
            let standing = app.limits().tokens.take(&caller.id)?;
            caller.may(role)?;
            request = Request::from_parts(parts, body);
            request.extensions_mut().insert(caller);
            standing
        }
    };
    let mut response = next.run(request).await;
    standing.write(response.headers_mut());
    Ok(response)
}

/// What load balancers, containers and `reveil health` ask, again and again.
pub fn is_probe(path: &str) -> bool {
    ["/healthz", "/readyz"].contains(&path)
}

/// Whose connection it is; the unspecified address when a test calls without one.
pub fn address(extensions: &axum::http::Extensions) -> IpAddr {
    let info = extensions.get::<ConnectInfo<SocketAddr>>();
    info.map_or(IpAddr::from([0, 0, 0, 0]), |ConnectInfo(address)| address.ip())
}

/// Finds out who is calling.
///
/// # Errors
/// `unauthenticated`; `too_many_requests` when the address tried too often; `cross_site` when a browser acts for a page
/// of another site.
pub async fn identify(app: &App, parts: &Parts) -> Result<Caller, Problem> {
    let address = network(address(&parts.extensions));
    match credentials(app, parts).await {
        Ok(caller) => Ok(caller),
        Err(Refusal::Other(problem)) => Err(problem),
        Err(Refusal::Credentials(reason)) => {
            if let Err(problem) = app.limits().failures.take(&address) {
                app.daemon.metrics().api.auth_failed("limited");
                return Err(problem);
            }
            app.daemon.metrics().api.auth_failed(reason);
            let challenge = match reason {
                "missing" => "Bearer realm=\"reveil\"",
                _ => "Bearer realm=\"reveil\", error=\"invalid_token\"",
            };
            // Whether a token is unknown, expired or revoked is not for strangers.
            let detail = if reason == "missing" { "no token was sent" } else { "the token is not valid" };
            Err(Problem::new(Code::Unauthenticated)
                .detail(detail)
                .header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge)))
        }
    }
}

enum Refusal {
    Credentials(&'static str),
    Other(Problem),
}

async fn credentials(app: &App, parts: &Parts) -> Result<Caller, Refusal> {
    let (text, means) = match parts.headers.get(header::AUTHORIZATION) {
        Some(value) => {
            let value = value.to_str().map_err(|_| Refusal::Credentials("malformed"))?;
            let (scheme, text) = value.split_once(' ').ok_or(Refusal::Credentials("malformed"))?;
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(Refusal::Credentials("malformed"));
            }
            (text.trim(), Means::Bearer)
        }
        None => match session::token(&parts.headers) {
            Some(text) => (text, Means::Session),
            None if app.server().open_on_loopback => {
                origin::own_page(parts).map_err(Refusal::Other)?;
                return Ok(local());
            }
            None => return Err(Refusal::Credentials("missing")),
        },
    };
    if means == Means::Session {
        origin::own_page(parts).map_err(Refusal::Other)?;
    }
    verify(app, text, means).await
}

fn local() -> Caller {
    let name = "loopback".to_owned();
    Caller { id: name.clone(), name, role: Role::Admin, audiences: None, means: Means::Loopback }
}

/// The caller a token belongs to.
async fn verify(app: &App, text: &str, means: Means) -> Result<Caller, Refusal> {
    token::id_of(text).ok_or(Refusal::Credentials("malformed"))?;
    let hash = token::hash(text);
    let store = app.daemon.store();
    let found = store.token_by_hash(&hash).await.map_err(|error| Refusal::Other(of_store(&error)))?;
    let known = found.filter(|known| token::same_hash(&known.hash, &hash)).ok_or(Refusal::Credentials("unknown"))?;
    let now = app.daemon.clock().now();
    if known.revoked_at.is_some() {
        return Err(Refusal::Credentials("revoked"));
    }
    if known.expires_at.is_some_and(|expires| expires <= now) {
        return Err(Refusal::Credentials("expired"));
    }
    let role = Role::from_name(&known.role).ok_or(Refusal::Credentials("unknown"))?;
    // Once a minute is enough to find tokens that nobody uses.
    if known.last_used_at.is_none_or(|last| now - last >= TimeDelta::minutes(1))
        && let Err(error) = store.token_used(&known.id, now).await
    {
        warn!(token = known.id, error = %error, "The token's last use was not noted");
    }
    Ok(caller_of(known, role, means))
}

fn caller_of(known: ApiToken, role: Role, means: Means) -> Caller {
    Caller { id: known.id, name: known.name, role, audiences: known.audiences, means }
}

/// Whoever shows this token.
///
/// # Errors
/// As [`identify`].
pub async fn check_token(app: &App, parts: &Parts, text: &str) -> Result<Caller, Problem> {
    match verify(app, text, Means::Session).await {
        Ok(caller) => Ok(caller),
        Err(Refusal::Other(problem)) => Err(problem),
        Err(Refusal::Credentials(reason)) => {
            let limited = app.limits().failures.take(&network(address(&parts.extensions)));
            app.daemon.metrics().api.auth_failed(if limited.is_err() { "limited" } else { reason });
            limited?;
            Err(Problem::new(Code::Unauthenticated).detail("the token is not valid"))
        }
    }
}
