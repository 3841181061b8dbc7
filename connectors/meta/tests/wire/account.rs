//! Settings, authorisation and preflight (custom-audience-terms-of-service, securing-requests, versioning).

use http::HeaderMap;
use reveil_sdk::testing::ScriptedTransport;
use reveil_sdk::{Auth, ErrorKind, Options};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::support::{audience, connector, fixture, only, options, query, run, two, upload};

#[tokio::test]
async fn check_reads_the_terms_and_writes_nothing() {
    let transport = ScriptedTransport::new().reply(200, fixture!("account_terms_signed"));
    let warnings = run!(transport, |cx| connector().check(cx)).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let call = only(&transport);
    assert_eq!(call.method, http::Method::GET);
    assert_eq!(
        call.url.as_str(),
        "http://127.0.0.1:9999/meta/v26.0/act_123456789?fields=tos_accepted%2Cuser_tos_accepted"
    );
}

#[tokio::test]
async fn unsigned_terms_name_the_page_to_sign() {
    for body in [
        fixture!("account_terms_unsigned"),
        r#"{"id":"act_123456789"}"#,
        r#"{"tos_accepted":{"custom_audience_tos":0}}"#,
    ] {
        let transport = ScriptedTransport::new().reply(200, body);
        let error = run!(transport, |cx| connector().check(cx)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permission);
        let hint = error.hint_text().unwrap();
        assert!(hint.contains("https://business.facebook.com/ads/manage/customaudiences/tos/?act=123456789"), "{hint}");
    }
}

#[tokio::test]
async fn check_warns_of_another_version_and_of_an_ended_one() {
    let mut headers = HeaderMap::new();
    headers.insert("facebook-api-version", "v25.0".parse().unwrap());
    headers.insert("x-ad-api-version-warning", "upgraded".parse().unwrap());
    let transport = ScriptedTransport::new().reply_with(200, headers, fixture!("account_terms_signed"));
    let connector = reveil_meta::connect(options(json!({"api_version": "v24.0"}))).unwrap();
    let warnings = run!(transport, |cx| connector.check(cx)).unwrap();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings[0].contains("2026-10-06"));
    assert!(only(&transport).url.path().starts_with("/meta/v24.0/"));
}

#[tokio::test]
async fn with_an_app_secret_every_call_carries_the_proof() {
    let mut options = options(json!({}));
    options.secrets.insert("app_secret".into(), "shhh".into());
    let connector = reveil_meta::connect(options).unwrap();
    let batch = two(reveil_sdk::Operation::Add);
    let transport = ScriptedTransport::new()
        .reply(200, fixture!("account_terms_signed"))
        .reply(200, fixture!("users_added"))
        .reply(200, fixture!("users_added"))
        .reply(200, r#"{"data":[]}"#)
        .reply(200, fixture!("audience_created"))
        .reply(200, r#"{"success":true}"#);
    let spec = reveil_sdk::AudienceSpec {
        key: "k".into(),
        label: "L".into(),
        description: String::new(),
        membership_days: None,
    };
    run!(transport, |cx| connector.check(cx)).unwrap();
    run!(transport, |cx| connector.add(cx, &audience(), &upload(&batch))).unwrap();
    run!(transport, |cx| connector.remove(cx, &audience(), &upload(&batch))).unwrap();
    run!(transport, |cx| connector.find_or_create(cx, &spec, None)).unwrap();
    run!(transport, |cx| connector.delete(cx, &audience())).unwrap();
    let proof =
        ("appsecret_proof".to_owned(), "0ba00ced03d012d0521192f0bfb4a059676a9a4b774d5e3392c5b7196c9f8d42".to_owned());
    let calls = transport.calls();
    assert_eq!(calls.len(), 6);
    for call in calls {
        assert!(query(&call).contains(&proof), "{}", call.operation);
        assert!(!format!("{call:?}").contains(&proof.1));
    }
}

#[test]
fn the_token_goes_to_the_transport() {
    let Auth::Bearer(token) = connector().auth() else { panic!("Meta takes a bearer token") };
    assert_eq!(token.expose_secret(), "TOKEN");
}

#[tokio::test]
async fn the_account_may_be_digits_and_the_host_is_metas_by_default() {
    let options = Options { account: "123".into(), base_url: None, ..options(json!({})) };
    let connector = reveil_meta::connect(options).unwrap();
    let transport = ScriptedTransport::new().reply(200, fixture!("account_terms_signed"));
    run!(transport, |cx| connector.check(cx)).unwrap();
    assert!(only(&transport).url.as_str().starts_with("https://graph.facebook.com/v26.0/act_123?"));
}

#[test]
fn every_fault_is_reported_at_once() {
    let mut options = options(json!({
        "api_version": "26", "retention_days": 181, "customer_file_source": "MINE", "audience_labels": ["SLEEPY"],
        "batch_members": 10_001, "limited_data_use_state": 1000,
    }));
    options.account = "my account".into();
    options.secrets.clear();
    options.secrets.insert("tokn".into(), "SECRET".into());
    let error = reveil_meta::connect(options).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    for key in [
        "account",
        "api_version",
        "retention_days",
        "customer_file_source",
        "audience_labels",
        "batch_members",
        "limited_data_use",
        "tokn",
        "token",
    ] {
        assert!(error.message().contains(key), "{key}: {error}");
    }
    assert!(!format!("{error} {error:?}").contains("SECRET"));
    let error = reveil_meta::connect(crate::support::options(json!({"retention": 3}))).err().unwrap();
    assert!(error.message().contains("unknown field `retention`"), "{error}");
}

#[test]
fn the_descriptor_carries_what_the_destination_chose() {
    let limits = connector().descriptor().limits;
    assert_eq!((limits.max_batch_members, limits.membership_days, limits.session_secs), (5_000, None, Some(5_400)));
    let chosen = || reveil_meta::connect(options(json!({"batch_members": 10_000, "retention_days": 30}))).unwrap();
    let descriptor = chosen().descriptor();
    assert_eq!((descriptor.limits.max_batch_members, descriptor.limits.membership_days), (10_000, Some(30)));
    assert!(std::ptr::eq(descriptor, chosen().descriptor()), "one per choice, not one per connector");
    assert_eq!(reveil_meta::DESCRIPTOR.limits.max_batch_members, 10_000);
    for setting in reveil_meta::DESCRIPTOR.settings {
        let value: serde_json::Value = serde_json::from_str(setting.example).unwrap();
        let mut given = json!({"limited_data_use": true});
        given[setting.key] = value;
        reveil_meta::connect(options(given)).unwrap();
    }
}
