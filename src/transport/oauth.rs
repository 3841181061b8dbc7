//! Token endpoints: a code, a refresh token or a token of short life becomes what calls are authorised with. Replies
//! and refusals only; what is kept of them is the vault's.

use std::time::Duration;

use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AsyncHttpClient, AuthType, AuthorizationCode, ClientId, ClientSecret, EndpointNotSet, EndpointSet,
    ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError,
    StandardRevocableToken, StandardTokenResponse, TokenResponse, TokenUrl,
};
use reveil_sdk::{Error, ErrorKind, Result};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

/// What an access token without a stated life is taken to live.
const USUAL_LIFE: Duration = Duration::from_secs(3600);

/// Who asks for tokens, and where.
#[derive(Debug, Clone)]
pub struct OAuthClient {
    pub token_url: Url,
    pub client_id: String,
    /// Absent for clients that cannot keep one; PKCE protects them.
    pub client_secret: Option<SecretString>,
}

/// What a token endpoint granted.
#[derive(Debug, Clone)]
pub struct Tokens {
    pub access_token: SecretString,
    /// `None`: not stated.
    pub expires_in: Option<Duration>,
    /// Instead of the one that was used, if any.
    pub refresh_token: Option<SecretString>,
    pub refresh_expires_in: Option<Duration>,
    pub scopes: Vec<String>,
}

impl Tokens {
    /// The access token's life, guessed when it is not stated.
    pub fn life(&self) -> Duration {
        self.expires_in.unwrap_or(USUAL_LIFE)
    }
}

/// Beside the standard's own; several platforms say how long a refresh token lives.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Lives {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_token_expires_in: Option<u64>,
}

impl ExtraTokenFields for Lives {}

type Reply = StandardTokenResponse<Lives, BasicTokenType>;
type Client = oauth2::Client<
    BasicErrorResponse,
    Reply,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

impl OAuthClient {
    fn client(&self) -> Client {
        let client = oauth2::Client::new(ClientId::new(self.client_id.clone()))
            .set_auth_type(AuthType::RequestBody)
            .set_token_uri(TokenUrl::from_url(self.token_url.clone()));
        match &self.client_secret {
            Some(secret) => client.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned())),
            None => client,
        }
    }

    /// Trades the code of an authorization for tokens.
    ///
    /// # Errors
    /// `Auth` when the server refuses the code, `Unavailable` when it cannot be reached.
    pub async fn exchange_code(
        &self,
        http: &reqwest::Client,
        code: String,
        verifier: PkceCodeVerifier,
        redirect: RedirectUrl,
    ) -> Result<Tokens> {
        let client = self.client().set_redirect_uri(redirect);
        let request = client.exchange_code(AuthorizationCode::new(code)).set_pkce_verifier(verifier);
        read(request.request_async(&OverReqwest(http)).await)
    }

    /// # Errors
    /// `Auth` when the server refuses the refresh token, `Unavailable` when it cannot be reached.
    pub async fn refresh(&self, http: &reqwest::Client, refresh_token: &SecretString) -> Result<Tokens> {
        let client = self.client();
        let refresh_token = RefreshToken::new(refresh_token.expose_secret().to_owned());
        read(client.exchange_refresh_token(&refresh_token).request_async(&OverReqwest(http)).await)
    }

    /// Trades an access token for one that lives longer, where a platform has such a grant of its own.
    ///
    /// # Errors
    /// `Auth` when the server refuses the token, `Unavailable` when it cannot be reached.
    pub async fn exchange_token(&self, http: &reqwest::Client, grant: &str, token: &SecretString) -> Result<Tokens> {
        let mut form =
            vec![("grant_type", grant), ("client_id", self.client_id.as_str()), (grant, token.expose_secret())];
        form.extend(self.client_secret.as_ref().map(|secret| ("client_secret", secret.expose_secret())));
        let reply =
            http.post(self.token_url.clone()).form(&form).send().await.map_err(|error| unreachable_server(&error))?;
        let status = reply.status();
        let body = reply.bytes().await.map_err(|error| unreachable_server(&error))?;
        if !status.is_success() {
            return Err(match status.as_u16() {
                400..=403 => refused("refused"),
                status => unavailable(status),
            });
        }
        serde_json::from_slice::<Reply>(&body).map(|reply| tokens(&reply)).map_err(|_| misshapen())
    }
}

fn read(reply: Result<Reply, RequestTokenError<Error, BasicErrorResponse>>) -> Result<Tokens> {
    reply.map(|reply| tokens(&reply)).map_err(|error| match error {
        RequestTokenError::ServerResponse(reply) => refused(reply.error().as_ref()),
        RequestTokenError::Request(error) => error,
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => misshapen(),
    })
}

fn tokens(reply: &Reply) -> Tokens {
    Tokens {
        access_token: SecretString::from(reply.access_token().secret().clone()),
        expires_in: reply.expires_in(),
        refresh_token: reply.refresh_token().map(|token| SecretString::from(token.secret().clone())),
        refresh_expires_in: reply.extra_fields().refresh_token_expires_in.map(Duration::from_secs),
        scopes: reply.scopes().map(|scopes| scopes.iter().map(|scope| scope.to_string()).collect()).unwrap_or_default(),
    }
}

pub(super) fn refused(code: &str) -> Error {
    let hint = match code {
        "invalid_client" | "unauthorized_client" => {
            "the client id or its secret is wrong or missing; where the access came from `reveil connect`, give the secret \
             again with --client-secret-stdin"
        }
        _ => {
            "the credential was revoked, has expired or belongs to another client; make a new one (`reveil connect`, \
             where the platform has it) and set it again"
        }
    };
    Error::new(ErrorKind::Auth, "GetToken", "the token server refuses the credential").with("code", code).hint(hint)
}

pub(super) fn misshapen() -> Error {
    Error::new(ErrorKind::Protocol, "GetToken", "the token server's reply is not of the OAuth 2 shape")
}

pub(super) fn unavailable(status: u16) -> Error {
    Error::new(ErrorKind::Unavailable, "GetToken", "the token server could not answer").with("status", status)
}

pub(super) fn unreachable_server(error: &reqwest::Error) -> Error {
    let message =
        if error.is_timeout() { "the token server did not answer in time" } else { "cannot reach the token server" };
    Error::new(ErrorKind::Unavailable, "GetToken", message)
}

/// Lets the `oauth2` crate speak through our own client.
struct OverReqwest<'a>(&'a reqwest::Client);

impl<'c> AsyncHttpClient<'c> for OverReqwest<'_> {
    type Error = Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<HttpResponse, Error>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let request = reqwest::Request::try_from(request)
                .map_err(|_| Error::new(ErrorKind::Config, "GetToken", "the token URL cannot be called"))?;
            let reply = self.0.execute(request).await.map_err(|error| unreachable_server(&error))?;
            let status = reply.status();
            if status.is_server_error() {
                return Err(unavailable(status.as_u16()));
            }
            let body = reply.bytes().await.map_err(|error| unreachable_server(&error))?;
            let mut response = HttpResponse::new(body.to_vec());
            *response.status_mut() = status;
            // The crate checks the content type; all token servers answer JSON.
            response
                .headers_mut()
                .insert(reqwest::header::CONTENT_TYPE, reqwest::header::HeaderValue::from_static("application/json"));
            Ok(response)
        })
    }
}
