//! The authorization servers, as an app on somebody's machine meets them.

use crate::client::{Bench, request};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reveil_sandbox::{OAuthBehaviour, Platform};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use url::Url;

const REDIRECT: &str = "http://127.0.0.1:4567/callback";
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters";

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

/// Where Google's page sends the browser, with `changes` to a good request.
fn authorize(bench: &Bench, changes: &[(&str, &str)]) -> (u16, HashMap<String, String>) {
    let challenge = challenge();
    let mut query = HashMap::from([
        ("client_id", "sandbox-google-client"),
        ("redirect_uri", REDIRECT),
        ("response_type", "code"),
        ("scope", "https://www.googleapis.com/auth/datamanager"),
        ("state", "st ate"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
        ("access_type", "offline"),
        ("sandbox_consent", "allow"),
    ]);
    query.extend(changes.iter().copied());
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let target = format!("/google/o/oauth2/v2/auth?{query}");
    let reply = request(bench.sandbox.addr(), "GET", &target, &[], b"").expect("a reply");
    let back = reply.header("location").map(|url| Url::parse(url).expect("a URL"));
    if let Some(back) = &back {
        assert!(back.as_str().starts_with(REDIRECT), "{back}");
    }
    (reply.status, back.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default())
}

/// Google's token endpoint.
fn token(bench: &Bench, fields: &[(&str, &str)]) -> (u16, Value) {
    let all = [("client_id", "sandbox-google-client"), ("client_secret", "sandbox-google-client-secret")];
    let form: HashMap<_, _> = all.iter().chain(fields).copied().collect();
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let reply = request(bench.sandbox.addr(), "POST", "/google/token", &headers, body.as_bytes()).expect("a reply");
    (reply.status, reply.json())
}

fn redeem(bench: &Bench, code: &str, changes: &[(&str, &str)]) -> (u16, Value) {
    let good =
        [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT), ("code_verifier", VERIFIER)];
    token(bench, &[&good[..], changes].concat())
}

fn works(bench: &Bench, access_token: &str) -> bool {
    let path = "/google/v1/accountTypes/GOOGLE_ADS/accounts/77/userLists";
    bench.try_send("GET", path, access_token, None).expect("a reply").status == 200
}

#[tokio::test]
async fn a_code_is_given_only_to_a_known_app_that_asks_rightly() {
    let bench = Bench::start().await;
    assert_eq!(authorize(&bench, &[("client_id", "another")]).0, 400);
    assert_eq!(authorize(&bench, &[("redirect_uri", "https://elsewhere.example/")]).0, 400);
    for (change, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("scope", "everything"), "invalid_scope"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("sandbox_consent", "deny"), "access_denied"),
    ] {
        let (status, back) = authorize(&bench, &[change]);
        assert_eq!((status, back["error"].as_str(), back["state"].as_str()), (302, error, "st ate"));
        assert!(!back.contains_key("code"));
    }
    assert_eq!(authorize(&bench, &[("sandbox_consent", "")]).0, 200, "a page that asks");
}

#[tokio::test]
async fn a_code_is_good_once_in_time_and_with_its_verifier() {
    let bench = Bench::start().await;
    let code = || authorize(&bench, &[]).1["code"].clone();
    for change in [
        ("code_verifier", "another-verifier-of-more-than-forty-three-characters"),
        ("code_verifier", ""),
        ("redirect_uri", "http://127.0.0.1:4568/callback"),
        ("code", "made-up"),
    ] {
        assert_eq!(redeem(&bench, &code(), &[change]).1["error"], "invalid_grant", "{change:?}");
    }
    assert_eq!(redeem(&bench, &code(), &[("client_secret", "guess")]).0, 401);
    let late = code();
    bench.advance_mins(11);
    assert_eq!(redeem(&bench, &late, &[]).1["error"], "invalid_grant");
    let good = code();
    let (status, granted) = redeem(&bench, &good, &[]);
    let access_token = granted["access_token"].as_str().expect("a token");
    assert!(status == 200 && granted["refresh_token"].is_string() && works(&bench, access_token));
    assert_eq!(redeem(&bench, &good, &[]).1["error"], "invalid_grant", "a second use");
    assert!(!works(&bench, access_token), "what a stolen code granted has ended");
}

#[tokio::test]
async fn rotated_refresh_tokens_are_good_once_and_grants_can_be_withdrawn() {
    let bench = Bench::start().await;
    bench.world.set_oauth(OAuthBehaviour {
        rotate: true,
        refresh_lifetime_secs: Some(86_400),
        ..OAuthBehaviour::default()
    });
    let refresh = |of: &Value| {
        let refresh_token = of["refresh_token"].as_str().expect("a refresh token");
        token(&bench, &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)])
    };
    let connect = || redeem(&bench, &authorize(&bench, &[]).1["code"], &[]).1;
    let first = connect();
    assert_eq!(first["refresh_token_expires_in"], 86_400);
    let (status, second) = refresh(&first);
    assert_eq!(status, 200);
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    assert_eq!(refresh(&first).1["error"], "invalid_grant", "a used one");
    assert_eq!(refresh(&second).1["error"], "invalid_grant", "its reuse ended the grant");
    let third = connect();
    bench.advance_mins(25 * 60);
    assert_eq!(refresh(&third).1["error"], "invalid_grant", "too old");
    let fourth = connect();
    bench.world.revoke_grants(Platform::Google);
    assert!(!works(&bench, fourth["access_token"].as_str().expect("a token")));
    assert_eq!(refresh(&fourth).1["error"], "invalid_grant");
}
