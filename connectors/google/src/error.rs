//! How Google says no: `google.rpc.Status`. HTTP status decides first, the vendor's reason refines, because which
//! canonical status goes with which reason is not documented (concepts/understand-errors, read 2026-11-22).
//!
//! Message texts of member calls are never repeated: Google quotes the offending value in some of them.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Days, NaiveTime, Utc};
use http::header;
use reveil_sdk::ErrorKind::{Config, NotFound, Permission, Rejected, Unsupported};
use reveil_sdk::{Error, ErrorKind, Interpret, RejectReason, Rejection, Reply, Retry};

use crate::wire::{ErrorBody, FieldViolation, RpcStatus};

/// Parking time after a daily quota when the time of day is unknown.
const DAILY_QUOTA_WAIT: Duration = Duration::from_secs(6 * 3600);
/// Google's quota days end at midnight Pacific time; 08:00 UTC is never before that. That it holds for this API
/// too is UNVERIFIED.
const QUOTA_DAY_ENDS: NaiveTime = NaiveTime::from_hms_opt(8, 0, 0).expect("a time of day");

/// Reads the replies to one call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Replies {
    /// Members in the request; 0 for calls about lists and requests.
    members: usize,
}

impl Replies {
    pub(crate) const PLAIN: Self = Self { members: 0 };

    pub(crate) const fn about_members(members: usize) -> Self {
        Self { members }
    }
}

/// The vendor's reason an error carries.
pub(crate) fn reason(error: &Error) -> Option<&str> {
    error.context().iter().find(|(name, _)| *name == "reason").map(|(_, value)| value.as_str())
}

/// A reason that means something else than its HTTP status says, or that the operator can do something about.
struct Meaning {
    reason: &'static str,
    kind: ErrorKind,
    hint: &'static str,
}

const fn means(reason: &'static str, kind: ErrorKind, hint: &'static str) -> Meaning {
    Meaning { reason, kind, hint }
}

/// Of the 129 values of `ErrorReason` (google-ads-datamanager 0.9.4) those that audience calls can meet, and three
/// common to all Google APIs at the end. Anything else keeps the kind of its status and is shown as it is.
#[rustfmt::skip]
const MEANINGS: &[Meaning] = &[
    means("TERMS_AND_CONDITIONS_NOT_SIGNED", Permission, "someone with admin rights must accept the Customer Match terms of this account in Google Ads"),
    means("ADVERTISER_TOS_NOT_ACCEPTED", Permission, "the advertiser must accept the partner's terms in Google's user interface"),
    means("ADVERTISER_NOT_ALLOWLISTED_FOR_UPLOADED_DATA", Permission, "this account may not use uploaded lists yet; Customer Match needs a good policy and payment history"),
    means("NOT_ALLOWLISTED", Permission, "Google has not opened this feature for the account; ask the account's Google contact"),
    means("EU_POLITICAL_ADVERTISING_DECLARATION_REQUIRED", Permission, "declare in Google Ads whether the campaigns hold EU political ads, then sync again"),
    means("USER_LIST_TYPE_NOT_SUPPORTED_FOR_ACCOUNT", Permission, "this account cannot hold Customer Match lists; check `account` and `account_type`"),
    means("UNSUPPORTED_ACCOUNT_TYPES_FOR_USER_LIST_TYPE", Permission, "this account cannot hold Customer Match lists; check `account` and `account_type`"),
    means("OPERATING_ACCOUNT_LOGIN_ACCOUNT_MISMATCH", Permission, "the login account does not reach the operating account; set `login_account` to the manager account the credential belongs to"),
    means("DATA_PARTNER_USER_LIST_MUTATE_NOT_ALLOWED", Permission, "the data partner may not write lists of this account; check `login_account` and `linked_account`"),
    means("UNSUPPORTED_OPERATING_ACCOUNT_FOR_DATA_PARTNER", Permission, "the data partner is not linked to this account; check `login_account` and `linked_account`"),
    means("UNSUPPORTED_LINKED_ACCOUNT_FOR_DATA_PARTNER", Permission, "the data partner is not linked to this account; check `linked_account`"),
    means("OWNERSHIP_REQUIRED_FOR_UPDATE", Permission, "the list belongs to another account; let this account make its own"),
    means("USER_LIST_MUTATION_NOT_SUPPORTED", Permission, "the list is read-only; let Réveil make its own"),
    means("SENSITIVE_USER_LIST_IMMUTABLE", Permission, "Google holds the list to be sensitive and will not change it"),
    means("PERMISSION_DENIED", Permission, "give the credential access to the account and check `login_account`"),
    means("LINKED_ACCOUNT_ONLY_ALLOWED_WITH_DATA_PARTNER_LOGIN_ACCOUNT", Config, "leave `linked_account` out, or log in as a DATA_PARTNER"),
    means("DIFFERENT_LOGIN_ACCOUNTS_NOT_ALLOWED_FOR_DATA_PARTNER", Config, "use one `login_account` for this data partner"),
    means("DESTINATION_ACCOUNT_TYPE_MISMATCH", Config, "`account_type` does not fit the account"),
    means("MISMATCHED_ACCOUNT_TYPE", Config, "`account_type` does not fit the account"),
    means("INVALID_DESTINATION", Config, "check `account`, `account_type` and `login_account`"),
    means("DUPLICATE_DESTINATION_REFERENCE", ErrorKind::Unexpected, "this is a fault of the connector; please report it"),
    means("TOO_MANY_DESTINATIONS", ErrorKind::Unexpected, "this is a fault of the connector; please report it"),
    means("DISPLAY_NAME_ALREADY_USED", Config, "give the audience another `label`, or rename or delete the list that has it in Google Ads"),
    means("USER_LIST_NAME_RESERVED", Config, "give the audience another `label`; Google keeps this one for itself"),
    means("INVALID_DISPLAY_NAME", Config, "give the audience another `label`"),
    means("INVALID_DESCRIPTION", Config, "give the audience another description"),
    means("MEMBERSHIP_DURATION_TOO_LONG", Config, "`membership_days` is at most 540"),
    means("INVALID_USER_LIST_TYPE", Config, "the list takes other identifiers than e-mail, phone and address; let Réveil make its own"),
    means("INVALID_USER_LIST_ID", NotFound, "the list is gone or belongs to another account; the next sync makes it anew"),
    means("REQUEST_TOO_OLD", NotFound, "Google keeps the status of a request for about 50 days"),
    means("INVALID_REQUEST_ID", NotFound, "Google does not know this request"),
    means("INVALID_REMOVE_AS_OF_TIME", Rejected, "the time lies in the future for Google; set this machine's clock"),
    means("SERVICE_DISABLED", Permission, "enable the Data Manager API in the credential's Cloud project"),
    means("ACCESS_TOKEN_SCOPE_INSUFFICIENT", Permission, "connect again and grant the `datamanager` scope"),
    means("USER_PROJECT_DENIED", Permission, "the credential needs Service Usage Consumer on `quota_project`"),
];

/// Reasons that lie in the members themselves.
const MEMBER_REASONS: &[&str] = &[
    "INVALID_SHA256_FORMAT",
    "INVALID_HEX_ENCODING",
    "INVALID_BASE64_ENCODING",
    "INVALID_POSTAL_CODE",
    "INVALID_COUNTRY_CODE",
    "INVALID_REGION_CODE",
    "INVALID_AUDIENCE_MEMBER",
    "NO_IDENTIFIERS_PROVIDED",
    "TOO_MANY_USER_IDENTIFIERS",
    "TOO_MANY_AUDIENCE_MEMBERS",
    "MULTIPLE_DATA_TYPES_NOT_ALLOWED",
];

impl Interpret for Replies {
    fn error(&self, reply: &Reply) -> Option<Error> {
        if reply.is_success() {
            return None;
        }
        // A proxy's HTML page is no reason to lose the status.
        let status = serde_json::from_slice::<ErrorBody>(&reply.body).unwrap_or_default().error;
        let (reason, meaning) = main_reason(&status);
        let error = match reply.status {
            401 => Error::new(ErrorKind::Auth, reply.operation, "Google does not accept the access token")
                .hint("connect again, or check the service account's key; apps in \"Testing\" lose refresh tokens after 7 days"),
            429 => quota(reply, &status),
            404 if status.status.is_empty() => Error::new(ErrorKind::Protocol, reply.operation, "the 404 is not Google's")
                .hint("check `base_url` and whatever stands between this machine and Google"),
            501 => Error::new(Unsupported, reply.operation, "Google does not know this call; is `base_url` right?"),
            500..=599 | 408 => Error::new(ErrorKind::Unavailable, reply.operation, "Google could not answer"),
            code => self.refused(reply, code, &status, meaning),
        };
        Some(with_context(error, reply.status, reason, &status))
    }
}

impl Replies {
    fn refused(&self, reply: &Reply, code: u16, status: &RpcStatus, meaning: Option<&Meaning>) -> Error {
        let kind = match (ErrorKind::from_status(code), meaning.map(|meaning| meaning.kind)) {
            // No access is no proof that something is gone or refused.
            (Permission, Some(kind)) if kind != Config => Permission,
            (_, Some(kind)) => kind,
            (kind, None) => kind,
        };
        let message = match kind {
            Config => "Google refuses the settings",
            Permission => "the credential or account may not do this",
            NotFound => "it is not there (any more)",
            Rejected => "Google refuses the request",
            _ => "Google answered with an error",
        };
        let mut error = Error::new(kind, reply.operation, message);
        if let Some(meaning) = meaning {
            error = error.hint(meaning.hint);
        } else if kind == Permission {
            error = error.hint(
                "enable the Data Manager API, add the credential's user to the account, and set `login_account` when access goes through a manager",
            );
        }
        if self.members == 0 && !status.message.is_empty() {
            error = error.with("message", printable(&status.message, 200));
        }
        if kind == Rejected && code == 400 { self.blame(error, status) } else { error }
    }

    /// Says which members a refused batch fell over, as far as Google does.
    fn blame(&self, error: Error, status: &RpcStatus) -> Error {
        let violations: Vec<&FieldViolation> = violations(status).collect();
        let elsewhere =
            violations.iter().any(|violation| !violation.field.is_empty() && !is_member_path(&violation.field));
        if self.members == 0 || elsewhere {
            return error;
        }
        let mut named = BTreeMap::new();
        for violation in &violations {
            if let Some(index) = member_index(&violation.field).filter(|index| (*index as usize) < self.members) {
                named.entry(index).or_insert_with(|| reject_reason(&violation.reason, "invalid_member"));
            }
        }
        if !named.is_empty() {
            return error.naming(named.into_iter().map(|(index, reason)| Rejection { index, reason }).collect());
        }
        let unnamed = violations.iter().any(|violation| is_member_path(&violation.field))
            || reasons(status).any(|reason| MEMBER_REASONS.contains(&reason));
        if unnamed { error.body_fault() } else { error }
    }
}

/// 429: per minute the retry layer waits as long as it holds right; per day the destination is parked until the quota
/// day is over.
fn quota(reply: &Reply, status: &RpcStatus) -> Error {
    let error = Error::new(ErrorKind::RateLimited, reply.operation, "Google's quota is used up");
    let limit = status.details.iter().find_map(|detail| detail.metadata.get("quota_limit")?.as_str());
    let Some(limit) = limit else { return error };
    let error = error.with("quota_limit", printable(limit, 80));
    // The names of the read and management quotas are inferred from the documented ones: UNVERIFIED. Only this part counts.
    if !limit.contains("PerDay") {
        return error;
    }
    let now = reply.header_text(header::DATE.as_str()).and_then(|text| DateTime::parse_from_rfc2822(text).ok());
    let wait = now.map_or(DAILY_QUOTA_WAIT, |now| until_next_quota_day(now.to_utc()));
    error
        .with("quota_period", "day")
        .with("wait_secs", wait.as_secs())
        .retry(Retry::After(Some(wait)))
        .hint("the Cloud project's daily quota is used up; wait for the next quota day or ask Google for more")
}

fn until_next_quota_day(now: DateTime<Utc>) -> Duration {
    let today = now.date_naive().and_time(QUOTA_DAY_ENDS).and_utc();
    let next = if today > now { today } else { today + Days::new(1) };
    (next - now).to_std().unwrap_or(DAILY_QUOTA_WAIT)
}

fn violations(status: &RpcStatus) -> impl Iterator<Item = &FieldViolation> {
    status.details.iter().flat_map(|detail| &detail.field_violations)
}

/// Every reason given, the violations' before the general one.
fn reasons(status: &RpcStatus) -> impl Iterator<Item = &str> {
    violations(status)
        .map(|violation| violation.reason.as_str())
        .chain(status.details.iter().map(|detail| detail.reason.as_str()))
        .filter(|reason| !reason.is_empty())
}

/// The reason to show, and what it means. One we know wins: a settings fault must not hide behind a bad member.
fn main_reason(status: &RpcStatus) -> (Option<&str>, Option<&'static Meaning>) {
    let known = reasons(status).find_map(|reason| {
        MEANINGS.iter().find(|meaning| meaning.reason == reason).map(|meaning| (Some(reason), Some(meaning)))
    });
    known.unwrap_or_else(|| (reasons(status).next(), None))
}

fn with_context(mut error: Error, http_status: u16, reason: Option<&str>, status: &RpcStatus) -> Error {
    error = error.with("status", http_status);
    if !status.status.is_empty() {
        error = error.with("code", printable(&status.status, 40));
    }
    if let Some(reason) = reason {
        error = error.with("reason", printable(reason, 80));
    }
    if let Some(violation) = violations(status).find(|violation| !violation.field.is_empty()) {
        error = error.with("field", printable(&violation.field, 120));
    }
    let request_id = status.details.iter().find_map(|detail| {
        let in_metadata = detail.metadata.get("requestId").and_then(|id| id.as_str());
        Some(detail.request_id.as_str()).filter(|id| !id.is_empty()).or(in_metadata)
    });
    match request_id {
        Some(id) => error.with("request_id", printable(id, 80)),
        None => error,
    }
}

/// A vendor's reason in our form; `otherwise` when there is none. It becomes a label of metrics, so only what a code
/// consists of is kept.
pub(crate) fn reject_reason(reason: &str, otherwise: &'static str) -> RejectReason {
    let code: String = reason.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(80).collect();
    if code.is_empty() { RejectReason::from_static(otherwise) } else { RejectReason::from_platform(&code) }
}

/// Field paths come in snake or camel case.
const MEMBER_PATHS: [&str; 2] = ["audience_members", "audienceMembers"];

fn is_member_path(field: &str) -> bool {
    MEMBER_PATHS.iter().any(|path| field.starts_with(path))
}

/// 17 of `audience_members[17].composite_data…`.
fn member_index(field: &str) -> Option<u32> {
    let rest = MEMBER_PATHS.iter().find_map(|path| field.strip_prefix(path))?;
    rest.strip_prefix('[')?.split_once(']')?.0.parse().ok()
}

/// Text of the other side, fit for a log line.
fn printable(text: &str, max: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(max).collect()
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    #[test]
    fn member_paths_are_read_in_both_spellings() {
        assert_eq!(
            member_index("audience_members[17].composite_data.user_data.user_identifiers[0].email_address"),
            Some(17)
        );
        assert_eq!(member_index("audienceMembers[9999].compositeData"), Some(9999));
        assert_eq!(member_index("audience_members[3]"), Some(3));
        for none in
            ["audience_members", "destinations[0].operating_account", "audience_members[-1]", "audience_members[x]", ""]
        {
            assert_eq!(member_index(none), None, "{none}");
        }
    }

    #[test]
    fn the_quota_day_ends_at_midnight_pacific_or_an_hour_later() {
        let at = |hour, minute| Utc.with_ymd_and_hms(2026, 11, 22, hour, minute, 0).unwrap();
        assert_eq!(until_next_quota_day(at(7, 0)), Duration::from_secs(3600));
        assert_eq!(until_next_quota_day(at(8, 0)), Duration::from_secs(24 * 3600));
        assert_eq!(until_next_quota_day(at(20, 30)), Duration::from_secs(11 * 3600 + 1800));
    }

    #[test]
    fn every_reason_has_one_meaning_and_a_hint() {
        for (index, meaning) in MEANINGS.iter().enumerate() {
            assert!(!meaning.hint.is_empty());
            assert!(MEANINGS[index + 1..].iter().all(|other| other.reason != meaning.reason), "{}", meaning.reason);
            assert!(!MEMBER_REASONS.contains(&meaning.reason), "{}", meaning.reason);
        }
    }
}
