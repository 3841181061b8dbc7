//! A request from its arrival to its end: suppressed at once, found in every ledger, removed target by target.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use reveil_sdk::MemberKey;
use serde::Serialize;
use serde_json::{Value, json};
use tracing::info;
use utoipa::ToSchema;

use super::find::{Work, look};
use super::identify::{Forms, Given, GivenFault, marks};
use super::remove::{error_of, receipt_of, remove_from};
use super::suppression::{Mark, Marker, Matcher};
use super::{JOB, State, Step};
use crate::assignment;
use crate::config::warehouse::Field;
use crate::store::claims::{JobEnd, Limits};
use crate::store::forget::{ForgetRequest, ForgetTarget};
use crate::store::jobs::{Job, NewJob};
use crate::store::model::RunState;
use crate::store::new_id;
use crate::sync::Engine;
use crate::sync::control::RunControl;
use crate::sync::engine::Scratch;
use crate::sync::progress::Progress;

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Given(Vec<GivenFault>),
    #[error("no identifier was given")]
    Empty,
    #[error("the reference is kept and shown: it must not name the person")]
    Reference,
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// A request as it is shown.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ForgetRequest)]
pub struct RequestStatus {
    pub id: String,
    pub reference: Option<String>,
    pub state: String,
    pub requested_at: chrono::DateTime<chrono::Utc>,
    pub requested_by: String,
    /// Identifiers given, by kind.
    #[schema(value_type = Object)]
    pub identifiers: Value,
    pub targets: Vec<TargetStatus>,
    /// One from each platform that has let go of them, signed by this installation.
    #[schema(value_type = Vec<Object>)]
    pub receipts: Vec<Value>,
    /// What no request can reach.
    #[schema(value_type = Vec<String>)]
    pub not_covered: &'static [&'static str],
}

/// One audience at one destination.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ForgetTarget)]
pub struct TargetStatus {
    pub audience: String,
    pub destination: String,
    pub state: String,
    pub attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub error: Option<String>,
}

/// Takes a request: from here on no sync sends the person. Finding and removing is the queue's.
///
/// # Errors
/// Identifiers that cannot be used (then nothing is done), the state's.
pub async fn request(
    engine: &Engine,
    given: &[Given],
    reference: Option<&str>,
    requested_by: &str,
) -> Result<ForgetRequest, RequestError> {
    if given.is_empty() {
        return Err(RequestError::Empty);
    }
    if reference.is_some_and(|reference| reference.len() > 200 || reference.contains('@')) {
        return Err(RequestError::Reference);
    }
    let secret = engine.member_key().map_err(anyhow::Error::from)?;
    let forms = forms(engine);
    let marks = marks(given, &forms, &Marker::new(&secret), &secret).map_err(RequestError::Given)?;
    let now = engine.clock.now();
    let all: Vec<u8> = marks.suppress.union(&marks.find).flatten().copied().collect();
    let request = ForgetRequest {
        id: new_id(now),
        reference: reference.map(str::to_owned),
        requested_at: now,
        requested_by: requested_by.to_owned(),
        state: State::Requested.name().to_owned(),
        detail: json!({ "identifiers": marks.counts, MATCH: STANDARD.encode(all) }),
    };
    let suppress: Vec<Vec<u8>> = marks.suppress.iter().map(|mark| mark.to_vec()).collect();
    let taken = async {
        engine.store.add_forget_request(&request, &[], &suppress).await?;
        let detail = json!({ "identifiers": marks.counts, "reference": reference });
        engine.store.audit(now, requested_by, "request_erasure", &request.id, &detail).await?;
        engine.store.enqueue(&job(&request.id, None, now), now).await
    };
    taken.await.map_err(anyhow::Error::from)?;
    Ok(request)
}

/// Runs among which those under way are looked for.
const RECENT_RUNS: u32 = 100;

/// The request's own marks, in its detail until it is done.
const MATCH: &str = "match";

fn forms(engine: &Engine) -> Forms {
    let mut countries = engine.config.erasure.countries.clone();
    let column = engine.config.warehouse.customers.as_ref().and_then(|customers| customers.country.as_ref());
    if let Some(Field::Literal(code)) = column {
        countries.push(code.clone());
    }
    Forms { options: engine.config.prepare.normalization(), countries }
}

fn job(request: &str, target: Option<(&str, &str)>, now: chrono::DateTime<chrono::Utc>) -> NewJob {
    let mut job = NewJob::new(JOB, now);
    job.payload = json!({ "request": request });
    job.dedup_key = Some(format!("{JOB}:{request}"));
    // Before any sync that waits.
    job.priority = 10;
    if let Some((audience, destination)) = target {
        job.dedup_key = Some(format!("{JOB}:{request}:{audience}:{destination}"));
        job.audience = Some(audience.to_owned());
        job.destination = Some(destination.to_owned());
        job.uses = vec![destination.to_owned()];
    }
    job
}

/// Works on a job of kind [`JOB`].
///
/// # Errors
/// The state's, or a ledger that cannot be read; try again later.
pub async fn work(
    engine: &Engine,
    job: &Job,
    control: &dyn RunControl,
    progress: &dyn Progress,
) -> anyhow::Result<Step> {
    let id = job.payload["request"].as_str().unwrap_or_default();
    let Some(request) = engine.store.forget_request(id).await? else { return Ok(Step::Done) };
    let (Some(audience), Some(destination)) = (&job.audience, &job.destination) else {
        find(engine, &request).await?;
        settle(engine, id).await?;
        return Ok(Step::Done);
    };
    let is_it = |target: &ForgetTarget| target.audience == *audience && target.destination == *destination;
    let target = engine.store.forget_targets(id).await?.into_iter().find(is_it);
    let Some(mut target) = target.filter(|target| target.state != State::Erased.name()) else {
        return Ok(Step::Done);
    };
    let step = remove_from(engine, &request, &mut target, control, progress).await?;
    settle(engine, id).await?;
    Ok(step)
}

/// Carries a request as far as it goes now, in this process: takes its jobs out of the queue by the rules that hold for
/// every worker, as `owner`. What somebody else works on is left to them.
///
/// # Errors
/// The state's, or a ledger that cannot be read.
pub async fn carry_out(
    engine: &Engine,
    id: &str,
    owner: &str,
    control: &dyn RunControl,
    progress: &dyn Progress,
) -> anyhow::Result<RequestStatus> {
    let request =
        engine.store.forget_request(id).await?.ok_or_else(|| anyhow::anyhow!("there is no request `{id}`"))?;
    find(engine, &request).await?;
    for target in engine.store.forget_targets(id).await? {
        if target.state != State::Erased.name() {
            let wanted = job(id, Some((&target.audience, &target.destination)), engine.clock.now());
            take_up(engine, &wanted, owner, control, progress).await?;
        }
    }
    settle(engine, id).await?;
    status(engine, id).await
}

/// Between two signs of life of a job in the foreground, and how long it is believed alive without.
const BEAT: std::time::Duration = std::time::Duration::from_secs(20);
const LEASE: TimeDelta = TimeDelta::seconds(120);
/// Before the queue tries again what failed here.
const RETRY: TimeDelta = TimeDelta::minutes(5);

async fn take_up(
    engine: &Engine,
    wanted: &NewJob,
    owner: &str,
    control: &dyn RunControl,
    progress: &dyn Progress,
) -> anyhow::Result<()> {
    let now = engine.clock.now();
    let queued = engine.store.enqueue(wanted, now).await?.job;
    // It may be waiting for its next try.
    engine.store.bring_forward(&queued.id, now).await?;
    let Some(claim) = engine.store.claim_job(&queued.id, owner, LEASE, now, &Limits::default()).await? else {
        progress.note(&format!(
            "{}: another run has {}; the erasure there follows it",
            wanted.destination.as_deref().unwrap_or_default(),
            wanted.audience.as_deref().unwrap_or_default()
        ));
        return Ok(());
    };
    let step = {
        let mut engine = engine.clone();
        engine.store = engine.store.fenced(claim.fence());
        let work = work(&engine, &claim.job, control, progress);
        tokio::pin!(work);
        loop {
            tokio::select! {
                step = &mut work => break step,
                () = tokio::time::sleep(BEAT) => {
                    let held = engine.store.heartbeat(&claim, LEASE, engine.clock.now()).await?;
                    anyhow::ensure!(held, "another worker has taken over the erasure at this destination");
                }
            }
        }
    };
    let now = engine.clock.now();
    match step {
        Ok(Step::Done) => engine.store.finish(&claim, &JobEnd::Done(json!({})), now).await?,
        Ok(Step::Later(pause)) => engine.store.release(&claim, now + pause, None).await?,
        Ok(Step::Again(why)) => engine.store.release(&claim, now + RETRY, Some(&why)).await?,
        Err(error) => {
            engine.store.release(&claim, now + RETRY, Some(&error.to_string())).await?;
            return Err(error);
        }
    };
    Ok(())
}

/// Looks through every ledger there is and writes down where the person is; queues a job for each place.
async fn find(engine: &Engine, request: &ForgetRequest) -> anyhow::Result<()> {
    if request.state != State::Requested.name() {
        return Ok(());
    }
    let mut matcher = open_matcher(engine, request)?;
    let places = places(engine).await?;
    let temp = Scratch::fixed(&engine.config.state_dir.join(format!("erasure-{}", std::process::id())))?;
    let mut found: Vec<(String, String)>;
    let mut members: HashSet<MemberKey> = HashSet::new();
    loop {
        found = Vec::new();
        let mut keys = Vec::new();
        tokio::task::block_in_place(|| -> crate::ledger::Result<()> {
            for (audience, destination) in &places {
                let traces = look(&engine.ledgers, (audience, destination), temp.path(), &matcher)?;
                if traces.any() {
                    found.push((audience.clone(), destination.clone()));
                }
                keys.extend(traces.keys);
            }
            Ok(())
        })?;
        // Whoever was found by one identifier is looked for by their key too, in every other ledger.
        let new: Vec<MemberKey> = keys.into_iter().filter(|key| matcher.add_member(*key).is_some()).collect();
        if new.is_empty() {
            break;
        }
        members.extend(new);
    }
    // A run that is under way has read who is suppressed before this request came, and may send the person yet: its
    // ledgers are looked at again when it has ended.
    for run in engine.store.runs(None, RECENT_RUNS).await? {
        if run.state == RunState::Running {
            found.extend(places.iter().filter(|(audience, _)| *audience == run.audience).cloned());
        }
    }
    found.sort();
    found.dedup();
    let now = engine.clock.now();
    let marks: Vec<Vec<u8>> =
        members.iter().map(|key| matcher.marker.mark(super::suppression::Tag::Member, &key.0).to_vec()).collect();
    engine.store.suppress(&marks, &request.id, now).await?;
    let mut detail = request.detail.clone();
    detail[MATCH] = STANDARD.encode(matcher.marks.iter().flatten().copied().collect::<Vec<u8>>()).into();
    let known = engine.store.forget_targets(&request.id).await?;
    for (audience, destination) in &found {
        // Another process looked too.
        if known.iter().any(|known| known.audience == *audience && known.destination == *destination) {
            continue;
        }
        let target = ForgetTarget {
            request_id: request.id.clone(),
            audience: audience.clone(),
            destination: destination.clone(),
            state: State::Requested.name().to_owned(),
            attempts: 0,
            receipt: None,
        };
        engine.store.save_forget_target(&target).await?;
    }
    engine.store.set_forget_state(&request.id, State::Removing.name(), &detail).await?;
    for (audience, destination) in &found {
        engine.store.enqueue(&job(&request.id, Some((audience, destination)), now), now).await?;
    }
    info!(request = request.id, ledgers = places.len(), targets = found.len(), "Looked for a person to be erased");
    Ok(())
}

/// Every audience and destination that ever was: of the config, with a platform's id, or with a ledger.
async fn places(engine: &Engine) -> anyhow::Result<Vec<(String, String)>> {
    let mut places = std::collections::BTreeSet::new();
    for (key, audience) in &engine.config.audience {
        places.extend(audience.destinations.iter().map(|destination| (key.clone(), destination.clone())));
    }
    places.extend(
        engine.store.known_audiences().await?.into_iter().map(|(audience, destination, _)| (audience, destination)),
    );
    places.extend(engine.ledgers.list()?);
    Ok(places.into_iter().collect())
}

/// The person of a request, as its marks.
pub(crate) fn open_matcher(engine: &Engine, request: &ForgetRequest) -> anyhow::Result<Matcher> {
    let marker = Marker::new(&engine.member_key()?);
    let text = request.detail[MATCH].as_str().unwrap_or_default();
    let bytes = STANDARD.decode(text).map_err(|_| anyhow::anyhow!("request {} is damaged in the state", request.id))?;
    let marks = bytes.as_chunks::<32>().0.iter().copied().collect::<HashSet<Mark>>();
    Ok(Matcher { marker, marks })
}

/// What was sent with the person is left out from now on, whoever holds it.
pub(crate) async fn suppress_linked(engine: &Engine, request: &ForgetRequest, work: &Work) -> anyhow::Result<()> {
    let marks: Vec<Vec<u8>> = work.linked.iter().map(|mark| mark.to_vec()).collect();
    Ok(engine.store.suppress(&marks, &request.id, engine.clock.now()).await?)
}

/// Brings the request's state up to its targets'; the last one erased, the rest of what lies here goes too.
async fn settle(engine: &Engine, id: &str) -> anyhow::Result<()> {
    let Some(request) = engine.store.forget_request(id).await? else { return Ok(()) };
    if request.state == State::Requested.name() || request.state == State::Erased.name() {
        return Ok(());
    }
    let targets = engine.store.forget_targets(id).await?;
    let is = |target: &ForgetTarget, state: State| target.state == state.name();
    let mut detail = request.detail.clone();
    let state = if targets.iter().all(|target| is(target, State::Erased)) {
        let matcher = open_matcher(engine, &request)?;
        let mut audiences: Vec<String> = places(engine).await?.into_iter().map(|(audience, _)| audience).collect();
        audiences.dedup();
        for audience in audiences {
            tokio::task::block_in_place(|| {
                assignment::erase(&engine.ledgers, &audience, |key| matcher.is_member(key))
            })?;
        }
        if let Some(fields) = detail.as_object_mut() {
            fields.remove(MATCH);
        }
        State::Erased
    } else if targets.iter().all(|target| is(target, State::Erased) || is(target, State::Waiting)) {
        State::Waiting
    } else {
        State::Removing
    };
    if state.name() == request.state {
        return Ok(());
    }
    engine.store.set_forget_state(id, state.name(), &detail).await?;
    if state == State::Erased {
        let detail = json!({ "targets": targets.len() });
        engine.store.audit(engine.clock.now(), &request.requested_by, "erasure_done", id, &detail).await?;
    }
    Ok(())
}

/// # Errors
/// There is no such request; the state's.
pub async fn status(engine: &Engine, id: &str) -> anyhow::Result<RequestStatus> {
    let request =
        engine.store.forget_request(id).await?.ok_or_else(|| anyhow::anyhow!("there is no request `{id}`"))?;
    let targets = engine.store.forget_targets(id).await?;
    Ok(show(request, &targets))
}

/// A request with its targets as it may be shown.
pub fn show(request: ForgetRequest, targets: &[ForgetTarget]) -> RequestStatus {
    RequestStatus {
        identifiers: request.detail["identifiers"].clone(),
        id: request.id,
        reference: request.reference,
        state: request.state,
        requested_at: request.requested_at,
        requested_by: request.requested_by,
        receipts: targets.iter().filter_map(receipt_of).collect(),
        targets: targets
            .iter()
            .map(|target| TargetStatus {
                audience: target.audience.clone(),
                destination: target.destination.clone(),
                state: target.state.clone(),
                attempts: target.attempts,
                error: error_of(target),
            })
            .collect(),
        not_covered: super::NOT_COVERED,
    }
}
