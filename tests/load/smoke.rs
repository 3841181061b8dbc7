//! Many callers while two syncs run: everybody is answered. What it costs is measured by `tests/load/run`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::daemon::{Daemon, Setup};
use crate::shop::{Plan, Shop};

const SERVER: &str = "
[server]
listen = '127.0.0.1:{port}'
rate_limit = { per_second = 100000, burst = 100000 }

[audience.again]
label = 'Dormant 90 days'
inactive = { no_event_days = { kinds = ['order'], days = 90 } }
destinations = ['meta', 'google']
";
const CALLERS: usize = 8;

#[test]
fn callers_are_answered_while_two_syncs_run() {
    let shop = Shop::open(&Plan { customers: 3_000, ..Plan::default() });
    let daemon = Daemon::start(&shop, &Setup { config: SERVER.to_owned(), ..Setup::default() });
    let as_of = json!({ "as_of": shop.as_of.to_rfc3339_opts(chrono::SecondsFormat::Secs, true) });
    let runs: Vec<String> = ["dormant", "again"]
        .map(|audience| daemon.post(&format!("/v1/audiences/{audience}/sync"), &as_of).expect(202).json())
        .map(|run| run["id"].as_str().expect("a run has an id").to_owned())
        .into();
    let (answered, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (daemon, answered, ended) = (&daemon, &answered, &ended);
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    match caller % 3 {
                        0 => daemon.get("/v1/runs?limit=20").expect(200),
                        1 => daemon.get("/v1/audiences/dormant").expect(200),
                        _ => daemon.post("/v1/roi/project", &json!({ "inactives": 100_000 })).expect(200),
                    };
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for run in &runs {
            assert_eq!(daemon.ended(run)["state"], "done", "{}", daemon.log());
        }
        // Past the syncs too, should those be quick.
        std::thread::sleep(Duration::from_secs(1).saturating_sub(started.elapsed()));
        ended.store(true, Ordering::Relaxed);
    });
    let answered = answered.into_inner();
    println!("{answered} requests in {:.1} s while two syncs ran (debug build)", started.elapsed().as_secs_f64());
    assert!(answered > CALLERS as u64 * 2, "only {answered} requests were answered");
}
