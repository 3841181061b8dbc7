//! What is known of matching after an upload.
//!
//! The only numerator Meta gives is `num_matched` of an upload session: entries, not persons. With one row per person
//! it is exact. With more rows than persons, one person may be matched by several rows, so it only bounds them. Where
//! Meta leaves it out, the rounded size of the audience bounds the rate. Sources: reference/custom-audience-session,
//! reference/custom-audience.
//!
//! An open session reads `end_time` 0, `num_matched` -1, `progress` 0, `stage` uploading, and some stay so
//! (facebook-java-business-sdk issue 492): after a day they count as silent. Which words `stage` ends with is
//! UNVERIFIED, so the end time or the progress decide as well.

use chrono::{DateTime, TimeDelta, Utc};
use reveil_sdk::{AudienceRef, Context, MatchKind, MatchObservation, Result, UploadSummary};

use crate::error::operation;
use crate::wire::{Audience, Page, Session};
use crate::{MATCH_DEFINITION, Meta, status};

const FIELDS: &str = "session_id,num_received,num_invalid_entries,num_matched,progress,stage,start_time,end_time";
const FINAL_STAGES: [&str; 6] = ["finished", "complete", "completed", "done", "success", "succeeded"];
/// Changes show within a day.
const SETTLE_HOURS: i64 = 24;

const BOUNDS_DEFINITION: &str = "Rounded size Meta reports for the whole audience (approximate_count bounds), over the \
     persons believed to be in it; an estimate, and people brought in by others count too.";
const PENDING_DEFINITION: &str = "Meta has not finished with the upload, or gives no figure yet; ask again 24 hours \
     after it.";
const COUNT_DEFINITION: &str = "Meta reports more matched entries than were sent, so no rate can be made of them.";

/// What a session says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Matched(u64),
    Unfinished,
    Nothing,
}

pub(crate) async fn observe(
    meta: &Meta,
    cx: &Context<'_>,
    audience: &AudienceRef,
    upload: &UploadSummary,
) -> Result<Vec<MatchObservation>> {
    let now = cx.clock.now();
    let mut said = Vec::with_capacity(upload.sessions.len());
    for session_id in &upload.sessions {
        said.push(match session(meta, cx, &audience.id, *session_id).await? {
            Some(session) => read(&session, now),
            None => Said::Nothing,
        });
    }
    let audience = status::fetch(meta, cx, &audience.id).await?;
    let by_size = by_size(&audience, upload, now);
    if said.contains(&Said::Unfinished) {
        return Ok(vec![pending(upload, now)]);
    }
    let matched = said.iter().try_fold(0u64, |sum, said| match said {
        Said::Matched(count) => Some(sum.saturating_add(*count)),
        _ => None,
    });
    let by_session =
        matched.filter(|_| !said.is_empty() && upload.persons > 0).map(|count| by_session(count, upload, now));
    let readings: Vec<_> = by_session.into_iter().chain(by_size).collect();
    Ok(if readings.is_empty() { vec![pending(upload, now)] } else { readings })
}

/// A session of the audience by our number; `None` when Meta does not know it.
pub(crate) async fn session(meta: &Meta, cx: &Context<'_>, audience: &str, session_id: u64) -> Result<Option<Session>> {
    let wanted = session_id.to_string();
    let call = meta.get(operation::SESSIONS, &[audience, "sessions"], &[("fields", FIELDS), ("session_id", &wanted)]);
    let page: Page<Session> = cx.fetch(call, &meta.replies).await?;
    Ok(page.data.into_iter().find(|session| session.session_id == i64::try_from(session_id).ok()))
}

fn read(session: &Session, now: DateTime<Utc>) -> Said {
    let matched = session.num_matched.and_then(|count| u64::try_from(count).ok());
    let closed = session.end_time.is_some_and(|at| at > 0);
    let finished = session.progress.is_some_and(|percent| percent >= 100.0)
        || session.stage.as_deref().is_some_and(|stage| FINAL_STAGES.contains(&stage.to_ascii_lowercase().as_str()))
        || (closed && matched.is_some());
    let silent = session.progress.is_none() && session.stage.is_none() && session.end_time.is_none();
    let old = session
        .start_time
        .and_then(|at| DateTime::from_timestamp(at, 0))
        .is_some_and(|at| now - at > TimeDelta::hours(SETTLE_HOURS));
    match matched {
        Some(count) if finished || silent => Said::Matched(count),
        _ if finished || silent || old => Said::Nothing,
        _ => Said::Unfinished,
    }
}

fn by_session(matched: u64, upload: &UploadSummary, now: DateTime<Utc>) -> MatchObservation {
    let persons = upload.persons;
    let rows = upload.rows.max(persons);
    let ratio = |count: u64| Some(count.min(persons) as f64 / persons as f64);
    let (kind, low, high, definition) = if matched > rows {
        (MatchKind::Count, None, None, COUNT_DEFINITION)
    } else if rows == persons {
        (MatchKind::Exact, ratio(matched), ratio(matched), MATCH_DEFINITION)
    } else {
        (MatchKind::Bounds, ratio(matched.saturating_sub(rows - persons)), ratio(matched), MATCH_DEFINITION)
    };
    MatchObservation {
        as_of: now,
        sent: persons,
        kind,
        low,
        high,
        matched: Some(matched),
        definition: definition.into(),
    }
}

/// Bounds from the rounded size; `None` while the audience is being filled or its size is unknown.
fn by_size(audience: &Audience, upload: &UploadSummary, now: DateTime<Utc>) -> Option<MatchObservation> {
    let filling =
        matches!(status::operation_code(audience), Some(status::EMPTY | status::REPLACING | status::POPULATING));
    let size = status::size(audience).filter(|size| size.high != Some(0))?;
    if filling || upload.audience_persons == 0 {
        return None;
    }
    let ratio = |count: u64| (count as f64 / upload.audience_persons as f64).min(1.0);
    Some(MatchObservation {
        as_of: now,
        sent: upload.audience_persons,
        kind: MatchKind::Bounds,
        low: size.low.map(ratio),
        high: size.high.map(ratio),
        matched: None,
        definition: BOUNDS_DEFINITION.into(),
    })
}

fn pending(upload: &UploadSummary, now: DateTime<Utc>) -> MatchObservation {
    MatchObservation {
        as_of: now,
        sent: upload.persons,
        kind: MatchKind::Pending,
        low: None,
        high: None,
        matched: None,
        definition: PENDING_DEFINITION.into(),
    }
}
