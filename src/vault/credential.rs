//! An OAuth grant as a secret of the vault: what was granted, to which client, and when it ends.

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use url::Url;

use super::{Opened, SecretMeta, VaultError};
use crate::transport::oauth::{OAuthClient, Tokens};

/// [`SecretMeta::kind`] of a grant.
pub const KIND: &str = "oauth";
/// A token of long life is renewed when less than this is left of it, ...
const RENEW_LEFT: chrono::Duration = chrono::Duration::days(20);
/// ... but not younger than this: platforms refuse to renew what they have just given.
const RENEW_AGE: chrono::Duration = chrono::Duration::hours(24);
/// An access token is not used for its last moments.
const LAST_MOMENTS: chrono::Duration = chrono::Duration::seconds(60);

/// Whoever renews a grant announces it, so that no other process uses up the same refresh token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewing {
    pub by: String,
    /// Taken for dead after this.
    pub until: DateTime<Utc>,
}

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredGrant {
    pub token_url: Url,
    pub client_id: String,
    #[serde(serialize_with = "expose_some")]
    pub client_secret: Option<SecretString>,
    #[serde(serialize_with = "expose")]
    pub access_token: SecretString,
    pub access_expires_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "expose_some")]
    pub refresh_token: Option<SecretString>,
    pub refresh_expires_at: Option<DateTime<Utc>>,
    pub scopes: Vec<String>,
    /// When the tokens were got.
    pub got_at: DateTime<Utc>,
    /// The platform's own grant that renews an access token of long life.
    pub exchange: Option<String>,
    pub renewing: Option<Renewing>,
}

fn expose<S: Serializer>(secret: &SecretString, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.expose_secret())
}

fn expose_some<S: Serializer>(secret: &Option<SecretString>, to: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(ExposeSecret::expose_secret).serialize(to)
}

impl StoredGrant {
    /// What `client` was granted just now.
    pub fn new(client: OAuthClient, tokens: Tokens, exchange: Option<&str>, now: DateTime<Utc>) -> Self {
        let OAuthClient { token_url, client_id, client_secret } = client;
        let mut grant = Self {
            token_url,
            client_id,
            client_secret,
            access_token: tokens.access_token.clone(),
            access_expires_at: None,
            refresh_token: None,
            refresh_expires_at: None,
            scopes: Vec::new(),
            got_at: now,
            exchange: exchange.map(str::to_owned),
            renewing: None,
        };
        grant.take(tokens, now);
        grant
    }

    /// # Errors
    /// The secret is not a grant.
    pub fn read(opened: &Opened, name: &str) -> Result<Self, VaultError> {
        let text = opened.value.expose_secret();
        serde_json::from_str(text).map_err(|_| VaultError::NoGrant { name: name.to_owned() })
    }

    /// As text to seal.
    pub fn to_secret(&self) -> SecretString {
        SecretString::from(serde_json::to_string(self).expect("texts and times serialise"))
    }

    /// What may be known without opening it.
    pub fn meta(&self, destination: Option<String>) -> SecretMeta {
        let expires_at = if self.refresh_token.is_some() { self.refresh_expires_at } else { self.access_expires_at };
        SecretMeta { kind: KIND.to_owned(), expires_at, destination }
    }

    /// Takes over what a renewal gave; what it does not mention stays.
    pub fn take(&mut self, tokens: Tokens, now: DateTime<Utc>) {
        let life = match (tokens.expires_in, &self.exchange) {
            // A token of long life without a stated end has none.
            (None, Some(_)) => None,
            _ => Some(tokens.life()),
        };
        let end = |life: Duration| now + chrono::Duration::from_std(life).unwrap_or(chrono::Duration::days(36_500));
        self.access_token = tokens.access_token;
        self.access_expires_at = life.map(end);
        if let Some(refresh_token) = tokens.refresh_token {
            self.refresh_token = Some(refresh_token);
            self.refresh_expires_at = None;
        }
        if let Some(life) = tokens.refresh_expires_in {
            self.refresh_expires_at = Some(end(life));
        }
        if !tokens.scopes.is_empty() {
            self.scopes = tokens.scopes;
        }
        self.got_at = now;
        self.renewing = None;
    }

    /// Whether the access token can be used now.
    pub fn is_live(&self, now: DateTime<Utc>, refused: Option<&SecretString>) -> bool {
        let refused = refused.is_some_and(|token| token.expose_secret() == self.access_token.expose_secret());
        !refused && self.access_expires_at.is_none_or(|end| now + LAST_MOMENTS < end)
    }

    /// Whether the access token should be renewed though it may be used.
    pub fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.exchange.is_some()
            && self.access_expires_at.is_some_and(|end| now > end - RENEW_LEFT)
            && now > self.got_at + RENEW_AGE
    }

    pub fn client(&self) -> OAuthClient {
        OAuthClient {
            token_url: self.token_url.clone(),
            client_id: self.client_id.clone(),
            client_secret: self.client_secret.clone(),
        }
    }

    /// Asks the token server for the next tokens.
    ///
    /// # Errors
    /// `Auth` when it refuses, `Unavailable` when it cannot be reached.
    pub async fn renew(&self, http: &reqwest::Client) -> reveil_sdk::Result<Tokens> {
        match (&self.exchange, &self.refresh_token) {
            (Some(grant), _) => self.client().exchange_token(http, grant, &self.access_token).await,
            (None, Some(refresh_token)) => self.client().refresh(http, refresh_token).await,
            (None, None) => Err(reveil_sdk::Error::new(
                reveil_sdk::ErrorKind::Auth,
                "GetToken",
                "the access token has ended and there is no refresh token",
            )
            .hint("grant access again: `reveil connect <destination>`")),
        }
    }
}
