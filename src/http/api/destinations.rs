//! Destinations and how they are.

use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::App;
use super::super::auth::Caller;
use super::super::listing::Page;
use super::super::problem::Problem;
use super::paths::DestinationPath;
use super::plan::apart;
use crate::config::destination::{Credentials, DestinationConfig};
use crate::daemon::work::chores::check_destination;
use crate::sync::Engine;

/// An account on a platform.
#[derive(Debug, Serialize, ToSchema)]
pub struct Destination {
    #[schema(example = "meta-fr")]
    name: String,
    #[schema(example = "meta")]
    connector: String,
    /// The ad account.
    #[schema(example = "act_123")]
    account: String,
    health: Health,
    credential: Credential,
}

/// How it was when it was last looked at.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    state: HealthState,
    /// `null`: never.
    checked_at: Option<DateTime<Utc>>,
    /// What is wrong, or worth knowing.
    error: Option<String>,
}

/// `degraded`: it works, with something to mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    Ok,
    Degraded,
    Down,
    Unknown,
}

impl HealthState {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }
    fn from_name(name: &str) -> Self {
        let all = [Self::Ok, Self::Degraded, Self::Down];
        all.into_iter().find(|state| state.name() == name).unwrap_or(Self::Unknown)
    }
}

/// Where its secrets come from; never the secrets.
#[derive(Debug, Serialize, ToSchema)]
pub struct Credential {
    /// `environment`, `file`, `vault` or `none`.
    #[schema(example = "environment")]
    kind: &'static str,
    /// `null`: it does not expire, or nobody knows when.
    expires_at: Option<DateTime<Utc>>,
}

/// List destinations
#[utoipa::path(get, path = "/v1/destinations", tag = "destinations", operation_id = "list_destinations",
    security(("token" = ["viewer"])),
    responses((status = 200, description = "All that the token may see", body = Page<Destination>)))]
pub async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Page<Destination>>, Problem> {
    let engine = app.daemon.engine();
    let mut items = Vec::new();
    for (name, config) in engine.config.destination.iter().filter(|(name, _)| sees(&engine, &caller, name)) {
        items.push(destination(&engine, name, config).await?);
    }
    Ok(Json(Page::whole(items)))
}

/// Look at one destination
#[utoipa::path(get, path = "/v1/destinations/{name}", tag = "destinations", operation_id = "get_destination",
    params(DestinationPath), security(("token" = ["viewer"])),
    responses((status = 200, description = "The destination", body = Destination)))]
pub async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(DestinationPath { name }): Path<DestinationPath>,
) -> Result<Json<Destination>, Problem> {
    let engine = app.daemon.engine();
    let config = visible(&engine, &caller, &name)?;
    Ok(Json(destination(&engine, &name, config).await?))
}

/// Check a destination
///
/// Asks the platform whether credential, account and terms are in order. Writes nothing there.
#[utoipa::path(post, path = "/v1/destinations/{name}/check", tag = "destinations", operation_id = "check_destination",
    params(DestinationPath), security(("token" = ["operator"])),
    responses((status = 200, description = "The destination as it was found", body = Destination)))]
pub async fn check(
    State(app): State<App>,
    caller: Caller,
    Path(DestinationPath { name }): Path<DestinationPath>,
) -> Result<Json<Destination>, Problem> {
    let engine = app.daemon.engine();
    visible(&engine, &caller, &name)?;
    let found = apart(&app, async move {
        let health = check_destination(&engine, &name).await;
        engine.store.save_destination_health(&health).await?;
        let config = engine.config.destination(&name).map_err(anyhow::Error::from)?;
        destination(&engine, &name, config).await
    });
    Ok(Json(found.await?))
}

/// A token of some audiences sees where those go.
fn sees(engine: &Engine, caller: &Caller, name: &str) -> bool {
    let mut audiences = engine.config.audience.iter();
    caller.audiences.is_none()
        || audiences.any(|(key, config)| caller.sees(key) && config.destinations.iter().any(|other| other == name))
}

fn visible<'a>(engine: &'a Engine, caller: &Caller, name: &str) -> Result<&'a DestinationConfig, Problem> {
    let found = engine.config.destination.get(name).filter(|_| sees(engine, caller, name));
    found.ok_or_else(|| Problem::not_found("destination", name))
}

async fn destination(engine: &Engine, name: &str, config: &DestinationConfig) -> Result<Destination, Problem> {
    let known = engine.store.destination_health(name).await?;
    Ok(Destination {
        name: name.to_owned(),
        connector: config.connector.clone(),
        account: config.account.clone(),
        health: Health {
            state: known.as_ref().map_or(HealthState::Unknown, |known| HealthState::from_name(&known.state)),
            checked_at: known.as_ref().map(|known| known.checked_at),
            error: known.and_then(|known| wrong(&known.detail)),
        },
        credential: credential(engine, config).await?,
    })
}

/// What is wrong, with what to do, or what the platform warns of.
fn wrong(detail: &serde_json::Value) -> Option<String> {
    let Some(error) = detail["error"].as_str() else {
        let warnings: Vec<&str> = detail["warnings"].as_array()?.iter().filter_map(serde_json::Value::as_str).collect();
        return Some(warnings.join("; "));
    };
    Some(detail["hint"].as_str().map_or_else(|| error.to_owned(), |hint| format!("{error}; hint: {hint}")))
}

async fn credential(engine: &Engine, config: &DestinationConfig) -> Result<Credential, Problem> {
    use crate::config::destination::SecretSource;
    let source = match &config.credentials {
        Credentials::None => None,
        Credentials::One(source) => Some(source),
        Credentials::Named(named) => named.values().next(),
    };
    let kind = match source {
        None => "none",
        Some(SecretSource::Env(_)) => "environment",
        Some(SecretSource::File(_)) => "file",
        Some(SecretSource::Vault(_)) => "vault",
    };
    let expiries = crate::vault::credential_expiries(&engine.store).await?;
    Ok(Credential { kind, expires_at: crate::vault::expiry_of(&expiries, config) })
}
