//! A ledger of one machine becomes the shared one.

use reveil_sdk::Operation;

use super::cloud::Cloud;
use super::ground::Ground;
use super::{Replica, add, held, one, open, peek};
use crate::ledger::error::LedgerError;
use crate::ledger::store::Ledger;
use crate::ledger::tests::{at, records};

on_every_store! {
    nothing_is_lost_on_the_way_and_nobody_goes_back,
    a_crash_on_the_way_moves_it_again,
    two_histories_are_not_mixed,
}

/// A replica with a ledger from before there was a shared store: two generations, one batch undecided, a swap begun.
fn settled(cloud: &std::sync::Arc<Cloud>) -> (Replica, Vec<Vec<u8>>) {
    let replica = Replica::of(cloud);
    let mut own = Ledger::open(&replica.dir.path().join("own")).unwrap();
    (0..9).for_each(|number| add(&mut own, number).unwrap());
    own.fold().unwrap();
    let seq = own.intend(&one(Operation::Add, 9)).unwrap();
    own.accept(seq, &[], Some("job"), at(1)).unwrap();
    own.begin_replace().unwrap();
    let records = records(&own);
    (replica, records)
}

fn nothing_is_lost_on_the_way_and_nobody_goes_back(ground: &Ground) {
    let cloud = ground.cloud();
    let (replica, before) = settled(&cloud);
    let temp = tempfile::tempdir().unwrap();
    assert_eq!(records(&peek(&replica.client, replica.dir.path(), temp.path()).unwrap()), before);
    let ledger = replica.open().unwrap();
    assert_eq!((records(&ledger), ledger.pending()[0].ticket.as_str()), (before.clone(), "job"));
    assert!(ledger.is_replacing());
    drop(ledger);
    let own = replica.dir.path().join("own");
    assert!(matches!(Ledger::open(&own), Err(LedgerError::Moved { .. })));
    assert_eq!(records(&Replica::of(&cloud).open().unwrap()), before);
    // The store named by mistake has nothing: not the time to revive what is old.
    let elsewhere = Replica { client: ground.cloud().client(), ..replica };
    assert!(matches!(elsewhere.open(), Err(LedgerError::Gone { .. })));
}

fn a_crash_on_the_way_moves_it_again(ground: &Ground) {
    for done in [false, true] {
        for operation in ground.every(3) {
            let cloud = ground.cloud();
            let (replica, before) = settled(&cloud);
            let dying = cloud.client().dies_at(operation, done);
            let result = open(&dying, replica.dir.path());
            if !dying.is_dead() {
                result.unwrap();
                break;
            }
            drop(result);
            let ledger = replica.open().unwrap();
            assert_eq!((records(&ledger), ledger.pending().len()), (before, 1), "{operation}");
        }
    }
}

fn two_histories_are_not_mixed(ground: &Ground) {
    let cloud = ground.cloud();
    let mut first = Replica::of(&cloud).open().unwrap();
    add(&mut first, 1).unwrap();
    let (replica, _) = settled(&cloud);
    let error = replica.open().expect_err("it has a history of its own");
    assert!(matches!(error, LedgerError::Foreign { .. }) && error.to_string().contains("move the directory away"));
    std::fs::rename(replica.dir.path().join("own"), replica.dir.path().join("away")).unwrap();
    assert_eq!(held(&replica.open().unwrap()), [1]);
}
