//! What an audience is worth, on one page: from the customers to the persons matched, who comes back by themselves, what
//! ads would add, and whether a holdout could show it. Everything comes from the last run in the state, the platforms'
//! readings, and the warehouse's own history; priors stand in where nothing was observed, and are named.

mod build;
mod chart;
mod page;
mod rows;

use chrono::{DateTime, Utc};
use serde::Serialize;

pub use self::build::{Options, build};
pub use self::page::html;
pub use self::rows::{Row, rows};
use super::match_rates::Reading;
use crate::config::Inactive;
use crate::roi::plan::HoldoutJudgement;
use crate::roi::simulate::Summary;
use crate::roi::{Projection, UnionProjection};
use crate::segment::Matrix;

/// The report.
#[derive(Debug, Clone, Serialize)]
pub struct RoiReport {
    pub audience: String,
    pub label: String,
    pub as_of: DateTime<Utc>,
    pub currency: String,
    /// Made-up customers.
    pub synthetic: bool,
    pub definition: Inactive,
    pub funnel: Funnel,
    pub destinations: Vec<Destination>,
    /// The segment as it was earlier, and who bought since.
    pub returns: Vec<ReturnCurve>,
    /// All windows of the projection's length together; the share without ads that everything is compared with.
    pub spontaneous: Option<Spontaneous>,
    /// Of the segment's own orders before, hundredths.
    pub aov_own_minor: Option<f64>,
    pub projections: Vec<Projection>,
    /// All platforms together, each person once.
    pub union: Option<Union>,
    pub matrix: Option<Matrix>,
    pub holdout: Option<HoldoutPower>,
    /// What the reader must know, and what could not be shown.
    pub notes: Vec<String>,
}

/// From the customers to those who may be uploaded: of a run as of the report's day, else counted for the report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Funnel {
    pub run: Option<String>,
    pub run_as_of: Option<DateTime<Utc>>,
    /// The instant the counts are of.
    pub as_of: DateTime<Utc>,
    pub customers: u64,
    pub active: u64,
    pub unknown: u64,
    pub inactive: u64,
    pub eligible: u64,
    /// In rule order.
    pub excluded: Vec<Exclusion>,
}

/// People left out for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exclusion {
    pub reason: String,
    pub label: &'static str,
    pub people: u64,
}

/// One platform.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Destination {
    pub destination: String,
    pub connector: String,
    pub platform: String,
    /// Persons believed to be in the audience.
    pub held: u64,
    /// Of those who may be uploaded: left out for this platform by the run, or by the plan without one.
    pub excluded: Vec<Exclusion>,
    /// The reading over the most persons that says something.
    pub reading: Option<Reading>,
}

/// Who came back by themselves after one day in the past.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReturnCurve {
    pub as_of: DateTime<Utc>,
    pub inactive: u64,
    pub points: Vec<ReturnPoint>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ReturnPoint {
    pub days: u32,
    pub returned: u64,
    pub share: f64,
}

/// Return without ads over several windows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spontaneous {
    pub window_days: u32,
    pub windows: usize,
    pub returned: u64,
    pub inactive: u64,
    pub share: f64,
}

/// All platforms of the audience together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Union {
    pub persons_reached: Summary,
    pub incremental_buyers: Summary,
    pub incremental_roi: Option<Summary>,
    pub p_incremental_roi_positive: f64,
    pub cost: f64,
}

impl From<UnionProjection> for Union {
    fn from(it: UnionProjection) -> Self {
        Self {
            persons_reached: it.persons_reached,
            incremental_buyers: it.incremental_buyers,
            incremental_roi: it.incremental_roi,
            p_incremental_roi_positive: it.p_incremental_roi_positive,
            cost: it.cost,
        }
    }
}

/// What a holdout of the audience can show.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HoldoutPower {
    /// True when the audience holds this share out; false when it is only proposed.
    pub configured: bool,
    pub share: f64,
    pub population: u64,
    pub base_rate: f64,
    pub judgement: HoldoutJudgement,
    /// Chance to see a lift among the persons reached, per share held out.
    pub curves: Vec<PowerCurve>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PowerCurve {
    pub share: f64,
    /// Lift and power.
    pub points: Vec<(f64, f64)>,
}
