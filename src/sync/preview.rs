//! What a run would do, without doing it: the same gathering and comparison, and the requests as the connector would
//! make them, recorded instead of sent. Writes nothing but temporary files.

use std::sync::atomic::{AtomicU64, Ordering};

use reveil_sdk::{AudienceRef, Batch, Context, Operation, Upload};
use serde::Serialize;
use utoipa::ToSchema;

use super::control::{RunControl, Unstoppable};
use super::engine::{Engine, Scratch, Selection};
use super::error::SyncError;
use super::funnel::{Exclusions, Funnel};
use super::gather::Prepared;
use super::guards::{Change, refusals};
use super::progress::Progress;
use super::refine::Refiner;
use super::report::DestinationReport;
use super::run::SyncOptions;
use crate::connectors;
use crate::ledger::{DiffOptions, Ledger, Plan, day_of, diff};
use crate::report::identifiers::IdentifierReport;
use crate::transport::RecordingTransport;

/// One audience's plan.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AudiencePlan {
    pub audience: String,
    pub as_of: chrono::DateTime<chrono::Utc>,
    pub segment: Funnel,
    pub destinations: Vec<DestinationPlan>,
    #[serde(skip)]
    pub identifiers: IdentifierReport,
}

/// Its part at one destination.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DestinationPlan {
    pub destination: String,
    pub connector: String,
    pub add: u64,
    pub remove: u64,
    pub refresh: u64,
    pub keep: u64,
    /// Members whose identifiers changed, in `add` or `remove`.
    pub update: u64,
    /// Everybody left out on the way here, by reason.
    pub excluded: Exclusions,
    /// Member requests; looking up the audience and asking for verdicts come on top.
    pub requests: u64,
    /// What the guards say against it.
    pub refusals: Vec<String>,
    #[serde(skip)]
    pub(super) change: Change,
    /// Some members to be added, without their identifiers.
    pub samples: Vec<Sample>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub shown_requests: Vec<ShownRequest>,
}

/// A member, masked.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Sample {
    /// The first half of our own key for the member.
    pub member: String,
    pub emails: usize,
    pub phones: usize,
    pub others: Vec<&'static str>,
}

/// A request as it would be sent, but for the authorisation.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ShownRequest {
    pub operation: &'static str,
    pub method: String,
    pub url: String,
    pub body: String,
}

/// How much to show.
#[derive(Debug, Clone, Copy, Default)]
pub struct Show {
    pub samples: usize,
    /// Requests per operation, with their exact bodies.
    pub requests: usize,
}

impl Engine {
    /// # Errors
    /// The warehouse's, or a temporary file's.
    pub async fn plan(
        &self,
        selection: &Selection,
        show: Show,
        progress: &dyn Progress,
    ) -> anyhow::Result<AudiencePlan> {
        let audience = self.config.audience(&selection.audience)?;
        let names = self.destination_names(selection, audience)?;
        // Of its own, so that plans can be made side by side and while a run holds the audience.
        static MADE: AtomicU64 = AtomicU64::new(0);
        let own = format!("plan-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let temp = Scratch::fixed(&self.audience_dir(&selection.audience).join(own))?;
        let gathered = self.gather(selection, audience, &names, temp.path(), &Unstoppable, progress).await?;
        let mut destinations = Vec::new();
        for prepared in &gathered.destinations {
            let (plan, mut excluded) = tokio::task::block_in_place(|| {
                let ledger = self.ledgers.peek(&selection.audience, &prepared.name, temp.path())?;
                self.compare_only(&ledger, prepared, &gathered, &selection.audience)
            })?;
            excluded.merge(&gathered.funnel.excluded);
            destinations.push(self.describe(selection, prepared, &plan, excluded, show).await?);
        }
        let placeholders = |plan: &DestinationPlan| plan.excluded.get(super::eligibility::reason::SHARED_PLACEHOLDER);
        let placeholders = destinations.iter().map(placeholders).max().unwrap_or(0);
        Ok(AudiencePlan {
            identifiers: gathered.identifiers.finish(&selection.audience, placeholders),
            audience: selection.audience.clone(),
            as_of: selection.as_of,
            segment: gathered.funnel,
            destinations,
        })
    }

    /// A run that sends nothing: the comparison and what the guards say of it, as a run's report.
    ///
    /// # Errors
    /// As [`Engine::plan`].
    pub(super) async fn rehearse(
        &self,
        selection: &Selection,
        options: &SyncOptions,
        control: &dyn RunControl,
        progress: &dyn Progress,
    ) -> anyhow::Result<(Funnel, Vec<DestinationReport>)> {
        control.check()?;
        let plan = self.plan(selection, Show::default(), progress).await?;
        let reports = plan.destinations.into_iter().map(|planned| {
            let refusals = refusals(
                &self.config.guards.with_removal_ratio(options.max_removal_ratio),
                planned.change,
                &options.allow,
            );
            let mut report = DestinationReport::rehearsed(planned);
            if !refusals.is_empty() {
                report.fail(&SyncError::Guarded(refusals));
            }
            report
        });
        Ok((plan.segment, reports.collect()))
    }

    fn compare_only(
        &self,
        ledger: &Ledger,
        prepared: &Prepared,
        gathered: &super::gather::Gathered,
        audience: &str,
    ) -> anyhow::Result<(Plan, Exclusions)> {
        let connector = &self.config.destination(&prepared.name)?.connector;
        let lifetime = connectors::find(connector).and_then(|builtin| builtin.descriptor.limits.membership_days);
        let asked = self.config.audience(audience)?.membership_days;
        let options = DiffOptions {
            today: day_of(self.clock.now().timestamp()),
            renew_after_days: super::delivery::renew_after_days(lifetime, asked),
            retry_rejected: false,
            renew_all: false,
            replaces: false,
        };
        let mut refiner = Refiner::new(gathered);
        let plan = diff(ledger, &prepared.target, |row, out| refiner.refine(row, out), options)?;
        refiner.excluded.add(super::eligibility::reason::NO_IDENTIFIER, prepared.no_identifier);
        Ok((plan, refiner.excluded))
    }

    async fn describe(
        &self,
        selection: &Selection,
        prepared: &Prepared,
        plan: &Plan,
        excluded: Exclusions,
        show: Show,
    ) -> anyhow::Result<DestinationPlan> {
        let config = self.config.destination(&prepared.name)?;
        // The connector knows its own settings' limits; without its secrets the platform's have to do.
        let connected = match self.places(config) {
            Ok(places) => connectors::connect(&prepared.name, config, &places).await,
            Err(error) => Err(error),
        };
        let builtin = connectors::find(&config.connector).expect("checked when the config was loaded").descriptor;
        let descriptor = connected.as_ref().map_or(builtin, |connector| connector.descriptor());
        let counts = plan.counts();
        let most = config.batch_members.unwrap_or(descriptor.limits.max_batch_members) as usize;
        let change = Change {
            held: counts.keep + counts.refresh + counts.update + counts.remove,
            target: counts.add + counts.keep + counts.refresh + counts.update + counts.rejected_kept,
            remove: counts.remove,
            platform_minimum: u64::from(descriptor.limits.min_audience),
        };
        let mut described = DestinationPlan {
            destination: prepared.name.clone(),
            connector: config.connector.clone(),
            add: counts.add,
            remove: counts.remove,
            refresh: counts.refresh,
            keep: counts.keep,
            update: counts.update,
            excluded,
            requests: 0,
            refusals: refusals(&self.config.guards, change, &[]).into_iter().map(|refusal| refusal.message).collect(),
            change,
            samples: Vec::new(),
            shown_requests: Vec::new(),
        };
        for operation in [Operation::Remove, Operation::Add] {
            let max_bytes = descriptor.limits.max_batch_bytes.map(|bytes| bytes as usize);
            let mut shown = 0;
            let mut batches = plan.batches(operation, most, max_bytes).peekable();
            while let Some(batch) = batches.next() {
                let batch = batch?;
                described.requests += 1;
                if operation == Operation::Add {
                    sample(&batch, show.samples, &mut described.samples);
                }
                if shown < show.requests {
                    shown += 1;
                    let last = batches.peek().is_none();
                    let ordinal = u32::try_from(shown).unwrap_or(u32::MAX);
                    self.record(selection, &prepared.name, &batch, ordinal, last, &mut described.shown_requests)
                        .await?;
                }
            }
        }
        Ok(described)
    }

    /// The requests of a batch, made by the connector and kept by the recording transport.
    async fn record(
        &self,
        selection: &Selection,
        name: &str,
        batch: &Batch,
        ordinal: u32,
        last: bool,
        shown: &mut Vec<ShownRequest>,
    ) -> anyhow::Result<()> {
        let config = self.config.destination(name)?;
        let connector = connectors::connect(name, config, &self.places(config)?).await?;
        let audience = self
            .store
            .audience(&selection.audience, name)
            .await?
            .unwrap_or_else(|| AudienceRef { id: "AUDIENCE-NOT-MADE-YET".to_owned(), created: false });
        let transport = RecordingTransport::default();
        let cx = Context { transport: &transport, clock: &*self.clock };
        let upload = Upload { batch, session: 1, ordinal, last, estimated_members: batch.len() as u64 };
        let outcome = match batch.operation {
            Operation::Add => connector.add(&cx, &audience, &upload).await,
            Operation::Remove => connector.remove(&cx, &audience, &upload).await,
        };
        let calls = transport.take();
        if calls.is_empty()
            && let Err(error) = outcome
        {
            return Err(error.into());
        }
        shown.extend(calls.into_iter().map(|call| ShownRequest {
            operation: call.operation,
            method: call.method.to_string(),
            url: call.url.to_string(),
            body: String::from_utf8_lossy(&call.body).into_owned(),
        }));
        Ok(())
    }
}

fn sample(batch: &Batch, most: usize, samples: &mut Vec<Sample>) {
    for member in batch.iter().take(most.saturating_sub(samples.len())) {
        samples.push(Sample {
            member: format!("{}…", &member.key().to_hex()[..8]),
            emails: member.emails().len(),
            phones: member.phones().len(),
            others: member.others().map(|(kind, _)| kind.name()).collect(),
        });
    }
}
