//! The clock every simulated platform reads: real, sped up, or moved by hand. Nothing else in the crate asks for the time.

use chrono::{DateTime, TimeDelta, Utc};
use std::sync::Mutex;

/// Says what time it is on the simulated platforms. Token lifetimes, sessions, processing delays and expiry follow it.
pub trait Time: Send + Sync + 'static {
    /// The platforms' current time.
    fn now(&self) -> DateTime<Utc>;
    /// Moves the platforms' clock to `at`, forwards or backwards.
    fn set(&self, at: DateTime<Utc>);
}

/// The machine's clock, optionally shifted and running `speed` times as fast.
#[derive(Debug)]
pub struct RealTime {
    speed: f64,
    /// Real moment and the platform moment that belongs to it.
    anchor: Mutex<(DateTime<Utc>, DateTime<Utc>)>,
}

impl RealTime {
    /// A clock that starts `offset` away from now and runs `speed` times as fast as the machine's (1.0 = real).
    pub fn new(speed: f64, offset: TimeDelta) -> Self {
        let now = Utc::now();
        Self { speed, anchor: Mutex::new((now, now + offset)) }
    }
}

impl Default for RealTime {
    fn default() -> Self {
        Self::new(1.0, TimeDelta::zero())
    }
}

impl Time for RealTime {
    fn now(&self) -> DateTime<Utc> {
        let (real, platform) = *self.anchor.lock().expect("the clock's lock is never held over a panic");
        let passed = (Utc::now() - real).num_milliseconds() as f64 * self.speed;
        platform + TimeDelta::milliseconds(passed as i64)
    }

    fn set(&self, at: DateTime<Utc>) {
        *self.anchor.lock().expect("the clock's lock is never held over a panic") = (Utc::now(), at);
    }
}

/// A clock that stands still until it is set.
#[derive(Debug)]
pub struct ManualTime(Mutex<DateTime<Utc>>);

impl ManualTime {
    /// A clock standing at `at`.
    pub fn new(at: DateTime<Utc>) -> Self {
        Self(Mutex::new(at))
    }
}

impl Time for ManualTime {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().expect("the clock's lock is never held over a panic")
    }

    fn set(&self, at: DateTime<Utc>) {
        *self.0.lock().expect("the clock's lock is never held over a panic") = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sped_up_clock_runs_from_where_it_was_set() {
        let clock = RealTime::new(3600.0, TimeDelta::zero());
        let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        clock.set(at);
        std::thread::sleep(std::time::Duration::from_millis(20));
        let passed = clock.now() - at;
        assert!(passed >= TimeDelta::seconds(70), "20 ms at 3600x are at least 72 s, got {passed}");
    }
}
