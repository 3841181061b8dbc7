//! The warehouse of the demonstration: one SQLite file with customers, orders and engagement.

use std::path::Path;

use anyhow::Context as _;
use chrono::{DateTime, NaiveDate, Utc};
use reveil_synth::{Contact, Histories, People, customer_id};
use rusqlite::{Connection, Transaction, params};
use serde::Serialize;

/// What was built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Built {
    /// Rows of customers; some people have two.
    pub rows: u64,
    pub orders: u64,
    pub engagement: u64,
}

const SCHEMA: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE customers (
    customer_id TEXT PRIMARY KEY, first_name TEXT, last_name TEXT, email TEXT, phone TEXT, country TEXT, postcode TEXT,
    consent_ads TEXT, unsubscribed INTEGER, hard_bounce INTEGER, complaint INTEGER, objection INTEGER, erasure INTEGER,
    us_opt_out INTEGER, campaigns_sent INTEGER, days_since_open INTEGER, email_2 TEXT
) WITHOUT ROWID;
CREATE TABLE orders (order_id TEXT, customer_id TEXT, ordered_at TEXT, amount_minor INTEGER, channel TEXT);
CREATE TABLE engagement (customer_id TEXT, kind TEXT, at TEXT);
";

/// Makes `shop.db` in `dir`: everybody, and what happened before `as_of`. The histories end on `end`.
///
/// # Errors
/// The file is there already or cannot be written.
pub fn create(
    dir: &Path,
    people: &People,
    histories: &Histories,
    end: NaiveDate,
    as_of: DateTime<Utc>,
) -> anyhow::Result<Built> {
    let path = dir.join("shop.db");
    anyhow::ensure!(!path.exists(), "{} is there already; choose another directory", path.display());
    let mut connection = Connection::open(&path).with_context(|| format!("{} cannot be made", path.display()))?;
    connection.execute_batch(SCHEMA)?;
    let transaction = connection.transaction()?;
    let mut built = Built { rows: insert_customers(&transaction, people)?, ..Built::default() };
    let happened = Happened { from: None, until: as_of };
    (built.orders, built.engagement) =
        insert_events(&transaction, histories, people.persons, people.seed, end, happened)?;
    transaction.commit()?;
    Ok(built)
}

/// Adds what happened from `from` on: the week between the two syncs.
///
/// # Errors
/// The file cannot be written.
pub fn append(
    dir: &Path,
    histories: &Histories,
    persons: u64,
    seed: u64,
    end: NaiveDate,
    from: DateTime<Utc>,
) -> anyhow::Result<Built> {
    let mut connection = Connection::open(dir.join("shop.db"))?;
    let transaction = connection.transaction()?;
    let happened = Happened { from: Some(from), until: DateTime::<Utc>::MAX_UTC };
    let (orders, engagement) = insert_events(&transaction, histories, persons, seed, end, happened)?;
    transaction.commit()?;
    Ok(Built { rows: 0, orders, engagement })
}

fn insert_customers(transaction: &Transaction<'_>, people: &People) -> anyhow::Result<u64> {
    let mut insert = transaction
        .prepare("INSERT INTO customers VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17)")?;
    let mut rows = 0;
    for contact in people.contacts(0..people.persons) {
        let Contact { customer_id, first_name, last_name, email, phone, postcode, email_2, .. } = &contact;
        insert.execute(params![
            customer_id,
            first_name,
            last_name,
            email,
            phone,
            contact.country.code(),
            postcode,
            contact.consent_ads.as_str(),
            contact.unsubscribed,
            contact.hard_bounce,
            contact.complaint,
            contact.objection,
            contact.erasure,
            contact.us_opt_out,
            contact.campaigns_sent,
            contact.days_since_open,
            email_2,
        ])?;
        rows += 1;
    }
    Ok(rows)
}

#[derive(Clone, Copy)]
struct Happened {
    from: Option<DateTime<Utc>>,
    until: DateTime<Utc>,
}

impl Happened {
    fn holds(self, at: DateTime<Utc>) -> bool {
        at < self.until && self.from.is_none_or(|from| at >= from)
    }
}

fn insert_events(
    transaction: &Transaction<'_>,
    histories: &Histories,
    persons: u64,
    seed: u64,
    end: NaiveDate,
    happened: Happened,
) -> anyhow::Result<(u64, u64)> {
    let stamp = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut insert = transaction.prepare("INSERT INTO orders VALUES (?1,?2,?3,?4,?5)")?;
    let mut orders = 0;
    for order in histories.orders(0..persons, seed, end).filter(|order| happened.holds(order.ts)) {
        insert.execute(params![
            order.order_id,
            order.customer_id,
            stamp(order.ts),
            order.amount_minor,
            order.channel.as_str()
        ])?;
        orders += 1;
    }
    let mut insert = transaction.prepare("INSERT INTO engagement VALUES (?1,?2,?3)")?;
    let mut engagement = 0;
    for event in histories.engagement(0..persons, seed, end).filter(|event| happened.holds(event.ts)) {
        insert.execute(params![customer_id(event.person), event.kind.as_str(), stamp(event.ts)])?;
        engagement += 1;
    }
    Ok((orders, engagement))
}
