//! Broken, oversized and slow requests. Whoever sends them gets a refusal or is cut off; everybody else is served.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::daemon::{Answer, Daemon, Setup};
use crate::shop::{Draws, Plan, Shop};

const LIMITS: &str = "
[server]
listen = '127.0.0.1:{port}'
body_limit_bytes = 65536
header_timeout_secs = 1
body_timeout_secs = 1
max_connections = 100
rate_limit = { per_second = 10000, burst = 10000 }
";
const BODY_LIMIT: usize = 65_536;

fn start(shop: &Shop) -> Daemon {
    Daemon::start(shop, &Setup { config: LIMITS.to_owned(), ..Setup::default() })
}

fn small() -> Shop {
    Shop::open(&Plan { customers: 800, ..Plan::default() })
}

#[test]
fn broken_and_oversized_requests_are_refused_and_change_nothing() {
    let shop = small();
    let mut daemon = start(&shop);
    daemon.sync_exactly(&shop, "before");
    let runs = daemon.get("/v1/runs").expect(200).json();
    for (what, request) in broken(&daemon) {
        if let Some(answer) = daemon.raw(&request) {
            assert!((400..500).contains(&answer.status), "{what}: {}\n{}", answer.head, answer.body);
            if answer.head.contains("problem+json") {
                let problem = answer.json();
                assert_eq!(problem["status"], answer.status, "{what}: {problem}");
                assert!(problem["code"].is_string() && problem["request_id"].is_string(), "{what}: {problem}");
            }
        }
        daemon.assert_alive(what);
        daemon.get("/healthz").expect(200);
    }
    let mut draws = Draws(7);
    for _ in 0..200 {
        let length = draws.below(400) as usize;
        let noise: Vec<u8> = (0..length).map(|_| draws.next() as u8).collect();
        if let Some(Answer { status, .. }) = daemon.raw_and_end(&noise) {
            assert_eq!(status, 400, "noise is no request");
        }
    }
    assert_eq!(daemon.get("/v1/runs").expect(200).json(), runs, "nothing was begun");
    daemon.assert_whole("after broken requests");
    daemon.sync_exactly(&shop, "after broken requests");
}

/// Requests with a valid token that no server should take.
fn broken(daemon: &Daemon) -> Vec<(&'static str, Vec<u8>)> {
    let sync = "/v1/audiences/dormant/sync";
    let json = |body: &str| {
        let more = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        format!("{}{body}", daemon.head("POST", sync, &more)).into_bytes()
    };
    let post = |more: &str, body: &[u8]| [daemon.head("POST", sync, more).as_bytes(), body].concat();
    let get = |path: &str, more: &str| daemon.head("GET", path, more).into_bytes();
    let over = "x".repeat(BODY_LIMIT + 1);
    let kind = "content-type: application/json\r\n";
    vec![
        ("a body over the limit", json(&format!("{{\"as_of\":\"{over}\"}}"))),
        ("a length over the limit", post(&format!("{kind}content-length: 9999999999\r\n"), b"{}")),
        (
            "chunks over the limit",
            post(
                &format!("{kind}transfer-encoding: chunked\r\n"),
                format!("{:x}\r\n{over}\r\n0\r\n\r\n", over.len()).as_bytes(),
            ),
        ),
        ("a chunk that is none", post(&format!("{kind}transfer-encoding: chunked\r\n"), b"zz\r\n{}\r\n0\r\n\r\n")),
        ("a negative length", post(&format!("{kind}content-length: -1\r\n"), b"{}")),
        ("two lengths", post(&format!("{kind}content-length: 2\r\ncontent-length: 3\r\n"), b"{}x")),
        ("a body that is cut off", post(&format!("{kind}content-length: 500\r\n"), b"{\"as_of\":")),
        ("no JSON", json("as_of=2026-01-01")),
        ("JSON without an end", json(&"[".repeat(20_000))),
        ("deep JSON", json(&format!("{}{}", "[".repeat(20_000), "]".repeat(20_000)))),
        ("a number beyond all", json("{\"max_removal_ratio\": 1e999}")),
        ("no UTF-8", post(&format!("{kind}content-length: 12\r\n"), b"{\"as_of\":\"\xff\xfe")),
        ("an unknown field", json("{\"as_off\": \"2026-01-01\"}")),
        ("a day that does not exist", json("{\"as_of\": \"2026-02-30T00:00:00Z\"}")),
        ("a destination that is none", json("{\"destinations\": [\"nowhere\"]}")),
        ("another kind of body", post("content-type: text/plain\r\ncontent-length: 2\r\n", b"{}")),
        ("an audience that is a path", get("/v1/audiences/..%2f..%2fetc%2fpasswd", "")),
        ("a path with a zero", get("/v1/runs/%00", "")),
        ("a path that is no UTF-8", get("/v1/runs/%ff%fe", "")),
        ("a cursor of one's own", get("/v1/runs?cursor=%00%ff", "")),
        ("a limit beyond the limit", get("/v1/runs?limit=99999999999999999999", "")),
        ("a long path", get(&format!("/v1/runs/{}", "a".repeat(100_000)), "")),
        ("a large header", get("/v1/runs", &format!("x-large: {}\r\n", "a".repeat(1 << 20)))),
        ("many headers", get("/v1/runs", &"x-many: 1\r\n".repeat(5_000))),
        ("a method of one's own", daemon.head("BREW", "/v1/runs", "").into_bytes()),
        ("HTTP/2 without being asked", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec()),
        ("TLS where there is none", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("HTTP/0.9", b"GET /v1/runs\r\n\r\n".to_vec()),
        ("no host", b"GET /v1/runs HTTP/1.1\r\n\r\n".to_vec()),
        ("another host", b"GET /v1/runs HTTP/1.1\r\nhost: evil.example\r\n\r\n".to_vec()),
        (
            "no token",
            format!("GET /v1/runs HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\n\r\n", daemon.port()).into(),
        ),
    ]
}

/// A client that says a byte now and then, or never reads.
#[derive(Clone, Copy)]
enum Slow {
    Head,
    Body,
    Silent,
    NotReading,
}

#[test]
fn slow_clients_are_cut_off_and_nobody_waits_for_them() {
    let shop = small();
    let mut daemon = start(&shop);
    daemon.sync_exactly(&shop, "before");
    let kinds = [Slow::Head, Slow::Body, Slow::Silent, Slow::NotReading];
    let mut held: Vec<(Slow, TcpStream)> =
        kinds.iter().cycle().take(80).map(|kind| (*kind, open(&daemon, *kind))).collect();
    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    // Longer than any time limit of the config, so that all of them are dealt with.
    while started.elapsed() < Duration::from_secs(4) {
        for (kind, stream) in &mut held {
            if !matches!(kind, Slow::Silent | Slow::NotReading) {
                // Fails once it is cut off.
                let _ = stream.write_all(b"x");
            }
        }
        let asked = Instant::now();
        daemon.get("/v1/runs").expect(200);
        slowest = slowest.max(asked.elapsed());
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(slowest < Duration::from_secs(2), "others waited for {slowest:?}");
    for (kind, stream) in held {
        assert!(is_closed(stream, kind), "a slow client is still connected");
    }
    daemon.assert_whole("after slow clients");
}

#[test]
fn more_connections_than_allowed_are_turned_away_until_some_end() {
    let shop = small();
    let mut daemon = start(&shop);
    let held: Vec<TcpStream> = (0..300).filter_map(|_| daemon.connect().ok()).collect();
    drop(held);
    daemon.ready();
    daemon.sync_exactly(&shop, "after too many connections");
    daemon.assert_whole("after too many connections");
}

fn open(daemon: &Daemon, kind: Slow) -> TcpStream {
    let mut stream = daemon.connect().expect("there is room");
    let part = match kind {
        Slow::Silent => String::new(),
        Slow::Head => "GET /v1/runs HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: ".to_owned(),
        Slow::Body => {
            let more = "content-type: application/json\r\ncontent-length: 5000\r\n";
            format!("{}{{\"as_of\": \"", daemon.head("POST", "/v1/audiences/dormant/sync", more))
        }
        // More answers than the connection's buffers hold, and nobody takes them.
        Slow::NotReading => {
            let request = daemon.head("GET", "/v1/openapi.json", "").replace("connection: close\r\n", "");
            stream.set_write_timeout(Some(Duration::from_millis(100))).expect("a time limit can be set");
            request.repeat(200)
        }
    };
    let _ = stream.write_all(part.as_bytes());
    stream
}

/// The other side has ended the connection: everything that still comes is read, then there is an end, not silence.
fn is_closed(mut stream: TcpStream, kind: Slow) -> bool {
    let patience = if matches!(kind, Slow::NotReading) { 5 } else { 2 };
    stream.set_read_timeout(Some(Duration::from_secs(patience))).expect("a time limit can be set");
    let mut buffer = [0; 65_536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}
