//! The first sync of a large audience to two simulated platforms on loopback, as a user runs it: the real binary, the
//! platforms in another process. Prints time and peak memory of `reveil sync` against the working budget.
//!
//! `REVEIL_BENCH_MEMBERS` sets the size, 1,000,000 unless told otherwise.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reveil_synth::People;
use rusqlite::{Connection, params};

const BUDGET_SECS: f64 = 20.0;
const BUDGET_MIB: f64 = 300.0;

fn main() {
    let members: u64 =
        std::env::var("REVEIL_BENCH_MEMBERS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let dir = tempfile::tempdir().expect("a temporary directory");
    println!("first sync: making {members} inactive customers");
    make_shop(&dir.path().join("shop.db"), members);
    let (mut sandbox, port) = start_sandbox();
    write_config(dir.path(), port);
    for (name, what) in [
        ("plan", "read, judge, prepare, compare"),
        ("sync", "the same, and send to two platforms"),
        ("sync", "again, nothing changed"),
    ] {
        let (seconds, mib) = measure(dir.path(), name);
        let rate = members as f64 / seconds;
        println!("reveil {name:<5} {seconds:>7.2} s  {rate:>10.0} customers/s  peak {mib:>5.0} MiB   ({what})");
    }
    println!("budget for the first sync of 1,000,000: {BUDGET_SECS} s, {BUDGET_MIB} MiB");
    let _ = sandbox.kill();
    let _ = sandbox.wait();
}

fn make_shop(path: &Path, members: u64) {
    let mut connection = Connection::open(path).expect("the shop opens");
    connection
        .execute_batch(
            "PRAGMA synchronous = OFF;
             CREATE TABLE customers (id TEXT PRIMARY KEY, email TEXT, phone TEXT, country TEXT, consent TEXT) WITHOUT ROWID;
             CREATE TABLE orders (customer_id TEXT, at TEXT);",
        )
        .expect("the schema is valid");
    let transaction = connection.transaction().expect("a transaction");
    {
        let mut customer =
            transaction.prepare("INSERT OR IGNORE INTO customers VALUES (?1,?2,?3,?4,'GRANTED')").expect("valid");
        let mut order = transaction.prepare("INSERT INTO orders VALUES (?1,'2025-01-15T10:00:00Z')").expect("valid");
        let people = People { persons: members, seed: 1 };
        for contact in people.contacts(0..members) {
            let country = contact.country.code();
            customer.execute(params![contact.customer_id, contact.email, contact.phone, country]).expect("inserts");
            order.execute(params![contact.customer_id]).expect("inserts");
        }
    }
    transaction.commit().expect("commits");
}

fn start_sandbox() -> (Child, u16) {
    let mut sandbox = Command::new(env!("CARGO_BIN_EXE_reveil"))
        .args(["sandbox", "--port", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the sandbox starts");
    let mut lines = BufReader::new(sandbox.stdout.take().expect("piped")).lines();
    let port = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| {
            line.split_once("http://127.0.0.1:").and_then(|(_, rest)| rest.split_once('/')?.0.parse().ok())
        })
        .expect("the sandbox says where it listens");
    std::thread::spawn(move || lines.for_each(drop));
    (sandbox, port)
}

fn write_config(dir: &Path, port: u16) {
    let config = format!(
        r#"
[warehouse]
uri = "file:{shop}"
synthetic = true
[warehouse.customers]
table = "customers"
id = "id"
emails = ["email"]
phones = ["phone"]
country = "country"
consent_ads = "consent"
[warehouse.events]
table = "orders"
customer_id = "customer_id"
at = "at"
kind = "'order'"
[audience.all]
label = "Everybody"
inactive = {{ no_event_days = {{ kinds = ["order"], days = 180 }} }}
destinations = ["meta", "google"]
[destination.meta]
connector = "meta"
account = "act_1"
base_url = "http://127.0.0.1:{port}/meta"
credentials = {{ env = "META" }}
[destination.google]
connector = "google"
account = "2"
customer_match_terms = "accepted"
client_id = "sandbox-google-client"
base_url = "http://127.0.0.1:{port}/google"
token_url = "http://127.0.0.1:{port}/google/token"
credentials = {{ refresh_token = {{ env = "REFRESH" }}, client_secret = {{ env = "SECRET" }} }}
poll_first_secs = 0
"#,
        shop = dir.join("shop.db").display()
    );
    let mut file = std::fs::File::create(dir.join("reveil.toml")).expect("the config is written");
    file.write_all(config.as_bytes()).expect("the config is written");
}

/// Seconds and peak resident MiB of one command.
fn measure(dir: &Path, command: &str) -> (f64, f64) {
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_reveil"))
        .current_dir(dir)
        .args([command, "--as-of", "2026-01-01", "--json"])
        .env("META", "sandbox-meta-token")
        .env("REFRESH", "sandbox-google-refresh-token")
        .env("SECRET", "sandbox-google-client-secret")
        .stdout(Stdio::null())
        .spawn()
        .expect("reveil starts");
    let mut peak_kib = 0.0_f64;
    let status = loop {
        if let Ok(text) = std::fs::read_to_string(format!("/proc/{}/status", child.id()))
            && let Some(line) = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))
            && let Ok(kib) = line.trim().trim_end_matches(" kB").parse::<f64>()
        {
            peak_kib = peak_kib.max(kib);
        }
        match child.try_wait().expect("the child can be waited for") {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    assert!(status.success(), "reveil {command} failed: {status}");
    (started.elapsed().as_secs_f64(), peak_kib / 1024.0)
}
