//! Layers the sources of the configuration and reports every fault at once, with key, line and remedy.
//!
//! Later layers win: defaults, the file, the environment (`REVEIL__GUARDS__MAX_REMOVAL_RATIO=0.2`), flags
//! (`--set guards.max_removal_ratio=0.2`). `${NAME}` inside a string of the file is replaced from the environment
//! or `.env` beside the file.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Config;
use super::eligibility::{LADDER_STEPS, is_ladder_step};

/// One thing wrong, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `destination.meta-fr.account`; empty when it is about the whole file.
    pub key: String,
    /// Line in the file, when the key stands there.
    pub line: Option<usize>,
    pub message: String,
}

/// Everything wrong with a configuration.
#[derive(Debug)]
pub struct Faults {
    pub path: PathBuf,
    pub faults: Vec<Fault>,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.faults.len();
        writeln!(
            f,
            "{}: {count} fault{} in the configuration",
            self.path.display(),
            if count == 1 { "" } else { "s" }
        )?;
        for fault in &self.faults {
            write!(f, "  ")?;
            if let Some(line) = fault.line {
                write!(f, "line {line}: ")?;
            }
            if !fault.key.is_empty() {
                write!(f, "{}: ", fault.key)?;
            }
            writeln!(f, "{}", fault.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Where settings come from besides the file.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Environment variables, `.env` included (the environment wins).
    pub environment: HashMap<String, String>,
    /// `key=value` of `--set` flags.
    pub overrides: Vec<(String, String)>,
}

impl Sources {
    /// The process's environment over the `.env` beside `config_path`.
    ///
    /// # Errors
    /// A `.env` that cannot be read or is malformed; the line's content is not repeated.
    pub fn from_environment(config_path: &Path, overrides: Vec<(String, String)>) -> anyhow::Result<Self> {
        let mut environment = HashMap::new();
        let dotenv = config_path.parent().unwrap_or(Path::new(".")).join(".env");
        if dotenv.is_file() {
            for (number, entry) in dotenvy::from_path_iter(&dotenv)?.enumerate() {
                let (name, value) = entry.map_err(|_| {
                    anyhow::anyhow!(
                        "{}: entry {} is not NAME=value; quote values with spaces",
                        dotenv.display(),
                        number + 1
                    )
                })?;
                environment.insert(name, value);
            }
        }
        environment.extend(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        );
        Ok(Self { environment, overrides })
    }
}

/// Reads and checks the configuration.
///
/// # Errors
/// All [`Faults`] that can be seen without calling anybody.
pub fn load(path: &Path, sources: &Sources) -> Result<Config, Faults> {
    let whole = |message: String| Faults {
        path: path.to_owned(),
        faults: vec![Fault { key: String::new(), line: None, message }],
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        whole(match error.kind() {
            std::io::ErrorKind::NotFound => "no such file; `reveil init` writes one to start from".to_owned(),
            _ => format!("cannot be read: {error}"),
        })
    })?;
    let lines = Lines::of(&text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
        Faults {
            path: path.to_owned(),
            faults: vec![Fault { key: String::new(), line, message: format!("not valid TOML: {}", error.message()) }],
        }
    })?;
    let mut builder =
        config::Config::builder().add_source(config::File::from_str(&text, config::FileFormat::Toml)).add_source(
            config::Environment::with_prefix("REVEIL")
                .prefix_separator("__")
                .separator("__")
                .try_parsing(true)
                .source(Some(sources.environment.clone())),
        );
    for (key, value) in &sources.overrides {
        builder = builder
            .set_override(key, parse_override(value))
            .map_err(|_| whole(format!("--set {key}: not a key like guards.max_removal_ratio")))?;
    }
    let mut value: Value = builder
        .build()
        .and_then(config::Config::try_deserialize)
        .map_err(|error| whole(format!("cannot be put together: {error}")))?;
    let written = value.clone();
    let mut faults = Vec::new();
    expand(&mut value, &mut String::new(), &sources.environment, &mut faults);
    let config = lenient::<Config>(value, &mut faults);
    if let Some(config) = &config {
        faults.extend(config.faults());
    }
    match config {
        Some(mut config) if faults.is_empty() => {
            config.written = written;
            let base = path.parent().unwrap_or(Path::new("."));
            if config.state_dir.is_relative() {
                config.state_dir = base.join(&config.state_dir);
            }
            config.warehouse.start_at(base);
            Ok(config)
        }
        _ => Err(Faults {
            path: path.to_owned(),
            faults: faults.into_iter().map(|(key, message)| Fault { line: lines.of_key(&key), key, message }).collect(),
        }),
    }
}

fn parse_override(text: &str) -> config::Value {
    if let Ok(flag) = text.parse::<bool>() {
        return flag.into();
    }
    if let Ok(number) = text.parse::<i64>() {
        return number.into();
    }
    if let Ok(number) = text.parse::<f64>() {
        return number.into();
    }
    text.into()
}

/// Replaces `${NAME}` in every string.
fn expand(
    value: &mut Value,
    key: &mut String,
    environment: &HashMap<String, String>,
    faults: &mut Vec<(String, String)>,
) {
    match value {
        Value::String(text) => {
            let mut result = String::new();
            let mut rest = text.as_str();
            while let Some(start) = rest.find("${") {
                let Some(end) = rest[start..].find('}') else { break };
                let name = &rest[start + 2..start + end];
                result.push_str(&rest[..start]);
                match environment.get(name) {
                    Some(replacement) => result.push_str(replacement),
                    None => faults.push((
                        key.clone(),
                        format!("the environment variable {name} is not set; export it or write it into .env"),
                    )),
                }
                rest = &rest[start + end + 1..];
            }
            result.push_str(rest);
            *text = result;
        }
        Value::Array(items) => {
            for item in items {
                expand(item, key, environment, faults);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                let length = key.len();
                if !key.is_empty() {
                    key.push('.');
                }
                key.push_str(name);
                expand(field, key, environment, faults);
                key.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Deserialises; after a fault, takes the faulty key out and tries again, so that one fault does not hide the next.
fn lenient<T: DeserializeOwned>(mut value: Value, faults: &mut Vec<(String, String)>) -> Option<T> {
    loop {
        let error = match serde_path_to_error::deserialize::<_, T>(value.clone()) {
            Ok(parsed) => return Some(parsed),
            Err(error) => error,
        };
        let key = error.path().to_string();
        let key = if key == "." { String::new() } else { key };
        let message = error.inner().to_string();
        let stuck = faults.iter().any(|(known, text)| *known == key && *text == message);
        faults.push((key.clone(), message));
        if stuck || !remove_key(&mut value, &key) {
            if stuck {
                faults.pop();
            }
            return None;
        }
    }
}

fn remove_key(value: &mut Value, key: &str) -> bool {
    let segments: Vec<&str> = key.split('.').collect();
    let Some((last, parents)) = segments.split_last() else { return false };
    let mut current = value;
    for segment in parents {
        match current.get_mut(*segment) {
            Some(next) => current = next,
            None => return false,
        }
    }
    current.as_object_mut().is_some_and(|fields| fields.remove(*last).is_some())
}

/// Where each key stands in the file.
struct Lines(HashMap<String, usize>);

impl Lines {
    fn of(text: &str) -> Result<Self, toml::de::Error> {
        let table = toml::de::DeTable::parse(text)?;
        let mut lines = HashMap::new();
        visit(table.get_ref(), "", text, &mut lines);
        Ok(Self(lines))
    }
    /// The line of the key, or of the nearest parent that has one.
    fn of_key(&self, key: &str) -> Option<usize> {
        let mut key = key;
        loop {
            if let Some(line) = self.0.get(key) {
                return Some(*line);
            }
            key = &key[..key.rfind('.')?];
        }
    }
}

fn visit(table: &toml::de::DeTable<'_>, prefix: &str, text: &str, lines: &mut HashMap<String, usize>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
        lines.insert(key.clone(), text[..name.span().start].matches('\n').count() + 1);
        if let toml::de::DeValue::Table(inner) = value.get_ref() {
            visit(inner, &key, text, lines);
        }
    }
}

impl Config {
    /// What can be seen to be wrong once everything has its type.
    fn faults(&self) -> Vec<(String, String)> {
        let mut faults = self.guards.faults();
        faults.extend(self.ledger.faults());
        faults.extend(self.holdout.faults());
        faults.extend(self.roi.faults());
        faults.extend(self.server.faults());
        faults.extend(self.state.faults());
        faults.extend(self.scheduler.faults());
        faults.extend(self.alerts.faults());
        if let Some(lost) = &self.lost {
            faults.extend(lost.faults());
            if self.warehouse.deliveries.is_none() {
                let message = "needs [warehouse.deliveries]: campaigns are counted per person there".to_owned();
                faults.push(("lost".into(), message));
            }
        }
        let unknown = self.eligibility.ladder_ready.iter().filter(|step| !is_ladder_step(step));
        faults.extend(unknown.map(|step| {
            let known = LADDER_STEPS.join("`, `");
            ("eligibility.ladder_ready".to_owned(), format!("`{step}` is no step of the mail ladder; use `{known}`"))
        }));
        if !self.eligibility.ladder_ready.is_empty()
            && self.warehouse.customers.as_ref().is_some_and(|customers| customers.ladder_step.is_none())
        {
            let message = "needs `ladder_step` in [warehouse.customers]".to_owned();
            faults.push(("eligibility.ladder_ready".into(), message));
        }
        if self.audience.is_empty() {
            faults.push(("audience".into(), "no audience is defined; add one as [audience.<key>]".into()));
        }
        let names = self.audience.keys().map(|key| ("audience", key));
        for (section, name) in names.chain(self.destination.keys().map(|name| ("destination", name))) {
            if !is_plain_name(name) {
                // They are parts of addresses and of file names.
                let message = "is no name; use up to 100 letters, digits, `.`, `_` and `-`, a letter or digit first";
                faults.push((format!("{section}.{name}"), message.to_owned()));
            }
        }
        for (key, audience) in &self.audience {
            let definition = format!("audience.{key}.inactive");
            faults.extend(audience.inactive.faults().into_iter().map(|fault| (definition.clone(), fault)));
            for (name, schedule) in [("schedule", &audience.schedule), ("full_sync", &audience.full_sync)] {
                if let Some(schedule) = schedule {
                    faults.extend(schedule.faults(&format!("audience.{key}.{name}")));
                }
            }
            if audience.destinations.is_empty() {
                faults.push((format!("audience.{key}.destinations"), "is empty; name at least one destination".into()));
            }
            for name in &audience.destinations {
                if !self.destination.contains_key(name) {
                    faults.push((
                        format!("audience.{key}.destinations"),
                        format!("`{name}` is not defined; add [destination.{name}] or correct the name"),
                    ));
                }
            }
        }
        for (name, destination) in &self.destination {
            faults.extend(crate::connectors::settings_faults(name, destination));
        }
        faults
    }
}

fn is_plain_name(name: &str) -> bool {
    name.len() <= 100
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}
