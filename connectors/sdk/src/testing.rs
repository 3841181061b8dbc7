//! Test doubles for connector authors: a transport that answers from a script and keeps what it was asked.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::HeaderMap;

use crate::context::{Call, Clock, Interpret, Pace, Reply, Transport};
use crate::error::{Error, ErrorKind, Result};

/// Answers calls in order; records them. Retries nothing, so that a test sees exactly one request per call.
#[derive(Debug, Default)]
pub struct ScriptedTransport {
    replies: Mutex<VecDeque<(u16, HeaderMap, Bytes)>>,
    calls: Mutex<Vec<Call>>,
    paces: Mutex<Vec<Pace>>,
}

impl ScriptedTransport {
    pub fn new() -> Self {
        Self::default()
    }
    /// The next reply.
    #[must_use]
    pub fn reply(self, status: u16, body: impl Into<Bytes>) -> Self {
        self.replies.lock().expect("no panic while held").push_back((status, HeaderMap::new(), body.into()));
        self
    }
    /// The next reply, with headers.
    #[must_use]
    pub fn reply_with(self, status: u16, headers: HeaderMap, body: impl Into<Bytes>) -> Self {
        self.replies.lock().expect("no panic while held").push_back((status, headers, body.into()));
        self
    }
    /// What was asked so far.
    pub fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().expect("no panic while held"))
    }
    /// What `Interpret::pace` said of the replies.
    pub fn paces(&self) -> Vec<Pace> {
        std::mem::take(&mut *self.paces.lock().expect("no panic while held"))
    }
}

#[async_trait]
impl Transport for ScriptedTransport {
    async fn send(&self, call: Call, interpret: &dyn Interpret) -> Result<Reply> {
        let operation = call.operation;
        self.calls.lock().expect("no panic while held").push(call);
        let Some((status, headers, body)) = self.replies.lock().expect("no panic while held").pop_front() else {
            return Err(Error::new(ErrorKind::Unexpected, operation, "the script has no reply left"));
        };
        let reply = Reply { operation, status, headers, body };
        if let Some(pace) = interpret.pace(&reply) {
            self.paces.lock().expect("no panic while held").push(pace);
        }
        match interpret.error(&reply) {
            Some(error) => Err(error),
            None => Ok(reply),
        }
    }
}

/// A clock that stands still.
#[derive(Debug, Clone, Copy)]
pub struct FixedClock(pub DateTime<Utc>);

#[async_trait]
impl Clock for FixedClock {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }
    async fn sleep(&self, _duration: std::time::Duration) {}
}
