//! A new configuration: read, checked whole, then taken whole. One that is wrong changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use tracing::{error, info};
use utoipa::ToSchema;

use super::{Daemon, Loaded};
use crate::config::{self, Fault, Faults, Sources};
use crate::http::certificate::Certificate;
use crate::telemetry::metrics::OutcomeLabel;

/// Shown instead of what may be a secret.
const MASK: &str = "***";
/// Keys whose values may be secrets or hold them: addresses of webhooks, connection strings, passwords.
const SECRET_WORDS: [&str; 9] =
    ["token", "secret", "password", "key", "uri", "url", "credential", "username", "authorization"];

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    pub path: PathBuf,
    /// `--set` flags, which hold over every reload.
    pub overrides: Vec<(String, String)>,
}

impl ConfigFile {
    pub(super) fn base_dir(&self) -> PathBuf {
        self.path.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
    }
}

/// One key that changed; secrets are masked.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Change {
    pub key: String,
    pub before: Value,
    pub after: Value,
}

impl Daemon {
    /// Reads the configuration again, certificate included, and takes it, when all of it is right. Runs that are under way end on their old
    /// one.
    ///
    /// # Errors
    /// The faults; the old configuration stays.
    pub async fn reload(&self) -> anyhow::Result<Vec<Change>> {
        let _one_at_a_time = self.reloading.lock().await;
        match self.read_again().await {
            Ok((config, sources, certificate)) => {
                let before = self.loaded();
                let changes = changes(&before.config, &config);
                self.loaded.send_replace(Arc::new(Loaded {
                    config,
                    base_dir: self.file.base_dir(),
                    environment: sources.environment,
                    at: self.clock.now(),
                }));
                if let Some((shown, certificate)) = self.shown.get().zip(certificate) {
                    shown.replace(certificate);
                    info!("Took the certificate and key that are there now");
                }
                for change in &changes {
                    info!(key = change.key, before = %change.before, after = %change.after, "Configuration changed");
                }
                info!(changes = changes.len(), "Reloaded the configuration");
                self.metrics.reloads.get_or_create(&OutcomeLabel { outcome: "done" }).inc();
                self.wake();
                Ok(changes)
            }
            Err(fault) => {
                error!(error = format!("{fault:#}"), "The new configuration is wrong; the old one stays");
                self.metrics.reloads.get_or_create(&OutcomeLabel { outcome: "refused" }).inc();
                Err(fault)
            }
        }
    }

    async fn read_again(&self) -> anyhow::Result<(config::Config, Sources, Option<Certificate>)> {
        let sources = Sources::from_environment(&self.file.path, self.file.overrides.clone())?;
        let config = config::load(&self.file.path, &sources)?;
        let running = self.loaded();
        for (key, before, after) in fixed(&running.config, &config) {
            if before != after {
                let message = format!("changes only with a restart; it is `{before}` until then");
                return Err(self.fault(key, message).into());
            }
        }
        let certificate = match &config.server.tls {
            Some(tls) if self.shown.get().is_some() => {
                let read = Certificate::read(tls, &self.file.base_dir()).await;
                Some(read.map_err(|error| self.fault("server.tls", format!("{error:#}; the old certificate stays")))?)
            }
            // Whether TLS is spoken at all is settled at the start.
            _ => None,
        };
        Ok((config, sources, certificate))
    }

    /// What is wrong beyond the text of the configuration.
    fn fault(&self, key: &str, message: String) -> Faults {
        Faults { path: self.file.path.clone(), faults: vec![Fault { key: key.to_owned(), line: None, message }] }
    }
}

/// What the running process stands on.
fn fixed(before: &config::Config, after: &config::Config) -> [(&'static str, String, String); 2] {
    let dir = |config: &config::Config| config.state_dir.display().to_string();
    let listen = |config: &config::Config| config.server.listen.to_string();
    [("state_dir", dir(before), dir(after)), ("server.listen", listen(before), listen(after))]
}

/// What differs between two configurations, by key.
pub fn changes(before: &config::Config, after: &config::Config) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(&before.written, &after.written, &mut String::new(), &mut changes);
    changes
}

fn compare(before: &Value, after: &Value, key: &mut String, changes: &mut Vec<Change>) {
    if before == after {
        return;
    }
    // A section that comes or goes is told key by key too.
    let nothing = serde_json::Map::new();
    let sections = match (before, after) {
        (Value::Object(old), Value::Object(new)) => Some((old, new)),
        (Value::Object(old), Value::Null) => Some((old, &nothing)),
        (Value::Null, Value::Object(new)) => Some((&nothing, new)),
        _ => None,
    };
    if let Some((old, new)) = sections {
        let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let length = key.len();
            if !key.is_empty() {
                key.push('.');
            }
            key.push_str(name);
            let (old, new) = (old.get(name).unwrap_or(&Value::Null), new.get(name).unwrap_or(&Value::Null));
            compare(old, new, key, changes);
            key.truncate(length);
        }
        return;
    }
    changes.push(Change { key: key.clone(), before: masked(key, before), after: masked(key, after) });
}

/// The value without what may be secret.
fn masked(key: &str, value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Object(fields) => {
            fields.iter().map(|(name, field)| (name.clone(), masked(&format!("{key}.{name}"), field))).collect()
        }
        Value::Array(items) => items.iter().map(|item| masked(key, item)).collect(),
        // A reference to the environment tells nothing; a value in the open may.
        Value::String(text) if text.starts_with("${") && text.find('}') == Some(text.len() - 1) => value.clone(),
        _ if is_secret(key) => Value::String(MASK.to_owned()),
        other => other.clone(),
    }
}

fn is_secret(key: &str) -> bool {
    key.split('.').any(|part| SECRET_WORDS.iter().any(|word| part.contains(word)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differences(before: &Value, after: &Value) -> Vec<(String, Value, Value)> {
        let mut changes = Vec::new();
        compare(before, after, &mut String::new(), &mut changes);
        changes.into_iter().map(|change| (change.key, change.before, change.after)).collect()
    }

    #[test]
    fn names_each_key_that_changed() {
        let before = json!({ "guards": { "max_growth_ratio": 3.0, "ratio_from_members": 10 }, "gone": [1] });
        let after = json!({ "guards": { "max_growth_ratio": 4.0, "ratio_from_members": 10 }, "new": true });
        assert_eq!(
            differences(&before, &after),
            [
                ("gone".to_owned(), json!([1]), Value::Null),
                ("guards.max_growth_ratio".to_owned(), json!(3.0), json!(4.0)),
                ("new".to_owned(), Value::Null, json!(true)),
            ]
        );
    }

    #[test]
    fn shows_no_secret() {
        let after = json!({
            "warehouse": { "uri": "postgres://reader:hunter2@db/shop" },
            "alerts": { "channel": { "team": { "kind": "slack", "url": { "url": "https://hooks.example/T/hunter2" } } } },
            "destination": { "meta": { "client_secret": "hunter2", "account": "act_1", "token": "${META_TOKEN}" } },
        });
        let shown = format!("{:?}", differences(&Value::Null, &after));
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("act_1") && shown.contains("${META_TOKEN}"), "{shown}");
    }
}
