//! Who is about to lapse: platforms drop members some time after they were last sent, whatever the segment says.

use crate::connectors;
use crate::ledger::day_of;

use super::delivery::renew_after_days;
use super::engine::Engine;

impl Engine {
    /// How many members of the audience are due to be sent again before the platforms let them lapse. Reads the ledgers
    /// and nothing else.
    ///
    /// # Errors
    /// There is no such audience; the ledgers'.
    pub fn lapsing(&self, audience_key: &str) -> anyhow::Result<u64> {
        let audience = self.config.audience(audience_key)?;
        let today = day_of(self.clock.now().timestamp());
        let mut lapsing = 0;
        for name in &audience.destinations {
            let connector = &self.config.destination(name)?.connector;
            let lifetime = connectors::find(connector).and_then(|builtin| builtin.descriptor.limits.membership_days);
            let Some(days) = renew_after_days(lifetime, audience.membership_days) else { continue };
            let ledger = self.ledgers.peek(audience_key, name, &std::env::temp_dir())?;
            ledger.each_record(|record| {
                lapsing += u64::from(today.saturating_sub(record.day()) > days);
            })?;
        }
        Ok(lapsing)
    }
}
