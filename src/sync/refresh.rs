//! Asks the platforms about what earlier runs left undecided: verdicts that wait, fresh match readings. Sends no
//! member.

use std::sync::Mutex;

use super::confirm::confirm;
use super::control::RunControl;
use super::engine::Engine;
use super::late::note_late;
use super::progress::Progress;
use crate::transport::retry::RetryPolicy;

/// What asking has brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Uploads still undecided.
    pub pending: u64,
    /// Uploads of which the platform has applied nothing after all; their members are sent again by the next run.
    pub failed: u64,
}

impl Engine {
    /// Asks about every destination of the audience.
    ///
    /// # Errors
    /// The platform's, the ledger's when a run holds it, the state's.
    pub async fn refresh(
        &self,
        audience_key: &str,
        control: &dyn RunControl,
        progress: &dyn Progress,
    ) -> anyhow::Result<Refreshed> {
        let audience = self.config.audience(audience_key)?;
        let (mut all, mut first_error) = (Refreshed::default(), None);
        for name in &audience.destinations {
            // One platform that is away must not keep the others' verdicts.
            match self.refresh_destination(audience_key, name, control, progress).await {
                Ok(one) => {
                    all.pending += one.pending;
                    all.failed += one.failed;
                }
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(all), Err)
    }

    async fn refresh_destination(
        &self,
        audience_key: &str,
        name: &str,
        control: &dyn RunControl,
        progress: &dyn Progress,
    ) -> anyhow::Result<Refreshed> {
        if self.store.audience(audience_key, name).await?.is_none() {
            return Ok(Refreshed::default());
        }
        let destination = self.open_destination(name, RetryPolicy::default()).await?;
        let ledger = Mutex::new(tokio::task::block_in_place(|| self.ledgers.hold(audience_key, name))?);
        let confirmed = confirm(&destination, &ledger, &*self.clock, progress, control, false).await?;
        note_late(&self.store, &destination, &ledger, audience_key, &confirmed).await??;
        if confirmed.pending == 0 {
            self.store.settle_verdicts(audience_key, name).await?;
        }
        Ok(Refreshed { pending: confirmed.pending, failed: confirmed.failed.values().sum() })
    }
}
