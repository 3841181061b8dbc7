//! Identity against a naive model that keeps everything in memory.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, proptest};
use reveil_sdk::MemberKey;

use super::{Arm, Drop, HoldoutBuilder, Identity, IdentityBuilder, Role, bucket};

#[derive(Debug, Clone)]
struct Customer {
    id: String,
    key: u8,
    role: Role,
    /// Slot and value.
    values: Vec<(u8, u8)>,
}

fn digest(value: u8) -> [u8; 32] {
    // Two of three lie in different parts.
    let mut digest = [value; 32];
    digest[0] = value % 3;
    digest
}

fn build(customers: &[Customer], shared_above: u32) -> (tempfile::TempDir, Identity) {
    let dir = tempfile::tempdir().unwrap();
    let mut builder = IdentityBuilder::create(dir.path(), shared_above).unwrap();
    for (index, customer) in customers.iter().enumerate() {
        let digests: Vec<_> = customer.values.iter().map(|(slot, value)| (*slot, digest(*value))).collect();
        let digests = digests.iter().map(|(slot, digest)| (*slot, digest));
        builder.push(index as u32, MemberKey([customer.key; 12]), customer.role, digests).unwrap();
    }
    let identity = builder.finish().unwrap();
    (dir, identity)
}

fn customer(key: u8, role: Role, values: &[(u8, u8)]) -> Customer {
    Customer { id: key.to_string(), key, role, values: values.to_vec() }
}

#[test]
fn buckets_are_the_published_ones() {
    assert_eq!(bucket("exp-2026-01", "12346"), 4609);
    assert_eq!(bucket("exp-2026-01", "17850"), 8446);
    let held = (1..=23_570).filter(|id| bucket("exp-2026-01", id.to_string()) < 1_000).count();
    assert_eq!(held, 2271);
}

#[test]
fn verdicts_name_the_strongest_reason_and_leave_one_owner() {
    use Role::{Active, Other, Refused, Target};
    let customers = [
        customer(5, Target, &[(0, 1), (1, 2), (8, 3), (9, 4)]),
        customer(4, Target, &[(0, 4), (8, 9)]),
        customer(6, Active, &[(0, 1), (8, 2)]),
        customer(7, Refused, &[(0, 2)]),
        customer(8, Other, &[(0, 3)]),
        customer(9, Target, &[(0, 50), (1, 50)]),
    ];
    let (_dir, identity) = build(&customers, 5);
    assert_eq!(identity.verdict(0, 0), Some(Drop::HeldByActive));
    assert_eq!(identity.verdict(0, 1), Some(Drop::HeldByRefused), "a refusal weighs more than activity");
    assert_eq!(identity.verdict(0, 8), None, "others forbid nothing");
    assert_eq!(identity.verdict(0, 9), Some(Drop::HeldByOther));
    assert_eq!((identity.verdict(1, 0), identity.verdict(1, 8)), (None, None));
    assert_eq!((identity.verdict(5, 0), identity.verdict(5, 1)), (None, None), "twice in one row is not shared");
    assert!((0..5).all(|index| identity.unit(index) == 0));
    let counts = identity.counts();
    assert_eq!((counts.customers, counts.units, counts.multi_customer_units, counts.largest_unit), (6, 2, 1, 5));
}

#[test]
fn placeholders_link_nobody_and_are_sent_for_nobody() {
    let customers: Vec<_> = (0..6).map(|key| customer(key, Role::Target, &[(0, 1), (1, 100 + key)])).collect();
    let (_dir, identity) = build(&customers, 5);
    assert!((0..6).all(|index| identity.verdict(index, 0) == Some(Drop::SharedPlaceholder)));
    assert!((0..6).all(|index| identity.verdict(index, 1).is_none() && identity.unit(index) == index));
    assert_eq!((identity.counts().placeholders, identity.counts().units), (1, 6));
    let (_dir, identity) = build(&customers[1..], 5);
    assert_eq!((identity.counts().placeholders, identity.counts().units), (0, 1));
    assert_eq!((0..5).filter(|index| identity.verdict(*index, 0).is_none()).count(), 1);
}

#[test]
fn a_unit_is_held_out_by_its_smallest_id() {
    let mut customers: Vec<_> = (0..200u8).map(|key| customer(key, Role::Target, &[(0, key / 2)])).collect();
    customers.extend((0..50).map(|key| customer(200 + key, Role::Target, &[])));
    let (dir, identity) = build(&customers, 5);
    let arms = vec![
        Arm { salt: "universal".into(), holdout_bps: 500 },
        Arm { salt: "exp-2026-01".into(), holdout_bps: 3_000 },
    ];
    let mut builder = HoldoutBuilder::create(&identity, dir.path(), arms).unwrap();
    for (index, customer) in customers.iter().enumerate() {
        builder.push(index as u32, &customer.id).unwrap();
    }
    let holdout = builder.finish().unwrap();
    let holds = |key: &String| bucket("universal", key) < 500 || bucket("exp-2026-01", key) < 3_000;
    for index in 0..100 {
        let (a, b) = (2 * index, 2 * index + 1);
        let smallest = customers[a].id.clone().min(customers[b].id.clone());
        assert_eq!([a, b].map(|index| holdout.held_out(index as u32)), [holds(&smallest); 2]);
    }
    for (index, customer) in customers.iter().enumerate().skip(200) {
        assert_eq!(holdout.held_out(index as u32), holds(&customer.id));
    }
    assert_eq!(holdout.count(), (0..250).filter(|index| holdout.held_out(*index)).count() as u64);
    assert!((40..140).contains(&holdout.count()));
}

fn customers() -> impl Strategy<Value = Vec<Customer>> {
    let role = (0usize..6)
        .prop_map(|role| [Role::Target, Role::Target, Role::Target, Role::Active, Role::Refused, Role::Other][role]);
    let one = (0u8..30, role, proptest::collection::btree_map(0u8..16, 0u8..40, 0..4), 0u32..2_000);
    vec(one, 0..40).prop_map(|rows| {
        let rows = rows.into_iter().map(|(key, role, values, id)| Customer {
            id: id.to_string(),
            key,
            role,
            values: values.into_iter().collect(),
        });
        rows.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_naive_model(customers in customers(), shared_above in 1u32..5, bps in 0u16..10_000) {
        let (dir, identity) = build(&customers, shared_above);
        let mut holders: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
        for (index, customer) in customers.iter().enumerate() {
            for (_, value) in &customer.values {
                holders.entry(*value).or_default().push(index);
            }
        }
        let keys = |held: &[usize]| held.iter().map(|index| customers[*index].key).collect::<BTreeSet<_>>();
        let placeholder = |held: &[usize]| keys(held).len() > shared_above as usize;
        // Units: labels flow along shared values until nothing changes.
        let mut labels: Vec<usize> = (0..customers.len()).collect();
        for _ in 0..customers.len() {
            for held in holders.values().filter(|held| !placeholder(held)) {
                let label = held.iter().map(|index| labels[*index]).min().unwrap();
                held.iter().for_each(|index| labels[*index] = label);
            }
        }
        for (index, label) in labels.iter().enumerate() {
            assert_eq!(identity.unit(index as u32) as usize, *label);
        }
        let sizes = labels.iter().fold(BTreeMap::new(), |mut sizes, label| {
            *sizes.entry(*label).or_insert(0u32) += 1;
            sizes
        });
        let counts = identity.counts();
        assert_eq!(counts.units as usize, sizes.len());
        assert_eq!(counts.multi_customer_units as usize, sizes.values().filter(|size| **size > 1).count());
        assert_eq!(counts.largest_unit, sizes.values().copied().max().unwrap_or(0));
        assert_eq!(counts.placeholders as usize, holders.values().filter(|held| placeholder(held)).count());
        // Verdicts.
        for (index, customer) in customers.iter().enumerate() {
            for slot in 0..16 {
                let value = customer.values.iter().find(|(own, _)| *own == slot).map(|(_, value)| value);
                let expected = value.filter(|_| customer.role == Role::Target).and_then(|value| {
                    let held = &holders[value];
                    let by = |role| held.iter().any(|index| customers[*index].role == role);
                    let targets = held.iter().filter(|index| customers[**index].role == Role::Target);
                    let owner = targets.map(|index| customers[*index].key).min();
                    if placeholder(held) {
                        Some(Drop::SharedPlaceholder)
                    } else if by(Role::Refused) {
                        Some(Drop::HeldByRefused)
                    } else if by(Role::Active) {
                        Some(Drop::HeldByActive)
                    } else {
                        (owner != Some(customer.key)).then_some(Drop::HeldByOther)
                    }
                });
                assert_eq!(identity.verdict(index as u32, slot), expected);
            }
            assert_eq!(identity.any_verdict(index as u32), (0..16).any(|slot| identity.verdict(index as u32, slot).is_some()));
        }
        // Holdout.
        let arm = Arm { salt: "s".into(), holdout_bps: bps };
        let mut builder = HoldoutBuilder::create(&identity, dir.path(), vec![arm]).unwrap();
        for (index, customer) in customers.iter().enumerate() {
            builder.push(index as u32, &customer.id).unwrap();
        }
        let holdout = builder.finish().unwrap();
        for (index, label) in labels.iter().enumerate() {
            let unit = customers.iter().zip(&labels).filter(|(_, other)| *other == label);
            let smallest = unit.map(|(customer, _)| &customer.id).min().unwrap();
            assert_eq!(holdout.held_out(index as u32), bucket("s", smallest) < bps);
        }
    }
}
