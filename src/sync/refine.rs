//! What becomes of each prepared row once the whole segment is known: shared identifiers are taken out, units of the
//! holdout are withheld, and everybody left out is counted once.

use reveil_sdk::{IdentifierKind, MemberBuf, ValueRef};

use super::eligibility::reason;
use super::funnel::Exclusions;
use super::gather::Gathered;
use crate::identity::Drop;
use crate::ledger::TargetRow;

/// Decides about each prepared row with what only the whole segment shows: shared identifiers and the holdout.
pub struct Refiner<'g> {
    gathered: &'g Gathered,
    /// Rows already counted; rows may be asked about twice.
    counted: Vec<u64>,
    pub excluded: Exclusions,
}

/// What becomes of a prepared row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Send,
    /// Withheld as control group; would have been sent.
    HeldOut,
    LeftOut,
}

impl std::fmt::Debug for Refiner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Refiner").finish_non_exhaustive()
    }
}

impl<'g> Refiner<'g> {
    pub fn new(gathered: &'g Gathered) -> Self {
        let words = gathered.funnel.customers.div_ceil(64) as usize;
        Self { gathered, counted: vec![0; words], excluded: Exclusions::default() }
    }

    /// What remains of the row goes to `out` when something was dropped; false leaves the member out.
    pub fn refine(&mut self, row: TargetRow<'_>, out: &mut MemberBuf) -> bool {
        self.decide(row, out) == Decision::Send
    }

    /// As [`Refiner::refine`], telling who is withheld from who is left out for another reason.
    pub fn decide(&mut self, row: TargetRow<'_>, out: &mut MemberBuf) -> Decision {
        let identity = &self.gathered.identity;
        if identity.any_verdict(row.index) {
            let mut dropped: Option<Drop> = None;
            let verdict = |slot: u8| identity.verdict(row.index, slot);
            let (mut lost_emails, mut lost_phones) = (0_u8, 0_u8);
            for bit in 0..7 {
                for (slots, lost, slot) in
                    [(row.email_slots, &mut lost_emails, bit), (row.phone_slots, &mut lost_phones, bit + 8)]
                {
                    if slots & (1 << bit) != 0
                        && let Some(why) = verdict(slot)
                    {
                        *lost |= 1 << bit;
                        dropped = Some(dropped.map_or(why, |known| known.min(why)));
                    }
                }
            }
            if let Some(why) = dropped
                && !keep_rest(row, lost_emails, lost_phones, out)
            {
                self.count(row.index, reason_of(why));
                return Decision::LeftOut;
            }
        }
        let held_out = self.gathered.holdout.as_ref().is_some_and(|holdout| holdout.held_out(row.index));
        if held_out {
            self.count(row.index, reason::HOLDOUT);
            return Decision::HeldOut;
        }
        Decision::Send
    }

    fn count(&mut self, index: u32, reason: &'static str) {
        let (word, bit) = (index as usize / 64, 1_u64 << (index % 64));
        if self.counted[word] & bit == 0 {
            self.counted[word] |= bit;
            self.excluded.add(reason, 1);
        }
    }
}

fn reason_of(why: Drop) -> &'static str {
    match why {
        Drop::SharedPlaceholder => reason::SHARED_PLACEHOLDER,
        Drop::HeldByActive => reason::HELD_BY_ACTIVE,
        Drop::HeldByRefused => reason::HELD_BY_REFUSED,
        Drop::HeldByOther => reason::DUPLICATE,
    }
}

/// Encodes the row's member without the lost slots. False when no e-mail, phone or mobile id is left: a name and a
/// postcode that came with somebody else's address are nobody's.
fn keep_rest(row: TargetRow<'_>, lost_emails: u8, lost_phones: u8, out: &mut MemberBuf) -> bool {
    out.clear();
    out.begin(row.member.key(), row.member.day());
    let mut anchors = 0;
    for (kind, mask, lost, digests) in [
        (IdentifierKind::Email, row.email_slots, lost_emails, row.member.emails()),
        (IdentifierKind::Phone, row.phone_slots, lost_phones, row.member.phones()),
    ] {
        let slots = (0..7).filter(|bit| mask & (1 << bit) != 0);
        // Two slots may have been folded into one value; which one is not known here, so all of the kind go.
        let folded = mask.count_ones() as usize != digests.len();
        if folded && lost != 0 {
            continue;
        }
        for (index, digest) in digests.iter().enumerate() {
            let is_lost = slots.clone().nth(index).is_some_and(|slot| lost & (1 << slot) != 0);
            if folded || !is_lost {
                out.push(kind, ValueRef::Digest(digest));
                anchors += 1;
            }
        }
    }
    for (kind, value) in row.member.others() {
        out.push(kind, value);
        anchors += u32::from(kind == IdentifierKind::MobileAdId);
    }
    anchors > 0
}
