//! What everybody assigned did since, arm by arm: the warehouse's purchases joined to the assignment.
//!
//! By intention to treat: whoever was assigned counts in the arm of the first day, matched or not, in the audience
//! still or not, row gone or not. A person here is a unit of the assignment: a household bought when one of it did, within
//! the window that began with the first of it. The warehouse adds purchases up per customer and day; they are scattered
//! by member key to a temporary file that nobody else can open, joined part by part, scattered again by unit, and counted
//! part by part, so memory stays small whatever the sizes. No identifier leaves this module.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;

use chrono::{DateTime, Duration, Utc};

use crate::assignment::{self, Arm, AssignmentError, Assignments, PLANNED_SCALE, Record, day_of};
use crate::config::WarehouseConfig;
use crate::ledger::spill::{Spill, SpillWriter};
use crate::report::history::QUIET_DAYS;
use crate::roi::measure::ALPHA;
use crate::roi::measure::revenue::{RevenueTest, WINSORISE_AT};
pub use crate::roi::measure::{ArmOutcome, Outcome};
use crate::segment;
use crate::segment::sql::outcome_query;
use crate::sync::Engine;
use crate::sync::engine::Scratch;
use crate::sync::gather::arms;
use crate::sync::member_key::member_key;
use crate::warehouse::{self, Columns, Source};

/// Revenue of the days before assignment that CUPED takes out.
pub const BEFORE_DAYS: u32 = 365;
/// Parts of the join, by the key's first byte.
const PARTS: usize = 256;
const ROW: usize = 12 + 2 + 4 + 8;
/// A row of a unit: its key, what it is, and the rest of a purchase or of an assignment.
const UNIT_ROW: usize = 12 + 1 + 2 + 4 + 8;
const PURCHASE: u8 = 2;

/// Why it could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum LiftError {
    #[error(transparent)]
    Assignment(#[from] AssignmentError),
    #[error(transparent)]
    Warehouse(#[from] crate::warehouse::Error),
    #[error("cannot write a temporary file beside the ledgers: {0}")]
    Temporary(#[from] std::io::Error),
    #[error("the outcome query returned no column {0}")]
    Column(&'static str),
}

/// How to read it.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// Nothing from here on exists.
    pub as_of: DateTime<Utc>,
    /// Days counted from each customer's day of assignment.
    pub window_days: u32,
    /// Cap of the winsorised line in minor units; without one, the 99.5th percentile of revenue before.
    pub cap_minor: Option<f64>,
}

/// Days on which somebody was assigned, and how many customers.
#[derive(Debug, Clone, Copy)]
struct Assigned {
    first: u16,
    last: u16,
}

/// Measures an audience's present experiment; `None` when no sync has assigned anybody yet.
///
/// # Errors
/// The audience withholds nobody, the warehouse does not answer, or the assignment cannot be read.
pub async fn of_audience(engine: &Engine, audience: &str, question: Question) -> anyhow::Result<Option<Outcome>> {
    let draws = arms(&engine.config, audience)?;
    anyhow::ensure!(
        !draws.is_empty(),
        "audience `{audience}` withholds nobody, so nothing can be compared\n\
         hint: set holdout = \"10%\" in [audience.{audience}] and sync; see `reveil roi plan-holdout`"
    );
    let found = tokio::task::block_in_place(|| assignment::find(&engine.ledgers, audience, &draws))?;
    let Some(file) = found else { return Ok(None) };
    let secret = engine.member_key()?;
    let temp = Scratch::fixed(&engine.audience_dir(audience).join(format!("measure-{}", std::process::id())))?;
    let source = warehouse::open(&engine.config.warehouse).await?;
    let mapping = segment::resolve(&*source, &engine.config.warehouse).await?;
    Ok(outcome(&*source, &mapping, &secret, &file, temp.path(), question).await?)
}

/// Measures an experiment; `None` when nobody was assigned. `temp` takes a file that is gone afterwards.
///
/// # Errors
/// See [`LiftError`].
pub async fn outcome(
    source: &dyn Source,
    warehouse: &WarehouseConfig,
    secret: &[u8; 32],
    file: &Path,
    temp: &Path,
    question: Question,
) -> Result<Option<Outcome>, LiftError> {
    let Some(assigned) = tokio::task::block_in_place(|| survey(file))? else { return Ok(None) };
    let from = midnight(assigned.first) - Duration::days(BEFORE_DAYS.into());
    let until = (midnight(assigned.last) + Duration::days(question.window_days.into())).min(question.as_of);
    let sql = outcome_query(warehouse, from, until, source.dialect())?;
    let (spill, last_purchase) = scatter(source, &sql, secret, temp).await?;
    let outcome = tokio::task::block_in_place(|| count(&by_unit(file, &spill, temp)?, assigned, question))?;
    // The data end before the last window does: what happened since is not seen.
    let covered = last_purchase.is_some_and(|last| midnight(last) + Duration::days(QUIET_DAYS) >= until);
    let last_purchase = last_purchase.map(|last| midnight(last).date_naive());
    Ok(Some(Outcome { last_purchase, covered, ..outcome }))
}

fn midnight(day: u16) -> DateTime<Utc> {
    DateTime::from_timestamp(i64::from(day) * 86_400, 0).expect("a u16 of days is a date")
}

fn survey(file: &Path) -> Result<Option<Assigned>, AssignmentError> {
    let Some(mut records) = Assignments::open(file)? else { return Ok(None) };
    let mut known: Option<Assigned> = None;
    while let Some(record) = records.next()? {
        let assigned = known.get_or_insert(Assigned { first: record.day, last: record.day });
        assigned.first = assigned.first.min(record.day);
        assigned.last = assigned.last.max(record.day);
    }
    Ok(known)
}

/// Reads the purchases into parts by member key; and the last day on which anybody bought.
async fn scatter(
    source: &dyn Source,
    sql: &str,
    secret: &[u8; 32],
    temp: &Path,
) -> Result<(Spill, Option<u16>), LiftError> {
    let mut last_purchase = None;
    let mut spill = SpillWriter::create(temp, PARTS)?;
    let mut batches = source.query(sql).await?;
    let mut text = String::new();
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let columns = Columns::new(&batch);
        let column = |name| columns.get(name).ok_or(LiftError::Column(name));
        let (ids, days) = (column("customer_id")?, column("day_number")?);
        let (orders, revenue) = (column("orders_count")?, column("revenue_minor")?);
        for row in 0..columns.rows() {
            let day = days.i64(row).and_then(|day| u16::try_from(day).ok());
            let (Some(id), Some(day)) = (ids.text(row, &mut text), day) else { continue };
            let key = member_key(secret, id);
            let orders = orders.i64(row).and_then(|orders| u32::try_from(orders).ok()).unwrap_or(0);
            let revenue = revenue.i64(row).unwrap_or(0);
            if orders > 0 {
                last_purchase = last_purchase.max(Some(day));
            }
            let part = usize::from(key.0[0]);
            spill.push(part, &[&key.0, &day.to_le_bytes(), &orders.to_le_bytes(), &revenue.to_le_bytes()])?;
        }
    }
    Ok((spill.finish()?, last_purchase))
}

/// Puts every assignment, and the purchases of the assigned, into parts by unit.
fn by_unit(file: &Path, purchases: &Spill, temp: &Path) -> Result<Spill, LiftError> {
    let mut out = SpillWriter::create(temp, PARTS)?;
    let Some(mut records) = Assignments::open(file)? else { return Ok(out.finish()?) };
    let (mut rows, mut people) = (Vec::new(), Vec::<Record>::new());
    let mut ahead = records.next()?;
    for part in 0..purchases.parts() {
        people.clear();
        while let Some(record) = ahead.filter(|record| usize::from(record.key.0[0]) == part) {
            people.push(record);
            ahead = records.next()?;
        }
        for record in &people {
            let kind = [u8::from(record.arm == Arm::Holdout)];
            let rest = [record.day.to_le_bytes().as_slice(), &record.planned.to_le_bytes(), &[0; 8]].concat();
            out.push(usize::from(record.unit.0[0]), &[&record.unit.0, &kind, &rest])?;
        }
        purchases.read(part, &mut rows)?;
        for row in rows.as_chunks::<ROW>().0 {
            let (key, rest) = row.split_first_chunk::<12>().expect("longer than a key");
            let Ok(at) = people.binary_search_by_key(key, |record| record.key.0) else { continue };
            let unit = people[at].unit;
            out.push(usize::from(unit.0[0]), &[&unit.0, &[PURCHASE], rest])?;
        }
    }
    Ok(out.finish()?)
}

/// One unit: how it was assigned, and what it did.
#[derive(Debug, Clone, Copy)]
struct Unit {
    held_out: bool,
    day: u16,
    planned: u32,
    customers: u64,
    orders: u64,
    revenue: i64,
    before: i64,
}

/// Shows every unit.
fn each_unit(units: &Spill, window_days: u32, mut show: impl FnMut(&Unit)) -> Result<(), LiftError> {
    let mut bytes = Vec::new();
    for part in 0..units.parts() {
        units.read(part, &mut bytes)?;
        // Assignments of a unit come before its purchases.
        let mut rows: Vec<&[u8; UNIT_ROW]> = bytes.as_chunks::<UNIT_ROW>().0.iter().collect();
        rows.sort_unstable_by_key(|row| *row.first_chunk::<13>().expect("longer than a key"));
        for of_unit in rows.chunk_by(|a, b| a[..12] == b[..12]) {
            show(&unit(of_unit, window_days));
        }
    }
    Ok(())
}

fn unit(rows: &[&[u8; UNIT_ROW]], window_days: u32) -> Unit {
    let day = |row: &[u8; UNIT_ROW]| u16::from_le_bytes([row[13], row[14]]);
    let count = |row: &[u8; UNIT_ROW]| u32::from_le_bytes(*row[15..].first_chunk().expect("a count"));
    let (assigned, bought) = rows.split_at(rows.partition_point(|row| row[12] < PURCHASE));
    // The first day decides; of two arms on one day, whoever was sent makes the household treated.
    let first =
        assigned.iter().min_by_key(|row| (day(row), row[12])).expect("purchases are of assigned customers only");
    let mut unit = Unit {
        held_out: first[12] == 1,
        day: day(first),
        planned: count(first),
        customers: assigned.len() as u64,
        orders: 0,
        revenue: 0,
        before: 0,
    };
    let start = u32::from(unit.day);
    for row in bought {
        let revenue = i64::from_le_bytes(*row[19..].first_chunk().expect("8 bytes are left"));
        let day = u32::from(day(row));
        if (start..start + window_days).contains(&day) {
            unit.orders += u64::from(count(row));
            unit.revenue += revenue;
        } else if (start.saturating_sub(BEFORE_DAYS)..start).contains(&day) {
            unit.before += revenue;
        }
    }
    unit
}

fn count(units: &Spill, assigned: Assigned, question: Question) -> Result<Outcome, LiftError> {
    let mut outcome = Outcome {
        as_of: question.as_of,
        window_days: question.window_days,
        first_assigned: midnight(assigned.first).date_naive(),
        last_assigned: midnight(assigned.last).date_naive(),
        windows_open: 0,
        last_purchase: None,
        covered: false,
        planned_holdout_share: 0.0,
        share_changed: false,
        treated: ArmOutcome::default(),
        holdout: ArmOutcome::default(),
        revenue: None,
    };
    let (today, mut planned, mut share) = (u32::from(day_of(question.as_of)), 0_u64, None);
    each_unit(units, question.window_days, |unit| {
        let arm = if unit.held_out { &mut outcome.holdout } else { &mut outcome.treated };
        arm.persons += 1;
        arm.customers += unit.customers;
        arm.buyers += u64::from(unit.orders > 0);
        arm.orders += unit.orders;
        arm.revenue_minor += unit.revenue;
        arm.before_minor += unit.before;
        outcome.windows_open += u64::from(u32::from(unit.day) + question.window_days > today);
        planned += u64::from(unit.planned);
        outcome.share_changed |= *share.get_or_insert(unit.planned) != unit.planned;
    })?;
    let persons = outcome.treated.persons + outcome.holdout.persons;
    outcome.planned_holdout_share = planned as f64 / persons as f64 / f64::from(PLANNED_SCALE);
    // Again: the cap has to be known before the first person is counted.
    let mut top = TopValues::new(persons);
    each_unit(units, question.window_days, |unit| top.add(unit.before))?;
    let cap = question.cap_minor.or_else(|| top.percentile().filter(|cap| *cap > 0.0));
    let mut test = RevenueTest::new(cap.map(|cap| cap / 100.0));
    each_unit(units, question.window_days, |unit| {
        test.add(!unit.held_out, unit.revenue as f64 / 100.0, unit.before as f64 / 100.0);
    })?;
    outcome.revenue = test.result(ALPHA);
    Ok(outcome)
}

/// The largest of `n` values, as many as the percentile needs.
struct TopValues {
    keep: usize,
    /// Distance of the percentile from its lower neighbour.
    fraction: f64,
    heap: BinaryHeap<Reverse<i64>>,
}

impl TopValues {
    fn new(n: u64) -> Self {
        let place = WINSORISE_AT * n.saturating_sub(1) as f64;
        Self { keep: n as usize - place as usize, fraction: place.fract(), heap: BinaryHeap::new() }
    }
    fn add(&mut self, value: i64) {
        if self.heap.len() < self.keep {
            self.heap.push(Reverse(value));
        } else if self.heap.peek().is_some_and(|least| value > least.0) {
            self.heap.pop();
            self.heap.push(Reverse(value));
        }
    }
    fn percentile(mut self) -> Option<f64> {
        let low = self.heap.pop()?.0;
        let high = self.heap.pop().map_or(low, |next| next.0);
        Some(low as f64 + self.fraction * (high - low) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::TopValues;
    use crate::roi::measure::revenue::percentile;

    #[test]
    fn the_largest_values_give_the_percentile() {
        for n in [1_u64, 2, 199, 200, 201, 400, 5_000] {
            let values: Vec<i64> = (0..n as i64).map(|i| (i * 7_919) % 10_007).collect();
            let mut top = TopValues::new(n);
            values.iter().for_each(|value| top.add(*value));
            assert!(top.heap.len() <= n as usize / 200 + 2);
            let floats: Vec<f64> = values.iter().map(|value| *value as f64).collect();
            assert_eq!(top.percentile(), percentile(&floats, 0.995), "{n}");
        }
    }
}
