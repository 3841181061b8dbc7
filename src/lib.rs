//! Réveil wakes dormant customers. See `src/README.md` for the map of the rooms.

pub mod assignment;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connectors;
pub mod daemon;
pub mod demo;
pub mod erasure;
pub mod http;
pub mod identity;
pub mod ledger;
pub mod report;
pub mod roi;
pub mod segment;
pub mod store;
pub mod sync;
pub mod telemetry;
#[cfg(test)]
#[path = "../tests/support/postgres.rs"]
mod test_postgres;
pub mod transport;
pub mod vault;
pub mod warehouse;
pub mod web;
