//! What is refused, and how it is said: problem documents with a stable code, a remedy and the request's id.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::server::{Server, shop};

/// A problem document of this status and code, whole and of its type.
#[track_caller]
fn problem(response: Response, status: u16, code: &'static str) -> impl Future<Output = Value> {
    let at = std::panic::Location::caller();
    async move {
        let kind = response.headers()["content-type"].to_str().expect("ASCII").to_owned();
        let id = response.headers()["x-request-id"].to_str().expect("ASCII").to_owned();
        let got = response.status().as_u16();
        let document: Value = response.json().await.expect("JSON");
        assert_eq!((got, document["code"].as_str()), (status, Some(code)), "{at}: {document}");
        assert_eq!(kind, "application/problem+json", "{at}");
        assert_eq!(document["request_id"], id.as_str(), "{at}");
        assert_eq!(document["status"], status, "{at}");
        assert_eq!(document["type"], format!("urn:reveil:problem:{code}"), "{at}");
        for field in ["title", "detail", "hint"] {
            assert!(document[field].as_str().is_some_and(|text| !text.is_empty()), "{at}: {field} of {document}");
        }
        document
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_and_why() {
    let server = Server::start(shop(50).await, "body_limit_bytes = 5000").await;
    let token = &server.tokens.admin;
    let sync = "/v1/audiences/dormant/sync";
    problem(server.get("/v1/nothing", token).await, 404, "not_found").await;
    problem(server.get("/v1/audiences/nobody", token).await, 404, "not_found").await;
    problem(server.get("/v1/audiences/a%20b%2F..", token).await, 404, "not_found").await;

    let wrong_method = server.request(Method::DELETE, "/v1/runs", token).send().await.expect("an answer");
    assert_eq!(wrong_method.headers()["allow"], "GET,HEAD");
    problem(wrong_method, 405, "method_not_allowed").await;

    let text = server.request(Method::POST, sync, token).body("{}").header("content-type", "text/plain");
    problem(text.send().await.expect("an answer"), 415, "unsupported_media_type").await;
    let broken = server.request(Method::POST, sync, token).header("content-type", "application/json");
    let broken =
        problem(broken.body("{\"full\": tru}").send().await.expect("an answer"), 400, "malformed_request").await;
    assert!(broken["detail"].as_str().expect("text").contains("line 1, column"), "{broken}");

    let large = json!({ "origin": "x".repeat(6000) });
    problem(server.post(sync, token, &large).await, 413, "payload_too_large").await;

    let foreign = server.request(Method::GET, "/v1/me", token).header("host", "rebound.example");
    problem(foreign.send().await.expect("an answer"), 421, "wrong_host").await;

    let gone = json!({ "destinations": ["meta", "tiktok"] });
    let gone = problem(server.post(sync, token, &gone).await, 422, "unprocessable").await;
    assert_eq!(gone["errors"][0]["field"], "/destinations/1");
    problem(server.get("/v1/runs?cursor=nonsense", token).await, 422, "unprocessable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_request_is_named_at_once() {
    let server = Server::start(shop(50).await, "").await;
    let token = &server.tokens.admin;
    let body = json!({
        "as_of": "soon", "destinations": "meta", "allow": ["everything"], "max_removal_ratio": 3, "fast": true,
        "full": 1,
    });
    let refused = problem(server.post("/v1/audiences/dormant/sync", token, &body).await, 400, "invalid_request").await;
    let fields: Vec<&str> = refused["errors"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|fault| fault["field"].as_str().expect("text"))
        .collect();
    assert_eq!(fields, ["/allow/0", "/as_of", "/destinations", "/fast", "/full", "/max_removal_ratio"]);
    let text = refused.to_string();
    assert!(
        text.contains("no-consent-column") && text.contains("2026-01-01") && text.contains("retry_rejected"),
        "{text}"
    );

    let path = "/v1/runs?limit=0&state=asleep&colour=red&kind=sync&kind=full";
    let refused = problem(server.get(path, token).await, 400, "invalid_request").await;
    let mut fields: Vec<&str> = refused["errors"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|fault| fault["field"].as_str().expect("text"))
        .collect();
    fields.sort_unstable();
    assert_eq!(fields, ["colour", "kind", "limit", "state"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_its_headers_and_keeps_a_sane_id() {
    let server = Server::start(shop(50).await, "").await;
    let token = &server.tokens.viewer;
    for path in ["/healthz", "/v1/me", "/v1/nothing", "/login", "/assets/style.css"] {
        let response = server.get(path, token).await;
        let header =
            |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        assert!(!header("cache-control").is_empty(), "{path}");
        assert_eq!(header("access-control-allow-origin"), "", "{path}");
        assert_eq!(header("strict-transport-security"), "", "{path}: that is for whoever adds TLS");
    }
    let given = server.request(Method::GET, "/v1/me", token).header("x-request-id", "airflow-run.42");
    assert_eq!(given.send().await.expect("an answer").headers()["x-request-id"], "airflow-run.42");
    let odd = server.request(Method::GET, "/v1/me", token).header("x-request-id", "<script>alert(1)</script>");
    assert_ne!(odd.send().await.expect("an answer").headers()["x-request-id"], "<script>alert(1)</script>");
    let metrics = server.get("/metrics", token).await;
    let text = metrics.text().await.expect("text");
    assert!(text.contains("reveil_api_requests_total{route=\"/v1/me\",method=\"GET\",status=\"200\"}"), "{text}");
}
