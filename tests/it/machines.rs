//! Two machines with their ledgers in a bucket, that of each cloud.

use std::time::{Duration, Instant};

use reveil_sandbox::{Faults, Platform};

use crate::binary::{self, Output};
use crate::buckets::place;
use crate::postgres::TestPostgres;
use crate::shop::{Plan, Shop};

const DONE: i32 = 0;
const FAILED: i32 = 1;
const PATIENCE: Duration = Duration::from_secs(60);

macro_rules! on_each {
    ($($name:ident $feature:literal $scheme:literal)*) => {
        $(#[cfg(feature = $feature)]
        mod $name {
            #[test]
            fn two_machines_follow_each_other_through_a_bucket() {
                super::two_machines_follow_each_other_through_a_bucket($scheme);
            }
        })*
    };
}

on_each! { s3 "s3" "s3" gcs "gcs" "gs" azure "azure" "az" }

fn on_machine(shop: &Shop, machine: &str, arguments: &[&str]) -> Output {
    let state_dir = format!("state_dir={machine}");
    shop.reveil(&[arguments, &["--set", &state_dir]].concat())
}

fn sync(shop: &Shop, machine: &str) -> Output {
    let arguments = shop.sync_arguments(&[]);
    on_machine(shop, machine, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn two_machines_follow_each_other_through_a_bucket(scheme: &str) {
    let Some(place) = place(scheme) else { return };
    let Some(postgres) = TestPostgres::start() else { return };
    let mut shop = Shop::open(&Plan { customers: 700, seed: 51, ..Plan::default() });
    let shared = shop.sections_sharing(&postgres.uri(), &place);
    shop.write_config(&format!("{}\n{shared}[scheduler]\nlease_secs = 3\n", shop.config(20)));
    sync(&shop, "one").expect(DONE);
    shop.assert_exact("the first machine begins");
    shop.live(20);
    let report = sync(&shop, "two").expect(DONE).json();
    shop.assert_exact("the second knows what the first has sent");
    let removed = report["destinations"][0]["counts"]["remove"].as_u64();
    assert!(removed.is_some_and(|removed| removed > 5), "{report}");

    // One is killed with a request under way; the other does not know what became of it.
    shop.live(20);
    shop.world().set_faults("meta.users:timeout".parse().unwrap());
    let asked = |shop: &Shop| ["users.add", "users.remove"].map(|what| shop.world().requests(Platform::Meta, what));
    let before = asked(&shop);
    let arguments = [&shop.sync_arguments(&[])[..], &["--set".to_owned(), "state_dir=one".to_owned()]].concat();
    let mut dying = binary::spawn(shop.path(), &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let started = Instant::now();
    while asked(&shop) == before {
        assert!(started.elapsed() < PATIENCE, "it sends nothing");
        std::thread::sleep(Duration::from_millis(20));
    }
    dying.kill().unwrap();
    dying.wait().unwrap();
    shop.world().set_faults(Faults::NONE);
    while sync(&shop, "two").code != Some(DONE) {
        assert!(started.elapsed() < PATIENCE, "the lease does not run out");
        std::thread::sleep(Duration::from_millis(200));
    }
    shop.assert_exact("after a machine was killed");

    // What one forgets, the other does not know any more.
    on_machine(&shop, "one", &["audience", "reset", "dormant", "meta", "--yes"]).expect(DONE);
    let as_of = shop.as_of.format("%Y-%m-%d").to_string();
    let plan = on_machine(&shop, "two", &["plan", "--as-of", &as_of, "--json"]).expect(DONE).json();
    let adds = [0, 1].map(|destination| plan["destinations"][destination]["add"].as_u64().unwrap());
    assert!(adds[0] > 100 && adds[1] == 0, "{plan}");
    sync(&shop, "two").expect(DONE);
    shop.assert_exact("sent anew");

    let checked = on_machine(&shop, "three", &["check"]).expect(DONE);
    assert!(checked.stdout.contains("ledger.store: answers, and holds 2 ledgers"), "{}", checked.stdout);
    let (start, prefix) =
        place.split_once("://").and_then(|(_, rest)| rest.split_once('/')).expect("bucket and prefix");
    let elsewhere = format!("ledger.store={scheme}://no-{start}/{prefix}");
    let checked = on_machine(&shop, "three", &["check", "--set", &elsewhere]).expect(FAILED);
    assert!(checked.stdout.contains("FAIL ledger.store: "), "{}", checked.stdout);
    assert!(checked.stdout.contains("there is no such bucket; make it"), "{}", checked.stdout);
}
