//! What everybody assigned did since, arm by arm: the warehouse's purchases joined to the assignment.
//!
//! By intention to treat: whoever was assigned counts in the arm of the first day, matched or not, in the audience
//! still or not, row gone or not. The warehouse adds purchases up per customer and day; they are scattered by member
//! key to a temporary file that nobody else can open and joined part by part, so memory stays small whatever the sizes.
//! No identifier leaves this module.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;

use chrono::{DateTime, Duration, Utc};
use reveil_sdk::MemberKey;

use crate::assignment::{self, Arm, AssignmentError, Assignments, PLANNED_SCALE, Record, day_of};
use crate::config::WarehouseConfig;
use crate::ledger::spill::{Spill, SpillWriter};
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

/// What is known of the assigned before the warehouse is asked.
#[derive(Debug, Clone, Copy)]
struct Assigned {
    first: u16,
    last: u16,
    persons: u64,
    /// Sum of the planned probabilities, in 1/[`PLANNED_SCALE`].
    planned: u64,
    changed: bool,
    open: u64,
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
    let Some(assigned) = tokio::task::block_in_place(|| survey(file, question))? else { return Ok(None) };
    let from = midnight(assigned.first) - Duration::days(BEFORE_DAYS.into());
    let until = (midnight(assigned.last) + Duration::days(question.window_days.into())).min(question.as_of);
    let spill = scatter(source, &outcome_query(warehouse, from, until, source.dialect())?, secret, temp).await?;
    tokio::task::block_in_place(|| join(file, &spill, assigned, question)).map(Some)
}

fn midnight(day: u16) -> DateTime<Utc> {
    DateTime::from_timestamp(i64::from(day) * 86_400, 0).expect("a u16 of days is a date")
}

fn survey(file: &Path, question: Question) -> Result<Option<Assigned>, AssignmentError> {
    let Some(mut records) = Assignments::open(file)? else { return Ok(None) };
    let today = u32::from(day_of(question.as_of));
    let mut known: Option<(Assigned, u32)> = None;
    while let Some(record) = records.next()? {
        let (assigned, planned) = known.get_or_insert((
            Assigned { first: record.day, last: record.day, persons: 0, planned: 0, changed: false, open: 0 },
            record.planned,
        ));
        assigned.first = assigned.first.min(record.day);
        assigned.last = assigned.last.max(record.day);
        assigned.persons += 1;
        assigned.planned += u64::from(record.planned);
        assigned.changed |= record.planned != *planned;
        assigned.open += u64::from(u32::from(record.day) + question.window_days > today);
    }
    Ok(known.map(|(assigned, _)| assigned))
}

/// Reads the purchases into parts by member key.
async fn scatter(source: &dyn Source, sql: &str, secret: &[u8; 32], temp: &Path) -> Result<Spill, LiftError> {
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
            let part = usize::from(key.0[0]);
            spill.push(part, &[&key.0, &day.to_le_bytes(), &orders.to_le_bytes(), &revenue.to_le_bytes()])?;
        }
    }
    Ok(spill.finish()?)
}

/// What one customer did.
#[derive(Debug, Clone, Copy, Default)]
struct Did {
    orders: u64,
    revenue: i64,
    before: i64,
}

fn join(file: &Path, spill: &Spill, assigned: Assigned, question: Question) -> Result<Outcome, LiftError> {
    let mut outcome = Outcome {
        as_of: question.as_of,
        window_days: question.window_days,
        first_assigned: midnight(assigned.first).date_naive(),
        last_assigned: midnight(assigned.last).date_naive(),
        windows_open: assigned.open,
        planned_holdout_share: assigned.planned as f64 / assigned.persons as f64 / f64::from(PLANNED_SCALE),
        share_changed: assigned.changed,
        treated: ArmOutcome::default(),
        holdout: ArmOutcome::default(),
        revenue: None,
    };
    // Twice over the parts: the cap has to be known before the first person is counted.
    let mut top = TopValues::new(assigned.persons);
    each_person(file, spill, question.window_days, |record, did| {
        let arm = if record.arm == Arm::Treated { &mut outcome.treated } else { &mut outcome.holdout };
        arm.persons += 1;
        arm.buyers += u64::from(did.orders > 0);
        arm.orders += did.orders;
        arm.revenue_minor += did.revenue;
        arm.before_minor += did.before;
        top.add(did.before);
    })?;
    let cap = question.cap_minor.or_else(|| top.percentile().filter(|cap| *cap > 0.0));
    let mut test = RevenueTest::new(cap.map(|cap| cap / 100.0));
    each_person(file, spill, question.window_days, |record, did| {
        test.add(record.arm == Arm::Treated, did.revenue as f64 / 100.0, did.before as f64 / 100.0);
    })?;
    outcome.revenue = test.result(ALPHA);
    Ok(outcome)
}

/// Shows every assigned customer with what they did.
fn each_person(
    file: &Path,
    spill: &Spill,
    window_days: u32,
    mut show: impl FnMut(&Record, Did),
) -> Result<(), LiftError> {
    let Some(mut records) = Assignments::open(file)? else { return Ok(()) };
    let (mut rows, mut people) = (Vec::new(), Vec::<(Record, Did)>::new());
    let mut ahead = records.next()?;
    for part in 0..spill.parts() {
        people.clear();
        while let Some(record) = ahead.filter(|record| usize::from(record.key.0[0]) == part) {
            people.push((record, Did::default()));
            ahead = records.next()?;
        }
        spill.read(part, &mut rows)?;
        for row in rows.as_chunks::<ROW>().0 {
            let (key, day, orders, revenue) = split(row);
            let Ok(at) = people.binary_search_by_key(&key.0, |(record, _)| record.key.0) else { continue };
            let (record, did) = &mut people[at];
            let (day, start) = (u32::from(day), u32::from(record.day));
            if (start..start + window_days).contains(&day) {
                did.orders += u64::from(orders);
                did.revenue += revenue;
            } else if (start.saturating_sub(BEFORE_DAYS)..start).contains(&day) {
                did.before += revenue;
            }
        }
        people.iter().for_each(|(record, did)| show(record, *did));
    }
    Ok(())
}

fn split(row: &[u8; ROW]) -> (MemberKey, u16, u32, i64) {
    let (key, rest) = row.split_first_chunk::<12>().expect("longer than a key");
    let (day, rest) = rest.split_first_chunk::<2>().expect("longer than a day");
    let (orders, revenue) = rest.split_first_chunk::<4>().expect("longer than a count");
    let revenue = i64::from_le_bytes(*revenue.first_chunk().expect("8 bytes are left"));
    (MemberKey(*key), u16::from_le_bytes(*day), u32::from_le_bytes(*orders), revenue)
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
