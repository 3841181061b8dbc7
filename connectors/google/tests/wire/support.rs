//! What the wire tests share: a destination, members made of invented values, and readers of recorded calls.

use chrono::{DateTime, TimeZone, Utc};
use reveil_sdk::testing::{FixedClock, ScriptedTransport};
use reveil_sdk::{
    AudienceRef, Batch, Call, Connector, Consent, Context, IdentifierKind, MemberBuf, MemberKey, Operation, Options,
    Upload, ValueRef,
};
use secrecy::SecretString;
use serde_json::{Value, json};

pub const LISTS: &str = "/v1/accountTypes/GOOGLE_ADS/accounts/1234567890/userLists";

/// Options of a destination with a service account and the terms accepted; `settings` are added or, when null, removed.
pub fn options(settings: Value) -> Options {
    let mut options = Options { account: "123-456-7890".to_owned(), ..Options::default() };
    options.settings.insert("customer_match_terms".to_owned(), json!("accepted"));
    for (key, value) in settings.as_object().expect("an object") {
        match value {
            Value::Null => options.settings.remove(key),
            value => options.settings.insert(key.clone(), value.clone()),
        };
    }
    let key_file = include_str!("../../fixtures/service_account.json");
    options.secrets.insert("service_account".to_owned(), SecretString::from(key_file));
    options
}

pub fn connector(settings: Value) -> Box<dyn Connector> {
    reveil_google::connect(options(settings)).expect("the settings are right")
}

pub fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 22, 3, 0, 0).unwrap()
}

pub static CLOCK: std::sync::LazyLock<FixedClock> = std::sync::LazyLock::new(|| FixedClock(now()));

pub fn context(transport: &ScriptedTransport) -> Context<'_> {
    Context { transport, clock: &*CLOCK }
}

pub fn list() -> AudienceRef {
    AudienceRef { id: "9876543210".to_owned(), created: false }
}

pub fn upload(batch: &Batch) -> Upload<'_> {
    Upload { batch, session: 1, ordinal: 1, last: true, estimated_members: batch.len() as u64 }
}

/// A member with digests made of one byte each, and an address when its parts are given.
#[derive(Debug, Clone, Default)]
pub struct Person {
    pub emails: Vec<u8>,
    pub phones: Vec<u8>,
    pub given: Option<u8>,
    pub family: Option<u8>,
    pub postcode: Option<String>,
    pub country: Option<String>,
}

pub fn batch(operation: Operation, consent: Consent, people: &[Person]) -> Batch {
    let mut batch = Batch::new(operation, consent);
    let mut buffer = MemberBuf::new();
    for (index, person) in people.iter().enumerate() {
        let mut key = [0; 12];
        key[..8].copy_from_slice(&(index as u64).to_be_bytes());
        buffer.clear();
        buffer.begin(MemberKey(key), 0);
        let digests = [(IdentifierKind::Email, &person.emails), (IdentifierKind::Phone, &person.phones)];
        for (kind, values) in digests {
            for value in values {
                assert!(buffer.push(kind, ValueRef::Digest(&[*value; 32])));
            }
        }
        for (kind, value) in [(IdentifierKind::GivenName, person.given), (IdentifierKind::FamilyName, person.family)] {
            if let Some(value) = value {
                assert!(buffer.push(kind, ValueRef::Digest(&[value; 32])));
            }
        }
        for (kind, value) in [(IdentifierKind::Postcode, &person.postcode), (IdentifierKind::Country, &person.country)]
        {
            if let Some(value) = value {
                assert!(buffer.push(kind, ValueRef::Plain(value)));
            }
        }
        batch.push(buffer.last().expect("a member was begun"));
    }
    batch
}

/// `n` people with one e-mail and one phone each.
pub fn people(n: usize) -> Vec<Person> {
    (0..n)
        .map(|index| Person { emails: vec![index as u8], phones: vec![!(index as u8)], ..Person::default() })
        .collect()
}

pub fn hex(value: u8) -> String {
    format!("{value:02x}").repeat(32)
}

pub fn body(call: &Call) -> Value {
    serde_json::from_slice(&call.body).expect("the body is JSON")
}

pub fn header<'a>(call: &'a Call, name: &str) -> Option<&'a str> {
    Some(call.headers.get(name)?.to_str().expect("text"))
}

/// `POST /v1/…?…` as it goes out.
pub fn line(call: &Call) -> String {
    match call.url.query() {
        Some(query) => format!("{} {}?{query}", call.method, call.url.path()),
        None => format!("{} {}", call.method, call.url.path()),
    }
}
