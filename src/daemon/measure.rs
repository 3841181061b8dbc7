//! The gauges: how things stand, read from the state from time to time. What a key of the configuration no longer names
//! disappears.

use std::collections::HashSet;
use std::hash::Hash;

use chrono::{DateTime, Utc};
use prometheus_client::metrics::family::{Family, MetricConstructor};

use super::Daemon;
use crate::connectors;
use crate::store::StoreError;
use crate::telemetry::metrics::{AudienceLabel, DestinationLabel, PlaceLabels, StateLabel};

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
        let mut destinations = HashSet::new();
        for expiry in self.credentials().await? {
            let Some(destination) = expiry.destination else { continue };
            let label = DestinationLabel { destination };
            metrics.credential_expiry.get_or_create(&label).set(expiry.expires_at.timestamp());
            destinations.insert(label);
        }
        self.forget_gone(&places, &audiences, &destinations);
        Ok(())
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

    fn forget_gone(
        &self,
        places: &HashSet<PlaceLabels>,
        audiences: &HashSet<AudienceLabel>,
        destinations: &HashSet<DestinationLabel>,
    ) {
        let metrics = self.metrics();
        let mut known = self.measured.lock().expect("no panic while held");
        for place in known.places.difference(places) {
            remove(&metrics.held, place);
            remove(&metrics.minimum, place);
            remove(&metrics.match_rate_low, place);
            remove(&metrics.match_rate_high, place);
        }
        for audience in known.audiences.difference(audiences) {
            remove(&metrics.last_success, audience);
            remove(&metrics.stale_after, audience);
        }
        for destination in known.destinations.difference(destinations) {
            remove(&metrics.credential_expiry, destination);
        }
        *known = Measured { places: places.clone(), audiences: audiences.clone(), destinations: destinations.clone() };
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
}
