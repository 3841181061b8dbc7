//! Accepted requests on their way: applied when their time has come, in the order in which they come due, which is not
//! the order in which they were sent; and `requestStatus:retrieve`.

use super::error::{GoogleError, Violation};
use super::members::Destination;
use super::{Request, State};
use crate::core::faults::FaultKind;
use crate::core::key::{Key, Kind, Rows, mix, unit};
use crate::core::people::People;
use crate::settings::Delays;
use crate::world::{Shared, Struck};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A status is kept so long.
const STATUS_DAYS: i64 = 50;

/// The European Economic Area.
const EEA: [&[u8; 2]; 30] = [
    b"AT", b"BE", b"BG", b"HR", b"CY", b"CZ", b"DK", b"EE", b"FI", b"FR", b"DE", b"GR", b"HU", b"IE", b"IS", b"IT",
    b"LI", b"LT", b"LU", b"LV", b"MT", b"NL", b"NO", b"PL", b"PT", b"RO", b"SE", b"SI", b"SK", b"ES",
];

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Carrier {
    Composite,
    User,
    Mobile,
    UserId,
}

impl Carrier {
    pub(crate) fn key_type(self) -> &'static str {
        match self {
            Carrier::Composite | Carrier::User => "CONTACT_ID",
            Carrier::Mobile => "MOBILE_ID",
            Carrier::UserId => "USER_ID",
        }
    }

    /// Stem of the status field's name.
    fn stem(self) -> &'static str {
        match self {
            Carrier::Composite => "compositeData",
            Carrier::User => "userData",
            Carrier::Mobile => "mobileData",
            Carrier::UserId => "userIdData",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Consent {
    Granted,
    Denied,
    Unknown,
    Missing,
}

/// The members of one request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Records {
    pub(crate) rows: Rows,
    pub(crate) carrier: Carrier,
    pub(crate) encrypted: bool,
    consents: Vec<Consent>,
    /// Bit per destination.
    masks: Vec<u16>,
    /// Region of a record's address, where it has one.
    regions: Vec<(u32, [u8; 2])>,
}

impl Records {
    pub(crate) fn new(records: usize) -> Self {
        Self {
            rows: Rows::with_capacity(records, 2),
            carrier: Carrier::Composite,
            encrypted: false,
            consents: Vec::with_capacity(records),
            masks: Vec::with_capacity(records),
            regions: Vec::new(),
        }
    }
    pub(crate) fn key(&mut self, key: Key) {
        self.rows.key(key);
    }
    pub(crate) fn region(&mut self, region: [u8; 2]) {
        let record = u32::try_from(self.rows.len()).expect("a request has at most 10,000 records");
        self.regions.push((record, region));
    }
    pub(crate) fn close(&mut self, consent: Consent, mask: u16) {
        self.rows.end_row();
        self.consents.push(consent);
        self.masks.push(mask);
    }

    /// Whether the person behind a record is taken to live in the EEA.
    fn in_eea(&self, record: usize, people: &People, assume: bool) -> bool {
        let known = self.rows.row(record).iter().find_map(|key| people.country(people.person(key)?));
        let index = u32::try_from(record).unwrap_or(u32::MAX);
        let stated = || self.regions.binary_search_by_key(&index, |(r, _)| *r).ok().map(|at| self.regions[at].1);
        known.or_else(stated).map_or(assume, |country| EEA.contains(&&country))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum JobKind {
    Ingest,
    Remove,
    RemoveAll { as_of: DateTime<Utc> },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DestinationJob {
    destination: Destination,
    list: u64,
    result: Option<Outcome>,
}

impl DestinationJob {
    pub(crate) fn new(destination: Destination, list: u64) -> Self {
        Self { destination, list, result: None }
    }
}

/// What became of a request at one destination.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Outcome {
    records: u64,
    processed: u64,
    matched: u64,
    identifiers: u64,
    /// E-mails, phones, addresses.
    kinds: [u64; 3],
    /// Reason → records.
    errors: Vec<(String, Vec<u32>)>,
    failed: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    kind: JobKind,
    created: DateTime<Utc>,
    ready_at: DateTime<Utc>,
    destinations: Vec<DestinationJob>,
    carrier: Carrier,
    /// Gone once applied.
    records: Option<Records>,
    /// Share of records that a fault refuses.
    partial: Option<f64>,
    will_fail: bool,
}

impl Job {
    /// Takes a checked request in and gives its id.
    pub(crate) fn accept(
        shared: &Shared,
        struck: &Struck,
        state: &mut State,
        kind: JobKind,
        destinations: Vec<DestinationJob>,
        records: Records,
        validate_only: bool,
    ) -> String {
        state.draws += 1;
        let seed = shared.settings.seed;
        let id = format!("{:016x}", mix(seed ^ 0x4A0B, state.draws));
        if validate_only {
            return id;
        }
        let now = shared.now();
        let delay =
            struck.slow().unwrap_or_else(|| Delays::draw(&shared.settings.delays.google_jobs_secs, seed, state.draws));
        let job = Job {
            kind,
            created: now,
            ready_at: now + delay,
            destinations,
            carrier: records.carrier,
            will_fail: struck.has(&FaultKind::FailedJob) || records.encrypted,
            records: Some(records),
            partial: struck.partial(),
        };
        state.jobs.insert(id.clone(), job);
        state.pending.push(id.clone());
        id
    }

    pub(crate) fn concerns(&self, list: u64) -> bool {
        self.destinations.iter().any(|d| d.list == list)
    }

    fn apply(&mut self, shared: &Shared, state_lists: &mut std::collections::BTreeMap<u64, super::lists::List>) {
        let (people, google) = (&shared.google_people, &shared.settings.google);
        let records = self.records.take().unwrap_or_else(|| Records::new(0));
        let added_ms = self.created.timestamp_millis();
        for (bit, destination) in self.destinations.iter_mut().enumerate() {
            let mut outcome = Outcome { failed: self.will_fail, ..Outcome::default() };
            let mut kept: Vec<&[Key]> = Vec::with_capacity(records.rows.len());
            for (i, row) in records.rows.iter().enumerate() {
                if records.masks[i] & (1 << bit) == 0 {
                    continue;
                }
                outcome.records += 1;
                outcome.identifiers += row.len() as u64;
                for key in row {
                    match key.kind {
                        Kind::Email => outcome.kinds[0] += 1,
                        Kind::Phone => outcome.kinds[1] += 1,
                        Kind::Address => outcome.kinds[2] += 1,
                        Kind::ExternId | Kind::MobileId | Kind::UserId => {}
                    }
                }
                let refused = match (self.kind, records.consents[i]) {
                    _ if self.will_fail => Some(if records.encrypted {
                        "PROCESSING_ERROR_REASON_DEK_DECRYPTION_ERROR"
                    } else {
                        "PROCESSING_ERROR_REASON_INTERNAL_ERROR"
                    }),
                    (_, _)
                        if self.partial.is_some_and(|share| {
                            row.first().is_some_and(|k| unit(shared.settings.seed, k.word()) < share)
                        }) =>
                    {
                        Some("PROCESSING_ERROR_REASON_UNSPECIFIED")
                    }
                    (JobKind::Remove, _) | (_, Consent::Granted) => None,
                    (_, Consent::Denied) => Some("PROCESSING_ERROR_REASON_DENIED_CONSENT"),
                    (_, _) if !records.in_eea(i, people, google.assume_eea) => None,
                    (_, Consent::Unknown) => Some("PROCESSING_ERROR_REASON_UNKNOWN_CONSENT"),
                    (_, Consent::Missing) => Some("PROCESSING_ERROR_REASON_NO_CONSENT"),
                };
                match refused {
                    None => kept.push(row),
                    Some(reason) => {
                        let index = u32::try_from(i).unwrap_or(u32::MAX);
                        match outcome.errors.iter_mut().find(|(r, _)| r == reason) {
                            Some((_, indices)) => indices.push(index),
                            None => outcome.errors.push((reason.to_owned(), vec![index])),
                        }
                    }
                }
            }
            outcome.processed = kept.len() as u64;
            if let Some(list) = state_lists.get_mut(&destination.list) {
                match self.kind {
                    _ if self.will_fail => {}
                    JobKind::Ingest => {
                        outcome.matched = list.members.add(kept.into_iter(), people, added_ms);
                        list.records += outcome.processed;
                        list.matched_records += outcome.matched;
                    }
                    JobKind::Remove => {
                        list.members.remove(kept.into_iter(), people);
                    }
                    JobKind::RemoveAll { as_of } => list.members.remove_before(as_of.timestamp_millis()),
                }
                let delay = Delays::draw(
                    &shared.settings.delays.google_sizes_secs,
                    shared.settings.seed,
                    list.id ^ list.records,
                );
                list.publish_at = list.publish_at.or(Some(self.ready_at + delay));
            } else {
                outcome.failed = true;
            }
            outcome.failed |= outcome.records > 0 && outcome.processed == 0;
            destination.result = Some(outcome);
        }
    }
}

impl State {
    /// Applies what is due, expires members, publishes sizes.
    pub(crate) fn settle(&mut self, shared: &Shared) {
        let now = shared.now();
        let State { lists, jobs, pending, .. } = self;
        let mut due: Vec<(DateTime<Utc>, String)> = pending
            .iter()
            .filter_map(|id| jobs.get(id).filter(|job| job.ready_at <= now).map(|job| (job.ready_at, id.clone())))
            .collect();
        if !due.is_empty() {
            due.sort();
            pending.retain(|id| due.binary_search_by(|(at, d)| (at, d).cmp(&(&jobs[id].ready_at, id))).is_err());
            for (_, id) in due {
                if let Some(job) = jobs.get_mut(&id) {
                    job.apply(shared, lists);
                }
            }
        }
        lists.values_mut().for_each(|list| list.settle(now));
    }
}

/// The bucket that holds a match rate of `matched` in `records`.
fn bucket(matched: u64, records: u64, minimum: u64) -> &'static str {
    if records < minimum || records == 0 {
        return "MATCH_RATE_RANGE_NOT_ELIGIBLE";
    }
    match matched * 100 / records {
        0..20 => "MATCH_RATE_RANGE_LESS_THAN_20",
        20..31 => "MATCH_RATE_RANGE_20_TO_30",
        31..41 => "MATCH_RATE_RANGE_31_TO_40",
        41..51 => "MATCH_RATE_RANGE_41_TO_50",
        51..61 => "MATCH_RATE_RANGE_51_TO_60",
        61..71 => "MATCH_RATE_RANGE_61_TO_70",
        71..81 => "MATCH_RATE_RANGE_71_TO_80",
        81..91 => "MATCH_RATE_RANGE_81_TO_90",
        _ => "MATCH_RATE_RANGE_91_TO_100",
    }
}

/// `GET requestStatus:retrieve`.
pub(crate) fn status(request: &Request<'_>) -> Result<Value, GoogleError> {
    request.only_query(&["requestId"])?;
    let id = request
        .query("requestId")
        .filter(|id| !id.is_empty())
        .ok_or_else(|| GoogleError::field("request_id", "REQUIRED_FIELD_MISSING", "Required."))?;
    let state = request.shared.google();
    let job = state.jobs.get(&id).ok_or_else(|| {
        let violation = Violation::new("request_id", "INVALID_REQUEST_ID", "No such request.");
        GoogleError::new(404, "NOT_FOUND", "Requested entity was not found.").with(violation)
    })?;
    if request.shared.now() - job.created > TimeDelta::days(STATUS_DAYS) {
        return Err(GoogleError::field("request_id", "REQUEST_TOO_OLD", "The status is no longer kept."));
    }
    let minimum = request.shared.settings.google.min_records_for_match_rate;
    let entries: Vec<Value> = job.destinations.iter().map(|d| entry(job, d, minimum)).collect();
    Ok(json!({"requestStatusPerDestination": entries}))
}

fn entry(job: &Job, destination: &DestinationJob, minimum: u64) -> Value {
    let Some(outcome) = &destination.result else {
        return json!({"destination": destination.destination, "requestStatus": "PROCESSING"});
    };
    let status = match (outcome.failed, outcome.errors.is_empty()) {
        (true, _) => "FAILED",
        (false, false) => "PARTIAL_SUCCESS",
        (false, true) => "SUCCESS",
    };
    let errors: Vec<Value> = outcome
        .errors
        .iter()
        .map(|(reason, indices)| json!({"recordCount": indices.len().to_string(), "reason": reason, "recordIndices": indices}))
        .collect();
    let mut entry = json!({
        "destination": destination.destination, "requestStatus": status,
        "errorInfo": {"errorCounts": errors}, "warningInfo": {"warningCounts": []},
    });
    let mut counts = json!({"recordCount": outcome.records.to_string()});
    match job.carrier {
        Carrier::Composite => {
            let names = ["EMAIL", "PHONE_NUMBER", "ADDRESS"];
            let kinds = names.iter().zip(outcome.kinds).filter(|(_, count)| *count > 0);
            counts["dataTypeCounts"] =
                kinds.map(|(name, count)| json!({"type": name, "count": count.to_string()})).collect();
        }
        Carrier::User => counts["userIdentifierCount"] = outcome.identifiers.to_string().into(),
        Carrier::Mobile => counts["mobileIdCount"] = outcome.identifiers.to_string().into(),
        Carrier::UserId => {}
    }
    match job.kind {
        JobKind::Ingest => {
            if matches!(job.carrier, Carrier::Composite | Carrier::User) {
                counts["uploadMatchRateRange"] = bucket(outcome.matched, outcome.processed, minimum).into();
            }
            entry["audienceMembersIngestionStatus"] = json!({format!("{}IngestionStatus", job.carrier.stem()): counts});
        }
        JobKind::Remove => {
            entry["audienceMembersRemovalStatus"] = json!({format!("{}RemovalStatus", job.carrier.stem()): counts});
        }
        JobKind::RemoveAll { .. } => entry["removeAllAudienceMembersStatus"] = json!({}),
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::bucket;

    #[test]
    fn rates_fall_into_the_documented_buckets() {
        for (matched, range) in [
            (199, "MATCH_RATE_RANGE_LESS_THAN_20"),
            (200, "MATCH_RATE_RANGE_20_TO_30"),
            (309, "MATCH_RATE_RANGE_20_TO_30"),
            (310, "MATCH_RATE_RANGE_31_TO_40"),
            (910, "MATCH_RATE_RANGE_91_TO_100"),
            (1000, "MATCH_RATE_RANGE_91_TO_100"),
        ] {
            assert_eq!(bucket(matched, 1000, 100), range, "{matched}");
        }
        assert_eq!(bucket(50, 99, 100), "MATCH_RATE_RANGE_NOT_ELIGIBLE");
    }
}
