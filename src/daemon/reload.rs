//! A new configuration: read, checked whole, then taken whole. One that is wrong changes nothing.
//!
//! What a running process cannot change is in [`FIXED`]: where it stands (its state, its address) refuses the whole
//! reload, the rest keeps its value and is told apart, so that nobody takes it for being in force.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::{Value, json};
use tracing::{error, info, warn};
use utoipa::ToSchema;

use super::{Daemon, Loaded};
use crate::config::server::TlsConfig;
use crate::config::{self, Config, Fault, Faults, Sources};
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

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Reloaded {
    /// In force now. Empty when nothing is different.
    pub changed: Vec<Change>,
    /// Written differently, and in force only after a restart: until then `before` holds.
    pub needs_restart: Vec<Change>,
}

/// Why the old configuration stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error(transparent)]
    Faults(#[from] Faults),
    /// What the process stands on was changed.
    #[error("{}", fixed_text(.0))]
    Fixed(Vec<Change>),
    /// The `.env` beside the file.
    #[error("the environment cannot be read: {0:#}")]
    Environment(anyhow::Error),
}

/// What to say of a key the process stands on.
pub fn fixed_message(change: &Change) -> String {
    match &change.before {
        Value::String(text) if text != MASK => format!("changes only with a restart; it is `{text}` until then"),
        _ => "changes only with a restart".to_owned(),
    }
}

fn fixed_text(changes: &[Change]) -> String {
    let texts: Vec<String> = changes.iter().map(|change| format!("{} {}", change.key, fixed_message(change))).collect();
    texts.join("; ")
}

impl Daemon {
    /// Reads the configuration again, certificate included, and takes it, when all of it is right. Runs that are under
    /// way end on their old one. `by`: who asked, for the audit log.
    ///
    /// # Errors
    /// The faults; the old configuration stays.
    pub async fn reload(&self, by: &str) -> Result<Reloaded, ReloadError> {
        let _one_at_a_time = self.reloading.lock().await;
        match self.read_again().await {
            Ok((config, sources, certificate, needs_restart)) => {
                let before = self.loaded();
                let changed = changes(&before.config, &config);
                if config.server.open_on_loopback && !before.config.server.open_on_loopback {
                    warn!("Everybody on this machine may do everything without a token");
                }
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
                for change in &changed {
                    info!(key = change.key, before = %change.before, after = %change.after, "Configuration changed");
                }
                for change in &needs_restart {
                    warn!(key = change.key, before = %change.before, after = %change.after,
                        "Changed in the file, in force only after a restart");
                }
                info!(changes = changed.len(), needs_restart = needs_restart.len(), "Reloaded the configuration");
                self.metrics.reloads.get_or_create(&OutcomeLabel { outcome: "done" }).inc();
                let reloaded = Reloaded { changed, needs_restart };
                self.note_reload(by, &reloaded).await;
                self.warn_of_closed().await;
                self.warn_of_channels().await;
                self.wake();
                Ok(reloaded)
            }
            Err(fault) => {
                error!(error = format!("{fault:#}"), "The new configuration is wrong; the old one stays");
                self.metrics.reloads.get_or_create(&OutcomeLabel { outcome: "refused" }).inc();
                Err(fault)
            }
        }
    }

    /// Names of keys only: values may be secrets.
    async fn note_reload(&self, by: &str, reloaded: &Reloaded) {
        let keys = |changes: &[Change]| changes.iter().map(|change| change.key.clone()).collect::<Vec<_>>();
        let detail = json!({ "keys": keys(&reloaded.changed), "needs_restart": keys(&reloaded.needs_restart) });
        if let Err(error) = self.store.audit(self.clock.now(), by, "reload_config", "", &detail).await {
            // It is in force, and saying otherwise would be wrong.
            error!(error = %error, "The reload could not be written to the audit log");
        }
    }

    /// A reload may close the last way in; it is closed all the same.
    async fn warn_of_closed(&self) {
        let loaded = self.loaded();
        let Ok(tokens) = self.store.tokens().await else { return };
        let now = self.clock.now();
        if !loaded.config.server.open_on_loopback && !tokens.iter().any(|token| token.is_valid(now)) {
            warn!("Nobody can call: there is no valid token; make one: reveil token create --role admin NAME");
        }
    }

    /// The configuration as it can be in force, and what of it cannot.
    async fn read_again(&self) -> Result<(Config, Sources, Option<Certificate>, Vec<Change>), ReloadError> {
        let sources = Sources::from_environment(&self.file.path, self.file.overrides.clone())
            .map_err(ReloadError::Environment)?;
        let mut config = config::load(&self.file.path, &sources)?;
        let running = self.loaded();
        let (mut refused, mut needs_restart) = (Vec::new(), Vec::new());
        for fixed in &FIXED {
            let (before, after) = ((fixed.value)(&running.config), (fixed.value)(&config));
            if before == after {
                continue;
            }
            let change =
                Change { key: fixed.key.into(), before: masked(fixed.key, &before), after: masked(fixed.key, &after) };
            if fixed.stands_on_it {
                refused.push(change);
            } else {
                needs_restart.push(change);
            }
            (fixed.keep)(&mut config, &running.config);
            keep_written(&mut config.written, &running.config.written, fixed.key);
        }
        if !refused.is_empty() {
            return Err(ReloadError::Fixed(refused));
        }
        let certificate = self.certificate(&config).await?;
        Ok((config, sources, certificate, needs_restart))
    }
}

impl Daemon {
    /// What the files of `server.tls` hold now. Whether TLS is spoken at all is settled at the start.
    async fn certificate(&self, config: &Config) -> Result<Option<Certificate>, Faults> {
        let Some(tls) = config.server.tls.as_ref().filter(|_| self.shown.get().is_some()) else { return Ok(None) };
        let base_dir = self.file.base_dir();
        let mut told = tls.faults(&base_dir);
        if told.is_empty() {
            match Certificate::read(tls, &base_dir).await {
                Ok(certificate) => return Ok(Some(certificate)),
                Err(error) => told.push(("server.tls".to_owned(), format!("{error:#}"))),
            }
        }
        let fault =
            |(key, message)| Fault { key, line: None, message: format!("{message}; the old certificate stays") };
        Err(Faults { path: self.file.path.clone(), faults: told.into_iter().map(fault).collect() })
    }
}

/// A setting that a running process cannot change. Every other one is in force as soon as it was reloaded.
struct Fixed {
    key: &'static str,
    /// The process and its state would part; nothing of such a configuration is taken.
    stands_on_it: bool,
    value: fn(&Config) -> Value,
    keep: fn(&mut Config, &Config),
}

macro_rules! fixed {
    ($key:literal, $stands:literal, $($field:ident).+, $value:expr) => {
        Fixed {
            key: $key,
            stands_on_it: $stands,
            value: |config| $value(&config.$($field).+),
            keep: |config, running| config.$($field).+.clone_from(&running.$($field).+),
        }
    };
}

/// See the table in the README.
static FIXED: [Fixed; 13] = [
    fixed!("state_dir", true, state_dir, plain),
    fixed!("state.url", true, state.url, |url: &Option<SecretString>| plain(
        &url.as_ref().map(|url| url.expose_secret().to_owned())
    )),
    fixed!("ledger.store", true, ledger.store, plain),
    fixed!("server.listen", true, server.listen, plain),
    fixed!("state.connections", false, state.connections, plain),
    fixed!("state.connect_timeout_secs", false, state.connect_timeout_secs, plain),
    fixed!("ledger.options", false, ledger.options, plain),
    // Whether TLS is spoken; other files are taken at once.
    fixed!("server.tls", false, server.tls, |tls: &Option<TlsConfig>| Value::Bool(tls.is_some())),
    // Goes with the address and its TLS.
    fixed!("server.insecure", false, server.insecure, plain),
    fixed!("server.first_token", false, server.first_token, plain),
    fixed!("server.max_connections", false, server.max_connections, plain),
    fixed!("server.header_timeout_secs", false, server.header_timeout_secs, plain),
    fixed!("server.body_timeout_secs", false, server.body_timeout_secs, plain),
];

fn plain<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Puts the running value of one key back into what was written, so that the next reload compares with it.
fn keep_written(written: &mut Value, running: &Value, key: &str) {
    let pointer = format!("/{}", key.replace('.', "/"));
    let (parent, name) = pointer.rsplit_once('/').expect("it starts with one");
    match running.pointer(&pointer) {
        Some(value) => {
            let mut place = written;
            for part in key.split('.') {
                if !place.is_object() {
                    *place = Value::Object(serde_json::Map::new());
                }
                let fields = place.as_object_mut().expect("made one above");
                place = fields.entry(part).or_insert(Value::Null);
            }
            *place = value.clone();
        }
        None => {
            if let Some(fields) = written.pointer_mut(parent).and_then(Value::as_object_mut) {
                fields.remove(name);
            }
        }
    }
}

/// What differs between two configurations, by key.
pub fn changes(before: &Config, after: &Config) -> Vec<Change> {
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
    fn what_is_kept_is_compared_with_the_next_time() {
        let running = json!({ "server": { "max_connections": 3 } });
        let mut written = json!({ "server": { "max_connections": 9, "tls": { "cert": "c" } }, "other": 1 });
        keep_written(&mut written, &running, "server.max_connections");
        keep_written(&mut written, &running, "server.tls");
        assert_eq!(written, json!({ "server": { "max_connections": 3 }, "other": 1 }));
        let mut emptied = json!({});
        keep_written(&mut emptied, &running, "server.max_connections");
        assert_eq!(emptied, running);
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
