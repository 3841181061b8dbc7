//! `reveil connect` against the simulated authorization servers, both ways; then syncs that live on what was granted.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Stdio};

use chrono::TimeDelta;
use reveil_sandbox::{OAuthBehaviour, Platform};
use url::Url;

use crate::binary::{self, Output};
use crate::shop::{Plan, Shop};

const DONE: i32 = 0;
const USAGE: i32 = 2;
const PERMISSION: i32 = 5;

/// A shop whose destinations take their credentials from the vault.
fn shop() -> Shop {
    let shop = Shop::open(&Plan { customers: 400, seed: 21, ..Plan::default() });
    let base = |slug: &str| shop.sandbox.base_url(slug);
    let meta = format!(
        "credentials = {{ token = {{ vault = \"meta-grant\" }}, app_secret = {{ env = \"SANDBOX_META_APP_SECRET\" }} }}\n\
         app_id = \"100000000000001\"\nauthorize_url = \"{0}/v26.0/dialog/oauth\"\ntoken_url = \"{0}/v26.0/oauth/access_token\"",
        base("meta")
    );
    let google = format!(
        "credentials = {{ refresh_token = {{ vault = \"google-grant\" }}, client_secret = {{ env = \"SANDBOX_GOOGLE_CLIENT_SECRET\" }} }}\n\
         authorize_url = \"{}/o/oauth2/v2/auth\"",
        base("google")
    );
    let config = shop.config(100);
    let config = config
        .replace("credentials = { env = \"SANDBOX_META_TOKEN\" }", &meta)
        .replace(
            "credentials = { refresh_token = { env = \"SANDBOX_GOOGLE_REFRESH_TOKEN\" }, client_secret = { env = \"SANDBOX_GOOGLE_CLIENT_SECRET\" } }",
            &google,
        )
        .replace("[prepare]", "[vault]\nmaster_key = { file = \"master.key\" }\n[prepare]");
    assert!(config.contains("meta-grant") && config.contains("google-grant"));
    shop.write_config(&config);
    let env = std::fs::read_to_string(shop.path().join(".env")).unwrap();
    std::fs::write(shop.path().join(".env"), format!("{env}SANDBOX_META_APP_SECRET=sandbox-meta-secret\n")).unwrap();
    shop
}

/// Where a GET leads: status and `Location`.
fn get(url: &Url) -> (u16, Option<Url>) {
    let address = (url.host_str().unwrap(), url.port().unwrap());
    let mut stream = TcpStream::connect(address).unwrap();
    let target = &url.as_str()[url.as_str().find(url.path()).unwrap()..];
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {}:{}\r\nConnection: close\r\n\r\n", address.0, address.1).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let status = reply.split(' ').nth(1).unwrap().parse().unwrap();
    let location = reply.lines().find_map(|line| line.strip_prefix("location: ")).map(|text| Url::parse(text).unwrap());
    (status, location)
}

/// Where the browser ends when the person allows or denies the access.
fn decide(question: &Url, consent: &str) -> Url {
    let mut url = question.clone();
    url.query_pairs_mut().append_pair("sandbox_consent", consent);
    get(&url).1.expect("a redirect")
}

fn with(url: &Url, name: &str, value: &str) -> Url {
    let mut changed = url.clone();
    let pairs: Vec<_> = url.query_pairs().into_owned().filter(|(key, _)| key != name).collect();
    changed.query_pairs_mut().clear().extend_pairs(pairs).append_pair(name, value);
    changed
}

/// A `connect` that has asked its question.
struct Asking {
    child: Child,
    stderr: BufReader<ChildStderr>,
    question: Url,
}

impl Asking {
    fn start(shop: &Shop, arguments: &[&str]) -> Self {
        let mut child = binary::command(shop.path(), &[&["connect"], arguments].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let question = loop {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "no question: {said}");
            if let Some(url) = line.trim().strip_prefix("http") {
                break Url::parse(&format!("http{url}")).unwrap();
            }
            said.push_str(&line);
        };
        Self { child, stderr, question }
    }
    fn paste(&mut self, text: &str) {
        writeln!(self.child.stdin.take().unwrap(), "{text}").unwrap();
    }
    fn end(mut self) -> Output {
        let mut stderr = String::new();
        self.stderr.read_to_string(&mut stderr).unwrap();
        let output = self.child.wait_with_output().unwrap();
        Output { code: output.status.code(), stdout: String::from_utf8(output.stdout).unwrap(), stderr }
    }
}

/// Connects by paste.
fn connect(shop: &Shop, destination: &str) -> Output {
    let mut asking = Asking::start(shop, &[destination, "--paste"]);
    let answer = decide(&asking.question, "allow");
    asking.paste(answer.as_str());
    asking.end()
}

#[test]
fn a_browser_on_the_same_machine_grants_access_and_syncs_live_on_it() {
    let shop = shop();
    let output = shop.reveil(&["connect", "google"]);
    assert!(output.code == Some(USAGE) && output.stderr.contains("vault init"), "{output:?}");
    shop.reveil(&["vault", "init"]).expect(DONE);
    assert!(shop.reveil(&["vault", "init"]).code != Some(DONE), "the key is not overwritten");
    let output = shop.sync(&[]);
    assert!(
        output.stdout.contains("reveil connect google") || output.stderr.contains("reveil connect google"),
        "{output:?}"
    );

    for destination in ["google", "meta"] {
        let asking = Asking::start(&shop, &[destination, "--json"]);
        let query: std::collections::HashMap<_, _> = asking.question.query_pairs().into_owned().collect();
        assert!(
            query["code_challenge_method"] == "S256"
                && query["code_challenge"].len() == 43
                && query["state"].len() > 20
        );
        let answer = decide(&asking.question, "allow");
        // Anybody on this machine can call; only the answer to this question counts.
        assert_eq!(get(&with(&answer, "state", "guessed")).0, 400);
        assert_eq!(get(&answer.join("/favicon.ico").unwrap()).0, 404);
        assert_eq!(get(&answer).0, 200);
        let report = asking.end().expect(DONE).json();
        assert_eq!(report["secret"], format!("{destination}-grant"));
        assert_eq!(report["expires_at"].is_string(), destination == "meta", "Google states no end");
    }
    shop.sync(&[]).expect(DONE);
    shop.assert_exact("on granted tokens");
    // Nothing that was granted lies open in the state.
    for entry in std::fs::read_dir(shop.path().join("state")).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_file() {
            let bytes = std::fs::read(&entry).unwrap();
            for token in ["refresh-", "ya29.", "EAAsandbox", "sandbox-google-client-secret", "code-"] {
                let found = bytes.windows(token.len()).any(|window| window == token.as_bytes());
                assert!(!found, "{} holds {token}", entry.display());
            }
        }
    }
    let list = shop.reveil(&["vault", "list", "--json"]).expect(DONE).json();
    assert_eq!(list["secrets"].as_array().unwrap().len(), 2);
    assert_eq!(list["secrets"][1]["destination"], "meta");
}

#[test]
fn what_is_not_the_answer_is_refused() {
    let shop = shop();
    shop.reveil(&["vault", "init"]).expect(DONE);
    let refused = |output: Output, words: &[&str]| {
        assert_eq!(output.code, Some(PERMISSION), "{output:?}");
        assert!(words.iter().all(|word| output.stderr.contains(word)), "{words:?}: {}", output.stderr);
    };
    // The person says no, in the browser and by paste.
    let asking = Asking::start(&shop, &["google"]);
    get(&decide(&asking.question, "deny"));
    refused(asking.end(), &["not granted", "access_denied"]);
    let paste = |text: &dyn Fn(&Url) -> String| {
        let mut asking = Asking::start(&shop, &["google", "--paste"]);
        let text = text(&asking.question);
        asking.paste(&text);
        asking.end()
    };
    refused(paste(&|question| decide(question, "deny").into()), &["not granted"]);
    refused(paste(&|question| with(&decide(question, "allow"), "state", "another").into()), &["another request"]);
    refused(paste(&|_| "two words".into()), &["no code"]);
    refused(paste(&|_| String::new()), &["no code"]);
    refused(paste(&|_| "made-up-code".into()), &["invalid_grant"]);
    // A code that somebody else asked for: their challenge is not ours.
    let foreign = |question: &Url| {
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        decide(&with(question, "code_challenge", challenge), "allow").into()
    };
    refused(paste(&foreign), &["invalid_grant"]);
    let late = |question: &Url| {
        let answer = decide(question, "allow");
        shop.world().advance(TimeDelta::minutes(11));
        answer.into()
    };
    refused(paste(&late), &["invalid_grant"]);
    let output = Asking::start(&shop, &["google", "--timeout-secs", "1"]).end();
    refused(output, &["nobody answered", "--paste"]);
    assert_eq!(shop.reveil(&["vault", "list", "--json"]).expect(DONE).json()["secrets"], serde_json::json!([]));
    let code = |question: &Url| {
        let answer = decide(question, "allow");
        answer.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned()
    };
    paste(&code).expect(DONE);
    connect(&shop, "meta").expect(DONE);
}

/// Refresh tokens good for one use, access tokens ended early, several processes at once: nobody loses the grant.
#[test]
fn processes_that_share_a_rotating_grant_keep_it() {
    let shop = shop();
    shop.reveil(&["vault", "init"]).expect(DONE);
    shop.world().set_oauth(OAuthBehaviour { rotate: true, ..OAuthBehaviour::default() });
    connect(&shop, "google").expect(DONE);
    connect(&shop, "meta").expect(DONE);
    for round in 0..3 {
        // By the platform's clock the access token is over; by ours it is not.
        shop.world().advance(TimeDelta::hours(2));
        let processes: Vec<_> = (0..4)
            .map(|_| {
                binary::command(shop.path(), &["check"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        for process in processes {
            let output = process.wait_with_output().unwrap();
            assert!(output.status.success(), "round {round}: {}", String::from_utf8_lossy(&output.stdout));
        }
    }
    shop.sync(&[]).expect(DONE);
    shop.assert_exact("on a grant renewed many times");
    shop.world().revoke_grants(Platform::Google);
    shop.world().advance(TimeDelta::hours(2));
    let output = shop.sync(&["--destination", "google", "--full"]);
    assert!(output.code == Some(PERMISSION) || output.stdout.contains("reveil connect"), "{output:?}");
}

/// A master key is exchanged; the grants stay usable throughout, and the wrong key destroys nothing.
#[test]
fn a_master_key_is_rotated() {
    let shop = shop();
    shop.reveil(&["vault", "init"]).expect(DONE);
    connect(&shop, "google").expect(DONE);
    connect(&shop, "meta").expect(DONE);
    let config = std::fs::read_to_string(shop.path().join("reveil.toml")).unwrap();
    shop.reveil(&["vault", "init", "--file", "new.key"]).expect(DONE);
    let key = "master_key = { file = \"master.key\" }";
    shop.write_config(&config.replace(key, "master_key = { file = \"new.key\" }"));
    let output = shop.reveil(&["check"]);
    assert!(output.stdout.contains("old_keys"), "{output:?}");
    shop.reveil(&["vault", "rotate"]).expect(4);
    let both = "master_key = { file = \"new.key\" }\nold_keys = [{ file = \"master.key\" }]";
    shop.write_config(&config.replace(key, both));
    let output = shop.reveil(&["vault", "rotate"]).expect(DONE);
    assert!(output.stdout.contains("can leave"), "{output:?}");
    std::fs::remove_file(shop.path().join("master.key")).unwrap();
    shop.write_config(&config.replace(key, "master_key = { file = \"new.key\" }"));
    shop.sync(&[]).expect(DONE);
    shop.assert_exact("under the new key");
}
