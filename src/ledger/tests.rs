//! The ledger against models: a platform that holds digests, and a process that dies anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::{DateTime, Utc};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use reveil_sdk::IdentifierKind::{Email, GivenName, MobileAdId, Phone, Postcode};
use reveil_sdk::{Batch, Consent, IdentifierKind, MemberBuf, MemberKey, MemberRef, Operation, ValueRef};

use super::disk::fault;
use super::record::anchors;
use super::{DiffOptions, Ledger, LedgerError, Plan, TargetRow, TargetWriter, day_of, diff};

const GRANTED: u8 = 0;

pub(super) fn at(day: u16) -> DateTime<Utc> {
    DateTime::from_timestamp((18_262 + i64::from(day)) * 86_400 + 3_600, 0).unwrap()
}

pub(super) fn key(number: u8) -> MemberKey {
    // Spread over the buckets.
    MemberKey([number.wrapping_mul(37), number, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// A member in short.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Person {
    emails: BTreeSet<u8>,
    phones: BTreeSet<u8>,
    mobiles: BTreeSet<u8>,
    name: u8,
}

impl Person {
    pub(super) fn new(emails: &[u8], phones: &[u8]) -> Self {
        let set = |values: &[u8]| values.iter().copied().collect();
        Self { emails: set(emails), phones: set(phones), mobiles: BTreeSet::new(), name: 0 }
    }
    pub(super) fn encode(&self, number: u8, out: &mut MemberBuf) {
        out.begin(key(number), 0);
        for email in &self.emails {
            assert!(out.push(Email, ValueRef::Digest(&[*email; 32])));
        }
        for phone in &self.phones {
            assert!(out.push(Phone, ValueRef::Digest(&[100 + phone; 32])));
        }
        for mobile in &self.mobiles {
            assert!(out.push(MobileAdId, ValueRef::Plain(&format!("device-{mobile}"))));
        }
        if self.name > 0 {
            assert!(out.push(GivenName, ValueRef::Digest(&[200 + self.name; 32])));
            assert!(out.push(Postcode, ValueRef::Plain("75001")));
        }
    }
    /// What the platform should hold for it.
    fn wanted(&self, number: u8) -> BTreeSet<Id> {
        let mut buffer = MemberBuf::new();
        self.encode(number, &mut buffer);
        ids(buffer.last().unwrap())
    }
}

pub(super) type Segment = BTreeMap<u8, Person>;
/// What platforms match by: an anchor, or all that a member without anchors has.
pub(super) type Id = Vec<(IdentifierKind, Vec<u8>)>;

fn owned((kind, value): (IdentifierKind, ValueRef<'_>)) -> (IdentifierKind, Vec<u8>) {
    match value {
        ValueRef::Digest(digest) => (kind, digest.to_vec()),
        ValueRef::Plain(text) => (kind, text.as_bytes().to_vec()),
    }
}

fn ids(member: MemberRef<'_>) -> BTreeSet<Id> {
    let anchors: BTreeSet<Id> = anchors(member).map(|identifier| vec![owned(identifier)]).collect();
    if anchors.is_empty() { BTreeSet::from([member.identifiers().map(owned).collect()]) } else { anchors }
}

/// A platform is a set.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Platform(pub(super) BTreeSet<Id>);

impl Platform {
    fn apply(&mut self, operation: Operation, member: MemberRef<'_>) {
        for id in ids(member) {
            match operation {
                Operation::Add => self.0.insert(id),
                Operation::Remove => self.0.remove(&id),
            };
        }
    }
    fn apply_batch(&mut self, batch: &Batch, rejected: &[u32]) {
        for (index, member) in batch.iter().enumerate() {
            if !rejected.contains(&(index as u32)) {
                self.apply(batch.operation, member);
            }
        }
    }
}

fn plan_with(ledger: &Ledger, segment: &Segment, options: DiffOptions) -> Plan {
    let mut writer = TargetWriter::create(ledger.temp_dir(), segment.len() as u64).unwrap();
    let mut buffer = MemberBuf::new();
    for (number, person) in segment {
        buffer.clear();
        person.encode(*number, &mut buffer);
        let member = buffer.last().unwrap();
        let row = TargetRow { index: u32::from(*number), group: GRANTED, email_slots: 1, phone_slots: 1, member };
        writer.push(&row).unwrap();
    }
    diff(ledger, &writer.finish().unwrap(), |_, _| true, options).unwrap()
}

pub(super) fn plan(ledger: &Ledger, segment: &Segment) -> Plan {
    plan_with(ledger, segment, DiffOptions { today: 100, ..DiffOptions::default() })
}

pub(super) fn batches(plan: &Plan, max: usize) -> Vec<Batch> {
    [Operation::Remove, Operation::Add]
        .into_iter()
        .flat_map(|operation| plan.batches(operation, max, None).map(|batch| batch.unwrap()))
        .collect()
}

/// Sends everything, nothing goes wrong.
pub(super) fn send_all(ledger: &mut Ledger, plan: &Plan, platform: &mut Platform, day: u16) {
    ledger.forget(plan).unwrap();
    for batch in batches(plan, 2) {
        let seq = ledger.intend(&batch).unwrap();
        platform.apply_batch(&batch, &[]);
        ledger.accept(seq, &[], None, at(day)).unwrap();
    }
}

pub(super) fn sync(ledger: &mut Ledger, segment: &Segment, platform: &mut Platform, day: u16) {
    let plan = plan(ledger, segment);
    send_all(ledger, &plan, platform, day);
}

pub(super) fn records(ledger: &Ledger) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    ledger.each_record(|record| records.push(record.bytes().to_vec())).unwrap();
    records
}

pub(super) fn segment(people: &[(u8, Person)]) -> Segment {
    people.iter().cloned().collect()
}

#[test]
fn a_second_handle_is_refused_until_the_first_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let first = Ledger::open(dir.path()).unwrap();
    assert!(matches!(Ledger::open(dir.path()), Err(LedgerError::Held { .. })));
    drop(first);
    Ledger::open(dir.path()).unwrap();
}

#[test]
fn files_are_for_their_owner_alone_and_a_peek_writes_none() {
    use std::os::unix::fs::PermissionsExt;
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("audience").join("destination");
    let mut ledger = Ledger::open(&dir).unwrap();
    let people = segment(&[(1, Person::new(&[1], &[1]))]);
    sync(&mut ledger, &people, &mut Platform::default(), 1);
    ledger.fold().unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    let list = || {
        let entries = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect::<BTreeMap<_, _>>()
    };
    let before = list();
    assert_eq!(before.len(), 4, "lock, manifest, base, journal");
    before.keys().for_each(|path| assert_eq!(mode(path), 0o600));
    let temp = outer.path().join("temp");
    std::fs::create_dir(&temp).unwrap();
    let mut peek = Ledger::peek(&dir, &temp).unwrap();
    assert_eq!(plan(&peek, &people).counts().keep, 1);
    assert_eq!(plan(&peek, &Segment::new()).counts().remove, 1);
    assert!(matches!(peek.intend(&Batch::new(Operation::Add, Consent::GRANTED)), Err(LedgerError::ReadOnly { .. })));
    assert_eq!(list(), before);
    assert_eq!(std::fs::read_dir(&temp).unwrap().count(), 0);
    let nothing = Ledger::peek(&outer.path().join("absent"), &temp).unwrap();
    assert_eq!(plan(&nothing, &people).counts().add, 1);
    assert!(!outer.path().join("absent").exists());
}

#[test]
fn an_update_removes_first_and_adds_in_the_next_plan() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path()).unwrap();
    let mut platform = Platform::default();
    let before = segment(&[(1, Person { name: 1, ..Person::new(&[1, 2], &[3]) })]);
    sync(&mut ledger, &before, &mut platform, 1);
    let after = segment(&[(1, Person { name: 1, ..Person::new(&[1, 4], &[3]) })]);
    let first = plan(&ledger, &after);
    let counts = first.counts();
    assert_eq!((counts.update, counts.deferred, counts.add, counts.remove), (1, 1, 0, 0));
    let sent = batches(&first, 10);
    assert_eq!(sent.len(), 1);
    let member = sent[0].get(0).unwrap();
    assert_eq!((sent[0].operation, member.len()), (Operation::Remove, 1), "the lost e-mail alone");
    assert_eq!(member.emails(), [[2; 32]]);
    send_all(&mut ledger, &first, &mut platform, 2);
    let second = plan(&ledger, &after);
    assert_eq!((second.counts().add, second.counts().update), (1, 0));
    send_all(&mut ledger, &second, &mut platform, 2);
    assert!(plan(&ledger, &after).is_empty());
    assert_eq!(platform.0, after[&1].wanted(1));
}

#[test]
fn a_shared_identifier_stays_until_its_last_holder_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path()).unwrap();
    let mut platform = Platform::default();
    let (a, b) = (Person::new(&[1], &[9]), Person::new(&[2], &[9]));
    let both = segment(&[(1, a.clone()), (2, b.clone())]);
    sync(&mut ledger, &both, &mut platform, 1);
    let alone = segment(&[(2, b.clone())]);
    let leave = plan(&ledger, &alone);
    assert_eq!(leave.counts().remove, 1);
    assert_eq!(batches(&leave, 10)[0].get(0).unwrap().len(), 1, "the e-mail, not the shared phone");
    send_all(&mut ledger, &leave, &mut platform, 2);
    assert_eq!(platform.0, b.wanted(2));
    assert_eq!(ledger.stats().unwrap().held, 1);
    sync(&mut ledger, &Segment::new(), &mut platform, 3);
    assert_eq!(platform.0.len(), 0);
}

#[test]
fn an_identifier_is_not_forgotten_for_a_member_that_was_never_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path()).unwrap();
    let mut platform = Platform::default();
    let person = Person::new(&[1], &[]);
    sync(&mut ledger, &segment(&[(1, person.clone())]), &mut platform, 1);
    // The customer got another id; the platform refuses the new one.
    let renamed = segment(&[(2, person)]);
    let first = plan(&ledger, &renamed);
    assert_eq!((first.counts().add, first.counts().held_for_others, first.counts().remove), (1, 1, 0));
    let batch = &batches(&first, 10)[0];
    let seq = ledger.intend(batch).unwrap();
    ledger.accept(seq, &[0], None, at(2)).unwrap();
    assert!(plan(&ledger, &renamed).is_empty());
    let gone = plan(&ledger, &Segment::new());
    assert_eq!((gone.counts().remove, gone.counts().forget), (1, 1));
    send_all(&mut ledger, &gone, &mut platform, 3);
    assert_eq!(platform.0.len(), 0);
    assert_eq!(records(&ledger).len(), 0);
}

#[test]
fn a_member_that_waits_for_its_verdict_answers_for_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path()).unwrap();
    let mut platform = Platform::default();
    sync(&mut ledger, &segment(&[(1, Person::new(&[1], &[9]))]), &mut platform, 1);
    let other = segment(&[(2, Person::new(&[2], &[9]))]);
    let first = plan(&ledger, &other);
    let mut ticket = 0;
    for batch in batches(&first, 10) {
        let seq = ledger.intend(&batch).unwrap();
        if batch.operation == Operation::Add {
            ledger.accept(seq, &[], Some("job"), at(2)).unwrap();
            ticket = seq;
        } else {
            platform.apply_batch(&batch, &[]);
            ledger.accept(seq, &[], None, at(2)).unwrap();
        }
    }
    let counts = plan(&ledger, &other).counts();
    assert_eq!((counts.held_for_others, counts.forget), (1, 0));
    ledger.verdict(ticket, None).unwrap();
    sync(&mut ledger, &Segment::new(), &mut platform, 3);
    assert_eq!(platform.0.len(), 0);
}

#[test]
fn a_refused_member_is_not_forgotten_while_its_removal_may_come_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path()).unwrap();
    let mut platform = Platform::default();
    let people = segment(&[(1, Person::new(&[1], &[]))]);
    sync(&mut ledger, &people, &mut platform, 1);
    let removal = ledger.intend(&batches(&plan(&ledger, &Segment::new()), 10)[0]).unwrap();
    ledger.accept(removal, &[], Some("job"), at(2)).unwrap();
    let again = ledger.intend(&batches(&plan(&ledger, &people), 10)[0]).unwrap();
    ledger.accept(again, &[0], None, at(3)).unwrap();
    let gone = plan(&ledger, &Segment::new());
    assert_eq!((gone.counts().remove, gone.counts().forget), (1, 0));
    ledger.verdict(removal, None).unwrap();
    sync(&mut ledger, &Segment::new(), &mut platform, 4);
    assert_eq!(platform.0.len(), 0);
}

#[test]
fn of_two_that_leave_with_a_shared_phone_one_removes_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path()).unwrap();
    let mut platform = Platform::default();
    let both = segment(&[(1, Person::new(&[1], &[9])), (2, Person::new(&[2], &[9]))]);
    sync(&mut ledger, &both, &mut platform, 1);
    let leave = plan(&ledger, &Segment::new());
    let sent = batches(&leave, 1);
    let phones: usize = sent.iter().flat_map(Batch::iter).map(|member| member.phones().len()).sum();
    assert_eq!((sent.len(), phones), (2, 1));
    ledger.forget(&leave).unwrap();
    // The one with the phone is removed, the other's removal fails; then that one is wanted again.
    for batch in &sent {
        let seq = ledger.intend(batch).unwrap();
        if batch.iter().any(|member| !member.phones().is_empty()) {
            platform.apply_batch(batch, &[]);
            ledger.accept(seq, &[], None, at(2)).unwrap();
        } else {
            ledger.fail(seq).unwrap();
        }
    }
    for people in [both[&1].clone(), both[&2].clone()].into_iter().zip([1, 2]) {
        let back = segment(&[(people.1, people.0.clone())]);
        while !plan(&ledger, &back).is_empty() {
            sync(&mut ledger, &back, &mut platform, 3);
        }
        assert_eq!(platform.0, people.0.wanted(people.1));
    }
}

#[test]
fn rejected_members_wait_for_a_change_or_an_explicit_retry() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path()).unwrap();
    let people = segment(&[(1, Person::new(&[1], &[])), (2, Person::new(&[2], &[]))]);
    let first = plan(&ledger, &people);
    let batch = &batches(&first, 10)[0];
    let refused = batch.iter().position(|member| member.key() == key(1)).unwrap() as u32;
    let seq = ledger.intend(batch).unwrap();
    assert!(matches!(ledger.accept(seq, &[2], None, at(1)), Err(LedgerError::Index { .. })));
    ledger.accept(seq, &[refused], None, at(1)).unwrap();
    assert!(matches!(ledger.accept(seq, &[], None, at(1)), Err(LedgerError::Entry { .. })));
    let again = plan(&ledger, &people);
    assert_eq!((again.counts().rejected_kept, again.counts().keep, again.is_empty()), (1, 1, true));
    let retry = plan_with(&ledger, &people, DiffOptions { retry_rejected: true, ..DiffOptions::default() });
    assert_eq!(retry.counts().add, 1);
    let changed = segment(&[(1, Person::new(&[3], &[])), (2, Person::new(&[2], &[]))]);
    assert_eq!(plan(&ledger, &changed).counts().add, 1);
    let gone = plan(&ledger, &segment(&[(2, Person::new(&[2], &[]))]));
    assert_eq!((gone.counts().forget, gone.counts().remove), (1, 0), "it never was on the platform");
}

#[test]
fn members_are_refreshed_when_their_time_comes_and_details_are_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path()).unwrap();
    let mut platform = Platform::default();
    let people = segment(&[(1, Person { name: 1, ..Person::new(&[1], &[]) })]);
    sync(&mut ledger, &people, &mut platform, 10);
    ledger.fold().unwrap();
    let options = |today| DiffOptions { today, renew_after_days: Some(30), ..DiffOptions::default() };
    assert_eq!(plan_with(&ledger, &people, options(40)).counts().keep, 1);
    let due = plan_with(&ledger, &people, options(41));
    assert_eq!((due.counts().refresh, due.counts().keep), (1, 0));
    send_all(&mut ledger, &due, &mut platform, 41);
    assert_eq!(plan_with(&ledger, &people, options(71)).counts().keep, 1);
    let renamed = segment(&[(1, Person { name: 2, ..Person::new(&[1], &[]) })]);
    assert_eq!(plan_with(&ledger, &renamed, options(42)).counts().add, 1);
    assert_eq!(day_of(at(41).timestamp()), 41);
}

#[test]
fn pending_batches_stay_in_the_journal_and_a_failed_verdict_undoes_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path()).unwrap();
    let people = segment(&[(1, Person::new(&[1], &[])), (2, Person::new(&[2], &[]))]);
    let sent = batches(&plan(&ledger, &people), 1);
    let first = ledger.intend(&sent[0]).unwrap();
    let second = ledger.intend(&sent[1]).unwrap();
    ledger.accept(first, &[], Some("job-1"), at(5)).unwrap();
    ledger.accept(second, &[], None, at(5)).unwrap();
    ledger.fold().unwrap();
    drop(ledger);
    let mut ledger = Ledger::open(dir.path()).unwrap();
    let pending = ledger.pending();
    assert_eq!((pending.len(), pending[0].seq, pending[0].ticket.as_str()), (1, first, "job-1"));
    assert_eq!((pending[0].members, pending[0].accepted_at), (1, at(5)));
    assert_eq!(plan(&ledger, &people).counts().keep, 2);
    assert_eq!(ledger.batch(first).unwrap().unwrap().bytes(), sent[0].bytes());
    ledger.verdict(first, None).unwrap();
    assert!(matches!(ledger.verdict(first, None), Err(LedgerError::Entry { .. })));
    assert_eq!(plan(&ledger, &people).counts().add, 1);
    ledger.fold().unwrap();
    assert_eq!(ledger.stats().unwrap().held, 1);
    assert!(ledger.intend(&sent[0]).unwrap() > second, "numbers are not used twice");
}

#[test]
fn repeated_rows_are_joined_and_refining_drops_identifiers_and_members() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path()).unwrap();
    let mut writer = TargetWriter::create(ledger.temp_dir(), 10).unwrap();
    let rows = [
        (1, Person::new(&[1], &[])),
        (2, Person::new(&[2, 3], &[])),
        (1, Person::new(&[4], &[5])),
        (3, Person::new(&[6], &[])),
    ];
    let mut buffer = MemberBuf::new();
    for (index, (number, person)) in rows.iter().enumerate() {
        person.encode(*number, &mut buffer);
        let member = buffer.last().unwrap();
        writer
            .push(&TargetRow { index: index as u32, group: GRANTED, email_slots: 1, phone_slots: 0, member })
            .unwrap();
    }
    let target = writer.finish().unwrap();
    let refine = |row: TargetRow<'_>, out: &mut MemberBuf| {
        if row.index == 1 {
            out.begin(row.member.key(), 0);
            out.push(Email, ValueRef::Digest(&[3; 32]));
        }
        row.index != 3
    };
    let plan = diff(&ledger, &target, refine, DiffOptions::default()).unwrap();
    let counts = plan.counts();
    assert_eq!((counts.add, counts.duplicates, counts.dropped), (2, 1, 1));
    let batch = &batches(&plan, 10)[0];
    let get = |number| batch.iter().find(|member| member.key() == key(number)).unwrap();
    assert_eq!((get(1).emails(), get(1).phones().len()), ([[1; 32], [4; 32]].as_slice(), 1));
    assert_eq!(get(2).emails(), [[3; 32]]);
}

#[test]
fn batches_are_uniform_in_consent_and_within_their_limits() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path()).unwrap();
    let mut writer = TargetWriter::create(ledger.temp_dir(), 200).unwrap();
    let mut buffer = MemberBuf::new();
    let unknown = super::consent::group(Consent::UNKNOWN);
    for number in 0..200u8 {
        buffer.clear();
        Person::new(&[1], &[1]).encode(number, &mut buffer);
        let group = if number % 3 == 0 { unknown } else { GRANTED };
        let member = buffer.last().unwrap();
        writer.push(&TargetRow { index: 0, group, email_slots: 1, phone_slots: 1, member }).unwrap();
    }
    let plan = diff(&ledger, &writer.finish().unwrap(), |_, _| true, DiffOptions::default()).unwrap();
    let sizes = |max, bytes| {
        let all = plan.batches(Operation::Add, max, bytes).map(|batch| batch.unwrap());
        all.map(|batch| (batch.consent == Consent::UNKNOWN, batch.len())).collect::<Vec<_>>()
    };
    assert_eq!(sizes(100, None), [(false, 100), (false, 33), (true, 67)]);
    assert_eq!(sizes(1000, Some(80 * 60 + 79)), [(false, 60), (false, 60), (false, 13), (true, 60), (true, 7)]);
    assert_eq!(sizes(1000, Some(10)).len(), 200);
}

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
pub(super) fn scenario(ledger: &mut Ledger, done: &mut usize) -> super::Result<()> {
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
    let mut step = |result: super::Result<u64>| {
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
pub(super) fn expected() -> Vec<(Vec<Vec<u8>>, usize)> {
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

pub(super) fn copy_dir(from: &Path, to: &Path) {
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
