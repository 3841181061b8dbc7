//! What a run tells while it goes, written to the state so that anybody may watch it on any replica.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reveil_sdk::Clock;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::warn;

use crate::store::Store;
use crate::sync::Progress;

/// Between two figures of the same thing.
const EVERY: Duration = Duration::from_secs(1);

/// Hears a run's progress, writes it down, and passes it on to whoever sits at the terminal.
#[derive(Debug)]
pub(crate) struct Recorder<'a> {
    sender: mpsc::UnboundedSender<(&'static str, Value)>,
    told: Mutex<HashMap<String, Instant>>,
    beside: Option<&'a dyn Progress>,
}

/// Writes what a [`Recorder`] hears; ends when the recorder is gone.
pub(crate) async fn write(
    store: Store,
    clock: Arc<dyn Clock>,
    run_id: String,
    mut receiver: mpsc::UnboundedReceiver<(&'static str, Value)>,
) {
    while let Some((kind, body)) = receiver.recv().await {
        if let Err(error) = store.add_run_event(&run_id, clock.now(), kind, &body).await {
            // What a run tells is not worth a failed run.
            warn!(run.id = run_id, error = %error, "An event of a run could not be kept");
        }
    }
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(beside: Option<&'a dyn Progress>) -> (Self, mpsc::UnboundedReceiver<(&'static str, Value)>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { sender, told: Mutex::default(), beside }, receiver)
    }

    pub(crate) fn tell(&self, kind: &'static str, body: Value) {
        // The writer outlives the recorder.
        let _ = self.sender.send((kind, body));
    }

    /// Whether this was not told within the last second.
    fn is_due(&self, what: &str) -> bool {
        let mut told = self.told.lock().expect("no panic while held");
        let now = Instant::now();
        if told.get(what).is_some_and(|last| now - *last < EVERY) {
            return false;
        }
        told.insert(what.to_owned(), now);
        true
    }
}

impl Progress for Recorder<'_> {
    fn stage(&self, text: &str) {
        self.tell("stage", json!({ "text": text }));
        if let Some(beside) = self.beside {
            beside.stage(text);
        }
    }
    fn rows(&self, rows: u64) {
        if self.is_due("rows") {
            self.tell("progress", json!({ "rows": rows }));
        }
        if let Some(beside) = self.beside {
            beside.rows(rows);
        }
    }
    fn members(&self, destination: &str, operation: &'static str, done: u64, total: u64) {
        if self.is_due(&format!("{destination} {operation}")) || done >= total {
            let body = json!({ "destination": destination, "operation": operation, "done": done, "total": total });
            self.tell("progress", body);
        }
        if let Some(beside) = self.beside {
            beside.members(destination, operation, done, total);
        }
    }
    fn note(&self, text: &str) {
        self.tell("warning", json!({ "text": text }));
        if let Some(beside) = self.beside {
            beside.note(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_thinned_out_but_the_last_is_told() {
        let (recorder, mut receiver) = Recorder::new(None);
        for done in 0..=1_000 {
            recorder.members("meta", "add", done, 1_000);
        }
        recorder.stage("Reading the warehouse");
        drop(recorder);
        let mut told = Vec::new();
        while let Ok((kind, body)) = receiver.try_recv() {
            told.push((kind, body["done"].clone()));
        }
        assert_eq!(told, [("progress", json!(0)), ("progress", json!(1_000)), ("stage", Value::Null)]);
    }
}
