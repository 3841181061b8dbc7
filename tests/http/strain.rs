//! Clients that are slow, loud or many.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::server::{Server, json as body, shop};

/// What comes back until the other side closes, and how long that takes.
fn until_closed(address: &str, sent: &[u8]) -> (String, Duration) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out is fine");
    let started = Instant::now();
    stream.write_all(sent).expect("it reads");
    let mut text = Vec::new();
    // Being reset is being closed.
    let _ = stream.read_to_end(&mut text);
    (String::from_utf8_lossy(&text).into_owned(), started.elapsed())
}

/// A connection that was answered once and stays.
fn kept_open(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").expect("it reads");
    stream.read_exact(&mut [0; 12]).expect("it answers");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_cut() {
    let server = Server::start(shop(50).await, "header_timeout_secs = 1\nbody_timeout_secs = 1").await;
    let address = server.address().to_owned();
    let token = server.tokens.operator.clone();
    let waits = tokio::task::spawn_blocking(move || {
        let silent = until_closed(&address, b"");
        let half_head = until_closed(&address, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ");
        let half_body = format!(
            "POST /v1/audiences/dormant/sync HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{\"full\":"
        );
        let half_body = until_closed(&address, half_body.as_bytes());
        (silent, half_head, half_body)
    });
    let (silent, half_head, half_body) = waits.await.expect("no panic");
    for (name, (_, took)) in [("silent", &silent), ("half a head", &half_head), ("half a body", &half_body)] {
        assert!(*took < Duration::from_secs(15), "{name}: {took:?}");
    }
    assert!(half_body.0.starts_with("HTTP/1.1 408") && half_body.0.contains("request_timeout"), "{}", half_body.0);
    assert!(!silent.0.contains(" 200 ") && !half_head.0.contains(" 200 "));
    server.get("/healthz", &server.tokens.viewer).await.error_for_status().expect("it still answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_have_limits_of_their_own() {
    let server = Server::start(shop(50).await, "rate_limit = { per_second = 1, burst = 10 }").await;
    let tokens = &server.tokens;
    let mut refused = None;
    // A slow machine is given some back meanwhile.
    for number in 0..100 {
        let response = server.get("/v1/me", &tokens.viewer).await;
        if response.status().as_u16() == 429 {
            refused = Some((number, response));
            break;
        }
        assert_eq!(response.headers()["ratelimit-limit"], "10");
    }
    let (number, refused) = refused.expect("the eleventh is too many");
    assert!(number >= 10, "refused after {number}");
    assert_eq!(refused.headers()["ratelimit-remaining"], "0");
    let wait: u64 = refused.headers()["retry-after"].to_str().expect("ASCII").parse().expect("seconds");
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(body(refused, 429).await["code"], "too_many_requests");
    // Another token is not held up by it, nor by somebody who guesses tokens.
    body(server.get("/v1/me", &tokens.operator).await, 200).await;
    let mut statuses = Vec::new();
    while statuses.len() < 100 && !statuses.contains(&429) {
        statuses.push(server.get("/v1/me", "rvl_guess").await.status().as_u16());
    }
    assert!(statuses.contains(&401) && statuses.contains(&429), "{statuses:?}");
    body(server.get("/v1/me", &tokens.operator).await, 200).await;
    let metrics = server.get("/metrics", &tokens.admin).await.text().await.expect("text");
    assert!(metrics.contains("reveil_api_auth_failures_total{reason=\"malformed\"}"), "{metrics}");
    assert!(metrics.contains("reveil_api_auth_failures_total{reason=\"limited\"}"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_do_not_make_the_process_look_unwell() {
    let server = Server::start(shop(50).await, "rate_limit = { per_second = 1, burst = 10 }").await;
    let ask = async |path: &str| {
        let answer = server.client.get(format!("{}{path}", server.base)).send().await.expect("an answer");
        answer.status().as_u16()
    };
    let limited = async || {
        let mut left = 150;
        while left > 0 && ask("/v1/version").await != 429 {
            left -= 1;
        }
        left > 0
    };
    assert!(limited().await, "the stranger has used up what the address has");
    for path in ["/healthz", "/readyz"] {
        for _ in 0..150 {
            assert_eq!(ask(path).await, 200, "{path}");
        }
    }
    assert!(limited().await, "and has no more than before");
}

/// What `promtool check metrics` says of the text: code and complaints.
fn promtool(text: &str) -> (Option<i32>, String) {
    use std::process::{Command, Stdio};
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().expect("promtool is installed");
    running.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    let output = running.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let server = Server::start(shop(200).await, "").await;
    let token = &server.tokens.viewer;
    let queued = server.post("/v1/audiences/dormant/sync", &server.tokens.admin, &serde_json::json!({})).await;
    let id = body(queued, 202).await["id"].as_str().expect("an id").to_owned();
    server.ended(&id).await;
    let asked = async |accept: Option<&str>| {
        let mut request = server.request(reqwest::Method::GET, "/metrics", token);
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }
        let answer = request.send().await.expect("an answer");
        let kind = answer.headers()["content-type"].to_str().expect("ASCII").to_owned();
        assert_eq!(answer.headers()["vary"], "accept");
        (kind, answer.text().await.expect("text"))
    };
    // A run is counted a moment after it has ended.
    let patience = std::time::Instant::now() + Duration::from_secs(60);
    while !asked(None).await.1.contains("reveil_runs_total{") {
        assert!(std::time::Instant::now() < patience, "the run is counted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for accept in [None, Some("text/plain"), Some("*/*")] {
        let (kind, text) = asked(accept).await;
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8", "{accept:?}");
        assert!(text.contains("reveil_runs_total{") && text.contains("# TYPE reveil_build_info gauge"), "{text}");
        let (code, said) = promtool(&text);
        assert_eq!((code, said.trim()), (Some(0), ""), "{text}");
    }
    let (kind, text) = asked(Some("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")).await;
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    assert!(text.ends_with("# EOF\n") && text.contains("# TYPE reveil_build info"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_closed() {
    let server = Server::start(shop(50).await, "max_connections = 3\nheader_timeout_secs = 30").await;
    let address = server.address().to_owned();
    // Each is in once it has an answer: the system takes connections in no order.
    let held: Vec<TcpStream> = (0..3).map(|_| kept_open(&address)).collect();
    let asked = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    let other = address.clone();
    let (answer, took) = tokio::task::spawn_blocking(move || until_closed(&other, asked)).await.expect("no panic");
    assert!(answer.is_empty() && took < Duration::from_secs(10), "{answer} after {took:?}");
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let address = address.clone();
        let (answer, _) = tokio::task::spawn_blocking(move || until_closed(&address, asked)).await.expect("no panic");
        if answer.starts_with("HTTP/1.1 200") {
            break;
        }
        assert!(Instant::now() < deadline, "there is room again: {answer}");
    }
}
