//! `[scheduler]`: how `reveil serve` works through its queue.

use serde::{Deserialize, Serialize};

use super::period::Period;

/// See the module.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchedulerConfig {
    /// Runs at the same time, over all replicas; each audience has at most one. A destination may allow fewer, see its
    /// `max_concurrent_runs`. Default 2.
    pub max_concurrent_runs: u32,
    /// Seconds after which a run whose worker is no longer heard of is taken up by another. Default 60, at least 3.
    pub lease_secs: u64,
    /// Seconds between two looks for work that other replicas, the API or the CLI queued. Default 2.
    pub poll_secs: u64,
    /// Seconds that runs get to end their batch when the process is told to stop. Default 30.
    pub shutdown_secs: u64,
    /// Times a run is begun before it counts as failed, when what stopped it (database, warehouse, network away) passes
    /// by itself. Default 5.
    pub max_attempts: u32,
    /// Before the first new attempt; doubled each time, up to an hour. Default "30s".
    pub retry_first_delay: Period,
    /// First question for the verdict of an asynchronous upload after a run, where the destination does not say (see
    /// `poll_first_secs`). Grows by half each time, up to two hours. Default "30m".
    pub status_poll: Period,
    /// How often members are looked for that lapse on a platform soon; they are renewed even where the audience has no
    /// schedule. Default "1d".
    pub expiry_check: Period,
    /// How often each destination's credential and account are tried. Default "6h".
    pub credential_check: Period,
    /// Without a step of the scheduler for this long `/readyz` says no. Seconds, default 60.
    pub ready_secs: u64,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            max_concurrent_runs: 2,
            lease_secs: 60,
            poll_secs: 2,
            shutdown_secs: 30,
            max_attempts: 5,
            retry_first_delay: Period::secs(30),
            status_poll: Period::secs(30 * 60),
            expiry_check: Period::secs(24 * 3600),
            credential_check: Period::secs(6 * 3600),
            ready_secs: 60,
        }
    }
}

impl SchedulerConfig {
    pub(super) fn faults(&self) -> Vec<(String, String)> {
        let checks = [
            (self.max_concurrent_runs == 0, "max_concurrent_runs", "must be at least 1"),
            (self.lease_secs < 3, "lease_secs", "must be at least 3: it is renewed three times before it ends"),
            (self.poll_secs == 0, "poll_secs", "must be at least 1"),
            (self.max_attempts == 0, "max_attempts", "must be at least 1"),
            (self.status_poll.0.is_zero(), "status_poll", "must be longer than nothing, as in \"30m\""),
            (self.expiry_check.0.as_secs() < 60, "expiry_check", "must be at least \"1m\""),
            (self.expiry_check.0.as_secs() > 7 * 86_400, "expiry_check", "must be at most \"1w\", or members lapse"),
            (self.credential_check.0.as_secs() < 60, "credential_check", "must be at least \"1m\""),
        ];
        let wrong = checks.into_iter().filter(|(wrong, ..)| *wrong);
        wrong.map(|(_, key, message)| (format!("scheduler.{key}"), message.to_owned())).collect()
    }
}
