//! Who of the segment may be uploaded: ordered rules, the first that applies names the reason. The order is the
//! product's promise (what a person refused comes before what the business prefers), so it is one list, read top
//! to bottom. Rules 10 and 11 (no usable identifier, holdout) come later in the line, where they can be known.

use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};
use reveil_sdk::{Consent, ConsentState};

use crate::config::EligibilityConfig;
use crate::config::eligibility::{BouncePolicy, ladder_step};

/// Reason codes of exclusions, in rule order. Stable: they are keys of JSON output.
pub mod reason {
    pub const TEST: &str = "test_customer";
    pub const ERASURE: &str = "erasure_requested";
    pub const OBJECTION: &str = "objection";
    pub const COMPLAINT: &str = "complaint";
    pub const US_OPT_OUT: &str = "us_opt_out";
    pub const CONSENT_DENIED: &str = "consent_denied";
    pub const CONSENT_UNKNOWN: &str = "consent_unknown";
    pub const CONSENT_UNPROVEN: &str = "consent_unproven";
    pub const UNSUBSCRIBED: &str = "unsubscribed";
    pub const HARD_BOUNCE: &str = "hard_bounce";
    pub const RETENTION: &str = "retention_expired";
    pub const MINOR: &str = "minor";
    pub const BOUGHT_RECENTLY: &str = "bought_recently";
    pub const LOST: &str = "lost";
    pub const MAIL_LADDER: &str = "mail_ladder";
    pub const NO_IDENTIFIER: &str = "no_usable_identifier";
    pub const SHARED_PLACEHOLDER: &str = "only_shared_placeholder";
    pub const HELD_BY_ACTIVE: &str = "identifier_of_active_customer";
    pub const HELD_BY_REFUSED: &str = "identifier_of_refusing_customer";
    pub const DUPLICATE: &str = "duplicate_of_another_customer";
    pub const HOLDOUT: &str = "holdout";

    /// All of them in the order in which they are applied and shown.
    pub const ORDER: &[&str] = &[
        TEST,
        ERASURE,
        OBJECTION,
        COMPLAINT,
        US_OPT_OUT,
        CONSENT_DENIED,
        CONSENT_UNKNOWN,
        CONSENT_UNPROVEN,
        UNSUBSCRIBED,
        HARD_BOUNCE,
        RETENTION,
        MINOR,
        BOUGHT_RECENTLY,
        LOST,
        MAIL_LADDER,
        NO_IDENTIFIER,
        SHARED_PLACEHOLDER,
        HELD_BY_ACTIVE,
        HELD_BY_REFUSED,
        DUPLICATE,
        HOLDOUT,
    ];

    /// What a reason means, for people.
    pub fn describe(code: &str) -> &'static str {
        match code {
            TEST => "test or employee account",
            ERASURE => "asked to be erased",
            OBJECTION => "objected to direct marketing",
            COMPLAINT => "complained about mail (counts as objection)",
            US_OPT_OUT => "opted out of sale or sharing (US)",
            CONSENT_DENIED => "ads consent denied",
            CONSENT_UNKNOWN => "ads consent not known",
            CONSENT_UNPROVEN => "ads consent without date or source",
            UNSUBSCRIBED => "unsubscribed from mail",
            HARD_BOUNCE => "mail bounced for good",
            RETENTION => "last contact beyond the retention limit",
            MINOR => "minor",
            BOUGHT_RECENTLY => "bought recently",
            LOST => "lost: no reaction to the last campaigns",
            MAIL_LADDER => "win-back mails still under way",
            NO_IDENTIFIER => "no usable identifier",
            SHARED_PLACEHOLDER => "only identifiers shared by many (placeholder)",
            HELD_BY_ACTIVE => "only identifiers of an active customer",
            HELD_BY_REFUSED => "only identifiers of somebody who refused",
            DUPLICATE => "same identifiers as another customer",
            HOLDOUT => "held out as control group",
            _ => "other",
        }
    }
}

/// What the rules look at. Columns that are not mapped are `None`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts<'a> {
    pub test: bool,
    pub erasure: bool,
    pub objection: bool,
    pub complaint: bool,
    pub us_opt_out: bool,
    pub consent_ads: Option<&'a str>,
    /// `Some(false)`: the column is mapped and this row has nothing in it.
    pub consent_dated: Option<bool>,
    pub consent_sourced: Option<bool>,
    pub unsubscribed: bool,
    pub hard_bounce: bool,
    pub country: &'a str,
    /// Last contact that came from the person: a purchase, click, login or message; not an open.
    pub last_contact_at: Option<DateTime<Utc>>,
    pub created_at: Option<DateTime<Utc>>,
    pub birth_date: Option<NaiveDate>,
    pub minor: bool,
    pub last_order_at: Option<DateTime<Utc>>,
    /// No reaction to campaigns any more, by `[lost]`.
    pub lost: bool,
    /// Step of the mail ladder; `None` when not mapped, blank when not in it.
    pub ladder_step: Option<&'a str>,
}

/// A person who passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eligible {
    pub consent: Consent,
    /// The first e-mail is left out (it bounced for good).
    pub drop_first_email: bool,
}

/// A person who did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excluded {
    pub reason: &'static str,
    /// The person said no: their identifiers are not to be uploaded for anybody else either.
    pub refused: bool,
}

/// The rules of one config at one instant.
#[derive(Debug, Clone)]
pub struct Rules<'c> {
    config: &'c EligibilityConfig,
    as_of: DateTime<Utc>,
    /// Retention cut-offs computed once: default and by country.
    cutoff: Option<DateTime<Utc>>,
    cutoff_by_country: Vec<(String, Option<DateTime<Utc>>)>,
    /// Steps that may get ads; empty: all.
    ladder_ready: Vec<String>,
}

impl<'c> Rules<'c> {
    pub fn new(config: &'c EligibilityConfig, as_of: DateTime<Utc>) -> Self {
        let cutoff = |years: u32| (years > 0).then(|| as_of.checked_sub_months(Months::new(12 * years))).flatten();
        Self {
            config,
            as_of,
            cutoff: cutoff(config.retention_years),
            cutoff_by_country: config
                .retention_years_by_country
                .iter()
                .map(|(country, years)| (country.to_ascii_uppercase(), cutoff(*years)))
                .collect(),
            ladder_ready: config.ladder_ready.iter().map(|step| ladder_step(step)).collect(),
        }
    }

    /// # Errors
    /// The first rule that excludes the person.
    pub fn judge(&self, facts: &Facts<'_>) -> Result<Eligible, Excluded> {
        let no = |reason| Err(Excluded { reason, refused: false });
        let refused = |reason| Err(Excluded { reason, refused: true });
        if facts.test {
            return no(reason::TEST);
        }
        if facts.erasure {
            return refused(reason::ERASURE);
        }
        if facts.objection {
            return refused(reason::OBJECTION);
        }
        if facts.complaint {
            return refused(reason::COMPLAINT);
        }
        if facts.us_opt_out {
            return refused(reason::US_OPT_OUT);
        }
        let consent = self.consent(facts)?;
        if facts.unsubscribed && !self.config.allow_unsubscribed {
            return no(reason::UNSUBSCRIBED);
        }
        if facts.hard_bounce && self.config.hard_bounce == BouncePolicy::DropCustomer {
            return no(reason::HARD_BOUNCE);
        }
        if let Some(cutoff) = self.cutoff_for(facts.country)
            && facts.last_contact_at.or(facts.created_at).is_some_and(|contact| contact < cutoff)
        {
            return no(reason::RETENTION);
        }
        if facts.minor || facts.birth_date.is_some_and(|birth| self.is_minor(birth)) {
            return no(reason::MINOR);
        }
        if self.config.exit_days > 0
            && facts
                .last_order_at
                .is_some_and(|order| order >= self.as_of - chrono::Duration::days(i64::from(self.config.exit_days)))
        {
            return no(reason::BOUGHT_RECENTLY);
        }
        if facts.lost {
            return no(reason::LOST);
        }
        if let (Some(step), false) = (facts.ladder_step, self.ladder_ready.is_empty())
            && !self.ladder_ready.contains(&ladder_step(step))
        {
            return no(reason::MAIL_LADDER);
        }
        Ok(Eligible {
            consent,
            drop_first_email: facts.hard_bounce && self.config.hard_bounce == BouncePolicy::DropIdentifier,
        })
    }

    fn consent(&self, facts: &Facts<'_>) -> Result<Consent, Excluded> {
        let state = facts.consent_ads.map_or(ConsentState::Unknown, read_consent);
        match state {
            // A no is a no, whatever the config asks for.
            ConsentState::Denied => Err(Excluded { reason: reason::CONSENT_DENIED, refused: true }),
            ConsentState::Unknown if self.config.require_consent => {
                Err(Excluded { reason: reason::CONSENT_UNKNOWN, refused: false })
            }
            ConsentState::Unknown => Ok(Consent::UNKNOWN),
            ConsentState::Granted if facts.consent_dated == Some(false) || facts.consent_sourced == Some(false) => {
                Err(Excluded { reason: reason::CONSENT_UNPROVEN, refused: false })
            }
            ConsentState::Granted => Ok(Consent::GRANTED),
        }
    }

    fn cutoff_for(&self, country: &str) -> Option<DateTime<Utc>> {
        self.cutoff_by_country
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(country.trim()))
            .map_or(self.cutoff, |(_, cutoff)| *cutoff)
    }

    fn is_minor(&self, birth: NaiveDate) -> bool {
        let today = self.as_of.date_naive();
        let mut age = today.year() - birth.year();
        if (today.month(), today.day()) < (birth.month(), birth.day()) {
            age -= 1;
        }
        age < i32::try_from(self.config.min_age_years).unwrap_or(i32::MAX)
    }
}

/// How consent is written in people's columns.
fn read_consent(text: &str) -> ConsentState {
    let text = text.trim();
    let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is(&["granted", "true", "t", "yes", "y", "1", "consent_granted", "oui"]) {
        ConsentState::Granted
    } else if is(&["denied", "false", "f", "no", "n", "0", "consent_denied", "withdrawn", "non"]) {
        ConsentState::Denied
    } else {
        ConsentState::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_of() -> DateTime<Utc> {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }
    fn granted() -> Facts<'static> {
        Facts { consent_ads: Some("GRANTED"), country: "FR", ..Facts::default() }
    }
    fn reason_of(config: &EligibilityConfig, facts: &Facts<'_>) -> Option<&'static str> {
        Rules::new(config, as_of()).judge(facts).err().map(|excluded| excluded.reason)
    }

    #[test]
    fn the_first_rule_in_order_names_the_reason() {
        let config = EligibilityConfig::default();
        let mut facts = Facts {
            test: true,
            erasure: true,
            objection: true,
            complaint: true,
            us_opt_out: true,
            consent_ads: Some("DENIED"),
            ..Facts::default()
        };
        for (expected, clear) in [
            (reason::TEST, (|facts: &mut Facts<'_>| facts.test = false) as fn(&mut Facts<'_>)),
            (reason::ERASURE, |facts| facts.erasure = false),
            (reason::OBJECTION, |facts| facts.objection = false),
            (reason::COMPLAINT, |facts| facts.complaint = false),
            (reason::US_OPT_OUT, |facts| facts.us_opt_out = false),
            (reason::CONSENT_DENIED, |facts| facts.consent_ads = None),
            (reason::CONSENT_UNKNOWN, |facts| facts.consent_ads = Some("yes")),
        ] {
            assert_eq!(reason_of(&config, &facts), Some(expected));
            clear(&mut facts);
        }
        assert_eq!(reason_of(&config, &facts), None);
    }

    #[test]
    fn unknown_consent_never_counts_as_granted_and_denied_never_passes() {
        let lax = EligibilityConfig { require_consent: false, ..EligibilityConfig::default() };
        let unknown = Facts { consent_ads: Some("?"), ..granted() };
        assert_eq!(Rules::new(&lax, as_of()).judge(&unknown).unwrap().consent, Consent::UNKNOWN);
        let denied = Facts { consent_ads: Some("no"), ..granted() };
        assert_eq!(reason_of(&lax, &denied), Some(reason::CONSENT_DENIED));
        let undated = Facts { consent_dated: Some(false), ..granted() };
        assert_eq!(reason_of(&EligibilityConfig::default(), &undated), Some(reason::CONSENT_UNPROVEN));
    }

    #[test]
    fn retention_is_three_calendar_years_and_differs_by_country() {
        let mut config = EligibilityConfig::default();
        config.retention_years_by_country.insert("de".into(), 2);
        let at = |text: &str| Some(text.parse::<DateTime<Utc>>().unwrap());
        let edge = Facts { last_contact_at: at("2023-01-01T00:00:00Z"), ..granted() };
        assert_eq!(reason_of(&config, &edge), None);
        let past = Facts { last_contact_at: at("2022-12-31T23:59:59Z"), ..granted() };
        assert_eq!(reason_of(&config, &past), Some(reason::RETENTION));
        let german = Facts { country: "DE", ..edge };
        assert_eq!(reason_of(&config, &german), Some(reason::RETENTION));
    }

    #[test]
    fn the_lost_and_those_in_the_mail_ladder_are_left_out() {
        let config = EligibilityConfig { ladder_ready: vec!["none".into(), "day 15".into()], ..Default::default() };
        let at = |step| Facts { ladder_step: step, ..granted() };
        for (step, expected) in [
            (None, None),
            (Some(""), None),
            (Some("15"), None),
            (Some("J+15"), None),
            (Some("+5"), Some(reason::MAIL_LADDER)),
            (Some("0"), Some(reason::MAIL_LADDER)),
        ] {
            assert_eq!(reason_of(&config, &at(step)), expected, "{step:?}");
            assert_eq!(reason_of(&EligibilityConfig::default(), &at(step)), None);
        }
        assert_eq!(reason_of(&config, &Facts { lost: true, ..at(Some("0")) }), Some(reason::LOST));
    }

    #[test]
    fn minors_and_bounces_follow_the_config() {
        let config = EligibilityConfig::default();
        let minor = Facts { birth_date: NaiveDate::from_ymd_opt(2008, 1, 2), ..granted() };
        assert_eq!(reason_of(&config, &minor), Some(reason::MINOR));
        let adult = Facts { birth_date: NaiveDate::from_ymd_opt(2008, 1, 1), ..granted() };
        assert_eq!(reason_of(&config, &adult), None);
        let bounced = Facts { hard_bounce: true, ..granted() };
        assert!(Rules::new(&config, as_of()).judge(&bounced).unwrap().drop_first_email);
        let strict = EligibilityConfig { hard_bounce: BouncePolicy::DropCustomer, ..config };
        assert_eq!(reason_of(&strict, &bounced), Some(reason::HARD_BOUNCE));
    }
}
