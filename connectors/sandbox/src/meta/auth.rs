//! Tokens, the login dialogue, proofs of the app secret, and API versions.

use super::State;
use super::error::{MetaError, expired_token};
use super::params::Params;
use crate::core::http::{Call, Reply};
use crate::core::key::mix;
use crate::core::oauth::{Client, Form};
use crate::settings::{MetaSettings, MetaToken};
use crate::world::Shared;
use chrono::{DateTime, TimeDelta, Utc};
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Life of a token that ends, once it is exchanged.
const LONG_LIFE: TimeDelta = TimeDelta::days(60);

const CURRENT: &str = "v26.0";

/// Version → first day on which Marketing calls no longer take it (meta.md §2).
const VERSIONS: [(&str, Option<&str>); 5] = [
    (CURRENT, None),
    ("v25.0", None),
    ("v24.0", Some("2026-10-06T00:00:00Z")),
    ("v23.0", Some("2026-06-09T00:00:00Z")),
    ("v22.0", Some("2026-02-19T00:00:00Z")),
];

/// A token minted here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Minted {
    expires_at: Option<DateTime<Utc>>,
    scopes: Vec<String>,
}

/// The version that answers, and the warning when it is not the one asked for.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) served: &'static str,
    pub(crate) warning: Option<String>,
}

/// Judges the version of a Marketing call.
pub(crate) fn version(shared: &Shared, asked: Option<&str>, writes: bool) -> Result<Version, MetaError> {
    let refused = |what: &str| {
        Err(MetaError::new(2635, format!("(#2635) {what} Please update to the latest version: {CURRENT}.")))
    };
    let Some(asked) = asked else {
        return refused("Marketing API calls need a version.");
    };
    let Some((name, until)) = VERSIONS.iter().find(|(name, _)| *name == asked) else {
        let older =
            asked[1..].split('.').next().and_then(|major| major.parse::<u32>().ok()).is_some_and(|major| major < 22);
        return match older {
            true => refused("You are calling a deprecated version of the Ads API."),
            false => Err(MetaError::new(2500, format!("Unknown path components: /{asked}"))),
        };
    };
    let until = until.and_then(|day| day.parse::<DateTime<Utc>>().ok());
    if until.is_none_or(|until| shared.now() < until) {
        return Ok(Version { served: name, warning: None });
    }
    if writes || !shared.settings.meta.upgrade_expired_reads {
        return refused("You are calling a deprecated version of the Ads API.");
    }
    let warning = format!("The call has been auto-upgraded to {CURRENT} as {name} has been deprecated.");
    Ok(Version { served: CURRENT, warning: Some(warning) })
}

pub(crate) fn token_of<'a>(call: &'a Call, params: &'a Params<'_>) -> Option<std::borrow::Cow<'a, str>> {
    params.text("access_token").or_else(|| call.bearer().map(std::borrow::Cow::Borrowed)).filter(|t| !t.is_empty())
}

fn known(shared: &Shared, state: &State, token: &str) -> Option<Minted> {
    let given = shared.settings.meta.tokens.iter().find(|t| t.token == token);
    given
        .map(|MetaToken { expires_at, scopes, .. }| Minted { expires_at: *expires_at, scopes: scopes.clone() })
        .or_else(|| state.tokens.get(token).filter(|_| !state.grants.has_ended(token)).cloned())
}

fn hmac_hex(secret: &str, message: &str) -> String {
    const_hex::encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes()))
}

/// Checks token, proof and permission of a call.
pub(crate) fn authorise(shared: &Shared, call: &Call, params: &Params<'_>, writes: bool) -> Result<(), MetaError> {
    let meta = &shared.settings.meta;
    let token = token_of(call, params).ok_or_else(|| {
        MetaError::new(2500, "An active access token must be used to query information about the current user.")
    })?;
    let minted = known(shared, &shared.meta(), &token)
        .ok_or_else(|| MetaError::new(190, "Invalid OAuth access token - Cannot parse access token"))?;
    if minted.expires_at.is_some_and(|at| at <= shared.now()) {
        return Err(expired_token());
    }
    match params.text("appsecret_proof") {
        Some(proof) => {
            let message = match params.text("appsecret_time") {
                Some(time) => {
                    let at = time.parse::<i64>().unwrap_or(0);
                    if (shared.now().timestamp() - at).abs() > 300 {
                        return Err(MetaError::invalid("appsecret_proof has expired: appsecret_time is not recent"));
                    }
                    format!("{token}|{time}")
                }
                None => token.to_string(),
            };
            if proof != hmac_hex(&meta.app_secret, &message) {
                return Err(MetaError::new(100, "Invalid appsecret_proof provided in the API argument"));
            }
        }
        None if meta.require_app_secret_proof => {
            return Err(MetaError::new(100, "API calls from the server require an appsecret_proof argument"));
        }
        None => {}
    }
    let has = |scope: &str| minted.scopes.iter().any(|s| s == scope);
    if has("ads_management") || (!writes && has("ads_read")) {
        return Ok(());
    }
    Err(MetaError::new(200, "(#200) Requires ads_management permission to manage the object").http(403))
}

/// `GET /debug_token`.
pub(crate) fn debug_token(shared: &Shared, params: &Params<'_>) -> Result<Value, MetaError> {
    params.only(&["input_token"])?;
    let meta = &shared.settings.meta;
    let caller = params.required("access_token")?;
    let state = shared.meta();
    if caller != format!("{}|{}", meta.app_id, meta.app_secret) && known(shared, &state, &caller).is_none() {
        return Err(MetaError::new(190, "Invalid OAuth access token signature."));
    }
    let minted = known(shared, &state, &params.required("input_token")?);
    let valid = minted.as_ref().is_some_and(|m| m.expires_at.is_none_or(|at| at > shared.now()));
    let expires = minted.as_ref().and_then(|m| m.expires_at).map_or(0, |at| at.timestamp());
    let scopes = minted.map(|m| m.scopes).unwrap_or_default();
    Ok(
        json!({"data": {"app_id": meta.app_id, "type": "SYSTEM_USER", "is_valid": valid, "expires_at": expires, "scopes": scopes}}),
    )
}

fn mint(shared: &Shared, scopes: Vec<String>, life: Option<TimeDelta>) -> (String, Minted) {
    let mut state = shared.meta();
    state.draws += 1;
    let token = format!("EAAsandbox{:016x}", mix(shared.settings.seed ^ 0x7043, state.draws));
    let minted = Minted { expires_at: life.map(|life| shared.now() + life), scopes };
    state.tokens.insert(token.clone(), minted.clone());
    (token, minted)
}

/// What a person grants lasts so long, until it is exchanged.
const GRANTED_HOURS: i64 = 2;

fn client(meta: &MetaSettings) -> Client<'_> {
    Client {
        id: &meta.app_id,
        secret: &meta.app_secret,
        scopes: &["ads_management", "ads_read", "business_management"],
    }
}

/// `GET /dialog/oauth`.
pub(crate) fn dialog(shared: &Shared, call: &Call) -> Reply {
    let settings = &shared.settings;
    shared.meta().grants.authorize(call, &client(&settings.meta), shared.oauth(), settings.seed, shared.now())
}

/// Persons withdraw what they granted.
pub(crate) fn revoke_grants(shared: &Shared) {
    shared.meta().grants.revoke_all();
}

/// A code becomes a token of short life.
fn redeem(shared: &Shared, params: &Params<'_>) -> Result<Value, MetaError> {
    let names = ["client_id", "client_secret", "code", "redirect_uri", "code_verifier"];
    params.only(&[&names[..], &["grant_type"]].concat())?;
    let values: Vec<_> = names.iter().map(|name| (*name, params.text(name).unwrap_or_default())).collect();
    let form: Form<'_> = values.iter().map(|(name, value)| (*name, value.as_ref())).collect();
    let settings = &shared.settings;
    let granted =
        shared.meta().grants.redeem(&form, &client(&settings.meta), shared.oauth(), settings.seed, shared.now());
    let granted = granted.map_err(|(error, what)| match error {
        "invalid_client" => MetaError::new(101, "Error validating client secret."),
        _ => MetaError::new(100, format!("This authorization code cannot be used. {what}")),
    })?;
    let (token, minted) = mint(shared, granted.scopes, Some(TimeDelta::hours(GRANTED_HOURS)));
    shared.meta().grants.issued(granted.grant, &token);
    let left = minted.expires_at.map(|at| (at - shared.now()).num_seconds());
    Ok(json!({"access_token": token, "token_type": "bearer", "expires_in": left}))
}

/// `GET|POST /oauth/access_token`: redeems a code, or renews an expiring token.
pub(crate) fn exchange(shared: &Shared, params: &Params<'_>) -> Result<Value, MetaError> {
    if params.text("code").is_some() {
        return redeem(shared, params);
    }
    params.only(&["grant_type", "client_id", "client_secret", "fb_exchange_token", "set_token_expires_in_60_days"])?;
    let meta = &shared.settings.meta;
    if params.required("grant_type")? != "fb_exchange_token" {
        return Err(MetaError::invalid("The sandbox offers grant_type fb_exchange_token only"));
    }
    if params.required("client_id")? != meta.app_id || params.required("client_secret")? != meta.app_secret {
        return Err(MetaError::new(101, "Error validating client secret."));
    }
    let given = params.required("fb_exchange_token")?;
    let old = known(shared, &shared.meta(), &given)
        .ok_or_else(|| MetaError::new(190, "Invalid OAuth access token - Cannot parse access token"))?;
    if old.expires_at.is_some_and(|at| at <= shared.now()) {
        return Err(expired_token());
    }
    let (token, minted) = mint(shared, old.scopes, Some(LONG_LIFE));
    shared.meta().grants.follows(&given, &token);
    let left = minted.expires_at.map(|at| (at - shared.now()).num_seconds());
    Ok(json!({"access_token": token, "token_type": "bearer", "expires_in": left}))
}

/// `POST /<SYSTEM_USER>/access_tokens` and `POST /<BUSINESS>/system_user_access_tokens`.
pub(crate) fn system_user_token(shared: &Shared, params: &Params<'_>, of_business: bool) -> Result<Value, MetaError> {
    let own = ["business_app", "scope", "set_token_expires_in_60_days", "system_user_id", "asset", "fetch_only"];
    params.only(&own)?;
    params.required(if of_business { "system_user_id" } else { "business_app" })?;
    if !of_business {
        params.required("appsecret_proof")?;
    }
    let scopes = params.required("scope")?.split(',').map(|s| s.trim().to_owned()).collect();
    let (token, _) = mint(shared, scopes, params.flag("set_token_expires_in_60_days").then_some(LONG_LIFE));
    Ok(json!({"access_token": token}))
}

#[cfg(test)]
mod tests {
    /// The example of meta.md §1.
    #[test]
    fn the_documented_proof_is_reproduced() {
        let proof = super::hmac_hex("shhh", "TOKEN");
        assert_eq!(proof, "0ba00ced03d012d0521192f0bfb4a059676a9a4b774d5e3392c5b7196c9f8d42");
    }
}
