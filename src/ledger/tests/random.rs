//! Rounds at random against a platform that holds digests.

use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};

use super::*;

fn person() -> impl Strategy<Value = Person> {
    let few = |most: usize| proptest::collection::btree_set(0u8..5, 0..=most);
    (few(3), few(2), few(1), 0u8..3).prop_map(|(emails, phones, mobiles, name)| Person {
        emails,
        phones,
        mobiles,
        name,
    })
}

/// Members with names alone differ from each other: two of one name could not be told apart.
fn people() -> impl Strategy<Value = Segment> {
    proptest::collection::btree_map(0u8..8, person(), 0..8).prop_map(|mut people| {
        for (number, person) in &mut people {
            if person.emails.is_empty() && person.phones.is_empty() && person.mobiles.is_empty() {
                person.name = 10 + 2 * number + person.name % 2;
            }
        }
        people
    })
}

/// What happens to one batch.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Accepted,
    /// Every member whose key has this remainder by 3 is rejected.
    Rejected(u8),
    Failed,
    /// The answer is lost; the platform applied it or not.
    Lost(bool),
    /// Taken with a ticket; decided later: applied, but for the keys of a remainder, or not at all.
    Later(Option<u8>),
    /// Process ends here, in flight; applied or not.
    Crash(bool),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Accepted),
        2 => (0u8..3).prop_map(Fate::Rejected),
        1 => Just(Fate::Failed),
        1 => any::<bool>().prop_map(Fate::Lost),
        2 => proptest::option::of(0u8..4).prop_map(Fate::Later),
        1 => any::<bool>().prop_map(Fate::Crash),
    ]
}

#[derive(Debug, Clone)]
struct Round {
    people: Segment,
    fates: Vec<Fate>,
    fold: bool,
    /// Verdicts on tickets are not known before the next round's plan has been sent.
    late: bool,
}

fn round() -> impl Strategy<Value = Round> {
    (people(), vec(fate(), 0..6), any::<[bool; 2]>()).prop_map(|(people, fates, [fold, late])| Round {
        people,
        fates,
        fold,
        late,
    })
}

/// What the platform will say of a batch with a ticket: the rejected, or that nothing was applied.
type Tickets = Vec<(u64, Option<Vec<u32>>)>;

fn decide(ledger: &mut Ledger, tickets: &mut Tickets) {
    for (seq, rejected) in tickets.drain(..) {
        ledger.verdict(seq, rejected.as_deref()).unwrap();
    }
}

fn rejects(batch: &Batch, remainder: u8) -> Vec<u32> {
    let refused = |member: &MemberRef<'_>| member.key().0[1] % 3 == remainder;
    (0..).zip(batch.iter()).filter(|(_, member)| refused(member)).map(|(index, _)| index).collect()
}

/// One plan, sent with trouble.
fn play(mut ledger: Ledger, dir: &Path, round: &Round, platform: &mut Platform, tickets: &mut Tickets) -> Ledger {
    let plan = plan(&ledger, &round.people);
    let earlier = tickets.len();
    let mut crashed = false;
    ledger.forget(&plan).unwrap();
    for (number, batch) in batches(&plan, 2).into_iter().enumerate() {
        let seq = ledger.intend(&batch).unwrap();
        match round.fates.get(number).copied().unwrap_or(Fate::Accepted) {
            Fate::Accepted => {
                platform.apply_batch(&batch, &[]);
                ledger.accept(seq, &[], None, at(1)).unwrap();
            }
            Fate::Rejected(remainder) => {
                let rejected = rejects(&batch, remainder);
                platform.apply_batch(&batch, &rejected);
                ledger.accept(seq, &rejected, None, at(1)).unwrap();
            }
            Fate::Failed => ledger.fail(seq).unwrap(),
            Fate::Lost(applied) => {
                if applied {
                    platform.apply_batch(&batch, &[]);
                }
                ledger.give_up(seq).unwrap();
            }
            Fate::Later(verdict) => {
                ledger.accept(seq, &[], Some("ticket"), at(1)).unwrap();
                let rejected = verdict.map(|remainder| rejects(&batch, remainder));
                if let Some(rejected) = &rejected {
                    platform.apply_batch(&batch, rejected);
                }
                tickets.push((seq, rejected));
            }
            Fate::Crash(applied) => {
                if applied {
                    platform.apply_batch(&batch, &[]);
                }
                crashed = true;
                break;
            }
        }
    }
    if crashed {
        drop(ledger);
        ledger = Ledger::open(dir).unwrap();
    }
    if round.fold {
        ledger.fold().unwrap();
    }
    let mut due: Tickets = if round.late { tickets.drain(..earlier).collect() } else { std::mem::take(tickets) };
    decide(&mut ledger, &mut due);
    ledger
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// After any history, undisturbed plans end in an empty one with exactly the target on the platform.
    #[test]
    fn plans_converge_to_the_target(mut rounds in vec(round(), 0..8), last in people()) {
        if rounds.iter().any(|round| round.late) {
            // The known gap: see the module's documentation.
            rounds.iter_mut().for_each(|round| round.people.retain(|_, person| person.name < 10));
        }
        let dir = tempfile::tempdir().unwrap();
        let mut platform = Platform::default();
        let mut ledger = Ledger::open(dir.path()).unwrap();
        let mut tickets = Tickets::new();
        for round in &rounds {
            ledger = play(ledger, dir.path(), round, &mut platform, &mut tickets);
            if tickets.is_empty() {
                check_known(&ledger, &platform);
            }
        }
        decide(&mut ledger, &mut tickets);
        check_known(&ledger, &platform);
        let options = DiffOptions { today: 100, retry_rejected: true, ..DiffOptions::default() };
        for attempt in 0.. {
            let plan = plan_with(&ledger, &last, options);
            if plan.is_empty() {
                break;
            }
            assert!(attempt < 6, "plans do not end: {:?}", plan.counts());
            send_all(&mut ledger, &plan, &mut platform, 1);
            check_known(&ledger, &platform);
            if attempt % 2 == 0 {
                ledger.fold().unwrap();
            }
        }
        let wanted: BTreeSet<Id> = last.iter().flat_map(|(number, person)| person.wanted(*number)).collect();
        assert_eq!(platform.0, wanted);
        let stats = ledger.stats().unwrap();
        assert_eq!((stats.held, stats.uncertain, stats.rejected), (last.len() as u64, 0, 0));
    }

    /// A platform that always refuses some members still ends with the target of all others and nothing strange.
    #[test]
    fn standing_rejections_come_to_rest(mut rounds in vec(people(), 1..6), refused in 0u8..3) {
        // Found by names alone, a member may have to wait for one that is never accepted.
        rounds.iter_mut().for_each(|people| people.retain(|_, person| person.name < 10));
        let dir = tempfile::tempdir().unwrap();
        let mut platform = Platform::default();
        let mut ledger = Ledger::open(dir.path()).unwrap();
        for people in &rounds {
            for attempt in 0.. {
                let plan = plan(&ledger, people);
                if plan.is_empty() {
                    break;
                }
                assert!(attempt < 8, "plans do not end: {:?}", plan.counts());
                ledger.forget(&plan).unwrap();
                for batch in batches(&plan, 3) {
                    let rejected = if batch.operation == Operation::Add { rejects(&batch, refused) } else { Vec::new() };
                    let seq = ledger.intend(&batch).unwrap();
                    platform.apply_batch(&batch, &rejected);
                    ledger.accept(seq, &rejected, None, at(1)).unwrap();
                }
            }
            let wanted = |taken: bool| -> BTreeSet<Id> {
                let some = people.iter().filter(|(number, _)| taken || **number % 3 != refused);
                some.flat_map(|(number, person)| person.wanted(*number)).collect()
            };
            assert!(platform.0.is_superset(&wanted(false)));
            assert!(platform.0.is_subset(&wanted(true)));
            check_known(&ledger, &platform);
        }
    }
}

/// Whatever is on the platform, some record can still remove it.
fn check_known(ledger: &Ledger, platform: &Platform) {
    let mut known = BTreeSet::new();
    ledger.each_record(|record| known.extend(ids(record).into_iter().filter(|_| record.ledger_bits() != 2))).unwrap();
    for id in &platform.0 {
        assert!(known.contains(id), "nobody knows of an identifier");
    }
}
