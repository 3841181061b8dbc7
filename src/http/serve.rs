//! Binds, serves, and ends when the process is asked to.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum_server::tls_rustls::RustlsAcceptor;
use axum_server::{Handle, Server};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::certificate::{Certificate, Shown};
use super::slow::Door;
use super::{App, exposure, first, router};
use crate::daemon::Daemon;

/// Requests that run when the process is asked to end get this long.
const GRACE: Duration = Duration::from_secs(10);

/// A server that listens.
#[derive(Debug)]
pub struct Bound {
    /// Where; the port that was picked when the config says 0.
    pub addr: SocketAddr,
    /// Ends some time after the process is asked to.
    pub task: JoinHandle<std::io::Result<()>>,
}

/// Starts serving what [`Daemon`] does.
///
/// # Errors
/// Where strangers could come in, an address that is taken, a certificate that cannot be used.
pub async fn bind(daemon: Arc<Daemon>, stopping: CancellationToken) -> anyhow::Result<Bound> {
    let app = App::new(daemon, stopping.clone());
    let server = &app.server();
    exposure::check(server, first::valid_tokens(&app.daemon).await?)?;
    if server.insecure && !server.on_loopback() && server.tls.is_none() {
        warn!(listen = %server.listen, "Listening without TLS; a proxy has to add it");
    }
    if server.open_on_loopback {
        warn!(listen = %server.listen, "Everybody on this machine may do everything without a token");
    }
    let listener = TcpListener::bind(server.listen).with_context(|| {
        format!("cannot listen on {}: taken by another program, or not an address of this machine", server.listen)
    })?;
    listener.set_nonblocking(true)?;
    let addr = listener.local_addr()?;
    let handle = Handle::new();
    let ending = handle.clone();
    tokio::spawn(async move {
        stopping.cancelled().await;
        ending.graceful_shutdown(Some(GRACE));
    });
    let door = Door::new(server.max_connections, Duration::from_secs(server.body_timeout_secs));
    let service = router(&app).into_make_service_with_connect_info::<SocketAddr>();
    let plain = axum_server::from_tcp(listener)?;
    let task = match &server.tls {
        None => tokio::spawn(bounded(plain.acceptor(door), handle, &app).serve(service)),
        Some(tls) => {
            let shown = Shown::new(Certificate::read(tls, &app.daemon.loaded().base_dir).await.context("server.tls")?);
            let acceptor = RustlsAcceptor::new(shown.listener()).acceptor(door);
            app.daemon.shows(shown);
            tokio::spawn(bounded(plain.acceptor(acceptor), handle, &app).serve(service))
        }
    };
    info!(%addr, tls = server.tls.is_some(), "Listening");
    Ok(Bound { addr, task })
}

/// Serves until the process is to end.
///
/// # Errors
/// As [`bind`], before anything is answered; later only when the listener breaks.
pub async fn serve(daemon: Arc<Daemon>, stopping: CancellationToken) -> anyhow::Result<()> {
    bind(daemon, stopping).await?.task.await??;
    Ok(())
}

/// With the bounds on clients that do not speak.
fn bounded<A>(mut server: Server<SocketAddr, A>, handle: Handle<SocketAddr>, app: &App) -> Server<SocketAddr, A> {
    let within = Duration::from_secs(app.server().header_timeout_secs);
    server.http_builder().http1().header_read_timeout(within).max_headers(64);
    // One line per scanner would fill the log.
    let not_taken =
        |_: Option<&SocketAddr>, error: &std::io::Error| debug!(error = %error, "A connection was not taken");
    server.handle(handle).first_request_timeout(within).accept_error_handler(not_taken)
}
