//! The gauges: how things stand, read from the state from time to time. What a key of the configuration no longer names
//! disappears.

use std::collections::HashSet;
use std::hash::Hash;

use chrono::{DateTime, TimeDelta, Utc};
use prometheus_client::metrics::family::{Family, MetricConstructor};

use super::Daemon;
use crate::connectors;
use crate::store::StoreError;
use crate::telemetry::metrics::{AudienceLabel, CredentialLabels, DestinationLabel, PlaceLabels, StateLabel};

/// A request to be forgotten that is open for longer wants somebody.
const OVERDUE: TimeDelta = TimeDelta::days(1);

impl Daemon {
    /// # Errors
    /// The database's.
    pub async fn measure(&self) -> Result<(), StoreError> {
        self.measure_queue().await?;
        let loaded = self.loaded();
        let metrics = self.metrics();
        let (mut places, mut audiences) = (HashSet::new(), HashSet::new());
        for (audience, settings) in &loaded.config.audience {
            let label = AudienceLabel { audience: audience.clone() };
            if let Some(silence) = self.silence(audience).await? {
                let allowed = (silence.stale_at - silence.since).num_seconds();
                metrics.stale_after.get_or_create(&label).set(allowed);
            }
            if let Some(last) = self.last_success(audience).await? {
                metrics.last_success.get_or_create(&label).set(last.timestamp());
            }
            audiences.insert(label);
            let readings = self.store().observations(Some(audience)).await?;
            for destination in &settings.destinations {
                let place = PlaceLabels { audience: audience.clone(), destination: destination.clone() };
                if let Some(held) = self.held(audience, destination).await? {
                    metrics.held.get_or_create(&place).set(i64::try_from(held).unwrap_or(i64::MAX));
                }
                let descriptor = loaded.config.destination.get(destination);
                let descriptor = descriptor.and_then(|destination| connectors::find(&destination.connector));
                if let Some(builtin) = descriptor {
                    metrics.minimum.get_or_create(&place).set(i64::from(builtin.descriptor.limits.min_audience));
                }
                let latest = readings.iter().rfind(|reading| reading.primary && reading.destination == *destination);
                if let Some((low, high)) = latest.and_then(|latest| latest.reading.low.zip(latest.reading.high)) {
                    metrics.match_rate_low.get_or_create(&place).set(low);
                    metrics.match_rate_high.get_or_create(&place).set(high);
                }
                places.insert(place);
            }
        }
        let known = Measured { places, audiences, ..self.measure_access().await? };
        let open = self.store().forget_requests_open_before(self.clock().now() - OVERDUE).await?;
        metrics.overdue_erasures.set(i64::try_from(open).unwrap_or(i64::MAX));
        self.forget_gone(known);
        Ok(())
    }

    /// Whether destinations answer, and until when somebody may do something.
    async fn measure_access(&self) -> Result<Measured, StoreError> {
        let (loaded, metrics) = (self.loaded(), self.metrics());
        let mut known = Measured::default();
        // Another replica may have looked last.
        for health in self.store().destination_healths().await? {
            if loaded.config.destination.contains_key(&health.destination) {
                let label = DestinationLabel { destination: health.destination };
                metrics.destination_up.get_or_create(&label).set(i64::from(health.state != "down"));
                known.destinations.insert(label);
            }
        }
        let of_destinations = self.credentials().await?.into_iter().filter_map(|expiry| {
            let labels = CredentialLabels { destination: expiry.destination?, token: String::new() };
            Some((labels, expiry.expires_at))
        });
        let of_tokens = self
            .token_expiries()
            .await?
            .into_iter()
            .map(|expiry| (CredentialLabels { destination: String::new(), token: expiry.name }, expiry.expires_at));
        for (labels, expires_at) in of_destinations.chain(of_tokens) {
            metrics.credential_expiry.get_or_create(&labels).set(expires_at.timestamp());
            known.credentials.insert(labels);
        }
        Ok(known)
    }

    async fn measure_queue(&self) -> Result<(), StoreError> {
        let now = self.clock().now();
        let depth = self.store().queue_depth(now).await?;
        for (state, jobs) in [("due", depth.due), ("waiting", depth.waiting - depth.due), ("running", depth.running)] {
            let jobs = i64::try_from(jobs).unwrap_or(i64::MAX);
            self.metrics().queue_jobs.get_or_create(&StateLabel { state }).set(jobs);
        }
        let lag = depth.oldest_due_at.map_or(0.0, |due| (now - due).as_seconds_f64().max(0.0));
        self.metrics().due_lag.set(lag);
        Ok(())
    }

    /// The last moment at which all destinations of the audience were up to date; `None` before all have been.
    pub(super) async fn last_success(&self, audience: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        let loaded = self.loaded();
        let Some(settings) = loaded.config.audience.get(audience) else { return Ok(None) };
        let delivered = self.store().delivered_at(audience).await?;
        let moments: Option<Vec<_>> = settings.destinations.iter().map(|name| delivered.get(name).copied()).collect();
        Ok(moments.and_then(|moments| moments.into_iter().min()))
    }

    fn forget_gone(&self, now: Measured) {
        let metrics = self.metrics();
        let mut known = self.measured.lock().expect("no panic while held");
        for place in known.places.difference(&now.places) {
            remove(&metrics.held, place);
            remove(&metrics.minimum, place);
            remove(&metrics.match_rate_low, place);
            remove(&metrics.match_rate_high, place);
        }
        for audience in known.audiences.difference(&now.audiences) {
            remove(&metrics.last_success, audience);
            remove(&metrics.stale_after, audience);
        }
        for destination in known.destinations.difference(&now.destinations) {
            remove(&metrics.destination_up, destination);
        }
        for credential in known.credentials.difference(&now.credentials) {
            remove(&metrics.credential_expiry, credential);
        }
        *known = now;
    }
}

fn remove<S: Clone + Hash + Eq, M: Clone, C: MetricConstructor<M>>(family: &Family<S, M, C>, labels: &S) {
    family.remove(labels);
}

/// What the gauges show now.
#[derive(Debug, Default)]
pub(super) struct Measured {
    places: HashSet<PlaceLabels>,
    audiences: HashSet<AudienceLabel>,
    destinations: HashSet<DestinationLabel>,
    credentials: HashSet<CredentialLabels>,
}
