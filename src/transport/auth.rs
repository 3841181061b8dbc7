//! Tokens: which header a call gets, and how the token behind it is got and renewed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use reveil_sdk::{Auth, Clock, Error, ErrorKind, Result};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use url::Url;

use super::oauth::{OAuthClient, misshapen, refused, unavailable, unreachable_server};

/// Renewed when this share of the token's life is over.
const RENEW_AT: f64 = 0.8;
const ASSERTION_SECS: i64 = 3600;

/// Keeps a grant that several processes share, and what became of it: a refresh token may be good for one use only.
#[async_trait]
pub trait TokenKeeper: Send + Sync + std::fmt::Debug {
    /// A live access token and when it ends. `refused` is one that the platform takes no more.
    ///
    /// # Errors
    /// As [`Authenticator::token`].
    async fn access_token(
        &self,
        http: &reqwest::Client,
        refused: Option<&SecretString>,
    ) -> Result<(SecretString, DateTime<Utc>)>;
}

/// Holds the current token of one destination.
pub struct Authenticator {
    auth: Auth,
    /// Gets tokens in place of the grant in `auth`.
    keeper: Option<Arc<dyn TokenKeeper>>,
    client: reqwest::Client,
    clock: Arc<dyn Clock>,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    token: Option<Token>,
    /// The last one that was invalidated.
    refused: Option<SecretString>,
}

struct Token {
    value: SecretString,
    renew_at: DateTime<Utc>,
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}

impl Authenticator {
    pub fn new(auth: Auth, client: reqwest::Client, clock: Arc<dyn Clock>) -> Self {
        Self { auth, keeper: None, client, clock, current: Mutex::default() }
    }

    /// Lets `keeper` get the tokens.
    pub fn keep(&mut self, keeper: Arc<dyn TokenKeeper>) {
        self.keeper = Some(keeper);
    }

    /// Whether a 401 can be answered by getting a new token.
    pub fn renewable(&self) -> bool {
        matches!(self.auth, Auth::RefreshToken { .. } | Auth::ServiceAccount { .. })
    }

    /// Forgets the current token, so that the next call gets a new one.
    pub async fn invalidate(&self) {
        let mut current = self.current.lock().await;
        if let Some(token) = current.token.take() {
            current.refused = Some(token.value);
        }
    }

    /// The token to send, or none.
    ///
    /// # Errors
    /// `Auth` when the grant is refused, `Unavailable` when the token server cannot be reached.
    pub async fn token(&self) -> Result<Option<SecretString>> {
        match &self.auth {
            Auth::None => Ok(None),
            Auth::Bearer(token) => Ok(Some(token.clone())),
            Auth::RefreshToken { .. } | Auth::ServiceAccount { .. } => {
                // Held over the request on purpose: callers that find no token wait for the one being got.
                let mut current = self.current.lock().await;
                let now = self.clock.now();
                if let Some(token) = current.token.as_ref().filter(|token| now < token.renew_at) {
                    return Ok(Some(token.value.clone()));
                }
                let (value, life) = match &self.keeper {
                    Some(keeper) => {
                        let (value, ends) = keeper.access_token(&self.client, current.refused.as_ref()).await?;
                        (value, (ends - now).to_std().unwrap_or_default())
                    }
                    None => self.grant(now).await?,
                };
                current.token = Some(Token { value: value.clone(), renew_at: now + life.mul_f64(RENEW_AT) });
                Ok(Some(value))
            }
        }
    }

    async fn grant(&self, now: DateTime<Utc>) -> Result<(SecretString, Duration)> {
        match &self.auth {
            Auth::RefreshToken { token_url, client_id, client_secret, refresh_token } => {
                let client = OAuthClient {
                    token_url: token_url.clone(),
                    client_id: client_id.clone(),
                    client_secret: Some(client_secret.clone()),
                };
                let tokens = client.refresh(&self.client, refresh_token).await?;
                let life = tokens.life();
                Ok((tokens.access_token, life))
            }
            Auth::ServiceAccount { token_url, issuer, key_id, private_key_pem, scope } => {
                let assertion = sign_assertion(token_url, issuer, key_id.as_deref(), private_key_pem, scope, now)?;
                self.exchange_assertion(token_url, &assertion).await
            }
            Auth::None | Auth::Bearer(_) => unreachable!("only renewable tokens are granted"),
        }
    }

    async fn exchange_assertion(&self, token_url: &Url, assertion: &str) -> Result<(SecretString, Duration)> {
        #[derive(Deserialize)]
        struct Granted {
            access_token: String,
            #[serde(default)]
            expires_in: Option<u64>,
        }
        #[derive(Deserialize)]
        struct Refused {
            error: String,
        }
        let reply = self
            .client
            .post(token_url.clone())
            .form(&[("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", assertion)])
            .send()
            .await
            .map_err(|error| unreachable_server(&error))?;
        let status = reply.status().as_u16();
        let body = reply.bytes().await.map_err(|error| unreachable_server(&error))?;
        if status != 200 {
            let code = serde_json::from_slice::<Refused>(&body).map(|refused| refused.error).unwrap_or_default();
            return Err(match status {
                400..=403 => refused(&code),
                _ => unavailable(status),
            });
        }
        let granted: Granted = serde_json::from_slice(&body).map_err(|_| misshapen())?;
        Ok((SecretString::from(granted.access_token), Duration::from_secs(granted.expires_in.unwrap_or(3600))))
    }
}

fn sign_assertion(
    token_url: &Url,
    issuer: &str,
    key_id: Option<&str>,
    private_key_pem: &SecretString,
    scope: &str,
    now: DateTime<Utc>,
) -> Result<String> {
    #[derive(Serialize)]
    struct Header<'a> {
        alg: &'static str,
        typ: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        kid: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Claims<'a> {
        iss: &'a str,
        scope: &'a str,
        aud: &'a str,
        iat: i64,
        exp: i64,
    }
    let unusable = || {
        Error::new(ErrorKind::Config, "GetToken", "the service account's private key is not a PKCS#8 RSA key in PEM")
            .hint("use the JSON key file as downloaded, unchanged")
    };
    let der = PrivatePkcs8KeyDer::from_pem_slice(private_key_pem.expose_secret().as_bytes()).map_err(|_| unusable())?;
    let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| unusable())?;
    let encode = |value: &dyn erased::Json| URL_SAFE_NO_PAD.encode(value.to_json());
    let header = encode(&Header { alg: "RS256", typ: "JWT", kid: key_id });
    let issued = now.timestamp();
    let claims =
        encode(&Claims { iss: issuer, scope, aud: token_url.as_str(), iat: issued, exp: issued + ASSERTION_SECS });
    let signing_input = format!("{header}.{claims}");
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signing_input.as_bytes(), &mut signature)
        .map_err(|_| unusable())?;
    Ok(format!("{signing_input}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

mod erased {
    pub trait Json {
        fn to_json(&self) -> Vec<u8>;
    }
    impl<T: serde::Serialize> Json for T {
        fn to_json(&self) -> Vec<u8> {
            serde_json::to_vec(self).expect("strings and integers serialise")
        }
    }
}
