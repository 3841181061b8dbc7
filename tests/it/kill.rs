//! The process is killed (SIGKILL) at random moments and started again, while the platforms misbehave and the
//! warehouse changes. After every completed run both platforms hold the target exactly; at no moment do they hold
//! anybody who is in neither the old nor the new target.

use std::time::{Duration, Instant};

use reveil_sandbox::{Faults, Platform};

use crate::binary;
use crate::expected::Expected;
use crate::shop::{Plan, Shop};

const KILLS: usize = 200;
/// Where the ledgers are shared, each costs more.
const KILLS_ON_MACHINES: usize = 25;
const MACHINES: u64 = 3;
/// Between two changes of the warehouse.
const KILLS_A_CYCLE: usize = 5;

/// One set is drawn for each run that is to be killed.
pub const FAULTS: &[&str] = &[
    "",
    "meta.users:reset@0.1,google.members:reset@0.1",
    "meta.users:reset-applied@0.2,google.members:reset-applied@0.2",
    "meta.users:truncate@0.2,google.members:truncate@0.2",
    "transient@0.1,meta:error=500@0.1,google:error=503@0.1",
    "meta.users:timeout-applied@0.03,google.members:timeout-applied@0.03,google:throttle@0.05",
    "meta.users:timeout@0.03,google.members:timeout@0.03,meta:throttle@0.02",
    "html@0.05,empty@0.05,meta.users:success-false@0.05",
    "google.members:failed-job@0.2,google.status:error=500@0.1",
    "meta:expired-token@0.02,google:expired-token@0.05",
    "meta.audience:reset-applied@0.3,google.lists:reset-applied@0.3,meta.audience:transient@0.2,google.lists:transient@0.2",
];

#[test]
fn killed_at_any_moment_the_audiences_end_up_exact() {
    survive(open(), KILLS, |_| {});
}

/// Every run is on one of three machines, which share the ledgers in a folder and have nothing else of each other's but
/// the state. Now and then one of them loses its copies.
#[test]
fn killed_runs_are_carried_on_by_other_machines() {
    let shop = open();
    let store = format!("[ledger]\nstore = \"file://{}\"\n\n[warehouse]", shop.path().join("shared").display());
    let config = std::fs::read_to_string(shop.path().join("reveil.toml")).expect("just written");
    shop.write_config(&config.replacen("[warehouse]", &store, 1));
    let mut draws = shop.draws.clone();
    let mut at = 0;
    survive(shop, KILLS_ON_MACHINES, |shop| {
        let copies = shop.path().join("state").join("ledger-copies");
        let of = |machine: u64| shop.path().join(format!("copies-{machine}"));
        let next = draws.below(MACHINES);
        if copies.exists() {
            std::fs::rename(&copies, of(at)).expect("the directory is ours");
        }
        if of(next).exists() {
            if draws.percent(20) {
                std::fs::remove_dir_all(of(next)).expect("the directory is ours");
            } else {
                std::fs::rename(of(next), &copies).expect("the directory is ours");
            }
        }
        at = next;
    });
}

fn survive(mut shop: Shop, kills_wanted: usize, mut before_run: impl FnMut(&Shop)) {
    let (first, refresh) = undisturbed_runs();
    let started = Instant::now();
    let (mut kills, mut while_sending, mut ended_alone, mut cycles) = (0, 0, 0, 0);
    let mut before = Expected::default();
    let mut length = first;
    while kills < kills_wanted {
        let now = shop.expected();
        assert!(now.held_out > 10, "the holdout has something to do: {}", now.held_out);
        for _ in 0..KILLS_A_CYCLE {
            let rules = FAULTS[shop.draws.below(FAULTS.len() as u64) as usize];
            shop.world().set_faults(rules.parse().expect("a fault rule"));
            let delay = length.mul_f64(shop.draws.below(1_000) as f64 / 1_000.0);
            let sent_before = member_requests(&shop);
            before_run(&shop);
            let killed = run_and_kill(&shop, delay);
            let has_sent = member_requests(&shop) > sent_before;
            kills += usize::from(killed);
            while_sending += usize::from(killed && has_sent);
            ended_alone += usize::from(!killed);
            // How long a run takes changes with what else the machine does, and most of the harm is in its sending.
            length = match (killed, has_sent) {
                (false, _) => length.mul_f64(0.9),
                (true, false) => length.mul_f64(1.03),
                (true, true) => length,
            };
            assert_nobody_else(&shop, &before, &now, &format!("after kill {kills} (cycle {cycles}, faults {rules:?})"));
            assert!(ended_alone < kills_wanted, "the process ends before it can be killed");
        }
        shop.world().set_faults(Faults::NONE);
        before_run(&shop);
        let report = shop.sync(&[]).expect(0).json();
        assert_eq!(report["state"], "done", "{report}");
        shop.assert_exact(&format!("cycle {cycles}, {kills} kills"));
        if cycles % 5 == 0 {
            assert_settled(&shop);
        }
        before = now;
        shop.live(20);
        length = if cycles == 0 { refresh } else { length };
        cycles += 1;
    }
    println!(
        "{kills} kills, {while_sending} of them after member requests; {ended_alone} runs ended by themselves; {cycles} \
         cycles, {} member requests; undisturbed runs {} ms (first) and {} ms; {:.0} s in all",
        member_requests(&shop),
        first.as_millis(),
        refresh.as_millis(),
        started.elapsed().as_secs_f64()
    );
    assert!(while_sending > kills_wanted / 20, "only {while_sending} kills hit a run that was sending");
}

/// `REVEIL_IT_SEED` chooses other moments, faults and customers.
///
/// Small batches, so that a run is mostly requests. Google's are larger, because it allows 300 requests a minute.
fn open() -> Shop {
    let seed = std::env::var("REVEIL_IT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261);
    let shop = Shop::open(&Plan { customers: 2_000, seed, batch_members: 15, ..Plan::default() });
    shop.write_config(&shop.config(15).replacen("batch_members = 15", "batch_members = 6", 1));
    shop
}

fn member_requests(shop: &Shop) -> u64 {
    let world = shop.world();
    world.requests(Platform::Meta, "users") + world.requests(Platform::Google, "members")
}

/// How long a first sync of such a shop and a refresh take.
fn undisturbed_runs() -> (Duration, Duration) {
    let mut shop = open();
    let run = |shop: &Shop| {
        let started = Instant::now();
        shop.sync(&[]).expect(0);
        let took = started.elapsed();
        shop.assert_exact("undisturbed");
        took
    };
    let first = run(&shop);
    shop.live(20);
    (first, run(&shop))
}

/// False when the process ended before its time.
fn run_and_kill(shop: &Shop, delay: Duration) -> bool {
    let arguments = shop.sync_arguments(&[]);
    let mut child = binary::spawn(shop.path(), &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    std::thread::sleep(delay);
    child.kill().expect("the child is ours");
    let status = child.wait().expect("the child is ours");
    std::os::unix::process::ExitStatusExt::signal(&status) == Some(9)
}

/// Whoever is on a platform is in the target of before or of now: no one held out, ineligible or awake.
fn assert_nobody_else(shop: &Shop, before: &Expected, now: &Expected, when: &str) {
    for (platform, before, now) in
        [(Platform::Meta, &before.meta, &now.meta), (Platform::Google, &before.google, &now.google)]
    {
        let held = shop.held(platform).unwrap_or_default();
        let strangers = held.iter().filter(|digest| !before.contains(*digest) && !now.contains(*digest)).count();
        assert_eq!(strangers, 0, "{when}: {platform:?} holds {strangers} identifiers that were never to be sent");
    }
}

/// A run with nothing to do sends nothing.
fn assert_settled(shop: &Shop) {
    let before = member_requests(shop);
    let report = shop.sync(&[]).expect(0).json();
    assert_eq!(member_requests(shop), before, "{report}");
    for destination in report["destinations"].as_array().expect("destinations") {
        assert_eq!((&destination["counts"]["add"], &destination["counts"]["remove"]), (&0.into(), &0.into()));
    }
}

/// A swap that was never finished has not put anybody on the platform, whatever was acknowledged of it.
#[test]
fn killed_in_a_full_replace_nobody_is_lost() {
    let mut shop = open();
    let meta_only = ["--destination", "meta"];
    shop.sync(&meta_only).expect(0);
    let mut in_the_swap = 0;
    for round in 0..12 {
        shop.live(20);
        let full = shop.sync_arguments(&["--destination", "meta", "--full"]);
        let before = shop.world().requests(Platform::Meta, "users.replace");
        let mut child = binary::spawn(shop.path(), &full.iter().map(String::as_str).collect::<Vec<_>>());
        // Not before the swap has begun, or it would be the other test again.
        let wanted = before + 1 + shop.draws.below(60);
        let waited = Instant::now();
        while shop.world().requests(Platform::Meta, "users.replace") < wanted && waited.elapsed().as_secs() < 20 {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().expect("the child is ours");
        let status = child.wait().expect("the child is ours");
        in_the_swap += usize::from(std::os::unix::process::ExitStatusExt::signal(&status) == Some(9));
        // The platform gives an unfinished replacement up after 90 minutes.
        shop.world().advance(chrono::TimeDelta::minutes(95));
        shop.sync(&meta_only).expect(0);
        let (held, wanted) = (shop.held(Platform::Meta).unwrap_or_default(), shop.expected().meta);
        let (missing, extra) = (wanted.difference(&held).count(), held.difference(&wanted).count());
        assert_eq!((missing, extra), (0, 0), "round {round}: {missing} missing, {extra} too many");
    }
    assert!(in_the_swap > 6, "only {in_the_swap} runs were killed in time");
}
