use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use reveil_sdk::testing::ScriptedTransport;
use reveil_sdk::{Consent, Error, ErrorKind, Operation, Retry};
use serde_json::{Value, json};

use crate::support::{batch, connector, context, list, people, upload};

const BAD_HASH: &str = include_str!("../../fixtures/error_bad_hash.json");
const QUOTA_DAY: &str = include_str!("../../fixtures/error_quota_day.json");
const QUOTA_MINUTE: &str = include_str!("../../fixtures/error_quota_minute.json");
const NO_ACCESS: &str = include_str!("../../fixtures/error_no_access.json");

/// The error that adding `members` people ends in when Google answers so.
async fn adding(members: usize, status: u16, headers: HeaderMap, reply: impl Into<String>) -> Error {
    let transport = ScriptedTransport::new().reply_with(status, headers, reply.into());
    let batch = batch(Operation::Add, Consent::GRANTED, &people(members));
    connector(json!({})).add(&context(&transport), &list(), &upload(&batch)).await.unwrap_err()
}

async fn refused(violations: Value) -> Error {
    let reply = json!({ "error": { "code": 400, "status": "INVALID_ARGUMENT", "message": "secret value \"abc\"", "details": [
        { "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "INVALID_ARGUMENT", "domain": "datamanager.googleapis.com" },
        { "@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations } ] } });
    adding(20, 400, HeaderMap::new(), reply.to_string()).await
}

fn context_of<'a>(error: &'a Error, name: &str) -> Option<&'a str> {
    error.context().iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn members_that_google_names_are_named_once_each() {
    let error = adding(2, 400, HeaderMap::new(), BAD_HASH).await;
    assert_eq!((error.kind(), error.retry_advice()), (ErrorKind::Rejected, Retry::Never));
    let named: Vec<_> = error.rejections().iter().map(|rejection| (rejection.index, rejection.reason.code())).collect();
    assert_eq!(named, [(0, "invalid_postal_code"), (1, "invalid_sha256_format")]);
    assert_eq!(context_of(&error, "request_id"), Some("t-9Qx"));
    assert_eq!(context_of(&error, "reason"), Some("INVALID_SHA256_FORMAT"));
    assert_eq!(context_of(&error, "audience"), Some("9876543210"));
}

#[tokio::test]
async fn a_position_outside_the_batch_names_nobody() {
    let error = adding(1, 400, HeaderMap::new(), BAD_HASH.replace("audienceMembers[0]", "audienceMembers[7]")).await;
    assert!(error.rejections().is_empty());
    // It still lies in the members, so cutting the batch finds it.
    assert!(error.is_body_fault());
}

#[tokio::test]
async fn a_fault_in_unnamed_members_is_found_by_cutting() {
    for violations in [
        json!([ { "field": "audience_members", "reason": "TOO_MANY_AUDIENCE_MEMBERS" } ]),
        json!([ { "field": "audience_members", "reason": "SOMETHING_NEW" } ]),
        json!([ { "field": "", "reason": "INVALID_SHA256_FORMAT" } ]),
        json!([ { "reason": "NO_IDENTIFIERS_PROVIDED" } ]),
    ] {
        let error = refused(violations.clone()).await;
        assert_eq!((error.kind(), error.is_body_fault()), (ErrorKind::Rejected, true), "{violations}");
        assert!(error.rejections().is_empty());
    }
}

#[tokio::test]
async fn a_fault_outside_the_members_drops_nobody() {
    for violations in [
        json!([]),
        json!([ { "field": "destinations[0].product_destination_id", "reason": "REQUIRED_FIELD_MISSING" } ]),
        json!([ { "field": "", "reason": "A_REASON_OF_NEXT_YEAR" } ]),
        json!([ { "field": "encoding", "reason": "INVALID_ENUM_VALUE" },
                { "field": "audience_members[3].composite_data", "reason": "INVALID_FORMAT" } ]),
    ] {
        let error = refused(violations.clone()).await;
        assert_eq!((error.kind(), error.retry_advice()), (ErrorKind::Rejected, Retry::Never), "{violations}");
        assert!(!error.is_body_fault() && error.rejections().is_empty(), "{violations}");
    }
}

#[tokio::test]
async fn a_member_without_a_reason_is_named_all_the_same() {
    let error = refused(json!([ { "field": "audience_members[3].composite_data" } ])).await;
    assert_eq!(error.rejections()[0].reason.code(), "invalid_member");
}

#[tokio::test]
async fn an_unknown_reason_is_shown_and_not_retried() {
    let error = refused(json!([ { "field": "destinations[0]", "reason": "A_REASON_OF_NEXT_YEAR" } ])).await;
    assert_eq!(error.retry_advice(), Retry::Never);
    assert_eq!(context_of(&error, "reason"), Some("A_REASON_OF_NEXT_YEAR"));
    assert_eq!(context_of(&error, "field"), Some("destinations[0]"));
}

#[tokio::test]
async fn settings_and_permissions_win_over_members_and_carry_a_hint() {
    use ErrorKind::{Config, NotFound, Permission, Unexpected};
    for (reason, kind) in [
        ("TERMS_AND_CONDITIONS_NOT_SIGNED", Permission),
        ("ADVERTISER_TOS_NOT_ACCEPTED", Permission),
        ("ADVERTISER_NOT_ALLOWLISTED_FOR_UPLOADED_DATA", Permission),
        ("NOT_ALLOWLISTED", Permission),
        ("EU_POLITICAL_ADVERTISING_DECLARATION_REQUIRED", Permission),
        ("USER_LIST_TYPE_NOT_SUPPORTED_FOR_ACCOUNT", Permission),
        ("OPERATING_ACCOUNT_LOGIN_ACCOUNT_MISMATCH", Permission),
        ("OWNERSHIP_REQUIRED_FOR_UPDATE", Permission),
        ("USER_LIST_MUTATION_NOT_SUPPORTED", Permission),
        ("LINKED_ACCOUNT_ONLY_ALLOWED_WITH_DATA_PARTNER_LOGIN_ACCOUNT", Config),
        ("MEMBERSHIP_DURATION_TOO_LONG", Config),
        ("DISPLAY_NAME_ALREADY_USED", Config),
        ("INVALID_DESTINATION", Config),
        ("INVALID_USER_LIST_TYPE", Config),
        ("DUPLICATE_DESTINATION_REFERENCE", Unexpected),
        ("INVALID_USER_LIST_ID", NotFound),
    ] {
        let error = refused(json!([
            { "field": "audience_members[3].composite_data", "reason": "INVALID_FORMAT" },
            { "field": "destinations[0].reference", "reason": reason } ]))
        .await;
        assert_eq!((error.kind(), error.retry_advice()), (kind, Retry::Never), "{reason}");
        assert!(error.hint_text().is_some(), "{reason}");
        assert!(!error.is_body_fault(), "{reason}");
        assert_eq!(context_of(&error, "reason"), Some(reason));
    }
}

#[tokio::test]
async fn a_sweep_into_the_future_points_to_the_clock() {
    let reply = json!({ "error": { "code": 400, "status": "INVALID_ARGUMENT", "details": [
        { "@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [
            { "field": "remove_as_of_time", "reason": "INVALID_REMOVE_AS_OF_TIME" } ] } ] } });
    let transport = ScriptedTransport::new().reply(400, reply.to_string());
    let error = connector(json!({})).sweep(&context(&transport), &list(), crate::support::now()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_body_fault()), (ErrorKind::Rejected, false));
    assert!(error.hint_text().unwrap().contains("clock"));
}

#[tokio::test]
async fn refused_access_is_a_permission_error_with_a_hint() {
    let error = adding(1, 403, HeaderMap::new(), NO_ACCESS).await;
    assert_eq!((error.kind(), error.retry_advice()), (ErrorKind::Permission, Retry::Never));
    assert!(error.hint_text().unwrap().contains("login_account"));
    // A list that may not be read is not gone: taking it for gone would make another.
    let hidden = NO_ACCESS.replace("OPERATING_ACCOUNT_LOGIN_ACCOUNT_MISMATCH", "INVALID_USER_LIST_ID");
    assert_eq!(adding(1, 403, HeaderMap::new(), hidden).await.kind(), ErrorKind::Permission);
    let disabled = json!({ "error": { "code": 403, "status": "PERMISSION_DENIED", "details": [
        { "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED" } ] } });
    let error = adding(1, 403, HeaderMap::new(), disabled.to_string()).await;
    assert!(error.hint_text().unwrap().contains("enable the Data Manager API"));
    let error = adding(1, 403, HeaderMap::new(), "<html>").await;
    assert_eq!(error.kind(), ErrorKind::Permission);
    assert!(error.hint_text().is_some());
}

#[tokio::test]
async fn an_expired_token_is_an_auth_error_whatever_the_body_says() {
    let body =
        r#"{ "error": { "code": 401, "status": "UNAUTHENTICATED", "details": [ { "reason": "NOT_ALLOWLISTED" } ] } }"#;
    let error = adding(1, 401, HeaderMap::new(), body).await;
    assert_eq!((error.kind(), error.retry_advice()), (ErrorKind::Auth, Retry::Never));
    assert!(error.hint_text().is_some());
}

#[tokio::test]
async fn a_minutes_quota_is_waited_for_and_a_days_quota_parks() {
    let error = adding(1, 429, HeaderMap::new(), QUOTA_MINUTE).await;
    assert_eq!((error.kind(), error.retry_advice()), (ErrorKind::RateLimited, Retry::After(None)));
    assert_eq!(context_of(&error, "quota_period"), None);

    let error = adding(1, 429, HeaderMap::new(), QUOTA_DAY).await;
    let six_hours = Duration::from_secs(6 * 3600);
    assert_eq!((error.kind(), error.retry_advice()), (ErrorKind::RateLimited, Retry::After(Some(six_hours))));
    assert_eq!(context_of(&error, "quota_period"), Some("day"));
    assert_eq!(context_of(&error, "quota_limit"), Some("IngestionMutateRequestsPerDayPerProject"));

    let mut headers = HeaderMap::new();
    headers.insert("date", HeaderValue::from_static("Sun, 22 Nov 2026 05:00:00 GMT"));
    let error = adding(1, 429, headers, QUOTA_DAY).await;
    assert_eq!(error.retry_advice(), Retry::After(Some(Duration::from_secs(3 * 3600))));

    // Without details only the status speaks.
    let error = adding(1, 429, HeaderMap::new(), "").await;
    assert_eq!((error.kind(), error.retry_advice()), (ErrorKind::RateLimited, Retry::After(None)));
}

#[tokio::test]
async fn a_404_that_is_not_googles_does_not_mean_gone() {
    let error = adding(1, 404, HeaderMap::new(), "<html>").await;
    assert_eq!((error.kind(), error.retry_advice()), (ErrorKind::Protocol, Retry::Never));
    let transport = ScriptedTransport::new().reply(404, "<html>");
    let error = connector(json!({})).delete(&context(&transport), &list()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.hint_text().unwrap().contains("base_url"));
}

#[tokio::test]
async fn server_errors_are_retried_whatever_they_say() {
    for status in [500, 502, 503, 504] {
        let error = adding(1, status, HeaderMap::new(), BAD_HASH).await;
        assert_eq!((error.kind(), error.retry_advice()), (ErrorKind::Unavailable, Retry::After(None)), "{status}");
        assert!(!error.is_body_fault());
    }
    let error = adding(1, 501, HeaderMap::new(), "").await;
    assert_eq!((error.kind(), error.retry_advice()), (ErrorKind::Unsupported, Retry::Never));
}

#[tokio::test]
async fn no_error_repeats_what_was_sent() {
    // Google quotes offending values in some messages and descriptions.
    let digest = crate::support::hex(0);
    let reply = BAD_HASH.replace("There was a problem with the request.", &digest).replace("Email is not", &digest);
    for status in [400, 403, 404, 500] {
        let error = adding(2, status, HeaderMap::new(), reply.clone()).await;
        let shown = format!("{error} {error:?} {:?}", error.hint_text());
        assert!(!shown.contains(&digest), "{shown}");
        assert!(!shown.contains("secret value"));
    }
}
