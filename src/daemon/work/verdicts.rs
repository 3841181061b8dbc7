//! When a platform is asked what it has decided.

use std::time::Duration;

use chrono::TimeDelta;

use crate::store::StoreError;
use crate::store::jobs::NewJob;
use crate::store::model::RunState;
use crate::sync::{Engine, SyncReport};

/// Between two questions for a verdict, at most.
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(2);
/// Platforms promise a verdict within a day; after so many nobody will give one.
pub(crate) const VERDICT_DEADLINE: TimeDelta = TimeDelta::days(7);

/// Has the verdicts of a run asked for that are still open.
///
/// # Errors
/// The database's.
pub(crate) async fn ask_for_verdicts(engine: &Engine, report: &SyncReport) -> Result<(), StoreError> {
    if report.state != RunState::Pending {
        return Ok(());
    }
    let now = engine.clock.now();
    let first = first_question(engine, &report.audience);
    let job = NewJob {
        audience: Some(report.audience.clone()),
        dedup_key: Some(format!("status:{}", report.audience)),
        run_at: now + first,
        ..NewJob::new("status", now)
    };
    engine.store.enqueue(&job, now).await.map(drop)
}

/// How long after a run its verdicts are asked for: what its fastest platform says, else the scheduler's.
pub(crate) fn first_question(engine: &Engine, audience: &str) -> Duration {
    let usual = engine.config.scheduler.status_poll.0;
    let Some(audience) = engine.config.audience.get(audience) else { return usual };
    let own = audience.destinations.iter().filter_map(|name| engine.config.destination.get(name)?.poll_first_secs);
    // At least a second, or a platform that decides never would be asked without a pause.
    own.min().map_or(usual, |secs| Duration::from_secs(secs.max(1)))
}

/// Pauses grow with the age of the question: half of it, within bounds.
pub(crate) fn next_question(age: TimeDelta, first: Duration) -> TimeDelta {
    let first = TimeDelta::from_std(first).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE);
    (age / 2).clamp(first, LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_asked_for_ever_more_seldom() {
        let mut age = TimeDelta::minutes(30);
        let mut pauses = Vec::new();
        while age < TimeDelta::hours(26) {
            let pause = next_question(age, Duration::from_secs(30 * 60));
            pauses.push(pause.num_minutes());
            age += pause;
        }
        assert_eq!(pauses[..6], [30, 30, 45, 67, 101, 120]);
        assert!(pauses.len() < 20 && pauses.windows(2).all(|pair| pair[0] <= pair[1]), "{pauses:?}");
        assert_eq!(next_question(TimeDelta::zero(), Duration::from_secs(1)), TimeDelta::seconds(1));
    }
}
