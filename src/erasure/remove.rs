//! One audience at one destination lets go of a person: first the platform, and its word for it; then what lies here.
//!
//! The order is the point: a record that is gone cannot be removed from the platform any more. Every step finds by
//! itself how far an earlier try came, so it can be taken up again at any point.

use std::sync::Mutex;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use reveil_sdk::{AudienceRef, Operation};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::{info, warn};

use super::find::{removed, traces, work};
use super::receipt::{Receipt, Signer, Statement};
use super::request::{open_matcher, suppress_linked};
use super::{State, Step};
use crate::ledger::{Ledger, LedgerError};
use crate::store::forget::{ForgetRequest, ForgetTarget};
use crate::sync::Engine;
use crate::sync::confirm::confirm;
use crate::sync::control::RunControl;
use crate::sync::destination::Destination;
use crate::sync::error::SyncError;
use crate::sync::progress::Progress;
use crate::sync::upload::{Mode, Uploader};
use crate::transport::retry::RetryPolicy;

/// Asynchronous platforms take half an hour and more to decide.
const ASK_AGAIN: TimeDelta = TimeDelta::minutes(30);

/// A run or the erasure at another destination holds the audience.
const BUSY: TimeDelta = TimeDelta::seconds(5);
/// Of ledgers that replicas share.
const OLD_GENERATIONS: &str = "the shared ledger's last generation, which a daemon drops from the store a day later";
const COPIES: &str = "copies of the shared ledger on other machines: a daemon drops its own within the hour, a machine \
                      without one at its next command that sends or asks";

/// How far a target is, kept in the place of its receipt until there is one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Progressed {
    pub(crate) members: u64,
    pub(crate) tickets: Vec<String>,
    pub(crate) removed_at: Option<DateTime<Utc>>,
    /// Why the last try did not get further.
    pub(crate) error: Option<String>,
}

impl Progressed {
    fn of(target: &ForgetTarget) -> Self {
        target.receipt.clone().and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default()
    }
}

/// Carries a target as far as it goes now, and writes down how far.
///
/// # Errors
/// The state's. What keeps the platform or the ledger from it is in the target and in the returned step.
pub(crate) async fn remove_from(
    engine: &Engine,
    request: &ForgetRequest,
    target: &mut ForgetTarget,
    control: &dyn RunControl,
    progress: &dyn Progress,
) -> anyhow::Result<Step> {
    target.attempts += 1;
    let mut progressed = Progressed::of(target);
    progressed.error = None;
    let done = Removal { engine, request, target, control, progress }.carry_out(&mut progressed).await;
    let step = match done {
        Ok(Carried::Erased(receipt)) => {
            target.receipt = Some(serde_json::to_value(&*receipt)?);
            target.state = State::Erased.name().to_owned();
            Step::Done
        }
        Ok(Carried::Undecided) => {
            target.state = State::Waiting.name().to_owned();
            Step::Later(ASK_AGAIN)
        }
        Ok(Carried::NoDestination) => {
            let missing = format!(
                "[destination.{}] is not in the config any more: add it again, or delete the audience on the platform and run `reveil audience reset {} {} --yes`",
                target.destination, target.audience, target.destination
            );
            progressed.error = Some(missing.clone());
            target.state = State::Blocked.name().to_owned();
            Step::Again(missing)
        }
        Err(error) if is_busy(&error) => {
            target.attempts -= 1;
            return Ok(Step::Later(BUSY));
        }
        Err(error) => {
            let text = format!("{error:#}");
            warn!(
                audience = target.audience,
                destination = target.destination,
                request = request.id,
                error = text,
                "An erasure has to be tried again"
            );
            progressed.error = Some(text.clone());
            target.state = State::Removing.name().to_owned();
            Step::Again(text)
        }
    };
    if target.state != State::Erased.name() {
        target.receipt = Some(serde_json::to_value(&progressed)?);
    }
    engine.store.save_forget_target(target).await?;
    if let Step::Done = step {
        let detail =
            serde_json::json!({ "request": request.id, "members": progressed.members, "attempts": target.attempts });
        let subject = format!("{}/{}", target.audience, target.destination);
        engine.store.audit(engine.clock.now(), &request.requested_by, "erase", &subject, &detail).await?;
        info!(
            audience = target.audience,
            destination = target.destination,
            request = request.id,
            members = progressed.members,
            "Erased"
        );
    }
    Ok(step)
}

fn is_busy(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        matches!(cause.downcast_ref::<SyncError>(), Some(SyncError::Busy))
            || cause.downcast_ref::<LedgerError>().is_some_and(LedgerError::is_locked)
    })
}

enum Carried {
    Erased(Box<Receipt>),
    /// The platform has not said its last word.
    Undecided,
    NoDestination,
}

struct Removal<'a> {
    engine: &'a Engine,
    request: &'a ForgetRequest,
    target: &'a ForgetTarget,
    control: &'a dyn RunControl,
    progress: &'a dyn Progress,
}

impl Removal<'_> {
    async fn carry_out(&self, progressed: &mut Progressed) -> anyhow::Result<Carried> {
        let Self { engine, request, target, .. } = self;
        let (audience, name) = (target.audience.as_str(), target.destination.as_str());
        // First: what cannot be proven is not begun.
        let signer = Signer::load(engine).await?;
        let matcher = open_matcher(engine, request)?;
        let _running = engine.lock_audience(audience)?;
        let ledger = Mutex::new(tokio::task::block_in_place(|| engine.ledgers.hold(audience, name))?);
        let reference = engine.store.audience(audience, name).await?;
        let found = with(&ledger, |ledger| traces(ledger, &matcher))?;
        if found.any()
            && let Some(reference) = &reference
        {
            let known = engine.config.destination.contains_key(name);
            if !known
                && with(&ledger, |ledger| {
                    Ok(!ledger.pending().is_empty() || !work(ledger, &matcher)?.remove.is_empty())
                })?
            {
                return Ok(Carried::NoDestination);
            }
            if known {
                let destination = engine.open_destination(name, RetryPolicy::default()).await?;
                if !self.remove(&destination, reference, &ledger, &matcher, progressed).await? {
                    return Ok(Carried::Undecided);
                }
            }
        }
        let work = with(&ledger, |ledger| work(ledger, &matcher))?;
        anyhow::ensure!(
            reference.is_none() || work.remove.is_empty(),
            "the platform did not remove {} members; they are removed again",
            work.remove.len()
        );
        suppress_linked(engine, request, &work).await?;
        // The journal knows it also when an earlier try ended before it could be written down.
        let (members, at) = with(&ledger, |ledger| removed(ledger, &matcher))?;
        progressed.members = progressed.members.max(members);
        progressed.removed_at = progressed.removed_at.or(at);
        with(&ledger, |ledger| {
            for batch in [&work.remove, &work.refused].into_iter().filter(|batch| !batch.is_empty()) {
                ledger.erase(batch)?;
            }
            ledger.fold()
        })?;
        let left = with(&ledger, |ledger| traces(ledger, &matcher))?;
        anyhow::ensure!(!left.any(), "something of the person is still in the ledger, behind a batch that waits");
        let connector = engine.config.destination.get(name).map_or("unknown", |config| config.connector.as_str());
        Ok(Carried::Erased(Box::new(signer.sign(self.statement(connector, reference, progressed)))))
    }

    /// Whether the platform has removed everything; false while it has not decided.
    async fn remove(
        &self,
        destination: &Destination,
        reference: &AudienceRef,
        ledger: &Mutex<Ledger>,
        matcher: &super::suppression::Matcher,
        progressed: &mut Progressed,
    ) -> anyhow::Result<bool> {
        let clock = &*self.engine.clock;
        // A removal must not overtake an addition, and platforms do not keep requests in order.
        if confirm(destination, ledger, clock, self.progress, self.control, false).await?.pending > 0 {
            return Ok(false);
        }
        let work = with(ledger, |ledger| work(ledger, matcher))?;
        if work.remove.is_empty() {
            return Ok(true);
        }
        suppress_linked(self.engine, self.request, &work).await?;
        let members = work.remove.len() as u64;
        let most = destination.batch_members.max(1) as usize;
        let batches: Vec<_> = (0..work.remove.len())
            .step_by(most)
            .map(|from| Ok(work.remove.slice(from..(from + most).min(work.remove.len()))))
            .collect();
        let uploader = Uploader::new(
            destination,
            reference,
            ledger,
            clock,
            self.progress,
            self.control,
            Mode::Delta,
            Operation::Remove,
            members,
        );
        let (uploaded, failure) = uploader.run(batches.into_iter()).await;
        if let Some(error) = failure {
            return Err(error.into());
        }
        progressed.members = progressed.members.max(uploaded.accepted);
        progressed.removed_at = Some(clock.now());
        let tickets = with(ledger, |ledger| Ok(ledger.pending()))?;
        progressed.tickets.extend(tickets.into_iter().map(|batch| batch.ticket));
        progressed.tickets.dedup();
        if !work.shared.is_empty() {
            // Whoever shares an identifier has left the platform too: sent again by the next sync.
            with(ledger, |ledger| {
                let seq = ledger.intend(&work.shared)?;
                ledger.give_up(seq)
            })?;
        }
        anyhow::ensure!(
            uploaded.rejected.is_empty(),
            "the platform refused to remove {} members",
            members - uploaded.accepted
        );
        Ok(confirm(destination, ledger, clock, self.progress, self.control, false).await?.pending == 0)
    }

    fn statement(&self, connector: &str, reference: Option<AudienceRef>, progressed: &Progressed) -> Statement {
        let asynchronous =
            crate::connectors::find(connector).is_some_and(|known| known.descriptor.capabilities.asynchronous);
        let verdict = match (progressed.removed_at, asynchronous) {
            (None, _) => "nothing was there to remove",
            (Some(_), true) => "the platform confirmed that it applied the removal",
            (Some(_), false) => "the platform accepted the removal; it gives no later word",
        };
        Statement {
            version: 1,
            request: self.request.id.clone(),
            reference: self.request.reference.clone(),
            audience: self.target.audience.clone(),
            destination: self.target.destination.clone(),
            connector: connector.to_owned(),
            platform_audience: reference.map(|reference| reference.id),
            requested_at: self.request.requested_at,
            removed_at: progressed.removed_at,
            erased_at: self.engine.clock.now(),
            members_removed: progressed.members,
            tickets: progressed.tickets.clone(),
            verdict: verdict.to_owned(),
            not_covered: super::NOT_COVERED
                .iter()
                .copied()
                .chain(self.engine.ledgers.shared().into_iter().flat_map(|_| [OLD_GENERATIONS, COPIES]))
                .map(str::to_owned)
                .collect(),
        }
    }
}

fn with<T>(ledger: &Mutex<Ledger>, work: impl FnOnce(&mut Ledger) -> crate::ledger::Result<T>) -> anyhow::Result<T> {
    tokio::task::block_in_place(|| work(&mut ledger.lock().expect("no panic while the ledger is held")))
        .context("the ledger")
}

/// The receipt of a target that has one.
pub(crate) fn receipt_of(target: &ForgetTarget) -> Option<Value> {
    target.receipt.clone().filter(|_| target.state == State::Erased.name())
}

/// Why a target is not done.
pub(crate) fn error_of(target: &ForgetTarget) -> Option<String> {
    if target.state == State::Erased.name() { None } else { Progressed::of(target).error }
}
