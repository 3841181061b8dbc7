//! Who is universally withheld is in no audience, and neither is anybody of the household.

use std::collections::{BTreeMap, BTreeSet};

use reveil::assignment::{Arm, Assignments, path, planned_share};
use reveil::identity::bucket;
use reveil::sync::gather::arms;
use sha2::{Digest as _, Sha256};

use crate::shop::{Person, Shop};

const AUDIENCES: &str = r#"
[holdout]
share = "10%"
[audience.dormant]
label = "Dormant"
inactive = { no_event_days = { kinds = ["order"], days = 180 } }
holdout = "20%"
destinations = ["meta"]
[audience.asleep]
label = "Asleep"
inactive = { no_event_days = { kinds = ["order"], days = 90 } }
destinations = ["meta"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_universally_withheld_household_is_in_no_audience() {
    // Three in four live in households of two or three.
    let people: Vec<Person> = (0..1_200_u32)
        .map(|n| Person { id: format!("c{:05}", (n * 7) % 1_200), household: (n % 4 != 0).then_some(n / 5) })
        .collect();
    let mut smallest: BTreeMap<u32, &str> = BTreeMap::new();
    for person in &people {
        if let Some(household) = person.household {
            let known = smallest.entry(household).or_insert(&person.id);
            *known = (*known).min(&person.id);
        }
    }
    let unit = |person: &Person| person.household.map_or(person.id.clone(), |household| smallest[&household].into());
    let universal = |person: &Person| bucket("universal", unit(person)) < 1_000;
    let shop = Shop::open(&people, AUDIENCES).await;
    let secret = std::fs::read(shop.dir.path().join("state/member.key"));
    assert!(secret.is_err(), "made by the first sync");
    for (audience, own_bps) in [("dormant", 2_000), ("asleep", 0)] {
        let report = shop.sync(audience).await;
        let secret = std::fs::read(shop.dir.path().join("state/member.key")).unwrap();
        let draws = arms(&shop.engine.config, audience).unwrap();
        assert_eq!(planned_share(&draws), if own_bps == 0 { 10_000_000 } else { 28_000_000 });
        let mut assigned = BTreeMap::new();
        let mut file = Assignments::open(&path(&shop.engine.audience_dir(audience), &draws)).unwrap().unwrap();
        while let Some(record) = file.next().unwrap() {
            assigned.insert(record.key.0, record.arm);
        }
        assert_eq!(assigned.len(), people.len());
        let held: BTreeSet<&str> = people
            .iter()
            .filter(|person| universal(person) || bucket(audience, unit(person)) < own_bps)
            .map(|person| person.id.as_str())
            .collect();
        assert!(held.len() > 60 && people.iter().filter(|person| universal(person)).count() > 60);
        for person in &people {
            let digest = Sha256::new().chain_update(&secret).chain_update(&person.id).finalize();
            let arm = if held.contains(person.id.as_str()) { Arm::Holdout } else { Arm::Treated };
            assert_eq!(assigned[&digest[..12]], arm, "{} of {:?} in {audience}", person.id, person.household);
        }
        // The platform took exactly the others.
        assert_eq!(report.destinations[0].counts.sent, (people.len() - held.len()) as u64);
        assert_eq!(report.destinations[0].excluded.get("holdout"), held.len() as u64);
    }
    shop.sandbox.stop().await.unwrap();
}
