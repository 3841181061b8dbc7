//! One destination of one run: settle what earlier runs left, compare, guard, send, confirm, observe.

use std::sync::Mutex;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use reveil_sdk::{
    AudienceRef, AudienceSpec, Batch, Clock, Consent, MatchKind, MatchObservation, Operation, Replace, Replaceable,
    UploadSummary,
};
use tracing::{info, warn};

use super::confirm::{Confirmed, confirm};
use super::control::RunControl;
use super::destination::Destination;
use super::error::SyncError;
use super::funnel::Exclusions;
use super::gather::{Gathered, Prepared};
use super::guards::{Change, refusals};
use super::late::note_late;
use super::progress::Progress;
use super::refine::Refiner;
use super::report::{DestinationReport, Full};
use super::run::SyncOptions;
use super::upload::{Mode, Uploader};
use crate::config::GuardsConfig;
use crate::ledger::{DiffOptions, Ledger, Plan, PlanCounts, day_of, diff};
use crate::store::Store;
use crate::store::model::{DestinationRun, RunState, StoredObservation};

/// A round may leave work to the next: changed identifiers are removed first and added once that is confirmed.
const MOST_ROUNDS: usize = 4;
/// Members are renewed this many days before the platform lets them lapse.
const RENEW_BEFORE_DAYS: u32 = 30;

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
    /// What an earlier leg of this run did here.
    pub earlier: Option<DestinationRun>,
}

/// How a round compares and sends.
#[derive(Debug, Clone, Copy)]
struct Round {
    /// The first of its leg.
    first: bool,
    /// A swap was cut short: everybody is sent again.
    mends: bool,
    /// A full sync sends everybody again, and the others leave in this way.
    full: Option<Replace>,
}

impl Round {
    /// Whoever is not sent leaves by itself.
    fn replaces(self) -> bool {
        self.mends || self.full.is_some_and(|way| way != Replace::No)
    }
}

impl Delivery<'_> {
    /// The report says what went wrong; what was acknowledged until then is in the ledger.
    pub(super) async fn run(self) -> DestinationReport {
        let descriptor = self.destination.connector.descriptor();
        let mut report = DestinationReport::resumed(&self.destination.name, descriptor.slug, self.earlier.as_ref());
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
        // Verdicts are about this run's own uploads once it has made any.
        let earlier =
            if report.before.requests > 0 { self.confirm(report).await? } else { self.confirm_earlier().await? };
        if earlier.pending > 0 {
            let waiting =
                format!("{} of an earlier run; nothing new is sent until it has", undecided(earlier.pending_members));
            return Ok(self.put_off(report, waiting));
        }
        // After a leg that has sent everybody, what is left is an ordinary refresh.
        let interrupted = report.full.is_none() && self.with_ledger(|ledger| Ok(ledger.is_replacing()))?;
        if interrupted {
            report.warnings.push("an earlier full replace was cut short; everybody is sent again".into());
        }
        let way = if self.options.full && report.full.is_none() { Some(self.replace_way(report).await?) } else { None };
        let mut audience = None;
        for number in 0..MOST_ROUNDS {
            let first = number == 0;
            let round = Round { first, mends: interrupted && first, full: way.filter(|_| first) };
            let (plan, refined) = self.compare(prepared, round)?;
            let counts = plan.counts();
            if first {
                report.excluded.add(super::eligibility::reason::NO_IDENTIFIER, prepared.no_identifier);
                report.excluded.merge(&refined);
                self.guard(&counts, report)?;
            }
            report.note_plan(&counts);
            if audience.is_none() {
                audience = Some(self.find_or_create(report).await?);
            }
            let audience = audience.as_ref().expect("found above");
            // First: who needs no request lets go of identifiers that another record answers for.
            self.with_ledger(|ledger| ledger.forget(&plan))?;
            let since = if round.full == Some(Replace::Sweep) { self.next_second().await } else { self.clock.now() };
            self.control.check()?;
            // Nobody to send makes no swap: then those who are there are removed.
            let way = round.full.filter(|_| counts.add + counts.refresh > 0).unwrap_or(Replace::No);
            self.send(&plan, audience, way, report).await?;
            report.sent_all = true;
            if round.full.is_some() {
                report.full = Some(Full { since, finished: way == Replace::No });
            }
            let mut confirmed = self.confirm(report).await?;
            let open = report.full.filter(|full| !full.finished);
            if let Some(full) = open.filter(|_| confirmed.pending == 0 && confirmed.failed_members == 0) {
                self.control.check()?;
                // The removals that the swap or sweep has made itself; a later round has sent its own.
                let plan = round.full.is_some().then_some(&plan);
                self.finish_replace(plan, audience, full.since, report).await?;
                confirmed = self.confirm(report).await?;
                // A sweep that the platform has failed is made again.
                report.full = Some(Full { finished: confirmed.failed.is_empty(), ..full });
            }
            if confirmed.pending == 0 && confirmed.failed_members == 0 {
                self.with_ledger(Ledger::end_replace)?;
            }
            self.with_ledger(|ledger| if ledger.fold_due() { ledger.fold() } else { Ok(()) })?;
            let unswept = report.full.is_some_and(|full| !full.finished);
            let unfinished = counts.deferred > 0 || confirmed.failed_members > 0 || unswept;
            if confirmed.pending > 0 {
                report.upload.pending_batches = confirmed.pending;
                self.observe(audience, report).await?;
                if unfinished {
                    let waiting = format!("{}; the rest is sent when it has", undecided(confirmed.pending_members));
                    return Ok(self.put_off(report, waiting));
                }
                return Ok(RunState::Pending);
            }
            if !unfinished {
                self.observe(audience, report).await?;
                return Ok(RunState::Done);
            }
        }
        let audience = audience.expect("found in the first round");
        self.observe(&audience, report).await?;
        report.warnings.push("the platform keeps failing some uploads; what is missing is sent by the next run".into());
        Ok(RunState::Partial)
    }

    /// The rest has to wait for the platform: in this run when it may go on later, else in the next one.
    fn put_off(&self, report: &mut DestinationReport, waiting: String) -> RunState {
        report.warnings.push(waiting);
        report.unfinished = true;
        if self.options.may_continue { RunState::Pending } else { RunState::Partial }
    }

    /// How a full sync lets go of whoever it does not send.
    async fn replace_way(&self, report: &mut DestinationReport) -> Result<Replace, SyncError> {
        let connector = &self.destination.connector;
        let way = connector.descriptor().capabilities.replace;
        if way != Replace::Swap {
            return Ok(way);
        }
        // An audience that is not there yet holds nobody to swap.
        let known = self.store.audience(self.audience_key, &self.destination.name).await?;
        let Some(known) = known else { return Ok(Replace::No) };
        match connector.status(&self.destination.context(), &known).await.map(|status| (status.replaceable, status)) {
            Ok((Replaceable::Empty, _)) => Ok(Replace::No),
            Ok((Replaceable::No, status)) => {
                report.warnings.push(format!(
                    "the platform swaps no members in this state of the audience ({}): everybody is sent again and                      leavers are removed, but members it has from elsewhere stay",
                    status.state
                ));
                Ok(Replace::No)
            }
            // What is wrong with the audience is told by the calls that follow.
            Ok((Replaceable::Yes, _)) | Err(_) => Ok(Replace::Swap),
        }
    }

    fn with_ledger<T>(&self, work: impl FnOnce(&mut Ledger) -> crate::ledger::Result<T>) -> Result<T, SyncError> {
        tokio::task::block_in_place(|| Ok(work(&mut self.ledger.lock().expect("no panic while the ledger is held"))?))
    }

    fn compare(&self, prepared: &Prepared, round: Round) -> Result<(Plan, Exclusions), SyncError> {
        let lifetime = self.destination.connector.descriptor().limits.membership_days;
        let options = DiffOptions {
            today: day_of(self.clock.now().timestamp()),
            renew_after_days: renew_after_days(lifetime, self.spec.membership_days),
            retry_rejected: self.options.retry_rejected && round.first,
            renew_all: round.mends || round.full.is_some(),
            // After a swap that was cut short too: who is kept back for a later round would be taken for kept.
            replaces: round.replaces(),
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
        if report.is_first_leg() {
            (report.counts.held_before, report.counts.keep) = (held, counts.keep);
        }
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
        report.counts.refused(&report.upload).beyond(allowed).map_or(Ok(()), Err)
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

    /// Sends the removals, where they do not come about by themselves, then the adds.
    async fn send(
        &self,
        plan: &Plan,
        audience: &AudienceRef,
        way: Replace,
        report: &mut DestinationReport,
    ) -> Result<(), SyncError> {
        let counts = plan.counts();
        let descriptor = self.destination.connector.descriptor();
        let removes = (way == Replace::No).then_some((Operation::Remove, counts.remove + counts.update));
        for (operation, total) in removes.into_iter().chain([(Operation::Add, counts.add + counts.refresh)]) {
            let mode = if way == Replace::Swap { Mode::Swap } else { Mode::Delta };
            if mode == Mode::Swap {
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
            let (uploaded, failure) = uploader.run(batches).await;
            report.note_uploaded(operation, uploaded);
            if let Some(error) = failure {
                return Err(error);
            }
        }
        Ok(())
    }

    /// After everybody was sent again: whoever was not is dropped on the platform, then in the ledger.
    async fn finish_replace(
        &self,
        plan: Option<&Plan>,
        audience: &AudienceRef,
        from: DateTime<Utc>,
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
        let (most, mut noted) = (self.destination.batch_members as usize, false);
        for batch in plan.into_iter().flat_map(|plan| plan.batches(Operation::Remove, most, None)) {
            // The removals stand or fall with the sweep's own verdict.
            let batch = batch?;
            self.note_swept(&batch, ticket.as_deref())?;
            report.done.removed += batch.len() as u64;
            noted = true;
        }
        if ticket.is_some() && !noted {
            // Nobody that the ledger knows of leaves; the verdict is waited for all the same.
            self.note_swept(&Batch::new(Operation::Remove, Consent::UNKNOWN), ticket.as_deref())?;
        }
        Ok(())
    }

    fn note_swept(&self, batch: &Batch, ticket: Option<&str>) -> Result<(), SyncError> {
        let now = self.clock.now();
        self.with_ledger(|ledger| {
            let seq = ledger.intend(batch)?;
            ledger.accept(seq, &[], ticket, now)
        })
    }

    async fn confirm(&self, report: &mut DestinationReport) -> Result<Confirmed, SyncError> {
        let confirmed =
            confirm(self.destination, &self.ledger, self.clock, self.progress, self.control, self.options.wait).await?;
        report.note_confirmed(&confirmed);
        Ok(confirmed)
    }

    /// What earlier runs left undecided; it counts for them.
    async fn confirm_earlier(&self) -> Result<Confirmed, SyncError> {
        if self.with_ledger(|ledger| Ok(ledger.pending().is_empty()))? {
            return Ok(Confirmed::default());
        }
        let confirmed =
            confirm(self.destination, &self.ledger, self.clock, self.progress, self.control, self.options.wait).await?;
        let read = note_late(self.store, self.destination, &self.ledger, self.audience_key, &confirmed).await?;
        if let Err(error) = read {
            // A reading can be taken later.
            warn!(destination = self.destination.name, error = %error, "No match reading of the earlier run");
        }
        Ok(confirmed)
    }

    /// Waits for the next whole second, which the connectors' sweeps can name: whoever was added before this run was
    /// added before then, whoever it adds is added after.
    async fn next_second(&self) -> DateTime<Utc> {
        let now = self.clock.now();
        let next = now.trunc_subsecs(0) + TimeDelta::seconds(1);
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

/// Which of the readings stands for the destination, told of each whether the platform says anything, now or later: one
/// that never will (too few were sent) does not, beside one that does.
pub(crate) fn main_reading(says: impl IntoIterator<Item = bool>) -> usize {
    says.into_iter().position(|says| says).unwrap_or(0)
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
    let main = main_reading(observations.iter().map(|reading| reading.kind != MatchKind::NotOffered));
    for (index, reading) in observations.iter().enumerate() {
        store
            .add_observation(&StoredObservation {
                audience: audience_key.to_owned(),
                destination: destination.name.clone(),
                connector: connector.descriptor().slug.to_owned(),
                run_id: Some(run_id.to_owned()),
                rules_version: connector.descriptor().identifiers.version,
                primary: index == main,
                reading: reading.clone(),
            })
            .await?;
    }
    Ok(Ok(observations))
}

fn undecided(members: u64) -> String {
    match members {
        0 => "the platform has not decided on the removal of those a full sync did not send".to_owned(),
        members => format!("the platform has not decided on {members} members"),
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
