//! What an operator sets for a Google destination, checked in one go: every fault is reported, not just the first.
//! Knows nothing of requests; the other modules read [`Settings`].

use reveil_sdk::{Auth, Error, Options, Result};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use crate::DESCRIPTOR;

/// Longest membership Google accepts, in days (announced 2025-02, in force since 2025-04-07).
pub(crate) const MAX_MEMBERSHIP_DAYS: u32 = 540;

pub(crate) const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
pub(crate) const SCOPE: &str = "https://www.googleapis.com/auth/datamanager";
/// Account types that own contact-info lists of this connector.
const OPERATING_TYPES: &[&str] = &["GOOGLE_ADS", "DISPLAY_VIDEO_ADVERTISER", "DISPLAY_VIDEO_PARTNER"];
/// Every account type of the API (discovery revision 20261106).
const ACCOUNT_TYPES: &[&str] = &[
    "GOOGLE_ADS",
    "DISPLAY_VIDEO_ADVERTISER",
    "DISPLAY_VIDEO_PARTNER",
    "DATA_PARTNER",
    "GOOGLE_ANALYTICS_PROPERTY",
    "GOOGLE_AD_MANAGER",
    "GOOGLE_AD_MANAGER_AUDIENCE_LINK",
    "FLOODLIGHT_CONFIG",
];

/// An account as Google names it: a type and digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub kind: &'static str,
    pub id: String,
}

impl Account {
    /// `accountTypes/GOOGLE_ADS/accounts/1234567890`.
    pub(crate) fn resource_name(&self) -> String {
        format!("accountTypes/{}/accounts/{}", self.kind, self.id)
    }
}

/// What the operator says of Google's Customer Match terms (`customer_match_terms`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terms {
    /// Nothing, which is no yes.
    Unsaid,
    /// `"accepted"`.
    Accepted,
    /// `"withdrawn"`: only removing, reading and deleting are left.
    Withdrawn,
}

/// Checked settings of one destination.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub base_url: Url,
    pub operating: Account,
    pub login: Option<Account>,
    pub linked: Option<Account>,
    pub terms: Terms,
    pub membership_days: u32,
    pub quota_project: Option<String>,
    pub auth: Auth,
}

impl Settings {
    /// # Errors
    /// `Config`, naming every fault found.
    pub(crate) fn read(options: &Options) -> Result<Self> {
        let mut keys = Keys { settings: &options.settings, faults: Vec::new() };
        for key in options.settings.keys() {
            if !DESCRIPTOR.settings.iter().any(|known| known.key == key) {
                keys.fault(format!("`{key}` is no setting of this connector"));
            }
        }
        for key in options.secrets.keys() {
            if !DESCRIPTOR.secrets.iter().any(|known| known.key == key) {
                keys.fault(format!("`{key}` is no credential of this connector"));
            }
        }
        let kind = keys.account_type("account_type", OPERATING_TYPES).unwrap_or("GOOGLE_ADS");
        let operating = Account { kind, id: keys.digits("account", &options.account).unwrap_or_default() };
        let login = keys.account("login_account", "login_account_type", kind);
        let linked = keys.account("linked_account", "linked_account_type", kind);
        if linked.is_some() && login.as_ref().is_none_or(|login| login.kind != "DATA_PARTNER") {
            keys.fault("`linked_account` is only allowed with `login_account_type = \"DATA_PARTNER\"`".to_owned());
        }
        let terms = match keys.text("customer_match_terms").as_deref() {
            None => Terms::Unsaid,
            Some("accepted") => Terms::Accepted,
            Some("withdrawn") => Terms::Withdrawn,
            Some(_) => {
                keys.fault("`customer_match_terms` must be \"accepted\" or \"withdrawn\"".to_owned());
                Terms::Unsaid
            }
        };
        let membership_days = keys.membership_days();
        let quota_project = keys.text("quota_project");
        if quota_project.as_deref().is_some_and(|project| !is_header_text(project)) {
            keys.fault("`quota_project` is a Cloud project id".to_owned());
        }
        let base_url = keys.base_url(options);
        let auth = keys.auth(options, base_url.scheme() == "http");
        match (keys.faults.is_empty(), auth) {
            (true, Some(auth)) => {
                Ok(Self { base_url, operating, login, linked, terms, membership_days, quota_project, auth })
            }
            _ => Err(Error::config(keys.faults.join("; "))
                .hint("correct the keys of this destination; `reveil connector list` shows what google takes")),
        }
    }

    /// # Errors
    /// `Config` when the operator has not said that the Customer Match terms are accepted.
    pub(crate) fn require_terms(&self, operation: &'static str) -> Result<()> {
        if self.terms == Terms::Accepted {
            return Ok(());
        }
        Err(Error::new(
            reveil_sdk::ErrorKind::Config,
            operation,
            "the Customer Match terms are not accepted in the settings; nothing was sent",
        )
        .hint(
            "read Google's Customer Match policy, accept it in the Google Ads account, then set `customer_match_terms = \"accepted\"`",
        ))
    }
}

/// Reads keys and collects what is wrong with them.
struct Keys<'a> {
    settings: &'a Map<String, Value>,
    faults: Vec<String>,
}

impl Keys<'_> {
    fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// A non-empty text; numbers count, because an account id without quotes is a number in TOML.
    fn text(&mut self, key: &str) -> Option<String> {
        match self.settings.get(key)? {
            Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            Value::Number(number) if number.is_u64() => Some(number.to_string()),
            _ => {
                self.fault(format!("`{key}` must be a text that is not empty"));
                None
            }
        }
    }

    /// Digits of an account id; the dashes people copy from the user interface are dropped.
    fn digits(&mut self, key: &str, value: &str) -> Option<String> {
        let digits: String = value.trim().chars().filter(|c| *c != '-').collect();
        if (1..=20).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(digits);
        }
        self.fault(format!("`{key}` must be an account id of digits, like 123-456-7890 or 1234567890"));
        None
    }

    fn account_type(&mut self, key: &str, allowed: &'static [&'static str]) -> Option<&'static str> {
        let value = self.text(key)?;
        let found = allowed.iter().copied().find(|kind| *kind == value);
        if found.is_none() {
            self.fault(format!("`{key}` must be one of {}", allowed.join(", ")));
        }
        found
    }

    fn account(&mut self, key: &str, type_key: &str, default_type: &'static str) -> Option<Account> {
        let kind = self.account_type(type_key, ACCOUNT_TYPES);
        let Some(id) = self.text(key) else {
            if self.settings.contains_key(type_key) && !self.settings.contains_key(key) {
                self.fault(format!("`{type_key}` needs `{key}`"));
            }
            return None;
        };
        Some(Account { kind: kind.unwrap_or(default_type), id: self.digits(key, &id)? })
    }

    fn membership_days(&mut self) -> u32 {
        let Some(text) = self.text("membership_days") else { return MAX_MEMBERSHIP_DAYS };
        match text.parse() {
            Ok(days) if (1..=MAX_MEMBERSHIP_DAYS).contains(&days) => days,
            _ => {
                self.fault(format!("`membership_days` must be whole days from 1 to {MAX_MEMBERSHIP_DAYS}"));
                MAX_MEMBERSHIP_DAYS
            }
        }
    }

    fn base_url(&mut self, options: &Options) -> Url {
        let default = || Url::parse(DESCRIPTOR.default_base_url).expect("the constant is a URL");
        match &options.base_url {
            Some(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url.clone(),
            Some(_) => {
                self.fault("`base_url` must be an http or https URL with a host".to_owned());
                default()
            }
            None => default(),
        }
    }

    /// The grant to use. Plain http is for a simulated platform only: elsewhere it would give the secret away.
    fn auth(&mut self, options: &Options, simulated: bool) -> Option<Auth> {
        let secret = |key: &str| options.secrets.get(key);
        let client_id = self.text("client_id");
        let override_url = self.text("token_url");
        match (secret("service_account"), secret("refresh_token")) {
            (Some(_), Some(_)) => {
                self.fault("give either `service_account` or `refresh_token`, not both".to_owned());
                None
            }
            (None, None) => {
                self.fault(
                    "a credential is missing: `service_account`, or `refresh_token` with `client_secret`".to_owned(),
                );
                None
            }
            (Some(file), None) => {
                let key = self.key_file(file)?;
                let token_url = self.token_url(override_url.or(key.token_uri), simulated)?;
                Some(Auth::ServiceAccount {
                    token_url,
                    issuer: key.client_email,
                    key_id: key.private_key_id,
                    private_key_pem: key.private_key,
                    scope: SCOPE.to_owned(),
                })
            }
            (None, Some(refresh_token)) => {
                if client_id.is_none() {
                    self.fault("`refresh_token` needs the `client_id` that it was made for".to_owned());
                }
                if secret("client_secret").is_none() {
                    self.fault("`refresh_token` needs `client_secret`".to_owned());
                }
                let token_url = self.token_url(override_url, simulated)?;
                Some(Auth::RefreshToken {
                    token_url,
                    client_id: client_id?,
                    client_secret: secret("client_secret")?.clone(),
                    refresh_token: refresh_token.clone(),
                })
            }
        }
    }

    fn token_url(&mut self, given: Option<String>, simulated: bool) -> Option<Url> {
        let url = Url::parse(given.as_deref().unwrap_or(TOKEN_URL)).ok();
        let url =
            url.filter(|url| url.has_host() && (url.scheme() == "https" || (simulated && url.scheme() == "http")));
        if url.is_none() {
            self.fault("`token_url` must be an https URL (http only together with an http `base_url`)".to_owned());
        }
        url
    }

    fn key_file(&mut self, file: &SecretString) -> Option<KeyFile> {
        // The parser's message may quote the file, so it is not repeated.
        let key = serde_json::from_str::<KeyFile>(file.expose_secret()).ok();
        let key = key.filter(|key| !key.client_email.is_empty() && !key.private_key.expose_secret().is_empty());
        if key.is_none() {
            self.fault(
                "`service_account` must be the content of a service-account key file in JSON (client_email, private_key)"
                    .to_owned(),
            );
        }
        key
    }
}

/// The fields used of the key file the Cloud console hands out.
#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    private_key: SecretString,
    private_key_id: Option<String>,
    token_uri: Option<String>,
}

fn is_header_text(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}
