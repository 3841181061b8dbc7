//! From a finding to a message: once per state, from one replica, in the shape each channel wants.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use chrono::{TimeDelta, Utc};
use reveil_sdk::Clock as _;
use serde_json::{Value, json};

use super::message::Message;
use super::rules::{Silence, of_credentials, of_silence};
use super::*;
use crate::clock::VirtualClock;
use crate::config::{self, AlertsConfig, Sources};
use crate::daemon::ConfigFile;
use crate::store::Store;
use crate::vault::CredentialExpiry;

#[derive(Debug, Default)]
struct Heard {
    messages: Vec<(HeaderMap, Value)>,
    /// Answered with 503 so many times first.
    refuse: usize,
}

/// Listens like a chat or a webhook.
async fn listener(refuse: usize) -> (String, Arc<Mutex<Heard>>) {
    let heard = Arc::new(Mutex::new(Heard { refuse, ..Heard::default() }));
    let hear = |Shared(heard): Shared<Arc<Mutex<Heard>>>, headers: HeaderMap, body: String| async move {
        let mut heard = heard.lock().unwrap();
        if heard.refuse > 0 {
            heard.refuse -= 1;
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        heard.messages.push((headers, serde_json::from_str(&body).unwrap()));
        StatusCode::OK
    };
    let router = Router::new().fallback(hear).with_state(Arc::clone(&heard));
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", socket.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(socket, router).await });
    (url, heard)
}

async fn daemon(dir: &std::path::Path, url: &str, clock: &VirtualClock) -> Arc<Daemon> {
    let path = dir.join("reveil.toml");
    let text = format!(
        "[warehouse]\ndriver = 'sqlite'\nuri = 'file:shop.db'\n\
         [warehouse.customers]\ntable = 'c'\nid = 'id'\nemails = ['email']\nconsent_ads = 'consent'\n\
         [warehouse.events]\ntable = 'o'\ncustomer_id = 'id'\nat = 'at'\nkind = \"'order'\"\n\
         [audience.dormant]\nlabel = 'D'\ninactive = {{ no_event_days = {{ kinds = ['order'], days = 180 }} }}\n\
         destinations = ['meta']\nschedule = {{ every = '1h' }}\n\
         [destination.meta]\nconnector = 'meta'\naccount = 'act_1'\ncredentials = {{ env = 'TOKEN' }}\n\
         [server]\npublic_url = 'https://reveil.example/base/'\n\
         [alerts.channel.hook]\nkind = 'webhook'\nurl = {{ url = '{url}' }}\nsigning_key = {{ env = 'KEY' }}\n\
         [alerts.channel.team]\nkind = 'slack'\nurl = {{ env = 'SLACK' }}\n"
    );
    std::fs::write(&path, text).unwrap();
    let environment = [("TOKEN", "t"), ("KEY", "signing-key"), ("SLACK", url)];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let sources = Sources { environment, ..Sources::default() };
    let config = config::load(&path, &sources).unwrap_or_else(|faults| panic!("{faults}"));
    let store = Store::open(&config.state_dir).await.unwrap();
    let file = ConfigFile { path, overrides: Vec::new() };
    Daemon::new(file, config, sources, store, Arc::new(clock.clone())).unwrap()
}

fn failed(audience: &str, state: crate::store::model::RunState) -> Vec<rules::Finding> {
    let now = Utc::now();
    let mut run = Run::started("20260301-000000-abc".into(), audience, now, "schedule", now);
    run.state = state;
    run.error = Some("cannot connect to the warehouse".into());
    rules::of_run(&AlertsConfig::default(), &run, None, &["meta".to_owned(), "google".to_owned()])
}

#[test]
fn only_a_run_of_everything_says_that_all_is_well() {
    use crate::store::model::RunState;
    let told = |options: Value, state: RunState| {
        let now = Utc::now();
        let mut run = Run::started("20260301-000000-abc".into(), "dormant", now, "ana", now);
        (run.options, run.state) = (options, state);
        let findings = rules::of_run(&AlertsConfig::default(), &run, None, &["meta".to_owned(), "google".to_owned()]);
        findings.iter().map(|finding| finding.state.name()).collect::<Vec<_>>()
    };
    assert_eq!(told(json!({}), RunState::Done), ["ok"]);
    assert_eq!(told(json!({ "destinations": ["google", "meta"] }), RunState::Done), ["ok"]);
    assert_eq!(told(json!({ "destinations": ["google"] }), RunState::Done), [""; 0]);
    assert_eq!(told(json!({ "destinations": ["google"] }), RunState::Failed), ["firing"]);
    assert_eq!(told(json!({ "dry_run": true }), RunState::Done), [""; 0]);
    assert_eq!(told(json!({ "dry_run": true }), RunState::Failed), [""; 0]);
}

#[tokio::test]
async fn one_message_when_a_state_begins_and_one_when_it_ends() {
    use crate::store::model::RunState::{Done, Failed};
    let dir = tempfile::tempdir().unwrap();
    let clock = VirtualClock::new(chrono::DateTime::UNIX_EPOCH);
    let (url, heard) = listener(0).await;
    let (one, other) = (daemon(dir.path(), &url, &clock).await, daemon(dir.path(), &url, &clock).await);
    one.tell_all(failed("dormant", Done)).await;
    assert_eq!(heard.lock().unwrap().messages.len(), 0, "that all is well is no news");
    for _ in 0..3 {
        one.tell_all(failed("dormant", Failed)).await;
        other.tell_all(failed("dormant", Failed)).await;
    }
    assert_eq!(heard.lock().unwrap().messages.len(), 2, "one to each channel");
    other.tell_all(failed("dormant", Done)).await;
    one.tell_all(failed("dormant", Done)).await;
    let heard = heard.lock().unwrap();
    let webhooks: Vec<&(HeaderMap, Value)> =
        heard.messages.iter().filter(|(_, body)| body["kind"] == "alert").collect();
    let states: Vec<&str> = webhooks.iter().map(|(_, body)| body["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["firing", "resolved"]);
    let (headers, body) = webhooks[0];
    assert_eq!(body["link"], "https://reveil.example/base/runs/20260301-000000-abc");
    assert!(headers["x-reveil-signature"].to_str().unwrap().starts_with("sha256="));
    let chats: Vec<&Value> =
        heard.messages.iter().map(|(_, body)| body).filter(|body| body["kind"].is_null()).collect();
    assert_eq!(chats.len(), 2);
    assert!(chats[0]["text"].as_str().unwrap().contains("cannot connect to the warehouse"), "{}", chats[0]);
}

#[tokio::test]
async fn a_message_that_did_not_arrive_is_tried_again_a_few_times_and_then_later() {
    use crate::store::model::RunState::Failed;
    let dir = tempfile::tempdir().unwrap();
    let clock = VirtualClock::new(chrono::DateTime::UNIX_EPOCH);
    // Two channels of three tries each.
    let (url, heard) = listener(6).await;
    let daemon = daemon(dir.path(), &url, &clock).await;
    daemon.tell_all(failed("dormant", Failed)).await;
    assert!(heard.lock().unwrap().messages.is_empty());
    assert!(clock.now() > chrono::DateTime::UNIX_EPOCH + Duration::from_secs(20), "with pauses");
    daemon.tell_all(failed("dormant", Failed)).await;
    assert_eq!(heard.lock().unwrap().messages.len(), 2, "nobody had been told yet");
}

#[test]
fn a_credential_is_told_of_at_each_threshold() {
    let now = Utc::now();
    let config = AlertsConfig::default();
    let states: Vec<String> = [40, 29, 12, 6, 1, 0, -1]
        .map(|days| {
            let expires_at = now + TimeDelta::days(days) + TimeDelta::hours(if days == 0 { 5 } else { 0 });
            let expiry = CredentialExpiry {
                secret: "meta-token".into(),
                kind: "oauth".into(),
                destination: Some("meta".into()),
                expires_at,
            };
            of_credentials(&config, &[expiry], now)[0].state.name()
        })
        .to_vec();
    assert_eq!(states, ["ok", "30 days", "30 days", "7 days", "1 days", "1 days", "expired"]);
}

#[test]
fn silence_is_measured_in_periods() {
    let now = Utc::now();
    let silence = Silence { since: now - TimeDelta::hours(4), stale_at: now - TimeDelta::hours(1) };
    assert_eq!(of_silence("dormant", &silence, now).state.name(), "firing");
    let fresh = Silence { stale_at: now + TimeDelta::hours(1), ..silence };
    assert_eq!(of_silence("dormant", &fresh, now).state.name(), "ok");
}

#[test]
fn the_test_message_says_that_nothing_is_wrong() {
    assert!(Message::test(Utc::now()).plain().contains("Nothing is wrong"));
}
