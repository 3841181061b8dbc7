//! The Réveil daemon as a library.

pub mod identity;
pub mod ledger;
