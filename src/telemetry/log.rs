//! The log on stderr, and traces beside it when the build has them and the environment says where to.

use std::io::IsTerminal as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry};

/// Starts it with this filter (`info`, `reveil=debug`); a filter that cannot be read is taken for `warn`. Called once.
pub fn start(filter: &str, json: bool) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("warn"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if json {
        lines.json().boxed()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).boxed()
    };
    #[cfg(feature = "otel")]
    let traces = super::otel::layer();
    #[cfg(not(feature = "otel"))]
    let traces: Option<tracing_subscriber::layer::Identity> = None;
    Registry::default().with(lines.with_filter(filter)).with(traces).init();
}

/// Sends what is still on its way. Called before the process ends.
pub fn finish() {
    #[cfg(feature = "otel")]
    super::otel::finish();
}
