//! An OAuth 2 authorization server, as far as the RFCs go: authorization code (RFC 6749), PKCE with S256 (RFC 7636),
//! loopback redirects (RFC 8252), refresh tokens that may be good for one use, whose reuse ends the whole grant (RFC
//! 9700), revocation (RFC 7009). Platforms say whose client asks and make the access tokens.

use crate::core::http::{Call, Reply};
use crate::core::key::mix;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use url::Url;

/// What the person at the browser does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consent {
    /// Sees a page with two links.
    #[default]
    Ask,
    /// Says yes at once.
    Allow,
    /// Says no at once.
    Deny,
}

/// How the authorization servers behave; `POST /control/oauth` changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OAuthBehaviour {
    pub consent: Consent,
    /// Whether a refresh token is good for one use and the reply brings the next one. Default no.
    pub rotate: bool,
    /// Life of a code, seconds. Default 600.
    pub code_lifetime_secs: i64,
    /// Life of a refresh token, seconds, told in the reply; for ever when absent.
    pub refresh_lifetime_secs: Option<i64>,
}

impl Default for OAuthBehaviour {
    fn default() -> Self {
        Self { consent: Consent::Ask, rotate: false, code_lifetime_secs: 600, refresh_lifetime_secs: None }
    }
}

/// Who may ask for access.
pub(crate) struct Client<'a> {
    pub(crate) id: &'a str,
    pub(crate) secret: &'a str,
    pub(crate) scopes: &'a [&'a str],
}

/// What was granted and not yet taken back.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Grants {
    codes: BTreeMap<String, Code>,
    refresh_tokens: BTreeMap<String, RefreshToken>,
    /// Access tokens by the grant they came from, so that they end with it.
    access_tokens: BTreeMap<String, u64>,
    ended: BTreeSet<u64>,
    draws: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Code {
    grant: u64,
    redirect_uri: String,
    challenge: Option<String>,
    scopes: Vec<String>,
    offline: bool,
    ends: DateTime<Utc>,
    used: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct RefreshToken {
    grant: u64,
    scopes: Vec<String>,
    ends: Option<DateTime<Utc>>,
    /// Another has taken its place.
    used: bool,
}

/// The standard's word and a sentence.
pub(crate) type Refusal = (&'static str, &'static str);

/// What a token request is granted, but for the access token.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) grant: u64,
    pub(crate) scopes: Vec<String>,
    pub(crate) refresh_token: Option<String>,
    pub(crate) refresh_expires_in: Option<i64>,
}

/// The form of a token request.
pub(crate) type Form<'a> = HashMap<&'a str, &'a str>;

fn field<'a>(form: &Form<'a>, name: &str) -> &'a str {
    form.get(name).copied().unwrap_or("")
}

impl Grants {
    fn draw(&mut self, seed: u64, prefix: &str) -> String {
        self.draws += 1;
        let (a, b) = (mix(seed ^ 0x0A07, 2 * self.draws), mix(seed ^ 0x0A07, 2 * self.draws + 1));
        format!("{prefix}{a:016x}{b:016x}")
    }

    /// `GET` of the authorization endpoint.
    pub(crate) fn authorize(
        &mut self,
        call: &Call,
        client: &Client<'_>,
        behaviour: OAuthBehaviour,
        seed: u64,
        now: DateTime<Utc>,
    ) -> Reply {
        let query: HashMap<String, String> =
            call.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
        let field = |name: &str| query.get(name).map(String::as_str).unwrap_or("");
        // Whoever asks must be known before anybody is sent anywhere (RFC 6749, 4.1.2.1).
        let redirect = Url::parse(field("redirect_uri")).ok().filter(may_be_redirected_to);
        let (true, Some(redirect)) = (field("client_id") == client.id, redirect) else {
            return page(400, "<p>This app is not known here, or its redirect address is not registered.</p>");
        };
        let back = |pairs: &[(&str, &str)]| {
            let mut url = redirect.clone();
            url.query_pairs_mut().extend_pairs(pairs);
            if !field("state").is_empty() {
                url.query_pairs_mut().append_pair("state", field("state"));
            }
            Reply::html(302).header("location", url)
        };
        let asked: Vec<String> =
            field("scope").split([' ', ',']).filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
        if field("response_type") != "code" {
            return back(&[("error", "unsupported_response_type")]);
        }
        if asked.is_empty() || asked.iter().any(|scope| !client.scopes.contains(&scope.as_str())) {
            return back(&[("error", "invalid_scope")]);
        }
        let challenge = Some(field("code_challenge")).filter(|challenge| !challenge.is_empty());
        if challenge.is_some_and(|challenge| field("code_challenge_method") != "S256" || challenge.len() != 43) {
            return back(&[
                ("error", "invalid_request"),
                ("error_description", "code_challenge must be of method S256"),
            ]);
        }
        let consent = match field("sandbox_consent") {
            "allow" => Consent::Allow,
            "deny" => Consent::Deny,
            _ => behaviour.consent,
        };
        match consent {
            Consent::Ask => {
                let link = |word: &str| format!("?{}&amp;sandbox_consent={word}", call.query.replace('&', "&amp;"));
                page(
                    200,
                    &format!(
                        "<p>An app asks for access to your audiences.</p><p><a href=\"{}\">Allow</a> \
                         <a href=\"{}\">Deny</a></p>",
                        link("allow"),
                        link("deny")
                    ),
                )
            }
            Consent::Deny => back(&[("error", "access_denied")]),
            Consent::Allow => {
                let code = self.draw(seed, "code-");
                let ends = now + TimeDelta::seconds(behaviour.code_lifetime_secs);
                let issued = Code {
                    grant: self.draws,
                    redirect_uri: field("redirect_uri").to_owned(),
                    challenge: challenge.map(str::to_owned),
                    scopes: asked,
                    offline: field("access_type") == "offline",
                    ends,
                    used: false,
                };
                self.codes.insert(code.clone(), issued);
                back(&[("code", &code)])
            }
        }
    }

    /// Trades a code; `form` as sent.
    pub(crate) fn redeem(
        &mut self,
        form: &Form<'_>,
        client: &Client<'_>,
        behaviour: OAuthBehaviour,
        seed: u64,
        now: DateTime<Utc>,
    ) -> Result<Granted, Refusal> {
        check_client(form, client)?;
        let invalid = |what| Err(("invalid_grant", what));
        let Some(code) = self.codes.get_mut(field(form, "code")) else { return invalid("Malformed auth code.") };
        if code.used {
            // Somebody has stolen it: whatever it granted ends (RFC 6749, 4.1.2).
            let grant = code.grant;
            self.end(grant);
            return invalid("The code was used before.");
        }
        if now >= code.ends {
            return invalid("The code has expired.");
        }
        if field(form, "redirect_uri") != code.redirect_uri {
            return invalid("The redirect address is not the one the code was asked for with.");
        }
        if let Some(challenge) = &code.challenge {
            let verifier = field(form, "code_verifier");
            if !(43..=128).contains(&verifier.len()) || URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) != *challenge {
                return invalid("Code verifier does not fit the challenge.");
            }
        }
        code.used = true;
        let (grant, scopes, offline) = (code.grant, code.scopes.clone(), code.offline);
        let refresh_token = offline.then(|| self.refresh_token(grant, &scopes, behaviour, seed, now));
        let refresh_expires_in = behaviour.refresh_lifetime_secs.filter(|_| offline);
        Ok(Granted { grant, scopes, refresh_token, refresh_expires_in })
    }

    fn refresh_token(
        &mut self,
        grant: u64,
        scopes: &[String],
        behaviour: OAuthBehaviour,
        seed: u64,
        now: DateTime<Utc>,
    ) -> String {
        let token = self.draw(seed, "refresh-");
        let ends = behaviour.refresh_lifetime_secs.map(|secs| now + TimeDelta::seconds(secs));
        self.refresh_tokens.insert(token.clone(), RefreshToken { grant, scopes: scopes.to_vec(), ends, used: false });
        token
    }

    /// Trades a refresh token for what it grants; brings the next one where they are good for one use.
    pub(crate) fn refresh(
        &mut self,
        form: &Form<'_>,
        client: &Client<'_>,
        behaviour: OAuthBehaviour,
        seed: u64,
        now: DateTime<Utc>,
    ) -> Result<Granted, Refusal> {
        check_client(form, client)?;
        let refused = ("invalid_grant", "Token has been expired or revoked.");
        let token = self.refresh_tokens.get_mut(field(form, "refresh_token")).ok_or(refused)?;
        let grant = token.grant;
        if token.used {
            self.end(grant);
            return Err(("invalid_grant", "The refresh token was used before; the grant is withdrawn."));
        }
        if token.ends.is_some_and(|ends| now >= ends) {
            return Err(refused);
        }
        let scopes = token.scopes.clone();
        token.used = behaviour.rotate;
        let refresh_token = behaviour.rotate.then(|| self.refresh_token(grant, &scopes, behaviour, seed, now));
        let refresh_expires_in = behaviour.refresh_lifetime_secs.filter(|_| behaviour.rotate);
        Ok(Granted { grant, scopes, refresh_token, refresh_expires_in })
    }

    /// Remembers which grant an access token came from.
    pub(crate) fn issued(&mut self, grant: u64, access_token: &str) {
        self.access_tokens.insert(access_token.to_owned(), grant);
    }

    /// A token that was got for another one ends with the same grant, if that came from one.
    pub(crate) fn follows(&mut self, old: &str, new: &str) {
        if let Some(grant) = self.access_tokens.get(old).copied() {
            self.issued(grant, new);
        }
    }

    /// Whether an access token came from a grant that has ended.
    pub(crate) fn has_ended(&self, access_token: &str) -> bool {
        self.access_tokens.get(access_token).is_some_and(|grant| self.ended.contains(grant))
    }

    /// Ends the grant behind a token of either kind (RFC 7009: unknown tokens are no error).
    pub(crate) fn revoke(&mut self, token: &str) {
        let refresh = self.refresh_tokens.get(token).map(|token| token.grant);
        if let Some(grant) = refresh.or(self.access_tokens.get(token).copied()) {
            self.end(grant);
        }
    }

    /// Ends every grant.
    pub(crate) fn revoke_all(&mut self) {
        self.ended.extend(self.refresh_tokens.values().map(|token| token.grant));
        self.ended.extend(self.access_tokens.values());
        self.refresh_tokens.clear();
    }

    fn end(&mut self, grant: u64) {
        self.refresh_tokens.retain(|_, token| token.grant != grant);
        self.ended.insert(grant);
    }
}

fn check_client(form: &Form<'_>, client: &Client<'_>) -> Result<(), Refusal> {
    if field(form, "client_id") != client.id {
        return Err(("invalid_client", "The OAuth client was not found."));
    }
    if field(form, "client_secret") != client.secret {
        return Err(("invalid_client", "Unauthorized"));
    }
    Ok(())
}

/// Apps on a person's own machine listen on loopback, on any port; others on registered addresses, here one.
fn may_be_redirected_to(url: &Url) -> bool {
    let loopback = url.scheme() == "http" && matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    loopback || url.as_str().starts_with("https://paste.example/")
}

fn page(status: u16, text: &str) -> Reply {
    let mut reply = Reply::html(status);
    reply.body = format!("<!DOCTYPE html>\n<html><head><title>Sandbox</title></head><body>{text}</body></html>").into();
    reply
}
