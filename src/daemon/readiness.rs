//! Whether the process can do its work: what `/readyz` answers and systemd's watchdog is fed by.

use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::Daemon;

/// The state must answer within this.
const DATABASE_PATIENCE: Duration = Duration::from_secs(3);

/// One thing that has to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Condition {
    pub name: &'static str,
    pub ok: bool,
    /// What is wrong, or what was seen.
    pub detail: String,
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Readiness {
    pub ready: bool,
    pub conditions: Vec<Condition>,
}

/// When the scheduler last took a step.
#[derive(Debug)]
pub(super) struct Pulse(Mutex<DateTime<Utc>>);

impl Pulse {
    pub(super) fn new(now: DateTime<Utc>) -> Self {
        Self(Mutex::new(now))
    }
    pub(super) fn beat(&self, now: DateTime<Utc>) {
        *self.0.lock().expect("no panic while held") = now;
    }
    fn last(&self) -> DateTime<Utc> {
        *self.0.lock().expect("no panic while held")
    }
}

impl Daemon {
    /// Database reachable, configuration loaded, scheduler taking steps.
    pub async fn readiness(&self) -> Readiness {
        let loaded = self.loaded();
        let database = tokio::time::timeout(DATABASE_PATIENCE, self.store.runs(None, 1)).await;
        let database = match database {
            Ok(Ok(_)) => Condition { name: "database", ok: true, detail: "answers".to_owned() },
            Ok(Err(_)) => {
                Condition { name: "database", ok: false, detail: "answers with an error; see the log".into() }
            }
            Err(_) => {
                let detail = format!("no answer within {} s", DATABASE_PATIENCE.as_secs());
                Condition { name: "database", ok: false, detail }
            }
        };
        let configuration =
            Condition { name: "configuration", ok: true, detail: format!("loaded at {}", loaded.at.to_rfc3339()) };
        let conditions = vec![database, configuration, self.scheduler_condition()];
        Readiness { ready: conditions.iter().all(|condition| condition.ok), conditions }
    }

    /// Whether the scheduler took a step lately.
    pub fn scheduler_condition(&self) -> Condition {
        let patience = Duration::from_secs(self.loaded().config.scheduler.ready_secs);
        let silent = (self.clock.now() - self.pulse.last()).to_std().unwrap_or_default();
        let detail = format!("last step {} s ago", silent.as_secs());
        Condition { name: "scheduler", ok: silent <= patience, detail }
    }
}
