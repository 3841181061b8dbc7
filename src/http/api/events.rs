//! What happens in a run, live. Events come out of the state, so that it does not matter which replica runs it; this
//! process's own are noticed at once, others' within half a second.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use utoipa::{IntoParams, ToSchema};

use super::super::App;
use super::super::auth::{Caller, Means};
use super::super::limits::Limits;
use super::super::problem::{FieldFault, Problem};
use super::paths::RunPath;
use super::runs::visible_run;
use crate::store::Store;
use crate::store::events::RunEvent;

/// Other replicas' events are asked for this often.
const POLL: Duration = Duration::from_millis(500);
/// Proxies close what stays silent.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A client that lost its connection comes back after this long.
const RECONNECT: Duration = Duration::from_secs(2);

/// Where to go on.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header in the document; it is read as it is")]
pub struct EventsHeaders {
    /// The last event that was seen; only later ones follow
    #[serde(rename = "Last-Event-ID")]
    #[param(pattern = "^[0-9]{1,18}$", example = "17")]
    last_event_id: Option<String>,
}

/// One event of the stream.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the stream in the document")]
pub struct SentEvent {
    /// The event's number in the run.
    #[schema(example = "17")]
    id: String,
    #[schema(value_type = EventKind)]
    event: EventKind,
    /// A JSON object: `at` in all; `state`; `text` of a stage or warning; `rows`, or `destination`, `operation`, `done` and
    /// `total` of progress.
    #[schema(
        example = "{\"at\":\"2026-01-01T05:00:03Z\",\"destination\":\"meta-fr\",\"operation\":\"add\",\"done\":500,\"total\":900}"
    )]
    data: String,
    /// Milliseconds after which a client that lost its connection comes back.
    #[schema(example = 2000)]
    retry: Option<u32>,
}

/// What happened.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes the stream in the document")]
pub enum EventKind {
    State,
    Stage,
    Progress,
    Warning,
    End,
}

/// Follow a run live
///
/// Server-sent events. The stream ends after `end`, and at once for a run that has ended and whose events were all seen.
#[utoipa::path(get, path = "/v1/runs/{id}/events", tag = "runs", operation_id = "follow_run",
    params(RunPath, EventsHeaders), security(("token" = ["viewer"])),
    responses((status = 200, description = "The events", body = SentEvent, content_type = "text/event-stream")))]
pub async fn events(
    State(app): State<App>,
    caller: Caller,
    Path(RunPath { id }): Path<RunPath>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    visible_run(&app, &caller, &id).await?;
    let seen = last_seen(&headers)?;
    let permit = Limits::permit(&app.limits().streams, "event streams")?;
    let follower = Follower {
        store: app.daemon.store().clone(),
        let_in: (caller.means == Means::Loopback).then(|| app.clone()),
        run: id,
        seen,
        waiting: VecDeque::new(),
        bell: app.daemon.store().run_event_bell(),
        stopping: app.stopping.clone(),
        over: false,
        looked_again: false,
        _permit: permit,
    };
    let sse = Sse::new(follower.stream()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    let mut response = sse.into_response();
    // nginx would otherwise collect the events.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

fn last_seen(headers: &HeaderMap) -> Result<i64, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(0) };
    value
        .to_str()
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Problem::invalid(vec![FieldFault::new("header", "Last-Event-ID", "is not the id of an event")]))
}

/// One client that follows one run.
struct Follower {
    store: Store,
    /// Whom a caller without a token has to thank; closed, the stream ends too.
    let_in: Option<App>,
    run: String,
    seen: i64,
    waiting: VecDeque<RunEvent>,
    bell: watch::Receiver<()>,
    stopping: CancellationToken,
    over: bool,
    /// The run had ended when it was last looked at; its last event may come a moment later.
    looked_again: bool,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut follower| async move {
            let event = follower.next().await?;
            follower.seen = event.seq;
            follower.over = event.kind == "end";
            let mut data = event.body;
            if let Some(fields) = data.as_object_mut() {
                fields.insert("at".to_owned(), serde_json::to_value(event.at).unwrap_or_default());
            }
            let sent = Event::default().id(event.seq.to_string()).event(event.kind).retry(RECONNECT);
            Some((Ok(sent.data(data.to_string())), follower))
        })
    }

    /// The next event, or nothing when there will be none.
    async fn next(&mut self) -> Option<RunEvent> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            let closed = self.let_in.as_ref().is_some_and(|app| !app.server().open_on_loopback);
            if self.over || closed {
                return None;
            }
            // Asked for before the events: a run that is over by now has written all of them.
            let ended = self.run_is_over().await?;
            self.bell.mark_unchanged();
            match self.store.run_events(&self.run, self.seen).await {
                Ok(events) => self.waiting.extend(events),
                Err(error) => {
                    warn!(run.id = %self.run, error = %error, "Live events cannot be read");
                    return None;
                }
            }
            if self.waiting.is_empty() {
                if ended && std::mem::replace(&mut self.looked_again, true) {
                    return None;
                }
                tokio::select! {
                    () = self.stopping.cancelled() => return None,
                    _ = self.bell.changed() => {}
                    () = tokio::time::sleep(POLL) => {}
                }
            }
        }
    }

    async fn run_is_over(&self) -> Option<bool> {
        self.store.run(&self.run).await.ok().flatten().map(|run| run.finished_at.is_some())
    }
}
