//! What waking inactive customers is worth: projected before, measured after.
//!
//! Before: `project` turns assumptions (`Inputs`) into baskets by the click funnel and into buyers the ads *cause*, with
//! intervals, because most inactives who come back would have come back anyway. `plan` says whether a holdout can show the
//! effect. After: `measure` compares uploaded persons with those held out. `alive` judges single customers from their
//! purchase dates. Nothing here knows a warehouse, a platform's API or a page; amounts are in one stated currency.

pub mod alive;
pub mod distribution;
pub mod funnel;
pub mod inputs;
pub mod measure;
pub mod plan;
pub mod priors;
pub mod projection;
pub mod random;
pub mod request;
mod sampler;
pub mod simulate;
pub mod special;
pub mod union;
pub mod update;

pub use distribution::Distribution;
pub use inputs::{Currency, Field, InputError, Inputs};
pub use projection::{Projection, project};
pub use union::{UnionProjection, project_union, union_reach};
