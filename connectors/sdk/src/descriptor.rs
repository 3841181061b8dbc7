//! What a connector declares about its platform; the engine and the interfaces act on it.

use crate::identifier::IdentifierTable;

/// How a platform can be brought to exactly a given set without emptying the audience first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// Only by adding and removing.
    No,
    /// Batches go to [`replace`](crate::Connector::replace); the platform swaps at the end.
    Swap,
    /// Add everybody again, wait until applied, then [`sweep`](crate::Connector::sweep) who was added before.
    Sweep,
}

/// Which operations the platform has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    pub add: bool,
    pub remove: bool,
    pub replace: Replace,
    /// Accepted batches get their verdict later, through [`verdict`](crate::Connector::verdict).
    pub asynchronous: bool,
    /// The platform can remove a person from all audiences of the account in one call.
    pub erase: bool,
}

/// Declared by the platform's documents; the engine never exceeds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub max_batch_members: u32,
    pub max_batch_bytes: Option<u32>,
    /// Identifiers of one member in one request.
    pub max_identifiers_per_member: u32,
    pub requests_per_minute: Option<u32>,
    pub max_in_flight: u32,
    /// An upload session closes by itself after this long.
    pub session_secs: Option<u32>,
    /// Members lapse this many days after they were last sent; `None` = never.
    pub membership_days: Option<u32>,
    /// Fewer people than this and ads are not delivered.
    pub min_audience: u32,
}

/// What the platform tells about matching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatchInformation {
    /// The platform's definition, in one sentence, shown beside every figure.
    pub definition: &'static str,
    /// Hours after an upload before a reading means anything.
    pub settle_hours: u32,
}

/// A key of `[destination.*]` that only this connector has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingSpec {
    pub key: &'static str,
    pub required: bool,
    pub help: &'static str,
    pub example: &'static str,
}

/// A secret the connector takes from `credentials`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretSpec {
    pub key: &'static str,
    /// Not needed when another one of the list is given.
    pub required: bool,
    pub help: &'static str,
}

/// How a person grants access in a browser: OAuth 2 authorization code with PKCE. The framework leads them there, gets
/// the tokens, keeps them sealed and fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OAuthSpec {
    /// Where the person says yes; the setting `authorize_url` replaces it.
    pub authorize_url: &'static str,
    /// Where the code becomes a token; the setting `token_url` replaces it.
    pub token_url: &'static str,
    pub scopes: &'static [&'static str],
    /// Parameters of the authorization request that only this platform has.
    pub extra: &'static [(&'static str, &'static str)],
    /// The setting that names the OAuth client.
    pub client_id_setting: &'static str,
    /// The secret of [`Descriptor::secrets`] that proves the client.
    pub client_secret: &'static str,
    /// The secret of [`Descriptor::secrets`] that the grant becomes.
    pub token: &'static str,
    pub grant: Grant,
}

/// What is kept of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// A refresh token, which gets short-lived access tokens.
    RefreshToken,
    /// An access token, exchanged for one of long life and, while it lives, for a new one: `grant_type` and the
    /// parameter that carries the present token both have this name.
    LongLivedToken { exchange: &'static str },
}

/// See the module. One `static` per connector.
#[derive(Debug, Clone, Copy)]
pub struct Descriptor {
    /// Stable name in config, metrics and files: `meta`.
    pub slug: &'static str,
    pub label: &'static str,
    pub api_version: &'static str,
    /// The host a real destination talks to; `base_url` in the config replaces it.
    pub default_base_url: &'static str,
    pub capabilities: Capabilities,
    pub limits: Limits,
    /// Which identifiers it takes, and how each is normalised and sent.
    pub identifiers: &'static IdentifierTable,
    pub match_information: MatchInformation,
    pub settings: &'static [SettingSpec],
    pub secrets: &'static [SecretSpec],
    /// How a person can grant access; `None` when the credential is made on the platform's own pages.
    pub oauth: Option<OAuthSpec>,
}
