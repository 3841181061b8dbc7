//! The log on stderr.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts it with this filter (`info`, `reveil=debug`); a filter that cannot be read is taken for `warn`. Called once.
pub fn start(filter: &str, json: bool) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("warn"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    if json { builder.json().init() } else { builder.with_target(false).init() }
}
