//! How long a full request takes to write: 10,000 people with an e-mail and a phone, and with an address.
//! `cargo bench -p reveil-google`.

use reveil_sdk::testing::ScriptedTransport;
use reveil_sdk::{
    AudienceRef, Batch, Connector, Consent, Context, IdentifierKind, MemberBuf, MemberKey, Operation, Options,
    SystemClock, Upload, ValueRef,
};
use secrecy::SecretString;

const MEMBERS: u32 = 10_000;

fn main() {
    divan::main();
}

#[divan::bench]
fn email_and_phone(bencher: divan::Bencher<'_, '_>) {
    write(bencher, false);
}

#[divan::bench]
fn with_address(bencher: divan::Bencher<'_, '_>) {
    write(bencher, true);
}

fn write(bencher: divan::Bencher<'_, '_>, address: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (google, batch) = (connector(), batch(address));
    let audience = AudienceRef { id: "9876543210".to_owned(), created: false };
    let upload = Upload { batch: &batch, session: 1, ordinal: 1, last: true, estimated_members: u64::from(MEMBERS) };
    bencher
        .counter(divan::counter::ItemsCount::new(MEMBERS))
        .with_inputs(|| ScriptedTransport::new().reply(200, r#"{ "requestId": "abc123" }"#))
        .bench_refs(|transport| {
            let cx = Context { transport, clock: &SystemClock };
            runtime.block_on(google.add(&cx, &audience, &upload)).expect("the script accepts")
        });
}

fn connector() -> Box<dyn Connector> {
    let mut options = Options { account: "1234567890".to_owned(), ..Options::default() };
    options.settings.insert("customer_match_terms".to_owned(), "accepted".into());
    let key_file = include_str!("../fixtures/service_account.json");
    options.secrets.insert("service_account".to_owned(), SecretString::from(key_file));
    reveil_google::connect(options).expect("the settings are right")
}

fn batch(address: bool) -> Batch {
    let mut batch = Batch::new(Operation::Add, Consent::GRANTED);
    let mut buffer = MemberBuf::new();
    for index in 0..MEMBERS {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&index.to_be_bytes());
        let digest = ValueRef::Digest(&digest);
        buffer.clear();
        buffer.begin(MemberKey([0; 12]), 0);
        let mut values = vec![(IdentifierKind::Email, digest), (IdentifierKind::Phone, digest)];
        if address {
            values.extend([
                (IdentifierKind::GivenName, digest),
                (IdentifierKind::FamilyName, digest),
                (IdentifierKind::Postcode, ValueRef::Plain("75001")),
                (IdentifierKind::Country, ValueRef::Plain("FR")),
            ]);
        }
        assert!(values.into_iter().all(|(kind, value)| buffer.push(kind, value)));
        batch.push(buffer.last().expect("a member was begun"));
    }
    batch
}
