//! Custom audiences: create, find, update, delete, share, and what Meta says about their state and size.

use super::Request;
use super::account::{check, fields, signed_terms};
use super::error::MetaError;
use super::payload::DataSource;
use super::sessions::{SESSION_MS, Session};
use crate::core::faults::FaultKind;
use crate::core::key::mix;
use crate::core::members::Members;
use crate::settings::Delays;
use crate::world::Shared;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const FIELDS: [&str; 25] = [
    "id",
    "account_id",
    "name",
    "subtype",
    "description",
    "operation_status",
    "delivery_status",
    "approximate_count_lower_bound",
    "approximate_count_upper_bound",
    "time_created",
    "time_updated",
    "time_content_updated",
    "retention_days",
    "delete_time",
    "customer_file_source",
    "is_value_based",
    "permission_for_actions",
    "fields_violating_integrity_policy",
    "audience_labels",
    "opt_out_link",
    "usage_restriction",
    "data_source",
    "external_event_source",
    "is_eligible_for_sac_campaigns",
    "lookalike_audience_ids",
];

/// Both spellings of the general label: the documents disagree.
const LABELS: [&str; 16] = [
    "QUALIFIED_LEADS",
    "DISQUALIFIED_LEADS",
    "APP_USERS",
    "TRIAL_USERS",
    "ENGAGED_USERS",
    "HIGH_VALUE_CUSTOMERS",
    "LOW_VALUE_CUSTOMERS",
    "AT_RISK",
    "DISENGAGED",
    "RECENT_PURCHASERS",
    "CART_ABANDONERS",
    "GENERAL_CUSTOMERS",
    "CUSTOMERS",
    "OTHER_1",
    "OTHER_2",
    "OTHER_3",
];

/// Beginnings of words that make a name look like health or finance.
const SENSITIVE: [&str; 20] = [
    "health", "medic", "diabet", "cancer", "pregnan", "disease", "therap", "hiv", "insulin", "depress", "obes",
    "patient", "loan", "credit", "debt", "mortgage", "bankrupt", "income", "salary", "financ",
];

/// Sizes under this are "too small".
const USABLE: usize = 100;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Audience {
    pub(crate) id: u64,
    pub(crate) account: String,
    pub(crate) name: String,
    description: String,
    customer_file_source: String,
    retention_days: Option<i64>,
    pub(crate) is_value_based: bool,
    labels: Vec<String>,
    opt_out_link: Option<String>,
    usage_restriction: Option<String>,
    created: DateTime<Utc>,
    updated: DateTime<Utc>,
    content_updated: Option<DateTime<Utc>>,
    shared_with: BTreeSet<String>,
    pub(crate) data_source: Option<DataSource>,
    /// Fields that violate the integrity policy; empty = none.
    pub(crate) flagged: Vec<String>,
    pub(crate) members: Members,
    pub(crate) sessions: BTreeMap<u64, Session>,
    pub(crate) replacing: Option<Replacing>,
    replace_failed: bool,
    /// Members at the moment sizes were last worked out.
    published: usize,
    /// When they are worked out again.
    publish_at: Option<DateTime<Utc>>,
    /// Of the last session or single request: rows received and invalid.
    pub(crate) last_counts: (u64, u64),
    /// Requests with members so far.
    pub(crate) uploads: u64,
}

/// A replacement that runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Replacing {
    pub(crate) session: u64,
    pub(crate) started: DateTime<Utc>,
    pub(crate) schema: Vec<String>,
    pub(crate) staged: Members,
    /// Set by the last batch.
    pub(crate) done_at: Option<DateTime<Utc>>,
    pub(crate) will_fail: bool,
}

impl Audience {
    /// Lets everything happen that was due by `now`.
    pub(crate) fn settle(&mut self, now: DateTime<Utc>) {
        for session in self.sessions.values_mut() {
            session.settle(now);
        }
        if let Some(run) = &self.replacing {
            // Without a last batch, what arrived within the session is applied.
            let due = run.done_at.unwrap_or(run.started + TimeDelta::milliseconds(SESSION_MS));
            if due <= now
                && let Some(run) = self.replacing.take()
            {
                self.replace_failed = run.will_fail;
                if !run.will_fail {
                    self.members = run.staged;
                    self.content_updated = Some(due);
                    self.publish_at = self.publish_at.or(Some(due));
                }
            }
        }
        self.members.expire(self.retention_days, now.timestamp_millis());
        if self.publish_at.is_some_and(|at| at <= now) {
            self.published = self.members.matched();
            self.publish_at = None;
        }
    }

    /// Notes a change of members: sizes follow later.
    pub(crate) fn touch(&mut self, shared: &Shared, slow: Option<TimeDelta>) {
        let now = shared.now();
        let delays = &shared.settings.delays;
        let delay =
            slow.unwrap_or_else(|| Delays::draw(&delays.meta_sizes_secs, shared.settings.seed, self.id ^ self.uploads));
        self.publish_at = self.publish_at.or(Some(now + delay));
        self.content_updated = Some(now);
        self.uploads += 1;
    }

    /// Refuses edits of an audience that carries the integrity flag.
    pub(crate) fn refuse_flagged(&self, members: bool) -> Result<(), MetaError> {
        if self.flagged.is_empty() {
            return Ok(());
        }
        let (subcode, title) =
            if members { (1_713_230, "Audience Upload Blocked") } else { (1_713_228, "Audience Edit Blocked") };
        Err(MetaError::new(100, "Invalid parameter")
            .sub(subcode)
            .user(title, "Resolve the integrity restriction of this audience before changing it."))
    }

    pub(crate) fn refuse_replacing(&self) -> Result<(), MetaError> {
        match self.replacing {
            Some(_) => Err(MetaError::new(2650, "(#2650) The audience is being updated")
                .sub(1_870_145)
                .user("Audience update in progress", "Wait until the replacement is finished, then try again.")),
            None => Ok(()),
        }
    }

    pub(crate) fn operation_status(&self) -> (u32, &'static str) {
        let (received, invalid) = self.last_counts;
        if !self.flagged.is_empty() {
            (471, "The audience may contain information that the integrity policy does not allow.")
        } else if self.replacing.is_some() {
            (414, "The audience is being replaced.")
        } else if self.replace_failed {
            (415, "The replacement failed.")
        } else if self.uploads == 0 {
            (410, "No members were uploaded.")
        } else if self.publish_at.is_some() {
            (441, "The audience is being populated and can be used.")
        } else if received > 0 && invalid * 2 > received {
            (412, "Many entries of the last upload were invalid.")
        } else if self.members.held() >= 1_000 && self.published * 20 < self.members.held() {
            (411, "Few of the uploaded entries match.")
        } else {
            (200, "Normal")
        }
    }

    /// Rounded bounds that hold the size; `None` when the audience is too small to say.
    fn bounds(&self) -> Option<(u64, u64)> {
        let size = self.published as u64;
        match size {
            0..USABLE_U64 => None,
            USABLE_U64..1_000 => Some((USABLE_U64, 1_000)),
            _ => {
                let step = 10u64.pow(size.ilog10() - 1);
                Some((size * 92 / 100 / step * step, (size * 108 / 100).div_ceil(step) * step))
            }
        }
    }

    fn field(&self, name: &str) -> Option<Value> {
        let bounds = self.bounds();
        Some(match name {
            "id" => self.id.to_string().into(),
            "account_id" => self.account.as_str().into(),
            "name" => self.name.as_str().into(),
            "subtype" => "CUSTOM".into(),
            "description" => self.description.as_str().into(),
            "operation_status" => {
                let (code, description) = self.operation_status();
                json!({"code": code, "description": description})
            }
            "delivery_status" => match (self.flagged.is_empty(), self.published >= USABLE) {
                (false, _) => json!({"code": 400, "description": "This audience cannot be used."}),
                (true, true) => json!({"code": 200, "description": "This audience is ready for use."}),
                (true, false) => json!({"code": 300, "description": "This audience is too small."}),
            },
            "approximate_count_lower_bound" => bounds.map_or(json!(-1), |(lower, _)| lower.into()),
            "approximate_count_upper_bound" => bounds.map_or(json!(-1), |(_, upper)| upper.into()),
            "time_created" => self.created.timestamp().into(),
            "time_updated" => self.updated.timestamp().into(),
            "time_content_updated" => self.content_updated?.timestamp().into(),
            "retention_days" => self.retention_days?.into(),
            "delete_time" => 0.into(),
            "customer_file_source" => self.customer_file_source.as_str().into(),
            "is_value_based" => self.is_value_based.into(),
            "permission_for_actions" => json!({"can_edit": true, "can_see_insight": true, "can_share": true}),
            "fields_violating_integrity_policy" if self.flagged.is_empty() => return None,
            "fields_violating_integrity_policy" => json!(self.flagged),
            "audience_labels" => json!(self.labels),
            "opt_out_link" => self.opt_out_link.as_deref()?.into(),
            "usage_restriction" => self.usage_restriction.as_deref()?.into(),
            "data_source" => {
                json!({"type": "FILE_IMPORTED", "sub_type": self.data_source.map_or("NOTHING", DataSource::name)})
            }
            "is_eligible_for_sac_campaigns" => true.into(),
            _ => return None,
        })
    }

    fn node(&self, fields: &[String]) -> Value {
        let pairs = fields.iter().filter_map(|name| self.field(name).map(|value| (name.clone(), value)));
        Value::Object(pairs.collect::<Map<_, _>>())
    }
}

const USABLE_U64: u64 = USABLE as u64;

/// The fields whose wording suggests what the integrity policy forbids.
fn sensitive(name: &str, description: &str) -> Vec<String> {
    let suspect = |text: &str| {
        let text = text.to_lowercase();
        text.split(|c: char| !c.is_alphanumeric()).any(|word| SENSITIVE.iter().any(|start| word.starts_with(start)))
    };
    let fields = [("name", name), ("description", description)];
    fields.iter().filter(|(_, text)| suspect(text)).map(|(field, _)| (*field).to_owned()).collect()
}

fn labels(request: &Request<'_>) -> Result<Vec<String>, MetaError> {
    let labels: Vec<String> = request.params.json("audience_labels")?.unwrap_or_default();
    match labels.iter().all(|label| LABELS.contains(&label.as_str())) {
        true => Ok(labels),
        false => Err(MetaError::invalid("audience_labels holds a label that is not offered").blame("audience_labels")),
    }
}

fn one_of(request: &Request<'_>, name: &'static str, offered: &[&str]) -> Result<Option<String>, MetaError> {
    match request.params.text(name) {
        Some(value) if !offered.contains(&value.as_ref()) => {
            Err(MetaError::invalid(format!("Param {name} must be one of {offered:?}")).blame(name))
        }
        value => Ok(value.map(|v| v.into_owned())),
    }
}

const RESTRICTIONS: [&str; 3] = ["NONE", "EXCLUSION_ONLY", "NO_DERIVATIVES"];

/// `POST act_<id>/customaudiences`.
pub(crate) fn create(request: &Request<'_>) -> Result<Value, MetaError> {
    let (shared, params) = (request.shared, request.params);
    params.only(&[
        "name",
        "subtype",
        "description",
        "customer_file_source",
        "retention_days",
        "is_value_based",
        "audience_labels",
        "opt_out_link",
        "usage_restriction",
        "enable_fetch_or_create",
        "content_type",
    ])?;
    check(shared, request.object)?;
    if !signed_terms(shared, request.object) {
        return Err(MetaError::terms());
    }
    let name = params.required("name")?.into_owned();
    if params.required("subtype")? != "CUSTOM" {
        return Err(
            MetaError::invalid("The sandbox makes customer-file audiences only: subtype CUSTOM").blame("subtype")
        );
    }
    let sources = ["USER_PROVIDED_ONLY", "PARTNER_PROVIDED_ONLY", "BOTH_USER_AND_PARTNER_PROVIDED"];
    params.required("customer_file_source")?;
    let source = one_of(request, "customer_file_source", &sources)?.unwrap_or_default();
    let retention_days: Option<i64> = params.json("retention_days")?;
    if retention_days.is_some_and(|days| !(1..=180).contains(&days)) {
        return Err(MetaError::invalid("retention_days must be between 1 and 180").blame("retention_days"));
    }
    let description = params.text("description").unwrap_or_default().into_owned();
    let now = shared.now();
    let mut flagged = sensitive(&name, &description);
    if request.struck.has(&FaultKind::Flagged) && flagged.is_empty() {
        flagged.push("name".into());
    }
    let labels = labels(request)?;
    let usage_restriction = one_of(request, "usage_restriction", &RESTRICTIONS)?;
    let mut state = shared.meta();
    if state.audiences.values().filter(|a| a.account == request.object).count() >= shared.settings.meta.max_audiences {
        return Err(MetaError::invalid("This ad account has the most customer-file audiences it may have").user(
            "Too many audiences",
            format!("At most {} customer-file audiences per ad account.", shared.settings.meta.max_audiences),
        ));
    }
    state.created += 1;
    // Past 2^53, as the real ids are: a client that reads numbers loses digits.
    let id = 120_200_000_000_000_000 + state.created * 1_000 + mix(shared.settings.seed, state.created) % 1_000;
    let audience = Audience {
        id,
        account: request.object.to_owned(),
        name,
        description,
        customer_file_source: source,
        retention_days,
        is_value_based: params.flag("is_value_based"),
        labels,
        opt_out_link: params.text("opt_out_link").map(|t| t.into_owned()),
        usage_restriction,
        created: now,
        updated: now,
        content_updated: None,
        shared_with: BTreeSet::new(),
        data_source: None,
        flagged,
        members: Members::default(),
        sessions: BTreeMap::new(),
        replacing: None,
        replace_failed: false,
        published: 0,
        publish_at: None,
        last_counts: (0, 0),
        uploads: 0,
    };
    state.audiences.insert(id, audience);
    Ok(json!({"id": id.to_string()}))
}

/// `GET <audience>`.
pub(crate) fn get(request: &Request<'_>) -> Result<Value, MetaError> {
    request.params.only(&[])?;
    let fields = fields(request, &FIELDS, "CustomAudience")?;
    let id = request.audience_id()?;
    request.shared.meta().audience(request.shared, id).map(|audience| audience.node(&fields))
}

/// One object of the `filtering` parameter.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    field: String,
    operator: String,
    value: Value,
}

impl Filter {
    fn keeps(&self, audience: &Audience) -> Result<bool, MetaError> {
        let actual = match self.field.as_str() {
            "delete_time" => 0,
            "operation_status.code" => i64::from(audience.operation_status().0),
            other => {
                let name: String = other.chars().take(40).collect();
                return Err(
                    MetaError::invalid(format!("Filtering by field {name} is not supported")).blame("filtering")
                );
            }
        };
        let number = |v: &Value| v.as_i64().or_else(|| v.as_str()?.parse().ok());
        let wanted = number(&self.value);
        let bad =
            || MetaError::invalid("filtering holds an operator or value that is not supported").blame("filtering");
        Ok(match self.operator.as_str() {
            "EQUAL" => actual == wanted.ok_or_else(bad)?,
            "NOT_EQUAL" => actual != wanted.ok_or_else(bad)?,
            "GREATER_THAN" => actual > wanted.ok_or_else(bad)?,
            "LESS_THAN" => actual < wanted.ok_or_else(bad)?,
            "IN" => self.value.as_array().ok_or_else(bad)?.iter().any(|v| number(v) == Some(actual)),
            _ => return Err(bad()),
        })
    }
}

/// `GET act_<id>/customaudiences`.
pub(crate) fn list(request: &Request<'_>) -> Result<Value, MetaError> {
    let (shared, params) = (request.shared, request.params);
    params.only(&["limit", "after", "filtering"])?;
    check(shared, request.object)?;
    let limit: usize = params.json("limit")?.unwrap_or(25);
    if limit > 100 {
        let what = "Please reduce the amount of data you're asking for, then retry your request";
        return Err(MetaError::new(1, what).http(500));
    }
    let fields = fields(request, &FIELDS, "CustomAudience")?;
    let filters: Vec<Filter> = params.json("filtering")?.unwrap_or_default();
    let after: u64 = match params.text("after") {
        Some(cursor) => cursor
            .strip_prefix("QVFI")
            .and_then(|hex| u64::from_str_radix(hex, 16).ok())
            .ok_or_else(|| MetaError::invalid("after is no cursor of this list"))?,
        None => 0,
    };
    let cursor = |id: u64| format!("QVFI{id:x}");
    let now = shared.now();
    let mut state = shared.meta();
    let (mut page, mut more) = (Vec::new(), false);
    let mut ends = None;
    for audience in state.audiences.range_mut(after + 1..).map(|(_, a)| a).filter(|a| a.account == request.object) {
        audience.settle(now);
        let mut keep = true;
        for filter in &filters {
            keep &= filter.keeps(audience)?;
        }
        if !keep {
            continue;
        }
        if page.len() == limit.max(1) {
            more = true;
            break;
        }
        ends = Some((ends.map_or(audience.id, |(first, _)| first), audience.id));
        page.push(audience.node(&fields));
    }
    let mut body = json!({"data": page});
    if let Some((first, last)) = ends {
        body["paging"] = json!({"cursors": {"before": cursor(first), "after": cursor(last)}});
        if more {
            // Everything of the query but the token and the old cursor.
            let kept =
                request.call.query_pairs().filter(|(name, _)| !["after", "access_token"].contains(&name.as_ref()));
            let query = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(kept)
                .append_pair("after", &cursor(last))
                .finish();
            body["paging"]["next"] = format!("{}/{}?{query}", shared.base_url("meta"), request.call.path).into();
        }
    }
    Ok(body)
}

/// `POST <audience>`.
pub(crate) fn update(request: &Request<'_>) -> Result<Value, MetaError> {
    let (shared, params) = (request.shared, request.params);
    params.only(&[
        "name",
        "description",
        "opt_out_link",
        "audience_labels",
        "usage_restriction",
        "customer_file_source",
    ])?;
    let labels = labels(request)?;
    let restriction = one_of(request, "usage_restriction", &RESTRICTIONS)?;
    let id = request.audience_id()?;
    let mut state = shared.meta();
    let audience = state.audience(shared, id)?;
    audience.refuse_flagged(false)?;
    audience.refuse_replacing()?;
    if let Some(name) = params.text("name") {
        audience.name = name.into_owned();
    }
    if let Some(description) = params.text("description") {
        audience.description = description.into_owned();
    }
    if let Some(link) = params.text("opt_out_link") {
        audience.opt_out_link = Some(link.into_owned());
    }
    if !labels.is_empty() {
        audience.labels = labels;
    }
    audience.usage_restriction = restriction.or(audience.usage_restriction.take());
    audience.flagged = sensitive(&audience.name, &audience.description);
    audience.updated = shared.now();
    Ok(json!({"success": true}))
}

/// `DELETE <audience>`.
pub(crate) fn delete(request: &Request<'_>) -> Result<Value, MetaError> {
    request.params.only(&[])?;
    let id = request.audience_id()?;
    match request.shared.meta().audiences.remove(&id) {
        Some(_) => Ok(json!({"success": true})),
        None => Err(MetaError::missing_object(request.object)),
    }
}

/// `POST|DELETE <audience>/adaccounts`.
pub(crate) fn share(request: &Request<'_>, on: bool) -> Result<Value, MetaError> {
    request.params.only(&["adaccounts"])?;
    let accounts: Vec<Value> = request.params.json("adaccounts")?.unwrap_or_default();
    let accounts: Vec<String> = accounts
        .iter()
        .map(|a| a.as_str().map_or_else(|| a.to_string(), |text| text.trim_start_matches("act_").to_owned()))
        .collect();
    if accounts.is_empty() || accounts.iter().any(|a| !a.bytes().all(|b| b.is_ascii_digit())) {
        return Err(MetaError::invalid("adaccounts must be a list of ad account ids").blame("adaccounts"));
    }
    let id = request.audience_id()?;
    let mut state = request.shared.meta();
    let audience = state.audience(request.shared, id)?;
    for account in accounts {
        match on {
            true => audience.shared_with.insert(account),
            false => audience.shared_with.remove(&account),
        };
    }
    Ok(json!({"success": true}))
}

/// `GET <audience>/adaccounts`.
pub(crate) fn shared_with(request: &Request<'_>) -> Result<Value, MetaError> {
    let id = request.audience_id()?;
    let mut state = request.shared.meta();
    let audience = state.audience(request.shared, id)?;
    let accounts: Vec<Value> =
        audience.shared_with.iter().map(|a| json!({"id": format!("act_{a}"), "account_id": a})).collect();
    Ok(json!({"data": accounts}))
}
