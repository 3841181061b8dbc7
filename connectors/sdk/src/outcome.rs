//! What became of a batch, and what the platform says of matching.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Why a value or member was not usable, or not accepted. A short snake-case word: `no_at`, `no_region`,
/// `invalid_sha256`, `no_consent`. Stable: used in JSON and metrics.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RejectReason(Cow<'static, str>);

impl RejectReason {
    pub const fn from_static(code: &'static str) -> Self {
        Self(Cow::Borrowed(code))
    }
    /// A reason named by the platform; lower-cased to our form.
    pub fn from_platform(code: &str) -> Self {
        Self(Cow::Owned(code.to_ascii_lowercase()))
    }
    pub fn code(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RejectReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A member of a batch that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Position in the batch as it was given to the connector.
    pub index: u32,
    pub reason: RejectReason,
}

/// The platform took the batch (which may not yet mean that it applied it).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// What to poll for the final verdict; `None` when this answer was final.
    pub ticket: Option<String>,
    /// Members refused at once, by index. The others are accepted.
    pub rejected: Vec<Rejection>,
    /// Entries the platform calls invalid without saying which; may be inexact.
    pub invalid_unnamed: u64,
    /// Wire rows the batch needed (a person with two e-mails may take two rows on some platforms).
    pub rows: u64,
}

/// Where an accepted batch stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Not decided yet; ask again after this long.
    Pending { again_after: Duration },
    /// Decided: applied, but for the rejected ones.
    Applied {
        rejected: Vec<Rejection>,
        /// Rejected without naming the member.
        rejected_unnamed: BTreeMap<RejectReason, u64>,
        /// The match-rate range of this batch as the platform gave it, ratios 0–1, `high` exclusive.
        match_range: Option<(f64, f64)>,
    },
    /// Nothing of it was applied. `again` says whether sending it anew can help.
    Failed { reason: RejectReason, again: bool },
}

/// How a match figure is to be read. Never blend kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchKind {
    /// A matched count over the same persons that were sent.
    Exact,
    /// A labelled range of rates.
    Bucket,
    /// Lower and upper bound from rounded counts.
    Bounds,
    /// A count whose denominator is unknown.
    Count,
    /// The platform will say later.
    Pending,
    /// The platform never says.
    NotOffered,
}

/// One reading of how many of the sent members a platform knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MatchObservation {
    pub as_of: DateTime<Utc>,
    /// Distinct persons the reading is about.
    pub sent: u64,
    pub kind: MatchKind,
    /// Ratios 0–1.
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub matched: Option<u64>,
    /// The platform's own definition of the figure.
    pub definition: String,
}

/// What a run sent to one audience, for [`observe`](crate::Connector::observe). Kept in the state, so that a later
/// process can ask too.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UploadSummary {
    /// Upload sessions used for adding.
    pub sessions: Vec<u64>,
    /// Distinct persons accepted for adding in this upload.
    pub persons: u64,
    /// Wire rows they took.
    pub rows: u64,
    /// Persons believed to be in the audience now, this upload included.
    pub audience_persons: u64,
    /// `(persons, low, high)` of every batch whose verdict carried a match range.
    pub match_ranges: Vec<(u64, f64, f64)>,
    /// Batches still waiting for their verdict.
    pub pending_batches: u64,
}
