//! How often somebody may call, how much is answered at a time.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Code, Problem};
use crate::config::ServerConfig;

/// Callers remembered at most. Beyond it the full buckets are dropped first, and then strangers share one.
const MOST_KEYS: usize = 20_000;

/// See the module.
#[derive(Debug)]
pub struct Limits {
    /// What they were made for.
    bounds: Bounds,
    /// Calls of each token.
    pub tokens: Arc<Buckets<String>>,
    /// Calls that need no token, of each address.
    pub addresses: Arc<Buckets<IpAddr>>,
    /// Calls without a valid token, of each address.
    pub failures: Arc<Buckets<IpAddr>>,
    pub requests: Arc<Semaphore>,
    pub streams: Arc<Semaphore>,
    pub plans: Arc<Semaphore>,
}

/// The settings that limits come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    per_second: u32,
    burst: u32,
    requests: usize,
    streams: usize,
    plans: usize,
}

impl Bounds {
    fn of(server: &ServerConfig) -> Self {
        Self {
            per_second: server.rate_limit.per_second,
            burst: server.rate_limit.burst,
            requests: server.max_concurrent_requests,
            streams: server.max_event_streams,
            plans: server.max_concurrent_plans,
        }
    }
}

impl Limits {
    pub fn new(server: &ServerConfig) -> Self {
        let bounds = Bounds::of(server);
        let buckets = |part: u32| (bounds.per_second / part, bounds.burst / part);
        Self {
            tokens: Arc::new(Buckets::new(buckets(1))),
            addresses: Arc::new(Buckets::new(buckets(1))),
            failures: Arc::new(Buckets::new(buckets(10))),
            requests: Arc::new(Semaphore::new(bounds.requests)),
            streams: Arc::new(Semaphore::new(bounds.streams)),
            plans: Arc::new(Semaphore::new(bounds.plans)),
            bounds,
        }
    }

    /// Whether they are what `server` asks for.
    pub fn are_of(&self, server: &ServerConfig) -> bool {
        self.bounds == Bounds::of(server)
    }

    /// For a changed configuration. What did not change keeps its count; of what did, those that are under way do not
    /// count towards the new limit.
    #[must_use]
    pub fn changed(&self, server: &ServerConfig) -> Self {
        let (mut new, old) = (Self::new(server), self.bounds);
        if (new.bounds.per_second, new.bounds.burst) == (old.per_second, old.burst) {
            new.tokens = Arc::clone(&self.tokens);
            new.addresses = Arc::clone(&self.addresses);
            new.failures = Arc::clone(&self.failures);
        }
        let kept = [
            (&mut new.requests, &self.requests, new.bounds.requests == old.requests),
            (&mut new.streams, &self.streams, new.bounds.streams == old.streams),
            (&mut new.plans, &self.plans, new.bounds.plans == old.plans),
        ];
        for (new, old, _) in kept.into_iter().filter(|(.., same)| *same) {
            *new = Arc::clone(old);
        }
        new
    }

    /// # Errors
    /// `overloaded` when there is none left.
    pub fn permit(from: &Arc<Semaphore>, what: &str) -> Result<OwnedSemaphorePermit, Problem> {
        from.clone().try_acquire_owned().map_err(|_| {
            Problem::new(Code::Overloaded).detail(format!("as many {what} are open as are allowed")).retry_after(2)
        })
    }

    /// As [`permit`](Self::permit), after waiting in turn for a while.
    ///
    /// # Errors
    /// `overloaded` when none came free.
    pub async fn permit_within(
        from: &Arc<Semaphore>,
        what: &str,
        patience: Duration,
    ) -> Result<OwnedSemaphorePermit, Problem> {
        match tokio::time::timeout(patience, from.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Self::permit(from, what),
        }
    }
}

/// Addresses of one household or host count as one.
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        },
        v4 => v4,
    }
}

type Keyed<K> = RateLimiter<K, DashMapStateStore<K>, DefaultClock, StateInformationMiddleware>;

/// A bucket for each caller.
pub struct Buckets<K: Hash + Eq + Clone> {
    limiter: Keyed<K>,
    quota: Quota,
    shared: RateLimiter<
        governor::state::NotKeyed,
        governor::state::InMemoryState,
        DefaultClock,
        StateInformationMiddleware,
    >,
}

impl<K: Hash + Eq + Clone> std::fmt::Debug for Buckets<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buckets").field("callers", &self.limiter.len()).field("quota", &self.quota).finish()
    }
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn new((per_second, burst): (u32, u32)) -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst));
        Self {
            limiter: RateLimiter::dashmap(quota).with_middleware(),
            quota,
            shared: RateLimiter::direct(quota).with_middleware(),
        }
    }

    /// Takes one call out of the caller's bucket.
    ///
    /// # Errors
    /// `too_many_requests`, with when to come back.
    pub fn take(&self, key: &K) -> Result<Standing, Problem> {
        if self.limiter.len() >= MOST_KEYS {
            self.limiter.retain_recent();
        }
        let outcome = if self.limiter.len() >= MOST_KEYS { self.shared.check() } else { self.limiter.check_key(key) };
        match outcome {
            Ok(state) => Ok(Standing { remaining: state.remaining_burst_capacity(), quota: self.quota }),
            Err(until) => {
                let secs = until.wait_time_from(DefaultClock::default().now()).as_secs() + 1;
                let mut problem = Problem::new(Code::TooManyRequests).retry_after(secs);
                problem.headers.extend(Standing { remaining: 0, quota: self.quota }.headers());
                Err(problem)
            }
        }
    }
}

/// How a caller stands with its limit.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    remaining: u32,
    quota: Quota,
}

impl Standing {
    fn headers(self) -> [(HeaderName, HeaderValue); 3] {
        let burst = self.quota.burst_size().get();
        let refill = self.quota.replenish_interval() * (burst - self.remaining.min(burst));
        [
            (HeaderName::from_static("ratelimit-limit"), HeaderValue::from(burst)),
            (HeaderName::from_static("ratelimit-remaining"), HeaderValue::from(self.remaining)),
            (HeaderName::from_static("ratelimit-reset"), HeaderValue::from(refill.as_secs_f64().ceil() as u64)),
        ]
    }

    pub fn write(self, headers: &mut HeaderMap) {
        headers.extend(self.headers());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_a_bucket_of_its_own() {
        let buckets = Buckets::new((1, 2));
        let (a, b) = ("a".to_owned(), "b".to_owned());
        assert_eq!(buckets.take(&a).unwrap().remaining, 1);
        assert!(buckets.take(&a).is_ok());
        let refused = buckets.take(&a).unwrap_err();
        assert_eq!(refused.code, Code::TooManyRequests);
        assert!(refused.headers.iter().any(|(name, value)| name == "retry-after" && value == "1"));
        assert!(buckets.take(&b).is_ok());
    }

    #[test]
    fn what_a_reload_leaves_as_it_was_keeps_its_count() {
        let server = ServerConfig::default();
        let before = Limits::new(&server);
        let held = Limits::permit(&before.plans, "plans").unwrap();
        let after = ServerConfig { max_event_streams: 1, ..server.clone() };
        assert!(before.are_of(&server) && !before.are_of(&after));
        let limits = before.changed(&after);
        assert!(limits.are_of(&after));
        assert_eq!((limits.plans.available_permits(), limits.streams.available_permits()), (1, 1));
        assert!(Arc::ptr_eq(&limits.tokens, &before.tokens));
        drop(held);
        assert_eq!(limits.plans.available_permits(), 2);
    }

    #[tokio::test]
    async fn a_permit_is_waited_for_but_not_for_ever() {
        let plans = Arc::new(Semaphore::new(1));
        let held = Limits::permit(&plans, "plans").unwrap();
        let refused = Limits::permit_within(&plans, "plans", Duration::from_millis(5)).await.unwrap_err();
        assert_eq!(refused.code, Code::Overloaded);
        let long = Duration::from_secs(3_600);
        let waiting = tokio::spawn(async move { Limits::permit_within(&plans, "plans", long).await.is_ok() });
        tokio::task::yield_now().await;
        drop(held);
        assert!(waiting.await.unwrap());
    }

    #[test]
    fn memory_stays_bounded_under_strangers() {
        let buckets = Buckets::new((1, 1));
        let refused = (0..MOST_KEYS + 50).filter(|key| buckets.take(&key.to_string()).is_err()).count();
        assert!(buckets.limiter.len() <= MOST_KEYS);
        assert!(refused > 0, "the last ones share a bucket");
    }

    #[test]
    fn one_network_is_one_caller() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
