//! One destination of one run: settle what earlier runs left, compare, guard, send, confirm, observe.

use std::collections::BTreeMap;
use std::sync::Mutex;

use chrono::SubsecRound as _;
use reveil_sdk::{AudienceRef, AudienceSpec, Clock, MatchObservation, Operation, RejectReason, Replace, UploadSummary};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::confirm::{Confirmed, confirm};
use super::control::{RunControl, Stop};
use super::destination::Destination;
use super::engine::SyncOptions;
use super::error::SyncError;
use super::funnel::Exclusions;
use super::gather::{Gathered, Prepared};
use super::guards::{Change, refusals};
use super::preview::DestinationPlan;
use super::progress::Progress;
use super::refine::Refiner;
use super::upload::{Mode, Uploaded, Uploader};
use crate::config::GuardsConfig;
use crate::ledger::{DiffOptions, Ledger, Plan, PlanCounts, day_of, diff};
use crate::store::Store;
use crate::store::model::{RunState, StoredObservation};

/// A round may leave work to the next: changed identifiers are removed first and added once that is confirmed.
const MOST_ROUNDS: usize = 4;
/// Members are renewed this many days before the platform lets them lapse.
const RENEW_BEFORE_DAYS: u32 = 30;

/// What the comparison found and what became of it, in members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Members the destination held before.
    pub held_before: u64,
    pub add: u64,
    pub remove: u64,
    pub refresh: u64,
    pub keep: u64,
    /// Of `add` and `remove`: members some of whose identifiers changed.
    pub update: u64,
    /// Adds left to the next round.
    pub deferred: u64,
    /// Persons sent and taken (adds and renewals).
    pub sent: u64,
    pub requests: u64,
    /// Refused members by reason.
    pub rejected: BTreeMap<RejectReason, u64>,
    /// Entries the platform refused without naming the member.
    pub rejected_unnamed: u64,
}

/// One destination's part of a run's report.
#[derive(Debug, Clone, Serialize)]
pub struct DestinationReport {
    pub destination: String,
    pub connector: String,
    pub state: RunState,
    pub counts: Counts,
    /// Left out for this destination on top of what the segment's funnel says.
    pub excluded: Exclusions,
    /// What the platform says of matching; the first is the one to show.
    pub observations: Vec<MatchObservation>,
    pub warnings: Vec<String>,
    pub error: Option<String>,
    /// A stable name of the error, for programs: `guard_refused`, `permission`, `platform_unavailable` …
    pub error_code: Option<&'static str>,
    pub hint: Option<String>,
    #[serde(skip)]
    pub upload: UploadSummary,
    #[serde(skip)]
    pub error_kind: Option<reveil_sdk::ErrorKind>,
    /// Everything the first comparison found was handed to the platform, whatever it says of it.
    #[serde(skip)]
    pub sent_all: bool,
    #[serde(skip)]
    pub guarded: bool,
    #[serde(skip)]
    pub later: bool,
    #[serde(skip)]
    pub stopped: Option<Stop>,
}

impl DestinationReport {
    fn empty(destination: &str, connector: &str) -> Self {
        Self {
            destination: destination.to_owned(),
            connector: connector.to_owned(),
            state: RunState::Running,
            counts: Counts::default(),
            excluded: Exclusions::default(),
            observations: Vec::new(),
            warnings: Vec::new(),
            error: None,
            error_code: None,
            hint: None,
            upload: UploadSummary::default(),
            error_kind: None,
            sent_all: false,
            guarded: false,
            later: false,
            stopped: None,
        }
    }

    /// A destination that could not be opened or stopped with this error.
    pub(super) fn failed(destination: &str, connector: &str, error: &SyncError) -> Self {
        let mut report = Self::empty(destination, connector);
        report.fail(error);
        report
    }

    /// What a run would have done.
    pub(super) fn rehearsed(plan: DestinationPlan) -> Self {
        let mut report = Self::empty(&plan.destination, &plan.connector);
        report.state = RunState::Done;
        report.counts = Counts {
            held_before: plan.change.held,
            add: plan.add,
            remove: plan.remove,
            refresh: plan.refresh,
            keep: plan.keep,
            update: plan.update,
            ..Counts::default()
        };
        report.excluded = plan.excluded;
        report.warnings.push("a dry run: nothing was sent".to_owned());
        report
    }

    pub(super) fn fail(&mut self, error: &SyncError) {
        self.state = RunState::Failed;
        self.error = Some(error.to_string());
        self.error_code = Some(error.code());
        match error {
            SyncError::Platform(error) => {
                self.hint = error.hint_text().map(str::to_owned);
                self.error_kind = Some(error.kind());
            }
            SyncError::Guarded(_) => self.guarded = true,
            SyncError::Stopped(stop) => self.stopped = Some(*stop),
            _ => {}
        }
        self.later = error.is_passing();
    }
}

/// See the module.
pub(super) struct Delivery<'a> {
    pub store: &'a Store,
    pub clock: &'a dyn Clock,
    pub guards: &'a GuardsConfig,
    pub progress: &'a dyn Progress,
    pub control: &'a dyn RunControl,
    pub run_id: &'a str,
    pub audience_key: &'a str,
    pub spec: AudienceSpec,
    pub destination: &'a Destination,
    pub ledger: Mutex<Ledger>,
    pub gathered: &'a Gathered,
    pub options: &'a SyncOptions,
}

impl Delivery<'_> {
    /// The report says what went wrong; what was acknowledged until then is in the ledger.
    pub(super) async fn run(self) -> DestinationReport {
        let descriptor = self.destination.connector.descriptor();
        let mut report = DestinationReport::empty(&self.destination.name, descriptor.slug);
        let delivered = match self.deliver(&mut report).await {
            Ok(state) => self.check_rejections(&report).map(|()| state),
            Err(error) => Err(error),
        };
        match delivered {
            Ok(state) => {
                report.state = state;
                info!(
                    connector = descriptor.slug,
                    destination = self.destination.name,
                    run.id = self.run_id,
                    added = report.counts.sent,
                    removed = report.counts.remove,
                    requests = report.counts.requests,
                    "Delivered"
                );
            }
            Err(error) => {
                report.fail(&error);
                warn!(
                    connector = descriptor.slug,
                    destination = self.destination.name,
                    run.id = self.run_id,
                    error = %error,
                    "Delivery stopped"
                );
            }
        }
        report
    }

    async fn deliver(&self, report: &mut DestinationReport) -> Result<RunState, SyncError> {
        let prepared = self
            .gathered
            .destinations
            .iter()
            .find(|prepared| prepared.name == self.destination.name)
            .expect("every destination of the run was prepared");
        let earlier = self.confirm(report).await?;
        if earlier.pending > 0 {
            report.warnings.push(format!(
                "the platform has not decided on {} members of an earlier run; nothing new was sent",
                earlier.pending_members
            ));
            return Ok(RunState::Pending);
        }
        let mut audience = None;
        let interrupted = self.with_ledger(|ledger| Ok(ledger.is_replacing()))?;
        if interrupted {
            report.warnings.push("an earlier full replace was cut short; everybody is sent again".into());
        }
        for round in 0..MOST_ROUNDS {
            let (plan, refined) = self.compare(prepared, round, interrupted && round == 0)?;
            let counts = plan.counts();
            if round == 0 {
                report.counts.keep = counts.keep;
                report.excluded.add(super::eligibility::reason::NO_IDENTIFIER, prepared.no_identifier);
                report.excluded.merge(&refined);
                self.guard(&counts, report)?;
            }
            note_plan(&counts, report);
            if audience.is_none() {
                audience = Some(self.find_or_create(report).await?);
            }
            let audience = audience.as_ref().expect("found above");
            // First: who needs no request lets go of identifiers that another record answers for.
            self.with_ledger(|ledger| ledger.forget(&plan))?;
            // Nobody to send makes no swap: then those who are there are removed.
            let full = self.options.full && round == 0 && counts.add + counts.refresh > 0;
            let replaced_from = if full { Some(self.next_second().await) } else { None };
            self.control.check()?;
            self.send(&plan, audience, full, report).await?;
            report.sent_all = true;
            let mut confirmed = self.confirm(report).await?;
            if let Some(from) = replaced_from.filter(|_| confirmed.pending == 0 && confirmed.failed_members == 0) {
                self.control.check()?;
                self.finish_replace(&plan, audience, from, report).await?;
                confirmed = self.confirm(report).await?;
            }
            if confirmed.pending == 0 && confirmed.failed_members == 0 {
                self.with_ledger(Ledger::end_replace)?;
            }
            self.with_ledger(|ledger| if ledger.fold_due() { ledger.fold() } else { Ok(()) })?;
            if confirmed.pending > 0 {
                report.upload.pending_batches = confirmed.pending;
                self.observe(audience, report).await?;
                return Ok(RunState::Pending);
            }
            let unfinished = counts.deferred > 0 || confirmed.failed_members > 0;
            if !unfinished {
                self.observe(audience, report).await?;
                return Ok(RunState::Done);
            }
        }
        let audience = audience.expect("found in the first round");
        self.observe(&audience, report).await?;
        report.warnings.push("the platform keeps failing some uploads; what is missing is sent by the next run".into());
        Ok(RunState::Pending)
    }

    fn with_ledger<T>(&self, work: impl FnOnce(&mut Ledger) -> crate::ledger::Result<T>) -> Result<T, SyncError> {
        tokio::task::block_in_place(|| Ok(work(&mut self.ledger.lock().expect("no panic while the ledger is held"))?))
    }

    fn replace(&self) -> Replace {
        self.destination.connector.descriptor().capabilities.replace
    }

    fn compare(&self, prepared: &Prepared, round: usize, interrupted: bool) -> Result<(Plan, Exclusions), SyncError> {
        let lifetime = self.destination.connector.descriptor().limits.membership_days;
        let options = DiffOptions {
            today: day_of(self.clock.now().timestamp()),
            renew_after_days: renew_after_days(lifetime, self.spec.membership_days),
            retry_rejected: self.options.retry_rejected && round == 0,
            renew_all: interrupted || self.options.full && round == 0,
            // After a swap that was cut short too: who is kept back for a later round would be taken for kept.
            replaces: interrupted || self.options.full && round == 0 && self.replace() != Replace::No,
        };
        let mut refiner = Refiner::new(self.gathered);
        let plan =
            self.with_ledger(|ledger| diff(ledger, &prepared.target, |row, out| refiner.refine(row, out), options))?;
        Ok((plan, refiner.excluded))
    }

    fn guard(&self, counts: &PlanCounts, report: &mut DestinationReport) -> Result<(), SyncError> {
        let target = counts.add + counts.keep + counts.refresh + counts.update + counts.rejected_kept;
        // Only members leave, not identifiers: an update takes nobody out.
        let leaving = counts.remove;
        let held = counts.keep + counts.refresh + counts.update + leaving;
        report.counts.held_before = held;
        let change = Change {
            held,
            target,
            remove: leaving,
            platform_minimum: u64::from(self.destination.connector.descriptor().limits.min_audience),
        };
        let guards = self.guards.with_removal_ratio(self.options.max_removal_ratio);
        let refusals = refusals(&guards, change, &self.options.allow);
        if refusals.is_empty() { Ok(()) } else { Err(SyncError::Guarded(refusals)) }
    }

    /// What was sent stays sent; the caller only wants to hear of it as a failure.
    fn check_rejections(&self, report: &DestinationReport) -> Result<(), SyncError> {
        let Some(allowed) = self.options.fail_on_reject_ratio else { return Ok(()) };
        let rejected = report.counts.rejected.values().sum::<u64>() + report.counts.rejected_unnamed;
        let answered = report.counts.sent + report.counts.rejected.values().sum::<u64>();
        if rejected as f64 > allowed * answered.max(1) as f64 {
            return Err(SyncError::Rejections { rejected, answered, allowed });
        }
        Ok(())
    }

    async fn find_or_create(&self, report: &mut DestinationReport) -> Result<AudienceRef, SyncError> {
        let (connector, cx) = (&self.destination.connector, self.destination.context());
        report.warnings.extend(connector.check(&cx).await?);
        let known = self.store.audience(self.audience_key, &self.destination.name).await?;
        let audience = connector.find_or_create(&cx, &self.spec, known.as_ref()).await?;
        if let Some(known) = known.filter(|known| known.id != audience.id) {
            // The ledger speaks of an audience that is gone; what it holds must not be taken for sent.
            return Err(reveil_sdk::Error::new(
                reveil_sdk::ErrorKind::NotFound,
                "FindAudience",
                "the audience of earlier runs is gone from the platform",
            )
            .with("known", known.id)
            .with("found", audience.id)
            .hint(format!(
                "if it was deleted on purpose, run `reveil audience reset {} {} --yes` and sync again",
                self.audience_key, self.destination.name
            ))
            .into());
        }
        self.store.remember_audience(self.audience_key, &self.destination.name, &audience, self.clock.now()).await?;
        Ok(audience)
    }

    /// Sends the removals, then the adds.
    async fn send(
        &self,
        plan: &Plan,
        audience: &AudienceRef,
        full: bool,
        report: &mut DestinationReport,
    ) -> Result<(), SyncError> {
        let counts = plan.counts();
        let descriptor = self.destination.connector.descriptor();
        let swap = full && descriptor.capabilities.replace == Replace::Swap;
        let removes = if full && descriptor.capabilities.replace != Replace::No {
            Vec::new()
        } else {
            vec![(Operation::Remove, counts.remove + counts.update)]
        };
        for (operation, total) in removes.into_iter().chain([(Operation::Add, counts.add + counts.refresh)]) {
            let mode = if swap { Mode::Swap } else { Mode::Delta };
            if swap {
                self.with_ledger(Ledger::begin_replace)?;
            }
            let uploader = Uploader::new(
                self.destination,
                audience,
                &self.ledger,
                self.clock,
                self.progress,
                self.control,
                mode,
                operation,
                total,
            );
            let max_bytes = descriptor.limits.max_batch_bytes.map(|bytes| bytes as usize);
            let batches = plan.batches(operation, self.destination.batch_members as usize, max_bytes);
            let uploaded = uploader.run(batches).await?;
            note_uploaded(operation, uploaded, report);
        }
        Ok(())
    }

    /// After everybody was sent again: whoever was not is dropped on the platform, then in the ledger.
    async fn finish_replace(
        &self,
        plan: &Plan,
        audience: &AudienceRef,
        from: chrono::DateTime<chrono::Utc>,
        report: &mut DestinationReport,
    ) -> Result<(), SyncError> {
        let descriptor = self.destination.connector.descriptor();
        let ticket = match descriptor.capabilities.replace {
            Replace::No => return Ok(()),
            Replace::Swap => None,
            Replace::Sweep => {
                report.counts.requests += 1;
                self.destination.connector.sweep(&self.destination.context(), audience, from).await?.ticket
            }
        };
        for batch in plan.batches(Operation::Remove, self.destination.batch_members as usize, None) {
            let batch = batch?;
            let now = self.clock.now();
            self.with_ledger(|ledger| {
                // The removals stand or fall with the sweep's own verdict.
                let seq = ledger.intend(&batch)?;
                ledger.accept(seq, &[], ticket.as_deref(), now)
            })?;
        }
        Ok(())
    }

    async fn confirm(&self, report: &mut DestinationReport) -> Result<Confirmed, SyncError> {
        let confirmed =
            confirm(self.destination, &self.ledger, self.clock, self.progress, self.control, self.options.wait).await?;
        note_confirmed(&confirmed, report);
        Ok(confirmed)
    }

    /// Waits for the next whole second, which the connectors' sweeps can name: whoever was added before this run was
    /// added before then, whoever it adds is added after.
    async fn next_second(&self) -> chrono::DateTime<chrono::Utc> {
        let now = self.clock.now();
        let next = now.trunc_subsecs(0) + chrono::TimeDelta::seconds(1);
        self.clock.sleep((next - now).to_std().unwrap_or_default()).await;
        next
    }

    async fn observe(&self, audience: &AudienceRef, report: &mut DestinationReport) -> Result<(), SyncError> {
        let stats = self.with_ledger(|ledger| ledger.stats())?;
        report.upload.audience_persons = stats.held;
        match observe(self.store, self.destination, self.audience_key, audience, self.run_id, &report.upload).await? {
            Ok(observations) => report.observations = observations,
            // The members are delivered; a reading can be taken later.
            Err(error) => report.warnings.push(format!("no match reading: {error}")),
        }
        if let Ok(status) = self.destination.connector.status(&self.destination.context(), audience).await {
            report.warnings.extend(status.warnings);
        }
        Ok(())
    }
}

/// Takes a match reading and keeps it.
///
/// # Errors
/// The state's; the platform's own is the inner result.
pub(super) async fn observe(
    store: &Store,
    destination: &Destination,
    audience_key: &str,
    audience: &AudienceRef,
    run_id: &str,
    upload: &UploadSummary,
) -> Result<reveil_sdk::Result<Vec<MatchObservation>>, SyncError> {
    let (connector, cx) = (&destination.connector, destination.context());
    let observations = match connector.observe(&cx, audience, upload).await {
        Ok(observations) => observations,
        Err(error) => return Ok(Err(error)),
    };
    for (index, reading) in observations.iter().enumerate() {
        store
            .add_observation(&StoredObservation {
                audience: audience_key.to_owned(),
                destination: destination.name.clone(),
                connector: connector.descriptor().slug.to_owned(),
                run_id: Some(run_id.to_owned()),
                rules_version: connector.descriptor().identifiers.version,
                primary: index == 0,
                reading: reading.clone(),
            })
            .await?;
    }
    Ok(Ok(observations))
}

fn note_plan(counts: &PlanCounts, report: &mut DestinationReport) {
    report.counts.add += counts.add;
    report.counts.remove += counts.remove;
    report.counts.refresh += counts.refresh;
    report.counts.update += counts.update;
    report.counts.deferred += counts.deferred;
}

fn note_uploaded(operation: Operation, uploaded: Uploaded, report: &mut DestinationReport) {
    report.counts.requests += uploaded.requests;
    report.counts.rejected_unnamed += uploaded.invalid_unnamed;
    for (reason, count) in uploaded.rejected {
        *report.counts.rejected.entry(reason).or_default() += count;
    }
    if operation == Operation::Add && uploaded.requests > 0 {
        report.counts.sent += uploaded.accepted;
        report.upload.sessions.extend(uploaded.sessions);
        report.upload.persons += uploaded.accepted;
        report.upload.rows += uploaded.rows;
    }
}

fn note_confirmed(confirmed: &Confirmed, report: &mut DestinationReport) {
    for (reason, count) in &confirmed.rejected {
        *report.counts.rejected.entry(reason.clone()).or_default() += count;
    }
    report.counts.rejected_unnamed += confirmed.rejected_unnamed.values().sum::<u64>();
    report.upload.match_ranges.extend(confirmed.match_ranges.iter().copied());
    for (reason, batches) in &confirmed.failed {
        report.warnings.push(format!("the platform failed {batches} accepted batches ({reason}); they are sent again"));
    }
}

/// Days after which a member is sent again so that it does not lapse: some time before the shorter of what the
/// platform allows and the audience asks for.
pub(super) fn renew_after_days(platform: Option<u32>, asked: Option<u32>) -> Option<u16> {
    let lifetime = match (platform, asked) {
        (Some(platform), Some(asked)) => platform.min(asked),
        (platform, asked) => platform.or(asked)?,
    };
    Some(u16::try_from(lifetime - RENEW_BEFORE_DAYS.min(lifetime / 2)).unwrap_or(u16::MAX))
}
