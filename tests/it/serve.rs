//! `reveil serve` as a process: schedules run by themselves, and what ends the process, changes its configuration or
//! takes its database or disk away leaves audiences exact and runs accounted for.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reveil_sandbox::{Faults, Platform};
use serde_json::Value;

use crate::binary;
use crate::shop::{Plan, Shop};

const PATIENCE: Duration = Duration::from_secs(90);

/// A daemon under test; killed when dropped.
pub struct Served {
    pub child: Child,
    log: PathBuf,
}

impl Served {
    pub fn start(shop: &Shop) -> Self {
        Self::start_as(shop, binary::command(shop.path(), &["serve", "--log", "info"]))
    }

    /// By a prepared command.
    pub fn start_as(shop: &Shop, mut command: Command) -> Self {
        let log = shop.path().join(format!("serve-{}.log", std::fs::read_dir(shop.path()).unwrap().count()));
        command.stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        let served = Self { child: command.spawn().expect("the binary was built with the tests"), log };
        served.until("it serves", || {
            assert!(served.lives(), "it does not start; the log:\n{}", served.log());
            served.log().contains("Serving")
        });
        served
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn signal(&self, signal: &str) {
        let sent = std::process::Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()));
    }

    pub fn lives(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    }

    /// The exit code; `None` after a signal.
    pub fn end(&mut self, signal: &str) -> Option<i32> {
        self.signal(signal);
        self.until("it ends", || !self.lives());
        self.child.wait().unwrap().code()
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        let log = self.log();
        let after = log.split_once("addr=").expect("the log tells where it listens").1;
        after.split_whitespace().next().expect("an address").to_owned()
    }

    /// The whole answer to a GET.
    pub fn get(&self, path: &str) -> String {
        let address = self.address();
        let mut stream = TcpStream::connect(&address).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").expect("it listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer in UTF-8");
        answer
    }

    #[track_caller]
    pub fn until(&self, what: &str, done: impl Fn() -> bool) {
        let started = Instant::now();
        while !done() {
            assert!(started.elapsed() < PATIENCE, "waited in vain until {what}; the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A shop of today, since a schedule runs as of now.
pub fn shop(customers: usize, batch_members: u32, schedule: &str, rest: &str) -> Shop {
    let as_of = chrono::Utc::now().date_naive();
    let shop = Shop::open(&Plan { customers, batch_members, as_of, ..Plan::default() });
    shop.write_config(&config(&shop, batch_members, schedule, rest));
    shop
}

pub fn config(shop: &Shop, batch_members: u32, schedule: &str, rest: &str) -> String {
    let service = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nopen_on_loopback = true\n[scheduler]\nlease_secs = 6\npoll_secs = 1\nshutdown_secs = 10\n\
         retry_first_delay = \"1s\"\n{rest}\n"
    );
    let config = shop.config(batch_members).replace("holdout = \"10%\"", &format!("holdout = \"10%\"\n{schedule}"));
    config + &service
}

pub fn runs(shop: &Shop) -> Vec<Value> {
    let output = shop.reveil(&["runs", "--json"]);
    match output.code {
        Some(0) => output.json()["runs"].as_array().expect("a list").clone(),
        // The database of a test may be away for a while.
        _ => Vec::new(),
    }
}

fn ended(shop: &Shop) -> usize {
    runs(shop).iter().filter(|run| run["state"] == "done").count()
}

/// Both platforms hold what the latest run that ended was to send.
#[track_caller]
pub fn assert_exact(shop: &mut Shop, when: &str) {
    let runs = runs(shop);
    let latest = runs.iter().find(|run| run["state"] == "done").expect("a run that ended");
    shop.as_of = latest["as_of"].as_str().expect("an instant").parse().expect("an instant");
    shop.assert_exact(when);
}

fn sent(shop: &Shop) -> u64 {
    shop.world().requests(Platform::Meta, "users.add")
}

#[test]
fn a_schedule_runs_by_itself_and_sigterm_ends_it() {
    let mut shop = shop(1_000, 100, "schedule = { every = \"1s\" }", "");
    let mut served = Served::start(&shop);
    served.until("two runs ended", || ended(&shop) >= 2);
    assert_eq!(served.end("-TERM"), Some(0), "{}", served.log());
    let runs = runs(&shop);
    assert!(
        runs.iter().all(|run| run["requested_by"] == "schedule" && run["attempt"] == 1 || run["state"] == "queued")
    );
    assert_exact(&mut shop, "after scheduled runs");
    assert!(served.log().contains("Stopped") && !served.log().contains("ERROR"), "{}", served.log());
}

/// Many small requests, some of which take two seconds: a run that lasts.
fn long_run() -> Shop {
    let shop = shop(1_000, 4, "", "");
    shop.world().set_faults("meta.users.add:timeout@0.2,google.members:timeout@0.1".parse().unwrap());
    shop
}

pub fn queue_run(shop: &Shop) -> String {
    shop.reveil(&["sync", "--queue"]).expect(0).stdout.trim().to_owned()
}

#[test]
fn sigterm_in_the_middle_of_a_run_and_the_next_process_ends_the_same_run() {
    let mut shop = long_run();
    let mut served = Served::start(&shop);
    let id = queue_run(&shop);
    served.until("it sends", || sent(&shop) > 10);
    assert_eq!(served.end("-TERM"), Some(0), "{}", served.log());
    let left = runs(&shop);
    assert_eq!((&left[0]["id"], &left[0]["state"]), (&id.as_str().into(), &"queued".into()), "{}", served.log());
    let before = sent(&shop);
    assert!(before > 10);
    shop.world().set_faults(Faults::NONE);
    let served = Served::start(&shop);
    served.until("the run ended", || ended(&shop) == 1);
    let done = runs(&shop);
    assert_eq!((done.len(), &done[0]["id"]), (1, &id.as_str().into()), "the same run, not another");
    assert_exact(&mut shop, "after the second process");
    for part in done[0]["destinations"].as_array().expect("a list") {
        let counts = &part["counts"];
        assert_eq!(counts["sent"], counts["add"], "what the first had sent was not sent again, and counts: {part}");
    }
}

#[test]
fn killed_in_the_middle_of_a_run_the_next_process_takes_it_up_at_once() {
    let mut shop = long_run();
    let mut served = Served::start(&shop);
    let id = queue_run(&shop);
    served.until("it sends", || sent(&shop) > 10);
    assert_eq!(served.end("-KILL"), None);
    assert_eq!(runs(&shop)[0]["state"], "running");
    shop.world().set_faults(Faults::NONE);
    let served = Served::start(&shop);
    served.until("the run ended", || ended(&shop) == 1);
    let done = runs(&shop);
    assert_eq!((done.len(), &done[0]["id"], &done[0]["attempt"]), (1, &id.as_str().into(), &2.into()));
    assert!(served.log().contains("taken up again"), "{}", served.log());
    assert_exact(&mut shop, "after the kill");
}

#[test]
fn told_twice_it_ends_at_once() {
    let shop = long_run();
    let mut served = Served::start(&shop);
    queue_run(&shop);
    served.until("it sends", || sent(&shop) > 3);
    shop.world().set_faults("meta.users:timeout,google.members:timeout".parse().unwrap());
    served.signal("-TERM");
    served.until("it is stopping", || served.log().contains("Stopping"));
    let told = Instant::now();
    assert_eq!(served.end("-INT"), Some(0));
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
    assert!(served.log().contains("Told twice"), "{}", served.log());
}

#[test]
fn a_new_configuration_is_taken_whole_or_not_at_all() {
    let shop = shop(300, 100, "", "");
    let served = Served::start(&shop);
    shop.write_config(&config(&shop, 100, "schedule = { cron = \"61 * * * *\" }", ""));
    served.signal("-HUP");
    served.until("it refuses", || served.log().contains("the old one stays"));
    assert!(served.log().contains("audience.dormant.schedule"), "{}", served.log());
    assert!(runs(&shop).is_empty());
    let good = config(&shop, 100, "schedule = { every = \"1s\" }", "[guards]\nmax_growth_ratio = 9.0")
        .replace("SANDBOX_META_TOKEN", "SANDBOX_META_TOKEN_2");
    shop.write_config(&good);
    let secrets = std::fs::read_to_string(shop.path().join(".env")).unwrap();
    std::fs::write(shop.path().join(".env"), secrets + "SANDBOX_META_TOKEN_2=sandbox-meta-token\n").unwrap();
    served.signal("-HUP");
    served.until("it reloads", || served.log().contains("Reloaded the configuration"));
    served.until("the new schedule runs", || ended(&shop) >= 1);
    let log = served.log();
    assert!(log.contains("guards.max_growth_ratio") && log.contains("audience.dormant.schedule"), "{log}");
    assert!(!log.contains("sandbox-meta-token"), "{log}");
}

#[test]
fn the_command_line_and_the_daemon_share_one_queue() {
    let mut shop = long_run();
    let served = Served::start(&shop);
    let id = queue_run(&shop);
    served.until("it sends", || sent(&shop) > 3);
    let beside = shop.reveil(&["sync"]);
    assert_eq!(beside.code, Some(75), "{}", beside.stderr);
    shop.reveil(&["runs", "cancel", &id]).expect(0);
    served.until("it is cancelled", || runs(&shop).iter().any(|run| run["id"] == id && run["state"] == "cancelled"));
    assert_eq!(shop.reveil(&["runs", "cancel", &id]).code, Some(1), "it has ended");
    shop.world().set_faults(Faults::NONE);
    shop.reveil(&["sync", "--wait"]).expect(0);
    assert_exact(&mut shop, "after the command line's run");
    shop.reveil(&["audience", "pause", "dormant"]).expect(0);
    let again = queue_run(&shop);
    served.until("what is asked for goes all the same", || {
        runs(&shop).iter().any(|run| run["id"] == again && run["state"] == "done")
    });
}

#[test]
fn a_destination_that_is_not_there_stops_neither_the_start_nor_the_others() {
    let shop = shop(600, 100, "schedule = { every = \"1s\" }", "");
    let text = config(&shop, 100, "schedule = { every = \"1s\" }", "max_attempts = 1");
    let meta = shop.sandbox.base_url("meta");
    shop.write_config(&text.replace(&format!("base_url = \"{meta}\""), "base_url = \"http://127.0.0.1:9\""));
    let served = Served::start(&shop);
    served.until("a run ended as partial", || runs(&shop).iter().any(|run| run["state"] == "partial"));
    let wanted = shop.expected().google.len();
    let held = shop.held(Platform::Google).unwrap_or_default().len();
    assert!(held * 10 > wanted * 9, "Google got its members: {held} of {wanted}");
}

#[test]
fn a_full_disk_is_waited_out() {
    let mut shop = shop(1_000, 50, "schedule = { every = \"1s\" }", "");
    let state = shop.path().join("tiny");
    std::fs::create_dir(&state).unwrap();
    let mount =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"]).arg(&state).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: mounting a small file system needs more rights than this user has");
        return;
    }
    let _unmount = Unmount(state.clone());
    let text = config(&shop, 50, "schedule = { every = \"1s\" }", "max_attempts = 100");
    shop.write_config(&text.replace("state_dir = \"state\"", "state_dir = \"tiny\""));
    let mut served = Served::start(&shop);
    served.until("a run ended", || ended(&shop) >= 1);
    let filler = state.join("filler");
    let mut size_kib = 3_072;
    while std::fs::write(&filler, vec![1; size_kib << 10]).is_err() {
        size_kib -= 4;
    }
    served.until("it says so", || {
        let log = served.log();
        ["No space left", "disk is full", "disk I/O error"].iter().any(|words| log.contains(words))
    });
    std::thread::sleep(Duration::from_secs(3));
    std::fs::remove_file(&filler).unwrap();
    let before = ended(&shop);
    served.until("it goes on", || ended(&shop) > before);
    assert!(!served.log().contains("panicked"), "{}", served.log());
    assert_eq!(served.end("-TERM"), Some(0), "{}", served.log());
    assert_exact(&mut shop, "with room again");
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_lost_database_is_waited_out() {
    let Some(mut database) = crate::postgres::TestPostgres::start() else { return };
    let mut shop = shop(1_000, 4, "schedule = { every = \"1s\" }", "");
    let state = format!("max_attempts = 100\n[state]\nurl = \"{}\"", database.uri());
    shop.write_config(&config(&shop, 4, "schedule = { every = \"1s\" }", &state));
    let mut served = Served::start(&shop);
    served.until("it sends", || sent(&shop) > 3);
    database.stop();
    served.until("it notices", || served.log().contains("ERROR") || served.log().contains("WARN"));
    // Longer than the lease.
    std::thread::sleep(Duration::from_secs(8));
    database.start_again();
    served.until("it goes on", || ended(&shop) >= 1);
    assert!(!served.log().contains("panicked"), "{}", served.log());
    assert_eq!(served.end("-TERM"), Some(0), "{}", served.log());
    assert_exact(&mut shop, "with the database again");
}
