//! The HTTP edge: the API under `/v1`, the probes, and the pages of [`crate::web`].
//!
//! A request passes, from outside in: [`edge`] (id, log, metrics, security headers, host), CORS, panics, concurrency,
//! [`auth`] (who, role, rate), [`contract`] (does it fit the OpenAPI document), then one handler of [`api`]. Handlers
//! are thin: the work is in the library, shared with the command line. Errors leave as [`problem`] documents.

pub mod api;
pub mod auth;
pub(crate) mod certificate;
pub mod contract;
pub mod cors;
pub mod edge;
pub mod exposure;
pub mod failure;
pub mod first;
pub mod idempotency;
pub mod limits;
pub mod listing;
pub mod openapi;
pub mod problem;
pub mod schema;
pub mod serve;
pub mod slow;

use std::ops::Deref;
use std::sync::{Arc, RwLock};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

pub use serve::{Bound, bind, serve};

use crate::config::ServerConfig;
use crate::daemon::{Daemon, Loaded};
use contract::Contract;
use limits::Limits;

/// What handlers share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App(Arc<Shared>);

/// See [`App`].
#[derive(Debug)]
pub struct Shared {
    pub daemon: Arc<Daemon>,
    /// Set when the process is to end.
    pub stopping: CancellationToken,
    pub contract: Contract,
    /// The OpenAPI document as it is served.
    pub document: String,
    limits: RwLock<Arc<Limits>>,
    pub held: api::HeldCache,
    pub probed: api::Probed,
}

impl Deref for App {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    pub fn new(daemon: Arc<Daemon>, stopping: CancellationToken) -> Self {
        let limits = Limits::new(&daemon.loaded().config.server);
        let document = openapi::document();
        Self(Arc::new(Shared {
            contract: Contract::new(&document),
            document: document.to_string(),
            limits: RwLock::new(Arc::new(limits)),
            held: api::HeldCache::default(),
            probed: api::Probed::default(),
            daemon,
            stopping,
        }))
    }

    /// `[server]` as it is in force now. What changes only with a restart stays as it was at the start.
    pub fn server(&self) -> Server {
        Server(self.daemon.loaded())
    }

    /// Buckets and room, for the configuration of this moment.
    pub fn limits(&self) -> Arc<Limits> {
        let server = self.server();
        let known = Arc::clone(&self.limits.read().expect("no panic while held"));
        if known.are_of(&server) {
            return known;
        }
        let mut known = self.limits.write().expect("no panic while held");
        if !known.are_of(&server) {
            *known = Arc::new(known.changed(&server));
        }
        Arc::clone(&known)
    }

    /// Whether browsers reach it through TLS, here or at the proxy before it.
    pub fn secure(&self) -> bool {
        let server = self.server();
        server.tls.is_some() || server.public_url.as_ref().is_some_and(|url| url.scheme() == "https")
    }
}

/// See [`App::server`]. A request that holds it sees one configuration from beginning to end.
#[derive(Debug, Clone)]
pub struct Server(Arc<Loaded>);

impl Deref for Server {
    type Target = ServerConfig;
    fn deref(&self) -> &ServerConfig {
        &self.0.config.server
    }
}

/// Everything that is answered.
pub fn router(app: &App) -> Router {
    let (api, _) = api::routes().split_for_parts();
    let api = api
        .route_layer(from_fn_with_state(app.clone(), contract::enforce))
        .route_layer(from_fn_with_state(app.clone(), auth::authenticate));
    api.merge(crate::web::routes())
        .fallback(edge::not_found)
        .method_not_allowed_fallback(edge::method_not_allowed)
        .layer(from_fn_with_state(app.clone(), bounded))
        .layer(CatchPanicLayer::custom(edge::panicked))
        .layer(from_fn_with_state(app.clone(), cors::allow))
        .layer(from_fn_with_state(app.clone(), edge::around))
        .with_state(app.clone())
}

/// Answers so many at a time and no more. Streams stay open and have a number of their own.
async fn bounded(State(app): State<App>, request: Request, next: Next) -> Response {
    let operation = app.contract.operation(request.method(), request.extensions().get::<MatchedPath>());
    // Whoever watches over the process must hear of it, however many ask for something else.
    if operation.is_some_and(|operation| operation.streams) || auth::is_probe(request.uri().path()) {
        return next.run(request).await;
    }
    match Limits::permit(&app.limits().requests, "requests") {
        Ok(_permit) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}
