//! `reveil connect`: a person grants access in a browser. OAuth 2 authorization code with PKCE (S256) and a state that
//! ties the answer to the question.

use oauth2::{AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope};
use reveil_sdk::{Clock, Error, ErrorKind, Grant, OAuthSpec, Result};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq as _;
use url::Url;

use super::credential::StoredGrant;
use crate::config::DestinationConfig;
use crate::transport::http::is_loopback;
use crate::transport::oauth::OAuthClient;

const OPERATION: &str = "Connect";

/// Who asks, where, for what.
#[derive(Debug, Clone)]
pub struct Asker {
    spec: OAuthSpec,
    authorize_url: Url,
    client: OAuthClient,
}

impl Asker {
    /// What the destination's settings and the connector's declaration make of it. `client` as known from elsewhere: the
    /// config's secret, an earlier grant.
    ///
    /// # Errors
    /// `Config`: no client is named, an address is no https URL, or (`loopback_only`) is another machine.
    pub fn new(
        spec: OAuthSpec,
        destination: &DestinationConfig,
        client_id: Option<String>,
        client_secret: Option<SecretString>,
        loopback_only: bool,
    ) -> Result<Self> {
        let setting = |key: &str| match destination.settings.get(key)? {
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let client_id = setting(spec.client_id_setting).or(client_id).ok_or_else(|| {
            Error::config(format!("the OAuth client is not named: set `{}` of the destination", spec.client_id_setting))
        })?;
        let address = |key: &'static str, default: &str| {
            if setting(key).is_none() && destination.base_url.is_some() {
                return Err(Error::config(format!("with a `base_url` of its own, the destination needs `{key}` too")));
            }
            let url = Url::parse(&setting(key).unwrap_or_else(|| default.to_owned())).ok();
            let url = url.filter(|url| url.has_host() && (url.scheme() == "https" || is_loopback(url)));
            let url = url.ok_or_else(|| Error::config(format!("`{key}` must be an https URL")))?;
            if loopback_only && !is_loopback(&url) {
                return Err(Error::config("the source is marked synthetic; no other machine is asked for access")
                    .hint(format!("set `{key}` to a sandbox on 127.0.0.1, or remove `synthetic = true`")));
            }
            Ok(url)
        };
        Ok(Self {
            spec,
            authorize_url: address("authorize_url", spec.authorize_url)?,
            client: OAuthClient { token_url: address("token_url", spec.token_url)?, client_id, client_secret },
        })
    }

    /// A new question, to be answered at `redirect`.
    pub fn ask(&self, redirect: Url) -> Question {
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let redirect = RedirectUrl::from_url(redirect);
        let client = oauth2::basic::BasicClient::new(ClientId::new(self.client.client_id.clone()))
            .set_auth_uri(AuthUrl::from_url(self.authorize_url.clone()))
            .set_redirect_uri(redirect.clone());
        let scopes = self.spec.scopes.iter().map(|scope| Scope::new((*scope).to_owned()));
        let mut request = client.authorize_url(CsrfToken::new_random).add_scopes(scopes).set_pkce_challenge(challenge);
        for (name, value) in self.spec.extra {
            request = request.add_extra_param(*name, *value);
        }
        let (url, state) = request.url();
        Question { url, state, verifier, redirect }
    }

    /// Trades the code for tokens, and those of short life for what lasts.
    ///
    /// # Errors
    /// `Auth` when the server refuses, `Unavailable` when it cannot be reached.
    pub async fn redeem(
        &self,
        question: Question,
        code: String,
        http: &reqwest::Client,
        clock: &dyn Clock,
    ) -> Result<StoredGrant> {
        let tokens = self.client.exchange_code(http, code, question.verifier, question.redirect).await?;
        let client = self.client.clone();
        match self.spec.grant {
            Grant::RefreshToken if tokens.refresh_token.is_none() => {
                Err(Error::new(ErrorKind::Auth, OPERATION, "the platform gave no refresh token")
                    .hint("withdraw the app's access on the platform's own page and connect again"))
            }
            Grant::RefreshToken => Ok(StoredGrant::new(client, tokens, None, clock.now())),
            Grant::LongLivedToken { exchange } => {
                let lasting = self.client.exchange_token(http, exchange, &tokens.access_token).await?;
                Ok(StoredGrant::new(client, lasting, Some(exchange), clock.now()))
            }
        }
    }
}

/// A question put to a person.
pub struct Question {
    /// Where they answer it.
    pub url: Url,
    state: CsrfToken,
    verifier: PkceCodeVerifier,
    redirect: RedirectUrl,
}

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Question").finish_non_exhaustive()
    }
}

/// Why an answer was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoCode {
    /// It answers another question.
    OtherState,
    /// Neither a code nor a refusal.
    Unreadable,
}

impl Question {
    /// What the browser was sent back with: the code, or the platform's word for the refusal.
    ///
    /// # Errors
    /// [`NoCode`]: it is not the answer to this question.
    pub fn read_answer(&self, answer: &Url) -> std::result::Result<std::result::Result<String, String>, NoCode> {
        let field = |name: &str| answer.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let state = field("state").unwrap_or_default();
        if !bool::from(state.as_bytes().ct_eq(self.state.secret().as_bytes())) {
            return Err(NoCode::OtherState);
        }
        match (field("code"), field("error")) {
            (Some(code), None) if !code.is_empty() => Ok(Ok(code)),
            (_, Some(error)) => Ok(Err(word(&error))),
            _ => Err(NoCode::Unreadable),
        }
    }

    /// What a person pasted: the address the browser ended on, or the code alone.
    ///
    /// # Errors
    /// `Auth`: refused, or the answer to another question; the text is not repeated.
    pub fn read_pasted(&self, pasted: &SecretString) -> Result<String> {
        let text = pasted.expose_secret().trim();
        let answer = match Url::parse(text) {
            Ok(url) => self.read_answer(&url),
            // A code without its state is bound to the question by PKCE alone.
            Err(_) if !text.is_empty() && !text.contains(char::is_whitespace) => return Ok(text.to_owned()),
            Err(_) => Err(NoCode::Unreadable),
        };
        match answer {
            Ok(Ok(code)) => Ok(code),
            Ok(Err(word)) => Err(denied(&word)),
            Err(NoCode::OtherState) => {
                Err(Error::new(ErrorKind::Auth, OPERATION, "the pasted address answers another request")
                    .hint("open the address that was printed last, and paste where that ends"))
            }
            Err(NoCode::Unreadable) => Err(Error::new(ErrorKind::Auth, OPERATION, "no code was pasted")
                .hint("paste the whole address the browser ended on, or the code in it")),
        }
    }
}

/// The platform's error code, as far as it is one.
fn word(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(60).collect()
}

/// The person, or the platform for them, said no.
pub fn denied(word: &str) -> Error {
    Error::new(ErrorKind::Auth, OPERATION, "access was not granted")
        .with("code", word)
        .hint("run the command again and allow the access; the platform's word says why it was refused")
}

/// Nobody answered.
pub fn timed_out(secs: u64) -> Error {
    Error::new(ErrorKind::Auth, OPERATION, format!("nobody answered within {secs} s"))
        .hint("run the command again; where no browser reaches this machine, use --paste")
}
