//! Properties of the rows, over members of every shape.

use proptest::prelude::*;
use reveil_sdk::testing::ScriptedTransport;
use reveil_sdk::{Batch, Consent, IdentifierKind, MemberBuf, MemberKey, Operation, ValueRef};
use serde_json::Value;

use crate::support::{audience, batch, body, connector, fixture, only, run, upload};

/// SHA-256 of nothing.
const EMPTY_HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const NAMES: [(IdentifierKind, &str); 5] = [
    (IdentifierKind::GivenName, "FN"),
    (IdentifierKind::FamilyName, "LN"),
    (IdentifierKind::Postcode, "ZIP"),
    (IdentifierKind::City, "CT"),
    (IdentifierKind::Country, "COUNTRY"),
];

#[derive(Debug, Clone)]
struct Person {
    emails: Vec<[u8; 32]>,
    phones: Vec<[u8; 32]>,
    mobiles: Vec<String>,
    names: Vec<Option<[u8; 32]>>,
}

fn digest_or_empty() -> impl Strategy<Value = [u8; 32]> {
    prop_oneof![9 => any::<[u8; 32]>(), 1 => Just(const_hex::decode_to_array(EMPTY_HEX).unwrap())]
}

fn person() -> impl Strategy<Value = Person> {
    (
        prop::collection::vec(digest_or_empty(), 0..=7),
        prop::collection::vec(digest_or_empty(), 0..=7),
        prop::collection::vec("[a-z0-9\"\\\\-]{1,36}", 0..=3),
        prop::collection::vec(prop::option::of(digest_or_empty()), 5),
    )
        .prop_map(|(emails, phones, mobiles, names)| Person { emails, phones, mobiles, names })
}

fn encode(key: u32, person: &Person) -> MemberBuf {
    let mut id = [0; 12];
    id[..4].copy_from_slice(&key.to_be_bytes());
    let mut buffer = MemberBuf::new();
    buffer.begin(MemberKey(id), 0);
    for email in &person.emails {
        assert!(buffer.push(IdentifierKind::Email, ValueRef::Digest(email)));
    }
    for phone in &person.phones {
        assert!(buffer.push(IdentifierKind::Phone, ValueRef::Digest(phone)));
    }
    for mobile in &person.mobiles {
        assert!(buffer.push(IdentifierKind::MobileAdId, ValueRef::Plain(mobile)));
    }
    for ((kind, _), digest) in NAMES.iter().zip(&person.names) {
        if let Some(digest) = digest {
            assert!(buffer.push(*kind, ValueRef::Digest(digest)));
        }
    }
    buffer
}

/// What a person should be known by, as (column, cell).
fn expected(person: &Person) -> Vec<(String, String)> {
    let digests = |column: &str, values: &[[u8; 32]]| -> Vec<(String, String)> {
        values
            .iter()
            .map(|value| (column.to_owned(), const_hex::encode(value)))
            .filter(|(_, hex)| hex != EMPTY_HEX)
            .collect()
    };
    let mut cells = digests("EMAIL", &person.emails);
    cells.extend(digests("PHONE", &person.phones));
    cells.extend(person.mobiles.iter().map(|mobile| ("MADID".to_owned(), mobile.clone())));
    for ((_, column), digest) in NAMES.iter().zip(&person.names) {
        cells.extend(digests(column, digest.as_slice()));
    }
    cells.sort();
    cells
}

fn sent(batch: &Batch, replace: bool) -> (Vec<Value>, Vec<u32>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let transport = ScriptedTransport::new().reply(200, fixture!("users_added"));
        let upload = reveil_sdk::Upload { ordinal: 2, ..upload(batch) };
        let receipt = if replace {
            run!(transport, |cx| connector().replace(cx, &audience(), &upload)).unwrap()
        } else {
            run!(transport, |cx| connector().add(cx, &audience(), &upload)).unwrap()
        };
        let bodies: Vec<Value> = transport.calls().iter().map(body).collect();
        let rows: usize = bodies.iter().map(|body| body["payload"]["data"].as_array().unwrap().len()).sum();
        assert_eq!(receipt.rows, rows as u64);
        (bodies, receipt.rejected.iter().map(|rejection| rejection.index).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn rows_hold_each_member_whole_and_nothing_else(people in prop::collection::vec(person(), 1..12), replace: bool) {
        let members: Vec<_> = people.iter().enumerate().map(|(key, person)| encode(key as u32, person)).collect();
        let (bodies, rejected) = sent(&batch(Operation::Add, &members), replace);
        let mut seen = vec![Vec::new(); people.len()];
        for body in &bodies {
            prop_assert!(!body.to_string().contains(EMPTY_HEX));
            let schema: Vec<&str> = body["payload"]["schema"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
            prop_assert_eq!(schema[0], "EXTERN_ID");
            for row in body["payload"]["data"].as_array().unwrap() {
                let cells: Vec<&str> = row.as_array().unwrap().iter().map(|cell| cell.as_str().unwrap()).collect();
                prop_assert_eq!(cells.len(), schema.len());
                let key = usize::from_str_radix(&cells[0][..8], 16).unwrap();
                prop_assert_eq!(cells[0].len(), 24);
                for (column, cell) in schema.iter().zip(&cells).skip(1).filter(|(_, cell)| !cell.is_empty()) {
                    seen[key].push(((*column).to_owned(), (*cell).to_owned()));
                }
            }
        }
        for (index, person) in people.iter().enumerate() {
            seen[index].sort();
            seen[index].dedup();
            let mut wanted = expected(person);
            wanted.dedup();
            prop_assert_eq!(wanted.is_empty(), rejected.contains(&(index as u32)));
            prop_assert_eq!(&seen[index], &wanted);
        }
    }
}

/// Prints how long a full batch takes to write; `cargo test --release -p reveil-meta --test wire -- --nocapture full_batch`.
#[test]
fn a_full_batch_is_written_whole() {
    let mut batch = Batch::new(Operation::Add, Consent::GRANTED);
    for key in 0..10_000u32 {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&key.to_be_bytes());
        let person = Person { emails: vec![id], phones: vec![id], mobiles: vec![], names: vec![] };
        batch.push(encode(key, &person).last().unwrap());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let connector = connector();
    let mut best = std::time::Duration::MAX;
    for _ in 0..20 {
        let transport = ScriptedTransport::new().reply(200, fixture!("users_added"));
        let start = std::time::Instant::now();
        let receipt =
            runtime.block_on(async { run!(transport, |cx| connector.add(cx, &audience(), &upload(&batch))).unwrap() });
        best = best.min(start.elapsed());
        assert_eq!(receipt.rows, 10_000);
        let call = only(&transport);
        assert_eq!(body(&call)["payload"]["data"].as_array().unwrap().len(), 10_000);
        assert!(call.body.len() < 1_700_000, "{} bytes", call.body.len());
    }
    println!("10,000 members in one request: {best:?}");
}
