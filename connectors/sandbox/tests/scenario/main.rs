//! Whole scenarios over raw HTTP: strictness, state, sessions, faults and time, as a client meets them.

mod client;
mod faults;
mod google;
mod meta;
mod oauth;
mod world;
