//! What may be asked about a campaign, as one value per question.
//!
//! The command line parses its options into these, the HTTP API its bodies; both names and ranges are thus said once, and
//! an option `--base-rate` is the field `base_rate`. What a request needs of the state or the warehouse is gathered by
//! `crate::report::campaign`; everything here is arithmetic on what was given.

pub mod measure;
pub mod plan;
pub mod project;
pub mod value;

pub use measure::{MeasureAnswer, MeasureRequest};
pub use plan::PlanHoldoutRequest;
pub use project::{ProjectAnswer, ProjectRequest};

use super::{inputs::InputError, measure::MeasureError, plan::PlanError};

/// Why a request cannot be answered as it stands. Every message says what to write instead.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// Something has to be given.
    #[error("`{field}` is missing\nhint: {hint}")]
    Missing {
        /// What.
        field: &'static str,
        /// Why, and what else would do.
        hint: &'static str,
    },
    /// Two things that exclude each other, or one without the other.
    #[error("`{field}` {problem}\nhint: {hint}")]
    Misplaced {
        /// Which one.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        hint: &'static str,
    },
    /// An assumption or observation out of range.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A holdout that cannot be.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Counts or amounts that cannot be.
    #[error(transparent)]
    Measure(#[from] MeasureError),
}

impl RequestError {
    /// The field at fault, where one is.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Missing { field, .. } | Self::Misplaced { field, .. } => Some(field),
            Self::Input(error) => error.field(),
            Self::Plan(error) => Some(error.field()),
            Self::Measure(error) => error.field(),
        }
    }
}
