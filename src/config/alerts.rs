//! `[alerts]`: what people are told, and where.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::Url;

use super::destination::SecretSource;
use super::period::Period;

/// See the module. Each message is sent once when a state begins and once when it ends.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsConfig {
    /// A run ended as failed or partial. Default true.
    pub failed_run: bool,
    /// A match rate fell further below its median than this many times its usual deviation (MAD, scaled to a standard
    /// deviation). Default 4; 0 turns it off.
    pub match_rate_deviations: f64,
    /// A fall smaller than this never counts, however steady the rate was. A ratio, default 0.03.
    pub match_rate_min_drop: f64,
    /// Earlier readings of the same kind, audience, destination and rules that are needed to know what is usual.
    /// Default 5, at least 3.
    pub match_rate_min_readings: usize,
    /// An audience holds fewer people than its platform needs to deliver ads. Default true.
    pub below_minimum: bool,
    /// Days before a credential expires on which to say so. Default `[30, 7, 1]`.
    pub credential_days: Vec<u32>,
    /// No successful run for this many periods of the schedule. Default 3; 0 turns it off.
    pub stale_periods: f64,
    /// More than this share of what was sent was rejected. A ratio, default 0.1; 0 turns it off.
    pub rejected_ratio: f64,
    /// Channels by name: `[alerts.channel.team]`.
    pub channel: BTreeMap<String, ChannelConfig>,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self {
            failed_run: true,
            match_rate_deviations: 4.0,
            match_rate_min_drop: 0.03,
            match_rate_min_readings: 5,
            below_minimum: true,
            credential_days: vec![30, 7, 1],
            stale_periods: 3.0,
            rejected_ratio: 0.1,
            channel: BTreeMap::new(),
        }
    }
}

/// Where messages go.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ChannelConfig {
    /// A JSON document by POST.
    Webhook {
        /// Where to; `{ env = … }` or `{ file = … }`, since such addresses are secrets often enough, or `{ url = … }`.
        url: Address,
        /// Signs the body: `X-Reveil-Signature: sha256=<HMAC in hex>` over `<timestamp>.<body>`, the timestamp being
        /// that of `X-Reveil-Timestamp`.
        #[serde(default)]
        signing_key: Option<SecretSource>,
        /// Given up after this. Default "10s".
        #[serde(default = "ten_seconds")]
        timeout: Period,
    },
    /// `{"text": …}` by POST: Slack, Mattermost, Rocket.Chat and the like.
    Slack {
        /// The incoming webhook; its address is its secret.
        url: Address,
        /// Given up after this. Default "10s".
        #[serde(default = "ten_seconds")]
        timeout: Period,
    },
    /// A mail over SMTP.
    Email {
        /// Host of the mail server.
        host: String,
        /// Default 587 with STARTTLS, 465 with TLS, 25 without.
        #[serde(default)]
        port: Option<u16>,
        /// `starttls` (default), `tls`, or `none`, which only a server on this machine is spoken to with.
        #[serde(default)]
        security: MailSecurity,
        #[serde(default)]
        username: Option<String>,
        #[serde(default)]
        password: Option<SecretSource>,
        from: String,
        to: Vec<String>,
        /// Given up after this. Default "10s".
        #[serde(default = "ten_seconds")]
        timeout: Period,
    },
}

/// An address in the open, or kept as a secret.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Address {
    Open { url: Url },
    Secret(SecretSource),
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MailSecurity {
    #[default]
    Starttls,
    Tls,
    None,
}

fn ten_seconds() -> Period {
    Period::secs(10)
}

impl AlertsConfig {
    pub(super) fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, message: &str| faults.push((format!("alerts.{key}"), message.to_owned()));
        for (key, value) in
            [("match_rate_deviations", self.match_rate_deviations), ("stale_periods", self.stale_periods)]
        {
            if !(value.is_finite() && value >= 0.0) {
                fault(key, "must be 0 or more");
            }
        }
        for (key, value) in [("match_rate_min_drop", self.match_rate_min_drop), ("rejected_ratio", self.rejected_ratio)]
        {
            if !(0.0..=1.0).contains(&value) {
                fault(key, "must be between 0 and 1, as in 0.1");
            }
        }
        if self.match_rate_min_readings < 3 {
            fault("match_rate_min_readings", "must be at least 3: two readings have no usual deviation");
        }
        for (name, channel) in &self.channel {
            if let ChannelConfig::Email { host, security, to, from, username, password, .. } = channel {
                if to.is_empty() {
                    fault(&format!("channel.{name}.to"), "is empty; name at least one address");
                }
                for (key, address) in to.iter().map(|to| ("to", to)).chain([("from", from)]) {
                    if address.parse::<lettre::message::Mailbox>().is_err() {
                        // The address itself is not repeated: faults go to the log.
                        fault(&format!("channel.{name}.{key}"), "holds something that is no mail address");
                    }
                }
                if username.is_some() != password.is_some() {
                    fault(&format!("channel.{name}"), "`username` and `password` go together");
                }
                if *security == MailSecurity::None && !is_loopback(host) {
                    fault(&format!("channel.{name}.security"), "`none` is only for a mail server on this machine");
                }
            }
        }
        faults
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
