//! A bounded stream of batches, ended by dropping it.

use std::pin::Pin;
use std::task::{Context, Poll};

use arrow_array::RecordBatch;
use tokio::sync::mpsc;

use super::Result;

/// Batches waiting for a slow reader, besides the one being made: memory stays bounded.
const WAITING: usize = 2;

/// Rows per batch.
pub(crate) const BATCH_ROWS: usize = 8_192;

/// What a query yields. Dropping it ends the query at the warehouse.
pub struct BatchStream {
    receiver: mpsc::Receiver<Result<RecordBatch>>,
    stop: Option<Box<dyn FnOnce() + Send + Sync>>,
    finished: bool,
}

pub(crate) type BatchSender = mpsc::Sender<Result<RecordBatch>>;

impl BatchStream {
    /// `stop` runs when the stream is dropped before its end.
    pub(crate) fn channel(stop: impl FnOnce() + Send + Sync + 'static) -> (BatchSender, Self) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (sender, Self { receiver, stop: Some(Box::new(stop)), finished: false })
    }

    /// The next batch; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        let item = self.receiver.recv().await;
        self.finished |= item.is_none();
        item
    }
}

impl futures::Stream for BatchStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.receiver.poll_recv(cx);
        self.finished |= matches!(polled, Poll::Ready(None));
        polled
    }
}

impl Drop for BatchStream {
    fn drop(&mut self) {
        self.receiver.close();
        if let (false, Some(stop)) = (self.finished, self.stop.take()) {
            stop();
        }
    }
}

impl std::fmt::Debug for BatchStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchStream").field("finished", &self.finished).finish_non_exhaustive()
    }
}
