//! Messages on their way: jobs of the queue, so that no run waits for a channel and the end of the process loses none.
//!
//! One job tries all channels at once. While nobody has taken the message it comes back, with growing pauses, for as long
//! as what it tells stands; with the first channel that takes it the alert counts as told. Channels that did not, and may
//! yet, get a job of their own, which gives up soon: somebody knows by then.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tracing::{debug, error, warn};

use super::message::Message;
use super::{Daemon, channel};
use crate::connectors::Places;
use crate::daemon::work::End;
use crate::store::jobs::{Job, NewJob};
use crate::sync::Engine;

/// The kind of the job.
pub(crate) const JOB: &str = "alert";
/// Before the usual work: it is short, and people wait for it.
const PRIORITY: i64 = 20;
/// Pauses between the first tries.
const PAUSES: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(20), Duration::from_secs(45)];
/// And between all later ones.
const LONG_PAUSE: TimeDelta = TimeDelta::minutes(10);
/// A channel is given up after so long when another has taken the message.
const TOLD_ENOUGH: TimeDelta = TimeDelta::minutes(2);
/// And when none has. What still stands then is found again, and told of anew.
const OLD_NEWS: TimeDelta = TimeDelta::days(3);

/// What the job carries.
#[derive(Debug, Serialize, Deserialize)]
struct Delivery {
    /// Of the alert: the message is dropped when it has another by now.
    state: String,
    message: Message,
    /// Only these; all of the configuration when absent, and then nobody was told yet.
    channels: Option<Vec<String>>,
}

/// The job that tells everybody.
pub(super) fn job(state: &str, message: Message, now: DateTime<Utc>) -> NewJob {
    let dedup_key = format!("alert:{}:{state}", message.key);
    let delivery = Delivery { state: state.to_owned(), message, channels: None };
    of(&delivery, dedup_key, now)
}

fn of(delivery: &Delivery, dedup_key: String, run_at: DateTime<Utc>) -> NewJob {
    let payload = serde_json::to_value(delivery).expect("texts and times are JSON");
    NewJob { payload, dedup_key: Some(dedup_key), priority: PRIORITY, ..NewJob::new(JOB, run_at) }
}

/// How long after its last try a message is tried again.
fn pause(age: TimeDelta) -> TimeDelta {
    let mut at = Duration::ZERO;
    let age = age.to_std().unwrap_or_default();
    for pause in PAUSES {
        at += pause;
        if age < at {
            return TimeDelta::from_std(pause).unwrap_or(LONG_PAUSE);
        }
    }
    LONG_PAUSE
}

/// What came of one try.
enum Came {
    Taken,
    /// Trying again may help.
    Passing,
    Refused,
}

impl Daemon {
    /// Tries once.
    pub(in crate::daemon) async fn deliver(&self, engine: &Engine, job: &Job) -> anyhow::Result<End> {
        let delivery: Delivery = serde_json::from_value(job.payload.clone())?;
        let Delivery { state, message, channels } = &delivery;
        let now = engine.clock.now();
        let standing = engine.store.alert_state(&message.key).await?.filter(|standing| standing.state == *state);
        let Some(standing) = standing else {
            return Ok(End::Done(serde_json::json!({ "left_out": "no longer so" })));
        };
        if channels.is_none() && standing.last_sent_at.is_some() {
            return Ok(End::Done(serde_json::json!({ "left_out": "told before" })));
        }
        let known = &engine.config.alerts.channel;
        let wanted = |name: &String| channels.as_ref().is_none_or(|channels| channels.contains(name));
        let names: Vec<&String> = known.keys().filter(|name| wanted(name)).collect();
        let came = join_all(names.iter().map(|name| self.send(engine, name, message))).await;
        let taken = came.iter().filter(|came| matches!(came, Came::Taken)).count();
        let mut rest: Vec<String> = names
            .iter()
            .zip(&came)
            .filter(|(_, came)| matches!(came, Came::Passing))
            .map(|(name, _)| (*name).clone())
            .collect();
        let age = now - job.created_at;
        if channels.is_some() {
            rest.retain(|_| age < TOLD_ENOUGH);
        } else if taken == 0 {
            return Ok(if age > OLD_NEWS {
                error!(alert = message.key, "An alert reached nobody in three days");
                End::Failed("no channel took it".to_owned())
            } else {
                End::Later(pause(age))
            });
        } else {
            engine.store.alert_told(&message.key, state, now).await?;
        }
        if !rest.is_empty() {
            let pause = pause(if channels.is_some() { age } else { TimeDelta::zero() });
            if channels.as_ref() == Some(&rest) {
                return Ok(End::Later(pause));
            }
            let dedup_key = format!("alert:{}:{state}:{}", message.key, rest.join(","));
            let more = Delivery { state: state.clone(), message: message.clone(), channels: Some(rest) };
            engine.store.enqueue(&of(&more, dedup_key, now + pause), now).await?;
        }
        Ok(End::Done(serde_json::json!({ "channels": names.len(), "taken": taken })))
    }

    async fn send(&self, engine: &Engine, name: &str, message: &Message) -> Came {
        let Some(settings) = engine.config.alerts.channel.get(name) else { return Came::Refused };
        // Without a key only the channels that keep a secret there fail.
        let vault = engine.vault().ok();
        let places = Places { environment: &engine.environment, base_dir: &engine.base_dir, vault };
        let sent = channel::send(name, settings, message, &places, engine.clock.now()).await;
        let outcome = if sent.is_ok() { "done" } else { "failed" };
        let labels = crate::telemetry::metrics::ChannelLabels { channel: name.to_owned(), outcome };
        self.metrics().alerts.get_or_create(&labels).inc();
        match sent {
            Ok(()) => {
                debug!(channel = name, alert = message.key, "A message was delivered");
                Came::Taken
            }
            Err(error) if error.passing => {
                warn!(channel = name, error = %error, "A channel did not take a message; it is tried again");
                Came::Passing
            }
            Err(error) => {
                error!(channel = name, error = %error, "A message could not be delivered");
                Came::Refused
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_then_stay() {
        let of = |secs| pause(TimeDelta::seconds(secs)).num_seconds();
        assert_eq!([0, 4, 5, 24, 25, 69, 70, 9_999].map(of), [5, 5, 20, 20, 45, 45, 600, 600]);
    }
}
