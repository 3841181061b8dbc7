//! Members that are gone from the target or have lost identifiers, until it is known what of theirs may be removed.
//!
//! An identifier that another member of the target wants is not removed. The record lets go of it only when that
//! other member's own record answers for it (*covered*); until then it is held, or else nobody would remove it
//! when the other member, never accepted, leaves too.

use std::path::{Path, PathBuf};

use reveil_sdk::{MemberBuf, MemberRef};

use super::error::{LedgerError, Result};
use super::plan::PlanWriter;
use super::record::{anchors, is_anchor, without};
use super::spill::{Spill, SpillWriter};
use super::target::{Target, TargetRow};
use super::wanted::{Bitmap, TABLE_ANCHORS, Want, WantTable, Wants, marks, part_of};

/// What is due for a member of the target once it has lost nothing (any more).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Later {
    Add = 0,
    Refresh = 1,
    Keep = 2,
    StayRejected = 3,
}

impl Later {
    fn from_code(code: u8) -> Option<Self> {
        [Self::Add, Self::Refresh, Self::Keep, Self::StayRejected].into_iter().find(|later| *later as u8 == code)
    }
    pub(super) fn put(self, plan: &mut PlanWriter, group: u8, member: MemberRef<'_>) -> Result<()> {
        let counts = &mut plan.counts;
        match self {
            Self::Add => counts.add += 1,
            Self::Refresh => counts.refresh += 1,
            Self::Keep => counts.keep += 1,
            Self::StayRejected => counts.rejected_kept += 1,
        }
        if matches!(self, Self::Add | Self::Refresh) { plan.add(group, member) } else { Ok(()) }
    }
}

/// In place of a [`Later`]: the member is not in the target.
const GONE: u8 = 0xff;
const HEAD: usize = 3;

pub(super) struct Candidates {
    dir: PathBuf,
    spill: SpillWriter,
    anchors: u64,
}

/// A candidate read back.
struct Candidate<'a> {
    /// What to remove: the whole record when gone, the lost identifiers otherwise.
    lost: MemberRef<'a>,
    /// A verdict may undo what was done to the record.
    pending: bool,
    /// What the target wants of the member, unless it is gone.
    wanted: Option<(Later, u8, MemberRef<'a>)>,
}

impl Candidates {
    pub(super) fn create(dir: &Path) -> Result<Self> {
        let spill = SpillWriter::create(dir, 1).map_err(LedgerError::spill(dir))?;
        Ok(Self { dir: dir.to_path_buf(), spill, anchors: 0 })
    }
    fn push(&mut self, head: [u8; HEAD], lost: MemberRef<'_>, member: &[u8]) -> Result<()> {
        marks(lost, |_| self.anchors += 1);
        self.spill.push(0, &[&head, lost.bytes(), member]).map_err(LedgerError::spill(&self.dir))
    }
    pub(super) fn gone(&mut self, record: MemberRef<'_>, pending: bool) -> Result<()> {
        self.push([GONE, 0, u8::from(pending)], record, &[])
    }
    pub(super) fn lost(
        &mut self,
        lost: MemberRef<'_>,
        pending: bool,
        later: Later,
        group: u8,
        member: MemberRef<'_>,
    ) -> Result<()> {
        self.push([later as u8, group, u8::from(pending)], lost, member.bytes())
    }
    /// Looks every identifier up in the target and plans what may be done. `replaces` as in the options of a diff.
    pub(super) fn resolve(
        self,
        target: &Target,
        covered: &Bitmap,
        refine: &mut impl FnMut(TargetRow<'_>, &mut MemberBuf) -> bool,
        replaces: bool,
        plan: &mut PlanWriter,
    ) -> Result<()> {
        if self.anchors == 0 {
            return Ok(());
        }
        let spill = self.spill.finish().map_err(LedgerError::spill(&self.dir))?;
        let tables = self.anchors.div_ceil(TABLE_ANCHORS);
        let mut wants = Wants::new(self.anchors);
        // One table does for a usual refresh; when an audience is exchanged at once, the target is read once a table.
        let mut sizes = vec![0; tables as usize];
        each(&spill, &self.dir, |candidate| {
            marks(candidate.lost, |mark| sizes[part_of(mark, tables) as usize] += 1);
            Ok(())
        })?;
        for (part, size) in (0..tables).zip(sizes) {
            let mut table = WantTable::new(size);
            let ours = |mark| part_of(mark, tables) == part;
            each(&spill, &self.dir, |candidate| {
                marks(candidate.lost, |mark| {
                    if ours(mark) {
                        table.insert(mark, candidate.pending);
                    }
                });
                Ok(())
            })?;
            look_through(target, covered, refine, |mark, want| {
                if ours(mark) {
                    table.want(mark, want)
                }
            })?;
            let mut number = 0;
            each(&spill, &self.dir, |candidate| {
                marks(candidate.lost, |mark| {
                    if ours(mark) {
                        wants.set(number, table.take(mark).expect("inserted above"));
                    }
                    number += 1;
                });
                Ok(())
            })?;
        }
        let mut number = 0;
        let mut scratch = MemberBuf::new();
        each(&spill, &self.dir, |candidate| settle(&candidate, &wants, &mut number, &mut scratch, replaces, plan))
    }
}

fn each(spill: &Spill, dir: &Path, mut take: impl FnMut(Candidate<'_>) -> Result<()>) -> Result<()> {
    let mut chunk = Vec::new();
    let mut index = 0;
    while spill.read_chunk(0, index, &mut chunk).map_err(LedgerError::spill(dir))? {
        index += 1;
        let mut rest = chunk.as_slice();
        while let Some(([later, group, pending], bytes)) = rest.split_first_chunk::<HEAD>() {
            let lost = MemberRef::read(bytes).expect("chunks hold whole candidates");
            rest = &bytes[lost.bytes().len()..];
            let wanted = Later::from_code(*later).map(|later| {
                let member = MemberRef::read(rest).expect("chunks hold whole candidates");
                rest = &rest[member.bytes().len()..];
                (later, *group, member)
            });
            take(Candidate { lost, pending: *pending != 0, wanted })?;
        }
    }
    Ok(())
}

/// Tells of every identifier that the target wants.
fn look_through(
    target: &Target,
    covered: &Bitmap,
    refine: &mut impl FnMut(TargetRow<'_>, &mut MemberBuf) -> bool,
    mut tell: impl FnMut(u64, Want),
) -> Result<()> {
    let mut chunk = Vec::new();
    let mut refined = MemberBuf::new();
    let mut number = 0;
    for bucket in 0..1 << target.bits {
        let mut index = 0;
        while target.read_chunk(bucket, index, &mut chunk)? {
            index += 1;
            let mut at = 0;
            while at < chunk.len() {
                let (row, length) = TargetRow::read(&chunk[at..]).expect("chunks hold whole rows");
                at += length;
                let want = if covered.get(number) { Want::Covered } else { Want::Wanted };
                number += 1;
                refined.clear();
                if refine(row, &mut refined) {
                    marks(refined.last().unwrap_or(row.member), |mark| tell(mark, want));
                }
            }
        }
    }
    Ok(())
}

/// Plans one candidate. `number` counts identifiers over all candidates.
fn settle(
    candidate: &Candidate<'_>,
    wants: &Wants,
    number: &mut u64,
    scratch: &mut MemberBuf,
    replaces: bool,
    plan: &mut PlanWriter,
) -> Result<()> {
    let lost = candidate.lost;
    let mut own = Vec::with_capacity(4);
    marks(lost, |_| {
        own.push(wants.get(*number));
        *number += 1;
    });
    let [send, held, covered] =
        [Want::Nobody, Want::Wanted, Want::Covered].map(|want| own.iter().filter(|own| **own == want).count());
    // The anchors that stand so, alone: names and places stay home, unless there is nothing else.
    let pick = |want: Want, scratch: &mut MemberBuf| {
        if anchors(lost).next().is_none() {
            scratch.clear();
            scratch.push_member(lost, 0, 0);
            return;
        }
        let mut wants = own.iter();
        without(lost, 0, 0, scratch, |kind, _| !is_anchor(kind) || wants.next() != Some(&want));
    };
    if send > 0 {
        pick(Want::Nobody, scratch);
        plan.remove(scratch.last().expect("just encoded"))?;
    }
    if covered > 0 {
        pick(Want::Covered, scratch);
        plan.forget(scratch.last().expect("just encoded"))?;
    }
    match candidate.wanted {
        None if send > 0 => plan.counts.remove += 1,
        None if held > 0 => plan.counts.held_for_others += 1,
        None => {}
        Some((later, group, member)) if send > 0 && replaces && anchors(lost).next().is_some() => {
            plan.counts.update += 1;
            later.put(plan, group, member)?;
        }
        Some((later, _, _)) if send > 0 => {
            plan.counts.update += 1;
            plan.counts.deferred += u64::from(matches!(later, Later::Add | Later::Refresh));
        }
        // What is found by names alone cannot share a record with e-mails or phones: the old one has to go first.
        Some((_, _, member)) if anchors(lost).next().is_none() || anchors(member).next().is_none() => {
            let counts = &mut plan.counts;
            *(if held > 0 { &mut counts.held_for_others } else { &mut counts.deferred }) += 1;
        }
        Some((later, group, member)) => later.put(plan, group, member)?,
    }
    Ok(())
}
