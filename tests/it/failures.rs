//! What goes wrong is said once, with a remedy and the exit code a scheduler can act on (`src/cli/exit.rs`).

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use reveil_sandbox::{Delays, Faults, GoogleSettings, MetaSettings, Platform, Settings};

use crate::binary::{self, Output};
use crate::expected::email_forms;
use crate::shop::{Plan, Shop};

const DONE: i32 = 0;
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const GUARDED: i32 = 3;
const PARTIAL: i32 = 4;
const PERMISSION: i32 = 5;
const TRY_LATER: i32 = 75;

fn small() -> Plan {
    Plan { customers: 500, batch_members: 50, ..Plan::default() }
}

const SYNC: &[&str] = &["sync", "--wait", "--as-of", "2026-01-01"];

/// Ended with this code, and said all of these words somewhere; nothing twice, no panic.
#[track_caller]
fn says(output: &Output, code: i32, words: &[&str]) {
    let all = format!("{}\n{}", output.stdout, output.stderr);
    assert_eq!(output.code, Some(code), "{all}");
    for word in words {
        assert!(all.to_lowercase().contains(&word.to_lowercase()), "no {word:?} in:\n{all}");
    }
    assert!(!all.contains("panicked"), "{all}");
    let top = output.stderr.lines().filter(|line| line.starts_with("error:")).count();
    assert!(top <= 1, "several errors:\n{all}");
}

fn sync_with(shop: &Shop, more: &[&str]) -> Output {
    shop.reveil(&[SYNC, more].concat())
}

#[test]
fn a_config_that_is_absent_or_wrong() {
    let dir = tempfile::tempdir().unwrap();
    says(&binary::run(dir.path(), &["sync"]), USAGE, &["reveil.toml", "no such file", "reveil init"]);
    let shop = Shop::open(&small());
    let good = shop.config(50);
    shop.write_config(&format!("{good}\nthis is no TOML"));
    says(&sync_with(&shop, &[]), USAGE, &["line", "not valid TOML"]);
    // Several faults, each with its line.
    let bad = good
        .replace("holdout = \"10%\"", "holdout = \"ten\"")
        .replace("destinations = [\"meta\", \"google\"]", "destinations = [\"meta\", \"gogle\"]")
        .replace("connector = \"google\"", "connector = \"googel\"")
        .replacen("batch_members = 50", "batch_members = 0\ntimeout = 3", 1);
    shop.write_config(&bad);
    let line_of = |text: &str| {
        let number = bad.lines().position(|line| line.contains(text)).expect("it is there") + 1;
        format!("line {number}:")
    };
    let output = sync_with(&shop, &[]);
    says(&output, USAGE, &["holdout", "gogle", "googel", "batch_members", "timeout", "[destination.gogle]"]);
    for text in ["holdout = \"ten\"", "gogle", "googel", "batch_members = 0", "timeout = 3"] {
        assert!(output.stderr.contains(&line_of(text)), "no {} for {text}:\n{}", line_of(text), output.stderr);
    }
    shop.write_config(&good.replace("SANDBOX_META_TOKEN", "NO_SUCH_VARIABLE"));
    says(&sync_with(&shop, &["--destination", "meta"]), USAGE, &["NO_SUCH_VARIABLE", ".env"]);
    says(&shop.reveil(&["sync", "nobody"]), USAGE, &["no audience `nobody`", "dormant"]);
    assert!(shop.world().audiences().is_empty(), "nothing was sent");
    let recency = "purchase_recency={days=180}";
    let orders = ["segment", "count", "--orders", "nope.csv", "--inactive", recency, "--as-of", "2026-01-01"];
    says(&shop.reveil(&orders), USAGE, &["nope.csv", "customer_id, ts"]);
    says(&shop.reveil(&["roi", "project", "--inactives", "9", "--platform", "myspace"]), USAGE, &["myspace", "meta"]);
    says(&shop.reveil(&["roi", "project", "--audience", "nobody"]), USAGE, &["nobody", "dormant"]);
    says(&shop.reveil(&["roi", "plan-holdout", "--population", "9", "--base-rate", "2"]), USAGE, &["base"]);
}

#[test]
fn a_warehouse_that_cannot_be_read() {
    let shop = Shop::open(&small());
    let good = shop.config(50);
    let file = |name: &str| good.replace("shop.db", name);
    shop.write_config(&file("absent.db"));
    says(&sync_with(&shop, &[]), TRY_LATER, &["absent.db", "does not exist", "hint"]);
    std::fs::write(shop.path().join("text.db"), "this is a letter to somebody\n".repeat(400)).unwrap();
    shop.write_config(&file("text.db"));
    let output = sync_with(&shop, &[]);
    says(&output, FAILED, &["text.db", "not a", "database"]);
    shop.write_config(&good.replace("\"email_2\"", "\"email_9\""));
    says(&sync_with(&shop, &[]), USAGE, &["email_9", "customers"]);
    shop.write_config(&good.replace("table = \"orders\"", "table = \"ordres\""));
    says(&sync_with(&shop, &[]), USAGE, &["ordres"]);
    shop.write_config(&good);
    // Somebody else writes for longer than anybody waits.
    let writer = rusqlite::Connection::open(shop.warehouse()).unwrap();
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    says(&sync_with(&shop, &[]), TRY_LATER, &["shop.db", "lock", "hint"]);
    writer.execute_batch("ROLLBACK").unwrap();
    says(&sync_with(&shop, &[]), DONE, &["done"]);
}

#[test]
fn a_malformed_csv_is_named_with_its_line() {
    let shop = Shop::open(&small());
    std::fs::write(shop.path().join("customers.csv"), "customer_id,email,consent\nK1,a@example.com,GRANTED\nK2,b\n")
        .unwrap();
    std::fs::write(shop.path().join("orders.csv"), "customer_id,ordered_at,amount\nK1,2025-01-01T00:00:00Z,3\n")
        .unwrap();
    let config = shop.config(50);
    let from = config.find("[warehouse]").unwrap();
    let to = config.find("[warehouse.events]").unwrap();
    let lists = "[warehouse]\ndriver = \"files\"\n[warehouse.files]\ncustomers = \"customers.csv\"\norders = \"orders.csv\"\n\
                 [warehouse.customers]\ntable = \"customers\"\nid = \"customer_id\"\nemails = [\"email\"]\nconsent_ads = \"consent\"\n";
    shop.write_config(&format!("{}{lists}{}", &config[..from], &config[to..]));
    let output = sync_with(&shop, &[]);
    says(&output, FAILED, &["customers.csv", "line 3"]);
    assert!(!output.stderr.contains("a@example.com"));
}

#[test]
fn a_platform_that_is_not_there_or_refuses() {
    let shop = Shop::open(&small());
    let good = shop.config(50);
    let meta = ["--destination", "meta"];
    let google = ["--destination", "google"];
    // Port 1 of this machine: nobody listens there.
    shop.write_config(&good.replace(&shop.sandbox.base_url("meta"), "http://127.0.0.1:1/meta"));
    says(&sync_with(&shop, &meta), TRY_LATER, &["cannot connect", "127.0.0.1", "hint", "run again later"]);
    shop.write_config(&good.replace(&shop.sandbox.base_url("meta"), "https://graph.example.com"));
    says(&sync_with(&shop, &meta), USAGE, &["synthetic", "base_url"]);
    shop.write_config(&good);
    let faults = |text: &str| shop.world().set_faults(text.parse::<Faults>().unwrap());
    faults("expired-token");
    says(&sync_with(&shop, &meta), PERMISSION, &["meta: error", "hint", "token"]);
    // A token can still be had, but no call takes it.
    faults("google.lists:expired-token,google.members:expired-token");
    says(&sync_with(&shop, &google), PERMISSION, &["google: error", "hint"]);
    faults("terms");
    says(&sync_with(&shop, &meta), PERMISSION, &["terms", "hint"]);
    says(&sync_with(&shop, &google), PERMISSION, &["terms", "hint"]);
    faults("");
    says(&sync_with(&shop, &[]), DONE, &[]);
    for audience in shop.world().audiences() {
        assert!(shop.world().flag(audience.platform, &audience.id, true));
    }
    let mut shop = shop;
    shop.live(30);
    let output = shop.reveil(&["sync", "--wait", "--as-of", "2026-01-31", "--destination", "meta"]);
    assert!(matches!(output.code, Some(FAILED | PERMISSION)), "{}{}", output.stdout, output.stderr);
    says(&output, output.code.unwrap(), &["integrity", "hint"]);
    shop.world().set_faults(Faults::NONE);
    for audience in shop.world().audiences() {
        shop.world().flag(audience.platform, &audience.id, false);
    }
    shop.sync(&[]).expect(DONE);
    shop.assert_exact("after everything was mended");
}

#[test]
fn an_unsigned_account_is_told_before_anything_is_sent() {
    let meta = MetaSettings { terms_unsigned: vec!["1000000001".to_owned()], ..MetaSettings::default() };
    let shop = Shop::open_with(&small(), Settings { meta, delays: Delays::none(), ..Settings::default() });
    says(&sync_with(&shop, &["--destination", "meta"]), PERMISSION, &["terms", "hint"]);
    says(&shop.reveil(&["check"]), FAILED, &["FAIL destination meta", "terms", "hint"]);
    assert_eq!(shop.world().requests(Platform::Meta, "users"), 0);
}

#[test]
fn a_second_run_of_the_same_audience_waits_for_another_time() {
    let shop = Shop::open(&small());
    shop.world().set_faults("meta.users.add:timeout".parse().unwrap());
    let mut first = binary::spawn(shop.path(), SYNC);
    let waited = std::time::Instant::now();
    while shop.world().requests(Platform::Meta, "users.add") == 0 && waited.elapsed().as_secs() < 20 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = sync_with(&shop, &[]);
    let by_hand: Vec<Output> = [
        &["audience", "reset", "dormant", "meta", "--yes"] as &[&str],
        &["audience", "delete", "dormant", "google", "--yes"],
        &["status", "--refresh"],
    ]
    .map(|arguments| shop.reveil(arguments))
    .into();
    // Looking is allowed meanwhile.
    let plan = shop.reveil(&["plan", "--as-of", "2026-01-01"]);
    let status = shop.reveil(&["status"]);
    let holder = format!("process {} on ", first.id());
    first.kill().unwrap();
    first.wait().unwrap();
    for output in by_hand.iter().chain([&output]) {
        let words =
            ["audience dormant is held for run 20", &holder, "its lease runs until", "UTC", "reveil runs cancel"];
        says(output, TRY_LATER, &words);
    }
    says(&plan, DONE, &["Nothing was sent"]);
    says(&status, DONE, &["dormant"]);
    shop.world().set_faults(Faults::NONE);
    shop.sync(&[]).expect(DONE);
    shop.assert_exact("the lock went with the process that held it");
}

#[test]
fn guards_refuse_until_they_are_allowed() {
    // People of whom no consent is known are taken outside the EEA only.
    let google = GoogleSettings { assume_eea: false, ..GoogleSettings::default() };
    let plan = Plan { customers: 2_600, seed: 4, batch_members: 500, ..Plan::default() };
    let mut shop = Shop::open_with(&plan, Settings { google, delays: Delays::none(), ..Settings::default() });
    let config = shop.config(500);
    let all = std::mem::take(&mut shop.customers);
    let mut try_and_allow = |customers: Vec<_>, config: &str, guard: &str, words: &[&str]| {
        shop.customers = customers;
        shop.write_warehouse();
        shop.write_config(config);
        let requests =
            shop.world().requests(Platform::Meta, "users") + shop.world().requests(Platform::Google, "members");
        says(&sync_with(&shop, &[]), GUARDED, &[words, &[&format!("--allow {guard}")]].concat());
        let after = shop.world().requests(Platform::Meta, "users") + shop.world().requests(Platform::Google, "members");
        assert_eq!(requests, after, "{guard}: nothing was sent");
        says(&sync_with(&shop, &["--allow", guard]), DONE, &[]);
    };
    let without_consent = config
        .replace("consent_ads = \"consent_ads\"\n", "")
        .replace("[prepare]", "[eligibility]\nrequire_consent = false\n[prepare]");
    try_and_allow(all[..1_800].to_vec(), &without_consent, "no-consent-column", &["consent column", "consent_ads"]);
    let tight = config.replace("[prepare]", "[guards]\nmax_growth_ratio = 1.1\nratio_from_members = 500\n[prepare]");
    try_and_allow(all.clone(), &tight, "growth", &["would grow", "max_growth_ratio"]);
    try_and_allow(all[..900].to_vec(), &config, "shrink", &["would be removed", "max_removal_ratio"]);
    try_and_allow(all[..90].to_vec(), &config, "below-minimum", &["no ads"]);
    try_and_allow(Vec::new(), &config, "empty", &["would be empty"]);
    for platform in Platform::ALL {
        assert_eq!(shop.held(platform).map(|held| held.len()), Some(0), "{platform:?}");
    }
    says(&shop.reveil(&["sync", "--allow", "everything"]), USAGE, &["everything", "shrink"]);
}

/// `sync --full` of an audience that shall be empty empties it, instead of replacing it by nothing at all.
#[test]
fn a_full_replace_by_nobody_removes_everybody() {
    let mut shop = Shop::open(&small());
    shop.sync(&[]).expect(DONE);
    shop.customers.clear();
    shop.write_warehouse();
    shop.sync(&["--full", "--allow", "empty"]).expect(DONE);
    for platform in Platform::ALL {
        assert_eq!(shop.held(platform).map(|held| held.len()), Some(0), "{platform:?}");
    }
}

#[test]
fn a_full_disk_is_said_and_survived() {
    let mut shop = Shop::open(&small());
    let state = shop.path().join("tiny");
    std::fs::create_dir(&state).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(&state)
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        eprintln!("skipped: mounting a small file system needs more rights than this user has");
        return;
    }
    let _unmount = Unmount(state.clone());
    shop.write_config(&shop.config(50).replace("state_dir = \"state\"", "state_dir = \"tiny\""));
    shop.sync(&[]).expect(DONE);
    let filler = state.join("filler");
    let mut failed = 0;
    for left_kib in [0, 8, 16, 24, 32, 48, 64] {
        shop.live(20);
        let mut size_kib = 1_024;
        // The largest filler that fits, and then some room.
        while std::fs::write(&filler, vec![1; size_kib << 10]).is_err() {
            size_kib -= 4;
        }
        std::fs::write(&filler, vec![1; size_kib.saturating_sub(left_kib) << 10]).unwrap();
        let output = shop.sync(&[]);
        if output.code != Some(DONE) {
            failed += 1;
            let all = format!("{}{}", output.stdout, output.stderr);
            // The state's full disk is worth another try.
            assert!(matches!(output.code, Some(FAILED | PARTIAL | TRY_LATER)), "{all}");
            assert!(["No space left", "disk is full", "disk I/O error"].iter().any(|word| all.contains(word)), "{all}");
            assert!(!all.contains("panicked"), "{all}");
        }
        std::fs::remove_file(&filler).unwrap();
        shop.sync(&[]).expect(DONE);
        shop.assert_exact(&format!("with room again after {left_kib} KiB"));
    }
    assert!(failed > 1, "the disk was never full");
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).output();
    }
}

/// Meta refuses a request without saying for whom: halves find the row. Everybody else is delivered.
#[test]
fn one_bad_row_is_found_and_left_out() {
    let shop = Shop::open(&small());
    let expected = shop.expected();
    // An address of somebody who is to be sent to both platforms.
    let bad = shop
        .customers
        .iter()
        .flat_map(|customer| customer.emails.iter().flatten())
        .map(|email| email_forms(email))
        .find(|forms| expected.meta.contains(&forms.meta) && forms.meta == forms.google)
        .expect("somebody is sent");
    let prefix = &bad.meta["email:".len().."email:".len() + 12];
    shop.world().set_faults(format!("bad-row={prefix}").parse().unwrap());
    let report = shop.sync(&[]).expect(DONE).json();
    for (platform, wanted) in [(Platform::Meta, &expected.meta), (Platform::Google, &expected.google)] {
        let held = shop.held(platform).unwrap();
        assert!(!held.contains(&bad.meta), "{platform:?} took the bad row");
        let missing = wanted.difference(&held).count();
        // The whole row goes: at most two addresses and a phone.
        assert!((1..=3).contains(&missing), "{platform:?} misses {missing}: {report}");
    }
    for destination in report["destinations"].as_array().unwrap() {
        let rejected: u64 =
            destination["counts"]["rejected"].as_object().unwrap().values().filter_map(|n| n.as_u64()).sum();
        assert_eq!(rejected, 1, "{destination}");
    }
    // Known now: not sent again until it changes or somebody asks for it.
    let requests =
        || shop.world().requests(Platform::Meta, "users") + shop.world().requests(Platform::Google, "members");
    let before = requests();
    shop.sync(&[]).expect(DONE);
    assert_eq!(requests(), before);
    shop.world().set_faults(Faults::NONE);
    shop.sync(&["--retry-rejected"]).expect(DONE);
    shop.assert_exact("after the platform changed its mind");
}

#[test]
fn one_destination_down_does_not_stop_the_other() {
    let shop = Shop::open(&small());
    shop.world().set_faults("google:error=503".parse().unwrap());
    let output = sync_with(&shop, &[]);
    says(&output, PARTIAL, &["google: error", "google: hint", "partial"]);
    let expected = shop.expected();
    assert_eq!(shop.held(Platform::Meta).unwrap(), expected.meta, "Meta is complete");
    assert!(shop.held(Platform::Google).unwrap_or_default().is_empty());
    shop.world().set_faults("meta:error=503".parse().unwrap());
    says(&sync_with(&shop, &[]), PARTIAL, &["meta: error"]);
    assert_eq!(shop.held(Platform::Google).unwrap(), expected.google, "Google caught up meanwhile");
    shop.world().set_faults("error=503".parse().unwrap());
    says(&sync_with(&shop, &[]), TRY_LATER, &["meta: error", "google: error"]);
}

/// The segment is asked as of an earlier day than before, and the platforms' clock was set back: what is held follows.
#[test]
fn a_clock_that_jumps_back_ends_exact_too() {
    let mut shop = Shop::open(&small());
    let start = shop.as_of;
    shop.live(60);
    shop.sync(&[]).expect(DONE);
    shop.assert_exact("ahead");
    shop.as_of = start;
    shop.world().advance(-chrono::TimeDelta::days(3));
    shop.sync(&["--allow", "shrink", "--allow", "growth"]).expect(DONE);
    shop.assert_exact("back again");
    assert_eq!(shop.as_of, midnight(2026, 1, 1));
}

fn midnight(year: i32, month: u32, day: u32) -> DateTime<Utc> {
    NaiveDate::from_ymd_opt(year, month, day).unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc()
}

#[test]
fn init_never_overwrites() {
    let dir = tempfile::tempdir().unwrap();
    let path: &Path = dir.path();
    says(&binary::run(path, &["init"]), DONE, &["reveil.toml", "reveil check"]);
    says(&binary::run(path, &["init"]), USAGE, &["is there already", "hint"]);
}

/// `reveil … | head` and the like.
#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let project = ["roi", "project", "--inactives", "1000", "--draws", "1000"];
    for arguments in [&["openapi"][..], &["--help"], &project] {
        let mut command = binary::command(dir.path(), arguments);
        let mut child =
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*said), (Some(DONE), ""), "{arguments:?}");
    }
}
