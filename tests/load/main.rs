//! The daemon under what a network, a disk, a database server and a clock do to it. Each test starts the real binary
//! against the simulated platforms, does it harm, and looks at the end whether the state is whole: runs can be listed,
//! the audit log adds up, and the next sync makes the audiences exact.
//!
//! - [`requests`]: broken, oversized and slow requests. - [`disk`]: no space left. - [`database`]: the server away.
//! - [`clock`]: the machine's time jumps. - [`smoke`]: many callers while two syncs run; `tests/load/run` measures that.
//!
//! Shared: [`daemon`] starts it and speaks HTTP with it; the shop and what its audiences should hold come from `tests/it`.

#[expect(dead_code, reason = "the end-to-end tests use more of it")]
#[path = "../it/binary.rs"]
mod binary;
mod clock;
mod daemon;
mod database;
mod disk;
#[path = "../it/expected.rs"]
mod expected;
#[path = "../support/postgres.rs"]
mod postgres;
mod requests;
#[expect(dead_code, reason = "the end-to-end tests use more of it")]
#[path = "../it/shop.rs"]
mod shop;
mod smoke;
