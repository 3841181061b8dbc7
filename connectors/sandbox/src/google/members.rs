//! `audienceMembers:*`: the wire shapes and the checks that reject a whole request (fast-fail).

mod read;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) use self::read::Destination;
use self::read::{ConsentBody, Member, Reader, Terms};
use super::enums::{Encoding, TermsStatus};
use super::error::GoogleError;
use super::jobs::{Carrier, DestinationJob, Job, JobKind, Records};
use super::{Request, State};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct IngestRequest<'a> {
    #[serde(default)]
    destinations: Vec<Destination>,
    #[serde(borrow, default)]
    audience_members: Vec<Member<'a>>,
    consent: Option<ConsentBody>,
    #[serde(default)]
    validate_only: bool,
    encoding: Option<Encoding>,
    encryption_info: Option<Value>,
    terms_of_service: Option<Terms>,
}

/// Has neither request-level consent nor terms.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RemoveRequest<'a> {
    #[serde(default)]
    destinations: Vec<Destination>,
    #[serde(borrow, default)]
    audience_members: Vec<Member<'a>>,
    #[serde(default)]
    validate_only: bool,
    encoding: Option<Encoding>,
    encryption_info: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RemoveAllRequest {
    #[serde(default)]
    destinations: Vec<Destination>,
    remove_as_of_time: Option<DateTime<Utc>>,
    #[serde(default)]
    validate_only: bool,
}

fn check_key_types(state: &State, lists: &[u64], carrier: Carrier) -> Result<(), GoogleError> {
    for (i, id) in lists.iter().enumerate() {
        if state.lists.get(id).is_some_and(|list| list.key_type != carrier.key_type()) {
            let what = "The list takes another kind of data.";
            return Err(GoogleError::field(
                format!("destinations[{i}].product_destination_id"),
                "INVALID_USER_LIST_TYPE",
                what,
            ));
        }
    }
    Ok(())
}

fn accept(
    request: &Request<'_>,
    state: &mut State,
    kind: JobKind,
    destinations: Vec<Destination>,
    lists: Vec<u64>,
    records: Records,
    validate_only: bool,
) -> Result<Value, GoogleError> {
    let destinations = destinations.into_iter().zip(lists).map(|(d, list)| DestinationJob::new(d, list)).collect();
    let id = Job::accept(request.shared, request.struck, state, kind, destinations, records, validate_only);
    Ok(json!({"requestId": id}))
}

/// `POST audienceMembers:ingest`.
pub(crate) fn ingest(request: &Request<'_>, count: &mut usize) -> Result<Value, GoogleError> {
    request.only_query(&[])?;
    let body: IngestRequest<'_> = request.body()?;
    *count = body.audience_members.len();
    let accepted = body.terms_of_service.and_then(|t| t.customer_match_terms_of_service_status);
    if accepted != Some(TermsStatus::Accepted) {
        return Err(GoogleError::field(
            "terms_of_service.customer_match_terms_of_service_status",
            "TERMS_AND_CONDITIONS_NOT_SIGNED",
            "The Customer Match terms must be accepted.",
        ));
    }
    let mut reader =
        Reader { request, encoding: body.encoding, encrypted: body.encryption_info.is_some(), violations: Vec::new() };
    let mut records = reader.members(&body.audience_members, &body.destinations, body.consent)?;
    records.encrypted = reader.encrypted;
    let mut state = request.shared.google();
    let lists = reader.destinations(&state, &body.destinations, true)?;
    check_key_types(&state, &lists, records.carrier)?;
    if request.struck.has(&crate::FaultKind::Flagged) {
        for list in &lists {
            state.lists.entry(*list).and_modify(|l| l.open = false);
        }
    }
    let answer = accept(request, &mut state, JobKind::Ingest, body.destinations, lists, records, body.validate_only);
    answer.map(|mut body| {
        body["fieldWarnings"] = json!([]);
        body
    })
}

/// `POST audienceMembers:remove`.
pub(crate) fn remove(request: &Request<'_>, count: &mut usize) -> Result<Value, GoogleError> {
    request.only_query(&[])?;
    let body: RemoveRequest<'_> = request.body()?;
    *count = body.audience_members.len();
    let mut reader =
        Reader { request, encoding: body.encoding, encrypted: body.encryption_info.is_some(), violations: Vec::new() };
    let mut records = reader.members(&body.audience_members, &body.destinations, None)?;
    records.encrypted = reader.encrypted;
    let mut state = request.shared.google();
    let lists = reader.destinations(&state, &body.destinations, false)?;
    check_key_types(&state, &lists, records.carrier)?;
    accept(request, &mut state, JobKind::Remove, body.destinations, lists, records, body.validate_only)
}

/// `POST audienceMembers:removeAll`.
pub(crate) fn remove_all(request: &Request<'_>) -> Result<Value, GoogleError> {
    request.only_query(&[])?;
    let body: RemoveAllRequest = request.body()?;
    let now = request.shared.now();
    let as_of = body.remove_as_of_time.unwrap_or(now);
    if as_of > now {
        return Err(GoogleError::field("remove_as_of_time", "INVALID_REMOVE_AS_OF_TIME", "The time is in the future."));
    }
    let mut reader = Reader { request, encoding: None, encrypted: false, violations: Vec::new() };
    let mut state = request.shared.google();
    let lists = reader.destinations(&state, &body.destinations, false)?;
    let kind = JobKind::RemoveAll { as_of };
    accept(request, &mut state, kind, body.destinations, lists, Records::new(0), body.validate_only)
}
