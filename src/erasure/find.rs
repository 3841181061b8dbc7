//! Where somebody is: a look through every ledger that exists.

use std::path::Path;

use chrono::{DateTime, Utc};
use reveil_sdk::{Batch, Consent, MemberBuf, MemberKey, Operation};

use super::suppression::Matcher;
use crate::ledger::{Ledger, Result};

/// What one ledger has of a person.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    /// Member keys of their records.
    pub(crate) keys: Vec<MemberKey>,
    /// Bytes of theirs lie in the journal, though perhaps no record is left.
    pub(crate) journalled: bool,
}

impl Traces {
    pub(crate) fn any(&self) -> bool {
        self.journalled || !self.keys.is_empty()
    }
}

/// Batches whose fate is unknown count as sent: their members are records too.
pub(crate) fn traces(ledger: &Ledger, matcher: &Matcher) -> Result<Traces> {
    let mut traces = Traces::default();
    ledger.each_record(|record| {
        if matcher.is_of(record) {
            traces.keys.push(record.key());
        }
    })?;
    ledger.each_journalled(|member| traces.journalled |= matcher.is_of(member))?;
    Ok(traces)
}

/// What the journal tells of removals of the person: how many members, and when the last. An earlier try, or a sync,
/// may have sent them.
pub(crate) fn removed(ledger: &Ledger, matcher: &Matcher) -> Result<(u64, Option<DateTime<Utc>>)> {
    let mut members = std::collections::HashSet::new();
    let mut last = None;
    ledger.each_removed(|member, at| {
        if matcher.is_of(member) {
            members.insert(member.key());
            last = last.max(Some(at));
        }
    })?;
    Ok((members.len() as u64, last))
}

/// What to do about a person in one ledger.
#[derive(Debug)]
pub(crate) struct Work {
    /// To remove from the platform, by everything that was sent with them.
    pub(crate) remove: Batch,
    /// The platform refused them: only our record goes.
    pub(crate) refused: Batch,
    /// Other people's records that share an identifier with those to be removed: they leave the platform too, and are
    /// to be sent again.
    pub(crate) shared: Batch,
    /// Marks of what was sent with them, to be left out from now on.
    pub(crate) linked: Vec<super::suppression::Mark>,
}

pub(crate) fn work(ledger: &Ledger, matcher: &Matcher) -> Result<Work> {
    let empty = |operation| Batch::new(operation, Consent::UNKNOWN);
    let mut work = Work {
        remove: empty(Operation::Remove),
        refused: empty(Operation::Remove),
        shared: empty(Operation::Add),
        linked: Vec::new(),
    };
    let mut scratch = MemberBuf::new();
    let mut sent = std::collections::HashSet::new();
    ledger.each_record(|record| {
        if !matcher.is_of(record) {
            return;
        }
        work.linked.extend(matcher.marker.linked(record));
        scratch.clear();
        crate::ledger::removal_of(record, &mut scratch);
        let member = scratch.last().expect("just encoded");
        if crate::ledger::was_refused(record) {
            work.refused.push(member);
        } else {
            sent.extend(matcher.marker.linked(record));
            work.remove.push(member);
        }
    })?;
    if work.remove.is_empty() {
        return Ok(work);
    }
    ledger.each_record(|record| {
        let shares = || matcher.marker.linked(record).any(|mark| sent.contains(&mark));
        if !matcher.is_of(record) && !crate::ledger::was_refused(record) && shares() {
            scratch.clear();
            scratch.push_member(record, 0, 0);
            work.shared.push(scratch.last().expect("just pushed"));
        }
    })?;
    Ok(work)
}

/// As [`traces`], of a ledger that nobody holds; temporary files go to `temp`.
pub(crate) fn look(
    ledgers: &crate::ledger::Ledgers,
    (audience, destination): (&str, &str),
    temp: &Path,
    matcher: &Matcher,
) -> Result<Traces> {
    traces(&ledgers.peek(audience, destination, temp)?, matcher)
}
