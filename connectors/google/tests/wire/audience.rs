use reveil_sdk::testing::ScriptedTransport;
use reveil_sdk::{AudienceRef, AudienceSpec, ErrorKind, SizeBounds};
use serde_json::json;

use crate::support::{LISTS, body, connector, context, header, line, list};

const CREATED: &str = include_str!("../../fixtures/user_list_created.json");
const EXISTING: &str = include_str!("../../fixtures/user_list.json");
const FOUND: &str = include_str!("../../fixtures/user_lists.json");
const NONE: &str = "{}";
const GONE: &str = r#"{ "error": { "code": 404, "status": "NOT_FOUND", "message": "gone" } }"#;

fn spec() -> AudienceSpec {
    AudienceSpec {
        key: "dormant".to_owned(),
        label: "Inactive 180d".to_owned(),
        description: "customers without an order in 180 days".to_owned(),
        membership_days: None,
    }
}

fn violation(reason: &str) -> String {
    json!({ "error": { "code": 400, "status": "INVALID_ARGUMENT", "message": "no", "details": [
        { "@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [ { "field": "user_list.display_name", "reason": reason } ] } ] } })
    .to_string()
}

fn find_line(key: &str) -> String {
    format!("GET {LISTS}?filter=integration_code%20%3D%20%22{key}%22&pageSize=1000")
}

#[tokio::test]
async fn a_missing_list_is_made_as_documented() {
    let google = connector(json!({ "login_account": "1112223333" }));
    let transport = ScriptedTransport::new().reply(200, NONE).reply(200, CREATED);
    let made = google.find_or_create(&context(&transport), &spec(), None).await.unwrap();
    assert_eq!(made, AudienceRef { id: "9876543210".to_owned(), created: true });
    let calls = transport.calls();
    assert_eq!(line(&calls[0]), find_line("dormant"));
    assert_eq!(line(&calls[1]), format!("POST {LISTS}"));
    for call in &calls {
        assert_eq!(header(call, "login-account"), Some("accountTypes/GOOGLE_ADS/accounts/1112223333"));
        assert_eq!(header(call, "linked-account"), None);
    }
    assert_eq!(
        body(&calls[1]),
        json!({
            "displayName": "Inactive 180d",
            "description": "customers without an order in 180 days",
            "membershipStatus": "OPEN",
            "integrationCode": "dormant",
            "membershipDuration": "46656000s",
            "ingestedUserListInfo": {
                "uploadKeyTypes": ["CONTACT_ID"],
                "contactIdInfo": { "dataSourceType": "DATA_SOURCE_TYPE_FIRST_PARTY" } }
        })
    );
}

#[tokio::test]
async fn a_data_partner_names_its_linked_account_in_headers() {
    let google = connector(json!({
        "login_account": "555", "login_account_type": "DATA_PARTNER", "linked_account": "444-555-6666",
        "account_type": "DISPLAY_VIDEO_ADVERTISER",
    }));
    let transport = ScriptedTransport::new().reply(200, NONE).reply(200, CREATED);
    google.find_or_create(&context(&transport), &spec(), None).await.unwrap();
    let calls = transport.calls();
    assert_eq!(line(&calls[1]), "POST /v1/accountTypes/DISPLAY_VIDEO_ADVERTISER/accounts/1234567890/userLists");
    assert_eq!(header(&calls[1], "login-account"), Some("accountTypes/DATA_PARTNER/accounts/555"));
    assert_eq!(header(&calls[1], "linked-account"), Some("accountTypes/DISPLAY_VIDEO_ADVERTISER/accounts/4445556666"));
}

#[tokio::test]
async fn the_known_list_is_used_without_searching() {
    let transport = ScriptedTransport::new().reply(200, EXISTING);
    let found = connector(json!({})).find_or_create(&context(&transport), &spec(), Some(&list())).await.unwrap();
    assert_eq!(found, list());
    let lines: Vec<_> = transport.calls().iter().map(line).collect();
    assert_eq!(lines, [format!("GET {LISTS}/9876543210")]);
}

#[tokio::test]
async fn a_known_list_that_is_gone_is_searched_by_code() {
    for (status, gone) in [(404, GONE.to_owned()), (400, violation("INVALID_USER_LIST_ID"))] {
        let transport = ScriptedTransport::new().reply(status, gone).reply(200, FOUND);
        let known = AudienceRef { id: "1".to_owned(), created: false };
        let found = connector(json!({})).find_or_create(&context(&transport), &spec(), Some(&known)).await.unwrap();
        // Not the list that somebody else shares under the same code, nor the one of another code.
        assert_eq!(found, list());
        assert_eq!(line(&transport.calls()[1]), find_line("dormant"));
    }
}

#[tokio::test]
async fn pages_of_a_search_are_followed() {
    let transport =
        ScriptedTransport::new().reply(200, r#"{ "userLists": [], "nextPageToken": "a+b=" }"#).reply(200, FOUND);
    connector(json!({})).find_or_create(&context(&transport), &spec(), None).await.unwrap();
    assert_eq!(line(&transport.calls()[1]), format!("{}&pageToken=a%2Bb%3D", find_line("dormant")));
}

#[tokio::test]
async fn a_key_with_quotes_cannot_leave_the_filter() {
    let transport = ScriptedTransport::new().reply(200, NONE).reply(200, CREATED);
    let odd = AudienceSpec { key: "a\" OR id > \"0\\".to_owned(), ..spec() };
    connector(json!({})).find_or_create(&context(&transport), &odd, None).await.unwrap();
    let calls = transport.calls();
    let (_, filter) = calls[0].url.query_pairs().find(|(name, _)| name == "filter").unwrap();
    assert_eq!(filter, r#"integration_code = "a\" OR id > \"0\\""#);
}

#[tokio::test]
async fn a_closed_list_is_opened_and_takes_the_duration_wanted() {
    let closed = EXISTING.replace("\"OPEN\"", "\"CLOSED\", \"closingReason\": \"UNUSED\"");
    let transport = ScriptedTransport::new().reply(200, closed).reply(200, EXISTING);
    let wanted = AudienceSpec { membership_days: Some(30), ..spec() };
    let found = connector(json!({})).find_or_create(&context(&transport), &wanted, Some(&list())).await.unwrap();
    assert_eq!(found, list());
    let calls = transport.calls();
    assert_eq!(line(&calls[1]), format!("PATCH {LISTS}/9876543210?updateMask=membershipStatus%2CmembershipDuration"));
    assert_eq!(body(&calls[1]), json!({ "membershipStatus": "OPEN", "membershipDuration": "2592000s" }));
}

#[tokio::test]
async fn an_open_list_of_another_duration_is_patched_in_that_alone() {
    let transport = ScriptedTransport::new().reply(200, FOUND).reply(200, EXISTING);
    connector(json!({ "membership_days": 90 })).find_or_create(&context(&transport), &spec(), None).await.unwrap();
    let calls = transport.calls();
    assert_eq!(line(&calls[1]), format!("PATCH {LISTS}/9876543210?updateMask=membershipDuration"));
    assert_eq!(body(&calls[1]), json!({ "membershipDuration": "7776000s" }));
}

#[tokio::test]
async fn a_list_of_other_identifiers_is_not_taken() {
    let mobile = EXISTING.replace("CONTACT_ID", "MOBILE_ID");
    let transport = ScriptedTransport::new().reply(200, mobile);
    let error = connector(json!({})).find_or_create(&context(&transport), &spec(), Some(&list())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.hint_text().is_some());
}

#[tokio::test]
async fn a_label_taken_by_another_list_is_a_settings_error() {
    let transport =
        ScriptedTransport::new().reply(200, NONE).reply(400, violation("DISPLAY_NAME_ALREADY_USED")).reply(200, NONE);
    let error = connector(json!({})).find_or_create(&context(&transport), &spec(), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.hint_text().unwrap().contains("label"));
    assert!(error.context().contains(&("audience_key", "dormant".to_owned())));
}

#[tokio::test]
async fn a_list_whose_creation_was_answered_too_late_is_found_again() {
    let transport =
        ScriptedTransport::new().reply(200, NONE).reply(400, violation("DISPLAY_NAME_ALREADY_USED")).reply(200, FOUND);
    let found = connector(json!({})).find_or_create(&context(&transport), &spec(), None).await.unwrap();
    assert_eq!(found, list());
}

#[tokio::test]
async fn a_list_is_not_made_without_the_terms_but_an_existing_one_is_found() {
    let google = connector(json!({ "customer_match_terms": "withdrawn" }));
    let transport = ScriptedTransport::new().reply(200, NONE);
    let error = google.find_or_create(&context(&transport), &spec(), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(transport.calls().iter().all(|call| call.method == http::Method::GET));
    // So that people can still be taken off it.
    let transport = ScriptedTransport::new().reply(200, EXISTING);
    google.find_or_create(&context(&transport), &spec(), Some(&list())).await.unwrap();
}

#[tokio::test]
async fn a_duration_past_the_limit_is_refused_before_any_call() {
    for days in [0, 541] {
        let transport = ScriptedTransport::new();
        let wanted = AudienceSpec { membership_days: Some(days), ..spec() };
        let error = connector(json!({})).find_or_create(&context(&transport), &wanted, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(transport.calls().is_empty());
    }
}

#[tokio::test]
async fn status_reads_sizes_and_rate_as_bounds() {
    let transport = ScriptedTransport::new().reply(200, EXISTING);
    let status = connector(json!({})).status(&context(&transport), &list()).await.unwrap();
    assert!(status.writable);
    assert_eq!(status.deliverable, Some(true));
    assert_eq!(status.state, "OPEN");
    // One count per network, Gmail's zero says nothing.
    assert_eq!(status.size, Some(SizeBounds { low: Some(48_000), high: Some(61_000) }));
    assert_eq!(status.match_rate_ratio, Some((0.57, 0.01)));
    assert!(status.warnings.is_empty());
}

#[tokio::test]
async fn a_new_list_has_unknown_size_and_rate() {
    let zero = EXISTING.replace("52000", "0").replace("48000", "0").replace("61000", "0").replace(": 57", ": 0");
    for reply in [CREATED.to_owned(), zero] {
        let transport = ScriptedTransport::new().reply(200, reply);
        let status = connector(json!({})).status(&context(&transport), &list()).await.unwrap();
        assert_eq!(
            (status.writable, status.deliverable, status.size, status.match_rate_ratio),
            (true, None, None, None)
        );
    }
}

#[tokio::test]
async fn what_keeps_a_list_from_working_is_said() {
    let cases = [
        (
            EXISTING.replace("\"OPEN\"", "\"CLOSED\", \"closingReason\": \"UNUSED\""),
            false,
            Some(true),
            "CLOSED: UNUSED",
            "UNUSED",
        ),
        (EXISTING.replace("\"readOnly\": false", "\"readOnly\": true"), false, Some(true), "OPEN", "read-only"),
        (EXISTING.replace("\"ENABLED\"", "\"DISABLED\""), false, Some(true), "OPEN", "withdrew"),
        (
            EXISTING.replace("52000", "60").replace("48000", "0").replace("61000", "90"),
            true,
            Some(false),
            "OPEN",
            "fewer than 100",
        ),
        (
            EXISTING.replace("Search\": true", "Search\": false").replace("Display\": true", "Display\": false"),
            true,
            Some(false),
            "OPEN",
            "eligible",
        ),
    ];
    for (reply, writable, deliverable, state, warning) in cases {
        let transport = ScriptedTransport::new().reply(200, reply);
        let status = connector(json!({})).status(&context(&transport), &list()).await.unwrap();
        assert_eq!((status.writable, status.deliverable, status.state.as_str()), (writable, deliverable, state));
        assert_eq!(status.warnings.len(), 1, "{:?}", status.warnings);
        assert!(status.warnings[0].contains(warning), "{:?}", status.warnings);
    }
}

#[tokio::test]
async fn status_of_a_list_that_is_gone_is_not_found() {
    let transport = ScriptedTransport::new().reply(404, GONE);
    let error = connector(json!({})).status(&context(&transport), &list()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.hint_text().is_some());
}

#[tokio::test]
async fn deleting_twice_succeeds_and_other_errors_show() {
    let google = connector(json!({}));
    for (status, reply) in [(200, "{}"), (404, GONE)] {
        let transport = ScriptedTransport::new().reply(status, reply);
        google.delete(&context(&transport), &list()).await.unwrap();
        let calls = transport.calls();
        assert_eq!(line(&calls[0]), format!("DELETE {LISTS}/9876543210"));
        assert!(calls[0].body.is_empty());
    }
    let transport = ScriptedTransport::new().reply(400, violation("OWNERSHIP_REQUIRED_FOR_UPDATE"));
    let error = google.delete(&context(&transport), &list()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission);
}

#[tokio::test]
async fn check_reads_one_list_and_writes_nothing() {
    let transport = ScriptedTransport::new().reply(200, FOUND);
    let warnings = connector(json!({ "login_account": 1112223333 })).check(&context(&transport)).await.unwrap();
    assert!(warnings.is_empty());
    let calls = transport.calls();
    assert_eq!(calls.iter().map(line).collect::<Vec<_>>(), [format!("GET {LISTS}?pageSize=1")]);
    assert_eq!(header(&calls[0], "login-account"), Some("accountTypes/GOOGLE_ADS/accounts/1112223333"));
}

#[tokio::test]
async fn check_warns_of_partner_lists_and_stops_without_terms() {
    let transport = ScriptedTransport::new().reply(200, NONE);
    let warnings =
        connector(json!({ "account_type": "DISPLAY_VIDEO_PARTNER" })).check(&context(&transport)).await.unwrap();
    assert!(warnings[0].contains("EEA"));
    let transport = ScriptedTransport::new().reply(200, NONE);
    let warnings = connector(json!({ "customer_match_terms": "withdrawn" })).check(&context(&transport)).await.unwrap();
    assert!(warnings[0].contains("withdrawn"));
    let transport = ScriptedTransport::new();
    let error = connector(json!({ "customer_match_terms": null })).check(&context(&transport)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(transport.calls().is_empty());
}
