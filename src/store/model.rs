//! What the state holds, as plain values.

use chrono::{DateTime, Utc};
use reveil_sdk::{MatchKind, MatchObservation};
use serde::{Deserialize, Serialize};

/// How far a run came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Waits for a worker.
    Queued,
    Running,
    /// Everything sent and confirmed.
    Done,
    /// Sent; the platform has not decided on all of it.
    Pending,
    /// Some destinations failed.
    Partial,
    Failed,
    /// Stopped because somebody asked for it.
    Cancelled,
}

impl RunState {
    pub const ALL: [Self; 7] =
        [Self::Queued, Self::Running, Self::Done, Self::Pending, Self::Partial, Self::Failed, Self::Cancelled];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Pending => "pending",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// One sync of one audience.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    pub id: String,
    pub audience: String,
    pub as_of: DateTime<Utc>,
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    pub state: RunState,
    pub segment: Option<serde_json::Value>,
    pub error: Option<String>,
}

/// Its part at one destination.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DestinationRun {
    #[serde(skip)]
    pub run_id: String,
    pub destination: String,
    pub connector: String,
    pub state: RunState,
    pub counts: serde_json::Value,
    #[serde(skip)]
    pub upload: serde_json::Value,
    pub error: Option<String>,
}

/// A match reading with what it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredObservation {
    pub audience: String,
    pub destination: String,
    pub connector: String,
    pub run_id: Option<String>,
    /// Version of the identifier table the members were prepared with.
    pub rules_version: u32,
    /// The reading to show; others of the same moment are other views of it.
    pub primary: bool,
    pub reading: MatchObservation,
}

const KINDS: [(MatchKind, &str); 6] = [
    (MatchKind::Exact, "exact"),
    (MatchKind::Bucket, "bucket"),
    (MatchKind::Bounds, "bounds"),
    (MatchKind::Count, "count"),
    (MatchKind::Pending, "pending"),
    (MatchKind::NotOffered, "not_offered"),
];

/// The kind's stable name.
pub fn kind_name(kind: MatchKind) -> &'static str {
    KINDS.iter().find(|(known, _)| *known == kind).map_or("not_offered", |(_, name)| name)
}

pub(super) fn kind_from_name(name: &str) -> Option<MatchKind> {
    KINDS.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
}
