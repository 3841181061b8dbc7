//! The file against a map in memory.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use proptest::collection::{btree_map, vec};
use proptest::prelude::{ProptestConfig, any, proptest};

use super::{Arm, AssignmentError, Assignments, Merger, PLANNED_SCALE, Record, path, planned_share};
use crate::identity::Arm as Draw;
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
                let record = Record { key: MemberKey([*key; 12]), arm, day, planned: PLANNED_SCALE / 10 };
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
        merger.push(Record { key: MemberKey([key; 12]), arm: Arm::Treated, day: 20_454, planned: 5 }).unwrap();
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
