//! Why a job has to stop, and how hard: it is asked to before its next batch, and dropped where it stands when it does
//! not come to that in time. Dropping is safe at any moment: the journal is made for a kill.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::sync::{RunControl, Stop};

/// What a cancelled run gets to end its batch.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// See the module. Clones share.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    state: Arc<Mutex<State>>,
    /// The process ends.
    shutdown: CancellationToken,
    /// To be dropped where it stands.
    dropped: CancellationToken,
    /// What a job gets to end its batch.
    grace: Duration,
}

#[derive(Debug)]
struct State {
    stop: Option<Stop>,
    /// Without a heartbeat until then somebody else may have the job.
    held_until: Option<Instant>,
}

impl Control {
    pub(crate) fn new(shutdown: CancellationToken, grace: Duration) -> Self {
        let state = Arc::new(Mutex::new(State { stop: None, held_until: None }));
        Self { state, shutdown, dropped: CancellationToken::new(), grace }
    }

    pub(crate) fn held_until(&self, until: Instant) {
        self.state.lock().expect("no panic while held").held_until = Some(until);
    }

    /// Asks for a stop; a lost lease comes before every other reason.
    pub(crate) fn stop(&self, why: Stop) {
        let mut state = self.state.lock().expect("no panic while held");
        if state.stop.is_none() || why == Stop::LeaseLost {
            state.stop = Some(why);
        }
        if why == Stop::LeaseLost {
            self.dropped.cancel();
        }
    }

    pub(crate) fn why(&self) -> Option<Stop> {
        self.check().err()
    }

    /// A request that is repeated over and over must not keep a cancelled run, whose caller waits.
    fn grace_of(&self, why: Stop) -> Duration {
        match why {
            Stop::LeaseLost => Duration::ZERO,
            Stop::Cancelled => self.grace.min(CANCEL_GRACE),
            Stop::ShuttingDown => self.grace,
        }
    }

    /// Ends when the job is to be dropped: at once when it is lost, after the grace when it was asked to stop.
    pub(crate) async fn dropped(&self) {
        let overdue = async {
            loop {
                if let Some(why) = self.why() {
                    return tokio::time::sleep(self.grace_of(why)).await;
                }
                tokio::select! {
                    () = self.shutdown.cancelled() => {}
                    () = tokio::time::sleep(Duration::from_millis(500)) => {}
                }
            }
        };
        tokio::select! {
            () = self.dropped.cancelled() => {}
            () = overdue => {}
        }
    }
}

impl RunControl for Control {
    fn check(&self) -> Result<(), Stop> {
        let state = self.state.lock().expect("no panic while held");
        // A process that was stopped and goes on has not heard of it by heartbeat yet.
        if state.held_until.is_some_and(|until| Instant::now() >= until) {
            return Err(Stop::LeaseLost);
        }
        match state.stop {
            Some(why) => Err(why),
            None if self.shutdown.is_cancelled() => Err(Stop::ShuttingDown),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_lease_comes_before_every_other_reason() {
        let control = Control::new(CancellationToken::new(), Duration::from_secs(30));
        assert_eq!(control.check(), Ok(()));
        control.stop(Stop::Cancelled);
        control.stop(Stop::ShuttingDown);
        assert_eq!(control.check(), Err(Stop::Cancelled), "the first reason stays");
        control.stop(Stop::LeaseLost);
        assert_eq!(control.check(), Err(Stop::LeaseLost));
        assert!(control.dropped.is_cancelled(), "and it is dropped at once");
    }

    #[test]
    fn a_cancelled_run_is_given_less_time_than_one_that_is_put_down() {
        let control = Control::new(CancellationToken::new(), Duration::from_secs(30));
        let graces = [Stop::LeaseLost, Stop::Cancelled, Stop::ShuttingDown].map(|why| control.grace_of(why).as_secs());
        assert_eq!(graces, [0, 5, 30]);
    }

    #[test]
    fn without_a_heartbeat_in_time_nothing_more_is_sent() {
        let control = Control::new(CancellationToken::new(), Duration::from_secs(30));
        control.held_until(Instant::now() + Duration::from_secs(3600));
        assert_eq!(control.check(), Ok(()));
        control.held_until(Instant::now());
        assert_eq!(control.check(), Err(Stop::LeaseLost));
    }

    #[test]
    fn a_process_that_ends_asks_its_jobs_to_stop() {
        let shutdown = CancellationToken::new();
        let control = Control::new(shutdown.clone(), Duration::from_secs(30));
        shutdown.cancel();
        assert_eq!(control.check(), Err(Stop::ShuttingDown));
        assert!(!control.dropped.is_cancelled(), "their batch may end");
    }
}
