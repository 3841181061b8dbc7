//! Finding, making, deleting, status (reference/ad-account/customaudiences, reference/custom-audience).

use http::Method;
use reveil_sdk::testing::ScriptedTransport;
use reveil_sdk::{AudienceSpec, ErrorKind};
use serde_json::json;

use crate::support::{audience, body, connector, fixture, only, options, query, run};

fn spec() -> AudienceSpec {
    AudienceSpec {
        key: "dormant".into(),
        label: "Dormant 180 days".into(),
        description: "Lapsed 180+ days".into(),
        membership_days: None,
    }
}

#[tokio::test]
async fn a_known_audience_that_exists_is_used() {
    let transport = ScriptedTransport::new().reply(200, fixture!("audience_normal"));
    let found = run!(transport, |cx| connector().find_or_create(cx, &spec(), Some(&audience()))).unwrap();
    assert_eq!(found, audience());
    let call = only(&transport);
    assert_eq!((&call.method, call.url.path()), (&Method::GET, "/meta/v26.0/120200000000000001"));
}

#[tokio::test]
async fn a_known_audience_that_is_gone_is_searched_by_our_marker_over_all_pages() {
    let gone = r#"{"error":{"message":"Unsupported get request.","type":"GraphMethodException","code":100,"error_subcode":33}}"#;
    let transport = ScriptedTransport::new()
        .reply(400, gone)
        .reply(200, fixture!("audiences_page_1"))
        .reply(200, fixture!("audiences_page_2"));
    let found = run!(transport, |cx| connector().find_or_create(cx, &spec(), Some(&audience()))).unwrap();
    assert_eq!(
        (found.id.as_str(), found.created),
        ("120200000000000009", false),
        "the oldest of ours, not the namesake"
    );
    let calls = transport.calls();
    assert_eq!(calls.len(), 3);
    assert_eq!(calls[1].url.path(), "/meta/v26.0/act_123456789/customaudiences");
    assert_eq!(
        query(&calls[1]),
        [("fields".into(), "id,name,subtype,description,time_created".into()), ("limit".into(), "20".into())]
    );
    assert_eq!(query(&calls[2]).last().unwrap(), &("after".to_owned(), "QVFIUmx".to_owned()));
    assert_eq!(calls[2].url.host_str(), Some("127.0.0.1"), "the address in `next` is not followed");
}

#[tokio::test]
async fn nothing_found_creates_with_the_marker() {
    let transport = ScriptedTransport::new().reply(200, r#"{"data":[]}"#).reply(200, fixture!("audience_created"));
    let settings = json!({"audience_labels": ["DISENGAGED"], "retention_days": 180});
    let connector = reveil_meta::connect(options(settings)).unwrap();
    let made = run!(transport, |cx| connector.find_or_create(cx, &spec(), None)).unwrap();
    assert_eq!((made.id.as_str(), made.created), ("120200000000000001", true));
    let call = transport.calls().remove(1);
    assert_eq!((&call.method, call.url.path()), (&Method::POST, "/meta/v26.0/act_123456789/customaudiences"));
    assert!(!call.idempotent, "a second creation would be a second audience");
    assert_eq!(
        body(&call),
        json!({
            "name": "Dormant 180 days", "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY",
            "description": "Lapsed 180+ days [reveil:dormant]", "audience_labels": ["DISENGAGED"], "retention_days": 180,
        })
    );
}

#[tokio::test]
async fn retention_follows_the_audience_when_the_destination_says_nothing() {
    for (wanted, sent) in [(Some(90), json!(90)), (Some(540), json!(null)), (None, json!(null))] {
        let transport = ScriptedTransport::new().reply(200, r#"{"data":[]}"#).reply(200, fixture!("audience_created"));
        let spec = AudienceSpec { membership_days: wanted, description: String::new(), ..spec() };
        run!(transport, |cx| connector().find_or_create(cx, &spec, None)).unwrap();
        let body = body(&transport.calls()[1]);
        assert_eq!(body["retention_days"], sent);
        assert_eq!(body["description"], "[reveil:dormant]");
        assert!(body.get("audience_labels").is_none());
    }
}

#[tokio::test]
async fn a_creation_whose_answer_was_lost_is_looked_up_instead_of_repeated() {
    let transport = ScriptedTransport::new()
        .reply(200, r#"{"data":[]}"#)
        .reply(502, "<html>Bad gateway</html>")
        .reply(200, fixture!("audiences_page_2"));
    let made = run!(transport, |cx| connector().find_or_create(cx, &spec(), None)).unwrap();
    assert_eq!((made.id.as_str(), made.created), ("120200000000000009", true));
    assert_eq!(transport.calls().iter().filter(|call| call.method == Method::POST).count(), 1);
}

#[tokio::test]
async fn a_list_that_asks_for_less_gets_smaller_pages() {
    let less = r#"{"error":{"message":"Please reduce the amount of data you're asking for","type":"OAuthException","code":1}}"#;
    let transport = ScriptedTransport::new().reply(500, less).reply(200, fixture!("audiences_page_2"));
    let found = run!(transport, |cx| connector().find_or_create(cx, &spec(), None)).unwrap();
    assert_eq!(found.id, "120200000000000009");
    assert!(query(&transport.calls()[1]).contains(&("limit".into(), "5".into())));
}

#[tokio::test]
async fn an_unreachable_known_audience_is_an_error_not_a_second_audience() {
    let transport = ScriptedTransport::new().reply(400, r#"{"error":{"code":190,"error_subcode":463}}"#);
    let error = run!(transport, |cx| connector().find_or_create(cx, &spec(), Some(&audience()))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert_eq!(transport.calls().len(), 1);
}

#[tokio::test]
async fn delete_succeeds_also_when_gone_and_fails_on_success_false() {
    let transport = ScriptedTransport::new()
        .reply(200, r#"{"success":true}"#)
        .reply(400, r#"{"error":{"code":803}}"#)
        .reply(200, r#"{"success":false}"#)
        .reply(400, r#"{"error":{"code":2656}}"#);
    run!(transport, |cx| connector().delete(cx, &audience())).unwrap();
    let call = only(&transport);
    assert_eq!((&call.method, call.url.path()), (&Method::DELETE, "/meta/v26.0/120200000000000001"));
    run!(transport, |cx| connector().delete(cx, &audience())).unwrap();
    for hint in [None, Some("Delete the lookalikes first.")] {
        let error = run!(transport, |cx| connector().delete(cx, &audience())).unwrap_err();
        assert_eq!((error.kind(), error.hint_text()), (ErrorKind::Rejected, hint));
    }
}

#[tokio::test]
async fn status_of_a_normal_audience() {
    let transport = ScriptedTransport::new().reply(200, fixture!("audience_normal"));
    let status = run!(transport, |cx| connector().status(cx, &audience())).unwrap();
    assert!(status.writable);
    assert_eq!((status.deliverable, status.state.as_str()), (Some(true), "200 normal"));
    let size = status.size.unwrap();
    assert_eq!((size.low, size.high), (Some(1_000), Some(1_200)));
    assert!(status.warnings.is_empty(), "{:?}", status.warnings);
    assert!(query(&only(&transport))[0].1.contains("fields_violating_integrity_policy"));
}

#[tokio::test]
async fn status_of_a_flagged_audience() {
    let transport = ScriptedTransport::new().reply(200, fixture!("audience_flagged"));
    let status = run!(transport, |cx| connector().status(cx, &audience())).unwrap();
    assert!(!status.writable);
    assert_eq!((status.deliverable, status.size), (Some(false), None), "-1 is no size");
    assert_eq!(status.state, "471 integrity flag", "the code may be spelled `status`");
    assert!(status.warnings.iter().any(|warning| warning.contains("name, description")), "{:?}", status.warnings);
}

#[tokio::test]
async fn operation_codes_decide_whether_members_may_be_written() {
    for (code, writable, warned) in [
        (0, true, false),
        (100, true, true),
        (200, true, false),
        (400, true, true),
        (410, true, false),
        (411, true, true),
        (412, true, true),
        (414, false, true),
        (415, true, true),
        (441, true, false),
        (450, true, true),
        (470, true, true),
        (471, false, true),
        (500, false, true),
        (299, true, false),
    ] {
        let transport =
            ScriptedTransport::new().reply(200, format!(r#"{{"id":"1","operation_status":{{"code":{code}}}}}"#));
        let status = run!(transport, |cx| connector().status(cx, &audience())).unwrap();
        assert_eq!((status.writable, !status.warnings.is_empty()), (writable, warned), "{code}");
        assert!(status.state.starts_with(&code.to_string()));
        assert_eq!((status.deliverable, status.size), (None, None));
    }
}

#[tokio::test]
async fn a_small_audience_is_not_deliverable() {
    let transport =
        ScriptedTransport::new().reply(200, r#"{"id":"1","delivery_status":{"code":300},"delete_time":1799999999}"#);
    let status = run!(transport, |cx| connector().status(cx, &audience())).unwrap();
    assert_eq!((status.deliverable, status.state.as_str(), status.warnings.len()), (Some(false), "unknown", 2));
}

#[tokio::test]
async fn a_field_against_the_integrity_policy_blocks_members_whatever_the_code() {
    for fields in [r#"["name"]"#, r#"{"name":"health"}"#] {
        let body =
            format!(r#"{{"id":"1","operation_status":{{"code":200}},"fields_violating_integrity_policy":{fields}}}"#);
        let transport = ScriptedTransport::new().reply(200, body);
        let status = run!(transport, |cx| connector().status(cx, &audience())).unwrap();
        assert!(!status.writable, "{fields}");
        assert_eq!(status.warnings.len(), 1, "{:?}", status.warnings);
    }
}
