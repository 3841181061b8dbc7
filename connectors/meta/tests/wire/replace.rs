//! The swap (reference/custom-audience/usersreplace).

use http::Method;
use reveil_sdk::testing::ScriptedTransport;
use reveil_sdk::{ErrorKind, Operation, Replace, Upload};
use serde_json::json;

use crate::support::{SESSION, audience, batch, body, connector, fixture, member, only, query, run, two, upload};

fn audience_in(code: i64) -> String {
    json!({"id": "120200000000000001", "operation_status": {"code": code}}).to_string()
}

fn ours() -> String {
    json!({"data": [{"session_id": SESSION.to_string(), "progress": "0", "stage": "uploading"}]}).to_string()
}

fn posts(transport: &ScriptedTransport) -> usize {
    transport.calls().iter().filter(|call| call.method == Method::POST).count()
}

#[tokio::test]
async fn the_first_batch_starts_the_swap_after_a_look_at_the_audience() {
    assert_eq!(connector().descriptor().capabilities.replace, Replace::Swap);
    let transport =
        ScriptedTransport::new().reply(200, fixture!("audience_normal")).reply(200, fixture!("users_added"));
    let batch = two(Operation::Add);
    let receipt = run!(transport, |cx| connector().replace(cx, &audience(), &upload(&batch))).unwrap();
    assert_eq!(receipt.rows, 2);
    let calls = transport.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!((&calls[1].method, calls[1].url.path()), (&Method::POST, "/meta/v26.0/120200000000000001/usersreplace"));
    assert!(!calls[1].idempotent, "batch 1 must never be sent twice");
    let body = body(&calls[1]);
    assert_eq!(body["session"]["batch_seq"], 1);
    assert_eq!(
        body["payload"]["schema"],
        json!(["EXTERN_ID", "EMAIL", "PHONE", "MADID", "FN", "LN", "ZIP", "CT", "COUNTRY"]),
        "the schema must be the same in every batch, whatever a batch holds"
    );
}

#[tokio::test]
async fn later_batches_go_straight_out() {
    let transport = ScriptedTransport::new().reply(200, fixture!("users_added"));
    let batch = two(Operation::Add);
    let upload = Upload { ordinal: 2, last: true, ..upload(&batch) };
    run!(transport, |cx| connector().replace(cx, &audience(), &upload)).unwrap();
    let call = only(&transport);
    assert!(call.idempotent);
    assert_eq!(
        (&body(&call)["session"]["batch_seq"], &body(&call)["session"]["last_batch_flag"]),
        (&json!(2), &json!(true))
    );
}

#[tokio::test]
async fn only_an_audience_at_rest_is_swapped() {
    for code in [0, 100, 410, 415, 441, 471] {
        let transport = ScriptedTransport::new().reply(200, audience_in(code));
        let batch = two(Operation::Add);
        let error = run!(transport, |cx| connector().replace(cx, &audience(), &upload(&batch))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{code}");
        assert_eq!(posts(&transport), 0);
    }
    let huge = r#"{"id":"1","operation_status":{"code":200},"approximate_count_lower_bound":100000000}"#;
    let transport = ScriptedTransport::new().reply(200, huge);
    let batch = two(Operation::Add);
    let error = run!(transport, |cx| connector().replace(cx, &audience(), &upload(&batch))).unwrap_err();
    assert!(error.message().contains("too large"), "{error}");
}

#[tokio::test]
async fn somebody_elses_swap_is_waited_for() {
    let transport = ScriptedTransport::new().reply(200, audience_in(414)).reply(200, r#"{"data":[]}"#);
    let batch = two(Operation::Add);
    let error = run!(transport, |cx| connector().replace(cx, &audience(), &upload(&batch))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(posts(&transport), 0);
}

#[tokio::test]
async fn batch_one_given_again_after_a_crash_is_not_sent_again() {
    let transport = ScriptedTransport::new().reply(200, audience_in(414)).reply(200, ours());
    let batch = two(Operation::Add);
    let receipt = run!(transport, |cx| connector().replace(cx, &audience(), &upload(&batch))).unwrap();
    assert_eq!(receipt.rows, 2);
    let calls = transport.calls();
    assert!(calls.iter().all(|call| call.method == Method::GET));
    assert!(query(&calls[1]).contains(&("session_id".into(), SESSION.to_string())));
}

#[tokio::test]
async fn a_lost_answer_to_batch_one_is_settled_by_the_audience() {
    let batch = two(Operation::Add);
    // Taken: the swap is running now, and was not before.
    let transport = ScriptedTransport::new().reply(200, audience_in(200)).reply(504, "").reply(200, audience_in(414));
    let receipt = run!(transport, |cx| connector().replace(cx, &audience(), &upload(&batch))).unwrap();
    assert_eq!(receipt.rows, 2);
    assert_eq!(posts(&transport), 1);
    // Taken and over already: the session is known.
    let transport = ScriptedTransport::new()
        .reply(200, audience_in(200))
        .reply(504, "")
        .reply(200, audience_in(200))
        .reply(200, ours());
    run!(transport, |cx| connector().replace(cx, &audience(), &upload(&batch))).unwrap();
    // Never arrived: the error stands, and the engine decides.
    let transport = ScriptedTransport::new()
        .reply(200, audience_in(200))
        .reply(504, "")
        .reply(200, audience_in(200))
        .reply(200, r#"{"data":[]}"#);
    let error = run!(transport, |cx| connector().replace(cx, &audience(), &upload(&batch))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(posts(&transport), 1);
}

#[tokio::test]
async fn a_clear_refusal_of_batch_one_is_not_asked_about() {
    let refused = r#"{"error":{"code":2650,"error_subcode":1870147}}"#;
    let transport = ScriptedTransport::new().reply(200, audience_in(200)).reply(400, refused);
    let batch = two(Operation::Add);
    let error = run!(transport, |cx| connector().replace(cx, &audience(), &upload(&batch))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert_eq!(transport.calls().len(), 2);
}

#[tokio::test]
async fn a_first_batch_with_nobody_in_it_starts_nothing() {
    let transport = ScriptedTransport::new();
    let batch = batch(Operation::Add, &[member(1, &[], &[])]);
    let error = run!(transport, |cx| connector().replace(cx, &audience(), &upload(&batch))).unwrap_err();
    assert_eq!(error.rejections().len(), 1);
    assert!(transport.calls().is_empty());
}
