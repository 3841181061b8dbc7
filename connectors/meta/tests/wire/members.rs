//! `/users` and `usersofanyaudience` (reference/custom-audience/users, audiences/guides/custom-audiences).

use http::{Method, header};
use reveil_sdk::testing::ScriptedTransport;
use reveil_sdk::{Batch, Consent, ConsentState, ErrorKind, IdentifierKind, Operation, Upload, ValueRef};
use serde_json::json;

use crate::support::{
    audience, batch, body, connector, digest, fixture, hex, key_hex, member, only, options, run, two, upload,
};

#[tokio::test]
async fn add_sends_the_documented_request() {
    let transport = ScriptedTransport::new().reply(200, fixture!("users_added"));
    let batch = two(Operation::Add);
    let receipt = run!(transport, |cx| connector().add(cx, &audience(), &upload(&batch))).unwrap();
    assert_eq!((receipt.rows, receipt.invalid_unnamed, receipt.ticket), (2, 0, None));
    let call = only(&transport);
    assert_eq!(call.method, Method::POST);
    assert_eq!(call.url.as_str(), "http://127.0.0.1:9999/meta/v26.0/120200000000000001/users");
    assert_eq!(call.headers[header::CONTENT_TYPE], "application/json");
    assert!(call.idempotent, "sending a batch again is harmless");
    assert_eq!(
        body(&call),
        json!({
            "session": {"session_id": 9_778_993, "batch_seq": 1, "last_batch_flag": false, "estimated_num_total": 25_000},
            "payload": {
                "schema": ["EXTERN_ID", "EMAIL", "PHONE"],
                "data": [[key_hex(0xc1), hex(0xe1), hex(0xf1)], [key_hex(0xc2), hex(0xe2), ""]],
            },
        })
    );
}

#[tokio::test]
async fn remove_is_a_delete_with_the_same_body() {
    let transport = ScriptedTransport::new().reply(200, fixture!("users_added"));
    let batch = two(Operation::Remove);
    let upload = Upload { ordinal: 7, last: true, ..upload(&batch) };
    let receipt = run!(transport, |cx| connector().remove(cx, &audience(), &upload)).unwrap();
    assert_eq!(receipt.rows, 2);
    let call = only(&transport);
    assert_eq!((&call.method, call.url.path()), (&Method::DELETE, "/meta/v26.0/120200000000000001/users"));
    assert_eq!(call.url.query(), None, "members never travel in the address");
    let body = body(&call);
    assert_eq!(body["payload"]["data"][0], json!([key_hex(0xc1), hex(0xe1), hex(0xf1)]));
    assert_eq!(
        body["session"],
        json!({"session_id": 9_778_993, "batch_seq": 7, "last_batch_flag": true, "estimated_num_total": 25_000})
    );
}

#[tokio::test]
async fn erase_looks_at_the_terms_then_empties_all_audiences_of_the_account() {
    let transport = ScriptedTransport::new()
        .reply(200, fixture!("account_terms_signed"))
        .reply(200, fixture!("users_added"))
        .reply(200, fixture!("users_added"));
    let batch = two(Operation::Remove);
    run!(transport, |cx| connector().erase(cx, &upload(&batch))).unwrap();
    let calls = transport.calls();
    assert_eq!(calls[0].method, Method::GET);
    assert_eq!(
        (&calls[1].method, calls[1].url.path()),
        (&Method::DELETE, "/meta/v26.0/act_123456789/usersofanyaudience")
    );
    assert_eq!(body(&calls[1])["payload"]["schema"], json!(["EXTERN_ID", "EMAIL", "PHONE"]));
    let later = Upload { ordinal: 2, ..upload(&batch) };
    run!(transport, |cx| connector().erase(cx, &later)).unwrap();
    assert_eq!(transport.calls().len(), 1, "the terms are looked at once");
}

#[tokio::test]
async fn erase_without_signed_terms_is_refused_because_meta_might_do_nothing() {
    let transport = ScriptedTransport::new().reply(200, fixture!("account_terms_unsigned"));
    let batch = two(Operation::Remove);
    let error = run!(transport, |cx| connector().erase(cx, &upload(&batch))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission);
    assert_eq!(transport.calls().len(), 1);
}

#[tokio::test]
async fn invalid_entries_are_counted_for_the_request_alone() {
    // num_received is the running total of the session; the sample is a digest and must not survive anywhere.
    let transport = ScriptedTransport::new().reply(200, fixture!("users_added_samples_list"));
    let batch = two(Operation::Add);
    let receipt = run!(transport, |cx| connector().add(cx, &audience(), &upload(&batch))).unwrap();
    assert_eq!((receipt.rows, receipt.invalid_unnamed), (2, 1));
    assert!(!format!("{receipt:?}").contains("f1904c"));
    let transport =
        ScriptedTransport::new().reply(200, r#"{"session_id":"1","num_received":2,"num_invalid_entries":"900"}"#);
    let receipt = run!(transport, |cx| connector().add(cx, &audience(), &upload(&batch))).unwrap();
    assert_eq!(receipt.invalid_unnamed, 2, "never more than the rows sent");
}

#[tokio::test]
async fn several_values_take_several_rows_of_the_same_person() {
    let transport = ScriptedTransport::new().reply(200, fixture!("users_added"));
    let mut rich = member(0xc1, &[digest(1), digest(2)], &[digest(3), digest(4), digest(5)]);
    assert!(rich.push(IdentifierKind::MobileAdId, ValueRef::Plain("ea7583cd-a667-48bc-b806-42ecb2b48606")));
    assert!(rich.push(IdentifierKind::GivenName, ValueRef::Digest(&digest(6))));
    assert!(rich.push(IdentifierKind::FamilyName, ValueRef::Digest(&digest(7))));
    assert!(rich.push(IdentifierKind::Postcode, ValueRef::Digest(&digest(8))));
    assert!(rich.push(IdentifierKind::City, ValueRef::Digest(&digest(9))));
    assert!(rich.push(IdentifierKind::Country, ValueRef::Digest(&digest(10))));
    let batch = batch(Operation::Add, &[rich, member(0xc2, &[], &[digest(11)])]);
    let receipt = run!(transport, |cx| connector().add(cx, &audience(), &upload(&batch))).unwrap();
    assert_eq!(receipt.rows, 4);
    let person = [hex(6), hex(7), hex(8), hex(9), hex(10)];
    let row = |email: &str, phone: &str, mobile: &str| {
        let mut row = vec![key_hex(0xc1), email.to_owned(), phone.to_owned(), mobile.to_owned()];
        row.extend(person.iter().cloned());
        row
    };
    assert_eq!(
        body(&only(&transport))["payload"],
        json!({
            "schema": ["EXTERN_ID", "EMAIL", "PHONE", "MADID", "FN", "LN", "ZIP", "CT", "COUNTRY"],
            "data": [
                row(&hex(1), &hex(3), "ea7583cd-a667-48bc-b806-42ecb2b48606"),
                row(&hex(2), &hex(4), ""),
                row("", &hex(5), ""),
                [&*key_hex(0xc2), "", &*hex(11), "", "", "", "", "", ""],
            ],
        })
    );
}

#[tokio::test]
async fn limited_data_use_goes_into_every_added_row_only() {
    let settings = json!({"limited_data_use": true, "limited_data_use_country": 1, "limited_data_use_state": 1000});
    let connector = reveil_meta::connect(options(settings)).unwrap();
    let transport = ScriptedTransport::new().reply(200, fixture!("users_added")).reply(200, fixture!("users_added"));
    let batch = batch(Operation::Add, &[member(0xc1, &[digest(0xe1)], &[])]);
    run!(transport, |cx| connector.add(cx, &audience(), &upload(&batch))).unwrap();
    run!(transport, |cx| connector.remove(cx, &audience(), &upload(&batch))).unwrap();
    let calls = transport.calls();
    assert_eq!(
        body(&calls[0])["payload"],
        json!({
            "schema": ["EXTERN_ID", "EMAIL", "DATA_PROCESSING_OPTIONS", "DATA_PROCESSING_OPTIONS_COUNTRY",
                       "DATA_PROCESSING_OPTIONS_STATE"],
            "data": [[key_hex(0xc1), hex(0xe1), ["LDU"], 1, 1000]],
        })
    );
    assert_eq!(body(&calls[1])["payload"]["schema"], json!(["EXTERN_ID", "EMAIL"]));
}

#[tokio::test]
async fn a_member_without_identifiers_is_rejected_when_added_and_removed_by_our_id() {
    let members = [member(0xc1, &[], &[]), member(0xc2, &[digest(0xe2)], &[])];
    let batch = batch(Operation::Add, &members);
    let transport = ScriptedTransport::new().reply(200, fixture!("users_added")).reply(200, fixture!("users_added"));
    let receipt = run!(transport, |cx| connector().add(cx, &audience(), &upload(&batch))).unwrap();
    assert_eq!(receipt.rejected.len(), 1);
    assert_eq!((receipt.rejected[0].index, receipt.rejected[0].reason.code()), (0, "no_identifier"));
    assert_eq!(receipt.rows, 1);
    let receipt = run!(transport, |cx| connector().remove(cx, &audience(), &upload(&batch))).unwrap();
    assert_eq!((receipt.rejected.len(), receipt.rows), (0, 2));
    assert_eq!(body(&transport.calls()[1])["payload"]["data"][0], json!([key_hex(0xc1), ""]));
}

#[tokio::test]
async fn nobody_who_denied_consent_is_uploaded_but_may_be_removed() {
    let consent = Consent { ad_user_data: ConsentState::Denied, ad_personalization: ConsentState::Denied };
    let mut batch = Batch::new(Operation::Add, consent);
    batch.push(member(1, &[digest(1)], &[]).last().unwrap());
    let transport = ScriptedTransport::new().reply(200, fixture!("users_added"));
    let error = run!(transport, |cx| connector().add(cx, &audience(), &upload(&batch))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(transport.calls().is_empty());
    run!(transport, |cx| connector().remove(cx, &audience(), &upload(&batch))).unwrap();
}

#[tokio::test]
async fn values_in_the_clear_never_leave() {
    let mut odd = member(0xc1, &[digest(0xe1)], &[]);
    assert!(odd.push(IdentifierKind::Postcode, ValueRef::Plain("75001")));
    let batch = batch(Operation::Add, &[odd]);
    let transport = ScriptedTransport::new().reply(200, fixture!("users_added"));
    run!(transport, |cx| connector().add(cx, &audience(), &upload(&batch))).unwrap();
    assert_eq!(body(&only(&transport))["payload"]["schema"], json!(["EXTERN_ID", "EMAIL"]));
}

#[tokio::test]
async fn more_rows_than_a_request_holds_go_into_several_with_numbers_of_their_own() {
    let twin = member(0xc1, &[digest(1), digest(2)], &[]);
    let members = vec![twin; 6_000];
    let batch = batch(Operation::Add, &members);
    let transport = ScriptedTransport::new().reply(200, fixture!("users_added")).reply(200, fixture!("users_added"));
    let upload = Upload { ordinal: 3, last: true, ..upload(&batch) };
    let receipt = run!(transport, |cx| connector().add(cx, &audience(), &upload)).unwrap();
    assert_eq!(receipt.rows, 12_000);
    let bodies: Vec<_> = transport.calls().iter().map(body).collect();
    let rows: Vec<_> = bodies.iter().map(|body| body["payload"]["data"].as_array().unwrap().len()).collect();
    assert_eq!(rows, [10_000, 2_000]);
    let places: Vec<_> =
        bodies.iter().map(|body| (&body["session"]["batch_seq"], &body["session"]["last_batch_flag"])).collect();
    assert_eq!(places, [(&json!(3), &json!(false)), (&json!(1_000_003), &json!(true))]);
    assert_eq!(bodies[0]["payload"]["schema"], bodies[1]["payload"]["schema"]);
}

#[tokio::test]
async fn a_session_number_meta_cannot_hold_is_refused_before_sending() {
    let batch = two(Operation::Add);
    for session in [0, u64::MAX] {
        let transport = ScriptedTransport::new();
        let upload = Upload { session, ..upload(&batch) };
        let error = run!(transport, |cx| connector().add(cx, &audience(), &upload)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unexpected);
        assert!(transport.calls().is_empty());
    }
}
