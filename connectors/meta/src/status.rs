//! What Meta says of an audience: its two status codes, its rounded size, its flags.

use reveil_sdk::{AudienceRef, AudienceStatus, Context, Replaceable, Result, SizeBounds};
use serde_json::Value;

use crate::Meta;
use crate::error::operation;
use crate::wire::Audience;

const FIELDS: &str = "id,name,subtype,description,operation_status,delivery_status,approximate_count_lower_bound,\
     approximate_count_upper_bound,time_created,time_updated,time_content_updated,retention_days,delete_time,\
     customer_file_source,is_value_based,permission_for_actions,fields_violating_integrity_policy";

/// Documented limit of an audience that is replaced.
pub(crate) const MAX_PRESENT_MEMBERS: u64 = 100_000_000;

pub(crate) const NORMAL: i64 = 200;
pub(crate) const EMPTY: i64 = 410;
pub(crate) const REPLACING: i64 = 414;
pub(crate) const POPULATING: i64 = 441;

struct Operation {
    code: i64,
    state: &'static str,
    writable: bool,
    /// Empty when all is well.
    warning: &'static str,
}

const fn entry(code: i64, state: &'static str, writable: bool, warning: &'static str) -> Operation {
    Operation { code, state, writable, warning }
}

/// `operation_status.code`. Source: reference/custom-audience.
static OPERATIONS: &[Operation] = &[
    entry(0, "not applicable", true, ""),
    entry(100, "expiring", true, "Unused for two years, Meta will delete the audience: use it in an active ad set."),
    entry(NORMAL, "normal", true, ""),
    entry(400, "warning", true, "Meta has a warning on the audience: look at it in Ads Manager."),
    entry(EMPTY, "nothing uploaded", true, ""),
    entry(
        411,
        "low match rate",
        true,
        "Meta matches few of the members: send more identifiers per person, and phones with their country.",
    ),
    entry(412, "many invalid entries", true, "Meta could not read many entries of the last upload."),
    entry(REPLACING, "replacement running", false, "A replacement is running; members can be written when it is over."),
    entry(
        415,
        "replacement failed",
        true,
        "The last replacement failed: bring the audience up to date by a full sync.",
    ),
    entry(POPULATING, "populating", true, ""),
    entry(450, "stale", true, "The audience is stale because no ad set uses it."),
    entry(470, "creator inactive", true, "The user who made the audience is no longer active in the business."),
    entry(
        471,
        "integrity flag",
        false,
        "Meta flagged the audience: its name or description suggests health, financial or similar information. \
         Appeal in Ads Manager, or use a new audience with a bland name.",
    ),
    entry(500, "error", false, "Meta reports an error of the audience: look at it in Ads Manager."),
];

pub(crate) async fn fetch(meta: &Meta, cx: &Context<'_>, id: &str) -> Result<Audience> {
    cx.fetch(meta.get(operation::GET, &[id], &[("fields", FIELDS)]), &meta.replies).await
}

pub(crate) fn operation_code(audience: &Audience) -> Option<i64> {
    audience.operation_status.as_ref()?.code()
}

/// The rounded size; -1 and nothing stand for unknown.
pub(crate) fn size(audience: &Audience) -> Option<SizeBounds> {
    let known = |bound: Option<i64>| bound.and_then(|count| u64::try_from(count).ok());
    let (low, high) = (known(audience.approximate_count_lower_bound), known(audience.approximate_count_upper_bound));
    (low.is_some() || high.is_some()).then_some(SizeBounds { low, high })
}

pub(crate) async fn status(meta: &Meta, cx: &Context<'_>, audience: &AudienceRef) -> Result<AudienceStatus> {
    let now = fetch(meta, cx, &audience.id).await?;
    let code = operation_code(&now);
    let known = code.and_then(|code| OPERATIONS.iter().find(|operation| operation.code == code));
    let mut warnings = Vec::new();
    warnings.extend(known.map(|operation| operation.warning.to_owned()).filter(|warning| !warning.is_empty()));

    let flagged = names(&now.fields_violating_integrity_policy);
    if !flagged.is_empty() {
        warnings.push(format!("Against Meta's integrity policy: {}. Change them, or appeal.", flagged.join(", ")));
    }
    let delivery = now.delivery_status.as_ref().and_then(|status| status.code());
    match delivery {
        Some(300) => warnings.push("The audience is too small for ads to be delivered.".into()),
        Some(code) if code >= 400 => warnings.push(format!("Ads cannot use the audience (delivery status {code}).")),
        _ => {}
    }
    if now.delete_time.is_some_and(|at| at > 0) && code != Some(100) {
        warnings.push("Meta plans to delete the audience: use it in an active ad set to keep it.".into());
    }
    Ok(AudienceStatus {
        writable: flagged.is_empty() && known.is_none_or(|operation| operation.writable),
        replaceable: replaceable(code, &now),
        deliverable: match delivery {
            Some(NORMAL) => Some(true),
            Some(code) if code >= 300 => Some(false),
            _ => None,
        },
        state: match (code, known) {
            (Some(code), Some(operation)) => format!("{code} {}", operation.state),
            (Some(code), None) => format!("{code} {}", words(&now).unwrap_or("unknown")),
            (None, _) => "unknown".into(),
        },
        size: size(&now),
        match_rate_ratio: None,
        warnings,
    })
}

/// Only a normal audience is swapped, and none of 100 million members. One that is being swapped counts as swappable:
/// what becomes of that swap is for the swap itself to find out.
pub(crate) fn replaceable(code: Option<i64>, audience: &Audience) -> Replaceable {
    let large = size(audience).and_then(|size| size.low).is_some_and(|low| low >= MAX_PRESENT_MEMBERS);
    match code {
        Some(EMPTY) => Replaceable::Empty,
        None | Some(NORMAL) if !large => Replaceable::Yes,
        Some(REPLACING) => Replaceable::Yes,
        _ => Replaceable::No,
    }
}

/// Meta's own words for a code this crate does not know.
fn words(audience: &Audience) -> Option<&str> {
    audience.operation_status.as_ref()?.description.as_deref().filter(|text| text.len() <= 200)
}

/// Field names, whether they come as a list or as the keys of an object.
fn names(fields: &Value) -> Vec<&str> {
    match fields {
        Value::Array(fields) => fields.iter().filter_map(Value::as_str).collect(),
        Value::Object(fields) => fields.keys().map(String::as_str).collect(),
        Value::String(field) if !field.is_empty() => vec![field],
        _ => Vec::new(),
    }
}
