//! The ledger: which members one platform audience holds, with the identifiers as sent, so that a removal can be
//! sent for a customer whose row is gone.
//!
//! A [`Ledger`] is a directory per audience and destination:
//!
//! - a *base* of records sorted by key, rewritten now and then as a whole;
//! - a *journal* beside it: a batch is [intended](Ledger::intend) on the disk before it is sent, then
//!   [accepted](Ledger::accept), [failed](Ledger::fail) or, later, [decided](Ledger::verdict). An intended batch
//!   whose answer was lost in a crash is uncertain: its members are sent again, or removed to be sure;
//! - a *manifest* that names the valid generation of both.
//!
//! A run scatters what the audience should hold to a [`TargetWriter`], asks [`diff`] for a [`Plan`],
//! [forgets](Ledger::forget) what the plan says, sends its batches, removals first, and [folds](Ledger::fold) the
//! journal when it is due.
//! A plan may leave work to the next one (see [`PlanCounts::deferred`]); repeated until empty, the platform holds
//! the target. Start a new plan only when the batches of the last one have been answered.
//!
//! Known gaps: a record holds seven e-mails, seven phones and three mobile ids, and what exceeds them while a
//! removal is undone is lost; a member found by names and places alone, whose removal turns out to have failed
//! after it came back with an e-mail, is not removed by its names again.
//!
//! All calls block on files. Digests are on the disk in files for their owner alone, and in no error or `Debug`.

mod base;
pub mod consent;
mod diff;
mod disk;
mod effective;
mod error;
mod generation;
mod journal;
mod ledgers;
mod local;
mod plan;
mod record;
mod removals;
pub(crate) mod shared;
pub(crate) mod spill;
mod store;
mod target;
#[cfg(test)]
mod tests;
mod wanted;

pub use diff::{DiffOptions, diff};
pub use effective::day_of;
pub use error::{LedgerError, Result};
pub use ledgers::Ledgers;
pub(crate) use ledgers::file_name;
pub use plan::{Batches, Plan, PlanCounts};
pub(crate) use record::{removal_of, was_refused};
pub use store::{FORMAT, Ledger, PendingBatch, Stats};
pub use target::{Target, TargetRow, TargetWriter};
