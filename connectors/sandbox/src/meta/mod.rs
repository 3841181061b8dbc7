//! The simulated Meta Marketing API: `/meta/<version>/…` (source: platform sheet "meta", 2026-11-22).

mod account;
mod audience;
mod auth;
mod error;
mod params;
mod payload;
mod sessions;
mod usage;
mod users;

pub(crate) use auth::revoke_grants;
pub(crate) use error::fault_reply;

use crate::Platform;
use crate::core::http::{Answer, Call, Reply};
use crate::core::key::{Key, KeyMap};
use crate::core::members::Members;
use crate::core::oauth::Grants;
use crate::world::{AudienceInfo, Handled, Shared, Struck};
use axum::http::Method;
use error::MetaError;
use params::Params;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Everything the simulated Meta remembers.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct State {
    audiences: BTreeMap<u64, audience::Audience>,
    tokens: BTreeMap<String, auth::Minted>,
    #[serde(default)]
    grants: Grants,
    /// Ad account → external id → whom it stood for.
    extern_ids: BTreeMap<String, KeyMap<ExternRow>>,
    usage: BTreeMap<String, usage::Usage>,
    /// Audiences ever made; decides ids.
    created: u64,
    /// Numbers drawn so far.
    draws: u64,
}

/// Whom an external id stood for when it was last uploaded.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct ExternRow {
    keys: Vec<Key>,
    at_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    Account,
    Create,
    List,
    Get,
    Update,
    Delete,
    Share,
    Shared,
    Unshare,
    Add,
    Remove,
    Replace,
    Erase,
    Sessions,
    DebugToken,
    Exchange,
    Dialog,
    UserToken,
    BusinessToken,
    Install,
    Me,
    Unknown,
}

impl Op {
    /// Operation and the object it is on.
    fn of<'p>(method: &Method, path: &[&'p str]) -> (Op, &'p str) {
        let (get, post, delete) = (method == Method::GET, method == Method::POST, method == Method::DELETE);
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        match *path {
            ["me"] if get => (Op::Me, ""),
            ["debug_token"] if get => (Op::DebugToken, ""),
            ["oauth", "access_token"] if get || post => (Op::Exchange, ""),
            ["dialog", "oauth"] if get => (Op::Dialog, ""),
            [act, ref rest @ ..] if act.strip_prefix("act_").is_some_and(digits) => {
                let op = match rest {
                    [] if get => Op::Account,
                    ["customaudiences"] if get => Op::List,
                    ["customaudiences"] if post => Op::Create,
                    ["usersofanyaudience"] if delete => Op::Erase,
                    _ => Op::Unknown,
                };
                (op, &act[4..])
            }
            [id, ref rest @ ..] if digits(id) => {
                let op = match rest {
                    [] if get => Op::Get,
                    [] if post => Op::Update,
                    [] if delete => Op::Delete,
                    ["users"] if post => Op::Add,
                    ["users"] if delete => Op::Remove,
                    ["usersreplace"] if post => Op::Replace,
                    ["sessions"] if get => Op::Sessions,
                    ["adaccounts"] if post => Op::Share,
                    ["adaccounts"] if get => Op::Shared,
                    ["adaccounts"] if delete => Op::Unshare,
                    ["access_tokens"] if post => Op::UserToken,
                    ["system_user_access_tokens"] if post => Op::BusinessToken,
                    ["applications"] if post => Op::Install,
                    _ => Op::Unknown,
                };
                (op, id)
            }
            _ => (Op::Unknown, path.first().copied().unwrap_or("")),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Op::Account => "account.get",
            Op::Create => "audience.create",
            Op::List => "audience.list",
            Op::Get => "audience.get",
            Op::Update => "audience.update",
            Op::Delete => "audience.delete",
            Op::Share | Op::Shared | Op::Unshare => "audience.share",
            Op::Add => "users.add",
            Op::Remove => "users.remove",
            Op::Replace => "users.replace",
            Op::Erase => "users.erase",
            Op::Sessions => "sessions.get",
            Op::DebugToken => "token.debug",
            Op::Exchange | Op::UserToken | Op::BusinessToken => "token.mint",
            Op::Dialog => "oauth.authorize",
            Op::Install => "app.install",
            Op::Me => "me.get",
            Op::Unknown => "unknown",
        }
    }

    fn carries_members(self) -> bool {
        matches!(self, Op::Add | Op::Remove | Op::Replace | Op::Erase)
    }

    fn writes(self) -> bool {
        !matches!(self, Op::Account | Op::List | Op::Get | Op::Shared | Op::Sessions | Op::DebugToken | Op::Me)
    }

    /// Whether the call needs no version and no bearer.
    fn is_oauth(self) -> bool {
        matches!(self, Op::DebugToken | Op::Exchange)
    }
}

/// Answers one call below `/meta`.
pub(crate) fn handle(shared: &Shared, call: &Call) -> Handled {
    let params = Params::read(call);
    let mut path = call.segments();
    let is_version =
        |s: &&str| s.strip_prefix('v').is_some_and(|n| n.contains('.') && n.starts_with(|c: char| c.is_ascii_digit()));
    let asked = path.first().copied().filter(is_version);
    if asked.is_some() {
        path.remove(0);
    }
    let method = match params.as_ref().ok().and_then(|p| p.text("method")) {
        Some(name) if call.method == Method::POST => {
            Method::from_bytes(name.to_ascii_uppercase().as_bytes()).unwrap_or(Method::POST)
        }
        _ => call.method.clone(),
    };
    let (op, object) = Op::of(&method, &path);
    shared.under_faults(Platform::Meta, op.name(), op.carries_members(), |struck| {
        if op == Op::Dialog {
            return auth::dialog(shared, call).into();
        }
        let mut members = 0;
        let mut headers = Vec::new();
        let result = params.and_then(|params| {
            let request = Request { shared, call, params: &params, struck, object };
            request.serve(op, asked, &mut members, &mut headers)
        });
        let mut reply = match result {
            Ok(body) => Reply::ok(&body),
            Err(error) => error.reply(shared.settings.seed),
        };
        reply.headers.extend(headers);
        Answer { reply, members }
    })
}

/// One call under way.
struct Request<'r> {
    shared: &'r Shared,
    call: &'r Call,
    params: &'r Params<'r>,
    struck: &'r Struck,
    /// The id in the path, `act_` taken off.
    object: &'r str,
}

impl Request<'_> {
    fn serve(
        &self,
        op: Op,
        asked: Option<&str>,
        members: &mut usize,
        headers: &mut Vec<(&'static str, String)>,
    ) -> Result<Value, MetaError> {
        if op.is_oauth() {
            return match op {
                Op::DebugToken => auth::debug_token(self.shared, self.params),
                _ => auth::exchange(self.shared, self.params),
            };
        }
        let version = auth::version(self.shared, asked, op.writes())?;
        headers.push(("facebook-api-version", version.served.to_owned()));
        headers.extend(version.warning.map(|warning| ("X-Ad-Api-Version-Warning", warning)));
        auth::authorise(self.shared, self.call, self.params, op.writes())?;
        if let Some(account) = self.account_of(op) {
            headers.extend(usage::count(self.shared, &account, op.writes())?);
        }
        match op {
            Op::Account => account::get(self),
            Op::Create => audience::create(self),
            Op::List => audience::list(self),
            Op::Get => audience::get(self),
            Op::Update => audience::update(self),
            Op::Delete => audience::delete(self),
            Op::Share => audience::share(self, true),
            Op::Unshare => audience::share(self, false),
            Op::Shared => audience::shared_with(self),
            Op::Add => users::add_or_remove(self, true, members),
            Op::Remove => users::add_or_remove(self, false, members),
            Op::Replace => users::replace(self, members),
            Op::Erase => users::erase(self, members),
            Op::Sessions => sessions::read(self),
            Op::UserToken => auth::system_user_token(self.shared, self.params, false),
            Op::BusinessToken => auth::system_user_token(self.shared, self.params, true),
            Op::Install => Ok(serde_json::json!({"success": true})),
            Op::Me => Ok(serde_json::json!({"id": "100000000000002", "name": "Sandbox system user"})),
            Op::DebugToken | Op::Exchange | Op::Dialog | Op::Unknown => {
                Err(MetaError::new(2500, "Unknown path components or method for this path"))
            }
        }
    }

    /// The ad account a call counts against.
    fn account_of(&self, op: Op) -> Option<String> {
        match op {
            Op::Account | Op::Create | Op::List | Op::Erase => Some(self.object.to_owned()),
            _ => {
                let id = self.object.parse().ok()?;
                self.shared.meta().audiences.get(&id).map(|audience| audience.account.clone())
            }
        }
    }

    fn audience_id(&self) -> Result<u64, MetaError> {
        self.object.parse().map_err(|_| MetaError::missing_object(self.object))
    }
}

impl State {
    /// An audience brought up to the present.
    fn audience(&mut self, shared: &Shared, id: u64) -> Result<&mut audience::Audience, MetaError> {
        let audience = self.audiences.get_mut(&id).ok_or_else(|| MetaError::missing_object(&id.to_string()))?;
        audience.settle(shared.now());
        Ok(audience)
    }
}

pub(crate) fn infos(shared: &Shared) -> Vec<AudienceInfo> {
    let now = shared.now();
    let mut state = shared.meta();
    let infos = state.audiences.values_mut().map(|audience| {
        audience.settle(now);
        AudienceInfo {
            platform: Platform::Meta,
            id: audience.id.to_string(),
            account: audience.account.clone(),
            name: audience.name.clone(),
            held: audience.members.held(),
            matched: audience.members.matched(),
            pending: 0,
            flagged: !audience.flagged.is_empty(),
        }
    });
    infos.collect()
}

pub(crate) fn with_members<T>(shared: &Shared, audience: &str, look: impl FnOnce(&Members) -> T) -> Option<T> {
    let id = audience.parse().ok()?;
    shared.meta().audience(shared, id).ok().map(|a| look(&a.members))
}

pub(crate) fn flag(shared: &Shared, audience: &str, flagged: bool) -> bool {
    let Ok(id) = audience.parse() else { return false };
    match shared.meta().audience(shared, id) {
        Ok(audience) => {
            audience.flagged = if flagged { vec!["name".to_owned()] } else { Vec::new() };
            true
        }
        Err(_) => false,
    }
}
