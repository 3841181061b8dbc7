//! A sandbox with a clock under the test's hand, and the smallest HTTP client that can see a broken reply.

use chrono::{DateTime, TimeDelta, Utc};
use reveil_sandbox::{ManualTime, Sandbox, Settings, World};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

pub const META: &str = "sandbox-meta-token";
pub const GOOGLE: &str = "sandbox-google-token";

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("status {}, body is no JSON: {e}", self.status))
    }
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    /// Meta's code and subcode.
    pub fn meta_code(&self) -> (u64, Option<u64>) {
        let error = &self.json()["error"];
        assert!(
            error["fbtrace_id"].is_string() && error["message"].is_string() && error["type"].is_string(),
            "{error}"
        );
        (error["code"].as_u64().expect("a code"), error["error_subcode"].as_u64())
    }
    /// Google's status and the first violation's field and reason.
    pub fn google_fault(&self) -> (u16, String, String) {
        let error = self.json()["error"].clone();
        assert_eq!(error["code"], self.status, "{error}");
        let details = error["details"].as_array().cloned().unwrap_or_default();
        let first = details.iter().find_map(|d| d["fieldViolations"].get(0).cloned()).unwrap_or_default();
        let text = |name: &str| first[name].as_str().unwrap_or("").to_owned();
        (self.status, text("field"), text("reason"))
    }
}

pub fn request(
    addr: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    stream.write_all(body)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    let (head, text) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|l| l.split(' ').nth(1))
        .and_then(|s| s.parse().ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    let headers: Vec<(String, String)> =
        lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())).collect();
    let reply = Reply { status, headers, text: text.to_owned() };
    let length = reply.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    if reply.text.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(reply)
}

pub struct Bench {
    pub sandbox: Sandbox,
    pub world: World,
}

/// Where every test's clock starts.
pub fn start_time() -> DateTime<Utc> {
    "2026-11-22T03:00:00Z".parse().expect("a valid time")
}

impl Bench {
    pub async fn start() -> Self {
        Self::with(Settings::default()).await
    }

    pub async fn with(settings: Settings) -> Self {
        let settings = Settings { time: Arc::new(ManualTime::new(start_time())), ..settings };
        let sandbox = Sandbox::start(SocketAddr::from(([127, 0, 0, 1], 0)), settings).await.expect("it starts");
        let world = sandbox.world();
        Self { sandbox, world }
    }

    pub fn advance_mins(&self, minutes: i64) {
        self.world.advance(TimeDelta::minutes(minutes));
    }

    pub fn try_send(&self, method: &str, path: &str, token: &str, body: Option<&Value>) -> io::Result<Reply> {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("Authorization", bearer.as_str())];
        let body = body.map(Value::to_string).unwrap_or_default();
        if !body.is_empty() {
            headers.push(("Content-Type", "application/json"));
        }
        request(self.sandbox.addr(), method, path, &headers, body.as_bytes())
    }

    pub fn meta(&self, method: &str, path: &str, body: Value) -> Reply {
        let body = Some(&body).filter(|b| !b.is_null());
        self.try_send(method, &format!("/meta/v26.0/{path}"), META, body).expect("a reply")
    }

    pub fn google(&self, method: &str, path: &str, body: Value) -> Reply {
        let body = Some(&body).filter(|b| !b.is_null());
        self.try_send(method, &format!("/google/v1/{path}"), GOOGLE, body).expect("a reply")
    }

    pub fn control(&self, method: &str, path: &str, body: Value) -> Value {
        let body = Some(&body).filter(|b| !b.is_null());
        let reply = self.try_send(method, &format!("/control{path}"), "", body).expect("a reply");
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json()
    }

    /// Makes an audience on Meta's account 1.
    pub fn meta_audience(&self, name: &str) -> String {
        let body = json!({"name": name, "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY"});
        let reply = self.meta("POST", "act_1/customaudiences", body);
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json()["id"].as_str().expect("a string id").to_owned()
    }

    /// Makes a list on Google's account 77.
    pub fn google_list(&self, name: &str) -> String {
        let reply = self.google("POST", LISTS, list_body(name));
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json()["id"].as_str().expect("a string id").to_owned()
    }
}

pub const LISTS: &str = "accountTypes/GOOGLE_ADS/accounts/77/userLists";

pub fn list_body(name: &str) -> Value {
    json!({"displayName": name, "ingestedUserListInfo": {
        "uploadKeyTypes": ["CONTACT_ID"], "contactIdInfo": {"dataSourceType": "DATA_SOURCE_TYPE_FIRST_PARTY"}}})
}

pub fn sha(text: &str) -> String {
    const_hex::encode(Sha256::digest(text.as_bytes()))
}

/// `email:<hex>` of person `n`.
pub fn email_key(n: usize) -> String {
    format!("email:{}", sha(&format!("p{n}@shop.example")))
}

pub fn sorted(mut keys: Vec<String>) -> Vec<String> {
    keys.sort();
    keys
}

/// A Meta payload of e-mails.
pub fn emails(persons: impl IntoIterator<Item = usize>) -> Value {
    let data: Vec<Value> = persons.into_iter().map(|n| json!([sha(&format!("p{n}@shop.example"))])).collect();
    json!({"schema": ["EMAIL"], "data": data})
}

/// A Google ingest body of e-mails, consent given.
pub fn ingest(list: &str, persons: impl IntoIterator<Item = usize>) -> Value {
    let mut body = removal(list, persons);
    body["consent"] = json!({"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"});
    body["termsOfService"] = json!({"customerMatchTermsOfServiceStatus": "ACCEPTED"});
    body
}

pub fn removal(list: &str, persons: impl IntoIterator<Item = usize>) -> Value {
    let member = |n: usize| json!({"compositeData": {"userData": {"userIdentifiers": [{"emailAddress": sha(&format!("p{n}@shop.example"))}]}}});
    json!({
        "destinations": [destination(list)],
        "encoding": "HEX",
        "audienceMembers": persons.into_iter().map(member).collect::<Vec<_>>(),
    })
}

pub fn destination(list: &str) -> Value {
    json!({"operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": "77"}, "productDestinationId": list})
}
