//! Every documented code (error reference, overview/rate-limiting, reference/custom-audience/usersreplace).

use std::time::Duration;

use http::HeaderMap;
use reveil_sdk::testing::ScriptedTransport;
use reveil_sdk::{Error, ErrorKind, Operation, Retry};
use serde_json::json;

use crate::support::{audience, connector, fixture, hex, run, two, upload};

const NEVER: Retry = Retry::Never;
const BACK_OFF: Retry = Retry::After(None);
const fn after(secs: u64) -> Retry {
    Retry::After(Some(Duration::from_secs(secs)))
}

async fn add_answered(status: u16, headers: HeaderMap, body: impl Into<bytes::Bytes>) -> Error {
    let transport = ScriptedTransport::new().reply_with(status, headers, body.into());
    let batch = two(Operation::Add);
    run!(transport, |cx| connector().add(cx, &audience(), &upload(&batch))).unwrap_err()
}

async fn status_answered(status: u16, body: impl Into<bytes::Bytes>) -> Error {
    let transport = ScriptedTransport::new().reply(status, body.into());
    run!(transport, |cx| connector().status(cx, &audience())).unwrap_err()
}

#[tokio::test]
async fn every_code_has_its_kind_and_retry() {
    use ErrorKind::{Auth, Config, NotFound, Permission, RateLimited, Rejected, Unavailable};
    let rows: &[(i64, Option<i64>, ErrorKind, Retry)] = &[
        (1, None, Unavailable, BACK_OFF),
        (2, None, Unavailable, BACK_OFF),
        (4, None, RateLimited, after(60)),
        (4, Some(1_504_022), RateLimited, after(60)),
        (4, Some(1_504_039), RateLimited, after(60)),
        (341, None, RateLimited, after(60)),
        (17, Some(2_446_079), RateLimited, after(60)),
        (613, Some(1_487_742), RateLimited, after(60)),
        (613, None, RateLimited, after(60)),
        (80_003, None, RateLimited, after(300)),
        (803, None, NotFound, after(5)),
        (2650, Some(1_870_145), Unavailable, after(60)),
        (2650, Some(1_870_158), Rejected, NEVER),
        (2650, Some(1_870_147), Rejected, NEVER),
        (2650, Some(1_870_159), Rejected, NEVER),
        (2650, Some(1_870_144), Rejected, NEVER),
        (2650, Some(1_870_148), Rejected, NEVER),
        (2650, None, Rejected, NEVER),
        (100, None, Rejected, NEVER),
        (100, Some(33), NotFound, NEVER),
        (100, Some(1_713_228), Rejected, NEVER),
        (100, Some(1_713_230), Rejected, NEVER),
        (100, Some(1_713_231), Rejected, NEVER),
        (100, Some(1_713_098), Rejected, NEVER),
        (190, Some(463), Auth, NEVER),
        (190, None, Auth, NEVER),
        (102, None, Auth, NEVER),
        (10, None, Permission, NEVER),
        (200, None, Permission, NEVER),
        (200, Some(1_870_090), Permission, NEVER),
        (200, Some(1_870_050), Permission, NEVER),
        (270, None, Permission, NEVER),
        (294, None, Permission, NEVER),
        (299, None, Permission, NEVER),
        (368, None, Permission, NEVER),
        (105, None, Rejected, NEVER),
        (194, None, Rejected, NEVER),
        (2500, None, Rejected, NEVER),
        (2635, None, Config, NEVER),
        (2654, None, Rejected, NEVER),
        (2655, None, Permission, NEVER),
        (2656, None, Rejected, NEVER),
        (987_654, None, Rejected, NEVER),
    ];
    for (code, subcode, kind, retry) in rows {
        let body =
            json!({"error": {"message": "secret words", "code": code, "error_subcode": subcode, "fbtrace_id": "AbC9"}});
        let error = add_answered(400, HeaderMap::new(), body.to_string()).await;
        assert_eq!((error.kind(), error.retry_advice()), (*kind, *retry), "{code} {subcode:?}");
        assert!(!error.is_body_fault(), "{code} {subcode:?}");
        let shown = error.to_string();
        assert!(shown.contains(&format!("code={code}")) && shown.contains("fbtrace_id=AbC9"), "{shown}");
        assert!(!shown.contains("secret words"), "developer messages are not repeated: {shown}");
    }
}

#[tokio::test]
async fn the_status_speaks_only_for_unknown_codes() {
    let unknown = |status| add_answered(status, HeaderMap::new(), r#"{"error":{"code":987654}}"#);
    assert_eq!(unknown(500).await.kind(), ErrorKind::Unavailable);
    assert_eq!(unknown(403).await.kind(), ErrorKind::Permission);
    assert_eq!(unknown(200).await.kind(), ErrorKind::Rejected, "an error object in a 200 is an error");
    let error = add_answered(500, HeaderMap::new(), r#"{"error":{"code":190}}"#).await;
    assert_eq!(error.kind(), ErrorKind::Auth);
}

#[tokio::test]
async fn a_transient_error_is_retried_whatever_its_code_unless_a_person_is_needed() {
    for (code, kind, retry) in [
        (100, ErrorKind::Unavailable, BACK_OFF),
        (987_654, ErrorKind::Unavailable, BACK_OFF),
        (80_003, ErrorKind::RateLimited, after(300)),
        (190, ErrorKind::Auth, NEVER),
        (200, ErrorKind::Permission, NEVER),
    ] {
        let body =
            json!({"error": {"code": code, "is_transient": true, "error_data": {"blame_field_specs": [["payload"]]}}});
        let error = add_answered(400, HeaderMap::new(), body.to_string()).await;
        assert_eq!((error.kind(), error.retry_advice(), error.is_body_fault()), (kind, retry, false), "{code}");
    }
}

#[tokio::test]
async fn the_documented_bodies() {
    let error = add_answered(400, HeaderMap::new(), fixture!("error_throttled")).await;
    assert_eq!((error.kind(), error.retry_advice()), (ErrorKind::RateLimited, after(300)));

    let error = add_answered(400, HeaderMap::new(), fixture!("error_flagged")).await;
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.hint_text().unwrap().contains("Appeal"));
    assert!(error.to_string().contains("Resolve the integrity restriction before updating members."), "{error}");
    assert!(!error.is_body_fault(), "smaller batches do not help a flagged audience");

    let error = add_answered(403, HeaderMap::new(), fixture!("error_terms")).await;
    assert_eq!(error.kind(), ErrorKind::Permission);
    assert!(error.hint_text().unwrap().ends_with("tos/?act=123456789"));
    assert!(!error.is_body_fault());
}

#[tokio::test]
async fn a_blamed_payload_is_the_fault_of_members_and_nothing_else_is() {
    let blame = |path: &str| json!({"error": {"code": 100, "error_data": {"blame_field_specs": [[path]]}}}).to_string();
    assert!(add_answered(400, HeaderMap::new(), blame("payload")).await.is_body_fault());
    assert!(!add_answered(400, HeaderMap::new(), blame("session")).await.is_body_fault());
    assert!(!status_answered(400, blame("payload")).await.is_body_fault());
    let hidden = r#"{"error":{"code":100,"error_data":"{\"blame_field_specs\":[[\"payload\",\"data\"]]}"}}"#;
    assert!(add_answered(400, HeaderMap::new(), hidden).await.is_body_fault());
}

#[tokio::test]
async fn pages_and_cut_off_replies_are_retried_then_halved() {
    for (status, body, fault) in [
        (200, "", true),
        (200, "{}", true),
        (200, r#"{"audience_id":"1202"#, true),
        (400, "<!DOCTYPE html><html>Sorry</html>", true),
        (413, "<html>too large</html>", true),
        (500, "<html>Sorry</html>", true),
        (500, "", false),
        (502, "<html>Bad gateway</html>", false),
        (503, "", false),
        (504, "<html></html>", false),
    ] {
        let error = add_answered(status, HeaderMap::new(), body).await;
        assert_eq!((error.kind(), error.retry_advice()), (ErrorKind::Unavailable, BACK_OFF), "{status} {body}");
        assert_eq!(error.is_body_fault(), fault, "{status} {body}");
        let error = status_answered(status, body).await;
        assert!(!error.is_body_fault() && error.kind() == ErrorKind::Unavailable, "{status} {body}");
    }
    assert_eq!(add_answered(429, HeaderMap::new(), "").await.retry_advice(), after(60));
    let mut headers = HeaderMap::new();
    headers.insert("retry-after", "7".parse().unwrap());
    assert_eq!(add_answered(429, headers.clone(), "").await.retry_advice(), after(7));
    assert_eq!(add_answered(503, headers.clone(), "").await.retry_advice(), after(7));
    for (status, code) in [(429, 987_654), (400, 2), (400, 17)] {
        let body = format!(r#"{{"error":{{"code":{code}}}}}"#);
        assert_eq!(add_answered(status, headers.clone(), body).await.retry_advice(), after(7), "{status} {code}");
    }
    assert_eq!(add_answered(401, HeaderMap::new(), "").await.kind(), ErrorKind::Auth);
}

#[tokio::test]
async fn success_false_in_a_200_is_a_failure() {
    let error = add_answered(200, HeaderMap::new(), r#"{"success":false}"#).await;
    assert_eq!((error.kind(), error.retry_advice()), (ErrorKind::Rejected, NEVER));
}

#[tokio::test]
async fn an_absent_object_is_waited_for_only_when_members_are_sent() {
    let error = status_answered(400, r#"{"error":{"code":803}}"#).await;
    assert_eq!((error.kind(), error.retry_advice()), (ErrorKind::NotFound, NEVER));
}

#[tokio::test]
async fn throttles_take_their_wait_from_the_usage_headers() {
    let mut headers = HeaderMap::new();
    headers.insert(
        "x-business-use-case-usage",
        r#"{"123456789":[{"type":"ads_insights","call_count":99,"total_cputime":1,"total_time":1,"estimated_time_to_regain_access":90},
           {"type":"custom_audience","call_count":100,"total_cputime":25,"total_time":25,"estimated_time_to_regain_access":19,"ads_api_access_tier":"standard_access"}]}"#
            .replace('\n', "")
            .parse()
            .unwrap(),
    );
    headers.insert("x-ad-account-usage", r#"{"acc_id_util_pct":99.67,"reset_time_duration":100}"#.parse().unwrap());
    let throttled = |code: u32| format!(r#"{{"error":{{"code":{code}}}}}"#);
    assert_eq!(add_answered(400, headers.clone(), throttled(80_003)).await.retry_advice(), after(19 * 60));
    assert_eq!(add_answered(400, headers.clone(), throttled(17)).await.retry_advice(), after(100));
    assert_eq!(add_answered(400, headers, throttled(4)).await.retry_advice(), after(60));
}

#[tokio::test]
async fn usage_headers_set_the_pace() {
    let business = |percent: u32, minutes: u32| {
        format!(
            r#"{{"1":[{{"type":"custom_audience","call_count":2,"total_cputime":{percent},"total_time":1,"estimated_time_to_regain_access":{minutes}}}]}}"#
        )
    };
    let cases: [(&str, String, f64, Option<u64>); 9] = [
        ("x-business-use-case-usage", business(40, 0), 0.40, None),
        ("x-business-use-case-usage", business(80, 0), 0.80, None),
        ("x-business-use-case-usage", business(95, 0), 0.95, Some(300)),
        ("x-business-use-case-usage", business(90, 3), 1.0, Some(180)),
        (
            "x-ad-account-usage",
            r#"{"acc_id_util_pct":9.67,"reset_time_duration":100,"ads_api_access_tier":"standard_access"}"#.into(),
            0.0967,
            None,
        ),
        ("x-ad-account-usage", r#"{"acc_id_util_pct":96,"reset_time_duration":100}"#.into(), 0.96, Some(100)),
        ("x-app-usage", r#"{"call_count":28,"total_time":25,"total_cputime":25}"#.into(), 0.28, None),
        ("x-app-usage", r#"{"call_count":28,"total_time":99,"total_cputime":25}"#.into(), 0.99, Some(60)),
        ("x-business-use-case-usage", r#"{"1":[{"type":"ads_insights","call_count":100}]}"#.into(), -1.0, None),
    ];
    for (name, value, used, pause) in cases {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers.append("x-unrelated", "1".parse().unwrap());
        let transport = ScriptedTransport::new().reply_with(200, headers, fixture!("users_added"));
        let batch = two(Operation::Add);
        run!(transport, |cx| connector().add(cx, &audience(), &upload(&batch))).unwrap();
        let paces = transport.paces();
        if used < 0.0 {
            assert!(paces.is_empty(), "another use case says nothing of ours");
            continue;
        }
        assert!((paces[0].used_ratio - used).abs() < 1e-9, "{value}: {paces:?}");
        assert_eq!(paces[0].pause, pause.map(Duration::from_secs), "{value}");
    }
}

#[tokio::test]
async fn nothing_of_a_person_gets_into_an_error() {
    let leaky = json!({"error": {
        "code": 100, "message": "bad entry mary@example.com",
        "error_user_title": "Bad phone 15559876543", "error_user_msg": hex(0xe1),
        "fbtrace_id": "not a trace: mary@example.com",
        "error_data": {"blame_field_specs": [["payload", "data", "mary@example.com"]]},
    }});
    let error = add_answered(400, HeaderMap::new(), leaky.to_string()).await;
    let shown = format!("{error} {error:?} {:?}", error.hint_text());
    for secret in ["mary", "15559876543", &hex(0xe1), "TOKEN"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(error.is_body_fault());
}
