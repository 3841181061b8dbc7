//! `/control`: how a test, a demo or a shell script looks behind the platforms and steers them.

use crate::core::faults::duration_secs;
use crate::core::http::{Call, Reply};
use crate::world::World;
use crate::{Faults, Platform};
use axum::http::Method;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;

/// Log entries `GET /control` shows unless told otherwise.
const SHOWN: usize = 100;

pub(crate) fn handle(world: &World, call: &Call) -> Reply {
    let segments = call.segments();
    let result = match (&call.method, segments.as_slice()) {
        (&Method::GET, []) => Ok(overview(world)),
        (&Method::GET, ["log"]) => log(world, call),
        (&Method::GET, ["members"]) => audience(call).and_then(|(p, id)| {
            let members = world.held(p, &id).ok_or_else(|| missing(&id))?;
            Ok(json!({"count": members.len(), "members": members}))
        }),
        (&Method::GET, ["matched"]) => audience(call).and_then(|(p, id)| {
            let matched = world.matched(p, &id).ok_or_else(|| missing(&id))?;
            let (lost, stray) = world.drift(p, &id).ok_or_else(|| missing(&id))?;
            Ok(json!({"matched": matched, "lost": lost, "stray": stray}))
        }),
        (&Method::GET, ["time"]) => Ok(json!({"now": world.now()})),
        (&Method::POST, ["time"]) => time(world, call),
        (&Method::GET, ["faults"]) => Ok(json!({"faults": world.faults()})),
        (&Method::POST, ["faults"]) => faults(world, call),
        (&Method::DELETE, ["faults"]) => {
            world.set_faults(Faults::NONE);
            Ok(json!({"faults": []}))
        }
        (&Method::GET, ["oauth"]) => Ok(json!(world.oauth())),
        (&Method::POST, ["oauth"]) => body(call).map(|behaviour| {
            world.set_oauth(behaviour);
            json!(behaviour)
        }),
        (&Method::POST, ["revoke"]) => revoke(world, call),
        (&Method::POST, ["flag"]) => flag(world, call),
        (&Method::POST, ["reset"]) => {
            world.reset();
            Ok(json!({"reset": true}))
        }
        (&Method::POST, ["save"]) => world.save().map(|()| json!({"saved": true})).map_err(|e| (500, e.to_string())),
        _ => Err((404, "no such control; see the README of the sandbox".to_owned())),
    };
    match result {
        Ok(body) => Reply::ok(&body),
        Err((status, what)) => Reply::json(status, &json!({"error": what})),
    }
}

type Outcome = Result<Value, (u16, String)>;

fn missing(id: &str) -> (u16, String) {
    (404, format!("no audience {id} there; GET /control lists them"))
}

fn query(call: &Call) -> HashMap<String, String> {
    call.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())).collect()
}

fn audience(call: &Call) -> Result<(Platform, String), (u16, String)> {
    let mut query = query(call);
    let wanted = || (400, "give platform=meta|google and audience=<id>".to_owned());
    let platform = query.get("platform").and_then(|slug| Platform::from_slug(slug)).ok_or_else(wanted)?;
    Ok((platform, query.remove("audience").ok_or_else(wanted)?))
}

fn body<'a, T: Deserialize<'a>>(call: &'a Call) -> Result<T, (u16, String)> {
    serde_json::from_slice(&call.body).map_err(|e| (400, format!("the body is not the JSON expected here: {e}")))
}

fn overview(world: &World) -> Value {
    let log = world.log();
    let totals: serde_json::Map<String, Value> = world
        .totals()
        .into_iter()
        .map(|(name, (requests, members))| (name, json!({"requests": requests, "members": members})))
        .collect();
    json!({
        "now": world.now(),
        "audiences": world.audiences(),
        "requests": totals,
        "faults": world.faults(),
        "log": log[log.len().saturating_sub(SHOWN)..],
    })
}

fn log(world: &World, call: &Call) -> Outcome {
    let query = query(call);
    let limit = match query.get("limit") {
        None => SHOWN,
        Some(text) => text.parse().map_err(|_| (400, "limit: give a whole number".to_owned()))?,
    };
    let mut log = world.log();
    log.retain(|entry| {
        query.get("platform").is_none_or(|p| p == entry.platform.slug())
            && query.get("operation").is_none_or(|o| o == entry.operation)
    });
    let from = log.len().saturating_sub(limit);
    Ok(json!({"log": log[from..]}))
}

fn time(world: &World, call: &Call) -> Outcome {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Step {
        set: Option<DateTime<Utc>>,
        advance: Option<String>,
    }
    let step: Step = body(call)?;
    if let Some(at) = step.set {
        world.set_time(at);
    }
    if let Some(text) = step.advance {
        world.advance(TimeDelta::seconds(duration_secs(&text).map_err(|e| (400, e))?));
    }
    Ok(json!({"now": world.now()}))
}

fn faults(world: &World, call: &Call) -> Outcome {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Change {
        set: Option<String>,
        add: Option<String>,
    }
    let change: Change = body(call)?;
    let read = |text: String| text.parse::<Faults>().map_err(|e| (400, e.to_string()));
    let (set, add) = (change.set.map(read).transpose()?, change.add.map(read).transpose()?);
    if let Some(faults) = set {
        world.set_faults(faults);
    }
    for rule in add.unwrap_or_default().rules {
        world.add_fault(rule);
    }
    Ok(json!({"faults": world.faults()}))
}

fn revoke(world: &World, call: &Call) -> Outcome {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Whose {
        platform: String,
    }
    let whose: Whose = body(call)?;
    let platform = Platform::from_slug(&whose.platform).ok_or((400, "platform: give meta or google".to_owned()))?;
    world.revoke_grants(platform);
    Ok(json!({"revoked": true}))
}

fn flag(world: &World, call: &Call) -> Outcome {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Flag {
        platform: String,
        audience: String,
        flagged: bool,
    }
    let flag: Flag = body(call)?;
    let platform = Platform::from_slug(&flag.platform).ok_or((400, "platform: give meta or google".to_owned()))?;
    match world.flag(platform, &flag.audience, flag.flagged) {
        true => Ok(json!({"flagged": flag.flagged})),
        false => Err(missing(&flag.audience)),
    }
}
