//! The clocks: the machine's, and one that jumps when somebody sleeps (demo, tests).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use reveil_sdk::Clock;

/// The machine's clock; sleeping really sleeps.
#[derive(Debug, Clone, Copy, Default)]
pub struct MachineClock;

#[async_trait]
impl Clock for MachineClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// A clock that stands still until somebody sleeps or sets it. Clones share the time.
#[derive(Debug, Clone)]
pub struct VirtualClock(Arc<Mutex<DateTime<Utc>>>);

impl VirtualClock {
    pub fn new(start: DateTime<Utc>) -> Self {
        Self(Arc::new(Mutex::new(start)))
    }
    /// Moves forward; never back.
    pub fn advance(&self, duration: Duration) {
        let mut now = self.0.lock().expect("no panic while the clock is held");
        *now += duration;
    }
    pub fn set(&self, instant: DateTime<Utc>) {
        let mut now = self.0.lock().expect("no panic while the clock is held");
        *now = instant;
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().expect("no panic while the clock is held")
    }
    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
        // Whoever waits for a server in this process lets it run.
        tokio::task::yield_now().await;
    }
}

/// Reads `2026-01-01` (midnight UTC) or an RFC 3339 instant.
///
/// # Errors
/// What to write instead.
pub fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Ok(date.and_hms_opt(0, 0, 0).expect("midnight exists").and_utc());
    }
    DateTime::parse_from_rfc3339(text)
        .map(|at| at.with_timezone(&Utc))
        .map_err(|_| "write a date as 2026-01-01 or an instant as 2026-01-01T12:00:00Z".to_owned())
}
