//! Preflight: does the token reach the account, are the terms signed, is the pinned version the one that answers.

use reveil_sdk::{Context, Reply, Result};
use serde_json::Value;

use crate::error::operation;
use crate::wire::Account;
use crate::{Meta, config};

const TERMS: &str = "custom_audience_tos";

pub(crate) async fn check(meta: &Meta, cx: &Context<'_>) -> Result<Vec<String>> {
    let (reply, account) = terms(meta, cx).await?;
    let mut warnings = Vec::new();
    // For system users this field says nothing: they cannot sign, and need not.
    if accepted(&account.user_tos_accepted) == Some(false) {
        warnings.push("The person the token belongs to has not accepted the Custom Audience Terms.".into());
    }
    let pinned = &meta.settings.api_version;
    let today = cx.clock.now().format("%Y-%m-%d").to_string();
    warnings.extend(config::version_warning(pinned, &today));
    if let Some(answering) = reply.header_text("facebook-api-version").filter(|version| version != pinned)
        && config::version_number(answering).is_some()
    {
        warnings.push(format!("Meta answered with version {answering} to a call for {pinned}; set api_version anew."));
    }
    if reply.headers.contains_key("x-ad-api-version-warning") {
        warnings.push(format!("Meta warns that Marketing API {pinned} is past its end; set api_version anew."));
    }
    Ok(warnings)
}

/// Source: audiences/reference/custom-audience-terms-of-service.
///
/// # Errors
/// `Permission` with the address where the terms are signed; `Auth`, `NotFound` from the call itself.
pub(crate) async fn terms(meta: &Meta, cx: &Context<'_>) -> Result<(Reply, Account)> {
    let call = meta.get(operation::CHECK, &[&meta.account()], &[("fields", "tos_accepted,user_tos_accepted")]);
    let reply = cx.transport.send(call, &meta.replies).await?;
    let account: Account = reply.json()?;
    if accepted(&account.tos_accepted) == Some(true) {
        Ok((reply, account))
    } else {
        Err(meta.replies.unsigned_terms(operation::CHECK).with("account", meta.account()))
    }
}

/// `{"custom_audience_tos":1}`; `None` when the terms are not mentioned.
fn accepted(terms: &Value) -> Option<bool> {
    match terms.get(TERMS)? {
        Value::Bool(accepted) => Some(*accepted),
        Value::Number(number) => Some(number.as_i64() != Some(0)),
        Value::String(text) => Some(!matches!(text.as_str(), "0" | "false" | "")),
        _ => None,
    }
}
