//! Figures through the real binary: definitions over a file of events, the lost, the report.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn orders() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors/synth/data/online_retail_orders.csv.gz")
}

fn golden(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden").join(file);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn reveil(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reveil"));
    command.args(args).env_remove("REVEIL_CONFIG").output().unwrap()
}

fn text(args: &[&str]) -> String {
    let output = reveil(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&text(args)).unwrap()
}

fn inactive(file: &Path, definition: &str, as_of: &str) -> u64 {
    let file = file.to_str().unwrap();
    let found = json(&["segment", "count", "--orders", file, "--inactive", definition, "--as-of", as_of, "--json"]);
    found["inactive"].as_u64().unwrap()
}

/// The figures of one golden set that purchases alone can judge.
fn goldens(file: &Path, set: &str, as_of: &str) {
    let numbers = golden("inactivity.json");
    let recency = &numbers[set][as_of]["by_X"]["180"]["inactive"];
    assert_eq!(inactive(file, "purchase_recency = { days = 180 }", as_of), recency.as_u64().unwrap());
    let cadence = &numbers[format!("{set}_cadence")]["k=2"]["inactive_total"];
    assert_eq!(inactive(file, "personal_cadence = { k = 2, fallback = 180 }", as_of), cadence.as_u64().unwrap());
    let high = &numbers[format!("{set}_rfm")]["reconquer_r<=2_f>=4_m>=4"];
    assert_eq!(inactive(file, r#"{"rfm_matrix":{"preset":"high_value"}}"#, as_of), high.as_u64().unwrap());
    rhythm(file, &numbers[format!("{set}_cadence")], as_of);
    let sum = places(file, as_of).iter().fold(0, |sum, (id, cell)| (sum + id * cell) % 1_000_000_007);
    assert_eq!(sum, numbers[format!("{set}_rfm")]["checksum_sum_cid_times_rfm_mod_1000000007"].as_u64().unwrap());
    let alive = &golden("p_alive.json")[set];
    for (key, model) in [("mbgnbd", "mbg"), ("bgnbd", "bg")] {
        let wanted = alive[key]["count_palive_lt"]["0.5"].as_u64().unwrap();
        let fitted = format!("p_alive = {{ model = \"{model}\", theta = \"fit\", p = 0.5 }}");
        assert_eq!(inactive(file, &fitted, as_of), wanted, "{model} fitted");
        let given = format!("p_alive = {{ model = \"{model}\", theta = {}, p = 0.5 }}", alive[key]["r_alpha_a_b"]);
        assert_eq!(inactive(file, &given, as_of), wanted, "{model} given");
    }
}

fn rhythm(file: &Path, wanted: &Value, as_of: &str) {
    let base = ["segment", "cadence", "--orders", file.to_str().unwrap(), "--as-of", as_of, "--k"];
    for k in ["2", "3"] {
        let found = json(&[&base[..], &[k, "--json"]].concat());
        assert_eq!(found["with_rhythm"], wanted["with_personal_gap"]);
        assert_eq!(found["gap_days"]["p50"], wanted["median_of_median_gaps_days"]);
        for (ours, key) in [
            ("inactive", "inactive_total"),
            ("inactive_by_rhythm", "by_personal_rule"),
            ("inactive_by_fallback", "by_fallback"),
            ("noticed_earlier", "active_by_fixed_fallback_but_late_by_cadence"),
            ("left_alone", "inactive_by_fixed_fallback_but_on_cadence"),
        ] {
            assert_eq!(found[ours], wanted[format!("k={k}")][key], "k={k} {key}");
        }
    }
}

/// Everybody's id and cell, as `segment rfm --out` writes them.
fn places(file: &Path, as_of: &str) -> Vec<(u64, u64)> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("places.csv");
    let [file, path] = [file, &out].map(|path| path.to_str().unwrap());
    let told = text(&["segment", "rfm", "--orders", file, "--as-of", as_of, "--out", path]);
    assert!(told.contains(path), "{told}");
    assert_eq!(out.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let written: Vec<_> = folder.path().read_dir().unwrap().collect();
    assert_eq!(written.len(), 1, "{written:?}");
    let text = std::fs::read_to_string(&out).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("customer_id,r,f,m,win_back"));
    let number = |cell: &str| cell.parse::<u64>().unwrap();
    lines
        .map(|line| line.split(',').collect::<Vec<_>>())
        .map(|it| (number(it[0]), number(&it[1..4].concat())))
        .collect()
}

#[test]
fn golden_counts_over_a_file_of_orders() {
    goldens(&orders(), "online_retail", "2011-09-01");
    let Some(folder) = std::env::var_os("REVEIL_DATA_DIR") else {
        eprintln!("note: REVEIL_DATA_DIR is not set; the CDNOW golden numbers are left out");
        return;
    };
    goldens(&Path::new(&folder).join("cdnow_transactions.csv.gz"), "cdnow", "1998-04-01");
}

#[test]
fn one_customer_is_explained_by_each_part() {
    let file = orders();
    let definition =
        r#"{"all": [{"purchase_recency": {"days": 180}}, {"not": {"rfm_matrix": {"preset": "high_value"}}}]}"#;
    let base =
        ["segment", "explain", "--orders", file.to_str().unwrap(), "--inactive", definition, "--as-of", "2011-09-01"];
    let found = json(&[&base[..], &["--customer", "12346", "--json"]].concat());
    assert_eq!((&found["customer"], &found["state"]), (&Value::from("12346"), &Value::from("inactive")));
    let reasons: Vec<&str> =
        found["reasons"].as_array().unwrap().iter().map(|reason| reason.as_str().unwrap()).collect();
    assert_eq!(reasons.len(), 2);
    assert!(reasons[0].contains("2011-01-18") && reasons[1].contains("r3 f5 m5"), "{reasons:?}");
    let nobody = reveil(&[&base[..], &["--customer", "nobody"]].concat());
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("hint:"));
}

#[test]
fn definitions_stand_side_by_side() {
    let file = orders();
    let base = ["segment", "compare", "--orders", file.to_str().unwrap(), "--as-of", "2011-09-01"];
    let some = ["--inactive", "purchase_recency = { days = 180 }", "--inactive", "purchase_recency = { days = 365 }"];
    let found = json(&[&base[..], &some, &["--json"]].concat());
    assert_eq!(found["overlap"][0]["both"], 914);
    assert_eq!(found["definitions"][0]["inactive"], 2477);
    assert_eq!(found["definitions"][0]["backtest"]["returns"].as_array().unwrap().len(), 3);
    let table = text(&[&base[..], &some].concat());
    assert!(table.contains("last purchase 180 d") && table.contains("Jaccard"), "{table}");
    let back = &found["definitions"][0]["backtest"]["returns"][2];
    assert!(
        ["returned", "share", "orders", "revenue_minor", "aov_minor"].iter().all(|it| back[it].is_number()),
        "{back}"
    );
    let stale = ["segment", "compare", "--orders", file.to_str().unwrap(), "--as-of", "2012-06-01"];
    let found = json(&[&stale[..], &some, &["--json"]].concat());
    let backtest = &found["definitions"][0]["backtest"];
    assert!(backtest["returns"].as_array().unwrap().iter().all(|it| it["share"].is_null()), "{backtest}");
    let table = text(&[&stale[..], &some].concat());
    assert!(table.contains("warning: Nobody bought anything in the 90 days from 2012-03-03"), "{table}");
    assert!(!table.contains("0.0 %") && !table.contains("0.0%"), "{table}");
    let matrix = text(&["segment", "rfm", "--orders", file.to_str().unwrap(), "--as-of", "2011-09-01"]);
    assert!(matrix.contains("426 *") && matrix.contains("reconqu\u{e9}rir") && matrix.contains("212"), "{matrix}");
}

/// A kept demonstration with what the lost and the mail ladder need besides.
fn shop() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demo");
    text(&["demo", "--customers", "600", "--keep", dir.to_str().unwrap(), "--json"]);
    rusqlite::Connection::open(dir.join("shop.db"))
        .unwrap()
        .execute_batch(
            "CREATE TABLE sent AS SELECT customer_id, campaign, at, NULL AS clicked FROM customers,
                (SELECT 'c1' AS campaign, '2025-09-01' AS at UNION ALL SELECT 'c2', '2025-10-01');
             ALTER TABLE customers ADD COLUMN step TEXT;
             UPDATE customers SET step = CASE CAST(substr(customer_id, -1) AS INTEGER) % 3 WHEN 0 THEN '+5' WHEN 1 THEN 'day 15' END;
             DELETE FROM sent WHERE CAST(customer_id AS TEXT) LIKE '%1';",
        )
        .unwrap();
    let config = dir.join("reveil.toml");
    let toml = std::fs::read_to_string(&config).unwrap();
    let toml = toml.replace("us_opt_out = \"us_opt_out\"", "us_opt_out = \"us_opt_out\"\nladder_step = \"step\"");
    let more = "\n[lost]\nafter_campaigns = 2\nquiet_days = 30\n[eligibility]\nladder_ready = [\"none\", \"15\"]\n\
        [warehouse.deliveries]\ntable = \"sent\"\ncustomer_id = \"customer_id\"\ncampaign_id = \"campaign\"\nat = \"at\"\n\
        clicked_at = \"clicked\"\n";
    std::fs::write(&config, toml + more).unwrap();
    (folder, config)
}

#[test]
fn the_lost_are_left_out_and_listed_and_the_ladder_is_waited_for() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, config) = shop();
    let config = config.to_str().unwrap();
    let out = folder.path().join("lost.csv");
    let purged = json(&[
        "--config",
        config,
        "segment",
        "purge",
        "--out",
        out.to_str().unwrap(),
        "--as-of",
        "2026-01-08",
        "--json",
    ]);
    let lost = purged["lost"].as_u64().unwrap();
    assert!(lost > 0 && lost < purged["inactive"].as_u64().unwrap(), "{purged}");
    let ids = std::fs::read_to_string(&out).unwrap();
    let mut lines = ids.lines();
    assert_eq!(lines.next(), Some("customer_id"));
    let ids: Vec<&str> = lines.collect();
    assert_eq!(ids.len() as u64, lost);
    assert!(ids.iter().all(|id| !id.contains('@') && !id.ends_with('1')), "ids only, of people who got campaigns");
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);

    let plan = json(&["--config", config, "plan", "--as-of", "2026-01-08", "--json"]);
    let excluded = &plan["segment"]["excluded"];
    assert!(excluded["lost"].as_u64().is_some_and(|people| people > 0 && people <= lost), "{excluded}");
    let without =
        json(&["--config", config, "--set", "lost.quiet_days=120", "plan", "--as-of", "2026-01-08", "--json"]);
    let ready = &without["segment"]["excluded"];
    assert_eq!(ready["lost"], Value::Null, "no campaign is that old: {ready}");
    assert!(ready["mail_ladder"].as_u64().is_some_and(|people| people > 0), "{ready}");
}

#[test]
fn faults_of_the_lost_and_the_ladder_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("reveil.toml");
    let toml = "[warehouse]\nuri = \"file:none.db\"\n[warehouse.customers]\ntable = \"c\"\nid = \"id\"\n[lost]\nquiet_days = 0\n\
        [eligibility]\nladder_ready = [\"7\"]\n[audience.a]\nlabel = \"A\"\ndestinations = []\n\
        inactive = { rfm_matrix = { variant = \"rfo\", cells = [{ m = [1] }] } }\n";
    std::fs::write(&config, toml).unwrap();
    let output = reveil(&["--config", config.to_str().unwrap(), "segment", "count"]);
    let shown = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    for part in [
        "lost.quiet_days: must be 1 to 36500",
        "lost: needs [warehouse.deliveries]",
        "`7` is no step of the mail ladder",
        "needs `ladder_step`",
        "no monetary axis",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
}

#[test]
fn the_report_is_one_page_that_loads_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demo");
    text(&["demo", "--customers", "600", "--keep", dir.to_str().unwrap(), "--json"]);
    let (config, page) = (dir.join("reveil.toml"), folder.path().join("roi.html"));
    let base = ["--config", config.to_str().unwrap(), "report", "roi", "--currency", "GBP", "--draws", "2000"];
    let found = json(&[&base[..], &["--json", "--html", page.to_str().unwrap()]].concat());
    assert_eq!(
        found["funnel"]["inactive"].as_u64(),
        found["funnel"]["eligible"].as_u64().map(|eligible| {
            let excluded = found["funnel"]["excluded"].as_array().unwrap();
            eligible + excluded.iter().map(|one| one["people"].as_u64().unwrap()).sum::<u64>()
        })
    );
    assert_eq!(found["destinations"].as_array().unwrap().len(), 2);
    assert_eq!(found["projections"].as_array().unwrap().len(), 2);
    assert!(found["returns"].as_array().unwrap().iter().all(|curve| curve["points"].as_array().unwrap().len() == 3));
    assert_eq!(found["currency"], "GBP");

    let html = std::fs::read_to_string(&page).unwrap();
    for forbidden in ["http://", "https://", "<script", "<link", "<img", "url(", "@import", "NaN"] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    let charts = html.matches("role=\"img\" aria-labelledby").count();
    assert!(charts >= 6, "{charts} charts");
    assert_eq!(html.matches("<title id=").count(), charts, "every chart has a title");
    assert_eq!(html.matches("<desc id=").count(), charts, "and its figures in words");
    for part in
        ["id=\"funnel\"", "id=\"match\"", "id=\"returns\"", "id=\"projection\"", "id=\"power\"", "id=\"matrix\""]
    {
        assert!(html.contains(part), "{part}");
    }
    let csv = text(&[&base[..], &["--csv"]].concat());
    assert!(csv.starts_with("section,item,measure,value,low,high,unit,note\n"), "{csv}");
    for part in ["funnel,dormant,inactive,", "projection,meta,usual_claim_baskets,", "matrix,r1f1m1,customers,"] {
        assert!(csv.contains(part), "{part} is not in {csv}");
    }
    let shown = text(&base);
    assert!(shown.contains("Who comes back without ads") && shown.contains("Holdout:"), "{shown}");
}
