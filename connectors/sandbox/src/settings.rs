//! What a sandbox is started with. The defaults give a cooperative pair of platforms with documented credentials.

use crate::core::clock::{RealTime, Time};
use crate::core::faults::Faults;
use crate::core::key::mix;
use crate::core::oauth::OAuthBehaviour;
use chrono::{DateTime, TimeDelta, Utc};
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

/// Everything a sandbox can be told at its start.
#[derive(Clone)]
pub struct Settings {
    /// `accounts.csv` of the synthetic data: who has an account where. Without it [`Settings::match_share`] decides.
    pub accounts: Option<PathBuf>,
    /// `contacts.csv` of the synthetic data: names, postcodes and countries of the same persons.
    pub contacts: Option<PathBuf>,
    /// Share of digests that match when there is no `accounts`; then identifiers are counted, not persons. Default 0.6.
    pub match_share: f64,
    /// The platforms' clock. Default: the machine's.
    pub time: Arc<dyn Time>,
    /// What goes wrong from the start.
    pub faults: Faults,
    /// Decides delays, draws of faults, ids and chance matches. Default 1.
    pub seed: u64,
    /// File that keeps audiences and their members over restarts: read at start, written by [`crate::Sandbox::stop`]
    /// and `POST /control/save`.
    pub state: Option<PathBuf>,
    /// Whether the documented request quotas are enforced, by the platforms' clock. Default off; usage headers are
    /// always sent.
    pub enforce_quotas: bool,
    /// How long the platforms take.
    pub delays: Delays,
    /// How their authorization servers behave, from the start.
    pub oauth: OAuthBehaviour,
    /// Meta's own.
    pub meta: MetaSettings,
    /// Google's own.
    pub google: GoogleSettings,
    /// Larger bodies get an HTML error page. Default 32 MiB.
    pub max_body_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            accounts: None,
            contacts: None,
            match_share: 0.6,
            time: Arc::new(RealTime::default()),
            faults: Faults::NONE,
            seed: 1,
            state: None,
            enforce_quotas: false,
            delays: Delays::default(),
            oauth: OAuthBehaviour::default(),
            meta: MetaSettings::default(),
            google: GoogleSettings::default(),
            max_body_bytes: 32 << 20,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("accounts", &self.accounts)
            .field("contacts", &self.contacts)
            .field("now", &self.time.now())
            .field("faults", &self.faults.to_string())
            .field("seed", &self.seed)
            .field("state", &self.state)
            .field("enforce_quotas", &self.enforce_quotas)
            .field("delays", &self.delays)
            .finish_non_exhaustive()
    }
}

/// How long the platforms take, in seconds of their clock; drawn between the bounds from the seed.
#[derive(Clone, Debug)]
pub struct Delays {
    /// Until Meta's sizes follow a change. Default 1 h to 24 h.
    pub meta_sizes_secs: RangeInclusive<i64>,
    /// Until a Meta session shows `num_matched`. Default 1 h to 6 h.
    pub meta_matches_secs: RangeInclusive<i64>,
    /// Between the last batch of a Meta replacement and the audience being normal again. Default 5 to 30 min.
    pub meta_replace_secs: RangeInclusive<i64>,
    /// Until a Google request is processed (and applied). Default 30 min to 6 h.
    pub google_jobs_secs: RangeInclusive<i64>,
    /// Until Google's sizes follow. Default 24 h to 48 h.
    pub google_sizes_secs: RangeInclusive<i64>,
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            meta_sizes_secs: 3_600..=86_400,
            meta_matches_secs: 3_600..=21_600,
            meta_replace_secs: 300..=1_800,
            google_jobs_secs: 1_800..=21_600,
            google_sizes_secs: 86_400..=172_800,
        }
    }
}

impl Delays {
    /// Everything happens at once: for tests that are not about waiting.
    pub fn none() -> Self {
        Self {
            meta_sizes_secs: 0..=0,
            meta_matches_secs: 0..=0,
            meta_replace_secs: 0..=0,
            google_jobs_secs: 0..=0,
            google_sizes_secs: 0..=0,
        }
    }

    pub(crate) fn draw(range: &RangeInclusive<i64>, seed: u64, n: u64) -> TimeDelta {
        let (low, high) = (*range.start(), *range.end());
        let width = u64::try_from(high - low).unwrap_or(0) + 1;
        TimeDelta::seconds(low + i64::try_from(mix(seed, n) % width).unwrap_or(0))
    }
}

/// An access token the simulated Meta knows.
#[derive(Clone)]
pub struct MetaToken {
    /// The bearer.
    pub token: String,
    /// `None` = never.
    pub expires_at: Option<DateTime<Utc>>,
    /// Granted permissions.
    pub scopes: Vec<String>,
}

impl MetaToken {
    /// A token for audiences that never expires.
    pub fn lasting(token: impl Into<String>) -> Self {
        let scopes = ["ads_management", "ads_read", "business_management"].map(str::to_owned).to_vec();
        Self { token: token.into(), expires_at: None, scopes }
    }
}

impl fmt::Debug for MetaToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetaToken")
            .field("expires_at", &self.expires_at)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// What the simulated Meta expects of its clients.
#[derive(Clone)]
pub struct MetaSettings {
    /// Accepted tokens. Default: `sandbox-meta-token`, never expiring.
    pub tokens: Vec<MetaToken>,
    /// App id for `debug_token` and token exchange. Default `100000000000001`.
    pub app_id: String,
    /// App secret. Default `sandbox-meta-secret`.
    pub app_secret: String,
    /// Whether every call must carry `appsecret_proof`. A proof that is sent is always verified. Default no.
    pub require_app_secret_proof: bool,
    /// Ad accounts (digits, without `act_`) there are; empty = any. Default empty.
    pub ad_accounts: Vec<String>,
    /// Ad accounts that have not accepted the custom audience terms. Default none.
    pub terms_unsigned: Vec<String>,
    /// Whether reads on an expired version are upgraded with a warning header, as Meta does where nothing changed.
    /// Writes on it are refused with code 2635 either way. Default yes.
    pub upgrade_expired_reads: bool,
    /// Audiences an ad account may hold. Default 500.
    pub max_audiences: usize,
}

impl Default for MetaSettings {
    fn default() -> Self {
        Self {
            tokens: vec![MetaToken::lasting("sandbox-meta-token")],
            app_id: "100000000000001".into(),
            app_secret: "sandbox-meta-secret".into(),
            require_app_secret_proof: false,
            ad_accounts: Vec::new(),
            terms_unsigned: Vec::new(),
            upgrade_expired_reads: true,
            max_audiences: 500,
        }
    }
}

impl fmt::Debug for MetaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetaSettings")
            .field("tokens", &self.tokens.len())
            .field("app_id", &self.app_id)
            .finish_non_exhaustive()
    }
}

/// An advertiser account of the simulated Google and who may act for it.
#[derive(Clone, Debug)]
pub struct GoogleAccount {
    /// Digits.
    pub id: String,
    /// The manager account that must be given as login account; `None` = none needed.
    pub login: Option<String>,
}

/// What the simulated Google expects of its clients.
#[derive(Clone)]
pub struct GoogleSettings {
    /// OAuth client. Default `sandbox-google-client`.
    pub client_id: String,
    /// Its secret. Default `sandbox-google-client-secret`.
    pub client_secret: String,
    /// Accepted refresh token. Default `sandbox-google-refresh-token`.
    pub refresh_token: String,
    /// Bearer accepted without a token request, never expiring. Default `sandbox-google-token`.
    pub static_token: Option<String>,
    /// Accepted `iss` of service-account assertions; `None` = any. Default any.
    pub service_account: Option<String>,
    /// RSA public key (PEM) that signs service-account assertions. Without it the signature is not checked.
    pub service_account_key_pem: Option<String>,
    /// Life of issued access tokens in seconds of the platforms' clock. Default 3,600.
    pub token_lifetime_secs: i64,
    /// Advertiser accounts there are; empty = any. Default empty.
    pub accounts: Vec<GoogleAccount>,
    /// Whether persons whose country is unknown count as living in the European Economic Area. Default yes.
    pub assume_eea: bool,
    /// Uploads with fewer records get `MATCH_RATE_RANGE_NOT_ELIGIBLE`. Default 100 (the real threshold is not published).
    pub min_records_for_match_rate: u64,
}

impl Default for GoogleSettings {
    fn default() -> Self {
        Self {
            client_id: "sandbox-google-client".into(),
            client_secret: "sandbox-google-client-secret".into(),
            refresh_token: "sandbox-google-refresh-token".into(),
            static_token: Some("sandbox-google-token".into()),
            service_account: None,
            service_account_key_pem: None,
            token_lifetime_secs: 3_600,
            accounts: Vec::new(),
            assume_eea: true,
            min_records_for_match_rate: 100,
        }
    }
}

impl fmt::Debug for GoogleSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GoogleSettings")
            .field("client_id", &self.client_id)
            .field("token_lifetime_secs", &self.token_lifetime_secs)
            .field("accounts", &self.accounts)
            .finish_non_exhaustive()
    }
}
