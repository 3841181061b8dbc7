//! A connector over a script, members made up on the spot.

use chrono::{DateTime, Utc};
use reveil_sdk::testing::{FixedClock, ScriptedTransport};
use reveil_sdk::{
    AudienceRef, Batch, Call, Connector, Consent, IdentifierKind, MemberBuf, MemberKey, Operation, Options, Upload,
    ValueRef,
};
use serde_json::{Value, json};

pub const SESSION: u64 = 9_778_993;
/// 2026-11-22 05:00 UTC; the fixture's session began within a day before.
pub const NOW: i64 = 1_795_323_600;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../fixtures/", $name, ".json"))
    };
}
pub(crate) use fixture;

pub fn options(settings: Value) -> Options {
    let Value::Object(settings) = settings else { panic!("settings are an object") };
    Options {
        account: "act_123456789".into(),
        settings,
        secrets: [("token".to_owned(), "TOKEN".into())].into(),
        base_url: Some("http://127.0.0.1:9999/meta".parse().unwrap()),
    }
}

pub fn connector() -> Box<dyn Connector> {
    reveil_meta::connect(options(json!({}))).unwrap()
}

pub fn clock() -> FixedClock {
    FixedClock(DateTime::<Utc>::from_timestamp(NOW, 0).unwrap())
}

/// Runs `$call` of a connector against a script.
macro_rules! run {
    ($transport:expr, |$cx:ident| $call:expr) => {{
        let clock = crate::support::clock();
        let $cx = &reveil_sdk::Context { transport: &$transport, clock: &clock };
        $call.await
    }};
}
pub(crate) use run;

pub fn audience() -> AudienceRef {
    AudienceRef { id: "120200000000000001".into(), created: false }
}

pub fn digest(byte: u8) -> [u8; 32] {
    [byte; 32]
}

pub fn hex(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

pub fn key_hex(byte: u8) -> String {
    format!("{byte:02x}").repeat(12)
}

/// A member with these e-mails and phones.
pub fn member(key: u8, emails: &[[u8; 32]], phones: &[[u8; 32]]) -> MemberBuf {
    let mut buffer = MemberBuf::new();
    buffer.begin(MemberKey([key; 12]), 0);
    for email in emails {
        assert!(buffer.push(IdentifierKind::Email, ValueRef::Digest(email)));
    }
    for phone in phones {
        assert!(buffer.push(IdentifierKind::Phone, ValueRef::Digest(phone)));
    }
    buffer
}

pub fn batch(operation: Operation, members: &[MemberBuf]) -> Batch {
    let mut batch = Batch::new(operation, Consent::GRANTED);
    for member in members {
        batch.push(member.last().unwrap());
    }
    batch
}

/// Two persons: an e-mail and a phone; an e-mail alone.
pub fn two(operation: Operation) -> Batch {
    batch(operation, &[member(0xc1, &[digest(0xe1)], &[digest(0xf1)]), member(0xc2, &[digest(0xe2)], &[])])
}

pub fn upload(batch: &Batch) -> Upload<'_> {
    Upload { batch, session: SESSION, ordinal: 1, last: false, estimated_members: 25_000 }
}

pub fn only(transport: &ScriptedTransport) -> Call {
    let mut calls = transport.calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    calls.remove(0)
}

pub fn body(call: &Call) -> Value {
    serde_json::from_slice(&call.body).unwrap()
}

pub fn query(call: &Call) -> Vec<(String, String)> {
    call.url.query_pairs().into_owned().collect()
}
