//! Finding, making and deleting the audience.
//!
//! Names are not unique on Meta, and filtering by name is not documented, so our key stands as a marker at the end of
//! the description and the list is compared here. An audience renamed by hand is still found by its id.

use reveil_sdk::{AudienceRef, AudienceSpec, Call, Context, Error, ErrorKind, Result};
use serde_json::Value;
use tracing::{info, warn};

use crate::Meta;
use crate::error::operation;
use crate::wire::{Audience, CreateAudienceRequest, Created, Page};

/// Meta's advice; larger pages are refused with code 1.
const PAGE_LIMIT: u32 = 20;
const SMALL_PAGE_LIMIT: u32 = 5;
/// An account holds some 11,000 audiences of all kinds at most.
const MAX_PAGES: u32 = 2_500;
const LIST_FIELDS: &str = "id,name,subtype,description,time_created";
const SUBTYPE: &str = "CUSTOM";
const MAX_RETENTION_DAYS: u32 = 180;

pub(crate) async fn find_or_create(
    meta: &Meta,
    cx: &Context<'_>,
    spec: &AudienceSpec,
    known: Option<&AudienceRef>,
) -> Result<AudienceRef> {
    if let Some(known) = known {
        let call = meta.get(operation::GET, &[&known.id], &[("fields", "id,name,subtype")]);
        match cx.fetch::<Audience>(call, &meta.replies).await {
            Ok(audience) => return Ok(AudienceRef { id: audience.id, created: false }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                warn!(connector = "meta", audience.id = %known.id, "Remembered audience is gone, searching the account");
            }
            Err(error) => return Err(error),
        }
    }
    let marker = marker(&spec.key);
    if let Some(id) = search(meta, cx, &marker).await? {
        return Ok(AudienceRef { id, created: false });
    }
    let id = match create(meta, cx, spec, &marker).await {
        Ok(id) => id,
        // The answer was lost: making it again could leave two audiences of the same name.
        Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Protocol) => {
            match search(meta, cx, &marker).await {
                Ok(Some(id)) => id,
                _ => return Err(error),
            }
        }
        Err(error) => return Err(error),
    };
    info!(connector = "meta", audience.id = %id, audience.key = %spec.key, "Created audience");
    Ok(AudienceRef { id, created: true })
}

pub(crate) fn marker(key: &str) -> String {
    format!("[reveil:{key}]")
}

/// The oldest customer-file audience whose description ends in the marker.
async fn search(meta: &Meta, cx: &Context<'_>, marker: &str) -> Result<Option<String>> {
    let mut found: Option<(i64, String)> = None;
    let mut after: Option<String> = None;
    let mut limit = PAGE_LIMIT;
    for _ in 0..MAX_PAGES {
        let page: Page<Audience> = match cx.fetch(list_call(meta, limit, after.as_deref()), &meta.replies).await {
            Err(error) if limit > SMALL_PAGE_LIMIT && asks_for_less(&error) => {
                limit = SMALL_PAGE_LIMIT;
                continue;
            }
            page => page?,
        };
        let count = page.data.len();
        for audience in page.data {
            let ours = audience.description.as_deref().is_some_and(|text| text.trim_end().ends_with(marker));
            if ours && audience.subtype.as_deref().is_none_or(|subtype| subtype == SUBTYPE) {
                let this = (audience.time_created.unwrap_or(i64::MAX), audience.id);
                found = Some(found.map_or_else(|| this.clone(), |earlier| earlier.min(this.clone())));
            }
        }
        // `next` itself is not followed: it holds the token and names another host.
        let more = page.paging.next.is_some() || count >= limit as usize;
        match page.paging.cursors.after.filter(|cursor| more && !cursor.is_empty()) {
            Some(cursor) if after.as_ref() != Some(&cursor) => after = Some(cursor),
            _ => return Ok(found.map(|(_, id)| id)),
        }
    }
    Err(Error::new(ErrorKind::Protocol, operation::LIST, "the list of audiences does not end").with("pages", MAX_PAGES))
}

fn list_call(meta: &Meta, limit: u32, after: Option<&str>) -> Call {
    let limit = limit.to_string();
    let mut query = vec![("fields", LIST_FIELDS), ("limit", &limit)];
    query.extend(after.map(|cursor| ("after", cursor)));
    meta.get(operation::LIST, &[&meta.account(), "customaudiences"], &query)
}

/// Code 1 on a list stands for "reduce the amount of data".
fn asks_for_less(error: &Error) -> bool {
    error.context().iter().any(|(name, value)| *name == "code" && value == "1")
}

async fn create(meta: &Meta, cx: &Context<'_>, spec: &AudienceSpec, marker: &str) -> Result<String> {
    let description = match spec.description.trim() {
        "" => marker.to_owned(),
        text => format!("{text} {marker}"),
    };
    let wanted_days = spec.membership_days;
    if let Some(days) = wanted_days.filter(|days| meta.settings.retention_days.is_none() && *days > MAX_RETENTION_DAYS)
    {
        warn!(connector = "meta", days, "Meta keeps members 180 days at most or for ever; they are kept until removed");
    }
    let request = CreateAudienceRequest {
        name: &spec.label,
        subtype: SUBTYPE,
        customer_file_source: &meta.settings.customer_file_source,
        description: &description,
        audience_labels: &meta.settings.audience_labels,
        retention_days: meta
            .settings
            .retention_days
            .or(wanted_days.filter(|days| (1..=MAX_RETENTION_DAYS).contains(days))),
    };
    let call = Call::post(operation::CREATE, meta.url(&[&meta.account(), "customaudiences"])).json(&request)?;
    let created: Created = cx.fetch(call.not_idempotent(), &meta.replies).await?;
    Ok(created.id)
}

pub(crate) async fn delete(meta: &Meta, cx: &Context<'_>, audience: &AudienceRef) -> Result<()> {
    let call = Call::delete(operation::DELETE, meta.url(&[&audience.id]));
    // `success: false` was turned into an error when the reply was read.
    match cx.fetch::<Value>(call, &meta.replies).await {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
