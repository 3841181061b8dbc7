//! The scheduler on a clock that jumps and a real state: what replicas, restarts and wrong clocks make of due times.

use std::path::Path;
use std::time::Duration;

use chrono::TimeDelta;

use super::*;
use crate::clock::VirtualClock;
use crate::config;
use crate::store::jobs::{Job, JobState};
use crate::store::model::RunState;

const CONFIG: &str = r#"
[warehouse]
driver = "sqlite"
uri = "file:shop.db"
synthetic = true
[warehouse.customers]
table = "customers"
id = "customer_id"
emails = ["email"]
country = "'FR'"
consent_ads = "consent_ads"
[warehouse.events]
table = "orders"
customer_id = "customer_id"
at = "ordered_at"
kind = "'order'"
[audience.dormant]
label = "Dormant"
inactive = { no_event_days = { kinds = ["order"], days = 180 } }
SCHEDULE
destinations = ["meta"]
[destination.meta]
connector = "meta"
account = "act_1"
base_url = "http://127.0.0.1:9"
credentials = { env = "TOKEN" }
"#;

/// A process on a state that others share.
async fn replica(dir: &Path, schedule: &str, clock: &VirtualClock) -> Arc<Daemon> {
    let path = dir.join("reveil.toml");
    std::fs::write(&path, CONFIG.replace("SCHEDULE", schedule)).unwrap();
    let environment = HashMap::from([("TOKEN".to_owned(), "t".to_owned())]);
    let sources = Sources { environment, ..Sources::default() };
    let config = config::load(&path, &sources).unwrap_or_else(|faults| panic!("{faults}"));
    let store = Store::open(&config.state_dir).await.unwrap();
    let file = ConfigFile { path, overrides: Vec::new() };
    Daemon::new(file, config, sources, store, Arc::new(clock.clone())).unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

async fn runs(daemon: &Daemon) -> Vec<Job> {
    let mut jobs = daemon.store().open_jobs().await.unwrap();
    jobs.retain(|job| job.kind == "sync");
    jobs
}

/// As a worker would, so that the next due time does not find a run that waits.
async fn finish_all(daemon: &Daemon) -> usize {
    let mut finished = 0;
    let limits = work::limits(&daemon.loaded().config);
    let now = daemon.clock().now();
    while let Some(claim) = daemon.store().claim("test", TimeDelta::minutes(1), now, &limits).await.unwrap() {
        if let Some(id) = &claim.job.run_id {
            let mut run = daemon.store().run(id).await.unwrap().unwrap();
            (run.state, run.finished_at) = (RunState::Done, Some(now));
            daemon.store().save_run(&run).await.unwrap();
            finished += 1;
        }
        let done = crate::store::claims::JobEnd::Done(serde_json::json!({}));
        assert!(daemon.store().finish(&claim, &done, now).await.unwrap());
    }
    finished
}

/// Steps all of them every minute from now to `to`; how many runs that made.
async fn pass(daemons: &[&Daemon], clock: &VirtualClock, to: &str) -> usize {
    let mut made = 0;
    while clock.now() < at(to) {
        for daemon in daemons {
            daemon.schedule_step().await.unwrap();
        }
        made += finish_all(daemons[0]).await;
        clock.advance(Duration::from_secs(60));
    }
    made
}

#[tokio::test]
async fn of_several_replicas_one_fires_each_due_time() {
    let dir = tempfile::tempdir().unwrap();
    let clock = VirtualClock::new(at("2026-03-01T00:00:30Z"));
    let schedule = "schedule = { every = \"1h\" }\njitter = \"10m\"";
    let one = replica(dir.path(), schedule, &clock).await;
    let other = replica(dir.path(), schedule, &clock).await;
    assert_eq!(pass(&[&one, &other], &clock, "2026-03-01T12:00:30Z").await, 11, "01:00 to 11:00 and their jitter");
}

#[tokio::test]
async fn a_daily_time_comes_once_on_the_days_the_clocks_change() {
    let dir = tempfile::tempdir().unwrap();
    let clock = VirtualClock::new(at("2026-03-28T12:00:00Z"));
    let daily = replica(dir.path(), "schedule = { cron = \"30 2 * * *\", timezone = \"Europe/Paris\" }", &clock).await;
    assert_eq!(pass(&[&daily], &clock, "2026-03-29T12:00:00Z").await, 1, "spring");
    clock.set(at("2026-10-24T12:00:00Z"));
    pass(&[&daily], &clock, "2026-10-24T12:03:00Z").await;
    assert_eq!(pass(&[&daily], &clock, "2026-10-25T12:00:00Z").await, 1, "autumn");
}

#[tokio::test]
async fn a_clock_that_jumps_back_fires_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let clock = VirtualClock::new(at("2026-03-01T00:30:00Z"));
    let daemon = replica(dir.path(), "schedule = { every = \"1h\" }", &clock).await;
    assert_eq!(pass(&[&daemon], &clock, "2026-03-01T06:30:00Z").await, 6);
    clock.set(at("2026-03-01T02:30:00Z"));
    assert_eq!(pass(&[&daemon], &clock, "2026-03-01T06:30:00Z").await, 0, "03:00 to 06:00 have been");
    assert_eq!(pass(&[&daemon], &clock, "2026-03-01T08:30:00Z").await, 2, "and it goes on");
}

#[tokio::test]
async fn a_clock_that_was_wrong_for_long_does_not_silence_a_schedule() {
    let dir = tempfile::tempdir().unwrap();
    let clock = VirtualClock::new(at("2026-03-01T00:30:00Z"));
    let daemon = replica(dir.path(), "schedule = { every = \"1h\" }", &clock).await;
    pass(&[&daemon], &clock, "2026-03-01T02:30:00Z").await;
    clock.set(at("2031-03-01T02:30:00Z"));
    assert_eq!(pass(&[&daemon], &clock, "2031-03-01T02:32:00Z").await, 1, "five years are one run, no storm");
    clock.set(at("2026-03-01T02:40:00Z"));
    assert_eq!(pass(&[&daemon], &clock, "2026-03-01T05:30:00Z").await, 3);
}

#[tokio::test]
async fn a_pause_is_kept_over_restarts_and_not_made_up_for() {
    let dir = tempfile::tempdir().unwrap();
    let clock = VirtualClock::new(at("2026-03-01T00:30:00Z"));
    let schedule = "schedule = { every = \"1h\" }\ncatch_up = \"all\"";
    let daemon = replica(dir.path(), schedule, &clock).await;
    assert_eq!(pass(&[&daemon], &clock, "2026-03-01T02:30:00Z").await, 2);
    assert!(daemon.set_paused("dormant", true, "test").await.unwrap());
    drop(daemon);
    let daemon = replica(dir.path(), schedule, &clock).await;
    assert!(daemon.is_paused("dormant").await.unwrap());
    assert_eq!(daemon.next_run_at("dormant").await.unwrap(), None);
    assert_eq!(pass(&[&daemon], &clock, "2026-03-01T05:30:00Z").await, 0);
    let asked = requests::RunRequest { audience: "dormant".into(), ..Default::default() };
    daemon.request_run(&asked, "test").await.unwrap();
    assert_eq!(finish_all(&daemon).await, 1, "what is asked for goes all the same");
    assert!(daemon.set_paused("dormant", false, "test").await.unwrap());
    assert_eq!(daemon.next_run_at("dormant").await.unwrap(), Some(at("2026-03-01T06:00:00Z")));
    assert_eq!(pass(&[&daemon], &clock, "2026-03-01T06:30:00Z").await, 1);
}

#[tokio::test]
async fn times_missed_while_down_are_made_up_for_as_asked() {
    for (policy, expected) in [("none", 0), ("latest", 1), ("all", 5)] {
        let dir = tempfile::tempdir().unwrap();
        let clock = VirtualClock::new(at("2026-03-01T00:30:00Z"));
        let schedule = format!("schedule = {{ every = \"1h\" }}\ncatch_up = \"{policy}\"");
        let before = replica(dir.path(), &schedule, &clock).await;
        before.schedule_step().await.unwrap();
        drop(before);
        clock.set(at("2026-03-01T05:30:00Z"));
        let after = replica(dir.path(), &schedule, &clock).await;
        after.schedule_step().await.unwrap();
        let jobs = runs(&after).await;
        assert_eq!(jobs.len(), expected, "{policy}");
        if policy == "all" {
            let mut as_of = Vec::new();
            for job in &jobs {
                as_of.push(after.store().run(job.run_id.as_ref().unwrap()).await.unwrap().unwrap().as_of);
            }
            as_of.sort();
            assert_eq!((as_of[0], as_of[4]), (at("2026-03-01T01:00:00Z"), at("2026-03-01T05:00:00Z")));
        }
    }
}

#[tokio::test]
async fn runs_that_wait_do_not_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let clock = VirtualClock::new(at("2026-03-01T00:30:00Z"));
    let daemon = replica(dir.path(), "schedule = { every = \"1h\" }", &clock).await;
    for _ in 0..300 {
        daemon.schedule_step().await.unwrap();
        clock.advance(Duration::from_secs(60));
    }
    let jobs = runs(&daemon).await;
    assert_eq!(jobs.iter().filter(|job| job.state == JobState::Queued).count(), 1);
}

#[tokio::test]
async fn a_rewritten_schedule_is_planned_anew_and_a_removed_one_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let clock = VirtualClock::new(at("2026-03-01T00:30:00Z"));
    let daemon = replica(dir.path(), "schedule = { cron = \"0 5 * * 1\" }", &clock).await;
    daemon.schedule_step().await.unwrap();
    std::fs::write(dir.path().join("reveil.toml"), CONFIG.replace("SCHEDULE", "schedule = { every = \"1h\" }"))
        .unwrap();
    // The environment of the test stands in for the file beside the config.
    std::fs::write(dir.path().join(".env"), "TOKEN=t\n").unwrap();
    let changes = daemon.reload("test").await.unwrap().changed;
    let keys: Vec<&str> = changes.iter().map(|change| change.key.as_str()).collect();
    assert_eq!(keys, ["audience.dormant.schedule.cron", "audience.dormant.schedule.every"]);
    assert_eq!(pass(&[&daemon], &clock, "2026-03-01T03:30:00Z").await, 3);
    std::fs::write(dir.path().join("reveil.toml"), CONFIG.replace("SCHEDULE", "")).unwrap();
    daemon.reload("test").await.unwrap();
    assert_eq!(pass(&[&daemon], &clock, "2026-03-01T06:30:00Z").await, 0);
    assert_eq!(daemon.store().schedule_state("sync:dormant").await.unwrap(), None);
}

#[tokio::test]
async fn a_wrong_configuration_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let clock = VirtualClock::new(at("2026-03-01T00:30:00Z"));
    let daemon = replica(dir.path(), "schedule = { every = \"1h\" }", &clock).await;
    let wrong = CONFIG.replace("SCHEDULE", "schedule = { cron = \"61 5 * * *\" }");
    std::fs::write(dir.path().join("reveil.toml"), wrong).unwrap();
    let error = daemon.reload("test").await.unwrap_err();
    assert!(error.to_string().contains("audience.dormant.schedule"), "{error}");
    assert_eq!(daemon.loaded().config.audience["dormant"].schedule.as_ref().unwrap().cron, None);
    assert_eq!(pass(&[&daemon], &clock, "2026-03-01T02:30:00Z").await, 2);
    let elsewhere = CONFIG.replace("SCHEDULE", "").replacen("[warehouse]", "state_dir = \"other\"\n[warehouse]", 1);
    std::fs::write(dir.path().join("reveil.toml"), elsewhere).unwrap();
    let error = daemon.reload("test").await.unwrap_err();
    assert!(error.to_string().contains("state_dir changes only with a restart"), "{error}");
}

#[tokio::test]
async fn the_figures_of_destinations_and_erasures_come_from_the_shared_state() {
    use crate::store::forget::ForgetRequest;
    use crate::store::health::DestinationHealth;
    let dir = tempfile::tempdir().unwrap();
    let clock = VirtualClock::new(at("2026-03-01T00:30:00Z"));
    let one = replica(dir.path(), "", &clock).await;
    let other = replica(dir.path(), "", &clock).await;
    let figures = async || {
        other.measure().await.unwrap();
        let text = other.metrics().render(crate::telemetry::exposition::Format::Text);
        let mine =
            |line: &&str| line.starts_with("reveil_destination_up{") || line.starts_with("reveil_forget_overdue");
        text.lines().filter(mine).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(figures().await, ["reveil_forget_overdue_requests 0"]);
    for (destination, state) in [("meta", "down"), ("gone", "ok")] {
        let detail = serde_json::json!({});
        let (destination, state) = (destination.to_owned(), state.to_owned());
        let health = DestinationHealth { destination, state, checked_at: clock.now(), detail };
        one.store().save_destination_health(&health).await.unwrap();
    }
    let request = ForgetRequest {
        id: "f1".into(),
        reference: None,
        requested_at: clock.now(),
        requested_by: "dpo".into(),
        state: "removing".into(),
        detail: serde_json::json!({}),
    };
    one.store().add_forget_request(&request, &[], &[]).await.unwrap();
    clock.advance(Duration::from_secs(23 * 3600));
    assert_eq!(figures().await, ["reveil_destination_up{destination=\"meta\"} 0", "reveil_forget_overdue_requests 0"]);
    clock.advance(Duration::from_secs(2 * 3600));
    assert_eq!(figures().await[1], "reveil_forget_overdue_requests 1");
    one.store().set_forget_state("f1", "erased", &serde_json::json!({})).await.unwrap();
    assert_eq!(figures().await[1], "reveil_forget_overdue_requests 0");
}

#[tokio::test]
async fn readiness_tells_a_scheduler_that_stands_still() {
    let dir = tempfile::tempdir().unwrap();
    let clock = VirtualClock::new(at("2026-03-01T00:30:00Z"));
    let daemon = replica(dir.path(), "", &clock).await;
    daemon.schedule_step().await.unwrap();
    assert!(daemon.readiness().await.ready);
    clock.advance(Duration::from_secs(61));
    let readiness = daemon.readiness().await;
    let wrong: Vec<&str> = readiness.conditions.iter().filter(|found| !found.ok).map(|found| found.name).collect();
    assert_eq!((readiness.ready, wrong), (false, vec!["scheduler"]));
}
