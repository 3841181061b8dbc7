//! What other programs read: JSON documents with their fields, and files byte by byte.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use serde_json::Value;

use crate::binary;
use crate::expected::{email_forms, sha256};
use crate::shop::{Plan, Shop};

/// The object has these fields (and may have more).
#[track_caller]
fn has(value: &Value, fields: &[&str]) {
    for field in fields {
        assert!(value.get(field).is_some(), "no `{field}` in {value}");
    }
}

fn list<'v>(value: &'v Value, field: &str) -> &'v Vec<Value> {
    value[field].as_array().unwrap_or_else(|| panic!("`{field}` is no list in {value}"))
}

#[test]
fn plan_and_segment_and_match_rates_speak_json() {
    let shop = Shop::open(&Plan { customers: 800, seed: 3, ..Plan::default() });
    let as_of = "2026-01-01";
    let plan = shop.reveil(&["plan", "--json", "--as-of", as_of]).expect(0).json();
    has(&plan, &["audience", "as_of", "segment", "destinations"]);
    has(&plan["segment"], &["customers", "inactive", "active", "unknown", "eligible", "excluded"]);
    assert_eq!(plan["segment"]["customers"], 800);
    let expected = shop.expected();
    for destination in list(&plan, "destinations") {
        has(
            destination,
            &[
                "destination",
                "connector",
                "add",
                "remove",
                "refresh",
                "keep",
                "excluded",
                "requests",
                "refusals",
                "samples",
            ],
        );
        assert_eq!((&destination["remove"], &destination["keep"]), (&0.into(), &0.into()));
        let add = destination["add"].as_u64().unwrap();
        assert!(add > 100 && add <= expected.meta.len() as u64, "{destination}");
    }
    assert!(shop.world().audiences().is_empty(), "a plan sends nothing");

    let counted = shop.reveil(&["segment", "count", "--json", "--as-of", as_of]).expect(0).json();
    has(&counted, &["audience", "as_of", "customers", "inactive", "unknown"]);
    assert_eq!(counted["inactive"], plan["segment"]["inactive"]);
    // Counted are the customers the definition can judge: not those without a single order.
    let never_bought = shop.customers.iter().filter(|customer| customer.orders.is_empty()).count();
    assert_eq!(counted["customers"].as_u64().unwrap() as usize, shop.customers.len() - never_bought);

    let synced = shop.sync(&[]).expect(0).json();
    has(&synced, &["run", "audience", "as_of", "state", "segment", "destinations"]);
    for (planned, done) in list(&plan, "destinations").iter().zip(list(&synced, "destinations")) {
        has(done, &["destination", "connector", "state", "counts", "excluded", "observations", "warnings", "error"]);
        assert_eq!(done["counts"]["add"], planned["add"], "the plan said what the sync did");
        assert_eq!(done["counts"]["requests"], planned["requests"], "{done}");
    }

    let rates = shop.reveil(&["report", "match-rates", "--json"]).expect(0).json();
    let observations = list(&rates, "observations");
    assert_eq!(observations.len(), 2, "{rates}");
    for observation in observations {
        has(
            observation,
            &["audience", "destination", "connector", "as_of", "sent", "kind", "low", "high", "matched", "definition"],
        );
        assert_eq!(observation["audience"], "dormant");
        assert!(observation["sent"].as_u64().unwrap() > 100, "{observation}");
        let known = ["exact", "bucket", "bounds", "count", "not_yet", "not_offered"];
        assert!(known.contains(&observation["kind"].as_str().unwrap()), "{observation}");
        for bound in ["low", "high"] {
            assert!(observation[bound].as_f64().is_none_or(|ratio| (0.0..=1.0).contains(&ratio)), "{observation}");
        }
    }
    let status = shop.reveil(&["status", "--json"]).expect(0).json();
    assert_eq!(list(&status, "audiences").len(), 2);
    let runs = shop.reveil(&["runs", "--json"]).expect(0).json();
    assert_eq!(list(&runs, "runs")[0]["id"], synced["run"]);
}

#[test]
fn demo_tells_its_figures() {
    let dir = tempfile::tempdir().unwrap();
    let report = binary::run(dir.path(), &["demo", "--customers", "1500", "--json"]).expect(0).json();
    has(&report, &["customers", "segment", "excluded", "destinations", "projection", "refresh"]);
    assert_eq!(report["customers"], 1500);
    has(&report["segment"], &["customers", "inactive", "active", "unknown", "eligible"]);
    for destination in list(&report, "destinations") {
        has(destination, &["destination", "sent", "rejected", "truth_matched", "observation"]);
        let (sent, matched) = (destination["sent"].as_u64().unwrap(), destination["truth_matched"].as_u64().unwrap());
        assert!(matched > 0 && matched <= sent, "{destination}");
        // What is observed does not contradict what is true.
        let share = matched as f64 / sent as f64;
        let observation = &destination["observation"];
        if let (Some(low), Some(high)) = (observation["low"].as_f64(), observation["high"].as_f64()) {
            assert!(low - 0.02 <= share && share <= high + 0.02, "{share} outside {observation}");
        }
    }
    for part in list(&report, "refresh") {
        has(part, &["destination", "add", "remove", "keep"]);
        let [add, remove, keep] = ["add", "remove", "keep"].map(|field| part[field].as_u64().unwrap());
        assert!(keep > 10 * (add + remove) / 2, "a week changes little: {part}");
        let sent =
            list(&report, "destinations").iter().find(|sent| sent["destination"] == part["destination"]).unwrap();
        assert_eq!(sent["sent"].as_u64().unwrap(), remove + keep, "whoever was sent stays or leaves: {part}");
    }
}

/// Every platform column of the published vectors, through the program.
#[test]
fn identify_renders_the_published_vectors() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors/sdk/fixtures/normalization.csv");
    let mut reader = csv::Reader::from_path(fixture).expect("the fixture is there");
    let vectors: Vec<BTreeMap<String, String>> = reader.deserialize().map(|row| row.expect("RFC 4180")).collect();
    assert!(vectors.len() > 100);
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("vectors.csv");
    let mut writer = csv::Writer::from_path(&input).unwrap();
    writer.write_record(["kind", "raw", "region"]).unwrap();
    for vector in &vectors {
        let raw: String = serde_json::from_str(&vector["raw_json"]).expect("a JSON string");
        writer.write_record([&vector["kind"], &raw, &vector["region"]]).unwrap();
    }
    writer.flush().unwrap();
    drop(writer);
    let mut compared = 0;
    for platform in ["meta", "google", "tiktok", "reddit", "tradedesk", "linkedin"] {
        let output = binary::run(
            dir.path(),
            &["identify", "--connector", platform, "--input", input.to_str().unwrap(), "--json"],
        );
        let output = output.expect(0);
        let lines: Vec<Value> = output.stdout.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
        assert_eq!(lines.len(), vectors.len(), "{platform}: one line for each value");
        for (vector, line) in vectors.iter().zip(&lines) {
            has(line, &["row", "kind", "raw_masked", "canonical", "value", "encoding", "rejected"]);
            let expected = match vector[platform].as_str() {
                // The platform takes no such identifier.
                "-" => None,
                "" if vector["outcome"] == "accept" => Some(vector["sha256"].clone()),
                "" => None,
                refused if refused.starts_with('!') => None,
                _ => Some(vector[&format!("{platform}_sha256")].clone()),
            };
            let value = line["value"].as_str().map(|value| match line["encoding"].as_str() {
                Some("base64") => {
                    const_hex::encode(base64::engine::general_purpose::STANDARD.decode(value).expect("Base64"))
                }
                _ => value.to_owned(),
            });
            assert_eq!(value, expected, "{} for {platform}: {line}", vector["id"]);
            assert_eq!(line["rejected"].is_null(), value.is_some(), "{line}");
            compared += usize::from(value.is_some());
        }
    }
    assert!(compared > 200, "{compared} renderings compared");
}

/// The hashes are those of the reference files, as in the tests of the generator.
#[test]
fn demo_data_is_the_same_every_time() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, customers: &str, seed: &str| {
        let out = dir.path().join(name);
        let arguments = ["demo", "data", "--customers", customers, "--seed", seed, "--out", out.to_str().unwrap()];
        binary::run(dir.path(), &arguments).expect(0);
        ["contacts.csv", "accounts.csv", "orders.csv"].map(|file| std::fs::read_to_string(out.join(file)).unwrap())
    };
    assert!(write("first", "300", "20260101") == write("second", "300", "20260101"), "the same seed, the same files");
    assert!(write("other", "300", "4") != write("first", "300", "20260101"), "another seed, other files");
    let [contacts, accounts, _] = write("reference", "5000", "7");
    assert_eq!(sha256(&contacts), "87d67467dd5e18533f81b25da8431e178264af0079a3332ca81297d5020a86cc");
    assert_eq!(sha256(&accounts), "3733186e9075ddfaf614a85b41ea2deb826aa0422b7f96e24cbc83636c2a724f");
    let [_, _, orders] = write("orders", "2000", "20260101");
    assert_eq!(sha256(&orders), "7195c71a479219e5ca0354109d572834047c842fa42772f82c2758de07cd3112");
}

/// The documented exception: what would be sent can be looked at, digests and all, and nothing goes out.
#[test]
fn plan_shows_the_very_requests() {
    let shop = Shop::open(&Plan { customers: 600, seed: 9, ..Plan::default() });
    let output = shop.reveil(&["plan", "--as-of", "2026-01-01", "--show-requests", "--json"]).expect(0);
    let expected = shop.expected();
    let shown = |digests: &crate::expected::Digests| {
        digests.iter().filter(|digest| output.stdout.contains(digest.split_once(':').unwrap().1)).count()
    };
    assert!(shown(&expected.meta) > 50 && shown(&expected.google) > 50);
    assert!(!output.stdout.contains(&email_forms("nobody@example.net").meta[6..]), "a placeholder is not sent");
    assert!(shop.world().audiences().is_empty());
}
