//! Starts `reveil serve` beside a shop and speaks to it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{Client, Method, RequestBuilder, Response};
use reveil::http::auth::token::NewToken;
use reveil::store::Store;
use reveil::store::tokens::ApiToken;
use serde_json::Value;

use crate::binary;
use crate::shop::{Plan, Shop};

/// How long anything may take here before the test is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A token of each kind.
#[derive(Debug, Clone)]
pub struct Tokens {
    pub viewer: String,
    pub operator: String,
    pub admin: String,
    /// An admin of the audience `other` alone.
    pub scoped: String,
    pub expired: String,
    pub revoked: String,
}

/// See the module. The process ends when it is dropped.
pub struct Server {
    pub shop: Shop,
    pub base: String,
    pub tokens: Tokens,
    pub client: Client,
    process: Child,
}

/// More customers make runs longer.
pub async fn shop(customers: usize) -> Shop {
    // It starts the platforms on a runtime of its own.
    tokio::task::spawn_blocking(move || open(customers)).await.expect("no panic")
}

/// The same, outside of a runtime.
pub fn open(customers: usize) -> Shop {
    Shop::open(&Plan { customers, ..Plan::default() })
}

/// Writes `[server]` with these lines, and a second audience, into the shop's config.
pub fn configure(shop: &Shop, server: &str) {
    let config = shop.config(100);
    let other = "[audience.other]\nlabel = \"Other <b>one</b>\"\ninactive = { no_event_days = { kinds = [\"order\"], \
                 days = 400 } }\ndestinations = [\"meta\"]\n";
    shop.write_config(&format!("{config}\n{other}\n[server]\nlisten = \"127.0.0.1:0\"\n{server}\n"));
}

impl Server {
    pub async fn start(shop: Shop, server: &str) -> Self {
        configure(&shop, server);
        Self::start_configured(shop).await
    }

    pub async fn start_configured(shop: Shop) -> Self {
        let tokens = make_tokens(&shop).await;
        let mut process = binary::command(shop.path(), &["--log", "info", "serve"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built with the tests");
        let address = address(&mut process);
        // The client wants one even for plain HTTP.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client without TLS needs nothing");
        Self { shop, base: format!("http://{address}"), tokens, client, process }
    }

    pub fn address(&self) -> &str {
        self.base.split("://").nth(1).expect("a base has a scheme")
    }

    /// `-HUP` and the like.
    pub fn signal(&self, signal: &str) {
        let sent = std::process::Command::new("kill").args([signal, &self.process.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()));
    }

    pub fn request(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).bearer_auth(token)
    }

    #[track_caller]
    pub fn get(&self, path: &str, token: &str) -> impl Future<Output = Response> {
        let request = self.request(Method::GET, path, token);
        async move { request.send().await.expect("the daemon answers") }
    }

    pub fn post(&self, path: &str, token: &str, body: &Value) -> impl Future<Output = Response> {
        let request = self.request(Method::POST, path, token).json(body);
        async move { request.send().await.expect("the daemon answers") }
    }

    /// The run, once it has ended.
    pub async fn ended(&self, id: &str) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let run = json(self.get(&format!("/v1/runs/{id}"), &self.tokens.viewer).await, 200).await;
            if !["queued", "running"].contains(&run["state"].as_str().expect("a state")) {
                return run;
            }
            assert!(tokio::time::Instant::now() < deadline, "still {run}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The body, when the status is the one expected.
#[track_caller]
pub fn json(response: Response, status: u16) -> impl Future<Output = Value> {
    let at = std::panic::Location::caller();
    async move {
        let got = response.status().as_u16();
        let text = response.text().await.expect("the body comes");
        assert_eq!(got, status, "{at}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{at}: not JSON ({error}): {text}"))
    }
}

/// From the line that says so.
fn address(process: &mut Child) -> String {
    let lines = BufReader::new(process.stderr.take().expect("piped above")).lines();
    let (sender, receiver) = mpsc::channel();
    // Goes on reading, so that the daemon's log never blocks it.
    std::thread::spawn(move || {
        let mut log = String::new();
        for line in lines.map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once("addr=") {
                let _ = sender.send(Ok(rest.split_whitespace().next().unwrap_or_default().to_owned()));
            }
            log.push_str(&line);
            log.push('\n');
        }
        let _ = sender.send(Err(log));
    });
    match receiver.recv_timeout(PATIENCE) {
        Ok(Ok(address)) => address,
        Ok(Err(log)) => panic!("the daemon ended:\n{log}"),
        Err(_) => panic!("the daemon does not say where it listens"),
    }
}

async fn make_tokens(shop: &Shop) -> Tokens {
    let store = Store::open(&shop.path().join("state")).await.expect("the directory is ours");
    let now = Utc::now();
    let later = now + chrono::TimeDelta::days(1);
    let tokens = Tokens {
        viewer: add(&store, "viewer", None, later).await,
        operator: add(&store, "operator", None, later).await,
        admin: add(&store, "admin", None, later).await,
        scoped: add(&store, "admin", Some("other"), later).await,
        expired: add(&store, "admin", None, now - chrono::TimeDelta::seconds(1)).await,
        revoked: add(&store, "admin", None, later).await,
    };
    let id = reveil::http::auth::token::id_of(&tokens.revoked).expect("it has an id");
    assert!(store.revoke_token(id, now).await.expect("the state is ours"));
    store.close().await;
    tokens
}

async fn add(store: &Store, role: &str, audience: Option<&str>, expires_at: DateTime<Utc>) -> String {
    let drawn = NewToken::draw().expect("this machine has randomness");
    let token = ApiToken {
        id: drawn.id.clone(),
        name: format!("test {role}"),
        role: role.to_owned(),
        audiences: audience.map(|key| vec![key.to_owned()]),
        hash: drawn.hash(),
        created_at: Utc::now(),
        expires_at: Some(expires_at),
        last_used_at: None,
        revoked_at: None,
    };
    store.add_token(&token).await.expect("the state is ours");
    drawn.reveal().to_owned()
}
