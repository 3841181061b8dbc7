//! The Réveil daemon as a library.

pub mod ledger;
