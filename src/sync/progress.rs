//! What a run tells while it goes. The engine reports; the edges decide how to show it.

use std::fmt::Debug;

/// Receives the steps of a run. All methods may be called from several tasks.
pub trait Progress: Send + Sync + Debug {
    /// A stage of the whole run begins: "Reading the warehouse".
    fn stage(&self, text: &str);
    /// Rows read so far.
    fn rows(&self, rows: u64);
    /// Members of a destination sent so far, of so many.
    fn members(&self, destination: &str, operation: &'static str, done: u64, total: u64);
    /// Something a person should know, said once.
    fn note(&self, text: &str);
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn stage(&self, _text: &str) {}
    fn rows(&self, _rows: u64) {}
    fn members(&self, _destination: &str, _operation: &'static str, _done: u64, _total: u64) {}
    fn note(&self, _text: &str) {}
}
