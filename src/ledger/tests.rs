//! What the ledger promises, against a platform that holds digests; what its other tests share.

mod crash;
mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::{DateTime, Utc};
use reveil_sdk::IdentifierKind::{Email, GivenName, MobileAdId, Phone, Postcode};
use reveil_sdk::{Batch, Consent, IdentifierKind, MemberBuf, MemberKey, MemberRef, Operation, ValueRef};

use super::disk::fault;
use super::record::anchors;
use super::{DiffOptions, Ledger, LedgerError, Plan, TargetRow, TargetWriter, day_of, diff};

pub(super) use self::crash::{copy_dir, expected, scenario};

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
