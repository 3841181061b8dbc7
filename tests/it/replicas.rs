//! Three daemons on one database and one folder of ledgers, each on a machine of its own as far as files go. They are
//! killed (SIGKILL) at random moments and started again, while schedules fire, the platforms misbehave and the warehouse
//! changes. In the end every audience is exact, and every time that came due was run once.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use reveil::config::StateConfig;
use reveil::store::Store;
use reveil::store::jobs::JobState;
use reveil::store::model::{Run, RunState};
use reveil_sandbox::{Faults, Platform};

use crate::binary;
use crate::expected::{Digests, expected_of};
use crate::kill::FAULTS;
use crate::postgres::TestPostgres;
use crate::shop::{Draws, Plan, Shop};

/// Key, name, days asleep. Each withholds by a salt of its own.
const AUDIENCES: [(&str, &str, i64); 3] =
    [("dormant", "Dormant 180 days", 180), ("drowsy", "Drowsy 90 days", 90), ("gone", "Gone 400 days", 400)];
const PLATFORMS: [Platform; 2] = [Platform::Meta, Platform::Google];
const REPLICAS: u64 = 3;
/// Between two due times of an audience.
const EVERY_SECS: i64 = 5;
/// Of the warehouse.
const CHANGES: u32 = 4;
const KILLS_A_CHANGE: u32 = 5;
/// For what is left to be done in peace. Long, because other tests want the processor too.
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn killed_replicas_run_every_due_time_once_and_the_audiences_end_up_exact() {
    let Some(postgres) = TestPostgres::start() else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let mut field = Field::open(&postgres, &runtime);
    // Whoever is throttled waits for minutes, as the platform asks.
    let faults: Vec<&str> = FAULTS.iter().copied().filter(|rules| !rules.contains("throttle")).collect();
    let started = Instant::now();
    let mut shown = [field.targets(), field.targets()];
    let (mut kills, mut at_work) = (0, 0);
    for _ in 0..CHANGES {
        // Nobody sends any more what the warehouse held two changes ago.
        field.wait(Field::all_ran_since_change);
        field.shop.change(20);
        field.shop.swap_warehouse();
        field.changed_at = Utc::now();
        let [_, before] = shown;
        shown = [before, field.targets()];
        for _ in 0..KILLS_A_CHANGE {
            let rules = faults[field.draws.below(faults.len() as u64) as usize];
            field.shop.world().set_faults(rules.parse().expect("a fault rule"));
            at_work += u32::from(field.kill_one());
            kills += 1;
            field.assert_nobody_else(&shown, &format!("after kill {kills} (faults {rules:?})"));
        }
    }
    field.shop.world().set_faults(Faults::NONE);
    field.start_all();
    field.changed_at = Utc::now();
    field.wait(Field::all_ran_since_change);
    field.pause();
    field.wait_until_idle();
    field.assert_exact();
    let (runs, taken_over) = field.assert_each_due_time_ran_once();
    println!(
        "{kills} kills, {at_work} of them of a replica at work; {CHANGES} changes; {runs} runs, {taken_over} of them taken \
         over; {:.0} s in all",
        started.elapsed().as_secs_f64()
    );
    assert!(at_work > 3 && taken_over > 1, "{at_work} kills at work, {taken_over} runs taken over");
}

/// The shop, its replicas, and their common state.
struct Field<'a> {
    shop: Shop,
    draws: Draws,
    replicas: Vec<Option<Child>>,
    store: Store,
    runtime: &'a tokio::runtime::Runtime,
    /// Of the warehouse, or the faults.
    changed_at: DateTime<Utc>,
}

type Targets = BTreeMap<(&'static str, Platform), Digests>;

impl<'a> Field<'a> {
    /// `REVEIL_IT_SEED` chooses other moments, faults and customers.
    fn open(postgres: &TestPostgres, runtime: &'a tokio::runtime::Runtime) -> Self {
        let seed = std::env::var("REVEIL_IT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_262);
        let mut shop = Shop::open(&Plan { customers: 1_000, seed, batch_members: 15, ..Plan::default() });
        shop.move_to(Utc::now());
        shop.write_warehouse();
        let config = shop.config(15);
        let (start, rest) = config.split_once("[audience.dormant]").expect("the config has an audience");
        let rest = &rest[rest.find("[destination.meta]").expect("and destinations")..];
        let audience = |(key, label, days): (&str, &str, i64)| {
            format!(
                "[audience.{key}]\nlabel = \"{label}\"\n\
                 inactive = {{ no_event_days = {{ kinds = [\"order\"], days = {days} }} }}\nholdout = \"10%\"\n\
                 destinations = [\"meta\", \"google\"]\nschedule = {{ every = \"{EVERY_SECS}s\" }}\ncatch_up = \"all\"\n\n"
            )
        };
        let shared = format!(
            "{}[scheduler]\nmax_concurrent_runs = 4\nlease_secs = 3\npoll_secs = 1\nretry_first_delay = \"1s\"\n\
             status_poll = \"1s\"\n\n[server]\nopen_on_loopback = true\n\n",
            shop.shared_sections(&postgres.uri())
        );
        let audiences: String = AUDIENCES.into_iter().map(audience).collect();
        shop.write_config(&format!("{start}{shared}{audiences}{rest}"));
        let state = StateConfig { url: Some(postgres.uri().into()), ..StateConfig::default() };
        let store = runtime.block_on(Store::connect(&state, shop.path())).expect("the database was just started");
        let replicas = (0..REPLICAS).map(|_| None).collect();
        let draws = shop.draws.clone();
        let mut field = Self { shop, draws, replicas, store, runtime, changed_at: Utc::now() };
        field.start_all();
        field
    }

    fn start(&mut self, number: usize) {
        let log =
            std::fs::File::options().create(true).append(true).open(self.shop.path().join(format!("log-{number}")));
        let arguments = [
            "serve",
            "--log",
            "info",
            "--set",
            &format!("state_dir={}", self.shop.path().join(format!("replica-{number}")).display()),
            "--set",
            "server.listen=127.0.0.1:0",
        ];
        let child = binary::command(self.shop.path(), &arguments)
            .stdout(Stdio::null())
            .stderr(log.expect("the directory is ours"))
            .spawn()
            .expect("the binary was built with the tests");
        self.replicas[number] = Some(child);
    }
    fn start_all(&mut self) {
        for number in 0..self.replicas.len() {
            if self.replicas[number].is_none() {
                self.start(number);
            }
        }
    }

    /// Kills one, mostly in the middle of a run. True when it was.
    fn kill_one(&mut self) -> bool {
        let any = self.draws.below(REPLICAS) as usize;
        let working = if self.draws.percent(75) { self.wait_for_work() } else { None };
        std::thread::sleep(Duration::from_millis(self.draws.below(500)));
        let number = working.unwrap_or(any);
        let at_work = self.working().contains(&number);
        let Some(mut child) = self.replicas[number].take() else {
            self.start(number);
            return false;
        };
        assert!(
            child.try_wait().expect("the child is ours").is_none(),
            "replica {number} ended:\n{}",
            self.log(number)
        );
        child.kill().expect("the child is ours");
        child.wait().expect("the child is ours");
        // Mostly at once, so that somebody is left to do the work.
        if self.draws.percent(60) {
            self.start(number);
        }
        at_work
    }

    /// A replica that has a run in its hands, if there is one soon.
    fn wait_for_work(&self) -> Option<usize> {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(3) {
            if let Some(number) = self.working().into_iter().next() {
                return Some(number);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// The replicas that live and have a run in their hands.
    fn working(&self) -> Vec<usize> {
        let jobs = self.runtime.block_on(self.store.open_jobs()).expect("the database is there");
        let running = jobs.iter().filter(|job| job.state == JobState::Running && job.run_id.is_some());
        let owners: Vec<&str> = running.filter_map(|job| job.lease_owner.as_deref()).collect();
        let is_working = |child: &Child| owners.iter().any(|owner| owner.contains(&format!(":{}:", child.id())));
        let children = self.replicas.iter().enumerate();
        children.filter(|(_, child)| child.as_ref().is_some_and(is_working)).map(|(number, _)| number).collect()
    }
    fn log(&self, number: usize) -> String {
        std::fs::read_to_string(self.shop.path().join(format!("log-{number}"))).unwrap_or_default()
    }

    fn targets(&self) -> Targets {
        let mut targets = Targets::new();
        for (key, _, days) in AUDIENCES {
            let expected = expected_of(&self.shop.customers, self.shop.as_of, days, key);
            assert!(expected.held_out > 5, "the holdout has something to do: {}", expected.held_out);
            targets.insert((key, Platform::Meta), expected.meta);
            targets.insert((key, Platform::Google), expected.google);
        }
        targets
    }

    /// Whoever is on a platform is in one of the last two targets: no one held out, ineligible or awake.
    fn assert_nobody_else(&self, shown: &[Targets; 2], when: &str) {
        for ((key, name, _), platform) in
            AUDIENCES.iter().flat_map(|audience| PLATFORMS.map(|platform| (audience, platform)))
        {
            let held = self.shop.held_as(platform, name).unwrap_or_default();
            let [before, now] = shown.each_ref().map(|targets| &targets[&(*key, platform)]);
            let strangers = held.iter().filter(|digest| !before.contains(*digest) && !now.contains(*digest)).count();
            assert_eq!(strangers, 0, "{when}: {key} at {platform:?} holds {strangers} that were never to be sent");
        }
    }

    fn assert_exact(&self) {
        for ((key, platform), wanted) in self.targets() {
            let name = AUDIENCES.iter().find(|audience| audience.0 == key).expect("it has a name").1;
            let held = self.shop.held_as(platform, name).unwrap_or_default();
            let (missing, extra) = (wanted.difference(&held).count(), held.difference(&wanted).count());
            assert_eq!((missing, extra), (0, 0), "{key} at {platform:?} misses {missing}, has {extra} too many");
            assert!(held.len() > 50, "{key} at {platform:?} holds only {}", held.len());
        }
    }

    fn runs(&self, audience: &str) -> Vec<Run> {
        self.runtime.block_on(self.store.runs(Some(audience), 1_000)).expect("the database is there")
    }

    /// Whether every audience was read and sent anew.
    fn all_ran_since_change(&self) -> bool {
        let done = |run: &Run| run.as_of > self.changed_at && run.state == RunState::Done;
        AUDIENCES.iter().all(|(key, ..)| self.runs(key).iter().any(done))
    }

    /// Nothing is queued or running any more.
    fn wait_until_idle(&mut self) {
        self.wait(|field| field.runtime.block_on(field.store.open_jobs()).expect("the database is there").is_empty());
    }

    fn wait(&mut self, is_so: impl Fn(&Self) -> bool) {
        self.start_all();
        let started = Instant::now();
        while !is_so(self) {
            let ended = |child: &mut Child| child.try_wait().expect("the child is ours").is_some();
            let ended = self.replicas.iter_mut().flatten().any(ended);
            if ended || started.elapsed() > PATIENCE {
                let logs: String = (0..self.replicas.len()).map(|number| self.log(number)).collect();
                panic!("a replica ended, or it does not come to that:\n{logs}");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn pause(&self) {
        for (key, ..) in AUDIENCES {
            self.shop.reveil(&["audience", "pause", key]).expect(0);
        }
    }

    /// Runs, and how many of them had more than one worker.
    fn assert_each_due_time_ran_once(&self) -> (usize, usize) {
        let (mut count, mut taken_over) = (0, 0);
        for (key, ..) in AUDIENCES {
            let runs = self.runs(key);
            let due: Vec<i64> = runs.iter().map(|run| run.as_of.timestamp()).collect();
            let times: BTreeSet<i64> = due.iter().copied().collect();
            assert_eq!(times.len(), due.len(), "{key}: a time was run twice: {due:?}");
            let (first, last) = (times.first().expect("it ran"), times.last().expect("it ran"));
            let wanted: BTreeSet<i64> = (*first..=*last).step_by(EVERY_SECS as usize).collect();
            assert_eq!(times, wanted, "{key}: a time was left out, or one was run that was not due");
            for run in &runs {
                assert_eq!(run.requested_by, "schedule", "{key}: {run:?}");
                assert!(run.state.is_over() && run.state != RunState::Pending, "{key}: has not ended: {run:?}");
                taken_over += usize::from(run.attempt > 1);
            }
            count += runs.len();
        }
        (count, taken_over)
    }
}

impl Drop for Field<'_> {
    fn drop(&mut self) {
        for child in self.replicas.iter_mut().flatten() {
            // Gone already, or gone now.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
