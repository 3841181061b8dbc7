//! A small shop: customers in memory and in a SQLite file, its config, and the simulated platforms.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Duration, NaiveDate, Utc};
use reveil_sandbox::{AudienceInfo, Delays, Platform, Sandbox, Settings, World};
use rusqlite::{Connection, params};
use tempfile::TempDir;

use crate::binary::{self, Output};
use crate::expected::{Digests, Expected, expected};

pub const INACTIVE_DAYS: i64 = 180;
/// The audience's key: without an `experiment` it is the holdout's salt.
pub const SALT: &str = "dormant";
pub const HOLDOUT_BPS: u64 = 1_000;
pub const SECRETS: [&str; 3] = ["sandbox-meta-token", "sandbox-google-client-secret", "sandbox-google-refresh-token"];

/// A customer as the test knows it: clean values. The warehouse gets them in the layouts people type.
#[derive(Debug, Clone)]
pub struct Customer {
    pub id: String,
    pub first_name: String,
    pub last_name: String,
    /// First and second address.
    pub emails: [Option<String>; 2],
    /// `0639980000`
    pub phone: Option<String>,
    /// `GRANTED`, `DENIED` or nothing.
    pub consent: &'static str,
    pub unsubscribed: bool,
    pub objection: bool,
    pub erasure: bool,
    pub hard_bounce: bool,
    pub orders: Vec<DateTime<Utc>>,
}

/// Draws that follow a seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Draws(pub u64);

impl Draws {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// 0 to `below`, the latter excluded.
    pub fn below(&mut self, below: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(below)) >> 64) as u64
    }
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What differs between tests.
#[derive(Debug, Clone)]
pub struct Plan {
    pub customers: usize,
    pub seed: u64,
    pub batch_members: u32,
    pub as_of: NaiveDate,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            customers: 1_000,
            seed: 1,
            batch_members: 100,
            as_of: NaiveDate::from_ymd_opt(2026, 1, 1).expect("a date"),
        }
    }
}

/// See the module. Everything is gone when it is dropped.
pub struct Shop {
    pub dir: TempDir,
    pub sandbox: Sandbox,
    pub customers: Vec<Customer>,
    pub as_of: DateTime<Utc>,
    pub draws: Draws,
    made: u64,
}

impl Shop {
    pub fn open(plan: &Plan) -> Self {
        Self::open_with(plan, Settings { delays: Delays::none(), ..Settings::default() })
    }

    /// With these platforms, which take their time unless told otherwise.
    pub fn open_with(plan: &Plan, settings: Settings) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let settings = Settings { seed: plan.seed, ..settings };
        let sandbox =
            runtime.block_on(Sandbox::start(([127, 0, 0, 1], 0).into(), settings)).expect("loopback has a free port");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut shop = Self {
            dir,
            sandbox,
            customers: Vec::new(),
            as_of: plan.as_of.and_hms_opt(0, 0, 0).expect("midnight").and_utc(),
            draws: Draws(plan.seed),
            made: 0,
        };
        for _ in 0..plan.customers {
            shop.add_customer();
        }
        shop.share_identifiers();
        shop.write_config(&shop.config(plan.batch_members));
        let environment = ["SANDBOX_META_TOKEN", "SANDBOX_GOOGLE_CLIENT_SECRET", "SANDBOX_GOOGLE_REFRESH_TOKEN"];
        let lines: String = environment.iter().zip(SECRETS).map(|(name, value)| format!("{name}={value}\n")).collect();
        std::fs::write(shop.path().join(".env"), lines).expect("the directory is ours");
        shop.write_warehouse();
        shop
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
    pub fn warehouse(&self) -> PathBuf {
        self.path().join("shop.db")
    }
    pub fn world(&self) -> World {
        self.sandbox.world()
    }

    /// The config, before a test changes it.
    pub fn config(&self, batch_members: u32) -> String {
        include_str!("reveil.toml")
            .replace("{warehouse}", &self.warehouse().display().to_string())
            .replace("{meta}", &self.sandbox.base_url("meta"))
            .replace("{google}", &self.sandbox.base_url("google"))
            .replace("{token}", &self.sandbox.token_url())
            .replace("{batch_members}", &batch_members.to_string())
    }
    /// Sections for state and ledgers that several machines share; each machine has a `state_dir` of its own.
    pub fn shared_sections(&self, postgres: &str) -> String {
        self.sections_sharing(postgres, &format!("file://{}", self.path().join("shared").display()))
    }
    /// The same with the ledgers elsewhere.
    pub fn sections_sharing(&self, postgres: &str, store: &str) -> String {
        format!("[state]\nurl = \"{postgres}\"\n\n[ledger]\nstore = \"{store}\"\n\n")
    }
    pub fn write_config(&self, text: &str) {
        std::fs::write(self.path().join("reveil.toml"), text).expect("the directory is ours");
    }

    /// `reveil <arguments>` beside the config.
    pub fn reveil(&self, arguments: &[&str]) -> Output {
        binary::run(self.path(), arguments)
    }
    /// `reveil sync` as of the shop's day, waiting for verdicts, as JSON.
    pub fn sync(&self, more: &[&str]) -> Output {
        self.reveil(&self.sync_arguments(more).iter().map(String::as_str).collect::<Vec<_>>())
    }
    pub fn sync_arguments(&self, more: &[&str]) -> Vec<String> {
        let as_of = self.as_of.format("%Y-%m-%d").to_string();
        let fixed = ["sync", "--wait", "--json", "--as-of", &as_of];
        fixed.iter().chain(more).map(|argument| (*argument).to_owned()).collect()
    }

    pub fn expected(&self) -> Expected {
        expected(&self.customers, self.as_of)
    }

    /// The e-mails and phones a platform holds of the shop's audience; `None` before there is one. There is never a
    /// second one. Meta also gets an external id per member, made with a secret of the installation: it says nothing
    /// about a person and cannot be computed here.
    #[track_caller]
    pub fn held(&self, platform: Platform) -> Option<Digests> {
        self.held_as(platform, "")
    }
    /// Of the audience whose name begins so.
    #[track_caller]
    pub fn held_as(&self, platform: Platform, name: &str) -> Option<Digests> {
        let world = self.world();
        let is_it = |audience: &AudienceInfo| audience.platform == platform && audience.name.starts_with(name);
        let audiences: Vec<_> = world.audiences().into_iter().filter(is_it).collect();
        assert!(audiences.len() <= 1, "{platform:?} has {} audiences", audiences.len());
        let audience = audiences.first()?;
        let held = world.held(platform, &audience.id).expect("the audience is there");
        Some(held.into_iter().filter(|digest| !digest.starts_with("extern_id:")).collect())
    }

    /// Both platforms hold the target exactly.
    #[track_caller]
    pub fn assert_exact(&self, when: &str) {
        let expected = self.expected();
        for (platform, wanted) in [(Platform::Meta, &expected.meta), (Platform::Google, &expected.google)] {
            let held = self.held(platform).unwrap_or_default();
            let (missing, extra) = (wanted.difference(&held).count(), held.difference(wanted).count());
            assert_eq!((missing, extra), (0, 0), "{when}: {platform:?} misses {missing}, has {extra} too many");
            assert!(held.len() > 100, "{when}: {platform:?} holds only {}", held.len());
        }
    }

    fn new_email(&mut self) -> String {
        self.made += 1;
        let n = self.made;
        match n % 5 {
            0 => format!("p.e.r.{n}@gmail.example"),
            1 => format!("quidam{n}+shop@gmail.example"),
            2 => format!("quidam.{n}@example.org"),
            _ => format!("quidam-{n}@example.com"),
        }
    }

    /// Somebody new, mostly with an order at some time of the last two and a half years.
    pub fn add_customer(&mut self) {
        let number = self.customers.len();
        let mut emails = [None, None];
        if !self.draws.percent(8) {
            emails[0] = Some(self.new_email());
        }
        if self.draws.percent(10) {
            emails[1] = Some(self.new_email());
        }
        // The range that France keeps free for fiction.
        let phone = self.draws.percent(55).then(|| format!("063998{:04}", number % 10_000));
        let consent = match self.draws.below(100) {
            0..7 => "DENIED",
            7..14 => "",
            _ => "GRANTED",
        };
        let orders = match self.draws.below(100) {
            // Nobody knows whether they are asleep.
            0..3 => Vec::new(),
            // Beyond retention.
            3..5 => vec![self.as_of - Duration::days(1_200)],
            _ => vec![self.moment(1, 900)],
        };
        let customer = Customer {
            // Of different lengths: the smallest id is the smallest text, not number.
            id: format!("K{}", number + 1),
            first_name: format!("Vorname{number}"),
            last_name: format!("Nachname{number}"),
            emails,
            phone,
            consent,
            unsubscribed: self.draws.percent(5),
            objection: self.draws.percent(1),
            erasure: self.draws.percent(1),
            hard_bounce: self.draws.percent(3),
            orders,
        };
        self.customers.push(customer);
    }

    /// Noon of some day so many days ago.
    pub fn moment(&mut self, from_days: u64, to_days: u64) -> DateTime<Utc> {
        let days = from_days + self.draws.below(to_days - from_days);
        self.as_of - Duration::days(days as i64) + Duration::hours(12)
    }

    /// Couples with one phone, people with two accounts, and a placeholder.
    fn share_identifiers(&mut self) {
        let count = self.customers.len();
        for _ in 0..count / 25 {
            let (a, b) = (self.any(), self.any());
            self.customers[b].phone = self.customers[a].phone.clone();
        }
        for _ in 0..count / 50 {
            let (a, b) = (self.any(), self.any());
            self.customers[b].emails[0] = self.customers[a].emails[0].clone();
        }
        for _ in 0..8 {
            let index = self.any();
            self.customers[index].emails[1] = Some("nobody@example.net".to_owned());
        }
    }

    pub fn any(&mut self) -> usize {
        self.draws.below(self.customers.len() as u64) as usize
    }

    /// Moves the shop's history so that `now` is its day.
    pub fn move_to(&mut self, now: DateTime<Utc>) {
        let by = now - self.as_of;
        self.customers.iter_mut().flat_map(|customer| &mut customer.orders).for_each(|at| *at += by);
        self.as_of = now;
    }

    /// Some time passes in the warehouse, and what does with it.
    pub fn live(&mut self, days: i64) {
        self.as_of += Duration::days(days);
        self.change(days);
        self.write_warehouse();
    }

    /// Orders of the last days, new addresses, refusals, new customers, exchanged phones.
    pub fn change(&mut self, days: i64) {
        let count = self.customers.len();
        for _ in 0..count / 8 {
            let index = self.any();
            let at = self.moment(1, days as u64);
            self.customers[index].orders.push(at);
        }
        for _ in 0..count / 50 {
            let index = self.any();
            let email = self.new_email();
            self.customers[index].emails[0] = Some(email);
        }
        for _ in 0..count / 100 {
            let (a, b) = (self.any(), self.any());
            let phone = self.customers[a].phone.take();
            self.customers[b].phone = phone;
            let index = self.any();
            self.customers[index].phone = None;
        }
        for _ in 0..count / 200 {
            let index = self.any();
            self.customers[index].erasure = true;
            let index = self.any();
            self.customers[index].objection = true;
            let index = self.any();
            self.customers[index].consent = "DENIED";
            let index = self.any();
            self.customers[index].consent = "GRANTED";
            self.add_customer();
        }
    }

    /// Writes everybody anew.
    pub fn write_warehouse(&self) {
        let mut connection = Connection::open(self.warehouse()).expect("the directory is ours");
        write(&mut connection, &self.customers).expect("the warehouse takes the shop");
    }
    /// Puts another warehouse in the place of the one that is being read.
    pub fn swap_warehouse(&self) {
        let new = self.path().join("next.db");
        let mut connection = Connection::open(&new).expect("the directory is ours");
        write(&mut connection, &self.customers).expect("the warehouse takes the shop");
        drop(connection);
        std::fs::rename(new, self.warehouse()).expect("the directory is ours");
    }
}

fn write(connection: &mut Connection, customers: &[Customer]) -> rusqlite::Result<()> {
    connection.execute_batch("PRAGMA synchronous = OFF;")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(
        "DROP TABLE IF EXISTS customers; DROP TABLE IF EXISTS orders;
         CREATE TABLE customers (customer_id TEXT PRIMARY KEY, first_name TEXT, last_name TEXT, email TEXT, email_2 TEXT,
             phone TEXT, consent_ads TEXT, unsubscribed INTEGER, objection INTEGER, erasure INTEGER, hard_bounce INTEGER);
         CREATE TABLE orders (customer_id TEXT, ordered_at TEXT, amount REAL);",
    )?;
    {
        let mut customer_row = transaction.prepare("INSERT INTO customers VALUES (?,?,?,?,?,?,?,?,?,?,?)")?;
        let mut order_row = transaction.prepare("INSERT INTO orders VALUES (?,?,?)")?;
        for (number, customer) in customers.iter().enumerate() {
            customer_row.execute(params![
                customer.id,
                customer.first_name,
                customer.last_name,
                customer.emails[0].as_deref().map(|email| typed_email(email, number)),
                customer.emails[1].as_deref().map(|email| typed_email(email, number + 1)),
                customer.phone.as_deref().map(|phone| typed_phone(phone, number)),
                customer.consent,
                customer.unsubscribed,
                customer.objection,
                customer.erasure,
                customer.hard_bounce,
            ])?;
            for at in &customer.orders {
                order_row.execute(params![customer.id, at.format("%Y-%m-%dT%H:%M:%SZ").to_string(), 30.0])?;
            }
        }
    }
    transaction.commit()
}

/// As people type addresses.
fn typed_email(email: &str, number: usize) -> String {
    match number % 4 {
        0 => format!(" {} ", email.to_uppercase()),
        1 => email.replace('q', "Q"),
        _ => email.to_owned(),
    }
}

/// As people type French numbers.
pub fn typed_phone(national: &str, number: usize) -> String {
    let pairs: Vec<&str> = (0..5).map(|pair| &national[pair * 2..pair * 2 + 2]).collect();
    match number % 4 {
        0 => pairs.join(" "),
        1 => format!("+33 {} {}", &national[1..2], pairs[1..].join(" ")),
        2 => format!("0033{}", &national[1..]),
        _ => national.to_owned(),
    }
}
