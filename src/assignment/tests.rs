//! The file against a map in memory.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use proptest::collection::{btree_map, vec};
use proptest::prelude::{ProptestConfig, any, proptest};

use super::{Arm, AssignmentError, Assignments, Merger, PLANNED_SCALE, Record, path, planned_share};
use crate::identity::Arm as Draw;
use crate::ledger::Ledgers;
use crate::ledger::shared::tests::cloud::Cloud;
use reveil_sdk::MemberKey;

fn draw(salt: &str, holdout_bps: u16) -> Draw {
    Draw { salt: salt.into(), holdout_bps }
}

fn read(file: &std::path::Path) -> Result<Vec<Record>, AssignmentError> {
    let mut assignments = Assignments::open(file)?.expect("the file is there");
    let mut records = Vec::new();
    while let Some(record) = assignments.next()? {
        records.push(record);
    }
    assert_eq!(records.len() as u64, assignments.count());
    assert_eq!(assignments.next()?, None, "the end stays the end");
    Ok(records)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn customers_keep_their_first_arm_and_day(
        runs in vec(btree_map(0_u8..60, any::<bool>(), 0..40), 1..5),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("assignment.bin");
        let mut known = BTreeMap::new();
        for (day, run) in (20_000_u16..).zip(&runs) {
            let mut merger = Merger::start(&file).unwrap();
            let mut fresh = 0;
            for (key, treated) in run {
                let arm = if *treated { Arm::Treated } else { Arm::Holdout };
                let record = Record { key: MemberKey([*key; 12]), unit: MemberKey([*key / 2; 12]), arm, day, planned: PLANNED_SCALE / 10 };
                fresh += u64::from(!known.contains_key(key));
                known.entry(*key).or_insert(record);
                merger.push(record).unwrap();
                merger.push(Record { day: day + 1, ..record }).unwrap();
            }
            assert_eq!(merger.finish().unwrap(), fresh);
            assert_eq!(read(&file).unwrap(), known.values().copied().collect::<Vec<_>>());
        }
    }
}

#[test]
fn damage_is_found_and_the_file_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("assignment.bin");
    assert!(Assignments::open(&file).unwrap().is_none());
    let mut merger = Merger::start(&file).unwrap();
    for key in 0..20 {
        merger
            .push(Record {
                key: MemberKey([key; 12]),
                unit: MemberKey([0; 12]),
                arm: Arm::Treated,
                day: 20_454,
                planned: 5,
            })
            .unwrap();
    }
    merger.finish().unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let sound = std::fs::read(&file).unwrap();
    for at in 0..sound.len() {
        let mut broken = sound.clone();
        broken[at] ^= 0x10;
        std::fs::write(&file, broken).unwrap();
        let error = read(&file).expect_err("a flipped bit");
        assert!(matches!(error, AssignmentError::Damaged { .. }), "{error}");
        std::fs::write(&file, &sound[..at]).unwrap();
        assert!(read(&file).is_err(), "cut at {at}");
    }
    std::fs::write(&file, &sound).unwrap();
    assert_eq!(read(&file).unwrap().len(), 20);
}

#[test]
fn a_file_without_units_is_read_and_added_to() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("assignment.bin");
    let mut old = b"RVLASGN1".to_vec();
    for key in [3_u8, 5] {
        old.extend([key; 12]);
        old.extend(20_454_u16.to_le_bytes());
        old.extend(7_u32.to_le_bytes());
    }
    old.extend(2_u64.to_le_bytes());
    old.extend(crc32fast::hash(&old).to_le_bytes());
    std::fs::write(&file, old).unwrap();
    let alone = |key| Record {
        key: MemberKey([key; 12]),
        unit: MemberKey([key; 12]),
        arm: Arm::Treated,
        day: 20_454,
        planned: 7,
    };
    assert_eq!(read(&file).unwrap(), [alone(3), alone(5)]);
    let new = Record { unit: MemberKey([3; 12]), ..alone(4) };
    let mut merger = Merger::start(&file).unwrap();
    merger.push(new).unwrap();
    assert_eq!(merger.finish().unwrap(), 1);
    assert_eq!(read(&file).unwrap(), [alone(3), new, alone(5)]);
}

#[test]
fn another_salt_is_another_experiment_and_shares_multiply() {
    let dir = std::path::Path::new("ledger");
    let one = path(dir, &[draw("universal", 200), draw("dormant", 1_000)]);
    assert_eq!(one, path(dir, &[draw("universal", 300), draw("dormant", 1_000)]), "the share is no new draw");
    assert_ne!(one, path(dir, &[draw("universald", 200), draw("ormant", 1_000)]));
    assert_ne!(one, path(dir, &[draw("dormant", 1_000)]));
    assert_eq!(planned_share(&[draw("a", 200), draw("b", 1_000)]), 11_800_000);
    assert_eq!(planned_share(&[draw("a", 1), draw("b", 1)]), 19_999);
    assert_eq!(planned_share(&[]), 0);
}

fn assigned(key: u8, arm: Arm, day: u16) -> Record {
    Record { key: MemberKey([key; 12]), unit: MemberKey([key; 12]), arm, day, planned: 5 }
}

/// What a run of this replica adds.
fn add(ledgers: &Ledgers, records: &[Record]) -> Result<u64, AssignmentError> {
    let file = path(&ledgers.audience_dir("a"), &[draw("a", 100)]);
    super::shared::add(ledgers, ledgers.shared().unwrap(), "a", &file, |file| {
        let mut merger = Merger::start(file)?;
        records.iter().try_for_each(|record| merger.push(*record))?;
        merger.finish()
    })
}

fn found(ledgers: &Ledgers) -> Vec<Record> {
    let file = super::find(ledgers, "a", &[draw("a", 100)]).unwrap();
    file.map_or_else(Vec::new, |file| read(&file).unwrap())
}

/// A second replica adds before any operation of the first one's; the first may also end there.
#[test]
fn replicas_that_add_at_once_keep_what_each_added() {
    let ours = [assigned(1, Arm::Treated, 10), assigned(2, Arm::Holdout, 10)];
    let theirs = [assigned(2, Arm::Treated, 11), assigned(3, Arm::Treated, 11)];
    for operation in 1.. {
        let cloud = Cloud::new();
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        add(&Ledgers::in_store(cloud.shared(), first.path()), &[assigned(9, Arm::Treated, 9)]).unwrap();
        let client = cloud.client();
        let (hook, dir) = (cloud.clone(), second.path().to_owned());
        client.interrupt_at(operation, move || {
            assert!(add(&Ledgers::in_store(hook.shared(), &dir), &theirs).unwrap() >= 1);
        });
        let added = add(&Ledgers::in_store(client.shared(), first.path()), &ours).unwrap();
        let calm = client.calm();
        let known = found(&Ledgers::in_store(cloud.shared(), second.path()));
        assert_eq!(known, found(&Ledgers::in_store(cloud.shared(), first.path())));
        if calm {
            assert_eq!((added, known.len()), (2, 3));
            break;
        }
        let first_wins = [ours[0], ours[1], theirs[1]];
        let second_wins = [ours[0], theirs[0], theirs[1]];
        assert!(known[..3] == first_wins || known[..3] == second_wins, "{operation}: {known:?}");
        assert_eq!(known.len(), 4);
    }
}

#[test]
fn a_run_that_dies_adds_all_or_nothing_and_old_versions_go() {
    let ours = [assigned(1, Arm::Treated, 10)];
    for done in [false, true] {
        for operation in 1.. {
            let cloud = Cloud::new();
            let dir = tempfile::tempdir().unwrap();
            let dying = cloud.client().dies_at(operation, done);
            let result = add(&Ledgers::in_store(dying.shared(), dir.path()), &ours);
            let ledgers = Ledgers::in_store(cloud.shared(), dir.path());
            if !dying.is_dead() {
                result.unwrap();
                break;
            }
            assert!(found(&ledgers).len() <= 1);
            add(&ledgers, &ours).unwrap();
            assert_eq!(found(&ledgers), ours);
        }
    }
    let cloud = Cloud::new();
    let dir = tempfile::tempdir().unwrap();
    let ledgers = Ledgers::in_store(cloud.shared(), dir.path());
    (0..9).for_each(|day| assert_eq!(add(&ledgers, &[assigned(day, Arm::Treated, day.into())]).unwrap(), 1));
    assert_eq!(add(&ledgers, &[assigned(0, Arm::Holdout, 20)]).unwrap(), 0);
    assert_eq!(cloud.names().len(), 4, "two versions and their files");
    // What one machine had before there was a store.
    let own = path(&ledgers.own_audience_dir("b"), &[draw("b", 100)]);
    std::fs::create_dir_all(own.parent().unwrap()).unwrap();
    let mut merger = Merger::start(&own).unwrap();
    merger.push(ours[0]).unwrap();
    merger.finish().unwrap();
    let file = super::find(&ledgers, "b", &[draw("b", 100)]).unwrap().unwrap();
    assert_eq!(read(&file).unwrap(), ours);
    assert_ne!(file, own);
}
