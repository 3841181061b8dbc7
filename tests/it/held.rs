//! State and ledgers are shared, and a replica is in the middle of a run: commands on another machine that would open
//! its ledgers are told who has them and until when, and the run goes on as if nobody had asked.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use reveil_sandbox::{Faults, Platform};
use serde_json::Value;

use crate::binary::{self, Output};
use crate::postgres::TestPostgres;
use crate::shop::{Plan, Shop};

const DONE: i32 = 0;
const TRY_LATER: i32 = 75;
const PATIENCE: Duration = Duration::from_secs(60);

const RESET: [&str; 5] = ["audience", "reset", "dormant", "meta", "--yes"];
const DELETE: [&str; 5] = ["audience", "delete", "dormant", "google", "--yes"];
const REFRESH: [&str; 2] = ["status", "--refresh"];

fn on_machine(shop: &Shop, machine: &str, arguments: &[&str]) -> Output {
    let state_dir = format!("state_dir={machine}");
    shop.reveil(&[arguments, &["--set", &state_dir]].concat())
}

fn replica(shop: &Shop) -> Child {
    let log = std::fs::File::create(shop.path().join("replica.log")).unwrap();
    let mut command = binary::command(shop.path(), &["serve", "--set", "state_dir=replica", "--log", "info"]);
    command.stdout(Stdio::null()).stderr(log).spawn().expect("the binary was built with the tests")
}

fn until(shop: &Shop, what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        let log = std::fs::read_to_string(shop.path().join("replica.log")).unwrap_or_default();
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}; the replica's log:\n{log}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn latest_run(shop: &Shop) -> Value {
    on_machine(shop, "laptop", &["runs", "--json"]).expect(DONE).json()["runs"][0].clone()
}

/// Has the replica begin a run that comes to a platform which keeps it waiting.
fn stuck_run(shop: &Shop, rules: &str) -> String {
    shop.world().set_faults(rules.parse().unwrap());
    let asked = shop.world().requests(Platform::Meta, "users.add");
    let as_of = shop.as_of.format("%Y-%m-%d").to_string();
    let queued = on_machine(shop, "laptop", &["sync", "--queue", "--as-of", &as_of]).expect(DONE);
    until(shop, "the replica sends", || shop.world().requests(Platform::Meta, "users.add") > asked);
    queued.stdout.trim().to_owned()
}

#[test]
fn commands_of_another_machine_leave_a_running_replica_its_ledgers() {
    let Some(postgres) = TestPostgres::start() else { return };
    let shop = Shop::open(&Plan { customers: 700, seed: 41, ..Plan::default() });
    let shared = shop.shared_sections(&postgres.uri());
    let service =
        "[scheduler]\nlease_secs = 3\npoll_secs = 1\n[server]\nlisten = \"127.0.0.1:0\"\nopen_on_loopback = true\n";
    shop.write_config(&format!("{}\n{shared}{service}", shop.config(100)));
    let mut daemon = replica(&shop);

    let run = stuck_run(&shop, "meta.users.add:timeout@next=3");
    for command in [&RESET as &[&str], &DELETE, &REFRESH, &["sync"]] {
        let refused = on_machine(&shop, "laptop", command).expect(TRY_LATER);
        for words in [
            &format!("audience dormant is held for run {run} by process {} on ", daemon.id()),
            "its lease runs until 20",
            &format!("hint: wait until it ends, or stop it: reveil runs cancel {run}"),
        ] {
            assert!(refused.stderr.contains(words), "{command:?}: no {words:?} in {}", refused.stderr);
        }
    }
    until(&shop, "the run is done", || latest_run(&shop)["state"] == "done");
    let done = latest_run(&shop);
    assert_eq!((done["id"].as_str(), done["attempt"].as_u64()), (Some(&*run), Some(1)), "{done}");
    shop.assert_exact("nobody took the ledgers from the run");

    // The audience is free: every command does what it is for, and lets go again.
    until(&shop, "the run lets go", || on_machine(&shop, "laptop", &REFRESH).code == Some(DONE));
    on_machine(&shop, "laptop", &RESET).expect(DONE);
    let plan = on_machine(&shop, "laptop", &["plan", "--as-of", "2026-01-01", "--json"]).expect(DONE).json();
    let meta = |plan: &Value| plan["destinations"][0]["add"].as_u64().unwrap();
    assert!(meta(&plan) > 100 && plan["destinations"][1]["add"] == 0, "{plan}");

    // A replica that is killed has its lease for a while; nobody but the command comes to end it.
    let run = stuck_run(&shop, "meta.users.add:timeout");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    shop.world().set_faults(Faults::NONE);
    let refused = on_machine(&shop, "laptop", &RESET).expect(TRY_LATER);
    assert!(refused.stderr.contains(&run), "{}", refused.stderr);
    until(&shop, "the lease has run out", || on_machine(&shop, "laptop", &RESET).code == Some(DONE));
    let waiting = latest_run(&shop);
    assert_eq!(
        (waiting["id"].as_str(), waiting["state"].as_str()),
        (Some(&*run), Some("queued")),
        "left to the daemon"
    );
    let mut daemon = replica(&shop);
    until(&shop, "the run is taken up", || latest_run(&shop)["state"] == "done");
    shop.assert_exact("after all of it");
    until(&shop, "the run lets go", || on_machine(&shop, "laptop", &DELETE).code == Some(DONE));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert_eq!(shop.held(Platform::Google), None);
}
