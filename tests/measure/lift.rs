//! A campaign of known effect, its orders in the warehouse, and what the measurement makes of them.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use reveil::identity::bucket;
use reveil::report::lift::{Question, of_audience};
use reveil_sdk::Clock as _;
use reveil_synth::{CampaignMember, CampaignParameters, simulate_campaign};

use crate::shop::{Person, Shop, add};

const AUDIENCE: &str = r#"
[audience.dormant]
label = "Dormant"
inactive = { no_event_days = { kinds = ["order"], days = 180 } }
holdout = "20%"
destinations = ["meta"]
"#;

fn held_out(id: &str) -> bool {
    bucket("dormant", id) < 2_000
}

#[tokio::test(flavor = "multi_thread")]
async fn measures_what_the_campaign_did() {
    let people: Vec<Person> = (0..4_000).map(|n| Person { id: format!("c{n:05}"), household: None }).collect();
    let shop = Shop::open(&people, AUDIENCE).await;
    let question = Question { as_of: shop.clock.now(), window_days: 60, cap_minor: None };
    assert_eq!(of_audience(&shop.engine, "dormant", question).await.unwrap(), None, "nobody was assigned yet");
    let report = shop.sync("dormant").await;
    let (held, treated): (Vec<_>, Vec<_>) = people.iter().partition(|person| held_out(&person.id));
    assert_eq!(report.destinations[0].counts.sent, treated.len() as u64);

    // The campaign: everybody reachable, purchases doubled among those who see many ads.
    let members = people.iter().enumerate().map(|(n, person)| CampaignMember {
        person: n as u64,
        reachable: !held_out(&person.id),
        baseline_probability: 0.10,
    });
    let parameters = CampaignParameters { lift_ratio: 1.5, mean_exposures: 12.0, seed: 5, ..Default::default() };
    let mut connection = shop.warehouse();
    let transaction = connection.transaction().unwrap();
    let (mut buyers, mut truth) = ([0, 0], 0.0);
    for outcome in simulate_campaign(members, parameters).unwrap() {
        let id = &people[outcome.person as usize].id;
        if !held_out(id) {
            truth += outcome.purchase_probability - 0.10;
        }
        if let Some(after) = outcome.purchased_after_secs {
            buyers[usize::from(held_out(id))] += 1;
            add(&transaction, id, after as f64 / 86_400.0, "order", 50.0);
        }
    }
    // Out of the window, before it, undone, and a stranger: none may move the count of buyers.
    add(&transaction, &treated[0].id, 60.0, "order", 9_999.0);
    add(&transaction, &held[0].id, -1.0, "order", 30.0);
    add(&transaction, &held[1].id, 10.0, "refund", 7.5);
    add(&transaction, &treated[1].id, 10.0, "cancel", -12.5);
    add(&transaction, "stranger", 10.0, "order", 9_999.0);
    transaction.commit().unwrap();
    drop(connection);

    shop.pass_days(20);
    let early = Question { as_of: shop.clock.now(), ..question };
    let early = of_audience(&shop.engine, "dormant", early).await.unwrap().unwrap();
    assert_eq!(early.windows_open, 4_000);
    assert!(early.treated.buyers < buyers[0], "what has not happened yet does not count");

    shop.pass_days(100);
    let question = Question { as_of: shop.clock.now(), ..question };
    let outcome = of_audience(&shop.engine, "dormant", question).await.unwrap().unwrap();
    assert_eq!((outcome.treated.persons, outcome.holdout.persons), (treated.len() as u64, held.len() as u64));
    assert_eq!((outcome.treated.buyers, outcome.holdout.buyers), (buyers[0], buyers[1]));
    assert_eq!(outcome.treated.revenue_minor, buyers[0] as i64 * 5_000 - 1_250);
    assert_eq!(outcome.holdout.revenue_minor, buyers[1] as i64 * 5_000 - 750);
    assert_eq!(outcome.holdout.before_minor, held.len() as i64 * 2_000 + 3_000);
    assert_eq!((outcome.windows_open, outcome.planned_holdout_share), (0, 0.2));
    assert_eq!(outcome.first_assigned.to_string(), "2026-01-01");

    // Private, beside the ledgers, and nothing of anybody in it.
    let dir = shop.engine.audience_dir("dormant");
    let file = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "bin")).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 8 + 4_000 * 30 + 12);

    // A later sync, with the buyers gone from the segment, changes no assignment.
    shop.sync("dormant").await;
    let again = of_audience(&shop.engine, "dormant", question).await.unwrap().unwrap();
    assert_eq!(again, outcome);

    let truth = truth / treated.len() as f64;
    let json = measure_command(&shop, &["--as-of", "2026-05-01", "--margin", "0.4", "--cost", "4000", "--json"]);
    let number =
        |path: &str| json.pointer(path).and_then(serde_json::Value::as_f64).unwrap_or_else(|| panic!("{path}"));
    assert!(number("/newcombe/0") <= truth && truth <= number("/newcombe/1"), "{truth} {}", json["newcombe"]);
    assert_eq!(json["verdict"], "above zero: the ads brought buyers back");
    assert_eq!(json["sample_ratio"]["blocked"], false);
    assert_eq!(json["assignment"]["treated"]["persons"], treated.len());
    assert_eq!(json["currency"], "EUR");
    let aov = number("/assignment/aov");
    assert!((49.0..50.0).contains(&aov), "{aov}");
    assert!(number("/iroas/estimate") > 0.0 && number("/revenue/plain/diff") > 0.0);
    assert!(number("/revenue/cuped/variance_ratio") > 0.5);
    assert!(json["revenue"]["winsorised"].is_object());
    let text = json.to_string();
    assert!(people.iter().take(50).all(|person| !text.contains(&person.id)), "no identifier in the report");
    let interim = measure_command(&shop, &["--as-of", "2026-02-01", "--json"]);
    assert!(interim["warnings"][0].as_str().unwrap().contains("window"), "{interim}");
    shop.sandbox.stop().await.unwrap();
}

fn measure_command(shop: &Shop, more: &[&str]) -> serde_json::Value {
    let output = Command::new(env!("CARGO_BIN_EXE_reveil"))
        .args(["roi", "measure", "--audience", "dormant", "--config"])
        .arg(shop.config())
        .args(more)
        .env("SANDBOX_META_TOKEN", "sandbox-meta-token")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_household_is_one_person_who_bought_when_one_of_it_did() {
    // Households of two, and a hundred customers alone.
    let person = |n: u32| Person { id: format!("c{n:05}"), household: (n < 900).then_some(n / 2) };
    let people: Vec<Person> = (0..1_000).map(person).collect();
    let shop = Shop::open(&people, AUDIENCE).await;
    shop.sync("dormant").await;
    // Both of one household, the second of another, and one alone; the smaller id decides who is withheld.
    let (both, second, alone) = ("c00010", "c00020", "c00950");
    for (id, amount) in [(both, 10.0), ("c00011", 20.0), ("c00021", 40.0), (alone, 80.0)] {
        shop.event(id, 5.0, "order", amount);
    }
    shop.pass_days(100);
    let question = Question { as_of: shop.clock.now(), window_days: 60, cap_minor: None };
    let outcome = of_audience(&shop.engine, "dormant", question).await.unwrap().unwrap();
    let (treated, holdout) = (outcome.treated, outcome.holdout);
    assert_eq!((treated.persons + holdout.persons, treated.customers + holdout.customers), (550, 1_000));
    let withheld = (0..900).step_by(2).chain(900..1_000).filter(|n| held_out(&format!("c{n:05}"))).count();
    assert_eq!(holdout.persons, withheld as u64);
    let held: Vec<bool> = [both, second, alone].iter().map(|id| held_out(id)).collect();
    let expected = |arm: bool| held.iter().filter(|held| **held == arm).count() as u64;
    assert_eq!((treated.buyers, holdout.buyers), (expected(false), expected(true)));
    assert_eq!((treated.orders + holdout.orders, treated.revenue_minor + holdout.revenue_minor), (4, 15_000));
    shop.sandbox.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_arm_that_lost_people_blocks() {
    let people: Vec<Person> = (0..3_000).map(|n| Person { id: format!("c{n:05}"), household: None }).collect();
    let shop = Shop::open(&people, AUDIENCE).await;
    shop.sync("dormant").await;
    // As if the share had been another one than planned: take away half of the withheld.
    let dir = shop.engine.audience_dir("dormant");
    let draws = reveil::sync::gather::arms(&shop.engine.config, "dormant").unwrap();
    let path = reveil::assignment::path(&dir, &draws);
    let mut records = reveil::assignment::Assignments::open(&path).unwrap().unwrap();
    let mut kept = Vec::new();
    while let Some(record) = records.next().unwrap() {
        if record.arm == reveil::assignment::Arm::Treated || kept.len() % 2 == 0 {
            kept.push(record);
        }
    }
    std::fs::remove_file(&path).unwrap();
    let mut merger = reveil::assignment::Merger::start(&path).unwrap();
    kept.into_iter().for_each(|record| merger.push(record).unwrap());
    merger.finish().unwrap();
    shop.event("c00001", 3.0, "order", 10.0);
    let json = measure_command(&shop, &["--as-of", "2026-05-01", "--json"]);
    assert_eq!(json["sample_ratio"]["blocked"], true);
    assert!(json["incremental_buyers"].is_null() && json["revenue"].is_null(), "{json}");
    shop.sandbox.stop().await.unwrap();
}
