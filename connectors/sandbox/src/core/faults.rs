//! Faults on request: which, where, how often. Drawn from the seed, so that the same requests meet the same faults.
//!
//! A rule is written `[platform[.operation]:]kind[=argument][@when]`, several joined by commas:
//! `meta.users.add:throttle@0.05, google:error=503@next=2, slow=6h`. The crate's README lists the kinds.

use super::key::unit;
use crate::{Error, Platform};
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FaultKind {
    /// Meta: HTTP 400 with this throttle code (80003, 613, 17, 4 …). Google: HTTP 429 naming the minute quota.
    Throttle(u32),
    /// HTTP 429 with `Retry-After: <seconds>`.
    RetryAfter(u64),
    /// Google: HTTP 429 naming the day quota; Meta: HTTP 429 without `Retry-After` and an empty JSON body.
    DayQuota,
    /// This HTTP status in the platform's error shape, nothing applied.
    Status(u16),
    /// The platform's own transient error (Meta code 2 `is_transient`, Google 503).
    Transient,
    /// No answer, nothing applied.
    Timeout,
    /// Applied, but no answer.
    TimeoutApplied,
    /// Connection reset, nothing applied.
    Reset,
    /// Applied, then the connection is reset.
    ResetApplied,
    /// Applied; half of the reply's body, then the connection closes.
    Truncate,
    /// An HTML error page, nothing applied.
    Html,
    /// HTTP 200 with `{}`, nothing applied.
    Empty,
    /// HTTP 200 with `{"success":false}`, nothing applied (Meta).
    SuccessFalse,
    /// This share of a request's rows is refused inside an accepted request.
    Partial(f64),
    /// A request holding a digest whose hex begins so is refused as a whole, without naming the row.
    BadRow(String),
    /// Sizes, match counts and jobs take this many seconds.
    Slow(i64),
    /// Google: the job ends FAILED. Meta: the replacement ends with operation status 415.
    FailedJob,
    /// The access token counts as expired.
    ExpiredToken,
    /// Meta: the audience carries the integrity flag (471) from now on. Google: the list is closed.
    Flagged,
    /// Meta: code 803, as right after creation. Google: 404.
    NotVisible,
    /// The platform's terms count as unsigned.
    Terms,
}

impl FaultKind {
    /// The word of the rule language.
    pub fn word(&self) -> &'static str {
        match self {
            FaultKind::Throttle(_) => "throttle",
            FaultKind::RetryAfter(_) => "retry-after",
            FaultKind::DayQuota => "day-quota",
            FaultKind::Status(_) => "error",
            FaultKind::Transient => "transient",
            FaultKind::Timeout => "timeout",
            FaultKind::TimeoutApplied => "timeout-applied",
            FaultKind::Reset => "reset",
            FaultKind::ResetApplied => "reset-applied",
            FaultKind::Truncate => "truncate",
            FaultKind::Html => "html",
            FaultKind::Empty => "empty",
            FaultKind::SuccessFalse => "success-false",
            FaultKind::Partial(_) => "partial",
            FaultKind::BadRow(_) => "bad-row",
            FaultKind::Slow(_) => "slow",
            FaultKind::FailedJob => "failed-job",
            FaultKind::ExpiredToken => "expired-token",
            FaultKind::Flagged => "flagged",
            FaultKind::NotVisible => "not-visible",
            FaultKind::Terms => "terms",
        }
    }

    /// Faults that only make sense where members travel, unless a rule names an operation.
    fn needs_members(&self) -> bool {
        matches!(
            self,
            FaultKind::Partial(_)
                | FaultKind::BadRow(_)
                | FaultKind::Slow(_)
                | FaultKind::FailedJob
                | FaultKind::Flagged
                | FaultKind::NotVisible
                | FaultKind::Terms
        )
    }

    fn parse(word: &str, argument: Option<&str>) -> Result<Self, String> {
        let number = |fallback: u64| match argument {
            None => Ok(fallback),
            Some(text) => text.parse::<u64>().map_err(|_| format!("`{word}={text}`: give a whole number")),
        };
        let needed = || argument.ok_or_else(|| format!("`{word}` needs an argument: `{word}=…`"));
        let kind = match word {
            "throttle" => FaultKind::Throttle(u32::try_from(number(80003)?).map_err(|_| "code too large".to_owned())?),
            "retry-after" => FaultKind::RetryAfter(number(1)?),
            "day-quota" => FaultKind::DayQuota,
            "error" => match u16::try_from(number(500)?) {
                Ok(status @ 400..=599) => FaultKind::Status(status),
                _ => return Err("`error`: give an HTTP status of 400 to 599".into()),
            },
            "transient" => FaultKind::Transient,
            "timeout" => FaultKind::Timeout,
            "timeout-applied" => FaultKind::TimeoutApplied,
            "reset" => FaultKind::Reset,
            "reset-applied" => FaultKind::ResetApplied,
            "truncate" => FaultKind::Truncate,
            "html" => FaultKind::Html,
            "empty" => FaultKind::Empty,
            "success-false" => FaultKind::SuccessFalse,
            "partial" => match needed()?.parse::<f64>() {
                Ok(share) if (0.0..=1.0).contains(&share) => FaultKind::Partial(share),
                _ => return Err("`partial`: give a share between 0 and 1".into()),
            },
            "bad-row" => {
                let prefix = needed()?.to_ascii_lowercase();
                if prefix.is_empty() || !prefix.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err("`bad-row`: give the first hex digits of a digest".into());
                }
                FaultKind::BadRow(prefix)
            }
            "slow" => FaultKind::Slow(duration_secs(needed()?)?),
            "failed-job" => FaultKind::FailedJob,
            "expired-token" => FaultKind::ExpiredToken,
            "flagged" => FaultKind::Flagged,
            "not-visible" => FaultKind::NotVisible,
            "terms" => FaultKind::Terms,
            _ => return Err(format!("unknown fault `{word}`")),
        };
        Ok(kind)
    }
}

/// How often a rule strikes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// Every request.
    Always,
    /// Each request with this probability.
    Chance(f64),
    /// The next so many requests.
    Next(u64),
}

/// One rule: what, where, how often.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultRule {
    /// `None` = every platform.
    pub platform: Option<Platform>,
    /// Operation or its first word (`users` covers `users.add`); empty = all that the fault makes sense for.
    pub operation: String,
    /// What goes wrong.
    pub kind: FaultKind,
    /// How often.
    pub when: When,
}

impl FaultRule {
    fn covers(&self, platform: Platform, operation: &str, carries_members: bool) -> bool {
        if self.platform.is_some_and(|p| p != platform) {
            return false;
        }
        if self.operation.is_empty() {
            return carries_members || !self.kind.needs_members();
        }
        operation == self.operation || operation.strip_prefix(&self.operation).is_some_and(|rest| rest.starts_with('.'))
    }
}

impl FromStr for FaultRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (scope, rest) = text.split_once(':').unwrap_or(("", text));
        let (what, when) = rest.split_once('@').map_or((rest, None), |(what, when)| (what, Some(when)));
        let (word, argument) = what.split_once('=').map_or((what, None), |(word, arg)| (word, Some(arg.trim())));
        let (platform, operation) = scope.split_once('.').unwrap_or((scope, ""));
        let platform = match platform.trim() {
            "" | "*" => None,
            slug => Some(Platform::from_slug(slug).ok_or_else(|| format!("unknown platform `{slug}`"))?),
        };
        let when = match when.map(str::trim) {
            None => When::Always,
            Some(text) => match text.strip_prefix("next=").or_else(|| text.strip_prefix("next ")) {
                Some(n) => When::Next(n.trim().parse().map_err(|_| format!("`@{text}`: give a count"))?),
                None => match text.parse::<f64>() {
                    Ok(p) if (0.0..=1.0).contains(&p) => When::Chance(p),
                    _ => return Err(format!("`@{text}`: give a probability between 0 and 1 or `next=<count>`")),
                },
            },
        };
        let operation = operation.trim().trim_end_matches(".*").to_owned();
        Ok(FaultRule {
            platform,
            operation: if operation == "*" { String::new() } else { operation },
            kind: FaultKind::parse(word.trim(), argument)?,
            when,
        })
    }
}

impl fmt::Display for FaultRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.platform.map_or("*", Platform::slug))?;
        if !self.operation.is_empty() {
            write!(f, ".{}", self.operation)?;
        }
        write!(f, ":{}", self.kind.word())?;
        match &self.kind {
            FaultKind::Throttle(code) => write!(f, "={code}")?,
            FaultKind::RetryAfter(n) => write!(f, "={n}")?,
            FaultKind::Status(status) => write!(f, "={status}")?,
            FaultKind::Partial(share) => write!(f, "={share}")?,
            FaultKind::BadRow(prefix) => write!(f, "={prefix}")?,
            FaultKind::Slow(secs) => write!(f, "={secs}s")?,
            _ => {}
        }
        match self.when {
            When::Always => Ok(()),
            When::Chance(p) => write!(f, "@{p}"),
            When::Next(n) => write!(f, "@next={n}"),
        }
    }
}

/// A set of rules; all that strike a request apply, the first decides where two exclude each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// In order of precedence.
    pub rules: Vec<FaultRule>,
}

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Faults = Faults { rules: Vec::new() };
}

impl FromStr for Faults {
    type Err = Error;

    /// Reads rules joined by commas or line ends.
    ///
    /// # Errors
    /// [`Error::Faults`] with the rule and what to write instead.
    fn from_str(text: &str) -> Result<Self, Error> {
        let rules = text.split([',', '\n']).map(str::trim).filter(|rule| !rule.is_empty());
        let rules: Result<Vec<FaultRule>, Error> =
            rules.map(|rule| rule.parse().map_err(|what| Error::Faults { rule: rule.to_owned(), what })).collect();
        Ok(Faults { rules: rules? })
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, rule) in self.rules.iter().enumerate() {
            write!(f, "{}{rule}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl Serialize for Faults {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.rules.iter().map(FaultRule::to_string))
    }
}

/// Reads `90s`, `30m`, `6h`, `2d` or plain seconds.
pub(crate) fn duration_secs(text: &str) -> Result<i64, String> {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1),
        Some(b'm') => (&text[..text.len() - 1], 60),
        Some(b'h') => (&text[..text.len() - 1], 3600),
        Some(b'd') => (&text[..text.len() - 1], 86400),
        _ => (text, 1),
    };
    let fault = || format!("`{text}`: give a duration such as 90s, 30m, 6h or 2d");
    digits.parse::<i64>().ok().filter(|n| *n >= 0).and_then(|n| n.checked_mul(factor)).ok_or_else(fault)
}

/// The rules in force with their counters.
#[derive(Debug)]
pub(crate) struct FaultBox {
    seed: u64,
    draws: u64,
    faults: Faults,
}

impl FaultBox {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        Self { seed, draws: 0, faults }
    }

    pub(crate) fn set(&mut self, faults: Faults) {
        self.faults = faults;
    }

    pub(crate) fn add(&mut self, rule: FaultRule) {
        self.faults.rules.push(rule);
    }

    pub(crate) fn rules(&self) -> &Faults {
        &self.faults
    }

    /// The faults that strike this request.
    pub(crate) fn draw(&mut self, platform: Platform, operation: &str, carries_members: bool) -> Vec<FaultKind> {
        let mut struck = Vec::new();
        for rule in &mut self.faults.rules {
            if !rule.covers(platform, operation, carries_members) {
                continue;
            }
            let strikes = match &mut rule.when {
                When::Always => true,
                When::Chance(p) => {
                    self.draws += 1;
                    unit(self.seed, self.draws) < *p
                }
                When::Next(left) => {
                    let any = *left > 0;
                    *left = left.saturating_sub(1);
                    any
                }
            };
            if strikes {
                struck.push(rule.kind.clone());
            }
        }
        self.faults.rules.retain(|rule| rule.when != When::Next(0));
        struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_written_back() {
        let text = "meta.users.add:throttle=613@0.05,google:error=503@next=2,*:slow=21600s,google.members:partial=0.1";
        let faults: Faults = text.parse().unwrap();
        assert_eq!(faults.to_string(), text);
        assert_eq!("slow=6h".parse::<FaultRule>().unwrap().kind, FaultKind::Slow(21600));
    }

    #[test]
    fn a_wrong_rule_says_what_to_write() {
        for (text, hint) in [
            ("meta:nonsense", "unknown fault"),
            ("tiktok:reset", "unknown platform"),
            ("reset@2", "probability"),
            ("partial", "needs an argument"),
            ("error=200", "400 to 599"),
            ("slow=soon", "duration"),
        ] {
            let error = text.parse::<Faults>().unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn counted_rules_run_out_and_scopes_hold() {
        let mut faults = FaultBox::new(1, "meta.users:reset@next=2,slow=1h".parse().unwrap());
        assert_eq!(faults.draw(Platform::Google, "members.ingest", true), [FaultKind::Slow(3600)]);
        assert_eq!(faults.draw(Platform::Meta, "usersish", false), []);
        assert_eq!(faults.draw(Platform::Meta, "users.add", false), [FaultKind::Reset]);
        assert_eq!(faults.draw(Platform::Meta, "users", false), [FaultKind::Reset]);
        assert_eq!(faults.draw(Platform::Meta, "users.add", false), []);
    }

    #[test]
    fn chance_follows_the_seed() {
        let strikes = |seed| {
            let mut faults = FaultBox::new(seed, "reset@0.3".parse().unwrap());
            (0..1000).map(|_| faults.draw(Platform::Meta, "users.add", true).len()).collect::<Vec<_>>()
        };
        assert_eq!(strikes(5), strikes(5));
        assert_ne!(strikes(5), strikes(6));
        let share = strikes(5).iter().sum::<usize>();
        assert!((230..370).contains(&share), "{share}");
    }
}
