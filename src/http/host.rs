//! What the HTTP edge needs of the daemon around it, in one place.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::sync::Engine;

/// One key of the configuration that a reload changed; secrets are masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ConfigChange {
    #[schema(example = "guards.max_removal_ratio")]
    pub key: String,
    /// Absent before.
    #[schema(example = "0.3")]
    pub before: Option<String>,
    /// Absent after.
    #[schema(example = "0.2")]
    pub after: Option<String>,
}

/// One thing that has to be in order before requests are useful.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Check {
    #[schema(example = "state")]
    pub name: &'static str,
    pub ok: bool,
    /// What is wrong and what to do; empty when all is well.
    pub message: String,
}

/// See the module.
#[async_trait]
pub trait Host: Send + Sync + Debug + 'static {
    /// The engine of the configuration in force.
    fn engine(&self) -> Engine;
    /// Reads the configuration anew and takes it over when it has no fault.
    ///
    /// # Errors
    /// All its faults; the old one stays in force.
    async fn reload(&self, actor: &str) -> anyhow::Result<Vec<ConfigChange>>;
    /// Jobs may be waiting.
    fn wake(&self);
    /// Changes whenever this process writes an event of a run. Other replicas' events have to be asked for.
    fn run_events(&self) -> watch::Receiver<u64>;
    async fn readiness(&self) -> Vec<Check>;
    /// The metrics in the OpenMetrics text format.
    fn metrics_text(&self) -> String;
    fn observe_request(&self, route: &str, method: &str, status: u16, elapsed: Duration);
    /// `missing`, `malformed`, `unknown`, `expired`, `revoked` or `limited`.
    fn count_auth_failure(&self, reason: &'static str);
    /// Set when the process is to end.
    fn stopping(&self) -> CancellationToken;
}
