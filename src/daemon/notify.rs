//! Tells systemd how the service does; does nothing under anything else.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::Daemon;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Notifier {
    /// The watchdog wants to hear within this.
    watchdog: Option<Duration>,
}

impl Notifier {
    pub(super) fn from_environment() -> Self {
        Self { watchdog: sd_notify::watchdog_enabled() }
    }

    pub(super) fn ready(&self) {
        tell(&[NotifyState::Ready, NotifyState::Status("working")]);
    }

    pub(super) fn stopping(&self) {
        tell(&[NotifyState::Stopping, NotifyState::Status("runs end their batch")]);
    }

    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => debug!(error = %error, "systemd was not told of the reload"),
        }
    }

    /// Tells the watchdog that all is well for as long as the scheduler takes its steps.
    pub(super) async fn feed(self, daemon: Arc<Daemon>, stop: CancellationToken) {
        let Some(within) = self.watchdog else { return };
        while !stop.is_cancelled() {
            let scheduler = daemon.scheduler_condition();
            if scheduler.ok {
                tell(&[NotifyState::Watchdog]);
            } else {
                warn!(
                    detail = scheduler.detail,
                    "The scheduler stands still; the watchdog is not told that all is well"
                );
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(within / 3) => {}
            }
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(error = %error, "systemd could not be told");
    }
}
