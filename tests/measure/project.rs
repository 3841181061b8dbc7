//! Projections that learn from the state and the warehouse.

use std::process::{Command, Output};

use chrono::Utc;
use reveil::config::{self, Sources};
use reveil::store::model::StoredObservation;
use reveil_sdk::{MatchKind, MatchObservation};

use crate::shop::{Person, Shop, add};

const AUDIENCE: &str = r#"
[audience.dormant]
label = "Dormant"
inactive = { no_event_days = { kinds = ["order"], days = 180 } }
holdout = "20%"
destinations = ["meta"]
[audience.lapsed]
label = "Lapsed"
inactive = { no_event_days = { kinds = ["order"], days = 270 } }
destinations = ["meta"]
[roi.priors.all]
margin = 0.55
[roi.priors.meta]
match = "beta(10,6)"
cpm = "lognormal(9,0.3)"
"#;

fn reveil(shop: &Shop, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reveil"))
        .args(args)
        .arg("--config")
        .arg(shop.config())
        .env("SANDBOX_META_TOKEN", "sandbox-meta-token")
        .output()
        .unwrap()
}

fn json(shop: &Shop, args: &[&str]) -> serde_json::Value {
    let output = reveil(shop, args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn reading(audience: &str, kind: MatchKind, matched: Option<u64>, range: Option<(f64, f64)>) -> StoredObservation {
    StoredObservation {
        audience: audience.into(),
        destination: "meta".into(),
        connector: "meta".into(),
        run_id: None,
        rules_version: 1,
        primary: true,
        reading: MatchObservation {
            as_of: Utc::now(),
            sent: 1_000,
            kind,
            low: range.map(|range| range.0),
            high: range.map(|range| range.1),
            matched,
            definition: "test".into(),
        },
    }
}

const PROJECT: [&str; 9] =
    ["roi", "project", "--audience", "dormant", "--as-of", "2026-01-01", "--draws", "2000", "--json"];

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_learns_what_is_known() {
    let people: Vec<Person> = (0..500).map(|n| Person { id: format!("c{n:05}"), household: None }).collect();
    let shop = Shop::open(&people, AUDIENCE).await;
    let named = |json: &serde_json::Value, name: &str| {
        json["assumptions"].as_array().unwrap().iter().find(|it| it["name"] == name).unwrap().clone()
    };

    // The last order is of March: nobody knows who came back since.
    let stale = json(&shop, &PROJECT);
    let p0 = named(&stale, "p0");
    assert_eq!(p0["value"], "beta(24,976)", "the prior stands");
    assert!(p0["source"].as_str().unwrap().ends_with("see the warnings"), "{p0}");
    assert!(stale["warnings"].to_string().contains("Nobody bought anything in the 270 days"), "{}", stale["warnings"]);

    // Of 500 inactive on 3 October, 25 came back within 60 days; the last order of anybody is of the end of November.
    let connection = shop.warehouse();
    (0..25).for_each(|n| add(&connection, &people[n].id, -50.0, "order", 60.0));
    add(&connection, "stranger", -34.0, "order", 60.0);
    let late = json(&shop, &PROJECT);
    assert!(named(&late, "p0")["source"].as_str().unwrap().starts_with("backtest: 25 of 500 "), "{late}");
    assert!(late["warnings"].to_string().contains("last purchase is of 2025-11-28, 34 days"), "{}", late["warnings"]);
    add(&connection, "stranger", -1.0, "order", 60.0);
    drop(connection);

    let before = json(&shop, &PROJECT);
    assert!(!before["warnings"].to_string().contains("last purchase"), "{}", before["warnings"]);
    assert_eq!(named(&before, "match")["value"], "beta(10,6)");
    assert_eq!(named(&before, "match")["source"], "config: roi.priors.meta.match");
    assert_eq!(named(&before, "margin")["source"], "config: roi.priors.all.margin");
    assert!(named(&before, "p0")["source"].as_str().unwrap().starts_with("backtest: 25 of 500 "), "{before}");
    assert_eq!(named(&before, "lift")["value"], "lognormal(0.1,1)");
    assert_eq!(named(&before, "aov")["value"], "mean(20,0.15)");
    assert!(before["warnings"].to_string().contains("before consent"), "{}", before["warnings"]);
    let given = json(&shop, &[&PROJECT[..], &["--aov", "70"]].concat());
    assert_eq!(named(&given, "aov")["value"], "70", "an option wins");

    // An earlier list of another audience, then this one's own bounds.
    let store = &shop.engine.store;
    store.add_observation(&reading("lapsed", MatchKind::Exact, Some(500), Some((0.5, 0.5)))).await.unwrap();
    let lists = json(&shop, &PROJECT);
    assert_eq!(named(&lists, "match")["value"], "beta(110,106)", "200 persons at most");
    store.add_observation(&reading("dormant", MatchKind::Bounds, None, Some((0.45, 0.55)))).await.unwrap();
    assert_eq!(named(&json(&shop, &PROJECT), "match")["value"], "beta(110,106,0.45,0.55)");
    store.add_observation(&reading("dormant", MatchKind::Pending, None, None)).await.unwrap();
    assert_eq!(named(&json(&shop, &PROJECT), "match")["value"], "beta(110,106,0.45,0.55)", "no news");
    store.add_observation(&reading("dormant", MatchKind::Exact, Some(520), Some((0.52, 0.52)))).await.unwrap();
    assert_eq!(named(&json(&shop, &PROJECT), "match")["value"], "beta(630,586)");

    // Flights.
    let file = shop.dir.path().join("flights.csv");
    let header = "audience,destination,from,to,impressions,reach,clicks,spend,orders,currency\n";
    let import = ["roi", "deliveries", "--import", file.to_str().unwrap(), "--json"];
    for (line, fault) in [
        ("dormant,meta,2026-01-01,2026-01-14,100,,200,,,", "line 2: more clicks"),
        ("dormant,google,2026-01-01,2026-01-14,100,,,,,", "line 2: `dormant` does not go to"),
        ("dormant,meta,2026-01-14,2026-01-01,100,,,,,", "line 2: ends before"),
        ("dormant,meta,2026-01-01,2026-01-14,many,,,,,", "line 2: cannot be read"),
        ("dormant,meta,2026-01-01,2026-01-14,100,,,9,,euros", "line 2: `euros` is not a currency"),
        ("", "holds no flight"),
    ] {
        std::fs::write(&file, format!("{header}{line}\n")).unwrap();
        let output = reveil(&shop, &import);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(fault), "{error}");
    }
    std::fs::write(
        &file,
        format!(
            "{header}dormant,meta,2026-01-01,2026-01-14,3000,300,90,27.00,6,EUR\n\
             lapsed,meta,2026-01-01,2026-01-14,2000,,10,99.00,,USD\n"
        ),
    )
    .unwrap();
    json(&shop, &import);
    // The same flight again replaces itself.
    assert_eq!(json(&shop, &import).as_array().unwrap().len(), 2);
    let after = json(&shop, &PROJECT);
    let source = |name: &str| named(&after, name)["source"].as_str().unwrap().to_owned();
    assert_eq!(source("ctr"), "observed: 100 clicks of 5000 impressions");
    assert_eq!(source("cvr"), "observed: 6 orders of 72 visits");
    assert_eq!(source("cpm"), "observed: 1 earlier flight(s)", "prices in dollars are left aside");
    assert!(after["warnings"].to_string().contains("another currency"));
    assert!(source("shape").starts_with("observed: "), "{}", source("shape"));

    // A campaign is measured against what was spent and claimed.
    shop.sync("dormant").await;
    let synced = json(&shop, &PROJECT);
    assert!(!synced["warnings"].to_string().contains("before consent"));
    let measured = json(&shop, &["roi", "measure", "--audience", "dormant", "--as-of", "2026-04-01", "--json"]);
    assert_eq!(measured["assignment"]["cost"], 27.0);
    assert_eq!(measured["attributed"]["buyers"], 6.0);

    // Nobody bought since, so there is no ratio to learn from; a finished experiment with buyers moves the lift.
    assert!(named(&json(&shop, &PROJECT), "lift")["source"].as_str().unwrap().contains("elsewhere"));
    let connection = shop.warehouse();
    people.iter().skip(50).step_by(3).for_each(|it| add(&connection, &it.id, 10.0, "order", 30.0));
    drop(connection);
    // Orders that end before the windows do are no result.
    let early = json(&shop, &["roi", "measure", "--audience", "dormant", "--as-of", "2026-04-01", "--json"]);
    assert!(early["warnings"].to_string().contains("it is of 2026-01-11"), "{}", early["warnings"]);
    assert_eq!(shop.engine.store.experiments().await.unwrap(), []);
    let connection = shop.warehouse();
    add(&connection, "stranger", 58.0, "order", 30.0);
    drop(connection);
    json(&shop, &["roi", "measure", "--audience", "dormant", "--as-of", "2026-04-01", "--json"]);
    let kept = shop.engine.store.experiments().await.unwrap();
    assert_eq!(
        (kept.len(), kept[0].window_days, kept[0].reached_source.as_str()),
        (1, 60, "reach reported by the platforms")
    );
    let learned = named(&json(&shop, &PROJECT), "lift");
    assert_eq!(learned["source"], "observed: 1 own experiment(s), random effects");
    assert_ne!(learned["value"], "lognormal(0.1,1)");
    // A window that still runs is no result.
    json(&shop, &["roi", "measure", "--audience", "dormant", "--as-of", "2026-02-01", "--json"]);
    assert_eq!(shop.engine.store.experiments().await.unwrap(), kept);
    shop.sandbox.stop().await.unwrap();
}

#[test]
fn faulty_priors_are_all_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("reveil.toml");
    let text = r#"
[warehouse]
driver = "sqlite"
uri = "file:shop.db"
[roi.priors.meta]
match = "beta(10,6"
cvr = 7
budget = 100
[roi.priors.myspace]
ctr = 0.01
[holdout]
share = "100%"
"#;
    std::fs::write(&path, text).unwrap();
    let faults = config::load(&path, &Sources::default()).unwrap_err().to_string();
    for words in
        ["roi.priors.meta.match", "roi.priors.meta.cvr", "budget", "roi.priors.myspace: no priors", "holdout.share"]
    {
        assert!(faults.contains(words), "{words} in {faults}");
    }
}

/// Who may be uploaded is counted by the rules, not taken for everybody, and never borrowed from another day's run.
#[tokio::test(flavor = "multi_thread")]
async fn the_report_counts_who_may_be_uploaded_on_its_own_day() {
    let people: Vec<Person> = (0..500).map(|n| Person { id: format!("c{n:05}"), household: None }).collect();
    let shop = Shop::open(&people, AUDIENCE).await;
    let deny = |under: &str| {
        let sql = "UPDATE customers SET consent = 'denied' WHERE id < ?1";
        shop.warehouse().execute(sql, [under]).unwrap()
    };
    assert_eq!(deny("c00200"), 200);
    let page = shop.dir.path().join("roi.html");
    let report = |as_of: &[&str]| {
        let base = ["report", "roi", "dormant", "--draws", "500", "--json", "--html", page.to_str().unwrap()];
        let found = json(&shop, &[&base[..], as_of].concat());
        (found, std::fs::read_to_string(&page).unwrap())
    };
    let counts = |found: &serde_json::Value| ["inactive", "eligible"].map(|it| found["funnel"][it].as_u64().unwrap());
    let (never, html) = report(&["--as-of", "2026-01-01"]);
    let plan = json(&shop, &["plan", "dormant", "--as-of", "2026-01-01", "--json"]);
    assert_eq!(counts(&never), [500, 300]);
    assert_eq!(plan["segment"]["eligible"], never["funnel"]["eligible"]);
    assert_eq!(never["funnel"]["excluded"][0]["people"], 200, "{}", never["funnel"]);
    assert_eq!(never["projections"][0]["inactives"], 300);
    assert!(never["funnel"]["run"].is_null() && never["notes"][0].as_str().unwrap().contains("2026-01-01"));
    assert!(html.contains("60\u{a0}% of the inactive") && html.contains("as of 1 January 2026"), "{html}");

    shop.sync("dormant").await;
    let (ran, _) = report(&["--as-of", "2026-01-01"]);
    assert!(ran["funnel"]["run"].is_string(), "a run of the same day");
    assert_eq!((counts(&ran), &ran["funnel"]["as_of"]), ([500, 300], &ran["funnel"]["run_as_of"]));
    // Another day's report is not the run's: on 1 June 2025 nobody had been silent for 180 days.
    deny("c00300");
    let (early, html) = report(&["--as-of", "2025-06-01"]);
    assert_eq!((counts(&early), early["funnel"]["run"].is_null()), ([0, 0], true));
    assert!(html.contains("as of 1 June 2025"));
    let (later, _) = report(&["--as-of", "2026-01-02"]);
    assert_eq!((counts(&later), &later["funnel"]["as_of"]), ([500, 200], &"2026-01-02T00:00:00Z".into()));
    let (default, _) = report(&[]);
    assert_eq!((counts(&default), &default["as_of"]), ([500, 300], &default["funnel"]["run_as_of"]));
}
