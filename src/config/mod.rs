//! Configuration: one struct per section, in a file of its own.

pub mod audience_inactive;
pub mod warehouse;
