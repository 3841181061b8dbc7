//! The sandbox itself: where it listens, what it keeps, what it shows, and that it keeps quiet.

use crate::client::{Bench, email_key, emails, ingest, sha};
use reveil_sandbox::{Delays, Error, Platform, Sandbox, Settings};
use serde_json::{Value, json};
use std::net::SocketAddr;

#[tokio::test]
async fn it_listens_on_loopback_only() {
    let anywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    assert!(matches!(Sandbox::start(anywhere, Settings::default()).await, Err(Error::NotLoopback(_))));
}

#[tokio::test]
async fn audiences_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let settings =
        || Settings { state: Some(dir.path().join("state.json")), delays: Delays::none(), ..Settings::default() };
    let bench = Bench::with(settings()).await;
    let (id, list) = (bench.meta_audience("inactive"), bench.google_list("inactive"));
    bench.meta("POST", &format!("{id}/users"), json!({"payload": emails(0..3)}));
    bench.google("POST", "audienceMembers:ingest", ingest(&list, 0..2));
    let (held, matched) = (bench.world.held(Platform::Meta, &id), bench.world.matched(Platform::Meta, &id));
    bench.sandbox.stop().await.unwrap();
    let bench = Bench::with(settings()).await;
    assert_eq!((bench.world.held(Platform::Meta, &id), bench.world.matched(Platform::Meta, &id)), (held, matched));
    assert_eq!(bench.world.held_count(Platform::Google, &list), Some(2));
    assert_ne!(bench.meta_audience("another"), id);
    drop(bench);
    std::fs::write(dir.path().join("state.json"), "{\"version\":1,\"meta\":{\"audiences\":{\"secret\":1}}}").unwrap();
    let error = Sandbox::start(SocketAddr::from(([127, 0, 0, 1], 0)), settings()).await.unwrap_err().to_string();
    assert!(error.contains("state.json") && !error.contains("secret"), "{error}");
}

#[tokio::test]
async fn control_shows_and_steers() {
    let bench = Bench::start().await;
    let id = bench.meta_audience("inactive");
    bench.meta("POST", &format!("{id}/users"), json!({"payload": emails(0..2)}));
    let overview = bench.control("GET", "", Value::Null);
    assert_eq!(
        (&overview["audiences"][0]["held"], &overview["requests"]["meta.users.add"]["members"]),
        (&json!(2), &json!(2))
    );
    assert!(!overview.to_string().contains(&sha("p0@shop.example")), "digests are shown only when asked for");
    let members = bench.control("GET", &format!("/members?platform=meta&audience={id}"), Value::Null);
    assert_eq!(members["count"], 2);
    assert!(members["members"].as_array().unwrap().contains(&json!(email_key(0))));
    let matched = bench.control("GET", &format!("/matched?platform=meta&audience={id}"), Value::Null);
    assert_eq!(matched["matched"], bench.world.matched(Platform::Meta, &id).unwrap());
    let before = bench.world.now();
    bench.control("POST", "/time", json!({"advance": "2h"}));
    assert_eq!((bench.world.now() - before).num_hours(), 2);
    bench.control("POST", "/time", json!({"set": "2027-01-01T00:00:00Z"}));
    assert_eq!(bench.control("GET", "/time", Value::Null)["now"], "2027-01-01T00:00:00Z");
    let faults = bench.control("POST", "/faults", json!({"add": "meta:throttle@next=3"}));
    assert_eq!(faults["faults"], json!(["meta:throttle=80003@next=3"]));
    let wrong = bench.try_send("POST", "/control/faults", "", Some(&json!({"set": "meta:nothing"}))).unwrap();
    assert!(wrong.status == 400 && wrong.json()["error"].as_str().unwrap().contains("unknown fault"));
    assert_eq!(bench.control("DELETE", "/faults", Value::Null)["faults"], json!([]));
    bench.control("POST", "/reset", Value::Null);
    assert_eq!(bench.control("GET", "", Value::Null)["audiences"], json!([]));
    assert_eq!(
        bench.try_send("GET", &format!("/control/members?platform=meta&audience={id}"), "", None).unwrap().status,
        404
    );
}

#[tokio::test]
async fn the_identity_graph_decides_who_matches() {
    let dir = tempfile::tempdir().unwrap();
    let (accounts, contacts) = (dir.path().join("accounts.csv"), dir.path().join("contacts.csv"));
    let graph = "platform,person,emails,phones,name_postcode\n\
                 meta,0,ann.lee@gmail.example,+33700000001,0\nmeta,1,bo@orange.example,,1\n\
                 google,0,ann.lee@gmail.example,+33700000001,0\n";
    std::fs::write(&accounts, graph).unwrap();
    let people =
        "customer_id,first_name,last_name,country,postcode\nC00000000,Ann,Lee,FR,75001\nC00000001,Bo,Berg,US,94043\n";
    std::fs::write(&contacts, people).unwrap();
    let settings =
        Settings { accounts: Some(accounts), contacts: Some(contacts), delays: Delays::none(), ..Settings::default() };
    let bench = Bench::with(settings).await;
    let id = bench.meta_audience("inactive");
    let matched = || bench.world.matched_persons(Platform::Meta, &id).unwrap();
    let add = |payload: Value| bench.meta("POST", &format!("{id}/users"), json!({"payload": payload}));
    // Google's forms mean nothing to Meta.
    add(json!({"schema": ["EMAIL", "PHONE"], "data": [[sha("annlee@gmail.example"), sha("+33700000001")]]}));
    assert_eq!(matched(), Vec::<u32>::new());
    add(json!({"schema": ["EMAIL", "PHONE"], "data": [["", sha("33700000001")]]}));
    assert_eq!(matched(), [0]);
    let row = json!([sha("bo"), sha("berg"), sha("94043"), sha("us")]);
    add(json!({"schema": ["FN", "LN", "ZIP", "COUNTRY"], "data": [row]}));
    assert_eq!(matched(), [0, 1]);
    // Removed by another of the person's identifiers than the one uploaded.
    bench.meta(
        "DELETE",
        &format!("{id}/users"),
        json!({"payload": {"schema": ["EMAIL"], "data": [[sha("ann.lee@gmail.example")]]}}),
    );
    assert_eq!(matched(), [1]);
    assert_eq!(bench.world.drift(Platform::Meta, &id), Some((1, 0)), "the phone is held, its person is gone");
    let list = bench.google_list("inactive");
    let mut body = ingest(&list, [0]);
    let identifiers = &mut body["audienceMembers"][0]["compositeData"]["userData"]["userIdentifiers"];
    *identifiers = json!([{"emailAddress": sha("annlee@gmail.example")}, {"phoneNumber": sha("+33700000001")}]);
    assert_eq!(bench.google("POST", "audienceMembers:ingest", body).status, 200);
    assert_eq!(bench.world.matched_persons(Platform::Google, &list).unwrap(), [0]);
}
