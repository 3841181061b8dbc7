//! What happened and what it means, as values: match rates, audiences, identifier defects. The command line and
//! later the API and the pages show the same ones.

pub mod campaign;
pub mod deliveries;
pub mod history;
pub mod identifiers;
pub mod lift;
pub mod match_rates;
pub mod projection;
pub mod roi;
