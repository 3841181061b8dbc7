//! `GET act_<id>`: the ad account and whether its terms are signed.

use super::Request;
use super::error::MetaError;
use crate::world::Shared;
use serde_json::{Map, Value, json};

const FIELDS: [&str; 9] = [
    "id",
    "account_id",
    "name",
    "account_status",
    "currency",
    "timezone_name",
    "tos_accepted",
    "user_tos_accepted",
    "business",
];

/// Refuses ad accounts that the settings do not list.
pub(crate) fn check(shared: &Shared, account: &str) -> Result<(), MetaError> {
    let known = &shared.settings.meta.ad_accounts;
    match known.is_empty() || known.iter().any(|id| id == account) {
        true => Ok(()),
        false => Err(MetaError::missing_object(&format!("act_{account}"))),
    }
}

pub(crate) fn signed_terms(shared: &Shared, account: &str) -> bool {
    !shared.settings.meta.terms_unsigned.iter().any(|id| id == account)
}

pub(crate) fn get(request: &Request<'_>) -> Result<Value, MetaError> {
    request.params.only(&[])?;
    let account = request.object;
    check(request.shared, account)?;
    let tos = if signed_terms(request.shared, account) { json!({"custom_audience_tos": 1}) } else { json!({}) };
    let fields = fields(request, &FIELDS, "AdAccount")?;
    let mut body = Map::new();
    for field in fields {
        let value = match field.as_str() {
            "id" => format!("act_{account}").into(),
            "account_id" => account.into(),
            "name" => "Sandbox ad account".into(),
            "account_status" => 1.into(),
            "currency" => "EUR".into(),
            "timezone_name" => "Europe/Paris".into(),
            "business" => json!({"id": "100000000000003", "name": "Sandbox business"}),
            _ => tos.clone(),
        };
        body.insert(field, value);
    }
    Ok(Value::Object(body))
}

/// The fields asked for, `id` always among them.
pub(crate) fn fields(request: &Request<'_>, offered: &[&str], node: &str) -> Result<Vec<String>, MetaError> {
    let mut fields = vec!["id".to_owned()];
    // A list arrives either comma-joined or as a JSON array.
    let text = request.params.text("fields").unwrap_or_default();
    for field in text.split(',').map(|f| f.trim_matches(|c: char| c.is_whitespace() || "[]\"".contains(c))) {
        if field.is_empty() || field == "id" {
            continue;
        }
        if !offered.contains(&field) {
            let name: String = field.chars().take(40).collect();
            return Err(MetaError::invalid(format!(
                "Tried accessing nonexisting field ({name}) on node type ({node})"
            )));
        }
        fields.push(field.to_owned());
    }
    Ok(fields)
}
