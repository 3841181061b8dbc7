//! Who may do what: every operation of the document × every kind of token.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{Server, json as body, shop};

/// As many calls as the matrix makes.
const PLENTY: &str = "rate_limit = { per_second = 10000, burst = 10000 }";

struct Operation {
    method: Method,
    /// With its parameters filled in for the audience `dormant`.
    path: String,
    /// About one audience, or what belongs to one.
    about_audience: bool,
    role: Option<String>,
    needs_body: bool,
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            operations.push(Operation {
                method: method.to_uppercase().parse().expect("a method"),
                path: path.replace("{key}", "dormant").replace("{name}", "google").replace("{id}", "none-such"),
                about_audience: path.contains("{key}") || path.contains("{name}"),
                role: operation["security"][0]["token"][0].as_str().map(str::to_owned),
                needs_body: operation.get("requestBody").is_some(),
            });
        }
    }
    operations
}

async fn status(server: &Server, operation: &Operation, token: Option<&str>) -> u16 {
    let url = format!("{}{}", server.base, operation.path);
    let mut request = server.client.request(operation.method.clone(), url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if operation.needs_body {
        // Never done: the check of the form comes after that of the caller.
        request = request.json(&json!({ "no such field": true }));
    }
    let response = request.send().await.expect("the daemon answers");
    let status = response.status().as_u16();
    if status == 401 {
        let challenge = response.headers()["www-authenticate"].to_str().expect("ASCII").to_owned();
        assert!(challenge.starts_with("Bearer realm="), "{challenge}");
    }
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_keeps_to_its_role() {
    let server = Server::start(shop(50).await, PLENTY).await;
    let document = body(server.get("/v1/openapi.json", &server.tokens.viewer).await, 200).await;
    let operations = operations(&document);
    assert!(operations.len() >= 27, "only {} operations", operations.len());
    let tokens = &server.tokens;
    let last = if tokens.admin.ends_with('a') { 'b' } else { 'a' };
    let garbage = format!("{}{last}", &tokens.admin[..tokens.admin.len() - 1]);
    for operation in &operations {
        let name = format!("{} {}", operation.method, operation.path);
        let Some(role) = &operation.role else {
            for token in [None, Some("nonsense"), Some(tokens.viewer.as_str())] {
                assert!(![401, 403].contains(&status(&server, operation, token).await), "{name} is open");
            }
            continue;
        };
        for (kind, token) in [
            ("no", None),
            ("a mistyped", Some(garbage.as_str())),
            ("a malformed", Some("rvl_x")),
            ("an expired", Some(&tokens.expired)),
            ("a revoked", Some(&tokens.revoked)),
        ] {
            assert_eq!(status(&server, operation, token).await, 401, "{name} with {kind} token");
        }
        let steps = [("viewer", &tokens.viewer), ("operator", &tokens.operator), ("admin", &tokens.admin)];
        let needed = steps.iter().position(|(known, _)| known == role).expect("a role that exists");
        for (step, (kind, token)) in steps.into_iter().enumerate() {
            let got = status(&server, operation, Some(token)).await;
            if step < needed {
                assert_eq!(got, 403, "{name} as {kind}");
            } else {
                assert!(![401, 403].contains(&got) && got < 500, "{name} as {kind}: {got}");
            }
        }
        if operation.about_audience && !operation.needs_body {
            assert_eq!(
                status(&server, operation, Some(&tokens.scoped)).await,
                404,
                "{name} with another audience's token"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_hides_everything_else() {
    let server = Server::start(shop(200).await, PLENTY).await;
    let (admin, scoped) = (&server.tokens.admin, &server.tokens.scoped);
    let run = body(server.post("/v1/audiences/dormant/sync", admin, &json!({ "dry_run": true })).await, 202).await;
    let id = run["id"].as_str().expect("an id");
    server.ended(id).await;
    for path in [
        format!("/v1/runs/{id}"),
        format!("/v1/runs/{id}/events"),
        "/v1/audiences/dormant".to_owned(),
        "/v1/destinations/google".to_owned(),
    ] {
        body(server.get(&path, scoped).await, 404).await;
        server.get(&path, admin).await.error_for_status().expect("an admin sees it");
    }
    let sync = server.post("/v1/audiences/dormant/sync", scoped, &json!({})).await;
    body(sync, 404).await;
    for (path, all) in [("/v1/runs", 1), ("/v1/audiences", 2), ("/v1/destinations", 2)] {
        let seen = body(server.get(path, admin).await, 200).await["items"].as_array().expect("a list").len();
        let scoped = body(server.get(path, scoped).await, 200).await;
        assert_eq!(seen, all, "{path}");
        assert!(scoped["items"].as_array().expect("a list").len() < all, "{path}: {scoped}");
        assert!(!scoped.to_string().contains("dormant"), "{path}: {scoped}");
    }
    // What is about everybody is not for a token of some.
    for path in ["/v1/audit", "/v1/forget"] {
        assert_eq!(body(server.get(path, scoped).await, 403).await["code"], "forbidden", "{path}");
    }
    let me = body(server.get("/v1/me", scoped).await, 200).await;
    assert_eq!(me, json!({ "name": "test admin", "role": "admin", "audiences": ["other"] }));
}
