//! Spans reach a collector of OTLP over HTTP that listens on this machine. Needs the feature `otel`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::binary;
use crate::privacy::{assert_clean, forbidden};
use crate::serve::{Served, queue_run, runs, shop};
use crate::shop::Shop;

/// A span as it came.
#[derive(Debug, Clone, Default)]
struct Span {
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    name: String,
    attributes: BTreeMap<String, String>,
    started: u64,
    ended: u64,
}

/// One field of a protobuf message.
#[derive(Debug, Clone, Copy)]
enum Field<'b> {
    Number(u64),
    Bytes(&'b [u8]),
}

impl<'b> Field<'b> {
    fn bytes(self) -> &'b [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(number) => panic!("{number} is no text and no message"),
        }
    }
    fn text(self) -> String {
        String::from_utf8(self.bytes().to_vec()).expect("UTF-8")
    }
    fn number(self) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Bytes(_) => panic!("no number"),
        }
    }
}

/// A message's fields, by number. <https://protobuf.dev/programming-guides/encoding/>
fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (first, rest) = bytes.split_first().expect("a number ends");
            *bytes = rest;
            number |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                break;
            }
        }
        number
    }
    fn take<'b>(bytes: &mut &'b [u8], length: usize) -> &'b [u8] {
        let (taken, rest) = bytes.split_at(length);
        *bytes = rest;
        taken
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut bytes)),
            1 => Field::Number(u64::from_le_bytes(take(&mut bytes, 8).try_into().expect("8 of 8"))),
            2 => {
                let length = varint(&mut bytes);
                Field::Bytes(take(&mut bytes, usize::try_from(length).expect("fits")))
            }
            5 => Field::Number(u64::from(u32::from_le_bytes(take(&mut bytes, 4).try_into().expect("4 of 4")))),
            other => panic!("no wire type {other}"),
        };
        found.push((tag >> 3, field));
    }
    found
}

fn all<'b>(message: &'b [u8], number: u64) -> impl Iterator<Item = Field<'b>> {
    fields(message).into_iter().filter(move |(own, _)| *own == number).map(|(_, field)| field)
}

/// `KeyValue`s; what is neither text nor a number is left out.
fn attributes<'b>(pairs: impl Iterator<Item = Field<'b>>) -> BTreeMap<String, String> {
    let pair = |pair: Field<'b>| {
        let key = all(pair.bytes(), 1).next()?.text();
        let value = match fields(all(pair.bytes(), 2).next()?.bytes()).first()? {
            (1, text) => text.text(),
            (2 | 3, number) => number.number().to_string(),
            _ => return None,
        };
        Some((key, value))
    };
    pairs.filter_map(pair).collect()
}

/// What the collector got. Numbers of fields: `opentelemetry/proto/trace/v1/trace.proto`, read 2026-01.
#[derive(Debug, Default)]
struct Got {
    heads: Vec<String>,
    bodies: Vec<Vec<u8>>,
}

impl Got {
    fn resources(&self) -> Vec<BTreeMap<String, String>> {
        let of = |body: &Vec<u8>| {
            let resources: Vec<_> = all(body, 1).filter_map(|spans| all(spans.bytes(), 1).next()).collect();
            resources.into_iter().map(|resource| attributes(all(resource.bytes(), 1))).collect::<Vec<_>>()
        };
        self.bodies.iter().flat_map(of).collect()
    }

    fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        for resource in self.bodies.iter().flat_map(|body| all(body, 1)) {
            for span in all(resource.bytes(), 2).flat_map(|scope| all(scope.bytes(), 2)) {
                let bytes = span.bytes();
                let one = |number| all(bytes, number).next();
                let id = |number| one(number).map(|field: Field<'_>| field.bytes().to_vec()).unwrap_or_default();
                spans.push(Span {
                    trace: id(1),
                    id: id(2),
                    parent: id(4),
                    name: one(5).expect("a name").text(),
                    started: one(7).expect("a time").number(),
                    ended: one(8).expect("a time").number(),
                    attributes: attributes(all(bytes, 9)),
                });
            }
        }
        spans
    }
}

fn collector() -> (SocketAddr, Arc<Mutex<Got>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, got) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Got::default())));
    let shared = Arc::clone(&got);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).unwrap() > 0 {}
                let head = head.to_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                let mut body = vec![0; length.parse().unwrap()];
                stream.read_exact(&mut body).unwrap();
                let mut got = shared.lock().unwrap();
                got.heads.push(head);
                got.bodies.push(body);
                drop(got);
                let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\
                              connection: close\r\n\r\n";
                stream.get_mut().write_all(answer.as_bytes()).unwrap();
            });
        }
    });
    (address, got)
}

/// `delay_ms`: so long spans are gathered before they are sent.
fn traced(shop: &Shop, arguments: &[&str], endpoint: &str, delay_ms: &str) -> Command {
    let mut command = binary::command(shop.path(), arguments);
    let own = std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("OTEL"));
    for name in own {
        command.env_remove(name);
    }
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).env("OTEL_BSP_SCHEDULE_DELAY", delay_ms);
    command
}

const SERVE: [&str; 3] = ["serve", "--log", "info"];
const AN_HOUR_MS: &str = "3600000";

fn ended(shop: &Shop, served: &Served) {
    served.until("the run ended", || runs(shop).first().is_some_and(|run| run["state"] == "done"));
}

#[test]
fn otlp_the_spans_of_a_run_arrive_together_when_the_daemon_ends() {
    let shop = shop(500, 50, "", "");
    let (address, got) = collector();
    let mut command = traced(&shop, &SERVE, &format!("http://{address}"), AN_HOUR_MS);
    command.env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20collector-token");
    let mut served = Served::start_as(&shop, command);
    let id = queue_run(&shop);
    ended(&shop, &served);
    assert!(got.lock().unwrap().bodies.is_empty(), "an hour has not passed");
    assert_eq!(served.end("-TERM"), Some(0), "{}", served.log());
    assert!(!served.log().contains("collector-token") && !served.log().contains("ERROR"), "{}", served.log());
    let got = got.lock().unwrap();
    for head in &got.heads {
        assert!(
            head.starts_with("post /v1/traces ") && head.contains("content-type: application/x-protobuf"),
            "{head}"
        );
        assert!(head.contains("authorization: bearer collector-token"), "{head}");
    }
    assert!(got.resources().iter().all(|resource| resource["service.name"] == "reveil"), "{:?}", got.resources());
    assert_whole(&got.spans(), &id);
    let forbidden = forbidden(&shop);
    for body in &got.bodies {
        assert_clean("a trace", body, &forbidden);
    }
}

/// Everything of this run is in one trace, below its span.
#[track_caller]
fn assert_whole(spans: &[Span], run_id: &str) {
    let of: Vec<&Span> = spans.iter().filter(|span| span.name == "run").collect();
    let [run] = of[..] else { panic!("one run, but {of:?}") };
    assert_eq!((&*run.attributes["run.id"], &*run.attributes["audience"]), (run_id, "dormant"));
    assert!(run.parent.is_empty() && run.trace.len() == 16 && run.id.len() == 8, "{run:?}");
    let children = |parent: &Span, name: &str| -> Vec<Span> {
        spans.iter().filter(|span| span.parent == parent.id && span.name == name).cloned().collect()
    };
    assert_eq!(children(run, "gather").len(), 1);
    let deliveries = children(run, "deliver");
    let mut destinations: Vec<&str> = deliveries.iter().map(|span| &*span.attributes["destination"]).collect();
    destinations.sort_unstable();
    assert_eq!(destinations, ["google", "meta"]);
    for delivery in &deliveries {
        let batches = children(delivery, "batch");
        assert!(batches.len() > 2, "{batches:?}");
        for batch in &batches {
            assert!(batch.attributes["members"].parse::<u64>().is_ok_and(|members| (1..=50).contains(&members)));
            let calls = children(batch, "call");
            assert!(!calls.is_empty() && calls.iter().all(|call| call.attributes["status"] == "200"), "{calls:?}");
        }
    }
    for span in spans.iter().filter(|span| ["gather", "deliver", "batch"].contains(&&*span.name)) {
        assert_eq!(span.trace, run.trace, "{span:?}");
        assert!(run.started <= span.started && span.started <= span.ended && span.ended <= run.ended, "{span:?}");
    }
}

#[test]
fn otlp_the_command_line_sends_its_spans_too() {
    let shop = shop(300, 50, "", "");
    let (address, got) = collector();
    binary::finish(traced(&shop, &["sync", "--wait"], &format!("http://{address}"), AN_HOUR_MS)).expect(0);
    let id = runs(&shop)[0]["id"].as_str().expect("an id").to_owned();
    assert_whole(&got.lock().unwrap().spans(), &id);
    let before = got.lock().unwrap().bodies.len();
    binary::finish(traced(&shop, &["sync", "--wait"], "", AN_HOUR_MS)).expect(0);
    assert_eq!(got.lock().unwrap().bodies.len(), before, "nobody asked for traces");
}

#[test]
fn otlp_a_collector_that_is_away_or_silent_disturbs_nobody() {
    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = (format!("http://{}", silent.local_addr().unwrap()), silent);
    for (what, endpoint, said) in [
        ("away", "http://127.0.0.1:9", "does not take the traces; they are lost error=\"cannot connect\""),
        ("silent", silent.0.as_str(), "the last traces were not delivered"),
        ("no address", "::", "no traces: invalid exporter configuration"),
    ] {
        let shop = shop(500, 50, "", "");
        let mut served = Served::start_as(&shop, traced(&shop, &SERVE, endpoint, "100"));
        queue_run(&shop);
        ended(&shop, &served);
        let told = Instant::now();
        assert_eq!(served.end("-TERM"), Some(0), "{what}: {}", served.log());
        assert!(told.elapsed() < Duration::from_secs(8), "{what}: {:?}", told.elapsed());
        let log = served.log();
        assert_eq!(log.matches(said).count(), 1, "{what}, once: {log}");
        assert!(!log.contains("ERROR") && !log.contains("panicked"), "{what}: {log}");
    }
}
