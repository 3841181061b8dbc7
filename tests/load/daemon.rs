//! Starts `reveil serve` beside the shop's config, and speaks plain HTTP with it.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::binary;
use crate::shop::Shop;

/// Long enough for a debug build on a busy machine; nothing waits for it to pass.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// A request that is answered at all is answered within this.
const REPLY: Duration = Duration::from_secs(15);

/// How it is started.
#[derive(Debug, Default)]
pub struct Setup {
    /// Added to the shop's config: sections of their own.
    pub config: String,
    /// Put before the program: `nsenter …`. Every command of the shop's that shares the daemon's state needs it too.
    pub before: Vec<String>,
    pub environment: Vec<(String, String)>,
}

/// See the module. Killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    port: u16,
    token: String,
    log: PathBuf,
}

/// What it answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        self
    }
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.body))
    }
}

impl Daemon {
    /// Returns when it is ready. The shop's config is written anew.
    pub fn start(shop: &Shop, setup: &Setup) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        let config = format!("{}\n{}", shop.config(50), setup.config.replace("{port}", &port.to_string()));
        shop.write_config(&config);
        let made = command(shop, setup, &["token", "create", "--role", "admin", "--json", "tester"])
            .output()
            .expect("the binary was built with the tests");
        let said = String::from_utf8_lossy(&made.stdout).into_owned();
        assert!(made.status.success(), "{said}{}", String::from_utf8_lossy(&made.stderr));
        let token = serde_json::from_str::<Value>(&said).expect("--json is JSON")["token"].as_str().map(str::to_owned);
        let mut daemon = Self::spawn(shop, setup, port, token.expect("a new token is shown"));
        daemon.ready();
        daemon
    }

    fn spawn(shop: &Shop, setup: &Setup, port: u16, token: String) -> Self {
        let log = shop.path().join("daemon.log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).expect("the directory is ours");
        let child = command(shop, setup, &["--log", "info", "serve"])
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the binary was built with the tests");
        Self { child, port, token, log }
    }

    /// Asks it to end, waits, and starts it again.
    pub fn restart(&mut self, shop: &Shop, setup: &Setup) {
        self.terminate();
        *self = Self::spawn(shop, setup, self.port, self.token.clone());
        self.ready();
    }

    /// Waits until `/readyz` says so.
    #[track_caller]
    pub fn ready(&mut self) {
        let started = Instant::now();
        while self.try_get("/readyz").is_none_or(|answer| answer.status != 200) {
            self.assert_alive("while it starts");
            assert!(started.elapsed() < PATIENCE, "never ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    #[track_caller]
    pub fn assert_alive(&mut self, when: &str) {
        let ended = self.child.try_wait().expect("the child is ours");
        assert!(ended.is_none(), "{when}: ended with {ended:?}\n{}", self.log());
        let log = self.log();
        assert!(!log.contains("panicked"), "{when}: {log}");
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A connection that nothing was said on yet.
    pub fn connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(REPLY))?;
        stream.set_write_timeout(Some(REPLY))?;
        Ok(stream)
    }

    /// Sends bytes as they are; `None` when the connection ended without an answer.
    pub fn raw(&self, request: &[u8]) -> Option<Answer> {
        let mut stream = self.connect().ok()?;
        // It may answer and close before it has read everything.
        let _ = stream.write_all(request);
        answer(&mut stream)
    }

    /// The same by somebody who says that nothing more comes; the daemon owes no answer to one who hangs up.
    pub fn raw_and_end(&self, request: &[u8]) -> Option<Answer> {
        let mut stream = self.connect().ok()?;
        let _ = stream.write_all(request);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        answer(&mut stream)
    }

    pub fn try_get(&self, path: &str) -> Option<Answer> {
        self.raw(self.head("GET", path, "").as_bytes())
    }
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.try_get(path).unwrap_or_else(|| panic!("GET {path}: no answer\n{}", self.log()))
    }
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        let body = body.to_string();
        let more = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        let request = format!("{}{body}", self.head("POST", path, &more));
        self.raw(request.as_bytes()).unwrap_or_else(|| panic!("POST {path}: no answer\n{}", self.log()))
    }

    /// A request's head with the token, and with what is given more.
    pub fn head(&self, method: &str, path: &str, more: &str) -> String {
        format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nauthorization: Bearer {}\r\nconnection: close\r\n{more}\r\n",
            self.port, self.token
        )
    }

    /// Asks for a sync as of the shop's day; the run's id.
    #[track_caller]
    pub fn ask_for_sync(&self, shop: &Shop) -> String {
        let answer = self.try_ask_for_sync(shop).expect(202);
        answer.json()["id"].as_str().expect("a run has an id").to_owned()
    }
    #[track_caller]
    pub fn try_ask_for_sync(&self, shop: &Shop) -> Answer {
        // The shop changes by more than a guard lets pass.
        let body = json!({
            "as_of": shop.as_of.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            "allow": ["shrink", "growth"],
        });
        self.post("/v1/audiences/dormant/sync", &body)
    }

    /// Waits until the run has ended; the run.
    #[track_caller]
    pub fn ended(&self, run: &str) -> Value {
        let started = Instant::now();
        loop {
            let answer = self.try_get(&format!("/v1/runs/{run}"));
            let found = answer.filter(|answer| answer.status == 200).map(|answer| answer.json());
            let state = found.as_ref().and_then(|run| run["state"].as_str()).unwrap_or_default();
            if ["done", "partial", "failed", "cancelled"].contains(&state) {
                return found.expect("it was just looked at");
            }
            assert!(started.elapsed() < PATIENCE, "run {run} does not end: {found:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Syncs, and looks whether both platforms hold the target exactly.
    #[track_caller]
    pub fn sync_exactly(&self, shop: &Shop, when: &str) {
        let run = self.ended(&self.ask_for_sync(shop));
        assert_eq!(run["state"], "done", "{when}: {run}\n{}", self.log());
        shop.assert_exact(when);
    }

    /// The state is whole.
    #[track_caller]
    pub fn assert_whole(&mut self, when: &str) {
        self.assert_alive(when);
        let runs = self.get("/v1/runs?limit=200").expect(200).json();
        assert!(runs["items"].as_array().is_some_and(|runs| !runs.is_empty()), "{when}: {runs}");
        let audit = self.post("/v1/audit/verify", &json!({})).expect(200).json();
        assert_eq!(audit["ok"], true, "{when}: {audit}");
    }

    fn terminate(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let started = Instant::now();
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if started.elapsed() > PATIENCE {
                panic!("does not end when told to:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `reveil` beside the config, through the setup's own way of starting programs.
pub fn command(shop: &Shop, setup: &Setup, arguments: &[&str]) -> Command {
    let plain = binary::command(shop.path(), arguments);
    let mut command = match setup.before.split_first() {
        None => plain,
        Some((program, rest)) => {
            let mut command = Command::new(program);
            command.args(rest).arg(plain.get_program()).args(plain.get_args());
            command.current_dir(shop.path()).stdin(Stdio::null());
            for (name, value) in plain.get_envs() {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
            command
        }
    };
    command.envs(setup.environment.iter().map(|(name, value)| (name, value)));
    command
}

/// Reads an answer to the end of the connection.
fn answer(stream: &mut TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    // A reset after the answer is as good as an end.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(body) } else { body.to_owned() };
    Some(Answer { status, head: head.to_owned(), body })
}

fn unchunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let Some(chunk) = after.get(..size).filter(|_| size > 0) else { break };
        body.push_str(chunk);
        rest = after.get(size + 2..).unwrap_or_default();
    }
    body
}
