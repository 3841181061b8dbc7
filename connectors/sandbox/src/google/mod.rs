//! The simulated Google Data Manager API: `/google/v1/…`, and the authorization
//! server `/google/o/oauth2/v2/auth`, `/google/token`, `/google/revoke` (source: platform sheet "google",
//! 2026-11-22).

mod enums;
mod error;
mod filter;
mod jobs;
mod lists;
mod members;
mod quota;
mod token;

pub(crate) use error::fault_reply;
pub(crate) use token::{check_key, revoke_grants};

use crate::Platform;
use crate::core::http::{Answer, Call, Reply};
use crate::core::members::Members;
use crate::core::oauth::Grants;
use crate::world::{AudienceInfo, Handled, Shared, Struck};
use axum::http::Method;
use chrono::{DateTime, Utc};
use error::{GoogleError, Violation};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Everything the simulated Google remembers.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct State {
    lists: BTreeMap<u64, lists::List>,
    jobs: BTreeMap<String, jobs::Job>,
    /// Requests accepted and not yet applied.
    pending: Vec<String>,
    /// Issued access tokens and when they end.
    tokens: BTreeMap<String, DateTime<Utc>>,
    #[serde(default)]
    grants: Grants,
    quota: quota::Quota,
    created: u64,
    draws: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    Create,
    List,
    Get,
    Update,
    Delete,
    Ingest,
    Remove,
    RemoveAll,
    Status,
    Token,
    Authorize,
    Revoke,
    Unknown,
}

impl Op {
    fn of(method: &Method, path: &[&str]) -> Op {
        let (get, post) = (method == Method::GET, method == Method::POST);
        match *path {
            ["token"] if post => Op::Token,
            ["revoke"] if post => Op::Revoke,
            ["o", "oauth2", "v2", "auth"] if get => Op::Authorize,
            ["v1", "audienceMembers:ingest"] if post => Op::Ingest,
            ["v1", "audienceMembers:remove"] if post => Op::Remove,
            ["v1", "audienceMembers:removeAll"] if post => Op::RemoveAll,
            ["v1", "requestStatus:retrieve"] if get => Op::Status,
            ["v1", "accountTypes", _, "accounts", _, "userLists"] if post => Op::Create,
            ["v1", "accountTypes", _, "accounts", _, "userLists"] if get => Op::List,
            ["v1", "accountTypes", _, "accounts", _, "userLists", _] if get => Op::Get,
            ["v1", "accountTypes", _, "accounts", _, "userLists", _] if method == Method::PATCH => Op::Update,
            ["v1", "accountTypes", _, "accounts", _, "userLists", _] if method == Method::DELETE => Op::Delete,
            _ => Op::Unknown,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Op::Create => "lists.create",
            Op::List => "lists.list",
            Op::Get => "lists.get",
            Op::Update => "lists.update",
            Op::Delete => "lists.delete",
            Op::Ingest => "members.ingest",
            Op::Remove => "members.remove",
            Op::RemoveAll => "members.remove_all",
            Op::Status => "status.get",
            Op::Token => "token",
            Op::Authorize => "oauth.authorize",
            Op::Revoke => "oauth.revoke",
            Op::Unknown => "unknown",
        }
    }

    fn carries_members(self) -> bool {
        matches!(self, Op::Ingest | Op::Remove | Op::RemoveAll)
    }

    fn is_list(self) -> bool {
        matches!(self, Op::Create | Op::List | Op::Get | Op::Update | Op::Delete)
    }
}

/// One call under way.
struct Request<'r> {
    shared: &'r Shared,
    call: &'r Call,
    path: &'r [&'r str],
    struck: &'r Struck,
}

/// Answers one call below `/google`.
pub(crate) fn handle(shared: &Shared, call: &Call) -> Handled {
    let path = call.segments();
    let op = Op::of(&call.method, &path);
    shared.under_faults(Platform::Google, op.name(), op.carries_members(), |struck| {
        match op {
            Op::Token => return token::issue(shared, call).into(),
            Op::Authorize => return token::authorize(shared, call).into(),
            Op::Revoke => return token::revoke(shared, call).into(),
            _ => {}
        }
        let mut members = 0;
        let request = Request { shared, call, path: &path, struck };
        let reply = match request.serve(op, &mut members) {
            Ok(body) => Reply::ok(&body),
            Err(error) => error.reply(shared.settings.seed),
        };
        Answer { reply, members }
    })
}

impl Request<'_> {
    fn serve(&self, op: Op, members: &mut usize) -> Result<Value, GoogleError> {
        if op == Op::Unknown {
            return Err(GoogleError::new(404, "NOT_FOUND", "Requested entity was not found."));
        }
        token::authorise(self.shared, self.call)?;
        quota::count(self.shared, op)?;
        if op.is_list() {
            self.check_list_account()?;
        } else if op.carries_members()
            && ["login-account", "linked-account"].iter().any(|name| self.call.headers.contains_key(*name))
        {
            return Err(GoogleError::new(
                400,
                "INVALID_ARGUMENT",
                "Account headers do not belong to this method: the account context is in the body's destinations.",
            ));
        }
        match op {
            Op::Create => lists::create(self),
            Op::List => lists::list(self),
            Op::Get => lists::get(self),
            Op::Update => lists::update(self),
            Op::Delete => lists::delete(self),
            Op::Ingest => members::ingest(self, members),
            Op::Remove => members::remove(self, members),
            Op::RemoveAll => members::remove_all(self),
            Op::Status | Op::Token | Op::Authorize | Op::Revoke | Op::Unknown => jobs::status(self),
        }
    }

    fn account_type(&self) -> &str {
        self.path[2]
    }
    fn account(&self) -> &str {
        self.path[4]
    }

    fn body<'b, T: Deserialize<'b>>(&'b self) -> Result<T, GoogleError> {
        if !self.call.body.is_empty() && !self.call.is("application/json") {
            return Err(GoogleError::new(400, "INVALID_ARGUMENT", "The body must be application/json."));
        }
        serde_json::from_slice(&self.call.body).map_err(|e| GoogleError::json(&e))
    }

    fn query(&self, name: &str) -> Option<String> {
        self.call.query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
    }

    /// Refuses query parameters the method does not have.
    fn only_query(&self, own: &[&str]) -> Result<(), GoogleError> {
        let common = ["alt", "$alt", "prettyPrint", "fields", "key", "access_token", "quotaUser"];
        match self
            .call
            .query_pairs()
            .find(|(name, _)| !own.contains(&name.as_ref()) && !common.contains(&name.as_ref()))
        {
            Some((name, _)) => {
                let name: String = name.chars().take(40).collect();
                let what =
                    format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot bind query parameter.");
                Err(GoogleError::new(400, "INVALID_ARGUMENT", what))
            }
            None => Ok(()),
        }
    }

    /// Checks the account of the path and the account headers.
    fn check_list_account(&self) -> Result<(), GoogleError> {
        check_account("parent", self.account_type(), self.account())?;
        let mut login = (self.account_type().to_owned(), self.account().to_owned());
        for name in ["login-account", "linked-account"] {
            let Some(value) = self.call.header(name) else { continue };
            let parts: Vec<&str> = value.split('/').collect();
            let ["accountTypes", kind, "accounts", id] = *parts else {
                return Err(GoogleError::field(name, "INVALID_FORMAT", "Write accountTypes/<type>/accounts/<digits>."));
            };
            check_account(name, kind, id)?;
            if name == "login-account" {
                login = (kind.to_owned(), id.to_owned());
            } else if login.0 != "DATA_PARTNER" {
                return Err(GoogleError::field(
                    name,
                    "LINKED_ACCOUNT_ONLY_ALLOWED_WITH_DATA_PARTNER_LOGIN_ACCOUNT",
                    "A linked account needs a DATA_PARTNER login account.",
                ));
            }
        }
        check_access(self.shared, "login-account", self.account(), &login.1)
    }
}

fn check_account(field: &str, kind: &str, id: &str) -> Result<(), GoogleError> {
    if !enums::ACCOUNT_TYPES[1..].contains(&kind) {
        return Err(GoogleError::field(field, "INVALID_FORMAT", "Unknown account type."));
    }
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_digit()) {
        return Err(GoogleError::field(field, "INVALID_FORMAT", "Account ids are digits without dashes."));
    }
    Ok(())
}

/// Whether `login` may act for the advertiser account `operating`.
fn check_access(shared: &Shared, field: &str, operating: &str, login: &str) -> Result<(), GoogleError> {
    let accounts = &shared.settings.google.accounts;
    let known = accounts.iter().find(|a| a.id == operating);
    let allowed = match known {
        None => accounts.is_empty(),
        Some(account) => account.login.as_deref().is_none_or(|needed| needed == login),
    };
    if allowed {
        return Ok(());
    }
    let violation = Violation::new(field, "OPERATING_ACCOUNT_LOGIN_ACCOUNT_MISMATCH", "No access.");
    Err(GoogleError::new(403, "PERMISSION_DENIED", "The caller does not have permission").with(violation))
}

pub(crate) fn infos(shared: &Shared) -> Vec<AudienceInfo> {
    let state = shared.google();
    let infos = state.lists.values().map(|list| AudienceInfo {
        platform: Platform::Google,
        id: list.id.to_string(),
        account: list.account.clone(),
        name: list.display_name.clone(),
        held: list.members.held(),
        matched: list.members.matched(),
        pending: state.pending.iter().filter(|id| state.jobs.get(*id).is_some_and(|job| job.concerns(list.id))).count(),
        flagged: !list.open,
    });
    infos.collect()
}

pub(crate) fn with_members<T>(shared: &Shared, audience: &str, look: impl FnOnce(&Members) -> T) -> Option<T> {
    let id: u64 = audience.parse().ok()?;
    shared.google().lists.get(&id).map(|list| look(&list.members))
}

pub(crate) fn flag(shared: &Shared, audience: &str, flagged: bool) -> bool {
    let Ok(id) = audience.parse::<u64>() else { return false };
    match shared.google().lists.get_mut(&id) {
        Some(list) => {
            list.open = !flagged;
            true
        }
        None => false,
    }
}
