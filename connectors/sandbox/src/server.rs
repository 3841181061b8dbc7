//! The HTTP server: starts, stops, and hands each request to the platform its path names.
//!
//! It runs on a runtime of its own, so that stopping it ends every connection, hanging ones included, and a paused or
//! busy caller does not slow it down.

use crate::core::http::{Call, Reply, decode_path};
use crate::core::wire::{Gate, GatedListener};
use crate::settings::Settings;
use crate::world::{Ending, Handled, Shared, World};
use crate::{Error, control, google, meta};
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{Request, Response};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Longest wait for requests under way when the sandbox stops.
const STOP: Duration = Duration::from_secs(2);

/// Running simulated platforms. Dropping it stops them without saving; [`Sandbox::stop`] saves.
#[derive(Debug)]
pub struct Sandbox {
    world: World,
    addr: SocketAddr,
    engine: Engine,
}

/// The server's runtime. A runtime must not be dropped inside another; this ends it without waiting, wherever it is
/// dropped, be it in the middle of a cancelled start.
#[derive(Debug)]
struct Engine(Option<Runtime>);

impl Engine {
    fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("the runtime leaves only when the engine is dropped")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Sandbox {
    /// Reads the identity graph and saved state, then listens on `addr` (port 0 = any free one).
    ///
    /// # Errors
    /// When `addr` is not loopback or taken, a setting makes no sense, or a file cannot be read.
    pub async fn start(addr: SocketAddr, settings: Settings) -> Result<Sandbox, Error> {
        if !addr.ip().is_loopback() {
            return Err(Error::NotLoopback(addr));
        }
        let fault = |source| Error::Listen { addr, source };
        let listener = std::net::TcpListener::bind(addr).map_err(fault)?;
        listener.set_nonblocking(true).map_err(fault)?;
        let addr = listener.local_addr().map_err(fault)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("sandbox")
            .enable_all()
            .build()
            .map_err(fault)?;
        let engine = Engine(Some(runtime));
        let loading = engine.runtime().spawn_blocking(move || Shared::new(settings));
        let shared = Arc::new(loading.await.map_err(|e| fault(std::io::Error::other(e)))??);
        shared.origin.set(format!("http://{addr}")).expect("the origin is set once");
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let listener = {
            let _inside = engine.runtime().enter();
            TcpListener::from_std(listener).map_err(fault)?
        };
        engine.runtime().spawn(async move {
            let service = router.into_make_service_with_connect_info::<Gate>();
            if let Err(error) = axum::serve(GatedListener(listener), service).await {
                tracing::error!(%error, "Sandbox server ended");
            }
        });
        tracing::info!(%addr, "Sandbox listens");
        Ok(Sandbox { world: World(shared), addr, engine })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What a connector takes in place of the platform's own base URL: `http://127.0.0.1:PORT/meta`, `…/google`; with
    /// `control` the control endpoint.
    pub fn base_url(&self, slug: &str) -> String {
        self.world.0.base_url(slug)
    }

    /// Google's OAuth token endpoint.
    pub fn token_url(&self) -> String {
        self.world.0.base_url("google/token")
    }

    /// The hidden state behind the platforms.
    pub fn world(&self) -> World {
        self.world.clone()
    }

    /// Ends every connection and writes [`Settings::state`].
    ///
    /// # Errors
    /// When the state cannot be written; the server is stopped even so.
    pub async fn stop(mut self) -> Result<(), Error> {
        if let Some(runtime) = self.engine.0.take() {
            // Waiting means that the port is free and no request still writes when the state is saved.
            let ending = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(STOP));
            ending.await.expect("shutting down does not panic");
        }
        self.world.save()
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(gate): ConnectInfo<Gate>,
    request: Request<Body>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, shared.settings.max_body_bytes).await else {
        return Reply::html(413).into_response();
    };
    let path = decode_path(head.uri.path());
    let (prefix, rest) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
    let call = Call {
        method: head.method,
        path: rest.to_owned(),
        query: head.uri.query().unwrap_or("").to_owned(),
        headers: head.headers,
        body,
    };
    let Handled { reply, ending } = match prefix {
        "meta" => meta::handle(&shared, &call),
        "google" => google::handle(&shared, &call),
        "control" => Handled { reply: control::handle(&World(Arc::clone(&shared)), &call), ending: Ending::Normal },
        _ => Handled { reply: Reply::html(404), ending: Ending::Normal },
    };
    match ending {
        Ending::Normal => {}
        Ending::Hang => std::future::pending().await,
        Ending::Reset => gate.reset(),
        Ending::Truncate => gate.truncate(),
    }
    reply.into_response()
}
