//! How Meta says no. One table of `error.code` and `error_subcode` (sources: marketing-api error reference,
//! reference/custom-audience/users, graph-api/guides/error-handling), walked by one function. The HTTP status says
//! little: throttles come with 400. Message texts are never branched on, and developer messages never shown.

use std::ops::RangeInclusive;
use std::time::Duration;

use reveil_sdk::{Error, ErrorKind, Interpret, Pace, Reply, Retry};

use crate::usage::{self, Throttle};
use crate::wire::{Envelope, GraphError};

/// Names of operations, as they stand in logs and errors.
pub(crate) mod operation {
    pub const CHECK: &str = "CheckAccount";
    pub const GET: &str = "GetAudience";
    pub const LIST: &str = "ListAudiences";
    pub const CREATE: &str = "CreateAudience";
    pub const DELETE: &str = "DeleteAudience";
    pub const SESSIONS: &str = "ListSessions";
    pub const ADD: &str = "AddUsers";
    pub const REMOVE: &str = "RemoveUsers";
    pub const REPLACE: &str = "ReplaceUsers";
    pub const ERASE: &str = "EraseUsers";
}

/// The call carried members.
fn writes_members(name: &str) -> bool {
    [operation::ADD, operation::REMOVE, operation::REPLACE, operation::ERASE].contains(&name)
}

/// When the same call may help.
#[derive(Debug, Clone, Copy)]
enum Again {
    Never,
    /// The transport's own back-off.
    BackOff,
    Secs(u64),
    Throttled(Throttle),
    /// Only for calls that carry members: an audience made a moment ago is not visible yet.
    MembersAfterSecs(u64),
}

struct Row {
    codes: RangeInclusive<i64>,
    /// Empty: any, or none.
    subcodes: &'static [i64],
    kind: ErrorKind,
    again: Again,
    message: &'static str,
    /// `{account}` stands for the digits of the ad account.
    hint: &'static str,
}

const fn row(
    codes: RangeInclusive<i64>,
    subcodes: &'static [i64],
    kind: ErrorKind,
    again: Again,
    message: &'static str,
    hint: &'static str,
) -> Row {
    Row { codes, subcodes, kind, again, message, hint }
}

const TERMS_HINT: &str = "A person of the business that owns the ad account (not a system user) must accept the terms at \
     https://business.facebook.com/ads/manage/customaudiences/tos/?act={account}";
const FLAGGED_HINT: &str = "Meta flagged the audience: its name, description or rule suggests health, financial or similar \
     information. Appeal in Ads Manager, or use a new audience with a bland name and description.";
const TOKEN_HINT: &str = "Mint a new system user access token with ads_management and ads_read, and put it into the \
     destination's credentials.";

/// First fit counts: precise rows stand before general ones.
static TABLE: &[Row] = &[
    row(1..=1, &[], ErrorKind::Unavailable, Again::BackOff, "Meta could not answer (unknown error)", ""),
    row(2..=2, &[], ErrorKind::Unavailable, Again::BackOff, "Meta's service is not available now", ""),
    row(4..=4, &[], ErrorKind::RateLimited, Again::Throttled(Throttle::App), "the app made too many calls", ""),
    row(341..=341, &[], ErrorKind::RateLimited, Again::Throttled(Throttle::App), "the app reached a limit", ""),
    row(
        17..=17,
        &[],
        ErrorKind::RateLimited,
        Again::Throttled(Throttle::Account),
        "too many calls to this ad account",
        "",
    ),
    row(
        613..=613,
        &[],
        ErrorKind::RateLimited,
        Again::Throttled(Throttle::Account),
        "calls to this ad account came too fast",
        "",
    ),
    row(
        80_003..=80_003,
        &[],
        ErrorKind::RateLimited,
        Again::Throttled(Throttle::Business),
        "the hourly allowance for custom audiences is used up",
        "Sync less often, or ask Meta for full Marketing API access.",
    ),
    row(
        803..=803,
        &[],
        ErrorKind::NotFound,
        Again::MembersAfterSecs(5),
        "Meta knows no such object, or not yet",
        "An audience made a moment ago takes seconds to appear; otherwise it was deleted.",
    ),
    row(
        2650..=2650,
        &[1_870_145],
        ErrorKind::Unavailable,
        Again::Secs(60),
        "an update or replacement of the audience is in progress",
        "Wait until its operation status is 200 again; a replacement takes up to 90 minutes.",
    ),
    row(
        2650..=2650,
        &[1_870_158],
        ErrorKind::Rejected,
        Again::Never,
        "the replacement session timed out after 90 minutes",
        "What arrived was applied; send the rest by adding.",
    ),
    row(
        2650..=2650,
        &[1_870_147, 1_870_159, 1_870_144],
        ErrorKind::Rejected,
        Again::Never,
        "the replacement cannot go on: bad first batch, finished session, or over 100 million members",
        "Bring the audience up to date by adding and removing.",
    ),
    row(
        2650..=2650,
        &[1_870_148],
        ErrorKind::Rejected,
        Again::Never,
        "the session was applied only in part",
        "Send the members again in a new session.",
    ),
    row(
        2650..=2650,
        &[],
        ErrorKind::Rejected,
        Again::Never,
        "the audience does not take this kind of upload",
        "Its first upload fixed its data source, perhaps by another tool. Delete it or let a new one be made.",
    ),
    row(
        100..=100,
        &[33],
        ErrorKind::NotFound,
        Again::Never,
        "the object is not there, or the token may not see it",
        "Look whether the audience still exists and the token's user has a role on the ad account.",
    ),
    row(
        100..=100,
        &[1_713_230],
        ErrorKind::Rejected,
        Again::Never,
        "members of a flagged audience cannot be edited",
        FLAGGED_HINT,
    ),
    row(
        100..=100,
        &[1_713_228, 1_713_231],
        ErrorKind::Rejected,
        Again::Never,
        "a flagged audience cannot be edited",
        FLAGGED_HINT,
    ),
    row(100..=100, &[1_713_098], ErrorKind::Rejected, Again::Never, "Meta blocked the operation", ""),
    row(100..=100, &[], ErrorKind::Rejected, Again::Never, "Meta calls a parameter invalid", ""),
    row(102..=102, &[], ErrorKind::Auth, Again::Never, "the session of the access token has ended", TOKEN_HINT),
    row(190..=190, &[], ErrorKind::Auth, Again::Never, "the access token is expired or revoked", TOKEN_HINT),
    row(
        200..=200,
        &[1_870_090],
        ErrorKind::Permission,
        Again::Never,
        "the Custom Audience Terms are not accepted",
        TERMS_HINT,
    ),
    row(
        200..=200,
        &[1_870_050],
        ErrorKind::Permission,
        Again::Never,
        "the ad account belongs to no business",
        "Link ad account {account} to a business portfolio in Business settings.",
    ),
    row(
        270..=270,
        &[],
        ErrorKind::Permission,
        Again::Never,
        "the app's access tier does not reach this ad account",
        "Limited access only covers accounts that the app's own roles administer; ask Meta for full Marketing API access.",
    ),
    row(
        10..=10,
        &[],
        ErrorKind::Permission,
        Again::Never,
        "the app or token lacks a permission",
        "The token needs ads_management, and its user an advertiser role or higher on ad account {account}.",
    ),
    row(
        200..=299,
        &[],
        ErrorKind::Permission,
        Again::Never,
        "the token may not do this",
        "The token needs ads_management, and its user an advertiser role or higher on ad account {account}.",
    ),
    row(
        368..=368,
        &[],
        ErrorKind::Permission,
        Again::Never,
        "Meta blocked the account for behaviour it calls abusive",
        "Stop syncing, look into Account Quality, and try again after some hours.",
    ),
    row(
        2635..=2635,
        &[],
        ErrorKind::Config,
        Again::Never,
        "this Marketing API version has ended",
        "Set api_version of the destination to a current version.",
    ),
    row(2655..=2655, &[], ErrorKind::Permission, Again::Never, "terms of Meta are not accepted", TERMS_HINT),
    row(
        2656..=2656,
        &[],
        ErrorKind::Rejected,
        Again::Never,
        "lookalike audiences depend on this audience",
        "Delete the lookalikes first.",
    ),
    row(2654..=2654, &[], ErrorKind::Rejected, Again::Never, "the audience does not allow this operation", ""),
    row(105..=105, &[], ErrorKind::Rejected, Again::Never, "the request has too many parameters", ""),
    row(194..=194, &[], ErrorKind::Rejected, Again::Never, "the request lacks a parameter", ""),
    row(2500..=2500, &[], ErrorKind::Rejected, Again::Never, "Meta does not understand the query", ""),
];

fn find(code: i64, subcode: Option<i64>) -> Option<&'static Row> {
    TABLE.iter().find(|row| {
        row.codes.contains(&code) && (row.subcodes.is_empty() || subcode.is_some_and(|sub| row.subcodes.contains(&sub)))
    })
}

/// Reads every reply of Meta for one ad account.
#[derive(Debug)]
pub(crate) struct Replies {
    account_digits: String,
}

impl Replies {
    pub fn new(account_digits: String) -> Self {
        Self { account_digits }
    }

    /// `Permission` for terms that [`check`](crate::check) found unsigned.
    pub fn unsigned_terms(&self, operation: &'static str) -> Error {
        let row = find(200, Some(1_870_090)).expect("a row of the table");
        Error::new(row.kind, operation, row.message).hint(self.fill(row.hint))
    }

    fn fill(&self, hint: &str) -> String {
        hint.replace("{account}", &self.account_digits)
    }

    fn refused(&self, reply: &Reply, said: &GraphError) -> Error {
        let members = writes_members(reply.operation);
        let row = said.code.and_then(|code| find(code, said.error_subcode));
        let mut error = match row {
            Some(row) => {
                let retry = match row.again {
                    Again::BackOff => Retry::After(None),
                    Again::Secs(secs) => Retry::After(Some(Duration::from_secs(secs))),
                    Again::MembersAfterSecs(secs) if members => Retry::After(Some(Duration::from_secs(secs))),
                    Again::Throttled(who) => Retry::After(Some(usage::wait(reply, who))),
                    Again::Never | Again::MembersAfterSecs(_) => Retry::Never,
                };
                let error = Error::new(row.kind, reply.operation, row.message).retry(retry);
                if row.hint.is_empty() { error } else { error.hint(self.fill(row.hint)) }
            }
            None => {
                let kind = if reply.is_success() { ErrorKind::Rejected } else { ErrorKind::from_status(reply.status) };
                Error::new(kind, reply.operation, "Meta refused the request with a code this connector does not know")
            }
        };
        // `is_transient` outweighs the table, except where only a person can help.
        let human = matches!(error.kind(), ErrorKind::Auth | ErrorKind::Permission);
        let transient = said.is_transient == Some(true) && !human;
        if transient && error.retry_advice() == Retry::Never {
            error = self.transient(reply, error);
        }
        if members
            && !transient
            && said.code == Some(100)
            && row.is_some_and(|row| row.subcodes.is_empty())
            && said.blames_payload()
        {
            error = error.body_fault();
        }
        described(error, reply, said)
    }

    /// The same refusal as something that passes.
    fn transient(&self, reply: &Reply, refused: Error) -> Error {
        Error::new(ErrorKind::Unavailable, reply.operation, format!("{} (for now, says Meta)", refused.message()))
    }

    /// A reply without the documented shape: an error page, an empty body, a cut-off one. When the request was a
    /// large one, its size may be the cause, so the engine may try halves once the retries are used up.
    fn unreadable(&self, reply: &Reply) -> Error {
        let kind = match reply.status {
            429 => ErrorKind::RateLimited,
            401 | 403 => ErrorKind::from_status(reply.status),
            _ => ErrorKind::Unavailable,
        };
        let error = Error::new(kind, reply.operation, "the reply is an error page, empty or cut off, not Meta's JSON")
            .with("status", reply.status)
            .with("body_bytes", reply.body.len());
        let error = match (kind, usage::retry_after(reply)) {
            (ErrorKind::RateLimited, wait) => {
                error.retry(Retry::After(Some(wait.unwrap_or(Duration::from_secs(usage::APP_WAIT_SECS)))))
            }
            (ErrorKind::Unavailable, Some(wait)) => error.retry(Retry::After(Some(wait))),
            _ => error,
        };
        // A gateway that is down or overloaded says nothing of the body.
        let outage = matches!(reply.status, 401 | 403 | 408 | 429 | 502..=504);
        // A plain 500 without a page is an outage too; a page in its place is what oversized bodies got.
        let page = reply.body.trim_ascii_start().starts_with(b"<");
        if writes_members(reply.operation) && !outage && (page || reply.status != 500) {
            return error.body_fault().hint("If this goes on, lower batch_members of the destination.");
        }
        error
    }
}

impl Interpret for Replies {
    fn error(&self, reply: &Reply) -> Option<Error> {
        let body = reply.body.trim_ascii();
        let empty = body.is_empty() || body == b"{}";
        match serde_json::from_slice::<Envelope>(body) {
            Ok(Envelope { error: Some(said), .. }) => Some(self.refused(reply, &said)),
            Ok(Envelope { success: Some(false), .. }) => Some(
                Error::new(ErrorKind::Rejected, reply.operation, "Meta answered success: false without a reason")
                    .with("status", reply.status),
            ),
            Ok(_) if reply.is_success() && !empty => None,
            _ => Some(self.unreadable(reply)),
        }
    }

    fn pace(&self, reply: &Reply) -> Option<Pace> {
        usage::pace(reply)
    }
}

/// Adds what support asks for: codes and trace ids, and Meta's words for people when they are short and plain.
fn described(mut error: Error, reply: &Reply, said: &GraphError) -> Error {
    error = error.with("status", reply.status);
    if let Some(code) = said.code {
        error = error.with("code", code);
    }
    if let Some(subcode) = said.error_subcode {
        error = error.with("subcode", subcode);
    }
    for text in [&said.error_user_title, &said.error_user_msg].into_iter().flatten() {
        if presentable(text) {
            error = error.with("meta_says", format_args!("{text:?}"));
        }
    }
    if let Some(trace) = said.fbtrace_id.as_deref().filter(|trace| token_like(trace)) {
        error = error.with("fbtrace_id", trace);
    }
    for header in ["x-fb-trace-id", "x-fb-request-id"] {
        if let Some(trace) = reply.header_text(header).filter(|trace| token_like(trace)) {
            error = error.with(header, trace);
        }
    }
    error
}

/// Short, and without anything that could be an e-mail, a phone number or a digest.
fn presentable(text: &str) -> bool {
    let longest_run =
        |wanted: fn(&u8) -> bool| text.as_bytes().split(|b| !wanted(b)).map(<[u8]>::len).max().unwrap_or(0);
    let phone_like = |b: &u8| b.is_ascii_digit() || b" .-()+/".contains(b);
    let digits_of_runs =
        text.as_bytes().split(|b| !phone_like(b)).map(|run| run.iter().filter(|b| b.is_ascii_digit()).count());
    text.len() <= 200
        && !text.contains('@')
        && longest_run(u8::is_ascii_hexdigit) < 16
        && digits_of_runs.max().unwrap_or(0) < 7
}

fn token_like(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_+/=".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precise_rows_come_before_general_ones() {
        for (index, row) in TABLE.iter().enumerate() {
            for code in row.codes.clone() {
                let hidden =
                    TABLE[..index].iter().any(|earlier| earlier.codes == row.codes && earlier.subcodes.is_empty());
                assert!(!hidden, "the row of code {code} {:?} is never reached", row.subcodes);
            }
        }
    }

    #[test]
    fn only_plain_words_are_shown() {
        assert!(presentable("Resolve the integrity restriction before updating members."));
        for text in ["ask a@b.example", "call +33 6 12 34 56 78", "row f1904cf1a9d73a55fa5d", &"x ".repeat(101)] {
            assert!(!presentable(text), "{text}");
        }
    }
}
