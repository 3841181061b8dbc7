//! The PostgreSQL server that holds the state goes away and comes back.

use std::time::{Duration, Instant};

use crate::daemon::{Daemon, PATIENCE, Setup};
use crate::postgres::TestPostgres;
use crate::shop::{Plan, Shop};

const SERVER: &str = "
[server]
listen = '127.0.0.1:{port}'
[scheduler]
poll_secs = 1
lease_secs = 3
retry_first_delay = '1s'
max_attempts = 100
[state]
";

#[test]
fn a_lost_database_is_waited_for() {
    let Some(mut server) = TestPostgres::start() else { return };
    let mut shop = Shop::open(&Plan { customers: 2_000, ..Plan::default() });
    let config = format!("{SERVER}url = '{}'\n", server.uri());
    let mut daemon = Daemon::start(&shop, &Setup { config, ..Setup::default() });
    daemon.sync_exactly(&shop, "before");
    for (round, delay_ms) in [0, 60].into_iter().enumerate() {
        let when = format!("round {round}");
        shop.live(20);
        let run = daemon.ask_for_sync(&shop);
        std::thread::sleep(Duration::from_millis(delay_ms));
        server.stop();
        away(&mut daemon, &when);
        server.start_again();
        daemon.ready();
        let ended = daemon.ended(&run);
        assert_eq!(ended["state"], "done", "{when}: {ended}\n{}", daemon.log());
        shop.assert_exact(&when);
        daemon.assert_whole(&when);
        daemon.sync_exactly(&shop, &when);
    }
}

/// Requests that need the state are answered, soon, with what is wrong; those that do not are served.
fn away(daemon: &mut Daemon, when: &str) {
    let started = Instant::now();
    while daemon.get("/readyz").status != 503 {
        assert!(started.elapsed() < PATIENCE, "{when}: still ready without its database");
        std::thread::sleep(Duration::from_millis(50));
    }
    daemon.get("/healthz").expect(200);
    let asked = Instant::now();
    let answer = daemon.get("/v1/runs").expect(503);
    assert!(asked.elapsed() < Duration::from_secs(12), "{when}: {:?}", asked.elapsed());
    assert!(answer.json()["hint"].is_string(), "{when}: {}", answer.body);
    daemon.assert_alive(when);
}
