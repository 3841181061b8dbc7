//! The only door to the network: authorises, paces, retries, bounds time. Connectors describe calls; this module
//! owns `reqwest`.
//!
//! - [`http`]: one call over `reqwest`, with everything around it.
//! - [`retry`]: what is tried again, when and how often.
//! - [`pace`]: rate limits, in-flight limits, slowing down on usage headers, the circuit breaker.
//! - [`auth`]: bearer tokens, OAuth refresh, service-account assertions; [`oauth`]: the token endpoints.
//! - [`shared`]: the budget of a destination over all runs of a process, and who counts calls.
//! - [`recording`]: keeps the calls instead of sending them, for `plan --show-requests`.

pub mod auth;
pub mod http;
pub mod oauth;
pub mod pace;
pub mod recording;
pub mod retry;
pub mod shared;

pub use auth::TokenKeeper;
pub use http::{HttpTransport, TransportOptions};
pub use recording::RecordingTransport;
pub use shared::{Meter, Shared};
