//! One million members to each platform, 10,000 a request, over loopback: prints what a request costs the sandbox's
//! client. `cargo bench -p reveil-sandbox --bench million`

use reveil_sandbox::{Delays, Platform, Sandbox, Settings};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const MEMBERS: usize = 1_000_000;
const PER_REQUEST: usize = 10_000;

/// Sends over one kept connection and gives the reply's body.
fn send(stream: &mut TcpStream, target: &str, token: &str, body: &str) -> Value {
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("the sandbox reads");
    stream.write_all(body.as_bytes()).expect("the sandbox reads");
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let n = stream.read(&mut chunk).expect("the sandbox answers");
        assert!(n > 0, "the connection closed");
        bytes.extend_from_slice(&chunk[..n]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).and_then(|n| n.parse().ok());
        if length.is_some_and(|n: usize| body.len() >= n) {
            assert!(head.starts_with("HTTP/1.1 200"), "{body}");
            return serde_json::from_str(body).expect("a JSON reply");
        }
    }
}

fn hex(n: usize) -> String {
    const_hex::encode(Sha256::digest(n.to_le_bytes()))
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let total: Duration = times.iter().sum();
    println!(
        "{what}: {MEMBERS} members in {:.2} s; per request of {PER_REQUEST}: median {:.1} ms, worst {:.1} ms",
        total.as_secs_f64(),
        times[times.len() / 2].as_secs_f64() * 1e3,
        times[times.len() - 1].as_secs_f64() * 1e3,
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let settings = Settings { delays: Delays::none(), ..Settings::default() };
    let sandbox = Sandbox::start(SocketAddr::from(([127, 0, 0, 1], 0)), settings).await.expect("it starts");
    let mut stream = TcpStream::connect(sandbox.addr()).expect("it listens");
    let audience = json!({"name": "bench", "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY"});
    let reply = send(&mut stream, "/meta/v26.0/act_1/customaudiences", "sandbox-meta-token", &audience.to_string());
    let id = reply["id"].as_str().expect("an id").to_owned();
    let target = format!("/meta/v26.0/{id}/users");
    let mut times = Vec::new();
    for start in (0..MEMBERS).step_by(PER_REQUEST) {
        let rows: Vec<[String; 2]> = (start..start + PER_REQUEST).map(|n| [hex(n), hex(MEMBERS + n)]).collect();
        let body = json!({"payload": {"schema": ["EMAIL", "PHONE"], "data": rows}}).to_string();
        let began = Instant::now();
        send(&mut stream, &target, "sandbox-meta-token", &body);
        times.push(began.elapsed());
    }
    assert_eq!(sandbox.world().held_count(Platform::Meta, &id), Some(2 * MEMBERS));
    report("meta", times);

    let list = json!({"displayName": "bench", "ingestedUserListInfo": {"uploadKeyTypes": ["CONTACT_ID"]}});
    let lists = "/google/v1/accountTypes/GOOGLE_ADS/accounts/1/userLists";
    let id =
        send(&mut stream, lists, "sandbox-google-token", &list.to_string())["id"].as_str().expect("an id").to_owned();
    let mut times = Vec::new();
    for start in (0..MEMBERS).step_by(PER_REQUEST) {
        let member = |n| {
            json!({"compositeData": {"userData": {"userIdentifiers": [
            {"emailAddress": hex(n)}, {"phoneNumber": hex(MEMBERS + n)}]}}})
        };
        let body = json!({
            "destinations": [{"operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": "1"}, "productDestinationId": id}],
            "encoding": "HEX",
            "consent": {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"},
            "termsOfService": {"customerMatchTermsOfServiceStatus": "ACCEPTED"},
            "audienceMembers": (start..start + PER_REQUEST).map(member).collect::<Vec<Value>>(),
        });
        let body = body.to_string();
        let began = Instant::now();
        send(&mut stream, "/google/v1/audienceMembers:ingest", "sandbox-google-token", &body);
        times.push(began.elapsed());
    }
    let began = Instant::now();
    assert_eq!(sandbox.world().held_count(Platform::Google, &id), Some(2 * MEMBERS));
    println!("google: applying what was left took {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    report("google", times);
    sandbox.stop().await.expect("it stops");
}
