//! One writer that dies at every operation, of the store or of its disk.

use super::super::super::disk::fault;
use super::cloud::Cloud;
use super::ground::Ground;
use super::{Replica, state};
use crate::ledger::tests::{expected, records, scenario};

on_every_store! {
    a_crash_at_any_operation_of_the_store_loses_no_finished_step,
    answers_that_are_lost_and_repeated_by_the_client_are_not_taken_for_another_writer,
}

/// Each finished step must be there after the crash, for whoever opens the ledger then; the step under way may be there
/// or not, nothing between.
fn a_crash_at_any_operation_of_the_store_loses_no_finished_step(ground: &Ground) {
    let states = expected();
    let mut crashes = 0;
    for done_at_death in [false, true] {
        for operation in ground.every(13) {
            let cloud = ground.cloud();
            let replica = Replica::new(cloud.client().dies_at(operation, done_at_death));
            let mut done = 0;
            let result = replica.open().and_then(|mut ledger| scenario(&mut ledger, &mut done));
            if !replica.client.is_dead() {
                result.unwrap();
                assert_eq!(state(&cloud), *states.last().unwrap());
                break;
            }
            crashes += 1;
            // The next one may die as well, on this machine or another, at any operation.
            for again in ground.every(5) {
                let next = Replica::new(cloud.client().dies_at(again, done_at_death));
                let dir = if again % 2 == 0 { next.dir.path() } else { replica.dir.path() };
                let opened = super::open(&next.client, dir);
                if !next.client.is_dead() {
                    opened.unwrap();
                    break;
                }
            }
            let found = Replica { client: cloud.client(), dir: replica.dir }.open().map(|ledger| records(&ledger));
            let (fresh, pending) = state(&cloud);
            assert_eq!(found.unwrap(), fresh, "a copy and the truth");
            let next = states.get(done + 1).unwrap_or(&states[done]);
            let is = |state: &(Vec<Vec<u8>>, usize)| *state == (fresh.clone(), pending);
            assert!(is(&states[done]) || is(next), "after {done} steps, {operation} operations");
        }
    }
    assert!(crashes > if matches!(ground, Ground::Memory) { 60 } else { 4 }, "{crashes}");
}

#[test]
fn a_crash_between_two_operations_on_the_copy_loses_nothing() {
    let states = expected();
    for quarters in [0, 2, 4] {
        for operation in 1.. {
            let cloud = Cloud::new();
            let replica = Replica::of(&cloud);
            fault::arm(operation, quarters);
            let mut done = 0;
            let result = replica.open().and_then(|mut ledger| scenario(&mut ledger, &mut done));
            if !fault::disarm() {
                result.unwrap();
                break;
            }
            let found = replica.open().map(|ledger| (records(&ledger), ledger.pending().len())).unwrap();
            let next = states.get(done + 1).unwrap_or(&states[done]);
            assert!(found == states[done] || found == *next, "after {done} steps, {operation} operations");
            assert_eq!(found, state(&cloud));
        }
    }
}

fn answers_that_are_lost_and_repeated_by_the_client_are_not_taken_for_another_writer(ground: &Ground) {
    let cloud = ground.cloud();
    let replica = Replica::new(cloud.client().stutters());
    let mut done = 0;
    scenario(&mut replica.open().unwrap(), &mut done).unwrap();
    assert_eq!(state(&cloud), *expected().last().unwrap());
}
