//! The directory on a machine is only a copy: lost, torn or a stranger's, it changes nothing.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use reveil_sdk::Operation;

use super::cloud::Cloud;
use super::ground::Ground;
use super::{Replica, add, held, one, open, peek, state};
use crate::ledger::error::LedgerError;
use crate::ledger::tests::{copy_dir, records};

on_every_store! {
    a_journal_torn_or_changed_anywhere_is_mended_from_the_store,
    a_base_that_is_damaged_is_fetched_anew_by_the_next_opening,
    a_copy_of_another_store_is_not_believed,
    a_look_writes_nothing_and_needs_no_copy,
    readers_are_not_cut_by_folds_and_removals,
    old_generations_stay_for_a_day,
    tidying_drops_what_is_old_here_and_in_the_store,
}

/// Files of the copy whose names begin so.
fn files(replica: &Replica, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(replica.copies()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix)).collect()
}

/// A replica that has folded and written more since.
fn lived(cloud: &std::sync::Arc<Cloud>) -> Replica {
    let replica = Replica::of(cloud);
    let mut ledger = replica.open().unwrap();
    for number in 0..20 {
        add(&mut ledger, number).unwrap();
    }
    ledger.fold().unwrap();
    for number in 20..24 {
        add(&mut ledger, number).unwrap();
    }
    let waiting = ledger.intend(&one(Operation::Add, 30)).unwrap();
    ledger.accept(waiting, &[], Some("job"), crate::ledger::tests::at(1)).unwrap();
    replica
}

fn a_journal_torn_or_changed_anywhere_is_mended_from_the_store(ground: &Ground) {
    let cloud = ground.cloud();
    let replica = lived(&cloud);
    let truth = state(&cloud);
    let journal = files(&replica, "journal-").remove(0);
    let whole = std::fs::read(&journal).unwrap();
    let check = |what: &str, at: usize| {
        let ledger = replica.open().unwrap();
        assert_eq!((records(&ledger), ledger.pending().len()), truth, "{what} at {at}");
    };
    for at in ground.every(20).map(|number| 5 * (number as usize - 1)).take_while(|at| *at < whole.len()) {
        std::fs::write(&journal, &whole[..at]).unwrap();
        check("cut", at);
        let mut changed = whole.clone();
        changed[at] ^= 1;
        std::fs::write(&journal, changed).unwrap();
        check("changed", at);
    }
    std::fs::write(&journal, [&whole[..], &whole[..]].concat()).unwrap();
    check("doubled", 0);
    std::fs::remove_file(&journal).unwrap();
    check("removed", 0);
}

fn a_base_that_is_damaged_is_fetched_anew_by_the_next_opening(ground: &Ground) {
    let cloud = ground.cloud();
    let replica = lived(&cloud);
    let base = files(&replica, "base-").remove(0);
    let whole = std::fs::read(&base).unwrap();
    for at in [0, 60, 1_000, whole.len() - 60, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        std::fs::write(&base, changed).unwrap();
        // Its index is checked when it is opened, its records when they are read.
        let ledger = replica.open().unwrap();
        if let Err(error) = ledger.each_record(|_| {}) {
            assert!(matches!(error, LedgerError::DamagedCopy { .. }), "{error}");
            assert!(error.to_string().contains("run again"));
        }
        drop(ledger);
        assert_eq!(held(&replica.open().unwrap()).len(), 25);
    }
    std::fs::write(&base, &whole[..100]).unwrap();
    assert_eq!(held(&replica.open().unwrap()).len(), 25);
}

fn a_copy_of_another_store_is_not_believed(ground: &Ground) {
    let (cloud, other) = (ground.cloud(), ground.cloud());
    let (replica, stranger) = (lived(&cloud), lived(&other));
    let mut more = stranger.open().unwrap();
    add(&mut more, 99).unwrap();
    drop(more);
    let truth = state(&cloud);
    // Under its own names it is in nobody's way; under ours, only the content can tell.
    copy_dir(&stranger.copies(), &replica.copies());
    let ours = files(&replica, "journal-");
    for (ours, theirs) in
        ours.iter().flat_map(|ours| files(&stranger, "journal-").into_iter().map(move |theirs| (ours, theirs)))
    {
        std::fs::copy(theirs, ours).unwrap();
    }
    let ledger = replica.open().unwrap();
    assert_eq!((records(&ledger), ledger.pending().len()), truth);
}

fn a_look_writes_nothing_and_needs_no_copy(ground: &Ground) {
    let cloud = ground.cloud();
    let temp = tempfile::tempdir().unwrap();
    let nobody = Replica::of(&cloud);
    assert_eq!(records(&peek(&nobody.client, nobody.dir.path(), temp.path()).unwrap()).len(), 0);
    assert!(cloud.names().is_empty(), "a look begins no ledger");
    let replica = lived(&cloud);
    let before = cloud.names();
    for dir in [replica.dir.path(), nobody.dir.path()] {
        let mut ledger = peek(&replica.client, dir, temp.path()).unwrap();
        assert_eq!((held(&ledger).len(), ledger.pending().len()), (25, 1));
        assert!(matches!(ledger.intend(&one(Operation::Add, 1)), Err(LedgerError::ReadOnly { .. })));
    }
    assert_eq!(cloud.names(), before);
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
    assert!(!nobody.copies().exists());
}

/// Whoever looks, or opens, while the ledger is folded and its old generations are removed.
fn readers_are_not_cut_by_folds_and_removals(ground: &Ground) {
    for operation in ground.every(7).take_while(|operation| *operation < 30) {
        let cloud = ground.cloud();
        let writer = lived(&cloud);
        let reader = Replica::of(&cloud);
        let hook = cloud.clone();
        let dir = writer.dir.path().to_owned();
        reader.client.interrupt_at(operation, move || {
            for number in 40..43 {
                let mut ledger = open(&hook.client(), &dir).unwrap();
                ledger.pending().iter().for_each(|batch| ledger.verdict(batch.seq, Some(&[])).unwrap());
                add(&mut ledger, number).unwrap();
                ledger.fold().unwrap();
                hook.wait(TimeDelta::days(2));
            }
        });
        let temp = tempfile::tempdir().unwrap();
        let ledger = peek(&reader.client, reader.dir.path(), temp.path()).unwrap();
        let sees = held(&ledger).len();
        assert!((25..=28).contains(&sees), "{operation}: {sees}");
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
    }
}

fn old_generations_stay_for_a_day(ground: &Ground) {
    let cloud = ground.cloud();
    let replica = Replica::of(&cloud);
    let generations = || {
        let numbers = cloud.names().iter().filter(|name| name.contains("/manifest-")).count();
        let folders = cloud.names().iter().filter(|name| name.ends_with("/base")).count();
        (numbers, folders)
    };
    for number in 0..3 {
        let mut ledger = replica.open().unwrap();
        add(&mut ledger, number).unwrap();
        ledger.fold().unwrap();
    }
    replica.open().unwrap();
    assert_eq!(generations(), (4, 3));
    cloud.wait(TimeDelta::hours(25));
    replica.open().unwrap();
    assert_eq!(generations(), (1, 1));
    assert_eq!(held(&replica.open().unwrap()), [0, 1, 2]);
}

/// A replica that opens nothing any more keeps nothing that another has erased.
fn tidying_drops_what_is_old_here_and_in_the_store(ground: &Ground) {
    let cloud = ground.cloud();
    let (idle, busy) = (Replica::of(&cloud), Replica::of(&cloud));
    let mut ledger = idle.open().unwrap();
    add(&mut ledger, 1).unwrap();
    ledger.fold().unwrap();
    let tidy = |replica: &Replica| {
        replica.client.shared().ledger("audience", "destination").unwrap().tidy(&replica.copies()).unwrap();
    };
    let copies = || {
        let entries = std::fs::read_dir(idle.copies()).unwrap().map(|entry| entry.unwrap().file_name());
        let names = entries.map(|name| name.into_string().unwrap());
        names.filter(|name| name.starts_with("base-") || name.starts_with("journal-")).count()
    };
    tidy(&idle);
    assert_eq!(copies(), 2, "the newest generation stays");
    let mut other = busy.open().unwrap();
    add(&mut other, 2).unwrap();
    other.fold().unwrap();
    tidy(&idle);
    assert_eq!(copies(), 2, "and so does what is in use");
    drop(ledger);
    tidy(&idle);
    assert_eq!(copies(), 0);
    let manifests = || cloud.names().iter().filter(|name| name.contains("/manifest-")).count();
    assert_eq!(manifests(), 3, "readers may be in the middle of them");
    cloud.wait(TimeDelta::hours(25));
    tidy(&idle);
    assert_eq!(manifests(), 1);
    assert_eq!(held(&idle.open().unwrap()), [1, 2]);
}

#[test]
fn a_folder_of_this_machine_is_private_and_keeps_nothing_half_written() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("shared");
    let config = crate::config::LedgerConfig {
        store: Some(format!("file://{}", folder.display()).parse().unwrap()),
        ..Default::default()
    };
    let clock: std::sync::Arc<dyn reveil_sdk::Clock> = std::sync::Arc::new(crate::clock::MachineClock);
    let ledgers = |name: &str| {
        crate::ledger::Ledgers::open(&config, &outer.path().join(name), &Default::default(), &clock).unwrap()
    };
    let mut ledger = ledgers("one").hold("an audience", "dest").unwrap();
    add(&mut ledger, 1).unwrap();
    ledger.fold().unwrap();
    add(&mut ledger, 2).unwrap();
    let second = ledgers("two").hold("an audience", "dest").unwrap();
    assert_eq!(held(&second), [1, 2]);
    assert!(matches!(add(&mut ledger, 3), Err(LedgerError::Lost { .. })));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let mut left = vec![folder];
    let mut seen = 0;
    while let Some(path) = left.pop() {
        if path.is_dir() {
            assert_eq!(mode(&path), 0o700, "{}", path.display());
            left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            assert!(!path.display().to_string().contains('#'), "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 5, "{seen}");
}
