//! The arms of one run: every customer a destination's target holds after all rules, and every one withheld from it.

use std::path::Path;

use super::{Arm, AssignmentError, Merger, Record, path, planned_share, shared};
use crate::identity::Arm as Draw;
use crate::ledger::{Ledgers, Target, TargetRow};
use crate::sync::gather::Gathered;
use crate::sync::refine::{Decision, Refiner};

/// Adds the arms of what `delivered` destinations were sent to the audience's file. Returns how many customers were
/// assigned for the first time. A run that withholds nobody assigns nobody.
///
/// # Errors
/// Files that cannot be read or written; the file of earlier runs then stays as it was.
pub fn record_run(
    ledgers: &Ledgers,
    audience: &str,
    draws: &[Draw],
    gathered: &Gathered,
    delivered: &[&str],
    day: u16,
) -> Result<u64, AssignmentError> {
    let targets: Vec<&Target> = gathered
        .destinations
        .iter()
        .filter(|prepared| delivered.contains(&prepared.name.as_str()))
        .map(|prepared| &prepared.target)
        .collect();
    if gathered.holdout.is_none() || targets.is_empty() {
        return Ok(0);
    }
    let path = path(&ledgers.audience_dir(audience), draws);
    let merge = |path: &Path| merge(path, draws, gathered, &targets, day);
    match ledgers.shared() {
        None => merge(&path),
        Some(store) => shared::add(ledgers, store, audience, &path, merge),
    }
}

fn merge(
    path: &Path,
    draws: &[Draw],
    gathered: &Gathered,
    targets: &[&Target],
    day: u16,
) -> Result<u64, AssignmentError> {
    let planned = planned_share(draws);
    let mut merger = Merger::start(path)?;
    let mut refiner = Refiner::new(gathered);
    let (mut chunk, mut out, mut assigned) = (Vec::new(), reveil_sdk::MemberBuf::new(), Vec::new());
    // Buckets follow the leading bits of the key, and one run cuts all its targets alike.
    let buckets = targets[0].buckets();
    assert!(targets.iter().all(|target| target.buckets() == buckets), "targets of one run are cut alike");
    let unit = |row: &TargetRow<'_>| {
        let holdout = gathered.holdout.as_ref();
        holdout.and_then(|it| it.unit_key(gathered.identity.unit(row.index))).unwrap_or(row.member.key())
    };
    for bucket in 0..buckets {
        assigned.clear();
        for target in targets {
            target.each(bucket, &mut chunk, |row| match refiner.decide(row, &mut out) {
                Decision::Send => assigned.push((row.member.key(), Arm::Treated, unit(&row))),
                Decision::HeldOut => assigned.push((row.member.key(), Arm::Holdout, unit(&row))),
                Decision::LeftOut => {}
            })?;
        }
        // Whoever is sent anywhere, under any of several rows, is treated.
        assigned.sort_unstable_by_key(|(key, arm, _)| (key.0, *arm == Arm::Holdout));
        for (key, arm, unit) in &assigned {
            merger.push(Record { key: *key, unit: *unit, arm: *arm, day, planned })?;
        }
    }
    merger.finish()
}
