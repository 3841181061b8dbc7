use chrono::TimeDelta;
use proptest::prelude::{Strategy, any, prop, proptest};
use reveil_sdk::testing::ScriptedTransport;
use reveil_sdk::{Consent, ConsentState, ErrorKind, Operation};
use serde_json::{Value, json};

use crate::support::{self, Person, body, connector, context, header, hex, line, list, now, people, upload};

const ACCEPTED: &str = include_str!("../../fixtures/accepted.json");

fn jane() -> Person {
    Person {
        emails: vec![0xe8, 0x50],
        phones: vec![0xfb],
        given: Some(0x96),
        family: Some(0xdb),
        postcode: Some("94043".to_owned()),
        country: Some("US".to_owned()),
    }
}

#[tokio::test]
async fn adding_sends_the_documented_request() {
    let google = connector(json!({ "login_account": "111-222-3333", "quota_project": "my-project" }));
    let transport = ScriptedTransport::new().reply(200, ACCEPTED);
    let plain = Person { emails: vec![1], ..Person::default() };
    let batch = support::batch(Operation::Add, Consent::GRANTED, &[jane(), plain]);
    let receipt = google.add(&context(&transport), &list(), &upload(&batch)).await.unwrap();

    assert_eq!((receipt.ticket.as_deref(), receipt.rows), (Some("abc123"), 2));
    assert!(receipt.rejected.is_empty());
    let call = &transport.calls()[0];
    assert_eq!(line(call), "POST /v1/audienceMembers:ingest");
    assert_eq!(call.url.host_str(), Some("datamanager.googleapis.com"));
    assert_eq!(header(call, "content-type"), Some("application/json"));
    assert_eq!(header(call, "x-goog-user-project"), Some("my-project"));
    assert!(call.idempotent);
    // Accounts go in the body here, never in headers.
    assert_eq!((header(call, "login-account"), header(call, "linked-account")), (None, None));
    assert_eq!(
        body(call),
        json!({
            "destinations": [ {
                "loginAccount": { "accountType": "GOOGLE_ADS", "accountId": "1112223333" },
                "operatingAccount": { "accountType": "GOOGLE_ADS", "accountId": "1234567890" },
                "productDestinationId": "9876543210" } ],
            "encoding": "HEX",
            "consent": { "adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED" },
            "termsOfService": { "customerMatchTermsOfServiceStatus": "ACCEPTED" },
            "validateOnly": false,
            "audienceMembers": [
                { "compositeData": { "userData": { "userIdentifiers": [
                    { "emailAddress": hex(0xe8) },
                    { "emailAddress": hex(0x50) },
                    { "phoneNumber": hex(0xfb) },
                    { "address": { "givenName": hex(0x96), "familyName": hex(0xdb), "regionCode": "US", "postalCode": "94043" } } ] } } },
                { "compositeData": { "userData": { "userIdentifiers": [ { "emailAddress": hex(1) } ] } } } ]
        })
    );
}

#[tokio::test]
async fn removing_sends_neither_consent_nor_terms() {
    // Removing must work without the terms: whoever withdraws them still has to take people off.
    let google = connector(json!({ "customer_match_terms": "withdrawn" }));
    let transport = ScriptedTransport::new().reply(200, r#"{ "requestId": "r1" }"#);
    let batch = support::batch(Operation::Remove, Consent::GRANTED, &people(1));
    let receipt = google.remove(&context(&transport), &list(), &upload(&batch)).await.unwrap();

    assert_eq!((receipt.ticket.as_deref(), receipt.rows), (Some("r1"), 1));
    let call = &transport.calls()[0];
    assert_eq!(line(call), "POST /v1/audienceMembers:remove");
    assert_eq!(
        body(call),
        json!({
            "destinations": [ {
                "operatingAccount": { "accountType": "GOOGLE_ADS", "accountId": "1234567890" },
                "productDestinationId": "9876543210" } ],
            "encoding": "HEX",
            "validateOnly": false,
            "audienceMembers": [ { "compositeData": { "userData": { "userIdentifiers": [
                { "emailAddress": hex(0) }, { "phoneNumber": hex(0xff) } ] } } } ]
        })
    );
}

#[tokio::test]
async fn a_sweep_names_the_time_in_whole_seconds() {
    let google = connector(json!({}));
    let transport = ScriptedTransport::new().reply(200, r#"{ "requestId": "s1" }"#);
    let before = now() + TimeDelta::milliseconds(999);
    let receipt = google.sweep(&context(&transport), &list(), before).await.unwrap();
    assert_eq!((receipt.ticket.as_deref(), receipt.rows), (Some("s1"), 0));
    let call = &transport.calls()[0];
    assert_eq!(line(call), "POST /v1/audienceMembers:removeAll");
    assert_eq!(
        body(call),
        json!({
            "destinations": [ { "operatingAccount": { "accountType": "GOOGLE_ADS", "accountId": "1234567890" },
                                "productDestinationId": "9876543210" } ],
            "removeAsOfTime": "2026-11-22T03:00:00Z", "validateOnly": false
        })
    );
}

#[tokio::test]
async fn only_granted_consent_is_written() {
    let cases = [
        (ConsentState::Unknown, ConsentState::Unknown, Value::Null),
        (ConsentState::Granted, ConsentState::Unknown, json!({ "adUserData": "CONSENT_GRANTED" })),
        (ConsentState::Unknown, ConsentState::Granted, json!({ "adPersonalization": "CONSENT_GRANTED" })),
    ];
    for (ad_user_data, ad_personalization, expected) in cases {
        let transport = ScriptedTransport::new().reply(200, ACCEPTED);
        let batch = support::batch(Operation::Add, Consent { ad_user_data, ad_personalization }, &people(1));
        connector(json!({})).add(&context(&transport), &list(), &upload(&batch)).await.unwrap();
        assert_eq!(body(&transport.calls()[0])["consent"], expected);
    }
}

#[tokio::test]
async fn denied_consent_is_never_sent() {
    for consent in [
        Consent { ad_user_data: ConsentState::Denied, ad_personalization: ConsentState::Granted },
        Consent { ad_user_data: ConsentState::Granted, ad_personalization: ConsentState::Denied },
    ] {
        let transport = ScriptedTransport::new().reply(200, ACCEPTED);
        let batch = support::batch(Operation::Add, consent, &people(2));
        let error = connector(json!({})).add(&context(&transport), &list(), &upload(&batch)).await.unwrap_err();
        // No body fault: cutting the batch in halves would not help.
        assert_eq!((error.kind(), error.is_body_fault()), (ErrorKind::Rejected, false));
        assert!(transport.calls().is_empty());
    }
}

#[tokio::test]
async fn without_the_terms_nothing_is_added() {
    let transport = ScriptedTransport::new().reply(200, ACCEPTED);
    let batch = support::batch(Operation::Add, Consent::GRANTED, &people(1));
    let google = connector(json!({ "customer_match_terms": "withdrawn" }));
    let error = google.add(&context(&transport), &list(), &upload(&batch)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.hint_text().unwrap().contains("customer_match_terms = \"accepted\""));
    assert!(transport.calls().is_empty());
}

#[tokio::test]
async fn members_without_a_usable_identifier_are_named_before_sending() {
    // Half an address would fail the whole request at Google.
    let half = Person { given: Some(1), family: Some(2), country: Some("FR".into()), ..Person::default() };
    let transport = ScriptedTransport::new().reply(200, ACCEPTED);
    let batch =
        support::batch(Operation::Add, Consent::GRANTED, &[people(1).remove(0), half.clone(), Person::default()]);
    let error = connector(json!({})).add(&context(&transport), &list(), &upload(&batch)).await.unwrap_err();
    let named: Vec<_> = error.rejections().iter().map(|rejection| (rejection.index, rejection.reason.code())).collect();
    assert_eq!(named, [(1, "no_identifiers"), (2, "no_identifiers")]);
    assert!(transport.calls().is_empty());
}

async fn identifiers_of(person: Person) -> Vec<Value> {
    let transport = ScriptedTransport::new().reply(200, ACCEPTED);
    let batch = support::batch(Operation::Add, Consent::GRANTED, &[person]);
    connector(json!({})).add(&context(&transport), &list(), &upload(&batch)).await.unwrap();
    let sent = body(&transport.calls()[0]);
    sent["audienceMembers"][0]["compositeData"]["userData"]["userIdentifiers"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_address_counts_as_one_of_ten_and_gives_way_to_emails_and_phones() {
    let alone = identifiers_of(Person { emails: vec![], phones: vec![], ..jane() }).await;
    assert_eq!(alone.len(), 1);
    assert!(alone[0].get("address").is_some());
    for (emails, phones, sent, address) in [(7, 2, 10, true), (7, 3, 10, false), (5, 7, 10, false), (7, 7, 10, false)] {
        let person = Person { emails: (0..emails).collect(), phones: (0..phones).collect(), ..jane() };
        let identifiers = identifiers_of(person).await;
        assert_eq!(identifiers.len(), sent, "{emails} + {phones}");
        assert_eq!(identifiers.iter().filter(|one| one.get("emailAddress").is_some()).count(), usize::from(emails));
        assert_eq!(identifiers[sent - 1].get("address").is_some(), address, "{emails} + {phones}");
    }
}

#[tokio::test]
async fn free_text_of_an_address_is_escaped() {
    let identifiers = identifiers_of(Person { postcode: Some("A\"1\\\u{1}é".into()), ..jane() }).await;
    assert_eq!(identifiers[3]["address"]["postalCode"], "A\"1\\\u{1}é");
}

#[tokio::test]
async fn a_full_batch_goes_out_and_a_larger_one_does_not() {
    let google = connector(json!({}));
    let transport = ScriptedTransport::new().reply(200, include_str!("../../fixtures/accepted_with_warnings.json"));
    let full = support::batch(Operation::Add, Consent::GRANTED, &people(10_000));
    let receipt = google.add(&context(&transport), &list(), &upload(&full)).await.unwrap();
    assert_eq!((receipt.ticket.as_deref(), receipt.rows), (Some("abc124"), 10_000));
    assert_eq!(body(&transport.calls()[0])["audienceMembers"].as_array().unwrap().len(), 10_000);

    let over = support::batch(Operation::Add, Consent::GRANTED, &people(10_001));
    let error = google.add(&context(&transport), &list(), &upload(&over)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected);
    assert!(transport.calls().is_empty());
}

#[tokio::test]
async fn an_empty_batch_is_no_request() {
    let transport = ScriptedTransport::new();
    let batch = support::batch(Operation::Add, Consent::GRANTED, &[]);
    let receipt = connector(json!({})).add(&context(&transport), &list(), &upload(&batch)).await.unwrap();
    assert_eq!((receipt.ticket, receipt.rows), (None, 0));
    assert!(transport.calls().is_empty());
}

#[tokio::test]
async fn an_answer_without_a_request_id_is_a_protocol_error() {
    for reply in [r#"{ "requestId": "" }"#, "{}", "<html>"] {
        let transport = ScriptedTransport::new().reply(200, reply);
        let batch = support::batch(Operation::Add, Consent::GRANTED, &people(1));
        let error = connector(json!({})).add(&context(&transport), &list(), &upload(&batch)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{reply}");
    }
}

fn person() -> impl Strategy<Value = Person> {
    let digest = prop::option::of(any::<u8>());
    let country = prop::option::of(prop::sample::select(vec!["FR", "US", "fr", "", "F1"]).prop_map(str::to_owned));
    let postcode = prop::option::of(prop::sample::select(vec!["75001", "SW1A 1AA", "", " "]).prop_map(str::to_owned));
    (
        prop::collection::vec(any::<u8>(), 0..8),
        prop::collection::vec(any::<u8>(), 0..8),
        digest.clone(),
        digest,
        postcode,
        country,
    )
        .prop_map(|(emails, phones, given, family, postcode, country)| Person {
            emails,
            phones,
            given,
            family,
            postcode,
            country,
        })
}

proptest! {
    /// Whatever the members hold: at most ten identifiers each, addresses complete or absent, one entry per person
    /// in order, the same identifiers in both directions, and no consent in a removal.
    #[test]
    fn requests_keep_within_the_rules(people in prop::collection::vec(person(), 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let google = connector(json!({}));
        let mut sent = Vec::new();
        for operation in [Operation::Add, Operation::Remove] {
            let transport = ScriptedTransport::new().reply(200, ACCEPTED);
            let all = support::batch(operation, Consent::GRANTED, &people);
            let send = async |batch| match operation {
                Operation::Add => google.add(&context(&transport), &list(), &upload(batch)).await,
                Operation::Remove => google.remove(&context(&transport), &list(), &upload(batch)).await,
            };
            let rest = match runtime.block_on(send(&all)) {
                Ok(_) => all.clone(),
                Err(error) => {
                    let dropped: Vec<u32> = error.rejections().iter().map(|rejection| rejection.index).collect();
                    assert!(!dropped.is_empty(), "{error}");
                    let (rest, _) = all.without(&dropped);
                    runtime.block_on(send(&rest)).expect("the rest can be sent");
                    rest
                }
            };
            let calls = transport.calls();
            assert_eq!(calls.len(), usize::from(!rest.is_empty()));
            let Some(call) = calls.first() else { continue };
            let body = body(call);
            if operation == Operation::Remove {
                assert!(body.get("consent").is_none() && body.get("termsOfService").is_none());
            }
            let members = body["audienceMembers"].as_array().unwrap();
            assert_eq!(members.len(), rest.len());
            for member in members {
                let identifiers = member["compositeData"]["userData"]["userIdentifiers"].as_array().unwrap();
                assert!((1..=10).contains(&identifiers.len()));
                for address in identifiers.iter().filter_map(|identifier| identifier.get("address")) {
                    let address = address.as_object().unwrap();
                    assert_eq!(address.len(), 4);
                    for part in ["givenName", "familyName", "regionCode", "postalCode"] {
                        assert!(!address[part].as_str().unwrap().trim().is_empty());
                    }
                    assert!(["FR", "US"].contains(&address["regionCode"].as_str().unwrap()));
                }
            }
            sent.push(body["audienceMembers"].clone());
        }
        assert!(sent.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
