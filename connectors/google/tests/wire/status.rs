use std::collections::BTreeMap;
use std::time::Duration;

use reveil_sdk::testing::ScriptedTransport;
use reveil_sdk::{ErrorKind, MatchKind, RejectReason, Retry, UploadSummary, Verdict};
use serde_json::json;

use crate::support::{LISTS, connector, context, header, line, list, now};

const PARTIAL: &str = include_str!("../../fixtures/request_status_partial.json");
const LIST: &str = include_str!("../../fixtures/user_list.json");
const NEW_LIST: &str = include_str!("../../fixtures/user_list_created.json");

async fn verdict(status: u16, reply: impl Into<String>) -> reveil_sdk::Result<Verdict> {
    let transport = ScriptedTransport::new().reply(status, reply.into());
    let verdict = connector(json!({ "login_account": "111" })).verdict(&context(&transport), "abc/12 3").await;
    let calls = transport.calls();
    assert_eq!(line(&calls[0]), "GET /v1/requestStatus:retrieve?requestId=abc%2F12%203");
    assert_eq!(header(&calls[0], "login-account"), None);
    verdict
}

#[tokio::test]
async fn partial_success_names_members_counts_the_rest_and_gives_the_range() {
    let Verdict::Applied { rejected, rejected_unnamed, match_range } = verdict(200, PARTIAL).await.unwrap() else {
        panic!("applied in part")
    };
    let named: Vec<_> = rejected.iter().map(|rejection| (rejection.index, rejection.reason.code())).collect();
    assert_eq!(named, [(4, "no_consent"), (9, "no_consent")]);
    assert_eq!(rejected_unnamed, BTreeMap::from([(RejectReason::from_static("internal_error"), 12)]));
    assert_eq!(match_range, Some((0.51, 0.61)));
}

#[tokio::test]
async fn every_range_has_its_bounds() {
    let ranges = [
        ("LESS_THAN_20", Some((0.0, 0.20))),
        ("20_TO_30", Some((0.20, 0.31))),
        ("31_TO_40", Some((0.31, 0.41))),
        ("41_TO_50", Some((0.41, 0.51))),
        ("51_TO_60", Some((0.51, 0.61))),
        ("61_TO_70", Some((0.61, 0.71))),
        ("71_TO_80", Some((0.71, 0.81))),
        ("81_TO_90", Some((0.81, 0.91))),
        ("91_TO_100", Some((0.91, 1.0))),
        ("NOT_ELIGIBLE", None),
        ("UNKNOWN", None),
        ("A_RANGE_OF_NEXT_YEAR", None),
    ];
    for (name, bounds) in ranges {
        for kind in ["compositeDataIngestionStatus", "userDataIngestionStatus"] {
            let reply = PARTIAL.replace("51_TO_60", name).replace("compositeDataIngestionStatus", kind);
            let Verdict::Applied { match_range, .. } = verdict(200, reply).await.unwrap() else { panic!("applied") };
            assert_eq!(match_range, bounds, "{name}");
        }
    }
}

#[tokio::test]
async fn a_removal_is_applied_without_a_range() {
    let reply = include_str!("../../fixtures/request_status_removal.json");
    let expected = Verdict::Applied { rejected: Vec::new(), rejected_unnamed: BTreeMap::new(), match_range: None };
    assert_eq!(verdict(200, reply).await.unwrap(), expected);
    let sweep = r#"{ "requestStatusPerDestination": [ { "requestStatus": "SUCCESS", "removeAllAudienceMembersStatus": {} } ] }"#;
    assert_eq!(verdict(200, sweep).await.unwrap(), expected);
}

#[tokio::test]
async fn processing_is_pending() {
    let processing = include_str!("../../fixtures/request_status_processing.json");
    for reply in [processing.to_owned(), processing.replace("PROCESSING", "REQUEST_STATUS_UNKNOWN"), "{}".to_owned()] {
        assert_eq!(verdict(200, reply).await.unwrap(), Verdict::Pending { again_after: Duration::from_secs(60) });
    }
}

#[tokio::test]
async fn a_failure_says_whether_sending_again_can_help() {
    let failed = include_str!("../../fixtures/request_status_failed.json");
    let denied = Verdict::Failed { reason: RejectReason::from_static("denied_consent"), again: false };
    assert_eq!(verdict(200, failed).await.unwrap(), denied);
    assert_eq!(verdict(200, failed.replace("\"FAILED\"", "\"FAILURE\"")).await.unwrap(), denied);
    let internal = failed.replace("DENIED_CONSENT", "INTERNAL_ERROR");
    assert_eq!(
        verdict(200, internal).await.unwrap(),
        Verdict::Failed { reason: RejectReason::from_static("internal_error"), again: true }
    );
    let bare = r#"{ "requestStatusPerDestination": [ { "requestStatus": "FAILED" } ] }"#;
    assert_eq!(
        verdict(200, bare).await.unwrap(),
        Verdict::Failed { reason: RejectReason::from_static("failed"), again: true }
    );
}

#[tokio::test]
async fn a_state_of_a_later_version_is_a_protocol_error() {
    let reply = r#"{ "requestStatusPerDestination": [ { "requestStatus": "HALF_DONE" } ] }"#;
    let error = verdict(200, reply).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.context().contains(&("state", "HALF_DONE".to_owned())));
}

#[tokio::test]
async fn a_request_google_no_longer_knows_is_not_found_rather_than_failed() {
    let with_reason = |reason: &str| {
        json!({ "error": { "code": 400, "status": "INVALID_ARGUMENT", "details": [
            { "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason } ] } })
        .to_string()
    };
    let not_found = r#"{ "error": { "code": 404, "status": "NOT_FOUND" } }"#.to_owned();
    for (status, reply) in
        [(400, with_reason("REQUEST_TOO_OLD")), (400, with_reason("INVALID_REQUEST_ID")), (404, not_found)]
    {
        let error = verdict(status, reply).await.unwrap_err();
        assert_eq!((error.kind(), error.retry_advice()), (ErrorKind::NotFound, Retry::Never));
        assert!(error.hint_text().unwrap().contains("send them again"));
        assert!(error.context().contains(&("ticket", "abc/12 3".to_owned())));
    }
    // A proxy's 404 says nothing of the request.
    assert_eq!(verdict(404, "<html>").await.unwrap_err().kind(), ErrorKind::Protocol);
}

async fn observe(list_reply: &str, upload: UploadSummary) -> Vec<(u64, MatchKind, Option<f64>, Option<f64>)> {
    let transport = ScriptedTransport::new().reply(200, list_reply.to_owned());
    let readings = connector(json!({})).observe(&context(&transport), &list(), &upload).await.unwrap();
    assert_eq!(transport.calls().iter().map(line).collect::<Vec<_>>(), [format!("GET {LISTS}/9876543210")]);
    for reading in &readings {
        assert_eq!((reading.as_of, reading.matched), (now(), None));
        assert!(!reading.definition.is_empty());
    }
    let round = |ratio: f64| (ratio * 1e6).round() / 1e6;
    readings.into_iter().map(|r| (r.sent, r.kind, r.low.map(round), r.high.map(round))).collect()
}

#[tokio::test]
async fn readings_are_intervals_of_the_upload_and_of_the_list() {
    let same = UploadSummary {
        persons: 12_000,
        audience_persons: 30_000,
        match_ranges: vec![(10_000, 0.51, 0.61), (2_000, 0.51, 0.61)],
        ..UploadSummary::default()
    };
    assert_eq!(
        observe(LIST, same.clone()).await,
        [(12_000, MatchKind::Bucket, Some(0.51), Some(0.61)), (30_000, MatchKind::Bounds, Some(0.56), Some(0.58))]
    );
    // A batch without a range is not part of the reading; one still waiting does not hide what is known.
    let mixed =
        UploadSummary { match_ranges: vec![(7_500, 0.20, 0.31), (2_500, 0.91, 1.0)], pending_batches: 1, ..same };
    assert_eq!(observe(NEW_LIST, mixed).await, [(10_000, MatchKind::Bounds, Some(0.3775), Some(0.4825))]);
}

#[tokio::test]
async fn without_ranges_a_reading_is_pending_not_offered_or_absent() {
    let nothing = UploadSummary { persons: 80, audience_persons: 80, ..UploadSummary::default() };
    let pending = UploadSummary { pending_batches: 2, ..nothing.clone() };
    assert_eq!(observe(NEW_LIST, pending).await, [(80, MatchKind::Pending, None, None)]);
    assert_eq!(observe(NEW_LIST, nothing.clone()).await, [(80, MatchKind::NotOffered, None, None)]);
    let removal_only = UploadSummary { persons: 0, ..nothing };
    assert_eq!(observe(NEW_LIST, removal_only).await, []);
}
