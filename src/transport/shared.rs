//! What all calls of one process to a destination share: its budget, and who counts them. Two audiences that run at the
//! same time must not each take the platform's whole allowance.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reveil_sdk::{Clock, ErrorKind, Limits};

use super::pace::Pacer;

/// Counts calls. Called from several tasks.
pub trait Meter: Send + Sync + Debug {
    /// One request got this answer; `None` is a good one.
    fn answered(&self, connector: &'static str, error: Option<ErrorKind>, took: Duration);
    /// The platform said 429.
    fn throttled(&self, connector: &'static str);
    /// A request is tried again after this error.
    fn retried(&self, connector: &'static str, after: ErrorKind);
}

#[derive(Debug)]
struct Unmetered;

impl Meter for Unmetered {
    fn answered(&self, _connector: &'static str, _error: Option<ErrorKind>, _took: Duration) {}
    fn throttled(&self, _connector: &'static str) {}
    fn retried(&self, _connector: &'static str, _after: ErrorKind) {}
}

/// The pacer of each destination, with the limits it was made for.
type Pacers = HashMap<String, (Limits, Arc<Pacer>)>;

/// See the module. Clones share.
#[derive(Debug, Clone)]
pub struct Shared {
    pacers: Arc<Mutex<Pacers>>,
    meter: Arc<dyn Meter>,
}

impl Default for Shared {
    fn default() -> Self {
        Self::metered(Arc::new(Unmetered))
    }
}

impl Shared {
    pub fn metered(meter: Arc<dyn Meter>) -> Self {
        Self { pacers: Arc::default(), meter }
    }

    pub(crate) fn meter(&self) -> &Arc<dyn Meter> {
        &self.meter
    }

    /// The destination's pacer; a new one when its limits were changed.
    pub(crate) fn pacer(&self, destination: &str, limits: &Limits, clock: &Arc<dyn Clock>) -> Arc<Pacer> {
        let mut pacers = self.pacers.lock().expect("no panic while held");
        if let Some((known, pacer)) = pacers.get(destination)
            && known == limits
        {
            return Arc::clone(pacer);
        }
        let pacer = Arc::new(Pacer::new(limits, Arc::clone(clock)));
        pacers.insert(destination.to_owned(), (*limits, Arc::clone(&pacer)));
        pacer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::VirtualClock;

    #[tokio::test]
    async fn two_audiences_share_the_budget_of_a_destination() {
        let time = VirtualClock::new(chrono::DateTime::UNIX_EPOCH);
        let clock: Arc<dyn Clock> = Arc::new(time.clone());
        let limits = Limits {
            max_batch_members: 1,
            max_batch_bytes: None,
            max_identifiers_per_member: 1,
            requests_per_minute: Some(60),
            max_in_flight: 2,
            session_secs: None,
            membership_days: None,
            min_audience: 0,
        };
        let shared = Shared::default();
        for _ in 0..60 {
            let (one, other) = (shared.pacer("meta", &limits, &clock), shared.clone().pacer("meta", &limits, &clock));
            drop(one.admit("Test").await.unwrap());
            drop(other.admit("Test").await.unwrap());
        }
        assert!(time.now() >= chrono::DateTime::UNIX_EPOCH + Duration::from_secs(59));
        let before = time.now();
        drop(shared.pacer("google", &limits, &clock).admit("Test").await.unwrap());
        assert_eq!(time.now(), before, "another destination has its own");
    }
}
