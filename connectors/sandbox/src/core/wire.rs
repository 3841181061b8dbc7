//! The socket under the HTTP server, able to end a connection the way broken networks do: reset it, or cut a reply in
//! the middle of its body.

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

const OPEN: u8 = 0;
const RESET: u8 = 1;
const TRUNCATE: u8 = 2;
const CUT: u8 = 3;

/// How the connection of the request at hand is to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<AtomicU8>);

impl Gate {
    /// The reply will not be sent; the peer sees a reset.
    pub(crate) fn reset(&self) {
        self.0.store(RESET, Ordering::Relaxed);
    }
    /// The reply's head and half of its body will be sent, then the connection closes.
    pub(crate) fn truncate(&self) {
        self.0.store(TRUNCATE, Ordering::Relaxed);
    }
}

pub(crate) struct GatedListener(pub(crate) TcpListener);

impl Listener for GatedListener {
    type Io = GatedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, peer) = Listener::accept(&mut self.0).await;
        // Small replies on a kept connection must not wait for the peer's delayed acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "Could not set TCP_NODELAY");
        }
        (GatedStream { stream, gate: Gate::default() }, peer)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, GatedListener>> for Gate {
    fn connect_info(stream: IncomingStream<'_, GatedListener>) -> Self {
        stream.io().gate.clone()
    }
}

pub(crate) struct GatedStream {
    stream: TcpStream,
    gate: Gate,
}

impl AsyncRead for GatedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for GatedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.gate.0.load(Ordering::Relaxed) {
            OPEN => Pin::new(&mut self.stream).poll_write(cx, buf),
            RESET => {
                // A zero linger turns the close that follows into a RST.
                let _ = self.stream.set_zero_linger();
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            TRUNCATE => {
                let head = buf.windows(4).position(|w| w == b"\r\n\r\n").map_or(0, |at| at + 4);
                let keep = (head + (buf.len() - head) / 2).max(1);
                let written = Pin::new(&mut self.stream).poll_write(cx, &buf[..keep]);
                if written.is_ready() {
                    self.gate.0.store(CUT, Ordering::Relaxed);
                }
                written
            }
            _ => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
