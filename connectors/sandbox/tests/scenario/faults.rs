//! Faults: what they do to a request, and what is left behind.

use crate::client::{Bench, META, email_key, emails, ingest, request, sha};
use reveil_sandbox::{Delays, Platform, Settings};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

fn add(bench: &Bench, id: &str, n: usize) -> std::io::Result<crate::client::Reply> {
    bench.try_send("POST", &format!("/meta/v26.0/{id}/users"), META, Some(&json!({"payload": emails([n])})))
}

fn has(bench: &Bench, id: &str, n: usize) -> bool {
    bench.world.held(Platform::Meta, id).unwrap().contains(&email_key(n))
}

#[tokio::test]
async fn broken_connections_leave_what_they_promise() {
    let bench = Bench::start().await;
    let id = bench.meta_audience("inactive");
    let strike = |rule: &str| bench.world.set_faults(format!("meta.users:{rule}@next=1").parse().unwrap());
    strike("reset");
    let error = add(&bench, &id, 1).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof), "{error}");
    assert!(!has(&bench, &id, 1));
    strike("reset-applied");
    assert!(add(&bench, &id, 2).is_err());
    assert!(has(&bench, &id, 2));
    strike("truncate");
    assert_eq!(add(&bench, &id, 3).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert!(has(&bench, &id, 3));
    strike("html");
    let page = add(&bench, &id, 4).unwrap();
    assert!(page.status == 502 && page.text.starts_with("<!DOCTYPE html>") && !has(&bench, &id, 4));
    strike("empty");
    assert_eq!(add(&bench, &id, 5).unwrap().json(), json!({}));
    strike("success-false");
    assert_eq!(add(&bench, &id, 6).unwrap().json(), json!({"success": false}));
    assert!(!has(&bench, &id, 5) && !has(&bench, &id, 6));
    assert_eq!(add(&bench, &id, 7).unwrap().status, 200, "next=1 struck once");
    let log = bench.control("GET", "/log?operation=users.add", Value::Null);
    assert_eq!((&log["log"][0]["faults"], &log["log"][0]["status"]), (&json!(["reset"]), &json!(0)));
}

#[tokio::test]
async fn a_hanging_request_ends_with_the_sandbox() {
    let bench = Bench::start().await;
    let id = bench.meta_audience("inactive");
    bench.world.set_faults("meta.users:timeout-applied@next=1,meta.users:timeout".parse().unwrap());
    let addr = bench.sandbox.addr();
    let hang = |n: usize, id: String| {
        std::thread::spawn(move || {
            let body = json!({"payload": emails([n])}).to_string();
            let bearer = format!("Bearer {META}");
            let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
            request(addr, "POST", &format!("/meta/v26.0/{id}/users"), &headers, body.as_bytes())
        })
    };
    let first = hang(1, id.clone());
    while bench.world.requests(Platform::Meta, "users.add") < 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = hang(2, id.clone());
    while bench.world.requests(Platform::Meta, "users.add") < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!first.is_finished() && !second.is_finished());
    assert!(has(&bench, &id, 1) && !has(&bench, &id, 2));
    bench.sandbox.stop().await.unwrap();
    assert!(first.join().unwrap().is_err() && second.join().unwrap().is_err());
    assert!(TcpStream::connect(addr).is_err(), "nobody listens any more");
}

#[tokio::test]
async fn throttles_speak_the_platforms_language() {
    let bench = Bench::start().await;
    let id = bench.meta_audience("inactive");
    let list = bench.google_list("inactive");
    let strike = |rules: &str| bench.world.set_faults(rules.parse().unwrap());
    strike("throttle@next=1");
    let reply = add(&bench, &id, 1).unwrap();
    assert_eq!((reply.status, reply.meta_code()), (400, (80_003, None)));
    assert!(reply.header("x-business-use-case-usage").unwrap().contains("\"estimated_time_to_regain_access\":5"));
    strike("meta:throttle=613@next=1,google:retry-after=7@next=1");
    assert_eq!(add(&bench, &id, 1).unwrap().meta_code(), (613, Some(1_487_742)));
    let google = |n: usize| bench.google("POST", "audienceMembers:ingest", ingest(&list, [n]));
    let limited = google(1);
    assert_eq!((limited.status, limited.header("retry-after")), (429, Some("7")));
    strike("google:day-quota@next=1");
    let limited = google(1);
    assert_eq!((limited.status, limited.header("retry-after")), (429, None));
    assert_eq!(
        limited.json()["error"]["details"][0]["metadata"]["quota_limit"],
        "IngestionMutateRequestsPerDayPerProject"
    );
    for (rule, meta, google_status) in
        [("transient", (2, None), 503), ("error=500", (1, None), 500), ("expired-token", (190, Some(463)), 401)]
    {
        strike(rule);
        assert_eq!((add(&bench, &id, 1).unwrap().meta_code(), google(1).status), (meta, google_status), "{rule}");
    }
    strike("not-visible@next=1");
    assert_eq!(add(&bench, &id, 1).unwrap().meta_code(), (803, None));
    strike("terms");
    assert_eq!(add(&bench, &id, 1).unwrap().meta_code(), (200, Some(1_870_090)));
    assert_eq!(google(1).google_fault().2, "ADVERTISER_TOS_NOT_ACCEPTED");
    assert_eq!(bench.meta("GET", "act_1", Value::Null).status, 200, "unscoped, it strikes member calls only");
}

#[tokio::test]
async fn rejects_inside_accepted_requests() {
    let bench = Bench::with(Settings { delays: Delays::none(), ..Settings::default() }).await;
    let (id, list) = (bench.meta_audience("inactive"), bench.google_list("inactive"));
    bench.world.set_faults("partial=0.25".parse().unwrap());
    let reply = bench.meta("POST", &format!("{id}/users"), json!({"payload": emails(0..1000)})).json();
    let invalid = reply["num_invalid_entries"].as_u64().unwrap();
    assert!((180..330).contains(&invalid), "{invalid}");
    assert_eq!(bench.world.held_count(Platform::Meta, &id), Some(1000 - invalid as usize));
    let accepted = bench.google("POST", "audienceMembers:ingest", ingest(&list, 0..1000)).json();
    let request = accepted["requestId"].as_str().unwrap();
    let status = bench.google("GET", &format!("requestStatus:retrieve?requestId={request}"), Value::Null).json();
    let entry = &status["requestStatusPerDestination"][0];
    assert_eq!(entry["requestStatus"], "PARTIAL_SUCCESS");
    let refused = entry["errorInfo"]["errorCounts"][0]["recordIndices"].as_array().unwrap();
    assert_eq!(bench.world.held_count(Platform::Google, &list), Some(1000 - refused.len()));
    let first = refused[0].as_u64().unwrap() as usize;
    assert!(!bench.world.held(Platform::Google, &list).unwrap().contains(&email_key(first)));
}

#[tokio::test]
async fn an_unnamed_bad_row_spoils_its_batch() {
    let bench = Bench::with(Settings { delays: Delays::none(), ..Settings::default() }).await;
    let (id, list) = (bench.meta_audience("inactive"), bench.google_list("inactive"));
    let prefix = &sha("p3@shop.example")[..12];
    bench.world.set_faults(format!("bad-row={prefix}").parse().unwrap());
    let meta = |persons: std::ops::Range<usize>| {
        bench.meta("POST", &format!("{id}/users"), json!({"payload": emails(persons)}))
    };
    let google =
        |persons: std::ops::Range<usize>| bench.google("POST", "audienceMembers:ingest", ingest(&list, persons));
    assert_eq!(
        (meta(0..5).meta_code(), google(0..5).google_fault()),
        ((100, None), (400, "audience_members".to_owned(), "INVALID_AUDIENCE_MEMBER".to_owned()))
    );
    assert_eq!((meta(0..3).status, google(4..8).status), (200, 200));
    assert!(!meta(3..4).text.contains(prefix), "the row stays unnamed");
}

#[tokio::test]
async fn jobs_fail_and_audiences_get_flagged() {
    let bench = Bench::with(Settings { delays: Delays::none(), ..Settings::default() }).await;
    let (id, list) = (bench.meta_audience("inactive"), bench.google_list("inactive"));
    bench.world.set_faults("failed-job@next=2".parse().unwrap());
    let request = bench.google("POST", "audienceMembers:ingest", ingest(&list, 0..3)).json()["requestId"]
        .as_str()
        .unwrap()
        .to_owned();
    let status = bench.google("GET", &format!("requestStatus:retrieve?requestId={request}"), Value::Null).json();
    assert_eq!(status["requestStatusPerDestination"][0]["requestStatus"], "FAILED");
    assert_eq!(bench.world.held_count(Platform::Google, &list), Some(0));
    let session = json!({"session_id": 1, "batch_seq": 1, "last_batch_flag": true});
    assert_eq!(
        bench.meta("POST", &format!("{id}/usersreplace"), json!({"session": session, "payload": emails(0..3)})).status,
        200
    );
    let code = || {
        bench.meta("GET", &format!("{id}?fields=operation_status"), Value::Null).json()["operation_status"]["code"]
            .clone()
    };
    assert_eq!((code(), bench.world.held_count(Platform::Meta, &id)), (json!(415), Some(0)));
    bench.world.set_faults("flagged@next=1".parse().unwrap());
    assert_eq!(add(&bench, &id, 1).unwrap().meta_code(), (100, Some(1_713_230)));
    assert_eq!(code(), 471, "the flag stays");
}
