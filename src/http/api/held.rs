//! What the ledgers hold, remembered for a moment: counting a large one again for every look at a page would be slow.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::super::problem::Problem;
use crate::ledger::Stats;
use crate::sync::Engine;

/// Figures on a page may be this old.
const FRESH: Duration = Duration::from_secs(10);
/// Far more than a config has; a bound all the same.
const MOST: usize = 10_000;

type Key = (String, String);

/// By audience and destination.
#[derive(Debug, Default)]
pub struct HeldCache(Mutex<HashMap<Key, (Instant, Stats)>>);

impl HeldCache {
    /// Counts of one ledger. Whoever asks while it is being counted waits for the same count.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn of(&self, engine: &Engine, audience: &str, destination: &str) -> Result<Stats, Problem> {
        let key = (audience.to_owned(), destination.to_owned());
        let mut known = self.0.lock().await;
        if let Some((at, stats)) = known.get(&key)
            && at.elapsed() < FRESH
        {
            return Ok(*stats);
        }
        let ledgers = engine.ledgers.clone();
        let (audience, destination) = key.clone();
        let counted = tokio::task::spawn_blocking(move || {
            let ledger = ledgers.peek(&audience, &destination, &std::env::temp_dir())?;
            ledger.stats()
        });
        let stats = counted.await.map_err(anyhow::Error::from)?.map_err(anyhow::Error::from)?;
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(key, (Instant::now(), stats));
        Ok(stats)
    }
}
