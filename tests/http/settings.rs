//! What a reload puts in force, what it refuses, and what it leaves for a restart.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{Server, configure, json as body, shop};

/// Rewrites `[server]` and asks the daemon to take it.
async fn reload(server: &Server, settings: &str, status: u16) -> Value {
    configure(&server.shop, settings);
    let asked = server.request(Method::POST, "/v1/reload", &server.tokens.admin);
    body(asked.send().await.expect("an answer"), status).await
}

fn keys(changes: &Value) -> Vec<&str> {
    changes.as_array().expect("a list").iter().map(|change| change["key"].as_str().expect("a key")).collect()
}

/// The status of a call without a token.
async fn stranger(server: &Server, path: &str, host: &str) -> u16 {
    let asked = server.client.get(format!("{}{path}", server.base)).header("host", host);
    asked.send().await.expect("an answer").status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reload_reports_as_changed_is_in_force() {
    let server = Server::start(shop(50).await, "open_on_loopback = true\nmetrics_public = true").await;
    assert_eq!(stranger(&server, "/v1/me", "localhost").await, 200);
    assert_eq!(stranger(&server, "/metrics", "localhost").await, 200);
    assert_eq!(stranger(&server, "/healthz", "reveil.test").await, 421);

    let settings = "allowed_hosts = [\"reveil.test\"]\nbody_limit_bytes = 5000\ncors_origins = [\"https://a.example\"]\n\
                    rate_limit = { per_second = 1, burst = 40 }";
    let answer = reload(&server, settings, 200).await;
    let mut changed = keys(&answer["changed"]);
    changed.sort_unstable();
    assert_eq!(
        changed,
        [
            "server.allowed_hosts",
            "server.body_limit_bytes",
            "server.cors_origins",
            "server.metrics_public",
            "server.open_on_loopback",
            "server.rate_limit.burst",
            "server.rate_limit.per_second",
        ]
    );
    assert_eq!(answer["needs_restart"], json!([]));

    assert_eq!(stranger(&server, "/v1/me", "localhost").await, 401, "closed at once");
    assert_eq!(stranger(&server, "/metrics", "localhost").await, 401, "closed at once");
    assert_eq!(stranger(&server, "/healthz", "reveil.test").await, 200);
    let token = &server.tokens.operator;
    let large = server.post("/v1/audiences/dormant/sync", token, &json!({ "origin": "x".repeat(6000) })).await;
    assert_eq!(large.headers()["ratelimit-limit"], "40");
    body(large, 413).await;
    let asked = server.request(Method::GET, "/v1/version", token).header("origin", "https://a.example");
    let answer = asked.send().await.expect("an answer");
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://a.example");
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_the_loopback_ends_the_streams_it_let_in() {
    let server = Server::start(shop(20_000).await, "open_on_loopback = true").await;
    let queued = body(server.post("/v1/audiences/dormant/sync", &server.tokens.admin, &json!({})).await, 202).await;
    let id = queued["id"].as_str().expect("an id").to_owned();
    let asked = server.client.get(format!("{}/v1/runs/{id}/events", server.base));
    let stream = asked.send().await.expect("an answer").error_for_status().expect("let in");
    reload(&server, "", 200).await;
    let text = stream.text().await.expect("it ends");
    let run = body(server.get(&format!("/v1/runs/{id}"), &server.tokens.viewer).await, 200).await;
    assert!(!text.contains("event: end") || run["finished_at"].is_string(), "{text}");
    let again = server.client.get(format!("{}/v1/runs/{id}/events", server.base)).send().await.expect("an answer");
    assert_eq!(again.status().as_u16(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_restart_is_said_and_the_old_value_holds() {
    let server = Server::start(shop(50).await, "max_connections = 300").await;
    let settings = "max_connections = 200\nbody_timeout_secs = 3\nfirst_token = { env = \"FIRST\" }\nmetrics_public = true\n\
                    [state]\nconnections = 3";
    for _ in 0..2 {
        // Asked again, it still is not in force.
        let answer = reload(&server, settings, 200).await;
        assert_eq!(
            keys(&answer["needs_restart"]),
            ["state.connections", "server.first_token", "server.max_connections", "server.body_timeout_secs"]
        );
        let connections = &answer["needs_restart"][2];
        assert_eq!((&connections["before"], &connections["after"]), (&json!(300), &json!(200)));
    }
    assert_eq!(stranger(&server, "/metrics", "localhost").await, 200, "the rest is in force");
    let answer = reload(&server, "max_connections = 300\nmetrics_public = true", 200).await;
    assert_eq!((&answer["changed"], &answer["needs_restart"]), (&json!([]), &json!([])), "set back, it is as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_is_refused_says_which_keys_and_what_to_do() {
    let server = Server::start(shop(50).await, "").await;
    let places = "metrics_public = true\n[state]\nurl = \"postgres://reader:hunter2@db/reveil\"\n\
                  [ledger]\nstore = \"file:///srv/reveil\"";
    let refused = reload(&server, places, 409).await;
    assert_eq!(refused["code"], "restart_needed");
    let fields: Vec<&str> =
        refused["errors"].as_array().expect("a list").iter().filter_map(|e| e["field"].as_str()).collect();
    assert_eq!(fields, ["state.url", "ledger.store"]);
    for error in refused["errors"].as_array().expect("a list") {
        assert_eq!(error["location"], "config");
        assert!(error["message"].as_str().is_some_and(|text| text.contains("restart")), "{error}");
        assert!(error["hint"].as_str().is_some_and(|text| text.contains("set it back")), "{error}");
    }
    assert!(!refused.to_string().contains("hunter2"), "{refused}");
    assert_eq!(stranger(&server, "/metrics", "localhost").await, 401, "nothing of it was taken");

    let elsewhere = server.shop.path().join("reveil.toml");
    configure(&server.shop, "");
    let text = std::fs::read_to_string(&elsewhere).expect("just written");
    std::fs::write(&elsewhere, text.replace("listen = \"127.0.0.1:0\"", "listen = \"127.0.0.1:1\"")).expect("ours");
    let asked = server.request(Method::POST, "/v1/reload", &server.tokens.admin).send().await.expect("an answer");
    let refused = body(asked, 409).await;
    assert_eq!(refused["errors"][0]["field"], "server.listen", "{refused}");

    let faulty = reload(&server, "max_connections = \"many\"\nplan_timeout_secs = 0", 422).await;
    assert_eq!(faulty["code"], "config_faulty");
    let errors = faulty["errors"].as_array().expect("a list");
    let of = |key: &str| errors.iter().find(|error| error["field"] == key).unwrap_or_else(|| panic!("{key}: {faulty}"));
    assert!(of("server.max_connections")["message"].as_str().is_some_and(|text| text.contains("invalid type")));
    assert!(of("server.max_connections")["hint"].as_str().is_some_and(|text| text.contains("of reveil.toml")));
    assert!(of("server.plan_timeout_secs")["message"].as_str().is_some_and(|text| text.contains("at least 1")));
    let document = body(server.get("/v1/openapi.json", &server.tokens.viewer).await, 200).await;
    let statuses = document["paths"]["/v1/reload"]["post"]["responses"].as_object().expect("responses");
    assert!(["200", "409", "422"].iter().all(|status| statuses.contains_key(*status)) && !statuses.contains_key("501"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reload_is_in_the_audit_log_with_who_and_which_keys() {
    let server = Server::start(shop(50).await, "").await;
    reload(&server, "metrics_public = true\nmax_connections = 9", 200).await;
    configure(&server.shop, "allowed_hosts = [\"secret-name.test\"]");
    server.signal("-HUP");
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    let entries = loop {
        let page = body(server.get("/v1/audit?action=reload_config", &server.tokens.admin).await, 200).await;
        let items = page["items"].as_array().expect("a list").clone();
        if items.len() == 2 || tokio::time::Instant::now() > deadline {
            break items;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let of = |actor: &str| {
        let found = entries.iter().find(|entry| entry["actor"] == actor);
        found.unwrap_or_else(|| panic!("{actor}: {entries:?}"))["detail"].clone()
    };
    assert_eq!(
        of("test admin"),
        json!({ "keys": ["server.metrics_public"], "needs_restart": ["server.max_connections"] })
    );
    let by_signal = of("signal");
    assert_eq!(by_signal["keys"], json!(["server.allowed_hosts", "server.metrics_public"]));
    assert!(!entries.iter().any(|entry| entry.to_string().contains("secret-name")), "no values");
}
