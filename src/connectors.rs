//! The registry: one feature-gated line per built-in connector, and how a destination of the config becomes one.

mod facts;

use std::collections::BTreeMap;
use std::path::Path;

use reveil_sdk::{Connector, Descriptor, Error, Grant, Options, Result};
use secrecy::SecretString;

use crate::config::DestinationConfig;
use crate::config::destination::{Credentials, SecretSource};
use crate::vault::credential::{self, StoredGrant};
use crate::vault::keeper::closed;
use crate::vault::{Vault, VaultError};

pub use facts::ConnectorFacts;

/// A connector that is compiled in.
#[derive(Debug, Clone, Copy)]
pub struct Builtin {
    pub descriptor: &'static Descriptor,
    connect: fn(Options) -> Result<Box<dyn Connector>>,
}

static BUILTIN: &[Builtin] = &[
    #[cfg(feature = "meta")]
    Builtin { descriptor: &reveil_meta::DESCRIPTOR, connect: reveil_meta::connect },
    #[cfg(feature = "google")]
    Builtin { descriptor: &reveil_google::DESCRIPTOR, connect: reveil_google::connect },
];

/// All of them.
pub fn all() -> &'static [Builtin] {
    BUILTIN
}

/// The connector of that slug.
pub fn find(slug: &str) -> Option<&'static Builtin> {
    BUILTIN.iter().find(|builtin| builtin.descriptor.slug == slug)
}

fn slugs() -> String {
    BUILTIN.iter().map(|builtin| builtin.descriptor.slug).collect::<Vec<_>>().join(", ")
}

/// What is wrong with a destination's settings, as far as can be seen without its secrets.
pub fn settings_faults(name: &str, destination: &DestinationConfig) -> Vec<(String, String)> {
    let at = |key: &str| format!("destination.{name}.{key}");
    let Some(builtin) = find(&destination.connector) else {
        return vec![(
            at("connector"),
            format!("`{}` is not a connector; there are: {}", destination.connector, slugs()),
        )];
    };
    let descriptor = builtin.descriptor;
    let mut faults = Vec::new();
    for key in destination.settings.keys() {
        if !descriptor.settings.iter().any(|setting| setting.key == key) {
            let known: Vec<&str> = descriptor.settings.iter().map(|setting| setting.key).collect();
            faults.push((at(key), format!("is not a setting of {}; it has: {}", descriptor.slug, known.join(", "))));
        }
    }
    for setting in descriptor.settings.iter().filter(|setting| setting.required) {
        if !destination.settings.contains_key(setting.key) {
            faults.push((at(setting.key), format!("is missing: {}; for example {}", setting.help, setting.example)));
        }
    }
    for kind in &destination.identifiers {
        if descriptor.identifiers.spec(*kind).is_none() {
            let known: Vec<&str> = descriptor.identifiers.identifiers.iter().map(|spec| spec.kind.name()).collect();
            faults.push((
                at("identifiers"),
                format!("{} does not take `{}`; it takes: {}", descriptor.slug, kind.name(), known.join(", ")),
            ));
        }
    }
    if destination.batch_members.is_some_and(|members| members == 0 || members > descriptor.limits.max_batch_members) {
        faults.push((at("batch_members"), format!("must be between 1 and {}", descriptor.limits.max_batch_members)));
    }
    let at_least_one = [
        ("requests_per_minute", destination.requests_per_minute),
        ("max_concurrent_runs", destination.max_concurrent_runs),
    ];
    for (key, _) in at_least_one.into_iter().filter(|(_, number)| *number == Some(0)) {
        faults.push((at(key), "must be at least 1".to_owned()));
    }
    if let Credentials::Named(named) = &destination.credentials {
        for key in named.keys() {
            if !descriptor.secrets.iter().any(|secret| secret.key == key) {
                let known: Vec<&str> = descriptor.secrets.iter().map(|secret| secret.key).collect();
                faults.push((
                    at("credentials"),
                    format!("`{key}` is not a secret of {}; it has: {}", descriptor.slug, known.join(", ")),
                ));
            }
        }
    }
    faults
}

/// Where secrets are read from.
#[derive(Debug, Clone)]
pub struct Places<'a> {
    pub environment: &'a std::collections::HashMap<String, String>,
    /// Relative paths start here.
    pub base_dir: &'a Path,
    /// Needed for credentials of the vault alone.
    pub vault: Option<Vault>,
}

/// A destination's secrets by the connector's names, and what came with a grant of the vault.
#[derive(Debug, Default)]
pub struct Secrets {
    pub by_name: BTreeMap<String, SecretString>,
    /// The vault's name of the grant, if one of them is a grant.
    pub grant: Option<String>,
    /// The OAuth client that a grant was made for.
    client_id: Option<String>,
}

/// Makes the connector of a destination, reading its secrets.
///
/// # Errors
/// `Config`, saying which variable, file or secret is missing; never what is in it.
pub async fn connect(name: &str, destination: &DestinationConfig, places: &Places<'_>) -> Result<Box<dyn Connector>> {
    Ok(connect_with(name, destination, read_secrets(name, destination, places).await?)?.0)
}

/// As [`connect`], with secrets read before; also returns the vault's name of the grant among them.
///
/// # Errors
/// `Config`, as [`connect`].
pub fn connect_with(
    name: &str,
    destination: &DestinationConfig,
    secrets: Secrets,
) -> Result<(Box<dyn Connector>, Option<String>)> {
    let builtin = of_destination(destination)?;
    for secret in builtin.descriptor.secrets.iter().filter(|secret| secret.required) {
        if !secrets.by_name.contains_key(secret.key) {
            return Err(Error::config(format!(
                "destination.{name}: the secret `{}` is missing ({})",
                secret.key, secret.help
            ))
            .hint(format!("add credentials = {{ env = \"…\" }} to [destination.{name}]")));
        }
    }
    let mut settings = destination.settings.clone();
    if let (Some(oauth), Some(client_id)) = (builtin.descriptor.oauth, secrets.client_id) {
        settings.entry(oauth.client_id_setting).or_insert_with(|| client_id.into());
    }
    let connector = (builtin.connect)(Options {
        account: destination.account.clone(),
        settings,
        secrets: secrets.by_name,
        base_url: destination.base_url.clone(),
    })?;
    Ok((connector, secrets.grant))
}

fn of_destination(destination: &DestinationConfig) -> Result<&'static Builtin> {
    find(&destination.connector)
        .ok_or_else(|| Error::config(format!("`{}` is not a connector; there are: {}", destination.connector, slugs())))
}

/// Reads every secret that a destination names.
///
/// # Errors
/// `Config`, saying which variable, file or secret is missing; never what is in it.
pub async fn read_secrets(name: &str, destination: &DestinationConfig, places: &Places<'_>) -> Result<Secrets> {
    let descriptor = of_destination(destination)?.descriptor;
    let mut secrets = Secrets::default();
    for (key, source) in destination.credentials.sources() {
        let first = descriptor.secrets.first().map_or("token", |secret| secret.key);
        let SecretSource::Vault(secret) = source else {
            secrets.by_name.insert(key.unwrap_or(first).to_owned(), read_secret(name, source, places)?);
            continue;
        };
        let vault = places.vault.as_ref().ok_or_else(|| closed(VaultError::NotConfigured))?;
        let opened = vault.get(secret).await.map_err(|error| {
            let absent = matches!(error, VaultError::Absent { .. });
            let error = closed(error).with("destination", name);
            if absent {
                error.hint(format!(
                    "run `reveil connect {name}`, or `reveil vault set {secret}` with the secret on stdin"
                ))
            } else {
                error
            }
        })?;
        match descriptor.oauth.filter(|_| opened.meta.kind == credential::KIND) {
            Some(oauth) => {
                let grant = StoredGrant::read(&opened, secret).map_err(closed)?;
                let token = match oauth.grant {
                    Grant::RefreshToken => grant.refresh_token.unwrap_or(grant.access_token),
                    Grant::LongLivedToken { .. } => grant.access_token,
                };
                secrets.by_name.insert(oauth.token.to_owned(), token);
                if let Some(client_secret) = grant.client_secret {
                    secrets.by_name.entry(oauth.client_secret.to_owned()).or_insert(client_secret);
                }
                secrets.client_id = Some(grant.client_id);
                secrets.grant = Some(secret.clone());
            }
            None => {
                secrets.by_name.insert(key.unwrap_or(first).to_owned(), opened.value);
            }
        }
    }
    Ok(secrets)
}

fn read_secret(name: &str, source: &SecretSource, places: &Places<'_>) -> Result<SecretString> {
    match source {
        SecretSource::Env(variable) => match places.environment.get(variable).filter(|value| !value.is_empty()) {
            Some(value) => Ok(SecretString::from(value.clone())),
            None => Err(Error::config(format!("destination.{name}: the environment variable {variable} is not set"))
                .hint(format!("export {variable} or write it into .env beside the config"))),
        },
        SecretSource::File(path) => {
            let path = places.base_dir.join(path);
            let text = std::fs::read_to_string(&path).map_err(|error| {
                Error::config(format!("destination.{name}: the secret file {} cannot be read: {error}", path.display()))
            })?;
            Ok(SecretString::from(text.trim_end_matches(['\r', '\n']).to_owned()))
        }
        SecretSource::Vault(_) => unreachable!("read by the caller"),
    }
}
