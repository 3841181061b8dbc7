//! User lists: create, find, read, update, delete.

use super::enums::{DATA_SOURCES, KEY_TYPES, membership, name_of};
use super::error::GoogleError;
use super::filter::Filter;
use super::{Request, State};
use crate::core::key::mix;
use crate::core::members::Members;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const DAY_SECS: i64 = 86_400;
/// 540 days.
const MAX_DURATION_SECS: i64 = 46_656_000;
/// Fewer members show as none.
const SHOWN_FROM: usize = 100;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct List {
    pub(crate) id: u64,
    account_type: String,
    pub(crate) account: String,
    pub(crate) display_name: String,
    description: String,
    integration_code: String,
    pub(crate) open: bool,
    duration_secs: i64,
    pub(crate) key_type: String,
    /// The type's own block as given.
    type_info: Value,
    pub(crate) members: Members,
    /// Matched members when sizes were last worked out.
    published: Option<usize>,
    pub(crate) publish_at: Option<DateTime<Utc>>,
    /// Records processed and matched so far.
    pub(crate) records: u64,
    pub(crate) matched_records: u64,
}

impl List {
    pub(crate) fn settle(&mut self, now: DateTime<Utc>) {
        self.members.expire(Some(self.duration_secs / DAY_SECS), now.timestamp_millis());
        if self.publish_at.is_some_and(|at| at <= now) {
            self.published = Some(self.members.matched());
            self.publish_at = None;
        }
    }

    pub(crate) fn belongs_to(&self, account_type: &str, account: &str) -> bool {
        self.account_type == account_type && self.account == account
    }

    /// Name of the block that goes with the upload key type.
    fn info_name(key_type: &str) -> &'static str {
        match key_type {
            "CONTACT_ID" => "contactIdInfo",
            "MOBILE_ID" => "mobileIdInfo",
            "USER_ID" => "userIdInfo",
            "PAIR_ID" => "pairIdInfo",
            _ => "pseudonymousIdInfo",
        }
    }

    fn node(&self) -> Value {
        let mut info = self.type_info.clone();
        if self.key_type == "CONTACT_ID" && self.published.is_some() && self.records > 0 {
            info["matchRatePercentage"] = (self.matched_records * 100 / self.records).into();
        }
        // Each network knows its own part of the matched persons; the shares are the sandbox's own.
        let size = |percent: usize| {
            let part = self.published.unwrap_or(0) * percent / 100;
            let step = 10usize.pow(part.max(1).ilog10().saturating_sub(1));
            let shown = if part < SHOWN_FROM { 0 } else { part / step * step };
            Value::from(shown.to_string())
        };
        let sizes = match self.published {
            None => json!({}),
            Some(_) if self.account_type != "GOOGLE_ADS" => json!({}),
            Some(_) => json!({
                "displayNetworkMembersCount": size(92), "searchNetworkMembersCount": size(78),
                "youtubeMembersCount": size(85), "gmailMembersCount": size(70),
            }),
        };
        let mut node = json!({
            "name": format!("accountTypes/{}/accounts/{}/userLists/{}", self.account_type, self.account, self.id),
            "id": self.id.to_string(), "readOnly": false, "displayName": self.display_name,
            "membershipStatus": if self.open { "OPEN" } else { "CLOSED" },
            "membershipDuration": format!("{}s", self.duration_secs),
            "accessReason": "OWNED", "accountAccessStatus": "ENABLED", "sizeInfo": sizes,
            "targetNetworkInfo": {"eligibleForSearch": true, "eligibleForDisplay": true},
            "ingestedUserListInfo": {"uploadKeyTypes": [self.key_type], Self::info_name(&self.key_type): info},
        });
        for (name, value) in [("description", &self.description), ("integrationCode", &self.integration_code)] {
            if !value.is_empty() {
                node[name] = value.as_str().into();
            }
        }
        node
    }

    fn field(&self, name: &str) -> String {
        match name {
            "id" => self.id.to_string(),
            "display_name" => self.display_name.clone(),
            "description" => self.description.clone(),
            "membership_status" => if self.open { "OPEN" } else { "CLOSED" }.to_owned(),
            "integration_code" => self.integration_code.clone(),
            "access_reason" => "OWNED".to_owned(),
            _ => self.key_type.clone(),
        }
    }
}

/// What a client may write of a list; output-only fields are accepted and ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListBody {
    display_name: Option<String>,
    description: Option<String>,
    #[serde(default, deserialize_with = "membership")]
    membership_status: Option<String>,
    integration_code: Option<String>,
    membership_duration: Option<String>,
    ingested_user_list_info: Option<serde_json::Map<String, Value>>,
    #[serde(rename = "name")]
    _name: Option<String>,
    #[serde(rename = "id")]
    _id: Option<String>,
    #[serde(rename = "readOnly")]
    _read_only: Option<bool>,
    #[serde(rename = "accessReason")]
    _access_reason: Option<String>,
    #[serde(rename = "accountAccessStatus")]
    _account_access_status: Option<String>,
    #[serde(rename = "closingReason")]
    _closing_reason: Option<String>,
    #[serde(rename = "sizeInfo")]
    _size_info: Option<Value>,
    #[serde(rename = "targetNetworkInfo")]
    _target_network_info: Option<Value>,
}

fn duration(text: &str) -> Result<i64, GoogleError> {
    let secs: Option<i64> = text.strip_suffix('s').and_then(|n| n.parse().ok());
    match secs {
        Some(secs) if secs > MAX_DURATION_SECS => Err(GoogleError::field(
            "user_list.membership_duration",
            "MEMBERSHIP_DURATION_TOO_LONG",
            "At most 540 days.",
        )),
        Some(secs) if secs > 0 && secs % DAY_SECS == 0 => Ok(secs),
        _ => Err(GoogleError::field(
            "user_list.membership_duration",
            "INVALID_FORMAT",
            "Write whole days in seconds, as 2592000s.",
        )),
    }
}

fn status(text: &str) -> Result<bool, GoogleError> {
    match text {
        "OPEN" => Ok(true),
        "CLOSED" => Ok(false),
        _ => Err(GoogleError::field("user_list.membership_status", "INVALID_FORMAT", "OPEN or CLOSED.")),
    }
}

fn name_taken(state: &State, request: &Request<'_>, name: &str, but: u64) -> Result<(), GoogleError> {
    let (kind, account) = (request.account_type(), request.account());
    match state.lists.values().any(|l| l.belongs_to(kind, account) && l.id != but && l.display_name == name) {
        true => Err(GoogleError::field(
            "user_list.display_name",
            "DISPLAY_NAME_ALREADY_USED",
            "Another list has this name.",
        )),
        false => Ok(()),
    }
}

fn validate_only(request: &Request<'_>) -> bool {
    request.query("validateOnly").is_some_and(|v| v == "true")
}

pub(crate) fn create(request: &Request<'_>) -> Result<Value, GoogleError> {
    request.only_query(&["validateOnly"])?;
    let body: ListBody = request.body()?;
    let name = body.display_name.filter(|n| !n.is_empty()).ok_or_else(|| {
        GoogleError::field("user_list.display_name", "REQUIRED_FIELD_MISSING", "A list needs a name.")
    })?;
    let info = body.ingested_user_list_info.ok_or_else(|| {
        GoogleError::field("user_list.ingested_user_list_info", "REQUIRED_FIELD_MISSING", "Say what the list takes.")
    })?;
    let key_types: Vec<&Value> =
        info.get("uploadKeyTypes").and_then(Value::as_array).map(|types| types.iter().collect()).unwrap_or_default();
    let at = "user_list.ingested_user_list_info";
    let [key_type] = *key_types else {
        return Err(GoogleError::field(
            format!("{at}.upload_key_types"),
            "REQUIRED_FIELD_MISSING",
            "Give one upload key type.",
        ));
    };
    let Some(key_type) = name_of(key_type, &KEY_TYPES).filter(|name| *name != KEY_TYPES[0]) else {
        return Err(GoogleError::field(format!("{at}.upload_key_types"), "INVALID_FORMAT", "Unknown upload key type."));
    };
    let block = List::info_name(key_type);
    if let Some(other) = info.keys().find(|k| *k != "uploadKeyTypes" && *k != block) {
        let known = KEY_TYPES.iter().any(|k| List::info_name(k) == other) || other == "partnerAudienceInfo";
        let what = if known { "This block belongs to another upload key type." } else { "Cannot find field." };
        return Err(GoogleError::field(at, "INVALID_FORMAT", what));
    }
    let mut type_info = info.get(block).cloned().unwrap_or_else(|| json!({}));
    if let Some(source) = type_info.get("dataSourceType") {
        let name = name_of(source, &DATA_SOURCES).ok_or_else(|| {
            GoogleError::field(format!("{at}.data_source_type"), "INVALID_FORMAT", "Unknown data source type.")
        })?;
        type_info["dataSourceType"] = name.into();
    }
    let duration_secs = body.membership_duration.as_deref().map_or(Ok(MAX_DURATION_SECS), duration)?;
    let open = body.membership_status.as_deref().map_or(Ok(true), status)?;
    let mut state = request.shared.google();
    name_taken(&state, request, &name, 0)?;
    let number = state.created + 1;
    let id = 9_000_000_000 + number * 1_000 + mix(request.shared.settings.seed, number) % 1_000;
    let list = List {
        id,
        account_type: request.account_type().to_owned(),
        account: request.account().to_owned(),
        display_name: name,
        description: body.description.unwrap_or_default(),
        integration_code: body.integration_code.unwrap_or_default(),
        open,
        duration_secs,
        key_type: key_type.to_owned(),
        type_info,
        members: Members::default(),
        published: None,
        publish_at: None,
        records: 0,
        matched_records: 0,
    };
    let node = list.node();
    if !validate_only(request) {
        state.created = number;
        state.lists.insert(id, list);
    }
    Ok(node)
}

fn not_found() -> GoogleError {
    GoogleError::new(404, "NOT_FOUND", "Requested entity was not found.")
}

/// The list of the path.
fn find<'s>(request: &Request<'_>, state: &'s mut State) -> Result<&'s mut List, GoogleError> {
    let id: u64 = request.path[6].parse().map_err(|_| not_found())?;
    let list = state.lists.get_mut(&id).ok_or_else(not_found)?;
    match list.belongs_to(request.account_type(), request.account()) {
        true => Ok(list),
        false => Err(not_found()),
    }
}

pub(crate) fn get(request: &Request<'_>) -> Result<Value, GoogleError> {
    request.only_query(&[])?;
    find(request, &mut request.shared.google()).map(|list| list.node())
}

pub(crate) fn list(request: &Request<'_>) -> Result<Value, GoogleError> {
    request.only_query(&["filter", "pageSize", "pageToken"])?;
    let filter = request.query("filter").filter(|f| !f.is_empty()).map(|f| Filter::parse(&f)).transpose()?;
    let bad = |field: &'static str| GoogleError::field(field, "INVALID_FORMAT", "Not a valid value.");
    let size = match request.query("pageSize") {
        Some(text) => text.parse::<usize>().map_err(|_| bad("page_size"))?,
        None => 50,
    };
    let size = if size == 0 { 50 } else { size.min(1_000) };
    let after: u64 = match request.query("pageToken").filter(|t| !t.is_empty()) {
        Some(token) => {
            token.strip_prefix("p").and_then(|h| u64::from_str_radix(h, 16).ok()).ok_or_else(|| bad("page_token"))?
        }
        None => 0,
    };
    let state = request.shared.google();
    let mut lists = state
        .lists
        .range(after + 1..)
        .map(|(_, list)| list)
        .filter(|list| list.belongs_to(request.account_type(), request.account()))
        .filter(|list| filter.as_ref().is_none_or(|f| f.keeps(|name| list.field(name))));
    let page: Vec<&List> = lists.by_ref().take(size).collect();
    let mut body = json!({});
    if !page.is_empty() {
        body["userLists"] = page.iter().map(|list| list.node()).collect();
    }
    if let (Some(_), Some(last)) = (lists.next(), page.last()) {
        body["nextPageToken"] = format!("p{:x}", last.id).into();
    }
    Ok(body)
}

pub(crate) fn update(request: &Request<'_>) -> Result<Value, GoogleError> {
    request.only_query(&["updateMask", "validateOnly"])?;
    let body: ListBody = request.body()?;
    let mask = request.query("updateMask").unwrap_or_default();
    let mut state = request.shared.google();
    let mut changed = find(request, &mut state)?.clone();
    let given = [
        ("displayName", body.display_name.is_some()),
        ("description", body.description.is_some()),
        ("membershipStatus", body.membership_status.is_some()),
        ("integrationCode", body.integration_code.is_some()),
        ("membershipDuration", body.membership_duration.is_some()),
        ("ingestedUserListInfo", body.ingested_user_list_info.is_some()),
    ];
    let named: Vec<String> = mask.split(',').map(|f| camel(f.trim())).filter(|f| !f.is_empty() && f != "*").collect();
    if named.iter().any(|f| !given.iter().any(|(name, _)| name == f)) {
        return Err(GoogleError::field(
            "update_mask",
            "INVALID_FORMAT",
            "The mask names a field that cannot be updated.",
        ));
    }
    let wanted =
        |name: &str| if named.is_empty() { given.contains(&(name, true)) } else { named.iter().any(|f| f == name) };
    if wanted("ingestedUserListInfo") {
        return Err(GoogleError::field("update_mask", "USER_LIST_MUTATION_NOT_SUPPORTED", "Key types are immutable."));
    }
    if wanted("displayName") {
        changed.display_name = body.display_name.filter(|n| !n.is_empty()).ok_or_else(|| {
            GoogleError::field("user_list.display_name", "REQUIRED_FIELD_MISSING", "A list needs a name.")
        })?;
        name_taken(&state, request, &changed.display_name, changed.id)?;
    }
    if wanted("description") {
        changed.description = body.description.unwrap_or_default();
    }
    if wanted("integrationCode") {
        changed.integration_code = body.integration_code.unwrap_or_default();
    }
    if wanted("membershipStatus") {
        changed.open = status(body.membership_status.as_deref().unwrap_or(""))?;
    }
    if wanted("membershipDuration") {
        changed.duration_secs = duration(body.membership_duration.as_deref().unwrap_or(""))?;
    }
    let node = changed.node();
    if !validate_only(request) {
        state.lists.insert(changed.id, changed);
    }
    Ok(node)
}

/// `display_name` → `displayName`.
fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let mut camel = parts.next().unwrap_or("").to_owned();
    for part in parts {
        let mut chars = part.chars();
        camel.extend(chars.next().map(|c| c.to_ascii_uppercase()));
        camel.push_str(chars.as_str());
    }
    camel
}

pub(crate) fn delete(request: &Request<'_>) -> Result<Value, GoogleError> {
    request.only_query(&["validateOnly"])?;
    let mut state = request.shared.google();
    let id = find(request, &mut state)?.id;
    if !validate_only(request) {
        state.lists.remove(&id);
    }
    Ok(json!({}))
}
