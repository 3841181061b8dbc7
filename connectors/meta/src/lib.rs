#![doc = include_str!("../README.md")]

mod audience;
mod check;
mod codes;
mod config;
mod error;
mod members;
mod observe;
mod replace;
mod rows;
mod status;
mod usage;
mod wire;

use async_trait::async_trait;
use http::Method;
use reveil_sdk::identifier::table;
use reveil_sdk::{
    AudienceRef, AudienceSpec, AudienceStatus, Auth, Call, Capabilities, Connector, Context, Descriptor, Grant, Limits,
    MatchInformation, MatchObservation, OAuthSpec, Options, Receipt, Replace, Result, SecretSpec, SettingSpec, Upload,
    UploadSummary,
};
use secrecy::ExposeSecret;
use url::Url;

use crate::config::Settings;
use crate::error::Replies;
use crate::members::Write;

/// Marketing API version this crate was written for (released 2026-07-29). Source: graph-api/changelog.
pub const API_VERSION: &str = "v26.0";

/// What Meta says `num_matched` is; shown beside every exact figure.
pub(crate) const MATCH_DEFINITION: &str = "Entries of this upload that Meta matched to accounts (num_matched of the \
     upload session), over the distinct persons sent. Whether Meta fills it in for every account is not documented; \
     without it, bounds come from the audience's rounded size over the persons believed to be in it.";

/// What Meta's documents say of the platform. A destination's own [`Connector::descriptor`] narrows the batch size
/// and carries its `retention_days`.
pub static DESCRIPTOR: Descriptor = Descriptor {
    slug: "meta",
    label: "Meta (Facebook, Instagram)",
    api_version: API_VERSION,
    default_base_url: "https://graph.facebook.com",
    capabilities: Capabilities {
        add: true,
        remove: true,
        replace: Replace::Swap,
        // A 200 means accepted; no verdict is ever given, only an effect within some 24 hours.
        asynchronous: false,
        erase: true,
    },
    limits: Limits {
        // reference/custom-audience/users: 10,000 rows a request.
        max_batch_members: rows::MAX_ROWS as u32,
        max_batch_bytes: None,
        // No documented limit; this is what a prepared member can hold.
        max_identifiers_per_member: 23,
        // Points per hour and account, not requests; usage headers pace the calls (see `usage`).
        requests_per_minute: None,
        // The last flag closes the session, so batches must arrive in order.
        max_in_flight: 1,
        // A session closes 90 minutes after its first batch.
        session_secs: Some(90 * 60),
        // Members stay unless `retention_days` is set.
        membership_days: None,
        // The API documents only "too small" (delivery_status 300); 100 is commonly cited, UNVERIFIED.
        min_audience: 100,
    },
    identifiers: &table::META,
    match_information: MatchInformation { definition: MATCH_DEFINITION, settle_hours: 24 },
    settings: &[
        SettingSpec {
            key: "api_version",
            required: false,
            help: "Marketing API version to pin.",
            example: "\"v26.0\"",
        },
        SettingSpec {
            key: "retention_days",
            required: false,
            help: "Days Meta keeps a member that is not sent again, 1-180; kept for ever when absent. \
                   Used when the audience is created.",
            example: "90",
        },
        SettingSpec {
            key: "customer_file_source",
            required: false,
            help: "Where the contacts come from: USER_PROVIDED_ONLY (default), PARTNER_PROVIDED_ONLY or \
                   BOTH_USER_AND_PARTNER_PROVIDED.",
            example: "\"USER_PROVIDED_ONLY\"",
        },
        SettingSpec {
            key: "audience_labels",
            required: false,
            help: "Meta's labels for a new audience; none when absent.",
            example: "[\"DISENGAGED\"]",
        },
        SettingSpec {
            key: "batch_members",
            required: false,
            help: "Members per request, 1-10000 (default 5000); lower it when Meta answers large bodies with an error page.",
            example: "5000",
        },
        SettingSpec {
            key: "limited_data_use",
            required: false,
            help: "Flags every uploaded row for Limited Data Use (US states).",
            example: "true",
        },
        SettingSpec {
            key: "limited_data_use_country",
            required: false,
            help: "Country for Limited Data Use: 1 = USA, 0 (default) = Meta geolocates.",
            example: "1",
        },
        SettingSpec {
            key: "limited_data_use_state",
            required: false,
            help: "State for Limited Data Use: 1000 = California, 0 (default) = Meta geolocates.",
            example: "1000",
        },
        SettingSpec {
            key: "app_id",
            required: false,
            help: "The app that `reveil connect` asks access for.",
            example: "\"1234567890\"",
        },
        SettingSpec {
            key: "authorize_url",
            required: false,
            help: "Where `reveil connect` sends the person who grants access; default Meta's login dialogue.",
            example: "\"https://www.facebook.com/v26.0/dialog/oauth\"",
        },
        SettingSpec {
            key: "token_url",
            required: false,
            help: "Where `reveil connect` gets and renews tokens; default Meta's.",
            example: "\"https://graph.facebook.com/v26.0/oauth/access_token\"",
        },
    ],
    secrets: &[
        SecretSpec { key: "token", required: true, help: "System user access token with ads_management and ads_read." },
        SecretSpec {
            key: "app_secret",
            required: false,
            help: "Secret of the app the token belongs to; every call then carries appsecret_proof.",
        },
    ],
    // A system user's token, made in Business Manager, is the better credential for a daemon; this one ends after some
    // 60 days unless it is renewed. UNVERIFIED: that the dialogue takes a loopback redirect outside development mode
    // (else use `reveil connect --paste --redirect-uri`), that it heeds PKCE, and the parameters of the exchange.
    oauth: Some(OAuthSpec {
        authorize_url: "https://www.facebook.com/v26.0/dialog/oauth",
        token_url: "https://graph.facebook.com/v26.0/oauth/access_token",
        scopes: &["ads_management", "ads_read"],
        extra: &[],
        client_id_setting: "app_id",
        client_secret: "app_secret",
        token: "token",
        grant: Grant::LongLivedToken { exchange: "fb_exchange_token" },
    }),
};

/// Makes the connector of one destination.
///
/// # Errors
/// `Config`, naming every setting that is wrong.
pub fn connect(options: Options) -> Result<Box<dyn Connector>> {
    let settings = Settings::read(options)?;
    let replies = Replies::new(settings.account_digits.clone());
    Ok(Box::new(Meta { descriptor: config::descriptor_for(&settings), settings, replies }))
}

/// One ad account and how it is reached.
#[derive(Debug)]
pub(crate) struct Meta {
    descriptor: &'static Descriptor,
    settings: Settings,
    replies: Replies,
}

impl Meta {
    /// `<base>/<version>/<segments…>`, with the proof when there is an app secret. The proof goes into the query
    /// because that is the one place a GET, a POST and a DELETE have in common.
    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.settings.base_url.clone();
        url.path_segments_mut()
            .expect("settings accept only http and https")
            .pop_if_empty()
            .push(&self.settings.api_version)
            .extend(segments);
        if let Some(proof) = &self.settings.proof {
            url.query_pairs_mut().append_pair("appsecret_proof", proof.expose_secret());
        }
        url
    }

    /// A call to an object of the Graph with the fields wanted of it.
    fn get(&self, operation: &'static str, segments: &[&str], query: &[(&str, &str)]) -> Call {
        let mut url = self.url(segments);
        url.query_pairs_mut().extend_pairs(query);
        Call::new(operation, Method::GET, url)
    }

    /// `act_<digits>`.
    fn account(&self) -> String {
        format!("act_{}", self.settings.account_digits)
    }
}

#[async_trait]
impl Connector for Meta {
    fn descriptor(&self) -> &'static Descriptor {
        self.descriptor
    }

    fn auth(&self) -> Auth {
        Auth::Bearer(self.settings.token.clone())
    }

    async fn check(&self, cx: &Context<'_>) -> Result<Vec<String>> {
        check::check(self, cx).await
    }

    async fn find_or_create(
        &self,
        cx: &Context<'_>,
        spec: &AudienceSpec,
        known: Option<&AudienceRef>,
    ) -> Result<AudienceRef> {
        audience::find_or_create(self, cx, spec, known).await
    }

    async fn status(&self, cx: &Context<'_>, audience: &AudienceRef) -> Result<AudienceStatus> {
        status::status(self, cx, audience).await
    }

    async fn add(&self, cx: &Context<'_>, audience: &AudienceRef, upload: &Upload<'_>) -> Result<Receipt> {
        members::write(self, cx, Write::Add, &audience.id, upload).await
    }

    async fn remove(&self, cx: &Context<'_>, audience: &AudienceRef, upload: &Upload<'_>) -> Result<Receipt> {
        members::write(self, cx, Write::Remove, &audience.id, upload).await
    }

    async fn replace(&self, cx: &Context<'_>, audience: &AudienceRef, upload: &Upload<'_>) -> Result<Receipt> {
        replace::replace(self, cx, audience, upload).await
    }

    async fn erase(&self, cx: &Context<'_>, upload: &Upload<'_>) -> Result<Receipt> {
        members::erase(self, cx, upload).await
    }

    async fn observe(
        &self,
        cx: &Context<'_>,
        audience: &AudienceRef,
        upload: &UploadSummary,
    ) -> Result<Vec<MatchObservation>> {
        observe::observe(self, cx, audience, upload).await
    }

    async fn delete(&self, cx: &Context<'_>, audience: &AudienceRef) -> Result<()> {
        audience::delete(self, cx, audience).await
    }
}
