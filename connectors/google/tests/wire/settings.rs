use reveil_sdk::testing::ScriptedTransport;
use reveil_sdk::{Auth, ErrorKind, Options};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use crate::support::{connector, context, line, options};

fn fault(options: Options) -> String {
    let error = reveil_google::connect(options).err().expect("the settings are wrong");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.hint_text().is_some());
    error.to_string()
}

#[test]
fn every_wrong_key_is_named_at_once() {
    let mut options = options(json!({
        "account_type": "FACEBOOK_ADS",
        "login_account": "manager",
        "linked_account": "123",
        "customer_match_terms": true,
        "membership_days": 541,
        "colour": "blue",
        "token_url": "http://example.com/token",
        "quota_project": "two words",
    }));
    options.account = "act_123".to_owned();
    options.secrets.insert("password".to_owned(), SecretString::from("hush"));
    let text = fault(options);
    for key in [
        "account",
        "account_type",
        "login_account",
        "linked_account",
        "customer_match_terms",
        "membership_days",
        "colour",
        "token_url",
        "quota_project",
        "password",
    ] {
        assert!(text.contains(&format!("`{key}`")), "{key}: {text}");
    }
    assert!(!text.contains("hush"));
}

#[test]
fn accounts_lose_their_dashes_and_nothing_else() {
    for (account, good) in [
        ("123-456-7890", true),
        ("1234567890", true),
        (" 42 ", true),
        ("", false),
        ("-", false),
        ("12 34", false),
        ("12a", false),
    ] {
        let mut options = options(json!({}));
        options.account = account.to_owned();
        assert_eq!(reveil_google::connect(options).is_ok(), good, "{account:?}");
    }
}

#[test]
fn linked_accounts_need_a_data_partner() {
    assert!(fault(options(json!({ "linked_account": "1" }))).contains("DATA_PARTNER"));
    assert!(fault(options(json!({ "login_account": "2", "linked_account": "1" }))).contains("DATA_PARTNER"));
    let partner = json!({ "login_account": "2", "login_account_type": "DATA_PARTNER", "linked_account": "1" });
    assert!(reveil_google::connect(options(partner)).is_ok());
    assert!(fault(options(json!({ "login_account_type": "DATA_PARTNER" }))).contains("`login_account`"));
}

#[test]
fn terms_are_accepted_or_withdrawn_in_one_word() {
    for value in [json!("yes"), json!("Accepted"), json!(true), json!("")] {
        assert!(fault(options(json!({ "customer_match_terms": value }))).contains("customer_match_terms"));
    }
    for value in [json!("accepted"), json!("withdrawn"), json!(null)] {
        assert!(reveil_google::connect(options(json!({ "customer_match_terms": value }))).is_ok());
    }
}

#[test]
fn membership_is_1_to_540_whole_days() {
    for (days, good) in [
        (json!(1), true),
        (json!(540), true),
        (json!("30"), true),
        (json!(0), false),
        (json!(541), false),
        (json!(1.5), false),
        (json!(-1), false),
    ] {
        assert_eq!(reveil_google::connect(options(json!({ "membership_days": days }))).is_ok(), good, "{days}");
    }
}

#[test]
fn a_service_account_signs_for_the_data_manager_scope() {
    let Auth::ServiceAccount { token_url, issuer, key_id, private_key_pem, scope } = connector(json!({})).auth() else {
        panic!("a service account")
    };
    assert_eq!(token_url.as_str(), "https://oauth2.googleapis.com/token");
    assert_eq!(issuer, "reveil@reveil-tests.iam.gserviceaccount.com");
    assert_eq!(key_id.as_deref(), Some("key-1"));
    assert!(private_key_pem.expose_secret().starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert_eq!(scope, "https://www.googleapis.com/auth/datamanager");
}

fn with_refresh_token(settings: Value) -> Options {
    let mut options = options(settings);
    options.secrets.clear();
    options.secrets.insert("refresh_token".to_owned(), SecretString::from("1//refresh"));
    options.secrets.insert("client_secret".to_owned(), SecretString::from("shh"));
    options
}

#[test]
fn a_refresh_token_needs_its_client() {
    let google = reveil_google::connect(with_refresh_token(json!({ "client_id": "c.apps" }))).unwrap();
    let Auth::RefreshToken { token_url, client_id, client_secret, refresh_token } = google.auth() else {
        panic!("a refresh token")
    };
    assert_eq!(token_url.as_str(), "https://oauth2.googleapis.com/token");
    assert_eq!(
        (client_id.as_str(), client_secret.expose_secret(), refresh_token.expose_secret()),
        ("c.apps", "shh", "1//refresh")
    );
    assert!(fault(with_refresh_token(json!({}))).contains("`client_id`"));
    let mut without_secret = with_refresh_token(json!({ "client_id": "c" }));
    without_secret.secrets.remove("client_secret");
    assert!(fault(without_secret).contains("`client_secret`"));
    let mut both = with_refresh_token(json!({ "client_id": "c" }));
    both.secrets.insert("service_account".to_owned(), SecretString::from("{}"));
    assert!(fault(both).contains("not both"));
    let mut none = options(json!({}));
    none.secrets.clear();
    assert!(fault(none).contains("credential is missing"));
}

#[test]
fn a_broken_key_file_is_not_repeated() {
    for file in
        ["private stuff", r#"{ "client_email": "private stuff" }"#, r#"{ "client_email": "", "private_key": "" }"#]
    {
        let mut options = options(json!({}));
        options.secrets.insert("service_account".to_owned(), SecretString::from(file));
        let text = fault(options);
        assert!(text.contains("`service_account`") && !text.contains("private stuff"), "{text}");
    }
}

#[test]
fn tokens_come_over_plain_http_from_a_simulated_platform_only() {
    let setting = json!({ "token_url": "http://127.0.0.1:9999/google/token" });
    assert!(fault(options(setting.clone())).contains("`token_url`"));
    let mut simulated = options(setting);
    simulated.base_url = Some(Url::parse("http://127.0.0.1:9999/google").unwrap());
    let Auth::ServiceAccount { token_url, .. } = reveil_google::connect(simulated).unwrap().auth() else { panic!() };
    assert_eq!(token_url.as_str(), "http://127.0.0.1:9999/google/token");
}

#[tokio::test]
async fn the_path_of_a_base_url_is_kept() {
    for base in ["http://127.0.0.1:9999/google", "http://127.0.0.1:9999/google/?x=1"] {
        let mut options = options(json!({}));
        options.base_url = Some(Url::parse(base).unwrap());
        let google = reveil_google::connect(options).unwrap();
        let transport = ScriptedTransport::new().reply(200, "{}");
        google.check(&context(&transport)).await.unwrap();
        let calls = transport.calls();
        assert_eq!(calls[0].url.host_str(), Some("127.0.0.1"));
        assert_eq!(line(&calls[0]), "GET /google/v1/accountTypes/GOOGLE_ADS/accounts/1234567890/userLists?pageSize=1");
    }
}

#[test]
fn the_descriptor_declares_the_documented_limits() {
    let limits = reveil_google::DESCRIPTOR.limits;
    assert_eq!(
        (limits.max_batch_members, limits.max_identifiers_per_member, limits.requests_per_minute),
        (10_000, 10, Some(300))
    );
    assert_eq!((limits.max_in_flight, limits.membership_days, limits.min_audience), (10, Some(540), 100));
    // Nothing of the table asks for a credential in the settings, where it would be printed.
    for secret in reveil_google::DESCRIPTOR.secrets {
        assert!(reveil_google::DESCRIPTOR.settings.iter().all(|setting| setting.key != secret.key));
    }
}

#[test]
fn debug_output_shows_no_secret() {
    let google = reveil_google::connect(with_refresh_token(json!({ "client_id": "c" }))).unwrap();
    let shown = format!("{:?}", google.auth());
    assert!(!shown.contains("1//refresh") && !shown.contains("shh"), "{shown}");
}

#[test]
fn the_readme_explains_every_key() {
    let readme = include_str!("../../README.md");
    let descriptor = &reveil_google::DESCRIPTOR;
    let settings = descriptor.settings.iter().map(|setting| setting.key);
    for key in settings.chain(descriptor.secrets.iter().map(|secret| secret.key)) {
        assert!(readme.contains(&format!("`{key}`")), "{key}");
    }
}
