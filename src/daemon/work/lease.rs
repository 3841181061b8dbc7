//! Keeps a job for its worker, beside the work: a comparison of millions of members must not cost the lease.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use reveil_sdk::Clock;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::control::Control;
use crate::store::Store;
use crate::store::claims::Claim;
use crate::sync::Stop;

/// Between two looks whether somebody wants the run to stop.
const LOOK: Duration = Duration::from_secs(1);

/// Holds the lease until it is stopped or dropped.
#[derive(Debug)]
pub(crate) struct Keeper {
    task: JoinHandle<()>,
    done: CancellationToken,
}

impl Keeper {
    /// No heartbeat and no look is under way after this.
    pub(crate) async fn stop(mut self) {
        self.done.cancel();
        // A panic in it has been reported; the job goes on to its end.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.done.cancel();
    }
}

/// Starts to keep the job.
pub(crate) fn keep(store: Store, clock: Arc<dyn Clock>, claim: Claim, lease: Duration, control: Control) -> Keeper {
    let done = CancellationToken::new();
    control.held_until(Instant::now() + usable(lease));
    let task = tokio::spawn(beat(store, clock, claim, lease, control, done.clone()));
    Keeper { task, done }
}

/// The part of a lease in which new work may be begun: the rest is for a request that is under way.
fn usable(lease: Duration) -> Duration {
    lease.mul_f64(0.8)
}

async fn beat(
    store: Store,
    clock: Arc<dyn Clock>,
    claim: Claim,
    lease: Duration,
    control: Control,
    done: CancellationToken,
) {
    let span = TimeDelta::from_std(lease).unwrap_or(TimeDelta::minutes(1));
    let mut next_beat = Instant::now() + lease / 3;
    loop {
        tokio::select! {
            () = done.cancelled() => return,
            () = tokio::time::sleep(LOOK.min(lease / 3)) => {}
        }
        if Instant::now() >= next_beat {
            let asked = Instant::now();
            let answer = tokio::time::timeout(lease / 3, store.heartbeat(&claim, span, clock.now())).await;
            match answer {
                Ok(Ok(true)) => control.held_until(asked + usable(lease)),
                Ok(Ok(false)) => return control.stop(Stop::LeaseLost),
                Ok(Err(error)) => warn!(job = claim.job.id, error = %error, "No heartbeat; the lease still runs"),
                Err(_) => warn!(job = claim.job.id, "No heartbeat; the database does not answer"),
            }
            next_beat = asked + lease / 3;
        }
        if let Some(run) = &claim.job.run_id
            && let Ok(true) = store.cancel_requested(run).await
        {
            control.stop(Stop::Cancelled);
        }
        if control.why() == Some(Stop::LeaseLost) {
            return control.stop(Stop::LeaseLost);
        }
    }
}
