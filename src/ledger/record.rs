//! What one journal entry does to one member's record. The rules, apart from any file.
//!
//! A record's two ledger bits say how it stands on the platform:
//!
//! | bits | the identifiers are |
//! |---|---|
//! | 0 | on the platform |
//! | [`UNCERTAIN`] | perhaps on the platform: a request's fate is unknown |
//! | [`REJECTED`] | not on the platform: it refused the member |
//! | both | refused, but some may be there from an earlier add |
//!
//! An identifier leaves a record only when its removal was accepted or another record answers for it, so that
//! nothing can stay on the platform that no record knows of.

use reveil_sdk::{IdentifierKind, MemberBuf, MemberRef, ValueRef};

/// The platform may or may not hold the identifiers.
pub(crate) const UNCERTAIN: u8 = 1;
/// The platform refused the member.
pub(crate) const REJECTED: u8 = 2;

/// What happened to a member of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Effect {
    Added = 0,
    AddUncertain = 1,
    AddRejected = 2,
    Removed = 3,
    RemoveUncertain = 4,
}

impl Effect {
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Self::Added, Self::AddUncertain, Self::AddRejected, Self::Removed, Self::RemoveUncertain]
            .into_iter()
            .find(|effect| *effect as u8 == code)
    }
}

/// E-mail, phone and mobile ids find a person by themselves; a removal carries only them.
pub(crate) const fn is_anchor(kind: IdentifierKind) -> bool {
    matches!(kind, IdentifierKind::Email | IdentifierKind::Phone | IdentifierKind::MobileAdId)
}

/// The identifiers that find the person by themselves.
pub(crate) fn anchors(member: MemberRef<'_>) -> impl Iterator<Item = (IdentifierKind, ValueRef<'_>)> {
    member.identifiers().filter(|(kind, _)| is_anchor(*kind))
}

pub(crate) fn has(member: MemberRef<'_>, identifier: (IdentifierKind, ValueRef<'_>)) -> bool {
    member.identifiers().any(|other| other == identifier)
}

/// `main` with those anchors of `more` that it lacks, as far as a member has room. Names and places are `main`'s.
pub(crate) fn join(main: MemberRef<'_>, more: MemberRef<'_>, day: u16, bits: u8, out: &mut MemberBuf) {
    out.clear();
    out.begin(main.key(), day);
    for wanted in [IdentifierKind::Email, IdentifierKind::Phone, IdentifierKind::MobileAdId] {
        for (kind, value) in main.identifiers().filter(|(kind, _)| *kind == wanted) {
            out.push(kind, value);
        }
        for (kind, value) in more.identifiers().filter(|(kind, _)| *kind == wanted) {
            if !has(main, (kind, value)) {
                out.push(kind, value);
            }
        }
    }
    for (kind, value) in main.identifiers().filter(|(kind, _)| !is_anchor(*kind)) {
        out.push(kind, value);
    }
    set_bits(out, day, bits);
}

/// `from` without the identifiers for which `drop` says true. Returns whether an anchor is left.
pub(crate) fn without(
    from: MemberRef<'_>,
    day: u16,
    bits: u8,
    out: &mut MemberBuf,
    mut drop: impl FnMut(IdentifierKind, ValueRef<'_>) -> bool,
) -> bool {
    let mut left = false;
    out.clear();
    out.begin(from.key(), day);
    for (kind, value) in from.identifiers() {
        if !drop(kind, value) {
            out.push(kind, value);
            left |= is_anchor(kind);
        }
    }
    set_bits(out, day, bits);
    left
}

/// What a removal of the record names: what finds the person by itself, or everything when nothing does.
pub(crate) fn removal_of(record: MemberRef<'_>, out: &mut MemberBuf) {
    if anchors(record).next().is_some() {
        without(record, 0, 0, out, |kind, _| !is_anchor(kind));
    } else {
        out.clear();
        out.push_member(record, 0, 0);
    }
}

/// Whether nothing of the record is on the platform, because it refused the member.
pub(crate) fn was_refused(record: MemberRef<'_>) -> bool {
    record.ledger_bits() == REJECTED
}

/// Ledger bits can only be set while copying, so a member just built is copied onto itself when it needs some.
fn set_bits(out: &mut MemberBuf, day: u16, bits: u8) {
    if bits != 0 {
        let mut marked = MemberBuf::new();
        marked.push_member(out.last().expect("just encoded"), day, bits);
        *out = marked;
    }
}

/// One member's record while journal entries are applied to it.
#[derive(Debug, Default)]
pub(crate) struct RecordState {
    record: MemberBuf,
    scratch: MemberBuf,
    present: bool,
    /// Something done to it waits for the platform's verdict, so it may yet be undone.
    pub(crate) pending: bool,
}

impl RecordState {
    pub(crate) fn reset(&mut self, record: Option<MemberRef<'_>>) {
        self.record.clear();
        self.pending = false;
        self.present = record.is_some();
        if let Some(record) = record {
            self.record.push_member(record, record.day(), record.ledger_bits());
        }
    }
    pub(crate) fn get(&self) -> Option<MemberRef<'_>> {
        if self.present { self.record.last() } else { None }
    }
    pub(crate) fn apply(&mut self, effect: Effect, member: MemberRef<'_>, day: u16, pending: bool) {
        match effect {
            Effect::Added => self.put(member, day, 0, 0),
            Effect::AddUncertain => self.put(member, 0, UNCERTAIN, UNCERTAIN),
            Effect::AddRejected => self.put(member, 0, REJECTED, REJECTED | UNCERTAIN),
            Effect::Removed => self.subtract(member),
            Effect::RemoveUncertain => self.mark_uncertain(),
        }
        self.pending |= pending;
    }
    /// `bits` when nothing of the member was on the platform, `bits_over` when something may have been.
    fn put(&mut self, member: MemberRef<'_>, day: u16, bits: u8, bits_over: u8) {
        let old = if self.present { self.record.last() } else { None };
        match old.filter(|old| old.ledger_bits() != REJECTED) {
            Some(old) => {
                join(member, old, day, bits_over, &mut self.scratch);
                std::mem::swap(&mut self.record, &mut self.scratch);
            }
            None => {
                self.record.clear();
                self.record.push_member(member, day, bits);
            }
        }
        self.present = true;
    }
    /// With no anchor left the record goes; so does one that had none.
    fn subtract(&mut self, member: MemberRef<'_>) {
        let Some(old) = (if self.present { self.record.last() } else { None }) else { return };
        // With fewer identifiers it is another member to the platform, which may take it now.
        let bits = if old.ledger_bits() == REJECTED | UNCERTAIN { UNCERTAIN } else { old.ledger_bits() };
        let drop = |kind, value: ValueRef<'_>| is_anchor(kind) && has(member, (kind, value));
        self.present = without(old, old.day(), bits, &mut self.scratch, drop);
        std::mem::swap(&mut self.record, &mut self.scratch);
    }
    fn mark_uncertain(&mut self) {
        let Some(old) = (if self.present { self.record.last() } else { None }) else { return };
        if old.ledger_bits() != REJECTED {
            self.scratch.clear();
            self.scratch.push_member(old, old.day(), old.ledger_bits() | UNCERTAIN);
            std::mem::swap(&mut self.record, &mut self.scratch);
        }
    }
}
