//! Who is told when something is wrong: one message when a state begins, one when it ends, from one replica.
//!
//! - [`rules`]: what is wrong, as values.
//! - [`drop`]: whether a match rate fell further than it usually moves.
//! - [`message`]: what is said; [`channel`]: how it gets there.

pub(crate) mod channel;
pub(crate) mod drop;
pub(crate) mod message;
pub(crate) mod rules;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Daemon;
use crate::connectors::Places;
use crate::store::StoreError;
use crate::store::model::Run;
use crate::sync::{Engine, SyncReport};
use message::Message;
use rules::{Finding, State};

/// Between two looks at what no run tells: silence, credentials.
const EVERY: Duration = Duration::from_secs(60);
/// Tries per channel and message.
const TRIES: u32 = 3;

/// Sends a test message to these channels, or to all; what came of each.
pub(crate) async fn test_channels(
    engine: &Engine,
    only: &[String],
) -> Vec<(String, Result<(), channel::ChannelError>)> {
    let vault = engine.vault().ok();
    let places = Places { environment: &engine.environment, base_dir: &engine.base_dir, vault };
    let message = Message::test(engine.clock.now());
    let mut results = Vec::new();
    for (name, channel) in &engine.config.alerts.channel {
        if only.is_empty() || only.contains(name) {
            results.push((name.clone(), channel::send(name, channel, &message, &places).await));
        }
    }
    results
}

impl Daemon {
    /// After a run: did it fail, was too much rejected, did the match rate fall, is the audience large enough?
    pub(super) async fn alert_on_run(&self, run: &Run, report: Option<&SyncReport>) {
        let loaded = self.loaded();
        let mut findings = rules::of_run(&loaded.config.alerts, run, report);
        findings.extend(self.places(&run.audience).await);
        self.tell_all(findings).await;
    }

    /// After late verdicts.
    pub(super) async fn alert_on_readings(&self, audience: &str) {
        self.tell_all(self.places(audience).await).await;
    }

    /// Everything that no run tells.
    pub async fn alert_step(&self) {
        let now = self.clock().now();
        let mut findings = match self.credentials().await {
            Ok(expiries) => rules::of_credentials(&self.loaded().config.alerts, &expiries, now),
            Err(error) => return warn!(error = %error, "The alerts could not be looked at"),
        };
        for audience in self.loaded().config.audience.keys() {
            match self.silence(audience).await {
                Ok(silence) => findings.extend(silence.map(|silence| rules::of_silence(audience, &silence, now))),
                Err(error) => return warn!(error = %error, "The alerts could not be looked at"),
            }
        }
        self.tell_all(findings).await;
    }

    /// Looks for as long as the process lives.
    pub async fn run_alerts(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.alert_step().await;
            if let Err(error) = self.measure().await {
                warn!(error = %error, "The figures could not be brought up to date");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// The findings about each place an audience goes to; none when the state cannot be read.
    async fn places(&self, audience: &str) -> Vec<Finding> {
        match rules::of_places(self, audience).await {
            Ok(findings) => findings,
            Err(error) => {
                warn!(audience, error = %error, "The alerts could not be looked at");
                Vec::new()
            }
        }
    }

    async fn tell_all(&self, findings: Vec<Finding>) {
        for finding in findings {
            if let Err(error) = self.tell(&finding).await {
                error!(alert = finding.key, error = %error, "The state of an alert could not be kept");
            }
        }
    }

    /// Tells people when the state is new; of several replicas one does.
    async fn tell(&self, finding: &Finding) -> Result<(), StoreError> {
        let known = self.store().alert_state(&finding.key).await?;
        let standing = known.as_ref().is_some_and(|known| known.state != State::FINE);
        // That all is well is no news unless it was not.
        if finding.state == State::Fine && !standing {
            return Ok(());
        }
        let now = self.clock().now();
        if !self.store().alert_due(&finding.key, &finding.state.name(), None, now).await? {
            return Ok(());
        }
        let loaded = self.loaded();
        let message = Message::of(finding, &loaded.config, now);
        match &finding.state {
            State::Fine => info!(alert = finding.key, text = message.text, "Recovered"),
            State::Firing(_) => warn!(alert = finding.key, text = message.text, "Alert"),
        }
        let channels = &loaded.config.alerts.channel;
        // At once: one that does not answer delays no other.
        let sent = join_all(channels.iter().map(|(name, channel)| self.send(name, channel, &message))).await;
        if !sent.is_empty() && !sent.contains(&true) {
            self.store().alert_unsent(&finding.key).await?;
        }
        Ok(())
    }

    /// True when it arrived.
    async fn send(&self, name: &str, channel: &crate::config::alerts::ChannelConfig, message: &Message) -> bool {
        let engine = self.engine();
        // Without a key only the channels that keep a secret there fail.
        let vault = engine.vault().ok();
        let places = Places { environment: &engine.environment, base_dir: &engine.base_dir, vault };
        for attempt in 1..=TRIES {
            match channel::send(name, channel, message, &places).await {
                Ok(()) => {
                    self.count_message(name, "done");
                    return true;
                }
                Err(error) if attempt == TRIES || !error.passing => {
                    error!(channel = name, error = %error, "A message could not be delivered");
                    break;
                }
                Err(_) => self.clock().sleep(Duration::from_secs(5 * u64::from(attempt * attempt))).await,
            }
        }
        self.count_message(name, "failed");
        false
    }

    fn count_message(&self, name: &str, outcome: &'static str) {
        let labels = crate::telemetry::metrics::ChannelLabels { channel: name.to_owned(), outcome };
        self.metrics().alerts.get_or_create(&labels).inc();
    }
}
