//! Runs as programs ask for them: once for each key, listed in pages, followed live, cancelled.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{Server, json as body, shop};

const SYNC: &str = "/v1/audiences/dormant/sync";

async fn sync_with_key(server: &Server, token: &str, key: &str, request: &Value) -> reqwest::Response {
    let request = server.request(Method::POST, SYNC, token).header("idempotency-key", key).json(request);
    request.send().await.expect("the daemon answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_one_run() {
    let server = Server::start(shop(200).await, "").await;
    let (operator, admin) = (&server.tokens.operator, &server.tokens.admin);
    let request = json!({ "dry_run": true, "origin": "try 1" });
    let first = sync_with_key(&server, operator, "key-1", &request).await;
    let location = first.headers()["location"].to_str().expect("ASCII").to_owned();
    assert!(first.headers().get("idempotent-replayed").is_none());
    let first = body(first, 202).await;
    assert_eq!(first["requested_by"], "test operator");
    assert_eq!((&first["origin"], &first["dry_run"]), (&json!("try 1"), &json!(true)));
    assert_eq!(location, format!("/v1/runs/{}", first["id"].as_str().expect("an id")));

    // Another try of the same task says where it comes from in other words.
    let again = sync_with_key(&server, operator, "key-1", &json!({ "origin": "try 2", "dry_run": true })).await;
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(again.headers()["location"], location.as_str());
    assert_eq!(body(again, 202).await["id"], first["id"]);

    let other_body = sync_with_key(&server, operator, "key-1", &json!({ "full": true })).await;
    assert_eq!(body(other_body, 422).await["code"], "key_reused");
    let other_caller = body(sync_with_key(&server, admin, "key-1", &request).await, 202).await;
    assert_ne!(other_caller["id"], first["id"]);

    // What came to nothing may be tried again under the same key.
    let wrong = json!({ "destinations": ["nowhere"] });
    for _ in 0..2 {
        assert_eq!(body(sync_with_key(&server, operator, "key-2", &wrong).await, 422).await["code"], "unprocessable");
    }
    let at_once: Vec<_> = (0..8).map(|_| sync_with_key(&server, operator, "key-3", &request)).collect();
    let mut ids = std::collections::BTreeSet::new();
    for response in futures::future::join_all(at_once).await {
        let status = response.status().as_u16();
        let document: Value = response.json().await.expect("JSON");
        match status {
            202 => _ = ids.insert(document["id"].as_str().expect("an id").to_owned()),
            409 => assert_eq!(document["code"], "key_in_use"),
            other => panic!("{other}: {document}"),
        }
    }
    assert_eq!(ids.len(), 1, "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_can_be_followed_and_taken_up_again() {
    let server = Server::start(shop(400).await, "").await;
    let (operator, viewer) = (&server.tokens.operator, &server.tokens.viewer);
    let as_of = server.shop.as_of.format("%Y-%m-%d").to_string();
    let run = body(server.post(SYNC, operator, &json!({ "as_of": as_of })).await, 202).await;
    let events = run["links"]["events"].as_str().expect("a link").to_owned();
    let all = follow(&server, viewer, &events, None).await;
    let kinds: Vec<&str> = all.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds.last(), Some(&"end"), "{kinds:?}");
    assert!(kinds.contains(&"stage") && kinds.contains(&"progress"), "{kinds:?}");
    assert!(all.windows(2).all(|pair| pair[0].id < pair[1].id), "{kinds:?}");
    assert!(all.iter().all(|event| event.data["at"].is_string()));

    let middle = all[all.len() / 2].id;
    let rest = follow(&server, viewer, &events, Some(middle)).await;
    let later: Vec<u64> = all.iter().map(|event| event.id).filter(|id| *id > middle).collect();
    assert_eq!(rest.iter().map(|event| event.id).collect::<Vec<_>>(), later);
    let last = all.last().expect("there are some").id;
    assert!(follow(&server, viewer, &events, Some(last)).await.is_empty(), "nothing follows the end");

    let id = run["id"].as_str().expect("an id");
    let ended = server.ended(id).await;
    // Google's verdict may come later.
    assert!(["done", "pending"].contains(&ended["state"].as_str().expect("a state")), "{ended}");
    assert!(ended["totals"]["added"].as_u64().expect("a number") > 100, "{ended}");
    assert!(ended["segment"]["eligible"].as_u64().expect("a number") > 50, "{ended}");
    let late = server.post(&format!("/v1/runs/{id}/cancel"), operator, &json!({})).await;
    assert_eq!(body(late, 409).await["code"], "run_ended");

    let readings = body(server.get("/v1/observations?audience=dormant&destination=meta", viewer).await, 200).await;
    assert_eq!(readings["items"][0]["run_id"], id, "{readings}");
    let csv = server.request(Method::GET, "/v1/observations", viewer).header("accept", "text/csv");
    let csv = csv.send().await.expect("an answer").text().await.expect("text");
    assert!(
        csv.starts_with("audience,destination,connector,run_id,as_of,sent,kind,") && csv.lines().count() > 2,
        "{csv}"
    );
    let held = body(server.get("/v1/audiences/dormant", viewer).await, 200).await;
    assert!(held["destinations"][0]["held"].as_u64().expect("a number") > 50, "{held}");

    let log = body(server.get("/v1/audit?action=request_run", &server.tokens.admin).await, 200).await;
    assert_eq!((&log["items"][0]["actor"], &log["items"][0]["subject"]), (&json!("test operator"), &json!(id)));
    let verdict = body(server.post("/v1/audit/verify", &server.tokens.admin, &json!({})).await, 200).await;
    assert_eq!((&verdict["ok"], &verdict["first_bad"]), (&json!(true), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_come_in_pages_and_can_be_stopped_while_they_wait() {
    let server = Server::start(shop(50).await, "").await;
    let (operator, viewer) = (&server.tokens.operator, &server.tokens.viewer);
    let paused = body(server.post("/v1/audiences/dormant/pause", operator, &json!({})).await, 200).await;
    assert_eq!(paused["paused"], true);
    let resumed = body(server.post("/v1/audiences/dormant/resume", operator, &json!({})).await, 200).await;
    assert_eq!(resumed["paused"], false);
    let mut asked = Vec::new();
    for number in 0..5 {
        let run =
            body(server.post(SYNC, operator, &json!({ "dry_run": true, "retry_rejected": number == 0 })).await, 202);
        asked.push(run.await["id"].as_str().expect("an id").to_owned());
    }
    for id in &asked {
        server.ended(id).await;
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/runs?limit=2".to_owned());
    loop {
        let page = body(server.get(&path, viewer).await, 200).await;
        let items = page["items"].as_array().expect("a list");
        assert!(items.len() <= 2);
        seen.extend(items.iter().map(|run| run["id"].as_str().expect("an id").to_owned()));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/runs?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    let (mut seen_once, mut asked_once) = (seen.clone(), asked.clone());
    seen_once.sort();
    asked_once.sort();
    assert_eq!(seen_once, asked_once);
    let none = body(server.get("/v1/runs?audience=other", viewer).await, 200).await;
    assert_eq!(none["items"], json!([]));
    // While one run goes, the next waits; cancelled, it never starts.
    let first = body(server.post(SYNC, operator, &json!({ "full": true })).await, 202).await;
    let second = body(server.post(SYNC, operator, &json!({})).await, 202).await;
    let id = second["id"].as_str().expect("an id");
    let cancel = server.post(&format!("/v1/runs/{id}/cancel"), operator, &json!({})).await;
    let status = cancel.status().as_u16();
    assert!([202, 409].contains(&status), "{status}");
    if status == 202 {
        assert_eq!(server.ended(id).await["cancel_requested"], true);
    }
    server.ended(first["id"].as_str().expect("an id")).await;
}

struct Seen {
    id: u64,
    kind: String,
    data: Value,
}

/// Reads the stream to its end.
async fn follow(server: &Server, token: &str, path: &str, after: Option<u64>) -> Vec<Seen> {
    let mut request = server.request(Method::GET, path, token);
    if let Some(after) = after {
        request = request.header("last-event-id", after.to_string());
    }
    let response = request.send().await.expect("the daemon answers");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = tokio::time::timeout(Duration::from_secs(60), response.text()).await.expect("the stream ends");
    let mut events = Vec::new();
    for block in text.expect("UTF-8").split("\n\n") {
        let field =
            |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned());
        if let (Some(id), Some(kind), Some(data)) = (field("id:"), field("event:"), field("data:")) {
            let data = serde_json::from_str(&data).expect("data is JSON");
            events.push(Seen { id: id.parse().expect("ids are numbers"), kind, data });
        }
    }
    events
}
