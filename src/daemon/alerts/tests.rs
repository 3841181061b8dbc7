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
use crate::store::tokens::ApiToken;
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
    assert_eq!(heard.lock().unwrap().messages.len(), 0, "whoever found it waits for no channel");
    assert_eq!(deliver(&other, &clock, 1).await + deliver(&one, &clock, 1).await, 1);
    one.tell_all(failed("dormant", Failed)).await;
    assert_eq!(deliver(&one, &clock, 1).await, 0);
    assert_eq!(heard.lock().unwrap().messages.len(), 2, "one to each channel");
    other.tell_all(failed("dormant", Done)).await;
    one.tell_all(failed("dormant", Done)).await;
    deliver(&one, &clock, 1).await;
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
async fn a_message_that_did_not_arrive_is_tried_until_somebody_takes_it() {
    use crate::store::model::RunState::Failed;
    let dir = tempfile::tempdir().unwrap();
    let clock = VirtualClock::new(chrono::DateTime::UNIX_EPOCH);
    // Two channels of three tries each.
    let (url, heard) = listener(6).await;
    let first = daemon(dir.path(), &url, &clock).await;
    first.tell_all(failed("dormant", Failed)).await;
    assert_eq!(deliver(&first, &clock, 2).await, 2);
    let told =
        async |daemon: &Daemon| daemon.store().alert_state("failed_run:dormant").await.unwrap().unwrap().last_sent_at;
    assert!(heard.lock().unwrap().messages.is_empty());
    assert_eq!(told(&first).await, None, "nobody was told yet");
    drop(first);
    // The process has ended in a pause; the next one goes on, without anybody finding it again.
    let second = daemon(dir.path(), &url, &clock).await;
    assert_eq!(deliver(&second, &clock, 9).await, 2);
    assert!(clock.now() > chrono::DateTime::UNIX_EPOCH + Duration::from_secs(20), "with pauses");
    assert_eq!(heard.lock().unwrap().messages.len(), 2);
    assert!(told(&second).await.is_some());
}

#[tokio::test]
async fn what_is_no_longer_so_is_not_told() {
    use crate::store::model::RunState::{Done, Failed};
    let dir = tempfile::tempdir().unwrap();
    let clock = VirtualClock::new(chrono::DateTime::UNIX_EPOCH);
    let (url, heard) = listener(2).await;
    let daemon = daemon(dir.path(), &url, &clock).await;
    daemon.tell_all(failed("dormant", Failed)).await;
    assert_eq!(deliver(&daemon, &clock, 1).await, 1);
    daemon.tell_all(failed("dormant", Done)).await;
    deliver(&daemon, &clock, 9).await;
    let heard = heard.lock().unwrap();
    let states: Vec<&Value> = heard.messages.iter().map(|(_, body)| &body["state"]).filter(|s| s.is_string()).collect();
    assert_eq!(states, ["resolved"]);
}

#[tokio::test]
async fn a_channel_that_is_away_is_tried_again_beside_one_that_took_it() {
    use crate::store::model::RunState::Failed;
    let dir = tempfile::tempdir().unwrap();
    let clock = VirtualClock::new(chrono::DateTime::UNIX_EPOCH);
    let (url, heard) = listener(1).await;
    let daemon = daemon(dir.path(), &url, &clock).await;
    daemon.tell_all(failed("dormant", Failed)).await;
    assert_eq!(deliver(&daemon, &clock, 9).await, 2);
    assert_eq!(heard.lock().unwrap().messages.len(), 2, "each once");
}

/// Works on messages as they come due, at most so many times; how often something was tried.
async fn deliver(daemon: &Arc<Daemon>, clock: &VirtualClock, most: usize) -> usize {
    use crate::daemon::work::{End, limits};
    use crate::store::claims::JobEnd;
    let (store, minute) = (daemon.store(), TimeDelta::minutes(1));
    let limits = limits(&daemon.loaded().config);
    let mut tries = 0;
    while tries < most {
        let Some(due) = store.open_jobs().await.unwrap().iter().map(|job| job.run_at).min() else { break };
        clock.advance((due - clock.now()).to_std().unwrap_or_default());
        let claim = store.claim("test", minute, clock.now(), &limits).await.unwrap().expect("it is due");
        match daemon.deliver(&daemon.engine(), &claim.job).await.unwrap() {
            End::Done(result) => {
                assert!(store.finish(&claim, &JobEnd::Done(result.clone()), clock.now()).await.unwrap())
            }
            End::Later(pause) => assert!(store.release(&claim, clock.now() + pause, None).await.unwrap()),
            other => panic!("{other:?}"),
        }
        tries += 1;
    }
    tries
}

#[tokio::test]
async fn a_channel_that_cannot_work_is_named_with_its_key_and_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let clock = VirtualClock::new(chrono::DateTime::UNIX_EPOCH);
    let daemon = daemon(dir.path(), "http://127.0.0.1:1/hook", &clock).await;
    let mut engine = daemon.engine();
    let faults = async |engine: &Engine| {
        let places = Places { environment: &engine.environment, base_dir: &engine.base_dir, vault: None };
        let mut keys = Vec::new();
        for (name, settings) in &engine.config.alerts.channel {
            for (key, what, remedy) in channel::faults(name, settings, &places).await {
                assert!(!what.is_empty() && !remedy.is_empty());
                keys.push(key);
            }
        }
        keys
    };
    assert_eq!(faults(&engine).await, Vec::<String>::new());
    engine.environment.insert("SLACK".into(), "no address".into());
    engine.environment.remove("KEY");
    assert_eq!(faults(&engine).await, ["alerts.channel.hook.signing_key", "alerts.channel.team.url"]);
}

#[tokio::test]
async fn a_token_is_told_of_by_name_and_its_renewal_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let clock = VirtualClock::new(chrono::DateTime::UNIX_EPOCH);
    let (url, heard) = listener(0).await;
    let daemon = daemon(dir.path(), &url, &clock).await;
    let token = |id: &str, days: i64| ApiToken {
        id: id.into(),
        name: "airflow".into(),
        role: "operator".into(),
        audiences: None,
        hash: format!("hash of {id}"),
        created_at: clock.now(),
        expires_at: Some(clock.now() + TimeDelta::days(days)),
        last_used_at: None,
        revoked_at: None,
    };
    daemon.store().add_token(&token("t1", 6)).await.unwrap();
    daemon.alert_step().await;
    daemon.measure().await.unwrap();
    let text = daemon.metrics().render(crate::telemetry::exposition::Format::Text);
    let line = "reveil_credential_expiry_timestamp_seconds{destination=\"\",token=\"airflow\"} 518400";
    assert!(text.contains(line), "{text}");
    deliver(&daemon, &clock, 9).await;
    let alert = daemon.store().alert_state("credential:token:airflow").await.unwrap().unwrap();
    assert_eq!(alert.state, "7 days");
    daemon.store().add_token(&token("t2", 300)).await.unwrap();
    daemon.alert_step().await;
    deliver(&daemon, &clock, 9).await;
    let told: Vec<(String, String)> = {
        let heard = heard.lock().unwrap();
        let bodies = heard.messages.iter().map(|(_, body)| body).filter(|body| body["kind"] == "alert");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        bodies.map(|body| (text(&body["title"]), text(&body["text"]))).collect()
    };
    assert_eq!(told[0].0, "Réveil: credential expires");
    assert!(told[0].1.contains("API token airflow (operator) expires in 6 days"), "{told:?}");
    assert!(told[1].1.contains("API token airflow (operator) was renewed"), "{told:?}");
    daemon.store().add_token(&ApiToken { name: "ci".into(), ..token("t3", 1) }).await.unwrap();
    daemon.alert_step().await;
    daemon.store().revoke_token("t3", clock.now()).await.unwrap();
    daemon.alert_step().await;
    let alert = daemon.store().alert_state("credential:token:ci").await.unwrap().unwrap();
    assert_eq!(alert.state, State::FINE, "a token that was revoked worries nobody");
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
