//! What became of one destination of one run, and how it is kept between the run's legs.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use reveil_sdk::{MatchObservation, Operation, RejectReason, UploadSummary};
use serde::{Deserialize, Serialize};

use super::confirm::Confirmed;
use super::control::Stop;
use super::error::SyncError;
use super::funnel::Exclusions;
use super::preview::DestinationPlan;
use super::upload::Uploaded;
use crate::ledger::PlanCounts;
use crate::store::model::{DestinationRun, RunState};

/// What the comparison found and what became of it, in members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Members the destination held before.
    pub held_before: u64,
    pub add: u64,
    pub remove: u64,
    pub refresh: u64,
    pub keep: u64,
    /// Of `add` and `remove`: members some of whose identifiers changed.
    pub update: u64,
    /// Adds left to the next round.
    pub deferred: u64,
    /// Persons sent and taken (adds and renewals).
    pub sent: u64,
    pub requests: u64,
    /// Refused members by reason.
    pub rejected: BTreeMap<RejectReason, u64>,
    /// Entries the platform refused without naming the member.
    pub rejected_unnamed: u64,
}

impl Counts {
    /// Refused, named or not.
    pub fn rejected_all(&self) -> u64 {
        self.rejected.values().sum::<u64>() + self.rejected_unnamed
    }

    /// What late verdicts change: who was refused was not taken.
    pub(super) fn note_verdicts(&mut self, confirmed: &Confirmed) {
        for (reason, count) in &confirmed.rejected {
            *self.rejected.entry(reason.clone()).or_default() += count;
        }
        self.rejected_unnamed += confirmed.rejected_unnamed.values().sum::<u64>();
        self.sent = self.sent.saturating_sub(confirmed.rejected_adds);
    }

    /// How many were refused of all that were answered, in members. Entries refused without a name stand for the
    /// members they make up of the upload.
    pub fn refused(&self, upload: &UploadSummary) -> Refused {
        let named: u64 = self.rejected.values().sum();
        let members_per_entry = upload.persons as f64 / upload.rows.max(self.rejected_unnamed).max(1) as f64;
        let unnamed = if upload.rows == 0 {
            self.rejected_unnamed
        } else {
            (self.rejected_unnamed as f64 * members_per_entry).round() as u64
        };
        Refused { members: named + unnamed.min(self.sent), answered: self.sent + named }
    }
}

/// See [`Counts::refused`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    pub members: u64,
    pub answered: u64,
}

impl Refused {
    pub fn ratio(self) -> f64 {
        self.members as f64 / self.answered.max(1) as f64
    }

    /// The error when that is more than is allowed.
    pub(super) fn beyond(self, allowed: f64) -> Option<SyncError> {
        let Self { members: rejected, answered } = self;
        (self.ratio() > allowed).then_some(SyncError::Rejections { rejected, answered, allowed })
    }
}

/// One destination's part of a run's report.
#[derive(Debug, Clone, Serialize)]
pub struct DestinationReport {
    pub destination: String,
    pub connector: String,
    pub state: RunState,
    pub counts: Counts,
    /// Left out for this destination on top of what the segment's funnel says.
    pub excluded: Exclusions,
    /// What the platform says of matching; the first is the one to show.
    pub observations: Vec<MatchObservation>,
    pub warnings: Vec<String>,
    pub error: Option<String>,
    /// A stable name of the error, for programs: `guard_refused`, `permission`, `platform_unavailable` …
    pub error_code: Option<&'static str>,
    pub hint: Option<String>,
    #[serde(skip)]
    pub upload: UploadSummary,
    #[serde(skip)]
    pub error_kind: Option<reveil_sdk::ErrorKind>,
    /// Everything the first comparison found was handed to the platform, whatever it says of it.
    #[serde(skip)]
    pub sent_all: bool,
    #[serde(skip)]
    pub guarded: bool,
    #[serde(skip)]
    pub later: bool,
    #[serde(skip)]
    pub stopped: Option<Stop>,
    /// More is to be sent once the platform has decided on what it has.
    #[serde(skip)]
    pub unfinished: bool,
    /// How far a full sync has come.
    #[serde(skip)]
    pub full: Option<Full>,
    /// What earlier legs of the run had counted.
    #[serde(skip)]
    pub before: Counts,
    #[serde(skip)]
    pub done: Done,
    #[serde(skip)]
    pub done_before: Done,
}

/// Of what was planned, how much was carried out, in members.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Done {
    pub added: u64,
    pub removed: u64,
}

/// A full sync that has sent everybody anew. A later leg of the same run does not do it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Full {
    /// Whoever the platform took before was not sent.
    pub since: DateTime<Utc>,
    /// Those are gone from the platform, too.
    pub finished: bool,
}

impl DestinationReport {
    pub(super) fn empty(destination: &str, connector: &str) -> Self {
        Self {
            destination: destination.to_owned(),
            connector: connector.to_owned(),
            state: RunState::Running,
            counts: Counts::default(),
            excluded: Exclusions::default(),
            observations: Vec::new(),
            warnings: Vec::new(),
            error: None,
            error_code: None,
            hint: None,
            upload: UploadSummary::default(),
            error_kind: None,
            sent_all: false,
            guarded: false,
            later: false,
            stopped: None,
            unfinished: false,
            full: None,
            before: Counts::default(),
            done: Done::default(),
            done_before: Done::default(),
        }
    }

    /// Goes on counting where earlier legs of the same run stopped: it may have waited for a platform, failed for a
    /// while, or been put down.
    pub(super) fn resumed(destination: &str, connector: &str, earlier: Option<&DestinationRun>) -> Self {
        let mut report = Self::empty(destination, connector);
        let Some(earlier) = earlier else { return report };
        report.counts = serde_json::from_value(earlier.counts.clone()).unwrap_or_default();
        report.done = serde_json::from_value(earlier.counts["done"].clone()).unwrap_or_default();
        if earlier.state == RunState::Failed {
            // What it planned and did not do is planned again.
            (report.counts.add, report.counts.remove) = (report.done.added, report.done.removed);
            (report.counts.refresh, report.counts.update, report.counts.deferred) = (0, 0, 0);
        }
        (report.before, report.done_before) = (report.counts.clone(), report.done);
        report.upload = serde_json::from_value(earlier.upload.clone()).unwrap_or_default();
        report.full = serde_json::from_value(earlier.counts["full"].clone()).unwrap_or_default();
        report
    }

    /// Whether nothing of the run was planned here before.
    pub(super) fn is_first_leg(&self) -> bool {
        let before = &self.before;
        before.add + before.remove + before.refresh + before.update + before.keep == 0
    }

    /// As it is kept.
    pub(super) fn to_part(&self, run_id: &str) -> serde_json::Result<DestinationRun> {
        let mut counts = serde_json::to_value(&self.counts)?;
        counts["excluded"] = serde_json::to_value(&self.excluded)?;
        counts["done"] = serde_json::to_value(self.done)?;
        if let Some(full) = self.full {
            counts["full"] = serde_json::to_value(full)?;
        }
        Ok(DestinationRun {
            run_id: run_id.to_owned(),
            destination: self.destination.clone(),
            connector: self.connector.clone(),
            state: self.state,
            counts,
            upload: serde_json::to_value(&self.upload)?,
            error: self.error.clone(),
        })
    }

    /// A destination that could not be opened or stopped with this error.
    pub(super) fn failed(destination: &str, connector: &str, error: &SyncError) -> Self {
        let mut report = Self::empty(destination, connector);
        report.fail(error);
        report
    }

    /// What a run would have done.
    pub(super) fn rehearsed(plan: DestinationPlan) -> Self {
        let mut report = Self::empty(&plan.destination, &plan.connector);
        report.state = RunState::Done;
        report.counts = Counts {
            held_before: plan.change.held,
            add: plan.add,
            remove: plan.remove,
            refresh: plan.refresh,
            keep: plan.keep,
            update: plan.update,
            ..Counts::default()
        };
        report.excluded = plan.excluded;
        report.warnings.push("a dry run: nothing was sent".to_owned());
        report
    }

    pub(super) fn fail(&mut self, error: &SyncError) {
        self.state = RunState::Failed;
        self.error = Some(error.to_string());
        self.error_code = Some(error.code());
        match error {
            SyncError::Platform(error) => {
                self.hint = error.hint_text().map(str::to_owned);
                self.error_kind = Some(error.kind());
            }
            SyncError::Guarded(_) => self.guarded = true,
            SyncError::Stopped(stop) => self.stopped = Some(*stop),
            _ => {}
        }
        self.later = error.is_passing();
    }

    pub(super) fn note_plan(&mut self, counts: &PlanCounts) {
        self.counts.add += counts.add;
        self.counts.remove += counts.remove;
        self.counts.refresh += counts.refresh;
        self.counts.update += counts.update;
        self.counts.deferred += counts.deferred;
    }

    pub(super) fn note_uploaded(&mut self, operation: Operation, uploaded: Uploaded) {
        self.counts.requests += uploaded.requests;
        self.counts.rejected_unnamed += uploaded.invalid_unnamed;
        for (reason, count) in uploaded.rejected {
            *self.counts.rejected.entry(reason).or_default() += count;
        }
        match operation {
            Operation::Add => self.done.added += uploaded.accepted,
            Operation::Remove => self.done.removed += uploaded.accepted,
        }
        if operation == Operation::Add && uploaded.requests > 0 {
            self.counts.sent += uploaded.accepted;
            self.upload.sessions.extend(uploaded.sessions);
            self.upload.persons += uploaded.accepted;
            self.upload.rows += uploaded.rows;
        }
    }

    pub(super) fn note_confirmed(&mut self, confirmed: &Confirmed) {
        self.counts.note_verdicts(confirmed);
        self.upload.match_ranges.extend(confirmed.match_ranges.iter().copied());
        for (reason, batches) in &confirmed.failed {
            self.warnings
                .push(format!("the platform failed {batches} accepted batches ({reason}); they are sent again"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_members_are_never_more_than_were_answered() {
        let counts = |sent, named, unnamed| Counts {
            sent,
            rejected: [(RejectReason::from_static("invalid"), named)].into(),
            rejected_unnamed: unnamed,
            ..Counts::default()
        };
        let upload = UploadSummary { persons: 40, rows: 80, ..UploadSummary::default() };
        // Each person was sent with an address and a number: 77 entries of 80 are 38.5 of 40 persons.
        assert_eq!(counts(40, 0, 77).refused(&upload), Refused { members: 39, answered: 40 });
        assert_eq!(counts(30, 10, 0).refused(&upload), Refused { members: 10, answered: 40 });
        assert!(counts(40, 0, 500).refused(&upload).ratio() <= 1.0);
        assert_eq!(Counts::default().refused(&UploadSummary::default()).ratio(), 0.0);
        assert!(counts(30, 10, 0).refused(&upload).beyond(0.25).is_none());
        assert!(counts(30, 10, 0).refused(&upload).beyond(0.24).is_some());
    }
}
