//! What systemd is told, as it would hear it: datagrams at `NOTIFY_SOCKET`.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::binary;
use crate::serve::{Served, config, queue_run, shop};
use crate::shop::Shop;

const PATIENCE: Duration = Duration::from_secs(60);
const WATCHDOG: Duration = Duration::from_millis(1_200);

/// The listening end; each datagram is lines of `NAME=value`.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Self {
        Self(UnixDatagram::bind(path).expect("the directory is ours"))
    }

    /// The next datagram, if one comes in time.
    fn hear(&self, within: Duration) -> Option<String> {
        self.0.set_read_timeout(Some(within.max(Duration::from_millis(1)))).expect("not zero");
        let mut buffer = [0; 4096];
        let length = self.0.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).expect("text"))
    }

    /// Everything up to the datagram that says so, which is the last.
    #[track_caller]
    fn until(&self, line: &str, served: &Served) -> Vec<String> {
        let started = Instant::now();
        let mut heard = Vec::new();
        while let Some(datagram) = self.hear(PATIENCE.saturating_sub(started.elapsed())) {
            let last = says(&datagram, line);
            heard.push(datagram);
            if last {
                return heard;
            }
        }
        panic!("never heard {line}, but {heard:?}; the log:\n{}", served.log());
    }

    /// What is said in this time.
    fn during(&self, time: Duration) -> Vec<String> {
        let started = Instant::now();
        std::iter::from_fn(|| self.hear(time.saturating_sub(started.elapsed()))).collect()
    }
}

fn says(datagram: &str, line: &str) -> bool {
    datagram.lines().any(|said| said == line || line.ends_with('=') && said.starts_with(line))
}

fn count(heard: &[String], line: &str) -> usize {
    heard.iter().filter(|datagram| says(datagram, line)).count()
}

/// As systemd starts it: the watchdog's variables name the process itself.
fn unit(shop: &Shop, socket: &Path, watchdog_pid: &str) -> Command {
    let script = format!("WATCHDOG_PID={watchdog_pid} exec \"$0\" serve --log info");
    let mut command = binary::command_of("sh", shop.path(), &["-c", &script, binary::PROGRAM]);
    command.env("NOTIFY_SOCKET", socket).env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
    command
}

fn now_usec() -> i128 {
    match NotifyState::monotonic_usec_now() {
        Ok(NotifyState::MonotonicUsec(now)) => now,
        other => panic!("no steady clock: {other:?}"),
    }
}

#[test]
fn systemd_hears_of_start_life_reload_and_end() {
    let shop = shop(300, 20, "", "");
    let socket = shop.path().join("notify");
    let manager = Manager::at(&socket);
    let mut served = Served::start_as(&shop, unit(&shop, &socket, "$$"));
    let start = manager.until("READY=1", &served);
    assert_eq!(count(&start, "RELOADING=1") + count(&start, "STOPPING=1"), 0, "{start:?}");
    assert!(served.get("/readyz").starts_with("HTTP/1.1 200"), "who says ready answers");
    let fed = count(&manager.during(WATCHDOG * 3), "WATCHDOG=1");
    assert!((5..=12).contains(&fed), "three times in each {WATCHDOG:?}, but {fed} in three of them");

    shop.world().set_faults("meta.users.add:timeout@0.5".parse().unwrap());
    queue_run(&shop);
    manager.until("STATUS=1 run under way", &served);
    shop.world().set_faults(reveil_sandbox::Faults::NONE);
    manager.until("STATUS=no run under way", &served);

    for good in [true, false] {
        let schedule = if good { "schedule = { every = \"1h\" }" } else { "schedule = { cron = \"61 * * * *\" }" };
        shop.write_config(&config(&shop, 20, schedule, ""));
        let before = now_usec();
        served.signal("-HUP");
        let heard = manager.until("RELOADING=1", &served);
        let told = heard.last().unwrap().lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        let told: i128 = told.expect("in the same datagram").parse().unwrap();
        assert!((before..=now_usec()).contains(&told), "{told} is not between {before} and now");
        assert_eq!(count(&manager.until("READY=1", &served), "STOPPING=1"), 0);
        assert_eq!(served.log().contains("the old one stays"), !good, "{}", served.log());
    }

    served.signal("-TERM");
    let heard = manager.until("STOPPING=1", &served);
    assert!(says(heard.last().unwrap(), "STATUS=stopping; no run under way"), "{heard:?}");
    served.until("it ends", || !served.lives());
    assert_eq!(served.child.wait().unwrap().code(), Some(0), "{}", served.log());
    assert_eq!(count(&manager.during(Duration::ZERO), "READY=1"), 0);
}

/// A run that ends its batch takes longer than the watchdog waits, and systemd may count on in the meantime.
#[test]
fn the_watchdog_is_fed_until_the_end() {
    let shop = shop(300, 20, "", "");
    shop.write_config(&config(&shop, 20, "", "").replace("shutdown_secs = 10", "shutdown_secs = 3"));
    let socket = shop.path().join("notify");
    let manager = Manager::at(&socket);
    let mut served = Served::start_as(&shop, unit(&shop, &socket, "$$"));
    manager.until("READY=1", &served);
    shop.world().set_faults("meta.users.add:timeout,google.members:timeout".parse().unwrap());
    queue_run(&shop);
    served.until("it sends", || shop.world().requests(reveil_sandbox::Platform::Meta, "users.add") > 0);
    served.signal("-TERM");
    manager.until("STOPPING=1", &served);
    let stopped = Instant::now();
    let mut longest = Duration::ZERO;
    let mut last = Instant::now();
    while served.lives() {
        if manager.hear(Duration::from_millis(100)).is_some_and(|datagram| says(&datagram, "WATCHDOG=1")) {
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
    }
    assert_eq!(served.child.wait().unwrap().code(), Some(0), "{}", served.log());
    assert!(stopped.elapsed() > WATCHDOG, "it had a batch to end: {:?}", stopped.elapsed());
    assert!(longest < WATCHDOG, "silent for {longest:?}");
}

#[test]
fn the_watchdog_hears_nothing_from_a_scheduler_that_stands_still() {
    let shop = shop(100, 20, "schedule = { every = \"1s\" }", "ready_secs = 1");
    let socket = shop.path().join("notify");
    let manager = Manager::at(&socket);
    let served = Served::start_as(&shop, unit(&shop, &socket, "$$"));
    manager.until("WATCHDOG=1", &served);
    // Whoever writes waits, as long as this writer does not end.
    let state = std::fs::read_dir(shop.path().join("state")).unwrap().map(|entry| entry.unwrap().path());
    let state = state.into_iter().find(|path| path.extension().is_some_and(|end| end == "db")).expect("a database");
    let writer = rusqlite::Connection::open(state).unwrap();
    writer.busy_timeout(PATIENCE).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    served.until("it says so", || served.log().contains("stands still"));
    manager.during(Duration::ZERO);
    assert_eq!(count(&manager.during(WATCHDOG), "WATCHDOG=1"), 0);
    writer.execute_batch("ROLLBACK").unwrap();
    manager.until("WATCHDOG=1", &served);
}

#[test]
fn the_watchdog_of_another_process_is_none_of_its_business() {
    let shop = shop(100, 20, "", "");
    let socket = shop.path().join("notify");
    let manager = Manager::at(&socket);
    let served = Served::start_as(&shop, unit(&shop, &socket, "1"));
    manager.until("READY=1", &served);
    assert_eq!(count(&manager.during(WATCHDOG), "WATCHDOG=1"), 0);
}

#[test]
fn who_cannot_start_is_never_ready() {
    let shop = shop(100, 20, "", "");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = config(&shop, 20, "", "").replace("127.0.0.1:0", &taken.local_addr().unwrap().to_string());
    shop.write_config(&text);
    let socket = shop.path().join("notify");
    let manager = Manager::at(&socket);
    let output = binary::finish(unit(&shop, &socket, "$$"));
    assert!(output.code.is_some_and(|code| code != 0), "{}", output.stderr);
    assert_eq!(manager.during(Duration::ZERO), Vec::<String>::new(), "{}", output.stderr);
}
