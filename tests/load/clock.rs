//! The machine's clock is put forward and back under a running daemon.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::daemon::{Daemon, Setup};
use crate::shop::{Plan, Shop};

/// Where Debian puts it.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
const SERVER: &str = "
[server]
listen = '127.0.0.1:{port}'
[scheduler]
poll_secs = 1
lease_secs = 10
retry_first_delay = '1s'
";
const STEP: Duration = Duration::from_millis(1_500);

#[test]
fn the_clock_may_jump_both_ways() {
    if !Path::new(LIBRARY).exists() {
        eprintln!("note: faketime is not installed; the test of a clock that jumps is left out");
        return;
    }
    let mut shop = Shop::open(&Plan { customers: 800, ..Plan::default() });
    let clock = shop.path().join("clock");
    put(&clock, "+0");
    let environment = [
        ("LD_PRELOAD", LIBRARY),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().expect("temporary folders have plain names")),
        ("FAKETIME_NO_CACHE", "1"),
        // Only what a person or NTP changes: the monotonic clock goes on.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let setup = Setup { config: SERVER.to_owned(), environment, ..Setup::default() };
    let mut daemon = Daemon::start(&shop, &setup);
    daemon.sync_exactly(&shop, "before");
    for jump in ["+3d", "+3d", "-5d", "+40d", "+0", "-400d"] {
        shop.live(5);
        let when = format!("clock at {jump}");
        let began = daemon.ask_for_sync(&shop);
        put(&clock, jump);
        let run = daemon.ended(&began);
        assert_eq!(run["state"], "done", "{when}: {run}\n{}", daemon.log());
        std::thread::sleep(STEP);
        daemon.ready();
        shop.assert_exact(&when);
        daemon.sync_exactly(&shop, &when);
        daemon.assert_whole(&when);
    }
    let syncs = daemon.get("/v1/runs?limit=200").expect(200).json()["items"].as_array().map_or(0, Vec::len);
    assert!(syncs < 40, "the jumps made {syncs} runs out of 13");
    put(&clock, "+0");
    daemon.restart(&shop, &setup);
    daemon.assert_whole("after a restart");
}

/// In one step, so that nobody reads half of it.
fn put(clock: &Path, offset: &str) {
    let new: PathBuf = clock.with_extension("new");
    std::fs::write(&new, offset).and_then(|()| std::fs::rename(&new, clock)).expect("the directory is ours");
}
