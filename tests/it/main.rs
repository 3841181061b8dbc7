//! End to end: the real binary, a warehouse in a SQLite file, and the simulated platforms in this process.
//!
//! - [`kill`]: the process is killed at random moments and started again; the audiences end up exact.
//! - [`replicas`]: three daemons share the work and are killed at random; every due time is run once.
//! - `machines`: two machines with their ledgers in a bucket of each cloud (features `s3`, `gcs`, `azure`).
//! - [`held`]: commands of other machines leave a running replica's audience alone.
//! - [`verdicts`]: a platform that takes hours to decide: runs wait for it and go on.
//! - [`replace`]: a full replace repairs what drifted, without a gap.
//! - [`failures`]: what goes wrong is said once, with a remedy and the right exit code.
//! - [`privacy`]: no output and no file holds an identifier, its digest or a secret.
//! - [`connect`]: access granted in a browser, kept in the vault, renewed by several processes.
//! - [`erasure`]: a person is forgotten: gone, proven, never back.
//! - [`serve`]: the service as a process: schedules, signals, restarts, full disk, lost database.
//! - [`alerts`]: messages reach a mail server, a webhook and a chat. - [`notify`]: what systemd is told.
//! - `traces`: spans reach a collector (feature `otel`).
//! - [`contracts`]: the JSON documents and files that other programs read.
//!
//! Shared: [`shop`] makes the warehouse and the config, [`expected`] computes on its own what the platforms should
//! hold, [`binary`] runs the program, [`mail`] is a mail server, [`buckets`] finds buckets.

mod alerts;
mod binary;
mod buckets;
mod connect;
mod contracts;
mod erasure;
mod expected;
mod failures;
mod held;
mod kill;
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
mod machines;
mod mail;
mod notify;
#[path = "../support/postgres.rs"]
mod postgres;
mod privacy;
mod replace;
mod replicas;
mod serve;
mod shop;
#[cfg(feature = "otel")]
mod traces;
mod verdicts;
