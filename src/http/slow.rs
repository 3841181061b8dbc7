//! Connections: so many at a time, and none that stops reading its answer.

use std::future::{Future, Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Takes a connection when there is room for it; otherwise it is closed at once, before it costs anything.
#[derive(Debug, Clone)]
pub struct Door {
    room: Arc<Semaphore>,
    stall: Duration,
}

impl Door {
    pub fn new(most: usize, stall: Duration) -> Self {
        Self { room: Arc::new(Semaphore::new(most)), stall }
    }
}

impl<I, S> Accept<I, S> for Door {
    type Stream = Guarded<I>;
    type Service = S;
    type Future = Ready<io::Result<(Guarded<I>, S)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let permit = self.room.clone().try_acquire_owned();
        ready(match permit {
            Ok(permit) => Ok((Guarded { stream, stall: self.stall, stalled: None, _permit: permit }, service)),
            Err(_) => Err(io::Error::other("as many connections are open as server.max_connections allows")),
        })
    }
}

/// A connection that gives up when the other side takes nothing for too long.
#[derive(Debug)]
pub struct Guarded<I> {
    stream: I,
    stall: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
    _permit: OwnedSemaphorePermit,
}

impl<I> Guarded<I> {
    fn watched<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: impl FnOnce(&mut I, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(result) = written(&mut self.stream, cx) {
            self.stalled = None;
            return Poll::Ready(result);
        }
        let deadline = Instant::now() + self.stall;
        let sleep = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        match sleep.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Guarded<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Guarded<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.watched(cx, |stream, cx| Pin::new(stream).poll_write(cx, buf))
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched(cx, |stream, cx| Pin::new(stream).poll_flush(cx))
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched(cx, |stream, cx| Pin::new(stream).poll_shutdown(cx))
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.watched(cx, |stream, cx| Pin::new(stream).poll_write_vectored(cx, parts))
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn who_does_not_read_is_cut() {
        let door = Door::new(1, Duration::ZERO);
        let (ours, _theirs) = tokio::io::duplex(16);
        let (mut guarded, ()) = door.accept(ours, ()).await.unwrap();
        let error = guarded.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn there_is_room_for_so_many() {
        let door = Door::new(1, Duration::from_secs(1));
        let first = door.accept(tokio::io::empty(), ()).await.unwrap();
        assert!(door.accept(tokio::io::empty(), ()).await.is_err());
        drop(first);
        assert!(door.accept(tokio::io::empty(), ()).await.is_ok());
    }
}
