#![doc = include_str!("../README.md")]

mod audience;
mod config;
mod error;
mod members;
mod status;
mod wire;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use http::{HeaderName, HeaderValue, Method};
use reveil_sdk::identifier::table;
use reveil_sdk::{
    AudienceRef, AudienceSpec, AudienceStatus, Auth, Call, Capabilities, Connector, Context, Descriptor, Grant, Limits,
    MatchInformation, MatchObservation, OAuthSpec, Options, Receipt, Replace, Result, SecretSpec, SettingSpec, Upload,
    UploadSummary, Verdict,
};
use url::Url;

use crate::config::{Account, MAX_MEMBERSHIP_DAYS, Settings};
use crate::members::{MAX_IDENTIFIERS, MAX_MEMBERS};

/// Version in every path. Facts were read 2026-11-22 from discovery revision 20261106 (feature level v1.9).
pub const API_VERSION: &str = "v1";

/// What the platform can do and takes. Limits: developers.google.com/data-manager/api/devguides/limits.
pub static DESCRIPTOR: Descriptor = Descriptor {
    slug: "google",
    label: "Google Customer Match",
    api_version: API_VERSION,
    default_base_url: "https://datamanager.googleapis.com",
    capabilities: Capabilities { add: true, remove: true, replace: Replace::Sweep, asynchronous: true, erase: false },
    limits: Limits {
        max_batch_members: MAX_MEMBERS as u32,
        // None is documented.
        max_batch_bytes: None,
        max_identifiers_per_member: MAX_IDENTIFIERS as u32,
        // Per Cloud project, writes and reads each; 100,000 writes a day come on top.
        requests_per_minute: Some(300),
        max_in_flight: 10,
        session_secs: None,
        membership_days: Some(MAX_MEMBERSHIP_DAYS),
        min_audience: 100,
    },
    identifiers: &table::GOOGLE,
    match_information: MatchInformation {
        definition: "Google's uploadMatchRateRange: the range that the share of uploaded members known to Google lies in, \
            per request; several requests are weighed by people",
        settle_hours: 24,
    },
    settings: &[
        setting(
            "account_type",
            "What owns the lists: GOOGLE_ADS (default), DISPLAY_VIDEO_ADVERTISER or DISPLAY_VIDEO_PARTNER",
            "GOOGLE_ADS",
        ),
        setting(
            "login_account",
            "The manager or data-partner account the credential belongs to, when it is not `account`",
            "111-222-3333",
        ),
        setting("login_account_type", "Type of `login_account`; default: that of `account`", "GOOGLE_ADS"),
        setting(
            "linked_account",
            "The account linked to a data partner; only with login_account_type = \"DATA_PARTNER\"",
            "4445556666",
        ),
        setting("linked_account_type", "Type of `linked_account`; default: that of `account`", "GOOGLE_ADS"),
        SettingSpec {
            key: "customer_match_terms",
            required: true,
            help: "\"accepted\" states that you accept Google's Customer Match terms; nothing is added without it. \
                \"withdrawn\" still lets people be removed",
            example: "accepted",
        },
        setting("membership_days", "Days a member stays without being sent again, 1 to 540; default 540", "540"),
        setting("client_id", "OAuth client that the refresh token was made for", "1234-abc.apps.googleusercontent.com"),
        setting("quota_project", "Cloud project the calls are counted on, sent as x-goog-user-project", "my-project"),
        setting(
            "token_url",
            "Where access tokens come from; default: the key file's, else Google's",
            "https://oauth2.googleapis.com/token",
        ),
        setting(
            "authorize_url",
            "Where `reveil connect` sends the person who grants access; default Google's",
            "https://accounts.google.com/o/oauth2/v2/auth",
        ),
    ],
    secrets: &[
        secret("service_account", "Content of a service account's JSON key file"),
        secret("refresh_token", "OAuth refresh token with the datamanager scope, instead of a service account"),
        secret("client_secret", "Secret of the OAuth client; with `refresh_token`"),
    ],
    // developers.google.com/identity/protocols/oauth2/native-app: without `offline` there is no refresh token, without
    // `consent` only the first time.
    oauth: Some(OAuthSpec {
        authorize_url: "https://accounts.google.com/o/oauth2/v2/auth",
        token_url: config::TOKEN_URL,
        scopes: &[config::SCOPE],
        extra: &[("access_type", "offline"), ("prompt", "consent")],
        client_id_setting: "client_id",
        client_secret: "client_secret",
        token: "refresh_token",
        grant: Grant::RefreshToken,
    }),
};

const fn setting(key: &'static str, help: &'static str, example: &'static str) -> SettingSpec {
    SettingSpec { key, required: false, help, example }
}

const fn secret(key: &'static str, help: &'static str) -> SecretSpec {
    SecretSpec { key, required: false, help }
}

const LOGIN_ACCOUNT: HeaderName = HeaderName::from_static("login-account");
const LINKED_ACCOUNT: HeaderName = HeaderName::from_static("linked-account");
const QUOTA_PROJECT: HeaderName = HeaderName::from_static("x-goog-user-project");

/// Makes a connector from one `[destination.*]`.
///
/// # Errors
/// `Config`, naming every fault of the settings and credentials. Terms that are not accepted are none of them: they
/// stop checking, creating and adding, but people can still be removed.
pub fn connect(options: Options) -> Result<Box<dyn Connector>> {
    Ok(Box::new(Google { settings: Settings::read(&options)? }))
}

/// A Google Ads or DV360 account.
#[derive(Debug)]
pub(crate) struct Google {
    pub(crate) settings: Settings,
}

impl Google {
    /// `base/v1/…`; a path in front of the version is kept.
    pub(crate) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.settings.base_url.clone();
        url.set_query(None);
        url.path_segments_mut().expect("checked to have a host").pop_if_empty().push(API_VERSION).extend(segments);
        url
    }

    pub(crate) fn lists_url(&self, id: Option<&str>) -> Url {
        let Account { kind, id: account } = &self.settings.operating;
        let mut segments = vec!["accountTypes", kind, "accounts", account, "userLists"];
        segments.extend(id);
        self.url(&segments)
    }

    pub(crate) fn call(&self, operation: &'static str, method: Method, url: Url) -> Call {
        let call = Call::new(operation, method, url);
        match &self.settings.quota_project {
            Some(project) => call.header(QUOTA_PROJECT, header_value(project)),
            None => call,
        }
    }

    /// A call about lists: these, and only these, name the accounts in headers.
    pub(crate) fn list_call(&self, operation: &'static str, method: Method, url: Url) -> Call {
        let accounts = [(LOGIN_ACCOUNT, &self.settings.login), (LINKED_ACCOUNT, &self.settings.linked)];
        accounts.into_iter().fold(self.call(operation, method, url), |call, (name, account)| match account {
            Some(account) => call.header(name, header_value(&account.resource_name())),
            None => call,
        })
    }
}

fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("settings are checked to be printable ASCII")
}

#[async_trait]
impl Connector for Google {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn auth(&self) -> Auth {
        self.settings.auth.clone()
    }

    async fn check(&self, cx: &Context<'_>) -> Result<Vec<String>> {
        self.check_access(cx).await
    }

    async fn find_or_create(
        &self,
        cx: &Context<'_>,
        spec: &AudienceSpec,
        known: Option<&AudienceRef>,
    ) -> Result<AudienceRef> {
        self.ensure_list(cx, spec, known).await
    }

    async fn status(&self, cx: &Context<'_>, audience: &AudienceRef) -> Result<AudienceStatus> {
        Ok(audience::describe(&self.existing_list(cx, audience).await?))
    }

    async fn add(&self, cx: &Context<'_>, audience: &AudienceRef, upload: &Upload<'_>) -> Result<Receipt> {
        self.ingest(cx, audience, upload.batch).await
    }

    async fn remove(&self, cx: &Context<'_>, audience: &AudienceRef, upload: &Upload<'_>) -> Result<Receipt> {
        self.remove_members(cx, audience, upload.batch).await
    }

    async fn sweep(&self, cx: &Context<'_>, audience: &AudienceRef, added_before: DateTime<Utc>) -> Result<Receipt> {
        self.remove_all(cx, audience, added_before).await
    }

    async fn verdict(&self, cx: &Context<'_>, ticket: &str) -> Result<Verdict> {
        self.request_verdict(cx, ticket).await
    }

    async fn observe(
        &self,
        cx: &Context<'_>,
        audience: &AudienceRef,
        upload: &UploadSummary,
    ) -> Result<Vec<MatchObservation>> {
        self.match_readings(cx, audience, upload).await
    }

    async fn delete(&self, cx: &Context<'_>, audience: &AudienceRef) -> Result<()> {
        self.delete_list(cx, audience).await
    }
}
