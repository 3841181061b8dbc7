//! Upload sessions: what they accept, when they close, and what Meta tells of them afterwards.

use super::Request;
use super::error::MetaError;
use super::payload::Upload;
use crate::settings::Delays;
use crate::world::Shared;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// A session closes so long after its first batch.
pub(crate) const SESSION_MS: i64 = 90 * 60 * 1000;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    Add,
    Remove,
    Replace,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) purpose: Purpose,
    started: DateTime<Utc>,
    ended: Option<DateTime<Utc>>,
    timed_out: bool,
    batches: BTreeSet<u64>,
    pub(crate) received: u64,
    pub(crate) invalid: u64,
    matched: u64,
    /// `num_matched` shows from here on.
    matched_at: DateTime<Utc>,
}

/// The `session` parameter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionParam {
    session_id: Whole,
    batch_seq: Whole,
    #[serde(default)]
    last_batch_flag: Truth,
    #[serde(rename = "estimated_num_total")]
    _estimated: Option<Whole>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Whole {
    Number(u64),
    Text(String),
}

impl Whole {
    fn value(&self) -> Option<u64> {
        let value = match self {
            Whole::Number(n) => Some(*n),
            Whole::Text(text) => text.parse().ok(),
        };
        value.filter(|n| *n > 0 && i64::try_from(*n).is_ok())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum Truth {
    #[default]
    Absent,
    Plain(bool),
    Text(String),
}

/// A session parameter understood.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    pub(crate) session: u64,
    pub(crate) seq: u64,
    pub(crate) last: bool,
}

impl SessionParam {
    pub(crate) fn read(self) -> Result<Batch, MetaError> {
        let bad = |what: &str| MetaError::invalid(what).blame("session");
        Ok(Batch {
            session: self
                .session_id
                .value()
                .ok_or_else(|| bad("session.session_id must be a positive 64-bit integer"))?,
            seq: self.batch_seq.value().ok_or_else(|| bad("session.batch_seq must be a positive integer"))?,
            last: match self.last_batch_flag {
                Truth::Absent => false,
                Truth::Plain(last) => last,
                Truth::Text(text) if text == "true" || text == "false" => text == "true",
                Truth::Text(_) => return Err(bad("session.last_batch_flag must be a boolean")),
            },
        })
    }
}

impl Session {
    pub(crate) fn open(shared: &Shared, purpose: Purpose, id: u64, slow: Option<TimeDelta>) -> Self {
        let now = shared.now();
        let delays = &shared.settings.delays;
        let delay = slow.unwrap_or_else(|| Delays::draw(&delays.meta_matches_secs, shared.settings.seed, id));
        Self {
            purpose,
            started: now,
            ended: None,
            timed_out: false,
            batches: BTreeSet::new(),
            received: 0,
            invalid: 0,
            matched: 0,
            matched_at: now + delay,
        }
    }

    pub(crate) fn settle(&mut self, now: DateTime<Utc>) {
        let limit = self.started + TimeDelta::milliseconds(SESSION_MS);
        if self.ended.is_none() && limit <= now {
            self.ended = Some(limit);
            self.timed_out = true;
        }
    }

    pub(crate) fn has(&self, seq: u64) -> bool {
        self.batches.contains(&seq)
    }

    /// Refuses a batch of a session that is over. A batch that already arrived may be sent again: a client whose
    /// reply was lost has no other way.
    pub(crate) fn refuse_closed(&self, batch: Batch) -> Result<(), MetaError> {
        match (self.ended, self.timed_out) {
            (None, _) => Ok(()),
            (Some(_), true) => Err(MetaError::new(2650, "(#2650) The upload session timed out").sub(1_870_158)),
            (Some(_), false) if self.purpose != Purpose::Replace && self.has(batch.seq) => Ok(()),
            (Some(_), false) => Err(MetaError::new(2650, "(#2650) The upload session is finished").sub(1_870_159)),
        }
    }

    pub(crate) fn count(&mut self, batch: Batch, upload: &Upload, matched: u64, now: DateTime<Utc>) {
        self.batches.insert(batch.seq);
        self.received += upload.received;
        self.invalid += upload.invalid;
        self.matched += matched;
        if batch.last {
            self.ended = self.ended.or(Some(now));
        }
    }

    fn node(&self, id: u64, now: DateTime<Utc>, fields: &[String]) -> Value {
        let done = self.ended.is_some() && self.matched_at <= now;
        let all = [
            ("session_id", Some(id.to_string())),
            ("num_received", Some(self.received.to_string())),
            ("num_invalid_entries", Some(self.invalid.to_string())),
            ("num_matched", done.then(|| self.matched.to_string())),
            ("progress", Some(if done { "100" } else { "0" }.to_owned())),
            (
                "stage",
                Some(
                    if done {
                        "DONE"
                    } else if self.ended.is_some() {
                        "PROCESSING"
                    } else {
                        "RECEIVING"
                    }
                    .to_owned(),
                ),
            ),
            ("start_time", Some(self.started.timestamp().to_string())),
            ("end_time", self.ended.map(|at| at.timestamp().to_string())),
        ];
        let wanted = |name: &str| fields.is_empty() || name == "session_id" || fields.iter().any(|f| f == name);
        let pairs = all.into_iter().filter(|(name, _)| wanted(name));
        Value::Object(
            pairs.filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?)))).collect::<Map<_, _>>(),
        )
    }
}

/// `GET <audience>/sessions`.
pub(crate) fn read(request: &Request<'_>) -> Result<Value, MetaError> {
    let (shared, params) = (request.shared, request.params);
    params.only(&["session_id", "limit", "after"])?;
    let wanted: Option<u64> = params.json("session_id")?;
    let text = params.text("fields").unwrap_or_default();
    let fields: Vec<String> = text
        .split(',')
        .map(|f| f.trim_matches(|c: char| c.is_whitespace() || "[]\"".contains(c)).to_owned())
        .filter(|f| !f.is_empty())
        .collect();
    let id = request.audience_id()?;
    let now = shared.now();
    let mut state = shared.meta();
    let audience = state.audience(shared, id)?;
    let sessions = audience.sessions.iter().filter(|(id, _)| wanted.is_none_or(|w| w == **id));
    let nodes: Vec<Value> = sessions.map(|(id, session)| session.node(*id, now, &fields)).collect();
    Ok(json!({"data": nodes}))
}
