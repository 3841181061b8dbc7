//! The straight line a customer's row travels: gather → plan → upload → confirm.
//!
//! - [`engine`]: the parts put together; what a caller uses. - [`run`]: one run of an audience.
//! - [`gather`]: rows → eligible → prepared members per destination; [`row`], [`eligibility`], [`funnel`],
//!   [`member_key`] serve it. - [`refine`]: what becomes of each once the whole segment is known.
//! - [`delivery`]: one destination of one run: diff, guards, upload, confirm, observe; [`upload`], [`confirm`],
//!   [`guards`] serve it, [`report`] says what came of it.
//! - [`destination`]: one ready to be called. - `late`: verdicts that come after a run has ended.
//! - [`refresh`]: asks the platforms about what earlier runs left undecided.
//! - [`preview`]: what a run would do, without doing it.
//! - [`lapse`]: who is about to lapse.
//! - [`control`]: whether a run may go on. - [`progress`]: what it tells while it goes. - [`error`]: what can stop it.
//!
//! Domain code: knows no terminal and no HTTP.

pub mod confirm;
pub mod control;
pub mod delivery;
pub mod destination;
pub mod eligibility;
pub mod engine;
pub mod error;
pub mod funnel;
pub mod gather;
pub mod guards;
pub mod lapse;
mod late;
pub mod member_key;
pub mod preview;
pub mod progress;
pub mod refine;
pub mod refresh;
pub mod report;
pub mod row;
pub mod run;
pub mod upload;

pub use control::{RunControl, Stop, Unstoppable};
pub use engine::{Engine, Selection};
pub use error::SyncError;
pub use funnel::{Exclusions, Funnel};
pub use preview::{AudiencePlan, DestinationPlan};
pub use progress::{Progress, Silent};
pub use report::{Counts, DestinationReport};
pub use run::{SyncOptions, SyncReport};
