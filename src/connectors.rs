//! The registry: one feature-gated line per built-in connector, and how a destination of the config becomes one.

use std::collections::BTreeMap;
use std::path::Path;

use reveil_sdk::{Connector, Descriptor, Error, Options, Result};
use secrecy::SecretString;

use crate::config::DestinationConfig;
use crate::config::destination::{Credentials, SecretSource};

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
    if destination.requests_per_minute == Some(0) {
        faults.push((at("requests_per_minute"), "must be at least 1".to_owned()));
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

/// Makes the connector of a destination, reading its secrets.
///
/// # Errors
/// `Config`, saying which variable or file is missing; never what is in it.
pub fn connect(
    name: &str,
    destination: &DestinationConfig,
    environment: &std::collections::HashMap<String, String>,
    base_dir: &Path,
) -> Result<Box<dyn Connector>> {
    let builtin = find(&destination.connector).ok_or_else(|| {
        Error::config(format!("`{}` is not a connector; there are: {}", destination.connector, slugs()))
    })?;
    let mut secrets = BTreeMap::new();
    match &destination.credentials {
        Credentials::None => {}
        Credentials::One(source) => {
            let key = builtin.descriptor.secrets.first().map_or("token", |secret| secret.key);
            secrets.insert(key.to_owned(), read_secret(name, source, environment, base_dir)?);
        }
        Credentials::Named(named) => {
            for (key, source) in named {
                secrets.insert(key.clone(), read_secret(name, source, environment, base_dir)?);
            }
        }
    }
    for secret in builtin.descriptor.secrets.iter().filter(|secret| secret.required) {
        if !secrets.contains_key(secret.key) {
            return Err(Error::config(format!(
                "destination.{name}: the secret `{}` is missing ({})",
                secret.key, secret.help
            ))
            .hint(format!("add credentials = {{ env = \"…\" }} to [destination.{name}]")));
        }
    }
    (builtin.connect)(Options {
        account: destination.account.clone(),
        settings: destination.settings.clone(),
        secrets,
        base_url: destination.base_url.clone(),
    })
}

fn read_secret(
    name: &str,
    source: &SecretSource,
    environment: &std::collections::HashMap<String, String>,
    base_dir: &Path,
) -> Result<SecretString> {
    match source {
        SecretSource::Env(variable) => match environment.get(variable).filter(|value| !value.is_empty()) {
            Some(value) => Ok(SecretString::from(value.clone())),
            None => Err(Error::config(format!("destination.{name}: the environment variable {variable} is not set"))
                .hint(format!("export {variable} or write it into .env beside the config"))),
        },
        SecretSource::File(path) => {
            let path = base_dir.join(path);
            let text = std::fs::read_to_string(&path).map_err(|error| {
                Error::config(format!("destination.{name}: the secret file {} cannot be read: {error}", path.display()))
            })?;
            Ok(SecretString::from(text.trim_end_matches(['\r', '\n']).to_owned()))
        }
    }
}
