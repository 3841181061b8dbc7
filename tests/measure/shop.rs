//! A small shop of made-up people: a warehouse, a sandbox, an engine on a clock that jumps.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use reveil::clock::VirtualClock;
use reveil::config::{self, Sources};
use reveil::ledger::Ledgers;
use reveil::store::Store;
use reveil::sync::{Engine, Selection, Silent, SyncOptions, SyncReport, Unstoppable};
use reveil_sandbox::{Sandbox, Settings, Time};
use reveil_sdk::Clock as _;
use rusqlite::{Connection, params};

struct Shared(VirtualClock);

impl Time for Shared {
    fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }
    fn set(&self, at: DateTime<Utc>) {
        self.0.set(at);
    }
}

/// One customer; `household` shares a phone.
pub struct Person {
    pub id: String,
    pub household: Option<u32>,
}

pub struct Shop {
    pub dir: tempfile::TempDir,
    pub sandbox: Sandbox,
    pub clock: VirtualClock,
    pub engine: Engine,
}

pub fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

const WAREHOUSE: &str = r#"
state_dir = "state"
[warehouse]
driver = "sqlite"
uri = "file:{db}"
synthetic = true
[warehouse.customers]
table = "customers"
id = "id"
emails = ["email"]
phones = ["phone"]
country = "'FR'"
consent_ads = "consent"
[[warehouse.events]]
table = "events"
customer_id = "customer"
at = "at"
kind = "kind"
value = "amount"
currency = "'EUR'"
[destination.meta]
connector = "meta"
account = "act_1000000001"
credentials = { env = "SANDBOX_META_TOKEN" }
"#;

impl Shop {
    /// Everybody bought once, 300 days before 2026-01-01, for 20.00. `rest` is the rest of the configuration.
    pub async fn open(people: &[Person], rest: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = VirtualClock::new(at("2026-01-01T05:00:00Z"));
        let db = dir.path().join("shop.db");
        let mut connection = Connection::open(&db).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE customers (id TEXT, email TEXT, phone TEXT, consent TEXT);
                 CREATE TABLE events (customer TEXT, at TEXT, kind TEXT, amount REAL);",
            )
            .unwrap();
        let transaction = connection.transaction().unwrap();
        for person in people {
            let phone = person.household.map(|household| format!("+336{:08}", 12_000_000 + household));
            let email = format!("p{}@mail.example", person.id);
            transaction
                .execute("INSERT INTO customers VALUES (?1, ?2, ?3, 'granted')", params![person.id, email, phone])
                .unwrap();
            transaction
                .execute("INSERT INTO events VALUES (?1, '2025-03-07T12:00:00Z', 'order', 20.0)", params![person.id])
                .unwrap();
        }
        transaction.commit().unwrap();
        let time = Arc::new(Shared(clock.clone()));
        let settings = Settings { time, ..Settings::default() };
        let sandbox = Sandbox::start(([127, 0, 0, 1], 0).into(), settings).await.unwrap();
        let engine = engine(dir.path(), &db, &sandbox, &clock, rest).await;
        Self { dir, sandbox, clock, engine }
    }

    pub fn warehouse(&self) -> Connection {
        Connection::open(self.dir.path().join("shop.db")).unwrap()
    }

    pub fn event(&self, customer: &str, days: f64, kind: &str, amount: f64) {
        add(&self.warehouse(), customer, days, kind, amount);
    }

    pub async fn sync(&self, audience: &str) -> SyncReport {
        let now = self.clock.now();
        let selection = Selection { audience: audience.into(), as_of: now, destinations: Vec::new() };
        let options = SyncOptions { wait: true, ..SyncOptions::default() };
        let report = self.engine.sync(&selection, &options, &Unstoppable, &Silent).await.unwrap();
        for destination in &report.destinations {
            assert_eq!(destination.error, None);
            assert!(destination.warnings.iter().all(|warning| !warning.contains("recorded")));
        }
        report
    }

    pub fn pass_days(&self, days: i64) {
        self.clock.set(self.clock.now() + Duration::days(days));
    }

    /// The configuration as a file for the command line.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("reveil.toml")
    }
}

/// An event so many days after 2026-01-01.
pub fn add(connection: &Connection, customer: &str, days: f64, kind: &str, amount: f64) {
    let when = at("2026-01-01T00:00:00Z") + Duration::seconds((days * 86_400.0) as i64);
    let when = when.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    connection.execute("INSERT INTO events VALUES (?1, ?2, ?3, ?4)", params![customer, when, kind, amount]).unwrap();
}

async fn engine(dir: &Path, db: &Path, sandbox: &Sandbox, clock: &VirtualClock, rest: &str) -> Engine {
    let path = dir.join("reveil.toml");
    std::fs::write(&path, WAREHOUSE.replace("{db}", &db.display().to_string()) + rest).unwrap();
    let environment = HashMap::from([("SANDBOX_META_TOKEN".to_owned(), "sandbox-meta-token".to_owned())]);
    let overrides = vec![("destination.meta.base_url".to_owned(), sandbox.base_url("meta"))];
    let sources = Sources { environment, overrides };
    let config = config::load(&path, &sources).unwrap_or_else(|faults| panic!("{faults}"));
    let store = Store::open(&config.state_dir).await.unwrap();
    let environment = sources.environment;
    let ledgers = Ledgers::on_this_machine(&config.state_dir);
    let transport = reveil::transport::Shared::default();
    Engine { config, base_dir: dir.to_owned(), environment, clock: Arc::new(clock.clone()), store, ledgers, transport }
}
