//! Several writers, each of whom believes that the ledger is its own.

use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof, proptest};
use reveil_sdk::Operation;

use super::cloud::Cloud;
use super::ground::Ground;
use super::{Replica, add, held, one, state};
use crate::ledger::error::LedgerError;
use crate::ledger::store::Ledger;
use crate::ledger::tests::{expected, key, records, scenario};

on_every_store! {
    whoever_opens_last_has_the_ledger,
    a_begun_swap_is_known_to_the_next_replica_through_folds,
    a_reset_ledger_is_empty_and_its_writer_before_has_lost_it,
    a_writer_that_was_overtaken_at_any_operation_finds_out_and_spoils_nothing,
}

fn whoever_opens_last_has_the_ledger(ground: &Ground) {
    let cloud = ground.cloud();
    let (first, second) = (Replica::of(&cloud), Replica::of(&cloud));
    let mut old = first.open().unwrap();
    add(&mut old, 1).unwrap();
    let waiting = old.intend(&one(Operation::Add, 2)).unwrap();
    let mut new = second.open().unwrap();
    assert_eq!((held(&new), new.stats().unwrap().uncertain), (vec![1], 1));
    assert!(matches!(old.accept(waiting, &[], None, crate::ledger::tests::at(1)), Err(LedgerError::Lost { .. })));
    assert!(matches!(old.intend(&one(Operation::Add, 3)), Err(LedgerError::Broken { .. })));
    add(&mut new, 2).unwrap();
    new.fold().unwrap();
    drop(old);
    let again = first.open().unwrap();
    assert_eq!(held(&again), [1, 2]);
    assert!(matches!(new.intend(&one(Operation::Add, 3)), Err(error) if error.is_locked()));
}

fn a_begun_swap_is_known_to_the_next_replica_through_folds(ground: &Ground) {
    let cloud = ground.cloud();
    let (first, second) = (Replica::of(&cloud), Replica::of(&cloud));
    let mut ledger = first.open().unwrap();
    assert!(!ledger.is_replacing());
    add(&mut ledger, 1).unwrap();
    ledger.begin_replace().unwrap();
    ledger.fold().unwrap();
    assert!(ledger.is_replacing());
    drop(ledger);
    let mut ledger = second.open().unwrap();
    assert!(ledger.is_replacing());
    ledger.end_replace().unwrap();
    add(&mut ledger, 2).unwrap();
    ledger.fold().unwrap();
    assert!(!first.open().unwrap().is_replacing());
}

fn a_reset_ledger_is_empty_and_its_writer_before_has_lost_it(ground: &Ground) {
    let cloud = ground.cloud();
    let (first, second) = (Replica::of(&cloud), Replica::of(&cloud));
    let mut old = first.open().unwrap();
    add(&mut old, 1).unwrap();
    second.open().unwrap().reset().unwrap();
    assert!(matches!(old.intend(&one(Operation::Add, 3)), Err(LedgerError::Lost { .. })));
    let mut new = second.open().unwrap();
    assert_eq!(records(&new).len(), 0);
    add(&mut new, 2).unwrap();
    assert_eq!(state(&cloud).0.len(), 1);
}

/// What the other does in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Other {
    Adds,
    Folds,
    /// Days go by, generations are followed and removed.
    LivesOn,
}

/// Another replica comes before every operation of the first one's.
fn a_writer_that_was_overtaken_at_any_operation_finds_out_and_spoils_nothing(ground: &Ground) {
    let states = expected();
    for other in [Other::Adds, Other::Folds, Other::LivesOn] {
        for operation in ground.every(17) {
            let cloud = ground.cloud();
            let replica = Replica::of(&cloud);
            let second = Arc::new(Mutex::new(None));
            let hook = (Arc::clone(&cloud), Arc::clone(&second));
            replica.client.interrupt_at(operation, move || *hook.1.lock().unwrap() = Some(overtake(&hook.0, other)));
            let mut done = 0;
            let result = replica.open().and_then(|mut ledger| scenario(&mut ledger, &mut done));
            if replica.client.calm() {
                result.unwrap();
                break;
            }
            let found = state(&cloud);
            let ours: Vec<_> = found.0.iter().filter(|record| !is_others(record)).cloned().collect();
            let ours = (ours, found.1);
            let next = states.get(done + 1).unwrap_or(&states[done]);
            // While it opens, the first is the later one, and goes on.
            if result.is_ok() {
                assert_eq!(ours, *states.last().unwrap());
            } else {
                assert!(matches!(result, Err(LedgerError::Lost { .. })), "{other:?} {operation}: {result:?}");
                assert!(ours == states[done] || ours == *next, "{other:?}: after {done} steps, {operation} operations");
            }
            let others = found.0.iter().filter(|record| is_others(record)).count();
            assert_eq!(others, if other == Other::Adds { 1 } else { 3 }, "what the other was told");
        }
    }
}

const OTHERS: [u8; 3] = [50, 51, 52];

fn is_others(record: &[u8]) -> bool {
    OTHERS.iter().any(|number| record.windows(12).any(|bytes| bytes == key(*number).0))
}

fn overtake(cloud: &Arc<Cloud>, other: Other) -> (Replica, Ledger) {
    let replica = Replica::of(cloud);
    let mut ledger = replica.open().unwrap();
    add(&mut ledger, OTHERS[0]).unwrap();
    if other != Other::Adds {
        for number in &OTHERS[1..] {
            ledger.fold().unwrap();
            if other == Other::LivesOn {
                drop(ledger);
                cloud.wait(TimeDelta::days(2));
                ledger = replica.open().unwrap();
            }
            add(&mut ledger, *number).unwrap();
        }
        ledger.fold().unwrap();
    }
    (replica, ledger)
}

/// What one of three replicas does next.
#[derive(Debug, Clone, Copy)]
enum Act {
    Open,
    Add,
    Fold,
    Leave,
    LoseCopy,
    Wait,
}

#[derive(Debug, Clone)]
struct Step {
    who: usize,
    act: Act,
    /// Before this operation of the act, another acts.
    between: Option<(u32, usize, Act)>,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => proptest::strategy::Just(Act::Open),
        6 => proptest::strategy::Just(Act::Add),
        2 => proptest::strategy::Just(Act::Fold),
        1 => proptest::strategy::Just(Act::Leave),
        1 => proptest::strategy::Just(Act::LoseCopy),
        1 => proptest::strategy::Just(Act::Wait),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let between = proptest::option::of((1u32..12, 0usize..2, act()));
    (0usize..3, act(), between).prop_map(|(who, act, between)| Step {
        who,
        act,
        between: between.map(|(at, other, act)| (at, (who + 1 + other) % 3, act)),
    })
}

/// Three replicas and what they were told.
struct Field {
    cloud: Arc<Cloud>,
    replicas: Vec<Replica>,
    ledgers: [Mutex<Option<Ledger>>; 3],
    /// The last number used, and those whose answer was acknowledged.
    told: Mutex<(u8, Vec<u8>)>,
}

impl Field {
    fn act(&self, who: usize, act: Act) {
        let mut place = self.ledgers[who].lock().unwrap();
        match act {
            Act::Open => {
                *place = None;
                *place = Some(self.replicas[who].open().unwrap());
            }
            Act::Add => {
                let number = {
                    let mut told = self.told.lock().unwrap();
                    told.0 += 1;
                    told.0
                };
                if let Some(ledger) = &mut *place {
                    match add(ledger, number) {
                        Ok(()) => self.told.lock().unwrap().1.push(number),
                        Err(error) => assert!(is_lost(&error), "{error}"),
                    }
                }
            }
            Act::Fold => {
                if let Some(Err(error)) = place.as_mut().map(Ledger::fold) {
                    assert!(is_lost(&error), "{error}");
                }
            }
            Act::Leave => *place = None,
            Act::LoseCopy => {
                *place = None;
                let _ = std::fs::remove_dir_all(self.replicas[who].copies());
            }
            Act::Wait => self.cloud.wait(TimeDelta::hours(30)),
        }
    }
}

fn is_lost(error: &LedgerError) -> bool {
    matches!(error, LedgerError::Lost { .. } | LedgerError::Broken { .. })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes between whatever, everything that was acknowledged is there in the end.
    #[test]
    fn acknowledged_batches_survive_any_interleaving(steps in vec(step(), 1..40), last in any::<bool>()) {
        let cloud = Cloud::new();
        let field = Arc::new(Field {
            replicas: (0..3).map(|_| Replica::of(&cloud)).collect(),
            cloud,
            ledgers: Default::default(),
            told: Mutex::default(),
        });
        for step in &steps {
            let client = &field.replicas[step.who].client;
            if let Some((at, other, act)) = step.between {
                let field = Arc::clone(&field);
                client.interrupt_at(at, move || field.act(other, act));
            }
            field.act(step.who, step.act);
            client.calm();
        }
        if last {
            field.act(0, Act::Open);
            field.act(0, Act::Fold);
        }
        let fresh = Replica::of(&field.cloud);
        let ledger = fresh.open().unwrap();
        let mut told = field.told.lock().unwrap().1.clone();
        told.sort_unstable();
        let held = held(&ledger);
        assert!(told.iter().all(|number| held.contains(number)), "told {told:?}, held {held:?}");
    }
}
