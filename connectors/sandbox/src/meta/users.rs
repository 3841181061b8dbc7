//! Members: add, remove, replace, and removal from every audience of an account.

use super::account::{check, signed_terms};
use super::audience::{Audience, Replacing};
use super::error::MetaError;
use super::payload::{Payload, Upload};
use super::sessions::{Batch, Purpose, Session, SessionParam};
use super::{ExternRow, Request, State};
use crate::core::faults::FaultKind;
use crate::core::key::{Key, Kind, Rows, mix};
use crate::core::members::Members;
use crate::settings::Delays;
use serde_json::{Value, json};

/// An external id stands for its person so long.
const EXTERN_ID_MS: i64 = 90 * 86_400_000;
/// Larger audiences cannot be replaced.
const MAX_REPLACEABLE: usize = 100_000_000;

fn read(request: &Request<'_>, members: &mut usize) -> Result<(Upload, Option<Batch>), MetaError> {
    request.params.only(&["payload", "session", "customer_consent"])?;
    let payload: Payload<'_> = request
        .params
        .json("payload")?
        .ok_or_else(|| MetaError::invalid("The parameter payload is required").blame("payload"))?;
    let upload = payload.read(request.shared, request.struck)?;
    *members = usize::try_from(upload.received).unwrap_or(usize::MAX);
    let batch = request.params.json::<SessionParam>("session")?.map(SessionParam::read).transpose()?;
    Ok((upload, batch))
}

/// Checks an audience before members are written to it.
fn admit(request: &Request<'_>, state: &mut State, upload: &Upload, batch: Option<Batch>) -> Result<u64, MetaError> {
    let shared = request.shared;
    let id = request.audience_id()?;
    let audience = state.audience(shared, id)?;
    if !signed_terms(shared, &audience.account) {
        return Err(MetaError::terms());
    }
    if request.struck.has(&FaultKind::Flagged) && audience.flagged.is_empty() {
        audience.flagged.push("name".into());
    }
    audience.refuse_flagged(true)?;
    if let Some(source) = audience.data_source
        && source != upload.source
    {
        let message = format!(
            "(#2650) Audience data source FILE_IMPORTED.{} does not support uploads of type FILE_IMPORTED.{}",
            source.name(),
            upload.source.name()
        );
        return Err(MetaError::new(2650, message));
    }
    if upload.value_based != audience.is_value_based && upload.value_based {
        return Err(MetaError::invalid("LOOKALIKE_VALUE needs an audience created with is_value_based"));
    }
    let account = audience.account.clone();
    if let Some(batch) = batch
        && state
            .audiences
            .values()
            .any(|a| a.id != id && a.account == account && a.sessions.contains_key(&batch.session))
    {
        return Err(
            MetaError::invalid("session.session_id was used for another audience of this ad account").blame("session")
        );
    }
    Ok(id)
}

/// `POST|DELETE <audience>/users`.
pub(crate) fn add_or_remove(request: &Request<'_>, add: bool, members: &mut usize) -> Result<Value, MetaError> {
    let shared = request.shared;
    let (upload, batch) = read(request, members)?;
    let mut state = shared.meta();
    let id = admit(request, &mut state, &upload, batch)?;
    let purpose = if add { Purpose::Add } else { Purpose::Remove };
    let audience = state.audience(shared, id)?;
    audience.refuse_replacing()?;
    if let Some(batch) = batch {
        let session = audience
            .sessions
            .entry(batch.session)
            .or_insert_with(|| Session::open(shared, purpose, batch.session, request.struck.slow()));
        if session.purpose != purpose {
            return Err(MetaError::invalid("this session was begun by another kind of call").blame("session"));
        }
        session.refuse_closed(batch)?;
    }
    let account = audience.account.clone();
    let now_ms = shared.now().timestamp_millis();
    let matched = if add {
        remember_extern_ids(&mut state, &account, &upload.rows, now_ms);
        let audience = state.audience(shared, id)?;
        audience.data_source = Some(upload.source);
        audience.members.extend(&upload.rows, &shared.meta_people, now_ms)
    } else {
        let rows = resolved(&state, &account, &upload.rows, now_ms);
        state.audience(shared, id)?.members.remove(rows.iter(), &shared.meta_people)
    };
    let audience = state.audience(shared, id)?;
    finish(request, audience, &upload, batch, matched)
}

/// `POST <audience>/usersreplace`.
pub(crate) fn replace(request: &Request<'_>, members: &mut usize) -> Result<Value, MetaError> {
    let shared = request.shared;
    let (upload, batch) = read(request, members)?;
    let batch = batch.ok_or_else(|| MetaError::invalid("The parameter session is required").blame("session"))?;
    let now = shared.now();
    let mut state = shared.meta();
    let id = admit(request, &mut state, &upload, Some(batch))?;
    let audience = state.audience(shared, id)?;
    let wrong_first = |what: &str| MetaError::new(2650, format!("(#2650) {what}")).sub(1_870_147);
    match audience.sessions.get(&batch.session) {
        Some(session) if session.purpose != Purpose::Replace => {
            return Err(MetaError::invalid("this session was begun by another kind of call").blame("session"));
        }
        Some(session) => {
            session.refuse_closed(batch)?;
            if batch.seq == 1 {
                return Err(wrong_first("Batch 1 of this replacement already arrived"));
            }
        }
        None => {
            audience.refuse_replacing()?;
            if batch.seq != 1 {
                return Err(wrong_first("A replacement begins with batch_seq 1"));
            }
            if audience.members.held() >= MAX_REPLACEABLE {
                return Err(MetaError::new(2650, "(#2650) The audience is too large to be replaced").sub(1_870_144));
            }
            if upload.value_based != audience.is_value_based {
                return Err(MetaError::new(
                    2650,
                    "(#2650) A replacement cannot change whether an audience is value-based",
                ));
            }
            let session = Session::open(shared, Purpose::Replace, batch.session, request.struck.slow());
            audience.sessions.insert(batch.session, session);
            audience.replacing = Some(Replacing {
                session: batch.session,
                started: now,
                schema: upload.schema.clone(),
                staged: Members::default(),
                done_at: None,
                will_fail: false,
            });
            audience.data_source = Some(upload.source);
        }
    }
    let Some(run) = audience.replacing.as_mut().filter(|run| run.session == batch.session) else {
        return audience.refuse_replacing().and(Err(wrong_first("This replacement is not running")));
    };
    if run.schema != upload.schema {
        return Err(MetaError::new(2650, "(#2650) Every batch of a replacement has the same schema"));
    }
    let matched = run.staged.extend(&upload.rows, &shared.meta_people, now.timestamp_millis());
    run.will_fail |= request.struck.has(&FaultKind::FailedJob);
    if batch.last {
        let delays = &shared.settings.delays;
        let delay = Delays::draw(&delays.meta_replace_secs, shared.settings.seed, batch.session);
        run.done_at = Some(now + request.struck.slow().unwrap_or(delay));
    }
    finish(request, audience, &upload, Some(batch), matched)
}

/// `DELETE act_<id>/usersofanyaudience`.
pub(crate) fn erase(request: &Request<'_>, members: &mut usize) -> Result<Value, MetaError> {
    let shared = request.shared;
    check(shared, request.object)?;
    let (upload, batch) = read(request, members)?;
    let now_ms = shared.now().timestamp_millis();
    let mut state = shared.meta();
    // Without signed terms the documents warn of a silent no-op.
    if signed_terms(shared, request.object) {
        let rows = resolved(&state, request.object, &upload.rows, now_ms);
        let ids: Vec<u64> = state.audiences.values().filter(|a| a.account == request.object).map(|a| a.id).collect();
        for id in ids {
            let audience = state.audience(shared, id)?;
            if audience.members.remove(rows.iter(), &shared.meta_people) > 0 {
                audience.touch(shared, request.struck.slow());
            }
        }
    }
    let session = batch.map_or(mix(shared.settings.seed, state.draws) >> 1, |b| b.session);
    Ok(json!({
        "session_id": session.to_string(), "num_received": upload.received,
        "num_invalid_entries": upload.invalid, "invalid_entry_samples": {},
    }))
}

/// Books an accepted upload and words the reply.
fn finish(
    request: &Request<'_>,
    audience: &mut Audience,
    upload: &Upload,
    batch: Option<Batch>,
    matched: u64,
) -> Result<Value, MetaError> {
    let shared = request.shared;
    let mut counts = (upload.received, upload.invalid);
    let mut session_id = mix(shared.settings.seed, audience.id ^ audience.uploads) >> 1;
    if let Some(batch) = batch {
        session_id = batch.session;
        if let Some(session) = audience.sessions.get_mut(&batch.session) {
            session.count(batch, upload, matched, shared.now());
            counts = (session.received, session.invalid);
        }
    }
    audience.last_counts = counts;
    audience.touch(shared, request.struck.slow());
    // The reference shows a map, the guide an array: clients meet both.
    let samples = match audience.uploads % 2 {
        0 => json!(upload.samples),
        _ => {
            upload.samples.iter().map(|s| (s.clone(), json!("Invalid entry"))).collect::<serde_json::Map<_, _>>().into()
        }
    };
    Ok(json!({
        "audience_id": audience.id.to_string(),
        "session_id": session_id.to_string(),
        "num_received": counts.0,
        "num_invalid_entries": upload.invalid,
        "invalid_entry_samples": samples,
    }))
}

fn remember_extern_ids(state: &mut State, account: &str, rows: &Rows, now_ms: i64) {
    if !rows.keys().iter().any(|key| key.kind == Kind::ExternId) {
        return;
    }
    let known = state.extern_ids.entry(account.to_owned()).or_default();
    for row in rows.iter() {
        let Some(id) = row.iter().find(|key| key.kind == Kind::ExternId) else { continue };
        let keys: Vec<Key> = row.iter().copied().filter(|key| key.kind != Kind::ExternId).collect();
        if !keys.is_empty() {
            known.insert(*id, ExternRow { keys, at_ms: now_ms });
        }
    }
}

/// Rows to remove, those that name an external id alone widened to whom it stands for.
fn resolved(state: &State, account: &str, rows: &Rows, now_ms: i64) -> Vec<Vec<Key>> {
    let known = state.extern_ids.get(account);
    let widened = rows.iter().map(|row| match row {
        [id] if id.kind == Kind::ExternId => {
            let meant = known.and_then(|k| k.get(id)).filter(|r| now_ms - r.at_ms <= EXTERN_ID_MS);
            let mut keys = vec![*id];
            keys.extend(meant.iter().flat_map(|r| r.keys.iter().copied()));
            keys
        }
        _ => row.to_vec(),
    });
    widened.collect()
}
