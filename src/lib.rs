pub mod config;
pub mod segment;
pub mod warehouse;
