//! How fast one destination is called: requests per minute, calls in flight, slowing down when the platform's usage
//! headers say so, and not at all for a while after many failures in a row.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use reveil_sdk::{Clock, Error, ErrorKind, Limits, Pace, Result, Retry};
use tokio::sync::{Semaphore, SemaphorePermit};

/// From this share of the allowance on, calls are spread out.
const SLOW_FROM_RATIO: f64 = 0.75;
/// From this share on, the destination pauses.
const PAUSE_FROM_RATIO: f64 = 0.95;
const PAUSE: Duration = Duration::from_secs(60);
/// Failed sends in a row (each already retried) after which the breaker opens.
const BREAKER_FAILURES: u32 = 5;
const BREAKER_OPEN: Duration = Duration::from_secs(60);

/// See the module. One per destination.
#[derive(Debug)]
pub struct Pacer {
    clock: Arc<dyn Clock>,
    in_flight: Semaphore,
    requests_per_minute: Option<u32>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Calls that may be made at once; refilled evenly up to a minute's allowance.
    allowance: f64,
    refilled_at: Option<DateTime<Utc>>,
    next_call: Option<DateTime<Utc>>,
    used_ratio: f64,
    failures_in_row: u32,
    open_until: Option<DateTime<Utc>>,
}

impl State {
    /// Takes one call from the allowance; how long until it may be made.
    fn take(&mut self, requests_per_minute: Option<u32>, now: DateTime<Utc>) -> Duration {
        let Some(limit) = requests_per_minute.map(|limit| f64::from(limit.max(1))) else { return Duration::ZERO };
        let per_second = limit / 60.0;
        let idle = self.refilled_at.map_or(60.0, |at| (now - at).to_std().unwrap_or_default().as_secs_f64());
        self.refilled_at = Some(now);
        self.allowance = (self.allowance + idle * per_second).min(limit) - 1.0;
        Duration::from_secs_f64((-self.allowance / per_second).max(0.0))
    }
}

impl Pacer {
    pub fn new(limits: &Limits, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            in_flight: Semaphore::new(limits.max_in_flight.max(1) as usize),
            requests_per_minute: limits.requests_per_minute,
            state: Mutex::default(),
        }
    }

    /// Waits until a call may be made.
    ///
    /// # Errors
    /// `Unavailable` (not retried) while the breaker is open.
    pub async fn admit(&self, operation: &'static str) -> Result<SemaphorePermit<'_>> {
        let permit = self.in_flight.acquire().await.expect("the semaphore is never closed");
        let wait = {
            let mut state = self.state.lock().expect("no panic while held");
            let now = self.clock.now();
            if let Some(until) = state.open_until {
                if now < until {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        operation,
                        "too many failures in a row; not calling",
                    )
                    .retry(Retry::Exhausted)
                    .hint("the platform failed repeatedly; what was sent is kept, run again in a few minutes"));
                }
                state.open_until = None;
            }
            let start = state.next_call.map_or(now, |next| next.max(now));
            let start = start + state.take(self.requests_per_minute, now);
            let slow = ((state.used_ratio - SLOW_FROM_RATIO) / (PAUSE_FROM_RATIO - SLOW_FROM_RATIO)).clamp(0.0, 1.0);
            state.next_call = (slow > 0.0).then(|| start + Duration::from_secs_f64(slow * 5.0));
            (start - now).to_std().unwrap_or_default()
        };
        if !wait.is_zero() {
            self.clock.sleep(wait).await;
        }
        Ok(permit)
    }

    /// What the platform said of its use.
    pub fn observe(&self, pace: Pace) {
        let mut state = self.state.lock().expect("no panic while held");
        state.used_ratio = pace.used_ratio;
        let pause = pace.pause.or_else(|| (pace.used_ratio >= PAUSE_FROM_RATIO).then_some(PAUSE));
        if let Some(pause) = pause {
            let until = self.clock.now() + pause;
            state.next_call = Some(state.next_call.map_or(until, |next| next.max(until)));
        }
    }

    /// Result of a send after all retries.
    pub fn record(&self, reached: bool) {
        let mut state = self.state.lock().expect("no panic while held");
        if reached {
            state.failures_in_row = 0;
            return;
        }
        state.failures_in_row += 1;
        if state.failures_in_row >= BREAKER_FAILURES {
            state.failures_in_row = 0;
            state.open_until = Some(self.clock.now() + BREAKER_OPEN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::VirtualClock;

    fn pacer(per_minute: Option<u32>) -> (VirtualClock, Pacer) {
        let clock = VirtualClock::new(DateTime::UNIX_EPOCH);
        let limits = Limits {
            max_batch_members: 1,
            max_batch_bytes: None,
            max_identifiers_per_member: 1,
            requests_per_minute: per_minute,
            max_in_flight: 2,
            session_secs: None,
            membership_days: None,
            min_audience: 0,
        };
        let pacer = Pacer::new(&limits, Arc::new(clock.clone()));
        (clock, pacer)
    }

    #[tokio::test]
    async fn keeps_to_the_requests_per_minute() {
        let (clock, pacer) = pacer(Some(60));
        for _ in 0..60 {
            drop(pacer.admit("Test").await.unwrap());
        }
        assert_eq!(clock.now(), DateTime::UNIX_EPOCH);
        for _ in 0..60 {
            drop(pacer.admit("Test").await.unwrap());
        }
        assert!(clock.now() >= DateTime::UNIX_EPOCH + Duration::from_secs(59));
    }

    #[tokio::test]
    async fn pauses_when_the_allowance_is_nearly_used() {
        let (clock, pacer) = pacer(None);
        pacer.observe(Pace { used_ratio: 0.96, pause: None });
        drop(pacer.admit("Test").await.unwrap());
        assert!(clock.now() >= DateTime::UNIX_EPOCH + PAUSE);
    }

    #[tokio::test]
    async fn opens_after_failures_in_a_row_and_closes_again() {
        let (clock, pacer) = pacer(None);
        for _ in 0..BREAKER_FAILURES {
            pacer.record(false);
        }
        assert_eq!(pacer.admit("Test").await.unwrap_err().kind(), ErrorKind::Unavailable);
        clock.advance(BREAKER_OPEN);
        assert!(pacer.admit("Test").await.is_ok());
    }
}
