//! Why a sandbox could not start, stop or be configured. What a platform answers to a bad request is no error here.

use std::io;
use std::net::SocketAddr;

/// A fault of the sandbox itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is reachable from other machines; the sandbox holds digests and has no access control.
    #[error("the sandbox listens on loopback only, not on {0}: use 127.0.0.1 or [::1]")]
    NotLoopback(SocketAddr),
    /// The address could not be bound, or the server not be started.
    #[error("cannot listen on {addr}: {source}; choose another port, or 0 for any free one")]
    Listen {
        /// What was asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A file could not be read or written.
    #[error("cannot read or write {path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A CSV file is not what the sandbox expects.
    #[error("{path}, line {line}: {what}; expected the columns that the synthetic data generator writes")]
    Table {
        /// Which file.
        path: String,
        /// Line, 1 = the header.
        line: u64,
        /// What is wrong, without the line's content.
        what: String,
    },
    /// The saved state cannot be used.
    #[error("{path} is no state this sandbox can read ({what}); delete it to start afresh")]
    State {
        /// Which file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// A fault rule cannot be read.
    #[error(
        "fault rule `{rule}`: {what}; rules look like `meta.users.add:throttle=80003@0.05` or `google:reset@next=2`"
    )]
    Faults {
        /// The rule as given.
        rule: String,
        /// What is wrong with it.
        what: String,
    },
    /// A setting makes no sense.
    #[error("sandbox setting `{setting}`: {what}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is wrong and what to write instead.
        what: String,
    },
}
