//! The right to be forgotten: a person leaves every audience they were ever sent to, with proof, and never comes back.
//!
//! - [`identify`]: from what was given to keyed hashes of everything that may have been sent of it.
//! - [`suppression`]: those hashes, for syncs (who is left out) and for finding.
//! - [`find`]: a look through every ledger that exists, also of audiences and destinations that left the config.
//! - [`remove`]: one ledger: the platform first, by the very digests once sent, then what lies here.
//! - [`receipt`]: the signed proof of it.
//! - [`request`]: a request from its arrival to its end; jobs of the queue, or one process in the foreground.
//!
//! A request holds no identifier: from the moment it is taken only keyed hashes are kept, so that it can be taken up
//! again after any crash, and a row that returns to the warehouse under another id is recognised.
//!
//! Somebody who was only ever withheld (the control group) is in no ledger that would lead from an e-mail to their
//! customer id: their entry in an audience's experiment, a keyed hash of that id, goes with the audience's next sync,
//! which meets their row. When the row is gone from the warehouse before, only the customer id finds the entry.

mod find;
pub mod identify;
pub mod receipt;
mod remove;
pub mod request;
pub mod suppression;

use chrono::TimeDelta;

pub use identify::{Given, GivenFault, GivenKind};
pub use receipt::{Receipt, Signer};
pub use request::{RequestError, RequestStatus, TargetStatus, carry_out, request, show, status, work};
pub use suppression::Suppression;

/// Kind of the queue's jobs.
pub const JOB: &str = "forget";

/// Said with every receipt.
pub const NOT_COVERED: &[&str] = &[
    "people the platform knows by its own data, and what it learnt from them while they were in the audience",
    "the platform's backups and logs, which follow its own terms",
    "audiences the platform derived from this one (lookalikes), until it computes them anew",
    "the warehouse and backups of this installation, which are yours to erase",
];

/// Where a request or one of its targets stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Taken and suppressed; not looked for yet.
    Requested,
    Removing,
    /// The platform has taken the removal and not decided.
    Waiting,
    /// It cannot go on without somebody: the destination left the config.
    Blocked,
    Erased,
}

impl State {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Removing => "removing",
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
            Self::Erased => "erased",
        }
    }
}

/// What is next for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Done,
    /// To be taken up again after that long, through no fault.
    Later(TimeDelta),
    /// To be tried again, as a failed attempt: why.
    Again(String),
}
