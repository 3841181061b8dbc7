//! How often people buy, and what a limit of one's own rhythm does against one for everybody.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::config::audience_inactive::PersonalCadence;
use crate::config::warehouse::WarehouseConfig;
use crate::warehouse::{Columns, Error, ErrorKind, Result, Source};

/// Quantiles of the customers' own median gaps between purchase days, in days.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GapDays {
    pub p05: f64,
    pub p25: f64,
    pub p50: f64,
    pub p75: f64,
    pub p95: f64,
}

/// The rhythm of everybody who ever bought.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cadence {
    pub as_of: DateTime<Utc>,
    pub k: f64,
    pub min_days: u32,
    pub fallback_days: u32,
    /// Customers with a purchase.
    pub customers: u64,
    /// Of them: with at least `min_days` purchase days, so that a rhythm is known.
    pub with_rhythm: u64,
    /// `None` when nobody has a rhythm.
    pub gap_days: Option<GapDays>,
    /// Silent for longer than `k` times their own median gap, or than `fallback_days` without a rhythm.
    pub inactive: u64,
    pub inactive_by_rhythm: u64,
    pub inactive_by_fallback: u64,
    /// Inactive by their rhythm, though not silent for longer than `fallback_days` yet.
    pub noticed_earlier: u64,
    /// Active by their rhythm, though silent for longer than `fallback_days`.
    pub left_alone: u64,
}

/// Customers who are alike.
struct Group {
    gap: Option<f64>,
    inactive: bool,
    silent: bool,
    people: u64,
}

/// Counts who has a rhythm and what it says.
///
/// # Errors
/// A faulty definition, or whatever the warehouse answers.
pub async fn cadence(
    source: &dyn Source,
    warehouse: &WarehouseConfig,
    definition: &PersonalCadence,
    as_of: DateTime<Utc>,
) -> Result<Cadence> {
    let mut stream = source.query(&super::sql::cadence_query(warehouse, definition, as_of, source.dialect())?).await?;
    let mut groups = Vec::new();
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let columns = Columns::new(&batch);
        for row in 0..columns.rows() {
            let number = |name| columns.get(name).and_then(|values| values.i64(row));
            let [Some(inactive), Some(silent), Some(people)] = ["inactive", "silent", "people"].map(number) else {
                return Err(Error::new(ErrorKind::Other, "the warehouse returned no numbers for the rhythm"));
            };
            let gap = columns.get("gap").and_then(|values| values.f64(row));
            groups.push(Group { gap, inactive: inactive == 1, silent: silent == 1, people: people as u64 });
        }
    }
    let sum = |test: &dyn Fn(&Group) -> bool| groups.iter().filter(|it| test(it)).map(|it| it.people).sum();
    Ok(Cadence {
        as_of,
        k: definition.k,
        min_days: definition.min_days,
        fallback_days: definition.fallback_days,
        customers: sum(&|_| true),
        with_rhythm: sum(&|it| it.gap.is_some()),
        gap_days: gap_days(&groups),
        inactive: sum(&|it| it.inactive),
        inactive_by_rhythm: sum(&|it| it.inactive && it.gap.is_some()),
        inactive_by_fallback: sum(&|it| it.inactive && it.gap.is_none()),
        noticed_earlier: sum(&|it| it.inactive && !it.silent),
        left_alone: sum(&|it| !it.inactive && it.silent),
    })
}

/// Linear between the two customers next to a quantile.
fn gap_days(groups: &[Group]) -> Option<GapDays> {
    let mut gaps: Vec<(f64, u64)> = groups.iter().filter_map(|it| Some((it.gap?, it.people))).collect();
    gaps.sort_by(|a, b| a.0.total_cmp(&b.0));
    let last = gaps.iter().map(|(_, people)| people).sum::<u64>().checked_sub(1)?;
    let at = |place: u64| {
        let mut before = 0;
        let found = gaps.iter().find(|(_, people)| {
            before += people;
            place < before
        });
        found.map_or(f64::NAN, |(gap, _)| *gap)
    };
    let quantile = |share: f64| {
        let place = share * last as f64;
        let (low, high) = (at(place.floor() as u64), at(place.ceil() as u64));
        low + place.fract() * (high - low)
    };
    let [p05, p25, p50, p75, p95] = [0.05, 0.25, 0.5, 0.75, 0.95].map(quantile);
    Some(GapDays { p05, p25, p50, p75, p95 })
}
