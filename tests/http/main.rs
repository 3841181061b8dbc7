//! The HTTP edge as callers meet it: the real `reveil serve` on loopback, a small shop and the simulated platforms.
//!
//! - [`roles`]: every operation of the document × every kind of token, so that a new one cannot be forgotten.
//! - [`problems`]: what is refused, and how it is said.
//! - [`queue`]: sync, idempotency, pages of runs, live events, cancel.
//! - [`settings`]: what a reload puts in force, refuses, and leaves for a restart.
//! - [`strain`]: slow clients, large bodies, many requests.
//! - [`tls`]: encryption, and what is refused at start.
//! - [`pages`]: login, cookies, languages, escaping.
//!
//! What Schemathesis finds against the same daemon is in `tests/all`.

#[path = "../it/binary.rs"]
mod binary;
#[path = "../it/expected.rs"]
mod expected;
#[path = "../it/shop.rs"]
#[expect(dead_code, reason = "shared with tests/it")]
mod shop;

mod pages;
mod problems;
mod queue;
mod roles;
mod server;
mod settings;
mod strain;
mod tls;
