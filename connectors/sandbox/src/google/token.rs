//! The OAuth endpoints and the bearer check.

use super::error::GoogleError;
use crate::Error;
use crate::core::http::{Call, Reply};
use crate::core::key::mix;
use crate::core::oauth::{self, Client, Form, Granted};
use crate::settings::GoogleSettings;
use crate::world::Shared;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Value, json};

const SCOPE: &str = "https://www.googleapis.com/auth/datamanager";
const REAL_TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
const JWT_GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// Clocks may differ by so much.
const SKEW_SECS: i64 = 300;

fn client(google: &GoogleSettings) -> Client<'_> {
    Client { id: &google.client_id, secret: &google.client_secret, scopes: &[SCOPE] }
}

/// `GET /google/o/oauth2/v2/auth`.
pub(crate) fn authorize(shared: &Shared, call: &Call) -> Reply {
    let settings = &shared.settings;
    shared.google().grants.authorize(call, &client(&settings.google), shared.oauth(), settings.seed, shared.now())
}

/// `POST /google/revoke`.
pub(crate) fn revoke(shared: &Shared, call: &Call) -> Reply {
    let token = url::form_urlencoded::parse(&call.body).find(|(name, _)| name == "token");
    let Some((_, token)) = token else {
        return Reply::json(400, &json!({"error": "invalid_request"}));
    };
    shared.google().grants.revoke(&token);
    Reply::ok(&json!({}))
}

/// Persons withdraw what they granted.
pub(crate) fn revoke_grants(shared: &Shared) {
    shared.google().grants.revoke_all();
}

/// `POST /google/token`.
pub(crate) fn issue(shared: &Shared, call: &Call) -> Reply {
    match grant(shared, call) {
        Ok(granted) => {
            let mut state = shared.google();
            state.draws += 1;
            let token = format!("ya29.sandbox-{:016x}", mix(shared.settings.seed ^ 0x670A, state.draws));
            let lifetime = shared.settings.google.token_lifetime_secs;
            let now = shared.now();
            state.tokens.retain(|_, ends| *ends > now);
            state.tokens.insert(token.clone(), now + TimeDelta::seconds(lifetime));
            let mut body =
                json!({"access_token": token, "expires_in": lifetime, "scope": SCOPE, "token_type": "Bearer"});
            if let Some(granted) = granted {
                state.grants.issued(granted.grant, &token);
                let more = [
                    ("refresh_token", granted.refresh_token.map(Value::from)),
                    ("refresh_token_expires_in", granted.refresh_expires_in.map(Value::from)),
                ];
                for (name, value) in more {
                    if let Some(value) = value {
                        body[name] = value;
                    }
                }
            }
            Reply::ok(&body)
        }
        Err((status, error, description)) => {
            Reply::json(status, &json!({"error": error, "error_description": description}))
        }
    }
}

type Refusal = (u16, &'static str, &'static str);

/// `None` for a credential that nobody granted in a browser.
fn grant(shared: &Shared, call: &Call) -> Result<Option<Granted>, Refusal> {
    let settings = &shared.settings;
    let google = &settings.google;
    if !call.is("application/x-www-form-urlencoded") {
        return Err((400, "invalid_request", "The body must be a URL-encoded form."));
    }
    let pairs: Vec<_> = url::form_urlencoded::parse(&call.body).collect();
    let form: Form<'_> = pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
    let field = |name: &str| form.get(name).copied().unwrap_or("");
    let refuse = |(error, what): oauth::Refusal| (if error == "invalid_client" { 401 } else { 400 }, error, what);
    let (now, behaviour) = (shared.now(), shared.oauth());
    match field("grant_type") {
        "authorization_code" => {
            let granted = shared.google().grants.redeem(&form, &client(google), behaviour, settings.seed, now);
            granted.map(Some).map_err(refuse)
        }
        "refresh_token" if field("refresh_token") != google.refresh_token => {
            let granted = shared.google().grants.refresh(&form, &client(google), behaviour, settings.seed, now);
            granted.map(Some).map_err(refuse)
        }
        "refresh_token" => {
            if field("client_id") != google.client_id {
                return Err((401, "invalid_client", "The OAuth client was not found."));
            }
            if field("client_secret") != google.client_secret {
                return Err((401, "invalid_client", "Unauthorized"));
            }
            Ok(None)
        }
        JWT_GRANT => assertion(shared, field("assertion")).map(|()| None),
        "" => Err((400, "invalid_request", "Required parameter is missing: grant_type")),
        _ => Err((400, "unsupported_grant_type", "Invalid grant_type")),
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    scope: String,
    exp: i64,
    iat: i64,
}

fn assertion(shared: &Shared, assertion: &str) -> Result<(), Refusal> {
    let google = &shared.settings.google;
    let malformed =
        (400, "invalid_grant", "Invalid JWT: it must have three Base64url parts of JSON, JSON and signature.");
    let parts: Vec<&str> = assertion.split('.').collect();
    let [header, claims, signature] = *parts else { return Err(malformed) };
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed);
    let parsed: Header = serde_json::from_slice(&decoded(header)?).map_err(|_| malformed)?;
    if parsed.alg != "RS256" {
        return Err((400, "invalid_grant", "Invalid JWT: alg must be RS256."));
    }
    let parsed: Claims = serde_json::from_slice(&decoded(claims)?).map_err(|_| malformed)?;
    let signature = decoded(signature)?;
    if let Some(pem) = &google.service_account_key_pem {
        let key = rsa_key(pem).ok_or((500, "server_error", "The sandbox's public key cannot be read."))?;
        let signed = &assertion[..header.len() + 1 + claims.len()];
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key)
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| (400, "invalid_grant", "Invalid JWT Signature."))?;
    }
    if google.service_account.as_ref().is_some_and(|iss| *iss != parsed.iss) {
        return Err((400, "invalid_grant", "Invalid grant: account not found"));
    }
    if parsed.aud != REAL_TOKEN_URL && parsed.aud != shared.base_url("google/token") {
        return Err((400, "invalid_grant", "Invalid JWT: aud must be the token endpoint."));
    }
    let now = shared.now().timestamp();
    if parsed.exp <= now - SKEW_SECS || parsed.iat > now + SKEW_SECS || parsed.exp - parsed.iat > 3_600 {
        let what = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.";
        return Err((400, "invalid_grant", what));
    }
    match parsed.scope.split(' ').any(|scope| scope == SCOPE) {
        true => Ok(()),
        false => Err((400, "invalid_scope", "Invalid OAuth scope or ID token audience provided.")),
    }
}

/// Refuses calls without a live access token.
pub(crate) fn authorise(shared: &Shared, call: &Call) -> Result<(), GoogleError> {
    let token = call.bearer().ok_or_else(GoogleError::unauthenticated)?;
    if shared.settings.google.static_token.as_deref() == Some(token) {
        return Ok(());
    }
    let state = shared.google();
    match state.tokens.get(token) {
        Some(ends) if *ends > shared.now() && !state.grants.has_ended(token) => Ok(()),
        _ => Err(GoogleError::unauthenticated()),
    }
}

/// Refuses a key that could never verify anything.
pub(crate) fn check_key(pem: Option<&str>) -> Result<(), Error> {
    match pem {
        Some(pem) if rsa_key(pem).is_none() => Err(Error::Setting {
            setting: "google.service_account_key_pem",
            what: "give an RSA public key as PEM (BEGIN PUBLIC KEY or BEGIN RSA PUBLIC KEY)".into(),
        }),
        _ => Ok(()),
    }
}

/// The PKCS #1 key inside a PEM of either kind.
fn rsa_key(pem: &str) -> Option<Vec<u8>> {
    let wrapped = pem.contains("BEGIN PUBLIC KEY");
    if !wrapped && !pem.contains("BEGIN RSA PUBLIC KEY") {
        return None;
    }
    let text: String = pem.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(text).ok()?;
    if !wrapped {
        return Some(der);
    }
    // SubjectPublicKeyInfo: SEQUENCE { SEQUENCE { algorithm }, BIT STRING { 0 unused bits, key } }.
    let (info, _) = element(&der, 0x30)?;
    let (_, rest) = element(info, 0x30)?;
    let (bits, _) = element(rest, 0x03)?;
    bits.strip_prefix(&[0]).map(<[u8]>::to_vec)
}

/// Content of the DER element with this tag at the start, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.split_first()?;
    let (&short, rest) = rest.split_first()?;
    if first != tag {
        return None;
    }
    let (length, rest) = if short < 0x80 {
        (usize::from(short), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(short & 0x7F))?;
        (digits.iter().try_fold(0usize, |n, d| n.checked_mul(256)?.checked_add(usize::from(*d)))?, rest)
    };
    rest.split_at_checked(length)
}
