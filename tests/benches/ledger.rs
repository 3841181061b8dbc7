//! What a batch costs to write down before and after it is sent: on this machine alone, and in a folder that replicas
//! share. In a bucket, add the time of two small requests.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::Utc;
use divan::Bencher;
use divan::counter::ItemsCount;
use reveil::clock::MachineClock;
use reveil::config::LedgerConfig;
use reveil::ledger::Ledgers;
use reveil_sdk::{Batch, Clock, Consent, IdentifierKind, MemberBuf, MemberKey, Operation, ValueRef};

fn main() {
    divan::main();
}

fn batch(members: u32) -> Batch {
    let mut batch = Batch::new(Operation::Add, Consent::GRANTED);
    let mut buffer = MemberBuf::new();
    for number in 0..members {
        let mut key = [0; 12];
        key[..4].copy_from_slice(&number.to_be_bytes());
        buffer.clear();
        buffer.begin(MemberKey(key), 0);
        buffer.push(IdentifierKind::Email, ValueRef::Digest(&[number as u8; 32]));
        buffer.push(IdentifierKind::Phone, ValueRef::Digest(&[!number as u8; 32]));
        batch.push(buffer.last().expect("just encoded"));
    }
    batch
}

fn write_down(bencher: Bencher<'_, '_>, members: u32, shared: bool) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = format!("file://{}", dir.path().join("shared").display());
    let store = shared.then(|| url.parse().expect("a plain path"));
    let config = LedgerConfig { store, ..LedgerConfig::default() };
    let clock: Arc<dyn Clock> = Arc::new(MachineClock);
    let ledgers = Ledgers::open(&config, dir.path(), &HashMap::new(), &clock).expect("a writable directory");
    let mut ledger = ledgers.hold("audience", "destination").expect("a writable directory");
    let batch = batch(members);
    bencher.counter(ItemsCount::new(members)).bench_local(|| {
        let seq = ledger.intend(&batch).expect("room on the disk");
        ledger.accept(seq, &[], None, Utc::now()).expect("room on the disk");
    });
}

#[divan::bench(args = [1, 500, 10_000], sample_count = 30, sample_size = 1)]
fn this_machine(bencher: Bencher<'_, '_>, members: u32) {
    write_down(bencher, members, false);
}

#[divan::bench(args = [1, 500, 10_000], sample_count = 30, sample_size = 1)]
fn shared_folder(bencher: Bencher<'_, '_>, members: u32) {
    write_down(bencher, members, true);
}
