//! What the process tells of itself: the log and the figures. Bounded names and labels; nothing personal.
//!
//! - [`log`]: human or JSON lines on stderr.
//! - [`metrics`]: the Prometheus registry.
//! - [`memory`]: how much of the machine the process holds.

pub mod api_metrics;
pub mod log;
pub mod memory;
pub mod metrics;

pub use metrics::Metrics;
