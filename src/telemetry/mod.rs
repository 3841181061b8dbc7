//! What the process tells of itself: the log and the figures. Bounded names and labels; nothing personal.
//!
//! - [`log`]: human or JSON lines on stderr.
//! - [`metrics`]: the Prometheus registry; [`exposition`]: the formats it is read in.
//! - `otel`: traces over OTLP, behind the feature of that name.
//! - [`memory`]: how much of the machine the process holds.

pub mod api_metrics;
pub mod exposition;
pub mod log;
pub mod memory;
pub mod metrics;
#[cfg(feature = "otel")]
mod otel;

pub use metrics::Metrics;
