//! A platform that takes an hour to decide: nothing is sent on top of what it has not decided on, and a run that has
//! more to send ends only when all of it is sent.

use std::time::Duration;

use chrono::TimeDelta;
use reveil_sandbox::{Delays, Faults, Platform, Settings};
use serde_json::Value;

use crate::replace::plant_drift;
use crate::serve::{Served, assert_exact, config, queue_run, runs};
use crate::shop::{Plan, Shop};

fn slow_shop() -> Shop {
    shop(Delays { google_jobs_secs: 3_600..=3_600, ..Delays::none() })
}

fn shop(delays: Delays) -> Shop {
    let as_of = chrono::Utc::now().date_naive();
    let plan = Plan { customers: 800, batch_members: 50, as_of, ..Plan::default() };
    let shop = Shop::open_with(&plan, Settings { delays, ..Settings::default() });
    shop.write_config(&config(&shop, 50, "", ""));
    shop
}

fn run(shop: &Shop, id: &str) -> Value {
    runs(shop).into_iter().find(|run| run["id"] == id).expect("the run is listed")
}

fn part(run: &Value, destination: &str) -> Value {
    let parts = run["destinations"].as_array().expect("a list");
    parts.iter().find(|part| part["destination"] == destination).expect("the destination's part").clone()
}

/// A leg of the run has ended, and it waits for the next one.
fn is_waiting(run: &Value) -> bool {
    run["state"] == "queued" && run["destinations"].as_array().is_some_and(|parts| parts.len() == 2)
}

/// Hours pass at the platforms until the run has ended.
fn pass_hours(shop: &Shop, served: &Served, id: &str) {
    served.until("the run ends", || {
        shop.world().advance(TimeDelta::hours(2));
        std::thread::sleep(Duration::from_millis(500));
        run(shop, id)["state"] == "done"
    });
}

#[test]
fn a_run_goes_on_when_the_platform_has_decided_on_the_one_before() {
    let mut shop = slow_shop();
    let served = Served::start(&shop);
    let first = queue_run(&shop);
    served.until("all is sent and undecided", || run(&shop, &first)["state"] == "pending");

    shop.change(30);
    shop.write_warehouse();
    let second = queue_run(&shop);
    served.until("the second run waits", || is_waiting(&run(&shop, &second)));
    let waiting = run(&shop, &second);
    assert_eq!(part(&waiting, "meta")["state"], "done", "{waiting}");
    assert_eq!(part(&waiting, "google")["counts"]["sent"], 0, "{waiting}");
    assert_eq!(run(&shop, &first)["state"], "pending");

    pass_hours(&shop, &served, &second);
    assert_exact(&mut shop, "after the second run");
    assert_eq!(run(&shop, &first)["state"], "done");
    assert_eq!(runs(&shop).len(), 2, "no third run was needed");
    let done = run(&shop, &second);
    for name in ["meta", "google"] {
        assert!(part(&done, name)["counts"]["sent"].as_u64() > Some(0), "each leg counts: {done}");
    }
    assert_eq!(part(&done, "meta")["counts"]["sent"], part(&waiting, "meta")["counts"]["sent"], "nothing twice");
}

#[test]
fn a_full_sync_sweeps_when_the_platform_has_decided_on_what_it_sent() {
    // Fast at first: the platform's clock and ours must agree on who was there before the full sync.
    let mut shop = shop(Delays::none());
    let served = Served::start(&shop);
    let first = queue_run(&shop);
    served.until("the first run ends", || run(&shop, &first)["state"] == "done");
    plant_drift(&shop, 20, 15);
    shop.world().set_faults("google.members.ingest:slow=3600".parse().unwrap());
    let full = shop.reveil(&["sync", "--queue", "--full"]).expect(0).stdout.trim().to_owned();
    served.until("the full sync waits", || is_waiting(&run(&shop, &full)));
    let world = shop.world();
    let sent = || (world.requests(Platform::Meta, "users.replace"), world.requests(Platform::Google, "members.ingest"));
    let before = sent();
    assert!(before.0 > 0 && before.1 > 0, "{before:?}");
    assert_eq!(world.requests(Platform::Google, "members.remove_all"), 0, "not before all is decided");

    shop.world().set_faults("google.members.remove_all:slow=3600".parse().unwrap());
    shop.world().advance(TimeDelta::hours(2));
    served.until("all but the sweep is decided", || run(&shop, &full)["state"] == "pending");
    pass_hours(&shop, &served, &full);
    assert_exact(&mut shop, "after the full sync");
    assert_eq!(world.requests(Platform::Google, "members.remove_all"), 1);
    assert_eq!(sent(), before, "everybody was sent once");
}

#[test]
fn what_the_platform_fails_after_taking_it_is_sent_again() {
    let mut shop = slow_shop();
    let served = Served::start(&shop);
    shop.world().set_faults("google.members:failed-job@0.5".parse().unwrap());
    let first = queue_run(&shop);
    served.until("all is sent and undecided", || run(&shop, &first)["state"] == "pending");
    shop.world().set_faults(Faults::NONE);
    shop.world().advance(TimeDelta::hours(2));
    served.until("the verdicts are there", || run(&shop, &first)["state"] == "partial");
    let told = part(&run(&shop, &first), "google")["error"].to_string();
    assert!(told.contains("applied none of") && told.contains("sends them again"), "{told}");
    served.until("a run follows", || runs(&shop).len() == 2);
    let second = runs(&shop).into_iter().find(|run| run["requested_by"] == "verdict").expect("the run that follows");
    pass_hours(&shop, &served, second["id"].as_str().expect("an id"));
    assert_exact(&mut shop, "after the run that followed");
}

#[test]
fn what_is_refused_late_counts_for_the_run_that_sent_it() {
    let shop = slow_shop();
    let served = Served::start(&shop);
    shop.world().set_faults("google.members.ingest:partial=0.3".parse().unwrap());
    let queued = shop.reveil(&["sync", "--queue", "--fail-on-reject-ratio", "0.1"]).expect(0);
    let id = queued.stdout.trim();
    served.until("all is sent and undecided", || run(&shop, id)["state"] == "pending");
    shop.world().advance(TimeDelta::hours(2));
    served.until("the verdicts are there", || run(&shop, id)["state"] == "partial");
    let ended = run(&shop, id);
    let google = part(&ended, "google");
    assert_eq!((&google["state"], &part(&ended, "meta")["state"]), (&"failed".into(), &"done".into()));
    assert!(google["error"].as_str().is_some_and(|error| error.contains("were rejected")), "{google}");
    let counts = &google["counts"];
    let named: u64 = counts["rejected"].as_object().expect("reasons").values().filter_map(Value::as_u64).sum();
    let (sent, add) = (counts["sent"].as_u64().unwrap(), counts["add"].as_u64().unwrap());
    assert!(named > 0 || counts["rejected_unnamed"].as_u64() > Some(0), "{google}");
    assert_eq!(sent + named, add, "who was refused was not taken");
}

#[test]
fn what_is_refused_late_does_not_count_for_a_run_that_waits() {
    let mut shop = slow_shop();
    let served = Served::start(&shop);
    shop.world().set_faults("google.members.ingest:partial=0.3".parse().unwrap());
    let first = queue_run(&shop);
    served.until("all is sent and undecided", || run(&shop, &first)["state"] == "pending");
    shop.world().set_faults(Faults::NONE);
    shop.change(30);
    shop.write_warehouse();
    let queued = shop.reveil(&["sync", "--queue", "--fail-on-reject-ratio", "0.01"]).expect(0);
    let second = queued.stdout.trim().to_owned();
    served.until("the second run waits", || is_waiting(&run(&shop, &second)));
    pass_hours(&shop, &served, &second);
    let refused = |id: &str| {
        let counts = part(&run(&shop, id), "google")["counts"].clone();
        let named: u64 = counts["rejected"].as_object().expect("reasons").values().filter_map(Value::as_u64).sum();
        named + counts["rejected_unnamed"].as_u64().expect("a number")
    };
    assert!(refused(&first) > 0);
    assert_eq!(refused(&second), 0);
}

#[test]
fn a_command_that_cannot_send_says_so_and_the_next_one_does() {
    let mut shop = slow_shop();
    let sync = |shop: &Shop| {
        let as_of = shop.as_of.format("%Y-%m-%d").to_string();
        shop.reveil(&["sync", "--json", "--as-of", &as_of])
    };
    let first = sync(&shop).expect(0).json();
    assert_eq!(first["state"], "pending");
    shop.change(30);
    shop.write_warehouse();
    let second = sync(&shop);
    assert_eq!(second.code, Some(75), "{}", second.stderr);
    let report = second.json();
    assert_eq!((&report["state"], &part(&report, "google")["state"]), (&"partial".into(), &"partial".into()));

    shop.world().advance(TimeDelta::hours(2));
    shop.reveil(&["status", "--refresh"]).expect(0);
    let states = |id: &Value| run(&shop, id.as_str().expect("an id"))["state"].clone();
    assert_eq!((states(&first["run"]), states(&report["run"])), ("done".into(), "partial".into()));
    // The removals of the next run are undecided, and adds of the same people wait for them.
    while sync(&shop).code != Some(0) {
        shop.world().advance(TimeDelta::hours(2));
    }
    shop.world().advance(TimeDelta::hours(2));
    shop.assert_exact("after the runs that followed");
}
