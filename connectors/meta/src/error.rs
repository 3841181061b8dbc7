//! How Meta says no. The error object decides, through the table in [`codes`](crate::codes); the HTTP status says
//! little, throttles come with 400. Message texts are never branched on, and developer messages never shown.

use std::time::Duration;

use reveil_sdk::{Error, ErrorKind, Interpret, Pace, Reply, Retry};

use crate::codes::{Again, find};
use crate::usage;
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
                    Again::BackOff => Retry::After(usage::retry_after(reply)),
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
                let error = Error::new(
                    kind,
                    reply.operation,
                    "Meta refused the request with a code this connector does not know",
                );
                match error.retry_advice() {
                    Retry::After(None) => error.retry(Retry::After(usage::retry_after(reply))),
                    _ => error,
                }
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
    fn only_plain_words_are_shown() {
        assert!(presentable("Resolve the integrity restriction before updating members."));
        for text in ["ask a@b.example", "call +33 6 12 34 56 78", "row f1904cf1a9d73a55fa5d", &"x ".repeat(101)] {
            assert!(!presentable(text), "{text}");
        }
    }
}
