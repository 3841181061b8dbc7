//! A run as the API shows it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use reveil_sdk::MatchObservation;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::super::App;
use crate::store::StoreError;
use crate::store::model::{DestinationRun, Run, RunKind, RunState, kind_name};

/// One sync of one audience.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(title = "Run")]
pub struct RunDocument {
    #[schema(example = "20260101-050000-4f2a1c")]
    pub id: String,
    #[schema(value_type = RunKindName)]
    pub kind: RunKind,
    #[schema(example = "dormant")]
    pub audience: String,
    #[schema(value_type = RunStateName)]
    pub state: RunState,
    /// The segment is taken as of then.
    pub as_of: DateTime<Utc>,
    pub requested_at: DateTime<Utc>,
    /// A token's name, `schedule`, or the user of a command.
    #[schema(example = "airflow")]
    pub requested_by: String,
    /// `null` while it waits.
    pub started_at: Option<DateTime<Utc>>,
    /// `null` until it ends.
    pub finished_at: Option<DateTime<Utc>>,
    /// How many workers have taken it up, one after the other.
    #[schema(minimum = 0)]
    pub attempt: u32,
    /// Somebody asked it to stop.
    pub cancel_requested: bool,
    /// Nothing is sent.
    pub dry_run: bool,
    /// Who or what asked, in the caller's own words.
    pub origin: Option<String>,
    /// From customers to people who may be uploaded; `null` before the warehouse was read.
    pub segment: Option<Segment>,
    pub destinations: Vec<RunDestination>,
    pub totals: Totals,
    /// What stopped all of it; errors of single destinations stand there.
    pub error: Option<RunError>,
    pub links: RunLinks,
}

/// What a run is for: `sync` sends the difference, `full` everything, `refresh` what would lapse.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes RunKind in the document; the state's own type knows nothing of HTTP")]
pub enum RunKindName {
    Sync,
    Full,
    Refresh,
}

/// How far it came. `pending`: everything is sent, and a platform has not given its verdict. Ended are `done`,
/// `partial`, `failed` and `cancelled`.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes RunState in the document; the state's own type knows nothing of HTTP")]
pub enum RunStateName {
    Queued,
    Running,
    Done,
    Pending,
    Partial,
    Failed,
    Cancelled,
}

/// From customers to people who may be uploaded.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Segment {
    pub customers: u64,
    pub inactive: u64,
    pub active: u64,
    /// Too little is known of them to call them inactive.
    pub unknown: u64,
    /// Rows without a customer id.
    pub guests: u64,
    pub eligible: u64,
    /// Left out, by reason.
    pub excluded: BTreeMap<String, u64>,
}

/// The part of a run at one destination.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RunDestination {
    #[schema(example = "meta-fr")]
    pub destination: String,
    #[schema(example = "meta")]
    pub connector: String,
    #[schema(value_type = RunStateName)]
    pub state: RunState,
    pub counts: RunCounts,
    /// Left out for this destination on top of the segment's, by reason.
    pub excluded: BTreeMap<String, u64>,
    /// What the platform said of matching.
    pub observations: Vec<RunObservation>,
    pub error: Option<RunError>,
    pub warnings: Vec<String>,
}

/// In members.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RunCounts {
    /// Held before.
    pub held_before: u64,
    pub add: u64,
    pub remove: u64,
    pub refresh: u64,
    pub keep: u64,
    /// Of `add` and `remove`: members some of whose identifiers changed.
    pub update: u64,
    /// Left to the next round.
    pub deferred: u64,
    /// Sent and taken.
    pub sent: u64,
    pub requests: u64,
    /// Refused by the platform, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Entries the platform refused without naming the member.
    pub rejected_unnamed: u64,
}

/// A match reading, with its kind and the platform's own definition.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RunObservation {
    pub as_of: DateTime<Utc>,
    pub sent: u64,
    #[schema(example = "bounds")]
    pub kind: &'static str,
    #[schema(minimum = 0, maximum = 1)]
    pub low: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    pub high: Option<f64>,
    pub matched: Option<u64>,
    pub definition: String,
}

/// Over all destinations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Totals {
    pub added: u64,
    pub removed: u64,
    pub kept: u64,
    pub rejected: u64,
    pub requests: u64,
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunError {
    /// A stable name: `guard_refused`, `not_configured`, `permission`, `platform_unavailable`, `platform_failed`,
    /// `warehouse_failed`, `state_unavailable`, `too_many_rejected`, `audience_busy`, `ledger_failed`, `disk_failed`,
    /// `stopped` or `failed`.
    #[schema(example = "guard_refused")]
    pub code: String,
    pub message: String,
    /// What to do.
    #[serde(default)]
    pub hint: Option<String>,
}

/// Where more of it is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RunLinks {
    #[serde(rename = "self")]
    #[schema(example = "/v1/runs/20260101-050000-4f2a1c")]
    pub this: String,
    /// Live events.
    pub events: String,
    /// For people.
    pub page: String,
}

impl RunLinks {
    /// Whole addresses when the config says how the daemon is reached, else paths.
    pub fn of(app: &App, id: &str) -> Self {
        let server = app.server();
        let base = server.public_url.as_ref().map_or("", |url| url.as_str()).trim_end_matches('/');
        Self {
            this: format!("{base}/v1/runs/{id}"),
            events: format!("{base}/v1/runs/{id}/events"),
            page: format!("{base}/runs/{id}"),
        }
    }
}

/// The run with its parts.
///
/// # Errors
/// The state's.
pub async fn document(app: &App, run: Run) -> Result<RunDocument, StoreError> {
    let parts = app.daemon.store().destination_runs(&run.id).await?;
    Ok(put_together(RunLinks::of(app, &run.id), run, parts))
}

fn put_together(links: RunLinks, run: Run, parts: Vec<DestinationRun>) -> RunDocument {
    let outcome = run.outcome.unwrap_or_default();
    let destinations: Vec<_> = parts.into_iter().map(|part| destination(part, &outcome)).collect();
    RunDocument {
        totals: totals(&destinations),
        error: run.error.map(|message| error(&outcome, message)),
        dry_run: run.options["dry_run"] == true,
        origin: run.options["origin"].as_str().map(str::to_owned),
        segment: run.segment.and_then(|segment| serde_json::from_value(segment).ok()),
        id: run.id,
        kind: run.kind,
        audience: run.audience,
        state: run.state,
        as_of: run.as_of,
        requested_at: run.requested_at,
        requested_by: run.requested_by,
        started_at: run.started_at,
        finished_at: run.finished_at,
        attempt: run.attempt,
        cancel_requested: run.cancel_requested,
        destinations,
        links,
    }
}

fn destination(part: DestinationRun, outcome: &Value) -> RunDestination {
    let all = outcome["destinations"].as_array();
    let report = all.and_then(|all| all.iter().find(|report| report["destination"] == part.destination.as_str()));
    let report = report.unwrap_or(&Value::Null);
    let read = |key: &str| report.get(key).cloned().unwrap_or_default();
    let observations: Vec<MatchObservation> = serde_json::from_value(read("observations")).unwrap_or_default();
    RunDestination {
        excluded: serde_json::from_value(part.counts["excluded"].clone()).unwrap_or_default(),
        counts: serde_json::from_value(part.counts).unwrap_or_default(),
        observations: observations.into_iter().map(RunObservation::from).collect(),
        warnings: serde_json::from_value(read("warnings")).unwrap_or_default(),
        error: part.error.map(|message| error(report, message)),
        destination: part.destination,
        connector: part.connector,
        state: part.state,
    }
}

fn error(report: &Value, message: String) -> RunError {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let code = text(&report["error_code"]).or_else(|| text(&report["error"]["code"]));
    let hint = text(&report["hint"]).or_else(|| text(&report["error"]["hint"]));
    RunError { code: code.unwrap_or_else(|| "failed".to_owned()), message, hint }
}

fn totals(destinations: &[RunDestination]) -> Totals {
    destinations.iter().map(|destination| &destination.counts).fold(Totals::default(), |sum, counts| Totals {
        added: sum.added + counts.add,
        removed: sum.removed + counts.remove,
        kept: sum.kept + counts.keep,
        rejected: sum.rejected + counts.rejected.values().sum::<u64>() + counts.rejected_unnamed,
        requests: sum.requests + counts.requests,
    })
}

impl From<MatchObservation> for RunObservation {
    fn from(reading: MatchObservation) -> Self {
        Self {
            as_of: reading.as_of,
            sent: reading.sent,
            kind: kind_name(reading.kind),
            low: reading.low,
            high: reading.high,
            matched: reading.matched,
            definition: reading.definition,
        }
    }
}
