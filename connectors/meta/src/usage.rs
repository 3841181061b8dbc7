//! Usage headers: how much of the allowance is gone, and how long to wait when it is.
//!
//! Source: marketing-api/overview/rate-limiting. All three headers hold JSON and may be absent until some calls were
//! made. `X-Business-Use-Case-Usage` counts in percent and minutes, `X-Ad-Account-Usage` in percent and seconds,
//! `X-App-Usage` in percent alone.

use std::collections::BTreeMap;
use std::time::Duration;

use reveil_sdk::{Pace, Reply};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// From here on calls pause; the transport slows down by itself before (Meta's advice: slow at 75 %).
const PAUSE_RATIO: f64 = 0.95;
/// When the business-use-case header gives no time: the fallback for throttle 80003.
pub(crate) const BUSINESS_WAIT_SECS: u64 = 300;
/// Shortest documented block of an account (full tier; 300 s in the limited tier).
pub(crate) const ACCOUNT_WAIT_SECS: u64 = 60;
pub(crate) const APP_WAIT_SECS: u64 = 60;

#[derive(Debug, Default, Deserialize)]
struct Business {
    r#type: Option<String>,
    #[serde(default)]
    call_count: f64,
    #[serde(default)]
    total_cputime: f64,
    #[serde(default)]
    total_time: f64,
    /// Minutes.
    #[serde(default)]
    estimated_time_to_regain_access: f64,
}

#[derive(Debug, Default, Deserialize)]
struct AdAccount {
    #[serde(default)]
    acc_id_util_pct: f64,
    /// Seconds.
    #[serde(default)]
    reset_time_duration: f64,
}

#[derive(Debug, Default, Deserialize)]
struct App {
    #[serde(default)]
    call_count: f64,
    #[serde(default)]
    total_cputime: f64,
    #[serde(default)]
    total_time: f64,
}

/// The custom-audience part of the business-use-case header: used share and regain time. Other use cases of the same
/// account (insights, ads management) have allowances of their own.
fn business(reply: &Reply) -> Option<(f64, Option<Duration>)> {
    let usage: BTreeMap<String, Vec<Business>> = header(reply, "x-business-use-case-usage")?;
    let ours =
        usage.into_values().flatten().filter(|entry| entry.r#type.as_deref().is_none_or(|t| t == "custom_audience"));
    ours.map(|entry| {
        let used = entry.call_count.max(entry.total_cputime).max(entry.total_time) / 100.0;
        (used, seconds(entry.estimated_time_to_regain_access * 60.0))
    })
    .reduce(|one, other| (one.0.max(other.0), one.1.max(other.1)))
}

fn account(reply: &Reply) -> Option<(f64, Option<Duration>)> {
    let usage: AdAccount = header(reply, "x-ad-account-usage")?;
    Some((usage.acc_id_util_pct / 100.0, seconds(usage.reset_time_duration)))
}

fn header<T: DeserializeOwned>(reply: &Reply, name: &str) -> Option<T> {
    serde_json::from_str(reply.header_text(name)?).ok()
}

/// Not zero, not absurd: a day is longer than any documented window.
fn seconds(seconds: f64) -> Option<Duration> {
    (seconds > 0.0).then(|| Duration::from_secs_f64(seconds.min(86_400.0)))
}

/// What the transport should hold to after this reply.
pub(crate) fn pace(reply: &Reply) -> Option<Pace> {
    let app: Option<App> = header(reply, "x-app-usage");
    let app = app.map(|usage| (usage.call_count.max(usage.total_cputime).max(usage.total_time) / 100.0, None));
    // A regain time means blocked, whatever the share says; the account's reset time is always there.
    let business = business(reply).map(|(used, regain)| (if regain.is_some() { used.max(1.0) } else { used }, regain));
    let readings = [(business, BUSINESS_WAIT_SECS), (account(reply), ACCOUNT_WAIT_SECS), (app, APP_WAIT_SECS)];
    readings
        .into_iter()
        .filter_map(|(reading, fallback)| {
            let (used_ratio, wait) = reading?;
            let pause = (used_ratio >= PAUSE_RATIO).then(|| wait.unwrap_or(Duration::from_secs(fallback)));
            Some(Pace { used_ratio, pause })
        })
        .reduce(|one, other| Pace {
            used_ratio: one.used_ratio.max(other.used_ratio),
            pause: one.pause.max(other.pause),
        })
}

/// Who throttled, and so which header knows how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Throttle {
    App,
    Account,
    Business,
}

/// How long to stay away after a throttle.
pub(crate) fn wait(reply: &Reply, throttle: Throttle) -> Duration {
    let (said, fallback) = match throttle {
        Throttle::App => (None, APP_WAIT_SECS),
        Throttle::Account => (account(reply).and_then(|(_, wait)| wait), ACCOUNT_WAIT_SECS),
        Throttle::Business => (business(reply).and_then(|(_, wait)| wait), BUSINESS_WAIT_SECS),
    };
    retry_after(reply).or(said).unwrap_or(Duration::from_secs(fallback))
}

/// `Retry-After` in seconds. Meta does not document it; a proxy between may send it.
pub(crate) fn retry_after(reply: &Reply) -> Option<Duration> {
    seconds(reply.header_text("retry-after")?.trim().parse().ok()?)
}
