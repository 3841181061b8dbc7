//! Holds `docs/configuration.md` against the configuration itself: every key is in it, and its examples load.
//!
//! The keys are not listed here: each section is offered one it does not know, and its refusal names those it does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Config, DestinationConfig, Sources, load};

const DOCUMENT: &str = include_str!("../docs/configuration.md");

/// No key of anything.
const NO_KEY: &str = "no_such_key";

/// The document's sections by the key in their heading; the keys of the whole file under nothing.
fn sections() -> BTreeMap<String, String> {
    let mut sections = BTreeMap::new();
    let mut current = None;
    let mut in_code = false;
    for line in DOCUMENT.lines() {
        in_code ^= line.starts_with("```");
        if let Some(title) = line.strip_prefix("##").filter(|_| !in_code) {
            let title = title.trim_start_matches('#').trim();
            current = match title.strip_prefix('`') {
                Some(key) => Some(key.replacen('`', "", 1)),
                None => (title == "The whole file").then(String::new),
            };
        } else if let Some(key) = &current {
            let text: &mut String = sections.entry(key.clone()).or_default();
            text.push_str(line);
            text.push('\n');
        }
    }
    sections
}

/// `value` at the end of a path; `[]` is the first of a list.
fn at(path: &[String], value: Value) -> Value {
    path.iter().rev().fold(value, |value, step| match step.as_str() {
        "[]" => json!([value]),
        "*" => json!({ NO_KEY: value }),
        key => json!({ key: value }),
    })
}

/// What the configuration would take instead of [`NO_KEY`] there.
fn expected(path: &[String], value: Value) -> Option<String> {
    let error = serde_json::from_value::<Config>(at(path, value)).expect_err("no such key").to_string();
    let unknown = [format!("unknown field `{NO_KEY}`, "), format!("unknown variant `{NO_KEY}`, ")];
    unknown.iter().find_map(|start| error.split_once(start.as_str())).map(|(_, known)| known.to_owned())
}

/// Every key below a path, told by what refuses keys it does not know.
fn crawl(path: &[String], seen: &mut BTreeSet<String>, keys: &mut BTreeSet<String>) {
    let forms: [(&[&str], Value); 6] = [
        (&[], json!({ NO_KEY: 1 })),
        (&["[]"], json!({ NO_KEY: 1 })),
        (&["*"], json!({ NO_KEY: 1 })),
        (&["*"], json!({ NO_KEY: 1, "kind": "webhook" })),
        (&["*"], json!({ NO_KEY: 1, "kind": "slack" })),
        (&["*"], json!({ NO_KEY: 1, "kind": "email" })),
    ];
    for (steps, value) in forms {
        let here: Vec<String> = path.iter().cloned().chain(steps.iter().map(|step| (*step).to_owned())).collect();
        let Some(known) = expected(&here, value).filter(|known| seen.insert(known.clone())) else { continue };
        for key in known.split('`').skip(1).step_by(2) {
            let below: Vec<String> = here.iter().cloned().chain([key.to_owned()]).collect();
            let shown: Vec<&str> = below.iter().map(String::as_str).filter(|step| *step != "[]").collect();
            keys.insert(shown.join("."));
            crawl(&below, seen, keys);
        }
    }
}

/// Whether the nearest section has a row for the key, or names it among the values of its parent's row.
fn is_documented(sections: &BTreeMap<String, String>, key: &str) -> bool {
    let steps: Vec<&str> = key.split('.').collect();
    let nearest = (0..steps.len()).rev().find_map(|length| {
        let text = sections.get(&steps[..length].join("."))?;
        Some((text, steps[length..].join("."), steps[length..steps.len() - 1].join(".")))
    });
    let Some((text, row, parent)) = nearest else { return false };
    let value = steps.last().copied().unwrap_or_default();
    text.lines().any(|line| {
        line.starts_with(&format!("| `{row}` |"))
            || line.starts_with(&format!("| `{parent}` |"))
                && line.split(|c: char| !(c.is_alphanumeric() || "_-".contains(c))).any(|word| word == value)
    })
}

#[test]
fn every_key_is_in_the_document() {
    let mut keys = BTreeSet::new();
    crawl(&[], &mut BTreeSet::new(), &mut keys);
    // Takes any key, for its connector, and so tells none.
    let destination: DestinationConfig =
        serde_json::from_value(json!({ "connector": "meta", "account": "1" })).expect("all that is needed");
    let destination = serde_json::to_value(destination).expect("plain");
    keys.extend(destination.as_object().expect("a section").keys().map(|key| format!("destination.*.{key}")));
    for some in [
        "warehouse.files.*.delimiter",
        "alerts.channel.*.from",
        "roi.priors.*.match",
        "audience.*.inactive.p_alive.theta",
    ] {
        assert!(keys.contains(some), "the search does not reach {some}");
    }
    let sections = sections();
    let missing: Vec<&String> = keys.iter().filter(|key| !is_documented(&sections, key)).collect();
    assert!(missing.is_empty(), "not in docs/configuration.md: {missing:#?}");
}

#[test]
fn every_setting_of_a_connector_is_in_the_document() {
    let sections = sections();
    for connector in crate::connectors::all() {
        let slug = connector.descriptor.slug;
        let text = &sections[&format!("destination.* with `connector = \"{slug}\"`")];
        for setting in connector.descriptor.settings {
            assert!(text.contains(&format!("\n| `{}` |", setting.key)), "{slug}: {}", setting.key);
        }
        for secret in connector.descriptor.secrets {
            assert!(text.contains(&format!("`{}`", secret.key)), "{slug}: {}", secret.key);
        }
    }
}

/// Lays `over` onto `base`, table by table.
fn lay(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                lay(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

#[test]
fn its_examples_load() {
    let place = tempfile::tempdir().expect("a folder");
    let path = place.path().join("reveil.toml");
    let environment = ["WAREHOUSE_URI", "SNOWFLAKE_PASSWORD", "STATE_PASSWORD"];
    let environment = environment.map(|name| (name.to_owned(), "something".to_owned())).into();
    let sources = Sources { environment, overrides: Vec::new() };
    let needed = json!({
        "warehouse": {
            "customers": { "table": "customers", "id": "id" },
            "deliveries": { "table": "d", "customer_id": "c", "campaign_id": "n", "at": "at" },
        },
        "audience": { "some": {
            "label": "Some", "inactive": { "no_event_days": { "days": 1 } }, "destinations": ["meta"],
        } },
        "destination": { "meta": { "connector": "meta", "account": "act_1" } },
    });
    let mut examples = 0;
    for example in DOCUMENT.split("```toml\n").skip(1) {
        let (example, _) = example.split_once("```").expect("every example ends");
        let written: Value = toml::from_str(example).unwrap_or_else(|error| panic!("{error}\n{example}"));
        let mut whole = needed.clone();
        lay(&mut whole, written);
        std::fs::write(&path, as_toml(&whole)).expect("written");
        load(Path::new(&path), &sources).unwrap_or_else(|faults| panic!("{faults}\n{example}"));
        examples += 1;
    }
    assert!(examples >= sections().len() - 3, "only {examples} examples");
}

/// Keys of the first level as inline tables, which is all the loader needs.
fn as_toml(whole: &Value) -> String {
    fn inline(value: &Value) -> String {
        match value {
            Value::Object(fields) => {
                let fields: Vec<String> =
                    fields.iter().map(|(key, value)| format!("{} = {}", json!(key), inline(value))).collect();
                format!("{{ {} }}", fields.join(", "))
            }
            Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
            plain => plain.to_string(),
        }
    }
    let empty = Map::new();
    let fields = whole.as_object().unwrap_or(&empty);
    fields.iter().map(|(key, value)| format!("{key} = {}\n", inline(value))).collect()
}
