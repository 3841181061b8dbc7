//! Whether a run may go on. Asked before every stage and every batch; what was sent until then is in the journal, so a
//! run that stops here is taken up again without harm.

use std::fmt::Debug;

/// Why a run has to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// Somebody asked for it; it is not taken up again.
    #[error("the run was cancelled; what it had sent until then stays")]
    Cancelled,
    /// Another worker may hold the run by now.
    #[error("the lease of the run was lost; another worker takes it up")]
    LeaseLost,
    /// The process ends; the run is taken up again by the next one.
    #[error("the run was put down because the process ends; it is taken up again")]
    ShuttingDown,
}

/// Says whether a run may go on. Called from several tasks.
pub trait RunControl: Send + Sync + Debug {
    /// # Errors
    /// Why the run has to stop now.
    fn check(&self) -> Result<(), Stop>;
}

/// Lets every run come to its end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unstoppable;

impl RunControl for Unstoppable {
    fn check(&self) -> Result<(), Stop> {
        Ok(())
    }
}
