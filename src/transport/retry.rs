//! The one place that tries again.
//!
//! An error that advises [`Retry::After`] is tried again with exponential backoff and jitter, or after what the
//! platform asked for. When the tries or the time are used up it comes out as [`Retry::Exhausted`].

use std::sync::Arc;
use std::time::Duration;

use backoff::{BackoffBuilder, ExponentialBuilder};
use reveil_sdk::{Clock, Error, ErrorKind, Result, Retry};
use tracing::warn;

/// Bounds of trying again, per call.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    pub first_delay: Duration,
    pub max_delay: Duration,
    /// Tries after the first.
    pub max_retries: usize,
    /// A platform that asks for a longer pause than this gets it by ending the run, not by holding it open.
    pub max_requested_delay: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first_delay: Duration::from_secs(2),
            max_delay: Duration::from_secs(60),
            max_retries: 6,
            max_requested_delay: Duration::from_secs(20 * 60),
        }
    }
}

impl RetryPolicy {
    /// For somebody who waits at the terminal: gives up soon.
    pub fn brief() -> Self {
        Self { max_retries: 1, max_requested_delay: Duration::from_secs(10), ..Self::default() }
    }
}

/// Runs `attempt` until it succeeds, may not be tried again, or was tried often enough.
///
/// # Errors
/// The last error, never advising `After`.
pub async fn with_retry<T, F, Fut>(policy: RetryPolicy, clock: &Arc<dyn Clock>, mut attempt: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    // Driven by hand rather than through `Retryable`: its closures do not infer `Send` over borrowed calls.
    let mut delays = ExponentialBuilder::default()
        .with_min_delay(policy.first_delay)
        .with_max_delay(policy.max_delay)
        .with_max_times(policy.max_retries)
        .with_jitter()
        .build();
    let mut unanswered = false;
    loop {
        let mut error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        // A clear refusal now does not tell what became of an earlier try.
        unanswered |= error.is_unanswered();
        if unanswered {
            error = error.unanswered();
        }
        let asked = match error.retry_advice() {
            Retry::Never | Retry::Exhausted => return Err(error),
            Retry::After(asked) => asked,
        };
        let Some(planned) = delays.next().filter(|_| asked.is_none_or(|asked| asked <= policy.max_requested_delay))
        else {
            return Err(exhausted(error));
        };
        // Never earlier than asked; the planned jitter spreads those who were asked the same.
        let delay = asked.map_or(planned.min(policy.max_delay), |asked| asked + planned / 4);
        warn!(
            operation = error.operation(),
            error_kind = error.kind().name(),
            delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            "Trying again"
        );
        clock.sleep(delay).await;
    }
}

fn exhausted(error: Error) -> Error {
    match error.retry_advice() {
        Retry::Never | Retry::Exhausted => error,
        Retry::After(asked) => {
            let hint = match (asked, error.hint_text()) {
                (_, Some(hint)) => hint.to_owned(),
                (Some(asked), None) => {
                    format!("the platform asks to wait {} s; what was sent is kept, run again then", asked.as_secs())
                }
                (None, None) if error.kind() == ErrorKind::RateLimited => {
                    "the platform keeps refusing more calls; what was sent is kept, run again later".to_owned()
                }
                (None, None) => "the platform could not be reached; what was sent is kept, run again later".to_owned(),
            };
            error.retry(Retry::Exhausted).hint(hint)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::clock::VirtualClock;

    fn clock() -> (VirtualClock, Arc<dyn Clock>) {
        let clock = VirtualClock::new(chrono::DateTime::UNIX_EPOCH);
        (clock.clone(), Arc::new(clock))
    }

    #[tokio::test]
    async fn waits_at_least_as_long_as_asked() {
        let (time, clock) = clock();
        let tries = AtomicUsize::new(0);
        let result = with_retry(RetryPolicy::default(), &clock, || async {
            if tries.fetch_add(1, Ordering::Relaxed) == 0 {
                return Err(Error::new(ErrorKind::RateLimited, "Test", "slow down")
                    .retry(Retry::After(Some(Duration::from_secs(300)))));
            }
            Ok(())
        })
        .await;
        assert!(result.is_ok());
        assert_eq!(tries.load(Ordering::Relaxed), 2);
        assert!(time.now() >= chrono::DateTime::UNIX_EPOCH + Duration::from_secs(300));
    }

    #[tokio::test]
    async fn gives_up_as_exhausted_and_never_retries_a_refusal() {
        let (_, clock) = clock();
        let tries = AtomicUsize::new(0);
        let error = with_retry(RetryPolicy::default(), &clock, || async {
            tries.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(Error::new(ErrorKind::Unavailable, "Test", "down"))
        })
        .await
        .unwrap_err();
        assert_eq!(error.retry_advice(), Retry::Exhausted);
        assert!(error.hint_text().is_some());
        assert_eq!(tries.load(Ordering::Relaxed), 7);
        let tries = AtomicUsize::new(0);
        let error = with_retry(RetryPolicy::default(), &clock, || async {
            tries.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(Error::new(ErrorKind::Rejected, "Test", "no"))
        })
        .await
        .unwrap_err();
        assert_eq!((error.retry_advice(), tries.load(Ordering::Relaxed)), (Retry::Never, 1));
    }
}
