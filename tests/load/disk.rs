//! No space left where the state is kept.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::daemon::{Daemon, PATIENCE, Setup, command};
use crate::shop::{Plan, Shop};

const SERVER: &str = "
[server]
listen = '127.0.0.1:{port}'
[scheduler]
poll_secs = 1
max_attempts = 1
";

/// A small file system over the shop's state, in a mount name space of its own: nobody else sees it, and it is gone with
/// the process that holds it.
struct SmallDisk {
    holder: Child,
    state: PathBuf,
}

impl SmallDisk {
    /// `None`, with a note, where mounting is not allowed.
    fn open(shop: &Shop, size: &str) -> Option<Self> {
        let state = shop.path().join("state");
        std::fs::create_dir_all(&state).expect("the directory is ours");
        let script = format!(
            "mount -t tmpfs -o mode=0700,size={size} tmpfs '{0}' && touch '{0}/mounted' && exec sleep 600",
            state.display()
        );
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare is part of every Linux");
        let disk = PathBuf::from(format!("/proc/{}/root{}", holder.id(), state.display()));
        let started = Instant::now();
        while !disk.join("mounted").exists() {
            if holder.try_wait().expect("the child is ours").is_some() {
                eprintln!("note: mounting is not allowed here; the test of a full disk is left out");
                return None;
            }
            assert!(started.elapsed() < PATIENCE, "the mount does not come");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self { holder, state: disk })
    }

    /// What starts a program where the small disk is seen.
    fn inside(&self, shop: &Shop) -> Vec<String> {
        let target = self.holder.id().to_string();
        let folder = format!("--wd={}", shop.path().display());
        ["nsenter", "--target", &target, "--mount", &folder].map(str::to_owned).into()
    }

    /// Takes all space but so much.
    fn fill(&self, leave_bytes: u64) {
        let filler = self.state.join("filler");
        let _ = std::fs::remove_file(&filler);
        let block = vec![0; 4096];
        let mut file = std::fs::File::create(&filler).expect("an empty file fits");
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
        let length = file.metadata().expect("it is open").len();
        file.set_len(length.saturating_sub(leave_bytes)).expect("a file can be shortened");
    }
    fn empty(&self) {
        std::fs::remove_file(self.state.join("filler")).expect("it was written");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[test]
fn a_full_disk_stops_runs_and_nothing_else() {
    let mut shop = Shop::open(&Plan { customers: 2_000, ..Plan::default() });
    let Some(disk) = SmallDisk::open(&shop, "24m") else { return };
    let setup = Setup { config: SERVER.to_owned(), before: disk.inside(&shop), ..Setup::default() };
    let mut daemon = Daemon::start(&shop, &setup);
    daemon.sync_exactly(&shop, "before");
    // Nothing at all, then enough to begin something and not to end it.
    for leave_bytes in [0, 16 << 10, 128 << 10, 512 << 10] {
        shop.live(20);
        disk.fill(leave_bytes);
        let when = format!("{leave_bytes} bytes left");
        let answer = daemon.try_ask_for_sync(&shop);
        if answer.status == 202 {
            let run = answer.json()["id"].as_str().expect("a run has an id").to_owned();
            settled(&daemon, &run);
        } else {
            assert!((500..600).contains(&answer.status), "{when}: {}\n{}", answer.head, answer.body);
            assert!(answer.json()["hint"].is_string(), "{when}: {}", answer.body);
        }
        daemon.get("/healthz").expect(200);
        daemon.get("/v1/runs").expect(200);
        daemon.assert_alive(&when);
        disk.empty();
        daemon.sync_exactly(&shop, &when);
        daemon.assert_whole(&when);
    }
    disk.fill(0);
    daemon.get("/v1/audiences").expect(200);
    disk.empty();
    daemon.restart(&shop, &setup);
    daemon.assert_whole("after a restart");
    let status = command(&shop, &setup, &["status", "--json"]).output().expect("the binary was built with the tests");
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
}

/// Waits until it has ended, or a while: its end may not fit on the disk either.
fn settled(daemon: &Daemon, run: &str) {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(5) {
        let state = daemon.get(&format!("/v1/runs/{run}")).expect(200).json()["state"].clone();
        if state == "failed" || state == "done" || state == "partial" {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
