//! Who is told when something is wrong: one message when a state begins, one when it ends, from one replica.
//!
//! - [`rules`]: what is wrong, as values.
//! - [`drop`]: whether a match rate fell further than it usually moves.
//! - [`message`]: what is said; [`delivery`]: until somebody took it; [`channel`]: how it gets there.

pub(crate) mod channel;
pub(crate) mod delivery;
pub(crate) mod drop;
pub(crate) mod message;
pub(crate) mod rules;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
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

/// Sends a test message to these channels, or to all; what came of each.
pub(crate) async fn test_channels(
    engine: &Engine,
    only: &[String],
) -> Vec<(String, Result<(), channel::ChannelError>)> {
    let vault = engine.vault().ok();
    let places = Places { environment: &engine.environment, base_dir: &engine.base_dir, vault };
    let now = engine.clock.now();
    let message = Message::test(now);
    let mut results = Vec::new();
    for (name, channel) in &engine.config.alerts.channel {
        if only.is_empty() || only.contains(name) {
            results.push((name.clone(), channel::send(name, channel, &message, &places, now).await));
        }
    }
    results
}

/// What keeps each channel from working that can be seen without sending: key, what is wrong, what to do.
pub(crate) async fn channel_faults(engine: &Engine) -> Vec<(String, Vec<channel::Fault>)> {
    let places = Places { environment: &engine.environment, base_dir: &engine.base_dir, vault: engine.vault().ok() };
    let mut all = Vec::new();
    for (name, settings) in &engine.config.alerts.channel {
        all.push((name.clone(), channel::faults(name, settings, &places).await));
    }
    all
}

impl Daemon {
    /// After a run: did it fail, was too much rejected, did the match rate fall, is the audience large enough?
    pub(super) async fn alert_on_run(&self, run: &Run, report: Option<&SyncReport>) {
        let loaded = self.loaded();
        let destinations = loaded.config.audience.get(&run.audience).map(|audience| &audience.destinations[..]);
        let mut findings = rules::of_run(&loaded.config.alerts, run, report, destinations.unwrap_or_default());
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
        let mut findings = match self.ending(now).await {
            Ok(findings) => findings,
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
        self.warn_of_channels().await;
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

    /// What is known of everything that expires.
    async fn ending(&self, now: DateTime<Utc>) -> Result<Vec<Finding>, StoreError> {
        let loaded = self.loaded();
        let alerts = &loaded.config.alerts;
        let mut findings = rules::of_credentials(alerts, &self.credentials().await?, now);
        findings.extend(rules::of_tokens(alerts, &self.token_expiries().await?, now));
        findings.extend(rules::of_gone_credentials(&self.store().alert_states().await?, &findings));
        Ok(findings)
    }

    /// Says which channels cannot work as they are; what it takes is often set in another place than the config.
    pub(super) async fn warn_of_channels(&self) {
        for (name, faults) in channel_faults(&self.engine()).await {
            for (key, error, hint) in faults {
                warn!(channel = name, key, error, hint, "Alerts cannot be sent through this channel");
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

    /// Writes a new state down and queues what people are told of it, in one step; of several replicas one does. Until
    /// somebody was told, each time the same is found again makes sure that the message is on its way.
    async fn tell(&self, finding: &Finding) -> Result<(), StoreError> {
        let state = finding.state.name();
        let known = self.store().alert_state(&finding.key).await?;
        let standing = known.as_ref().is_some_and(|known| known.state != State::FINE);
        // That all is well is no news unless it was not.
        let is_old = known.is_some_and(|known| known.state == state && known.last_sent_at.is_some());
        if is_old || (finding.state == State::Fine && !standing) {
            return Ok(());
        }
        let now = self.clock().now();
        let loaded = self.loaded();
        let message = Message::of(finding, &loaded.config, now);
        let text = message.text.clone();
        // With nobody to tell it stays untold, until there is somebody.
        let job = (!loaded.config.alerts.channel.is_empty()).then(|| delivery::job(&state, message, now));
        let raised = self.store().raise_alert(&finding.key, &state, job.as_ref(), now).await?;
        if raised.is_new {
            match &finding.state {
                State::Fine => info!(alert = finding.key, text, "Recovered"),
                State::Firing(_) => warn!(alert = finding.key, text, "Alert"),
            }
        }
        if raised.queued {
            self.wake();
        }
        Ok(())
    }
}
