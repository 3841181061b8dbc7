//! A refresh of a large audience with 1 % churn, against the working budget.
//!
//! `REVEIL_BENCH_MEMBERS` sets the members (default 10,000,000), `REVEIL_BENCH_DIR` where the ledger lies (default:
//! the system's temporary directory; at 10^8 members it needs some 40 GB). Prints figures and asserts only counts.

use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::Utc;
use reveil::identity::{IdentityBuilder, Role};
use reveil::ledger::{DiffOptions, Ledger, Plan, PlanCounts, Target, TargetRow, TargetWriter, diff};
use reveil_sdk::{IdentifierKind, MemberBuf, MemberKey, Operation, ValueRef};

const BATCH_MEMBERS: usize = 10_000;

/// Cheap noise in place of hashes: SplitMix64.
fn noise(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn digest(seed: u64) -> [u8; 32] {
    let mut digest = [0; 32];
    for (part, bytes) in (0u64..).zip(digest.as_chunks_mut::<8>().0) {
        *bytes = noise(seed.wrapping_mul(4) + part).to_le_bytes();
    }
    digest
}

fn key(customer: u64) -> MemberKey {
    MemberKey(*digest(customer ^ 1 << 60).first_chunk().expect("32 bytes"))
}

fn encode(customer: u64, out: &mut MemberBuf) {
    out.clear();
    out.begin(key(customer), 0);
    out.push(IdentifierKind::Email, ValueRef::Digest(&digest(2 * customer)));
    out.push(IdentifierKind::Phone, ValueRef::Digest(&digest(2 * customer + 1)));
}

fn target(dir: &Path, customers: std::ops::Range<u64>) -> Target {
    let mut writer = TargetWriter::create(dir, customers.end - customers.start).expect("a writable directory");
    let mut buffer = MemberBuf::new();
    for (index, customer) in (0u32..).zip(customers) {
        encode(customer, &mut buffer);
        let member = buffer.last().expect("just encoded");
        let row = TargetRow { index, group: 0, email_slots: 1, phone_slots: 1, member };
        writer.push(&row).expect("room on the disk");
    }
    writer.finish().expect("room on the disk")
}

fn apply(ledger: &mut Ledger, plan: &Plan) {
    ledger.forget(plan).expect("room on the disk");
    for operation in [Operation::Remove, Operation::Add] {
        for batch in plan.batches(operation, BATCH_MEMBERS, None) {
            let seq = ledger.intend(&batch.expect("just written")).expect("room on the disk");
            ledger.accept(seq, &[], None, Utc::now()).expect("room on the disk");
        }
    }
}

/// Peak resident memory of this process so far, in MiB.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN) / 1024.0
}

/// Processor time of all threads so far, in seconds: what remains comparable on a busy machine.
fn processor_secs() -> f64 {
    const TICKS_PER_SEC: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The fields after the parenthesised name; user and system time are fields 14 and 15 of the whole line.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SEC
}

struct Watch {
    members: u64,
}

impl Watch {
    fn time<T>(&self, what: &str, work: impl FnOnce() -> T) -> T {
        let (start, before) = (Instant::now(), processor_secs());
        let result = work();
        let (seconds, processor) = (start.elapsed().as_secs_f64(), processor_secs() - before);
        let rate = self.members as f64 / seconds / 1e6;
        let peak = peak_mib();
        println!(
            "{what:<36} {seconds:>8.2} s, processor {processor:>7.2} s, {rate:>7.2} M members/s, peak {peak:>6.1} MiB"
        );
        result
    }
}

fn main() {
    let members: u64 =
        std::env::var("REVEIL_BENCH_MEMBERS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000_000);
    let place = std::env::var_os("REVEIL_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = place.join(format!("reveil-bench-{}", std::process::id()));
    let churn = (members / 100).max(1);
    let watch = Watch { members };
    println!("{members} members, {churn} leave and {churn} come");

    let mut ledger = Ledger::open(&dir).expect("a writable directory");
    let keep_all = |_: TargetRow<'_>, _: &mut MemberBuf| true;
    let options = DiffOptions { today: 2_400, renew_after_days: Some(500), ..DiffOptions::default() };
    let first = watch.time("first: write the target", || target(ledger.temp_dir(), 0..members));
    let plan = watch.time("first: difference", || diff(&ledger, &first, keep_all, options).expect("sound files"));
    assert_eq!(plan.counts().add, members);
    drop(first);
    watch.time("first: journal in batches of 10,000", || apply(&mut ledger, &plan));
    drop(plan);
    watch.time("first: fold", || ledger.fold().expect("room on the disk"));
    let bytes = ledger.stats().expect("sound files").bytes;
    println!("ledger: {bytes} bytes, {:.2} per member (budget 80)", bytes as f64 / members as f64);
    drop(ledger);

    let start = Instant::now();
    let mut ledger = watch.time("refresh: open", || Ledger::open(&dir).expect("sound files"));
    let second = watch.time("refresh: write the target", || target(ledger.temp_dir(), churn..members + churn));
    let plan = watch.time("refresh: difference", || diff(&ledger, &second, keep_all, options).expect("sound files"));
    let counts = plan.counts();
    assert_eq!(counts, PlanCounts { add: churn, remove: churn, keep: members - churn, ..PlanCounts::default() });
    drop(second);
    watch.time("refresh: journal", || apply(&mut ledger, &plan));
    println!("refresh without reading the source: {:.2} s (budget at 10^8: 60 s)", start.elapsed().as_secs_f64());
    drop(plan);
    watch.time("fold (now and then)", || ledger.fold().expect("room on the disk"));
    drop(ledger);
    println!("peak of the ledger: {:.1} MiB (budget 500 MiB)", peak_mib());

    // One customer in ten shares a phone with another.
    let mut builder = IdentityBuilder::create(&dir, 5).expect("a writable directory");
    watch.time("identity: push", || {
        for (index, customer) in (0u32..).zip(0..members) {
            let phone = if customer % 10 == 0 { customer + 1 } else { customer };
            let digests = [(0, digest(2 * customer)), (8, digest(2 * phone + 1))];
            let digests = digests.iter().map(|(slot, digest)| (*slot, digest));
            builder.push(index, key(customer), Role::Target, digests).expect("room on the disk");
        }
    });
    let identity = watch.time("identity: finish", || builder.finish().expect("room on the disk"));
    assert_eq!(identity.counts().multi_customer_units, members.div_ceil(10) - u64::from(members % 10 == 1));
    println!("peak with identity: {:.1} MiB", peak_mib());
    std::fs::remove_dir_all(&dir).expect("our own directory");
}
