//! Tells systemd how the service does; does nothing under anything else.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::Daemon;

/// Between two looks at what `systemctl status` shows, at most.
const LOOK: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Notifier {
    /// Somebody listens.
    heard: bool,
    /// The watchdog wants to hear within this.
    watchdog: Option<Duration>,
}

impl Notifier {
    pub(super) fn from_environment() -> Self {
        Self { heard: std::env::var_os("NOTIFY_SOCKET").is_some(), watchdog: sd_notify::watchdog_enabled() }
    }

    pub(super) fn ready(&self, daemon: &Daemon) {
        tell(&[NotifyState::Ready, NotifyState::Status(&status(daemon, false))]);
    }

    pub(super) fn stopping(&self, daemon: &Daemon) {
        tell(&[NotifyState::Stopping, NotifyState::Status(&status(daemon, true))]);
    }

    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now, NotifyState::Status("reads the configuration")]),
            Err(error) => debug!(error = %error, "systemd was not told of the reload"),
        }
    }

    /// Tells how many runs are under way; and the watchdog that all is well, for as long as the scheduler takes its
    /// steps and these `parts` live. While the process stops it always is: that has a limit of its own, and no step is
    /// taken any more.
    pub(super) async fn feed(
        self,
        daemon: Arc<Daemon>,
        parts: [AbortHandle; 2],
        stop: CancellationToken,
        end: CancellationToken,
    ) {
        if !self.heard {
            return;
        }
        let pause = self.watchdog.map_or(LOOK, |within| LOOK.min(within / 3));
        let mut said = String::new();
        while !end.is_cancelled() {
            let stopping = stop.is_cancelled();
            let text = status(&daemon, stopping);
            if text != said {
                tell(&[NotifyState::Status(&text)]);
                said = text;
            }
            if self.watchdog.is_some() {
                let scheduler = daemon.scheduler_condition();
                let lives = scheduler.ok && !parts.iter().any(AbortHandle::is_finished);
                if stopping || lives {
                    tell(&[NotifyState::Watchdog]);
                } else {
                    warn!(
                        scheduler = scheduler.detail,
                        "A part stands still; the watchdog is not told that all is well"
                    );
                }
            }
            tokio::select! {
                () = end.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

fn status(daemon: &Daemon, stopping: bool) -> String {
    let runs = match daemon.runs_under_way() {
        0 => "no run under way".to_owned(),
        1 => "1 run under way".to_owned(),
        runs => format!("{runs} runs under way"),
    };
    if stopping { format!("stopping; {runs}") } else { runs }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(error = %error, "systemd could not be told");
    }
}
