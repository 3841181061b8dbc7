//! What the demonstration found, as one value: the JSON document, and what the terminal shows.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use reveil_sdk::{MatchObservation, RejectReason};
use serde::Serialize;

use super::shop::Built;
use super::{DemoOptions, Plan};
use crate::roi::Projection;
use crate::sync::{DestinationReport, Exclusions, Funnel, SyncReport};

/// See the module.
#[derive(Debug, Clone, Serialize)]
pub struct DemoReport {
    pub customers: u64,
    pub seed: u64,
    pub as_of: NaiveDate,
    pub warehouse: Built,
    pub segment: Funnel,
    /// By the rules that look at one customer alone; what single destinations leave out on top is with them.
    pub excluded: Exclusions,
    pub destinations: Vec<DestinationPart>,
    /// For the destination that matched best.
    pub projection: Option<Projection>,
    pub projections: Vec<Projection>,
    /// What the week brought to the warehouse.
    pub week: Built,
    pub refresh: Vec<RefreshPart>,
    #[serde(skip)]
    pub plan: Plan,
    #[serde(skip)]
    pub second: Funnel,
}

/// One platform after the first sync.
#[derive(Debug, Clone, Serialize)]
pub struct DestinationPart {
    pub destination: String,
    pub connector: String,
    /// Persons the platform took.
    pub sent: u64,
    pub requests: u64,
    pub excluded: Exclusions,
    pub rejected: BTreeMap<RejectReason, u64>,
    /// What the simulated platform knows and a real one would not tell.
    pub truth_matched: Option<u64>,
    pub observation: Option<MatchObservation>,
}

impl DestinationPart {
    pub(super) fn new(
        report: &DestinationReport,
        observation: Option<MatchObservation>,
        truth_matched: Option<u64>,
    ) -> Self {
        Self {
            destination: report.destination.clone(),
            connector: report.connector.clone(),
            sent: report.counts.sent,
            requests: report.counts.requests,
            excluded: report.excluded.clone(),
            rejected: report.counts.rejected.clone(),
            truth_matched,
            observation,
        }
    }
}

/// One platform a week later.
#[derive(Debug, Clone, Serialize)]
pub struct RefreshPart {
    pub destination: String,
    pub add: u64,
    pub remove: u64,
    pub keep: u64,
    pub requests: u64,
    pub truth_matched: Option<u64>,
}

impl RefreshPart {
    pub(super) fn new(report: &DestinationReport, truth_matched: Option<u64>) -> Self {
        Self {
            destination: report.destination.clone(),
            add: report.counts.add,
            remove: report.counts.remove,
            keep: report.counts.keep,
            requests: report.counts.requests,
            truth_matched,
        }
    }
}

impl DemoReport {
    #[expect(clippy::too_many_arguments, reason = "the parts of the document, each made by one step")]
    pub(super) fn new(
        options: &DemoOptions,
        warehouse: Built,
        plan: Plan,
        first: SyncReport,
        destinations: Vec<DestinationPart>,
        projections: Vec<Projection>,
        week: Built,
        second: SyncReport,
        refresh: Vec<RefreshPart>,
    ) -> Self {
        Self {
            customers: options.customers,
            seed: options.seed,
            as_of: options.as_of,
            warehouse,
            excluded: first.segment.excluded.clone(),
            segment: first.segment,
            projection: projections.first().cloned(),
            destinations,
            projections,
            week,
            refresh,
            plan,
            second: second.segment,
        }
    }
}
