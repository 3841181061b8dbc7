//! A process that dies anywhere, and files that are damaged.

use super::*;

#[test]
fn damage_is_told_from_a_torn_tail() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path()).unwrap();
    let people = segment(&[(1, Person::new(&[1], &[])), (2, Person::new(&[2], &[]))]);
    sync(&mut ledger, &people, &mut Platform::default(), 1);
    drop(ledger);
    let flip = |name: &str, position: usize| {
        let path = dir.path().join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[position] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    flip("journal-0", 20);
    assert!(matches!(Ledger::open(dir.path()), Err(LedgerError::Damaged { at: 0, .. })));
    flip("journal-0", 20);
    let mut ledger = Ledger::open(dir.path()).unwrap();
    ledger.fold().unwrap();
    drop(ledger);
    flip("base-1", 30);
    let ledger = Ledger::open(dir.path()).unwrap();
    assert!(matches!(ledger.each_record(|_| {}), Err(LedgerError::Damaged { .. })));
    drop(ledger);
    std::fs::write(dir.path().join("manifest.json"), r#"{"format":2,"generation":1,"next_seq":3}"#).unwrap();
    assert!(matches!(Ledger::open(dir.path()), Err(LedgerError::Format { found: 2, .. })));
}

/// One step of a small history, and what a model that never crashes makes of it.
pub(in crate::ledger) fn scenario(ledger: &mut Ledger, done: &mut usize) -> crate::ledger::Result<()> {
    let mut buffer = MemberBuf::new();
    let mut batch = |operation, people: &[(u8, Person)]| {
        let mut batch = Batch::new(operation, Consent::GRANTED);
        for (number, person) in people {
            buffer.clear();
            person.encode(*number, &mut buffer);
            batch.push(buffer.last().unwrap());
        }
        batch
    };
    let first = batch(
        Operation::Add,
        &[(1, Person::new(&[1], &[])), (2, Person::new(&[2], &[])), (3, Person::new(&[3], &[3]))],
    );
    let second = batch(Operation::Remove, &[(2, Person::new(&[2], &[])), (3, Person::new(&[3], &[]))]);
    let third = batch(Operation::Add, &[(4, Person::new(&[4], &[]))]);
    let mut step = |result: crate::ledger::Result<u64>| {
        let seq = result?;
        *done += 1;
        Ok::<_, LedgerError>(seq)
    };
    let one = step(ledger.intend(&first))?;
    step(ledger.accept(one, &[0], None, at(1)).map(|()| 0))?;
    let two = step(ledger.intend(&second))?;
    step(ledger.accept(two, &[], Some("ticket"), at(2)).map(|()| 0))?;
    step(ledger.fold().map(|()| 0))?;
    let three = step(ledger.intend(&third))?;
    step(ledger.verdict(two, Some(&[1])).map(|()| 0))?;
    step(ledger.fold().map(|()| 0))?;
    step(ledger.accept(three, &[], None, at(3)).map(|()| 0))?;
    step(ledger.fold().map(|()| 0))?;
    Ok(())
}

/// The records after each number of steps of the scenario, as a process that stops there and restarts sees them.
pub(in crate::ledger) fn expected() -> Vec<(Vec<Vec<u8>>, usize)> {
    let mut states = Vec::new();
    for steps in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(dir.path()).unwrap();
        let mut done = 0;
        // Stop after the wanted number of steps by counting operations is what the crash test does; here each
        // prefix is made by copying the directory between steps.
        let snapshots = tempfile::tempdir().unwrap();
        let copy = snapshots.path().join("copy");
        let finished = run_prefix(&mut ledger, steps, &mut done);
        drop(ledger);
        copy_dir(dir.path(), &copy);
        let ledger = Ledger::open(&copy).unwrap();
        states.push((records(&ledger), ledger.pending().len()));
        if finished {
            return states;
        }
    }
    unreachable!()
}

/// Runs until `steps` are done; a step that would follow fails at its first file operation, before any effect.
fn run_prefix(ledger: &mut Ledger, steps: usize, done: &mut usize) -> bool {
    for operations in 1..200 {
        let dir = tempfile::tempdir().unwrap();
        let mut trial = Ledger::open(dir.path()).unwrap();
        fault::arm(operations, 0);
        let mut count = 0;
        let result = scenario(&mut trial, &mut count);
        let crashed = fault::disarm();
        if count == steps && crashed {
            // The same number of operations on the real one.
            fault::arm(operations, 0);
            let _ = scenario(ledger, done);
            assert!(fault::disarm());
            return false;
        }
        if result.is_ok() && !crashed {
            break;
        }
    }
    scenario(ledger, done).unwrap();
    true
}

pub(in crate::ledger) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Each finished step must be there after the crash; the step under way may be there or not, nothing between.
#[test]
fn a_crash_between_any_two_file_operations_loses_no_finished_step() {
    let states = expected();
    assert_eq!(states.len(), 11);
    let mut crashes = 0;
    for quarters in [0, 2, 4] {
        for operations in 1.. {
            let dir = tempfile::tempdir().unwrap();
            let mut ledger = Ledger::open(dir.path()).unwrap();
            fault::arm(operations, quarters);
            let mut done = 0;
            let result = scenario(&mut ledger, &mut done);
            drop(ledger);
            if !fault::disarm() {
                result.unwrap();
                break;
            }
            assert!(result.is_err() || done == 10, "a failed operation is reported");
            crashes += 1;
            // Recovery may die as well, at any point, and be repeated.
            for again in 1.. {
                fault::arm(again, quarters);
                let opened = Ledger::open(dir.path());
                if !fault::disarm() {
                    opened.unwrap();
                    break;
                }
            }
            let ledger = Ledger::open(dir.path()).unwrap();
            let state = (records(&ledger), ledger.pending().len());
            let next = states.get(done + 1).unwrap_or(&states[done]);
            assert!(state == states[done] || state == *next, "after {done} steps, {operations} operations");
        }
    }
    assert!(crashes > 100, "{crashes}");
}

#[test]
fn a_journal_cut_at_any_byte_keeps_all_whole_frames() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path()).unwrap();
    let people = segment(&[(1, Person::new(&[1], &[])), (2, Person::new(&[2], &[2]))]);
    let journal = dir.path().join("journal-0");
    let length = || std::fs::metadata(&journal).unwrap().len() as usize;
    // Length of the file after each call, and what holds from there on.
    let mut points = vec![(0, records(&ledger), 0)];
    let reopened = |points: &mut Vec<(usize, Vec<Vec<u8>>, usize)>| {
        let copy = tempfile::tempdir().unwrap();
        let copy = copy.path().join("copy");
        copy_dir(dir.path(), &copy);
        let ledger = Ledger::open(&copy).unwrap();
        points.push((length(), records(&ledger), ledger.pending().len()));
    };
    for batch in batches(&plan(&ledger, &people), 1) {
        let seq = ledger.intend(&batch).unwrap();
        reopened(&mut points);
        ledger.accept(seq, &[], Some("t"), at(1)).unwrap();
        reopened(&mut points);
        ledger.verdict(seq, Some(&[])).unwrap();
        reopened(&mut points);
    }
    ledger.forget(&plan(&ledger, &Segment::new())).unwrap();
    drop(ledger);
    let whole = std::fs::read(&journal).unwrap();
    for cut in 0..=whole.len() {
        for tail in [&[][..], &[0; 40], &[0xff; 40]] {
            std::fs::write(&journal, [&whole[..cut], tail].concat()).unwrap();
            let ledger = Ledger::open(dir.path()).unwrap();
            // The tail may happen to go on as the file did.
            let same = whole[cut..].iter().zip(tail).take_while(|(a, b)| a == b).count();
            let (end, expected, pending) = points.iter().rfind(|(end, ..)| *end <= cut + same).unwrap();
            assert_eq!(records(&ledger), *expected, "cut at {cut}");
            assert_eq!(ledger.pending().len(), *pending);
            drop(ledger);
            assert_eq!(length(), *end, "the torn tail is gone");
        }
    }
}
