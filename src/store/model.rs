//! What the state holds about runs and readings, as plain values.

use chrono::{DateTime, Utc};
use reveil_sdk::{MatchKind, MatchObservation};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sql::read_from_text;

/// How far a run came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Asked for; nobody has taken it up.
    Queued,
    Running,
    /// Everything sent and confirmed.
    Done,
    /// Sent; the platform has not decided on all of it.
    Pending,
    /// Some destinations failed, or not all could be sent; the next run sends what is missing.
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
    /// Whether nothing more is sent. A pending run only waits for a platform's verdict.
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

read_from_text!(RunState, "a run's state", RunState::from_name);

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// Sends the difference.
    Sync,
    /// Sends everything again, to mend what drifted.
    Full,
    /// Sends again what would lapse on the platform.
    Refresh,
}

impl RunKind {
    pub const ALL: [Self; 3] = [Self::Sync, Self::Full, Self::Refresh];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Full => "full",
            Self::Refresh => "refresh",
        }
    }
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

read_from_text!(RunKind, "a run's kind", RunKind::from_name);

/// One sync of one audience.
#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct Run {
    pub id: String,
    #[sqlx(try_from = "super::sql::Cell")]
    pub kind: RunKind,
    pub audience: String,
    #[sqlx(try_from = "super::sql::Cell")]
    pub as_of: DateTime<Utc>,
    #[sqlx(try_from = "super::sql::Cell")]
    pub requested_at: DateTime<Utc>,
    /// A token's name, `schedule`, or the user of a command.
    pub requested_by: String,
    /// What it was asked to do.
    #[sqlx(try_from = "super::sql::Cell")]
    pub options: Value,
    #[sqlx(try_from = "super::sql::Cell")]
    pub started_at: Option<DateTime<Utc>>,
    #[sqlx(try_from = "super::sql::Cell")]
    pub finished_at: Option<DateTime<Utc>>,
    #[sqlx(try_from = "super::sql::Cell")]
    pub state: RunState,
    /// How many workers have taken it up, one after the other.
    #[sqlx(try_from = "i64")]
    pub attempt: u32,
    pub cancel_requested: bool,
    /// The funnel.
    #[sqlx(try_from = "super::sql::Cell")]
    pub segment: Option<Value>,
    /// The report of its end.
    #[sqlx(try_from = "super::sql::Cell")]
    pub outcome: Option<Value>,
    pub error: Option<String>,
}

impl Run {
    /// A run that starts at once, outside the queue.
    pub fn started(id: String, audience: &str, as_of: DateTime<Utc>, requested_by: &str, now: DateTime<Utc>) -> Self {
        Self {
            id,
            kind: RunKind::Sync,
            audience: audience.to_owned(),
            as_of,
            requested_at: now,
            requested_by: requested_by.to_owned(),
            options: Value::Object(serde_json::Map::new()),
            started_at: Some(now),
            finished_at: None,
            state: RunState::Running,
            attempt: 1,
            cancel_requested: false,
            segment: None,
            outcome: None,
            error: None,
        }
    }
}

/// Its part at one destination.
#[derive(Debug, Clone, PartialEq, Serialize, sqlx::FromRow)]
pub struct DestinationRun {
    #[serde(skip)]
    pub run_id: String,
    pub destination: String,
    pub connector: String,
    #[sqlx(try_from = "super::sql::Cell")]
    pub state: RunState,
    #[sqlx(try_from = "super::sql::Cell")]
    pub counts: Value,
    #[serde(skip)]
    #[sqlx(try_from = "super::sql::Cell")]
    pub upload: Value,
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

pub fn kind_from_name(name: &str) -> Option<MatchKind> {
    KINDS.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
}

read_from_text!(MatchKind, "a kind of reading", kind_from_name);
