//! Asks the platforms about what earlier runs left undecided: verdicts that wait, fresh match readings. Sends no
//! member.

use std::sync::Mutex;

use reveil_sdk::UploadSummary;

use super::confirm::{Confirmed, confirm};
use super::control::RunControl;
use super::delivery::observe;
use super::engine::Engine;
use super::progress::Progress;
use crate::store::model::{DestinationRun, RunState};
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
        let Some(reference) = self.store.audience(audience_key, name).await? else { return Ok(Refreshed::default()) };
        let Some(mut last) = self.last_part(audience_key, name).await? else { return Ok(Refreshed::default()) };
        let destination = self.open_destination(name, RetryPolicy::default()).await?;
        let ledger = Mutex::new(tokio::task::block_in_place(|| self.ledgers.hold(audience_key, name))?);
        let confirmed = confirm(&destination, &ledger, &*self.clock, progress, control, false).await?;
        let mut upload: UploadSummary = serde_json::from_value(last.upload.clone()).unwrap_or_default();
        upload.match_ranges.extend(confirmed.match_ranges.iter().copied());
        upload.pending_batches = confirmed.pending;
        upload.audience_persons =
            tokio::task::block_in_place(|| ledger.lock().expect("no panic while held").stats())?.held;
        if upload.persons > 0 {
            observe(&self.store, &destination, audience_key, &reference, &last.run_id, &upload).await??;
        }
        last.upload = serde_json::to_value(&upload)?;
        let failed: u64 = confirmed.failed.values().sum();
        if failed > 0 && last.state == RunState::Pending {
            last.state = RunState::Partial;
            last.error = Some(failed_uploads(&confirmed));
        }
        self.store.save_destination_run(&last).await?;
        if confirmed.pending == 0 {
            self.store.settle_verdicts(audience_key, name).await?;
        }
        Ok(Refreshed { pending: confirmed.pending, failed })
    }

    /// The destination's part of its latest run.
    async fn last_part(&self, audience_key: &str, name: &str) -> anyhow::Result<Option<DestinationRun>> {
        for run in self.store.runs(Some(audience_key), 50).await? {
            let parts = self.store.destination_runs(&run.id).await?;
            if let Some(part) = parts.into_iter().find(|part| part.destination == name) {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }
}

fn failed_uploads(confirmed: &Confirmed) -> String {
    let reasons: Vec<String> =
        confirmed.failed.iter().map(|(reason, batches)| format!("{batches}: {reason}")).collect();
    format!(
        "the platform took uploads and then applied none of {} members ({}); the next run sends them again",
        confirmed.failed_members,
        reasons.join(", ")
    )
}
