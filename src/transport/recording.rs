//! Keeps calls instead of sending them: the dry run shows the very requests a sync would send, made by the same code.

use std::sync::Mutex;

use async_trait::async_trait;
use reveil_sdk::{Call, Error, ErrorKind, Interpret, Reply, Result, Transport};

/// See the module.
#[derive(Debug, Default)]
pub struct RecordingTransport {
    calls: Mutex<Vec<Call>>,
}

impl RecordingTransport {
    /// The calls so far, emptied.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().expect("no panic while held"))
    }
}

#[async_trait]
impl Transport for RecordingTransport {
    async fn send(&self, call: Call, _interpret: &dyn Interpret) -> Result<Reply> {
        let operation = call.operation;
        self.calls.lock().expect("no panic while held").push(call);
        Err(Error::new(ErrorKind::Unsupported, operation, "recorded, not sent"))
    }
}
