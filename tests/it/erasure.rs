//! `reveil forget` with the real binary: gone from both platforms by whatever spelling, never back, proven, nothing left.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use chrono::TimeDelta;
use reveil::assignment::Assignments;
use reveil_sandbox::{Faults, Platform};
use sha2::{Digest as _, Sha256};

use crate::binary::{self, Output};
use crate::expected::{Digests, email_forms, expected, phone_forms};
use crate::postgres::TestPostgres;
use crate::shop::{Customer, Plan, Shop};

const DONE: i32 = 0;
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const PARTIAL: i32 = 4;
const PENDING: i32 = 6;

/// Where state and ledgers are: every body runs on both grounds.
#[derive(Clone, Copy, PartialEq)]
enum Ground {
    /// A database and ledgers of this machine alone.
    OneMachine,
    /// PostgreSQL and a folder of ledgers; requests come in on another machine than syncs.
    Shared,
    /// The same with a bucket of this scheme.
    #[cfg_attr(not(any(feature = "s3", feature = "gcs", feature = "azure")), expect(dead_code))]
    Bucket(&'static str),
}

/// A shop on its ground.
struct Place {
    shop: Shop,
    ground: Ground,
    bucket: Option<String>,
    _postgres: Option<TestPostgres>,
}

impl std::ops::Deref for Place {
    type Target = Shop;
    fn deref(&self) -> &Shop {
        &self.shop
    }
}

impl std::ops::DerefMut for Place {
    fn deref_mut(&mut self) -> &mut Shop {
        &mut self.shop
    }
}

impl Place {
    /// `None` where the ground needs what is not installed.
    fn open(ground: Ground, plan: &Plan) -> Option<Self> {
        let bucket = match ground {
            Ground::Bucket(scheme) => Some(crate::buckets::place(scheme)?),
            _ => None,
        };
        let postgres = if ground == Ground::OneMachine { None } else { Some(TestPostgres::start()?) };
        let shop = Shop::open(plan);
        if let Some(postgres) = &postgres {
            let config = shop.config(plan.batch_members);
            let (start, rest) = config.split_once("[audience.dormant]").expect("the config has an audience");
            let shared = match &bucket {
                Some(bucket) => shop.sections_sharing(&postgres.uri(), bucket),
                None => shop.shared_sections(&postgres.uri()),
            };
            shop.write_config(&format!("{start}{shared}[audience.dormant]{rest}"));
        }
        Some(Self { shop, ground, bucket, _postgres: postgres })
    }

    fn synced(ground: Ground, seed: u64) -> Option<Self> {
        let place = Self::open(ground, &Plan { customers: 700, seed, ..Plan::default() })?;
        place.sync(&[]).expect(DONE);
        Some(place)
    }

    /// Arguments that make a command run on the machine where requests come in.
    fn at_desk(&self) -> &'static [&'static str] {
        if self.ground == Ground::OneMachine { &[] } else { &["--set", "state_dir=desk"] }
    }
}

macro_rules! on_both {
    ($($body:ident,)*) => {
        mod on_one_machine {
            $(#[test] fn $body() { super::$body(super::Ground::OneMachine); })*
        }
        mod on_shared_ground {
            $(#[test] fn $body() { super::$body(super::Ground::Shared); })*
        }
    };
}

on_both! {
    a_person_whose_row_is_gone_leaves_both_platforms_and_never_comes_back,
    a_platform_that_is_away_slow_or_out_of_the_config_is_taken_up_later,
    what_is_uncertain_counts_as_sent_and_what_is_unusable_stops_the_request,
    a_daemon_carries_out_what_was_left_to_it,
    somebody_only_withheld_leaves_the_experiment_with_the_next_sync,
}

macro_rules! on_buckets {
    ($($name:ident $feature:literal $scheme:literal)*) => {
        $(#[cfg(feature = $feature)]
        mod $name {
            #[test]
            fn a_person_whose_row_is_gone_leaves_both_platforms_and_never_comes_back() {
                super::a_person_whose_row_is_gone_leaves_both_platforms_and_never_comes_back(
                    super::Ground::Bucket($scheme),
                );
            }
        })*
    };
}

on_buckets! { s3 "s3" "s3" gcs "gcs" "gs" azure "azure" "az" }

/// `reveil forget <arguments>` with identifiers on stdin.
fn forget(shop: &Place, identifiers: &str, arguments: &[&str]) -> Output {
    let mut command = binary::command(shop.path(), &[&["forget"], arguments, shop.at_desk()].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary was built with the tests");
    child.stdin.take().expect("piped").write_all(identifiers.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Output { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Everything a platform may hold of a customer.
fn forms(customer: &Customer) -> Digests {
    let emails = customer.emails.iter().flatten().map(|email| email_forms(email));
    let all = emails.chain(customer.phone.iter().map(|phone| phone_forms(phone)));
    all.flat_map(|form| [form.meta, form.google]).collect()
}

/// Customers of whom both platforms hold an e-mail and the phone, all theirs alone.
fn alone(shop: &Shop, wanted: impl Fn(&Customer) -> bool) -> Vec<usize> {
    let (meta, google) = (shop.held(Platform::Meta).unwrap(), shop.held(Platform::Google).unwrap());
    let sent = |customer: &Customer| {
        let (Some(email), Some(phone)) = (&customer.emails[0], &customer.phone) else { return false };
        let (email, phone) = (email_forms(email), phone_forms(phone));
        [&email, &phone].iter().all(|form| meta.contains(&form.meta) && google.contains(&form.google))
    };
    let shared = |customer: &Customer| {
        let own = forms(customer);
        shop.customers.iter().filter(|other| forms(other).intersection(&own).next().is_some()).count() > 1
    };
    let fits = |index: &usize| {
        let customer = &shop.customers[*index];
        customer.emails[1].is_none() && sent(customer) && wanted(customer) && !shared(customer)
    };
    (0..shop.customers.len()).filter(fits).collect()
}

#[track_caller]
fn assert_gone(shop: &Shop, person: &Customer, when: &str) {
    for platform in Platform::ALL {
        let held = shop.held(platform).unwrap_or_default();
        let left = forms(person).intersection(&held).count();
        assert_eq!(left, 0, "{when}: {platform:?} still holds {left} identifiers");
    }
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("readable").map(|entry| entry.expect("readable").path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Folders of generations that are no ledger any more: the store drops them a day later, and receipts say so.
fn followed_generations(audience: &Path) -> Vec<PathBuf> {
    let names = |dir: &Path| -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
        entries.map(|entry| entry.expect("readable").path()).collect()
    };
    let followed = |ledger: PathBuf| {
        let mut generations: Vec<PathBuf> = names(&ledger).into_iter().filter(|path| path.is_dir()).collect();
        generations.sort();
        generations.pop();
        generations
    };
    names(audience).into_iter().flat_map(followed).collect()
}

/// No byte of the person is left: not as typed, not as digest in any form.
fn assert_no_trace(shop: &Place, person: &Customer, outputs: &[&Output]) {
    let email = person.emails[0].clone().expect("has one");
    let phone = person.phone.clone().expect("has one");
    let mut needles: BTreeSet<Vec<u8>> = BTreeSet::from([email.clone().into_bytes(), phone.clone().into_bytes()]);
    for form in forms(person) {
        let hex = form.split_once(':').expect("kind and digest").1.to_owned();
        needles.insert(const_hex::decode(&hex).expect("hexadecimal"));
        needles.insert(hex.into_bytes());
    }
    needles.insert(Sha256::digest(&email).to_vec());
    needles.insert(phone.as_bytes()[1..].to_vec());
    let search = |what: &str, bytes: &[u8]| {
        for needle in &needles {
            let found = bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!found, "{what} holds {}", String::from_utf8_lossy(needle));
        }
    };
    if shop.ground != Ground::OneMachine {
        // Machines let go of their copies when they next work with the ledger.
        for machine in [&[], shop.at_desk()] {
            shop.reveil(&[&["status", "--refresh"], machine].concat()).expect(DONE);
        }
    }
    if let Some(bucket) = &shop.bucket {
        crate::buckets::copy(bucket, &shop.path().join("shared"));
    }
    let folders = ["state", "desk", "shared"].map(|folder| shop.path().join(folder));
    let files = folders.iter().filter(|folder| folder.exists()).flat_map(|folder| files_below(folder));
    let followed = followed_generations(&shop.path().join("shared/ledgers/dormant"));
    let files: Vec<PathBuf> =
        files.filter(|file| !followed.iter().any(|generation| file.starts_with(generation))).collect();
    assert!(files.len() > 5);
    for path in files {
        search(&path.display().to_string(), &std::fs::read(&path).expect("readable"));
    }
    for output in outputs {
        search("stdout", output.stdout.as_bytes());
        search("stderr", output.stderr.as_bytes());
    }
}

fn a_person_whose_row_is_gone_leaves_both_platforms_and_never_comes_back(ground: Ground) {
    let Some(mut shop) = Place::synced(ground, 31) else { return };
    let by_mail =
        alone(&shop, |customer| customer.emails[0].as_deref().is_some_and(|mail| mail.starts_with("p.e.r.")))[0];
    let by_phone =
        alone(&shop, |customer| customer.emails[0].as_deref().is_some_and(|mail| mail.starts_with("quidam-")))[1];
    let [first, second] = [by_mail, by_phone].map(|index| shop.customers[index].clone());
    // Their rows are gone before they ask.
    shop.customers.retain(|customer| customer.id != first.id && customer.id != second.id);
    shop.write_warehouse();
    let number = &first.emails[0].as_ref().unwrap()["p.e.r.".len()..];
    let (number, domain) = number.split_once('@').unwrap();
    let spelling = format!("  PER.{number}+Newsletter@{}  ", domain.to_uppercase());
    let mail = forget(&shop, &format!("email:{spelling}\n"), &["--reference", "DSR-1", "--json"]).expect(DONE);
    assert_gone(&shop, &first, "by mail");
    let digits = second.phone.as_ref().unwrap();
    let spaced = format!("{} {} {} {} {}", &digits[..2], &digits[2..4], &digits[4..6], &digits[6..8], &digits[8..]);
    let phone = forget(&shop, &format!("kind,value,country\nphone,{spaced},\n"), &["--json"]).expect(DONE);
    assert_gone(&shop, &second, "by phone");
    for report in [mail.json(), phone.json()] {
        assert_eq!(report["state"], "erased");
        let removed: Vec<_> = report["receipts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|receipt| receipt["statement"]["members_removed"].as_u64())
            .collect();
        assert_eq!(removed, [Some(1), Some(1)], "{report}");
    }
    assert_no_trace(&shop, &first, &[&mail, &phone]);
    assert_no_trace(&shop, &second, &[&mail, &phone]);
    shop.assert_exact("everybody else is where they were");

    // The rows return, one under another id with another phone; so do new ones with what else was theirs.
    let mut returned = first.clone();
    returned.id = "K-other".to_owned();
    returned.phone = Some("0639987777".to_owned());
    let mut same_id = second.clone();
    same_id.emails[0] = Some("quidam-anew@example.com".to_owned());
    same_id.phone = None;
    let mut linked = second.clone();
    linked.id = "K-linked".to_owned();
    linked.phone = Some("0639987778".to_owned());
    let back = [returned, same_id, linked.clone()];
    shop.customers.extend(back.clone());
    shop.write_warehouse();
    let report = shop.sync(&[]).expect(DONE).json();
    assert_eq!(report["segment"]["excluded"]["erasure_requested"].as_u64().unwrap() - asked(&shop), 2, "{report}");
    for person in &back[..2] {
        assert_gone(&shop, person, "after a sync with the row restored");
    }
    assert_gone(&shop, &second, "what was sent with them is not sent for others");
    let plan = shop.reveil(&["plan", "--as-of", "2026-01-01", "--json"]).expect(DONE).json();
    assert_eq!(plan["destinations"][0]["add"], 0, "{plan}");
    // The second person's address stood in their record; a customer who holds it is sent by the rest.
    shop.customers.retain(|customer| customer.id != "K-other" && customer.id != second.id);
    let held = shop.held(Platform::Meta).unwrap();
    assert!(held.contains(&phone_forms(linked.phone.as_ref().unwrap()).meta) || is_withheld(&shop, &linked));

    receipts(&shop, &mail);
    let log = shop.reveil(&["audit", "--json"]).expect(DONE).json();
    let actions: Vec<_> =
        log["items"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap().to_owned()).collect();
    for (action, times) in [("request_erasure", 2), ("erase", 4), ("erasure_done", 2)] {
        assert_eq!(actions.iter().filter(|known| *known == action).count(), times, "{actions:?}");
    }
    shop.reveil(&["audit", "verify"]).expect(DONE);
}

/// Customers of the shop with `erasure` in the warehouse, who are dormant: the rule counts them too.
fn asked(shop: &Shop) -> u64 {
    let dormant_before = shop.as_of - TimeDelta::days(crate::shop::INACTIVE_DAYS);
    let dormant = |customer: &&Customer| customer.orders.iter().max().is_some_and(|last| *last < dormant_before);
    shop.customers.iter().filter(dormant).filter(|customer| customer.erasure).count() as u64
}

/// The control group takes somebody by chance of their id.
fn is_withheld(shop: &Shop, customer: &Customer) -> bool {
    !shop.expected().meta.contains(&phone_forms(customer.phone.as_ref().unwrap()).meta)
}

fn receipts(shop: &Shop, output: &Output) {
    let id = output.json()["id"].as_str().unwrap().to_owned();
    let status = shop.reveil(&["forget", "status", &id, "--json"]).expect(DONE);
    std::fs::write(shop.path().join("receipts.json"), &status.stdout).unwrap();
    let verified = shop.reveil(&["forget", "verify", "receipts.json"]).expect(DONE);
    assert_eq!(verified.stdout.matches("GENUINE").count(), 2, "{}", verified.stdout);
    assert!(status.stdout.contains("DSR-1"));
    let key = shop.reveil(&["forget", "key"]).expect(DONE).stdout.trim().to_owned();
    shop.reveil(&["forget", "verify", "receipts.json", "--key", &key]).expect(DONE);
    let other = const_hex::encode([9; 32]);
    let foreign = shop.reveil(&["forget", "verify", "receipts.json", "--key", &other]).expect(FAILED);
    assert!(foreign.stdout.contains("FOREIGN"));
    let changed = status.stdout.replace("\"members_removed\": 1", "\"members_removed\": 2");
    std::fs::write(shop.path().join("changed.json"), changed).unwrap();
    let refused = shop.reveil(&["forget", "verify", "changed.json"]).expect(FAILED);
    assert_eq!(refused.stdout.matches("FALSE").count(), 2, "{}", refused.stdout);
}

fn a_platform_that_is_away_slow_or_out_of_the_config_is_taken_up_later(ground: Ground) {
    let Some(shop) = Place::synced(ground, 32) else { return };
    let people: Vec<Customer> =
        alone(&shop, |_| true)[..3].iter().map(|index| shop.customers[*index].clone()).collect();
    let mail = |person: &Customer| format!("email:{}\n", person.emails[0].as_ref().unwrap());
    let faults = |text: &str| shop.world().set_faults(text.parse::<Faults>().unwrap());
    let state = |report: &serde_json::Value, destination: &str| {
        let targets = report["targets"].as_array().unwrap();
        let target = targets.iter().find(|target| target["destination"] == destination).unwrap();
        (target["state"].as_str().unwrap().to_owned(), target["error"].as_str().unwrap_or_default().to_owned())
    };

    faults("meta:error=503");
    let report = forget(&shop, &mail(&people[0]), &["--json"]).expect(PARTIAL).json();
    assert_eq!(state(&report, "google").0, "erased");
    let (meta, why) = state(&report, "meta");
    assert!(meta == "removing" && !why.is_empty(), "{report}");
    faults("");
    // Nobody is added meanwhile, though the platform still holds them.
    shop.reveil(&["forget", "resume"]).expect(DONE);
    assert_gone(&shop, &people[0], "with the platform back");

    faults("google.members.remove:slow=2h");
    let report = forget(&shop, &mail(&people[1]), &["--json"]).expect(PENDING).json();
    assert_eq!((report["state"].as_str(), state(&report, "google").0.as_str()), (Some("waiting"), "waiting"));
    shop.reveil(&["forget", "resume"]).expect(PENDING);
    faults("");
    shop.world().advance(TimeDelta::hours(3));
    let report = shop.reveil(&["forget", "resume", "--json"]).expect(DONE).json();
    assert!(report["receipts"][0]["statement"]["tickets"].as_array().unwrap().len() == 1, "{report}");
    assert_gone(&shop, &people[1], "after the verdict");

    let config = std::fs::read_to_string(shop.path().join("reveil.toml")).unwrap();
    let at = config.find("[destination.google]").unwrap();
    shop.write_config(&config[..at].replace("destinations = [\"meta\", \"google\"]", "destinations = [\"meta\"]"));
    let report = forget(&shop, &mail(&people[2]), &["--json"]).expect(PARTIAL).json();
    let (google, why) = state(&report, "google");
    assert!(google == "blocked" && why.contains("not in the config"), "{report}");
    assert_eq!(state(&report, "meta").0, "erased");
    shop.write_config(&config);
    shop.reveil(&["forget", "resume"]).expect(DONE);
    for person in &people {
        assert_gone(&shop, person, "with the destination back");
        assert_no_trace(&shop, person, &[]);
    }
    let list = shop.reveil(&["forget", "status", "--json"]).expect(DONE).json();
    assert!(list["requests"].as_array().unwrap().iter().all(|request| request["state"] == "erased"), "{list}");
}

fn what_is_uncertain_counts_as_sent_and_what_is_unusable_stops_the_request(ground: Ground) {
    let Some(shop) = Place::open(ground, &Plan { customers: 500, seed: 33, ..Plan::default() }) else { return };
    shop.world().set_faults("meta.users.add:reset-applied".parse().unwrap());
    shop.sync(&[]);
    shop.world().set_faults(Faults::NONE);
    let held = shop.held(Platform::Meta).unwrap();
    assert!(!held.is_empty(), "it was applied, though nobody answered");
    let person = shop.customers.iter().find(|customer| {
        customer.phone.is_some()
            && customer.emails[0].as_ref().is_some_and(|mail| held.contains(&email_forms(mail).meta))
    });
    let person = person.expect("somebody").clone();
    let output = forget(&shop, &format!("email:nobody\nphone:12\ncustomer_id:{}\n", person.id), &[]).expect(USAGE);
    assert!(output.stderr.contains("identifier 1") && output.stderr.contains("identifier 2"), "{}", output.stderr);
    for (wrong, words) in [("", "no identifier"), ("hello\n", "line 1"), ("passport:123\n", "line 1")] {
        assert!(forget(&shop, wrong, &[]).expect(USAGE).stderr.contains(words));
    }
    forget(&shop, "customer_id:K1\n", &["--reference", "ann@example.com"]).expect(USAGE);
    let list = shop.reveil(&["forget", "status", "--json"]).expect(DONE).json();
    assert_eq!(list["requests"].as_array().map(Vec::len), Some(0));
    forget(&shop, &format!("customer_id:{}\n", person.id), &[]).expect(DONE);
    assert_gone(&shop, &person, "by customer id");
    shop.sync(&[]).expect(DONE);
    assert_gone(&shop, &person, "after the next sync");
    let nobody = forget(&shop, "email:never.seen@example.com\n", &[]).expect(DONE);
    assert!(nobody.stdout.contains("in no audience"), "{}", nobody.stdout);
}

/// Left to the daemon, tried again by it while a platform is away.
fn a_daemon_carries_out_what_was_left_to_it(ground: Ground) {
    let Some(shop) = Place::synced(ground, 34) else { return };
    let person = shop.customers[alone(&shop, |_| true)[0]].clone();
    let config = std::fs::read_to_string(shop.path().join("reveil.toml")).unwrap();
    let service = "[server]\nlisten = \"127.0.0.1:0\"\nopen_on_loopback = true\n[scheduler]\npoll_secs = 1\nretry_first_delay = \"1s\"\n";
    shop.write_config(&format!("{config}\n{service}"));
    // More refusals than one attempt has tries.
    shop.world().set_faults("meta.users.remove:error=503@next=10".parse().unwrap());
    let queued = forget(&shop, &format!("phone:{}\n", person.phone.as_ref().unwrap()), &["--queue", "--json"]);
    let id = queued.expect(PENDING).json()["id"].as_str().unwrap().to_owned();
    let mut daemon = binary::spawn(shop.path(), &["serve"]);
    let waited = std::time::Instant::now();
    let status = loop {
        let status = shop.reveil(&["forget", "status", &id, "--json"]).expect(DONE).json();
        if status["state"] == "erased" || waited.elapsed().as_secs() > 60 {
            break status;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    };
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert_eq!(status["state"], "erased", "{status}");
    assert_gone(&shop, &person, "by the daemon");
    assert_no_trace(&shop, &person, &[]);
    let meta = status["targets"].as_array().unwrap().iter().find(|target| target["destination"] == "meta").unwrap();
    assert_eq!(meta["attempts"], 2, "{status}");
}

/// In no ledger, so that an e-mail alone does not lead to their customer id before a sync meets the row.
fn somebody_only_withheld_leaves_the_experiment_with_the_next_sync(ground: Ground) {
    let Some(shop) = Place::synced(ground, 35) else { return };
    let withheld = |customer: &&Customer| {
        let alone = expected(std::slice::from_ref(customer), shop.as_of).held_out == 1;
        let shares = |other: &Customer| other.id != customer.id && !forms(other).is_disjoint(&forms(customer));
        alone && customer.emails[0].is_some() && !shop.customers.iter().any(shares)
    };
    let person = shop.customers.iter().find(withheld).expect("a tenth is withheld");
    let assigned = || {
        let is_it = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("assignment-");
        let mut files = files_below(&shop.path().join("state")).into_iter().filter(is_it);
        let file = files.find(|path| path.extension().is_some_and(|end| end == "bin")).expect("one experiment");
        Assignments::open(&file).unwrap().expect("the file is there").count()
    };
    let before = assigned();
    assert!(before > 100, "{before}");
    let mail = format!("email:{}\n", person.emails[0].as_ref().unwrap());
    let output = forget(&shop, &mail, &[]).expect(DONE);
    assert!(output.stdout.contains("in no audience"), "{}", output.stdout);
    assert_eq!(assigned(), before);
    let report = shop.sync(&[]).expect(DONE).json();
    assert_eq!(report["segment"]["excluded"]["erasure_requested"].as_u64().unwrap() - asked(&shop), 1, "{report}");
    assert_eq!(assigned(), before - 1, "the entry went when the row was met");
    shop.sync(&[]).expect(DONE);
    assert_eq!(assigned(), before - 1);
    shop.assert_exact("everybody else is where they were");
}
