//! What may be wrong, as values: a key that stays the same, and whether it stands.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::drop::{Sensitivity, Verdict, comparable, judge};
use crate::config::AlertsConfig;
use crate::connectors;
use crate::daemon::Daemon;
use crate::daemon::cadence::Cadence;
use crate::daemon::requests::{RunOptions, sync_key};
use crate::store::StoreError;
use crate::store::alerts::AlertState;
use crate::store::model::{Run, RunState};
use crate::store::tokens::{TokenExpiry, expiries};
use crate::sync::SyncReport;
use crate::vault::CredentialExpiry;

/// Rejected members say little before this many were answered.
const ENOUGH_ANSWERS: u64 = 100;
/// A due time gets this long before its audience counts as silent.
const PATIENCE: TimeDelta = TimeDelta::minutes(10);

/// Whether something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Fine,
    /// With what tells one state from the next: a credential that expires in 7 days was told of at 30 already.
    Firing(String),
}

impl State {
    pub(crate) const FINE: &'static str = "ok";

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Fine => Self::FINE.to_owned(),
            Self::Firing(which) => which.clone(),
        }
    }
    fn firing(wrong: bool) -> Self {
        if wrong { Self::Firing("firing".to_owned()) } else { Self::Fine }
    }
}

/// What a rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Rule and what it is about: `failed_run:dormant`.
    pub key: String,
    pub rule: &'static str,
    pub state: State,
    pub audience: Option<String>,
    pub destination: Option<String>,
    pub run_id: Option<String>,
    /// What is wrong, or that it no longer is.
    pub text: String,
    pub hint: Option<String>,
}

impl Finding {
    fn new(rule: &'static str, about: &str, state: State, text: String) -> Self {
        let key = format!("{rule}:{about}");
        Self { key, rule, state, audience: None, destination: None, run_id: None, text, hint: None }
    }
    fn at(mut self, audience: &str, destination: Option<&str>) -> Self {
        self.audience = Some(audience.to_owned());
        self.destination = destination.map(str::to_owned);
        self
    }
    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// From the end of a run of an audience that goes to these destinations.
pub(crate) fn of_run(
    config: &AlertsConfig,
    run: &Run,
    report: Option<&SyncReport>,
    destinations: &[String],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let options: RunOptions = serde_json::from_value(run.options.clone()).unwrap_or_default();
    if options.dry_run {
        return findings;
    }
    let failed = matches!(run.state, RunState::Failed | RunState::Partial);
    // Of some destinations only, it says nothing of the others.
    let whole = options.destinations.is_empty() || destinations.iter().all(|name| options.destinations.contains(name));
    // A cancelled run tells nothing: somebody wanted it so.
    if config.failed_run && run.state != RunState::Cancelled && (failed || whole) {
        let parts = report.iter().flat_map(|report| &report.destinations);
        let errors: Vec<String> = parts
            .filter_map(|part| part.error.as_ref().map(|error| format!("{}: {error}", part.destination)))
            .chain(run.error.clone())
            .collect();
        let text = if failed {
            format!("Run {} of audience {} ended as {}: {}", run.id, run.audience, run.state.name(), errors.join("; "))
        } else {
            format!("Run {} of audience {} went well again", run.id, run.audience)
        };
        let mut finding =
            Finding::new("failed_run", &run.audience, State::firing(failed), text).at(&run.audience, None);
        finding.run_id = Some(run.id.clone());
        finding.hint =
            report.and_then(|report| report.destinations.iter().find_map(|part| part.hint.clone())).filter(|_| failed);
        findings.push(finding);
    }
    if config.rejected_ratio > 0.0 {
        for part in report.iter().flat_map(|report| &report.destinations) {
            let refused = part.counts.refused(&part.upload);
            if refused.answered < ENOUGH_ANSWERS {
                continue;
            }
            let share = refused.ratio();
            let answered = refused.answered;
            let text = format!(
                "{} rejected {:.1} % of {answered} members of audience {} (allowed: {:.1} %)",
                part.destination,
                share * 100.0,
                run.audience,
                config.rejected_ratio * 100.0
            );
            let about = format!("{}:{}", run.audience, part.destination);
            let state = State::firing(share > config.rejected_ratio);
            let mut finding = Finding::new("rejected_share", &about, state, text)
                .at(&run.audience, Some(&part.destination))
                .hint("see the reasons in the run's report; `reveil report identifiers` shows defects of the columns");
            finding.run_id = Some(run.id.clone());
            findings.push(finding);
        }
    }
    findings
}

/// About each destination of an audience: is it large enough, did its match rate fall?
pub(crate) async fn of_places(daemon: &Daemon, audience: &str) -> Result<Vec<Finding>, StoreError> {
    let loaded = daemon.loaded();
    let (config, Some(settings)) = (&loaded.config.alerts, loaded.config.audience.get(audience)) else {
        return Ok(Vec::new());
    };
    let mut findings = Vec::new();
    let readings = daemon.store().observations(Some(audience)).await?;
    for name in &settings.destinations {
        let about = format!("{audience}:{name}");
        if config.match_rate_deviations > 0.0 {
            let standing = daemon.store().alert_state(&format!("match_rate:{about}")).await?;
            let since = standing.filter(|standing| standing.state != State::FINE).map(|standing| standing.since);
            if let Some((earlier, latest)) = comparable(&readings, name, since) {
                let sensitivity = Sensitivity {
                    deviations: config.match_rate_deviations,
                    min_drop: config.match_rate_min_drop,
                    min_readings: config.match_rate_min_readings,
                };
                findings.extend(of_match_rate(&about, audience, name, judge(&earlier, latest, sensitivity)));
            }
        }
        if config.below_minimum
            && let Some(held) = daemon.held(audience, name).await?
            && let Some(minimum) = minimum(&loaded, name)
        {
            let text = format!("Audience {audience} has {held} members at {name}; below {minimum} it delivers no ads");
            let finding = Finding::new("below_minimum", &about, State::firing(held < minimum), text)
                .at(audience, Some(name))
                .hint("widen the segment, or send more identifiers per customer");
            findings.push(finding);
        }
    }
    Ok(findings)
}

fn of_match_rate(about: &str, audience: &str, destination: &str, verdict: Verdict) -> Option<Finding> {
    let percent = |ratio: f64| format!("{:.1} %", ratio * 100.0);
    let (state, text) = match verdict {
        Verdict::TooFew { have, need } => {
            tracing::debug!(audience, destination, have, need, "Too few readings to know the usual match rate");
            return None;
        }
        Verdict::Usual => {
            (State::Fine, format!("The match rate of audience {audience} at {destination} is as usual again"))
        }
        Verdict::Fell { latest, median, floor } => {
            let shown = if latest.low == latest.high {
                percent(latest.high)
            } else {
                format!("{} to {}", percent(latest.low), percent(latest.high))
            };
            let text = format!(
                "The match rate of audience {audience} at {destination} fell to {shown}; usually it is {}, and its normal \
                 movement ends at {}",
                percent(median),
                percent(floor)
            );
            (State::firing(true), text)
        }
    };
    let finding = Finding::new("match_rate", about, state, text).at(audience, Some(destination));
    Some(
        finding
            .hint("look for a changed column, country or consent filter; `reveil report match-rates` has the history"),
    )
}

/// Credentials of destinations that end soon.
pub(crate) fn of_credentials(config: &AlertsConfig, expiries: &[CredentialExpiry], now: DateTime<Utc>) -> Vec<Finding> {
    let one = |expiry: &CredentialExpiry| {
        let whom = expiry.destination.as_deref().unwrap_or(&expiry.secret);
        let (state, text) = ending(config, &format!("The credential of {whom}"), expiry.expires_at, now);
        let mut finding = Finding::new("credential", &expiry.secret, state, text);
        finding.destination.clone_from(&expiry.destination);
        finding.hint(format!("run `reveil connect {whom}`, or replace the token"))
    };
    expiries.iter().map(one).collect()
}

/// Tokens of the API that end soon.
pub(crate) fn of_tokens(config: &AlertsConfig, expiries: &[TokenExpiry], now: DateTime<Utc>) -> Vec<Finding> {
    let one = |expiry: &TokenExpiry| {
        let TokenExpiry { name, role, expires_at } = expiry;
        let (state, text) = ending(config, &format!("The API token {name} ({role})"), *expires_at, now);
        Finding::new("credential", &token_key(name), state, text).hint(format!(
            "run `reveil token create --role {role} \"{name}\"`, give it to whoever uses the old one, then revoke that"
        ))
    };
    expiries.iter().map(one).collect()
}

/// No secret of the vault has a colon in its name.
fn token_key(name: &str) -> String {
    format!("token:{name}")
}

/// Credentials that were told of and that nobody knows any more: deleted, revoked, or renewed without an end.
pub(crate) fn of_gone_credentials(standing: &[AlertState], found: &[Finding]) -> Vec<Finding> {
    let about = |alert: &AlertState| {
        let about = alert.key.strip_prefix("credential:")?;
        let is_gone = alert.state != State::FINE && !found.iter().any(|finding| finding.key == alert.key);
        let name = about.strip_prefix("token:").unwrap_or(about);
        let text = format!("The credential {name} no longer expires: it was removed, or renewed for good");
        is_gone.then(|| Finding::new("credential", about, State::Fine, text))
    };
    standing.iter().filter_map(about).collect()
}

/// Which threshold something that ends has passed, and how to say so.
fn ending(config: &AlertsConfig, what: &str, expires_at: DateTime<Utc>, now: DateTime<Utc>) -> (State, String) {
    let mut thresholds = config.credential_days.clone();
    thresholds.sort_unstable();
    let left = expires_at - now;
    match thresholds.iter().find(|days| left <= TimeDelta::days(i64::from(**days))) {
        _ if left <= TimeDelta::zero() => (State::Firing("expired".to_owned()), format!("{what} has expired")),
        Some(days) => {
            let at = expires_at.format("%Y-%m-%d");
            let hours = left.num_hours();
            let when = if hours < 48 { format!("{hours} hours") } else { format!("{} days", left.num_days()) };
            (State::Firing(format!("{days} days")), format!("{what} expires in {when}, on {at}"))
        }
        None => (State::Fine, format!("{what} was renewed")),
    }
}

/// How long an audience has gone without a successful run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Silence {
    /// The end of the last successful run, or the first try when there was none.
    pub since: DateTime<Utc>,
    /// From then on it is stale.
    pub stale_at: DateTime<Utc>,
}

pub(crate) fn of_silence(audience: &str, silence: &Silence, now: DateTime<Utc>) -> Finding {
    let stale = now > silence.stale_at + PATIENCE;
    let text = if stale {
        let since = silence.since.format("%Y-%m-%d %H:%M UTC");
        format!("Audience {audience} has had no successful run since {since}, longer than its schedule allows")
    } else {
        format!("Audience {audience} is fresh again")
    };
    Finding::new("stale_audience", audience, State::firing(stale), text)
        .at(audience, None)
        .hint("see `reveil runs` for what stopped it, and whether the daemon runs")
}

fn minimum(loaded: &Arc<crate::daemon::Loaded>, destination: &str) -> Option<u64> {
    let connector = &loaded.config.destination.get(destination)?.connector;
    Some(u64::from(connectors::find(connector)?.descriptor.limits.min_audience))
}

impl Daemon {
    /// How long the audience has been without a successful run; `None` when nothing is to be expected of it: no
    /// schedule, paused, never tried.
    pub(crate) async fn silence(&self, audience: &str) -> Result<Option<Silence>, StoreError> {
        let loaded = self.loaded();
        let periods = loaded.config.alerts.stale_periods;
        let Some(settings) = loaded.config.audience.get(audience) else { return Ok(None) };
        let Some(cadence) = settings.schedule.as_ref().and_then(Cadence::of).filter(|_| periods > 0.0) else {
            return Ok(None);
        };
        if self.store().schedule_state(&sync_key(audience)).await?.is_some_and(|state| state.paused) {
            return Ok(None);
        }
        let since = self.last_success(audience).await?;
        let first_try = match since {
            Some(_) => None,
            None => self.store().runs(Some(audience), 200).await?.pop().map(|run| run.requested_at),
        };
        let Some(since) = since.or(first_try) else { return Ok(None) };
        let whole = periods.ceil().min(10_000.0) as u32;
        Ok(cadence.nth_after(since, whole.max(1)).map(|stale_at| Silence { since, stale_at }))
    }

    /// Members that a destination holds, by the latest run that knows.
    pub(crate) async fn held(&self, audience: &str, destination: &str) -> Result<Option<u64>, StoreError> {
        for run in self.store().runs(Some(audience), 10).await? {
            let parts = self.store().destination_runs(&run.id).await?;
            let part = parts.into_iter().find(|part| {
                part.destination == destination && matches!(part.state, RunState::Done | RunState::Pending)
            });
            if let Some(part) = part {
                return Ok(part.upload["audience_persons"].as_u64());
            }
        }
        Ok(None)
    }

    /// Tokens of the API that end.
    pub(crate) async fn token_expiries(&self) -> Result<Vec<TokenExpiry>, StoreError> {
        Ok(expiries(&self.store().tokens().await?, self.clock().now()))
    }

    /// Credentials whose end is known.
    pub(crate) async fn credentials(&self) -> Result<Vec<CredentialExpiry>, StoreError> {
        crate::vault::credential_expiries(self.store()).await
    }
}
