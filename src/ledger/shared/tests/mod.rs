//! Shared ledgers, their writers dying or racing between any two operations of the store.
//!
//! Most of it runs in memory and, in builds for a cloud, on that cloud's bucket in `REVEIL_TEST_BUCKETS`; `tests/buckets`
//! has some.

#[macro_use]
mod ground;
pub(crate) mod cloud;
mod copies;
mod crash;
mod moved;
mod objects;
mod race;

use std::path::Path;
use std::sync::Arc;

use reveil_sdk::{Batch, Consent, MemberBuf, Operation};

use self::cloud::{Client, Cloud};
use crate::ledger::error::Result;
use crate::ledger::store::Ledger;
use crate::ledger::tests::{Person, at, key, records};

/// A replica: its own way to the store and its own directory.
struct Replica {
    client: Client,
    dir: tempfile::TempDir,
}

impl Replica {
    fn new(client: Client) -> Self {
        Self { client, dir: tempfile::tempdir().unwrap() }
    }
    fn of(cloud: &Arc<Cloud>) -> Self {
        Self::new(cloud.client())
    }
    fn open(&self) -> Result<Ledger> {
        open(&self.client, self.dir.path())
    }
    fn copies(&self) -> std::path::PathBuf {
        self.dir.path().join("copies")
    }
}

fn open(client: &Client, dir: &Path) -> Result<Ledger> {
    client.shared().ledger("audience", "destination")?.hold(&dir.join("copies"), &dir.join("own"))
}

fn peek(client: &Client, dir: &Path, temp: &Path) -> Result<Ledger> {
    client.shared().ledger("audience", "destination")?.peek(&dir.join("copies"), &dir.join("own"), temp)
}

/// The records and how many batches wait for a verdict, as a replica sees them that has never been here.
fn state(cloud: &Arc<Cloud>) -> (Vec<Vec<u8>>, usize) {
    let replica = Replica::of(cloud);
    let ledger = replica.open().unwrap();
    (records(&ledger), ledger.pending().len())
}

/// Sends one person of this number, and gets the answer.
fn add(ledger: &mut Ledger, number: u8) -> Result<()> {
    let batch = one(Operation::Add, number);
    let seq = ledger.intend(&batch)?;
    ledger.accept(seq, &[], None, at(1))
}

fn one(operation: Operation, number: u8) -> Batch {
    let mut buffer = MemberBuf::new();
    Person::new(&[number], &[]).encode(number, &mut buffer);
    let mut batch = Batch::new(operation, Consent::GRANTED);
    batch.push(buffer.last().unwrap());
    batch
}

/// Numbers below 256 of those held for sure.
fn held(ledger: &Ledger) -> Vec<u8> {
    let mut numbers = Vec::new();
    ledger
        .each_record(|record| {
            if record.ledger_bits() == 0 {
                numbers.push(record.key().0[1])
            }
        })
        .unwrap();
    assert!(numbers.iter().all(|number| key(*number).0[1] == *number));
    numbers.sort_unstable();
    numbers
}
