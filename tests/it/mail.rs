//! A mail server on this machine: SMTP with STARTTLS or TLS, a login, and the refusals of a real one. It takes nothing
//! out of order, no bare line feed, no line over 998 bytes and no byte beyond ASCII.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How it behaves.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    pub security: Security,
    /// `PLAIN` or `LOGIN`, the user, the password: no mail without it.
    pub login: Option<(&'static str, &'static str, &'static str)>,
    /// Answers to the next `DATA`s in place of taking the mail.
    pub refuse: VecDeque<&'static str>,
    /// Nobody of this address is here.
    pub unknown: Option<&'static str>,
}

/// Whether it speaks TLS.
#[derive(Debug, Clone, Default)]
pub enum Security {
    #[default]
    None,
    Starttls(Arc<rustls::ServerConfig>),
    Tls(Arc<rustls::ServerConfig>),
}

/// A mail it took.
#[derive(Debug, Clone)]
pub struct Letter {
    pub from: String,
    pub to: Vec<String>,
    pub raw: String,
    pub encrypted: bool,
    pub user: Option<String>,
}

impl Letter {
    /// A header, unfolded and decoded.
    pub fn header(&self, name: &str) -> Option<String> {
        let head = self.raw.split("\r\n\r\n").next()?.replace("\r\n ", " ").replace("\r\n\t", " ");
        let found = head.split("\r\n").filter_map(|line| line.split_once(": "));
        let values: Vec<&str> =
            found.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect();
        assert!(values.len() <= 1, "{name} is there {} times", values.len());
        values.first().map(|value| decoded_words(value))
    }

    /// The text as its reader sees it.
    pub fn text(&self) -> String {
        let body = self.raw.split_once("\r\n\r\n").expect("a head and a body").1;
        let bytes = match self.header("Content-Transfer-Encoding").as_deref() {
            Some("base64") => BASE64.decode(body.replace("\r\n", "")).expect("base64"),
            Some("quoted-printable") => quoted(&body.replace("=\r\n", "")),
            Some("7bit") | None => body.as_bytes().to_vec(),
            Some(other) => panic!("{other} is not asked for by a server of plain SMTP"),
        };
        String::from_utf8(bytes).expect("UTF-8, as its header says").replace("\r\n", "\n")
    }
}

/// RFC 2047.
fn decoded_words(value: &str) -> String {
    let mut text = String::new();
    let mut after_word = false;
    for word in value.split(' ') {
        let encoded = word.strip_prefix("=?").and_then(|word| word.strip_suffix("?="));
        let parts: Option<Vec<&str>> = encoded.map(|word| word.splitn(3, '?').collect());
        let bytes = match parts.as_deref() {
            Some([charset, "b" | "B", code]) if charset.eq_ignore_ascii_case("utf-8") => BASE64.decode(code).ok(),
            Some([charset, "q" | "Q", code]) if charset.eq_ignore_ascii_case("utf-8") => {
                Some(quoted(&code.replace('_', " ")))
            }
            _ => None,
        };
        // Between two encoded words there is no space.
        let joined = after_word && bytes.is_some();
        if !text.is_empty() && !joined {
            text.push(' ');
        }
        after_word = bytes.is_some();
        match bytes {
            Some(bytes) => text.push_str(&String::from_utf8(bytes).expect("UTF-8")),
            None => text.push_str(word),
        }
    }
    text
}

fn quoted(text: &str) -> Vec<u8> {
    let mut parts = text.split('=');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).expect("two digits"));
        bytes.extend(&part.as_bytes()[2..]);
    }
    bytes
}

/// What it saw.
#[derive(Debug, Default)]
struct Seen {
    letters: Vec<Letter>,
    /// Everything that went over the wire in the clear.
    clear: String,
    faults: Vec<String>,
}

/// See the module. Its threads end with the process.
#[derive(Debug)]
pub struct MailServer {
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl MailServer {
    pub fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = (Arc::clone(&seen), Arc::new(Mutex::new(manner)));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, manner) = shared.clone();
                std::thread::spawn(move || Session { seen, manner, login: None }.greet(stream));
            }
        });
        Self { address, seen }
    }

    pub fn letters(&self) -> Vec<Letter> {
        let seen = self.seen.lock().unwrap();
        assert!(seen.faults.is_empty(), "{:?}", seen.faults);
        seen.letters.clone()
    }

    /// Everything that others on the wire could have read.
    pub fn clear(&self) -> String {
        self.seen.lock().unwrap().clear.clone()
    }
}

struct Session {
    seen: Arc<Mutex<Seen>>,
    manner: Arc<Mutex<Manner>>,
    login: Option<String>,
}

impl Session {
    /// A client may break off whenever it likes.
    fn greet(mut self, stream: TcpStream) {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
        let security = self.manner.lock().unwrap().security.clone();
        let _ = match security {
            Security::Tls(config) => self.speak_tls(config, stream, true),
            Security::None | Security::Starttls(_) => self.speak(stream, true, false),
        };
    }

    fn speak_tls(&mut self, config: Arc<rustls::ServerConfig>, stream: TcpStream, greet: bool) -> io::Result<()> {
        let connection = rustls::ServerConnection::new(config).map_err(io::Error::other)?;
        self.speak(rustls::StreamOwned::new(connection, stream), greet, true)
    }

    fn speak<S: Read + Write + Upgrade>(&mut self, stream: S, greet: bool, encrypted: bool) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        if greet {
            say(&mut stream, "220 mail.example ESMTP")?;
        }
        let mut hello = false;
        let mut from = None;
        let mut to = Vec::new();
        loop {
            let Some(line) = self.line(&mut stream, encrypted)? else { return Ok(()) };
            let manner = self.manner.lock().unwrap().clone();
            let verb = line.split(' ').next().unwrap_or_default().to_uppercase();
            let may_mail = manner.login.is_none() || self.login.is_some();
            match verb.as_str() {
                "EHLO" => {
                    hello = true;
                    let mut lines = vec!["mail.example".to_owned(), "SIZE 1000000".to_owned()];
                    if matches!(manner.security, Security::Starttls(_)) && !encrypted {
                        lines.push("STARTTLS".to_owned());
                    }
                    if let Some((how, ..)) = manner.login {
                        lines.push(format!("AUTH {how}"));
                    }
                    let last = lines.pop().expect("two at least");
                    let lines: String = lines.iter().map(|line| format!("250-{line}\r\n")).collect();
                    say(&mut stream, &format!("{lines}250 {last}"))?;
                }
                "QUIT" => return say(&mut stream, "221 bye"),
                "RSET" | "NOOP" => {
                    (from, to) = (None, Vec::new());
                    say(&mut stream, "250 fine")?;
                }
                "STARTTLS" if hello && !encrypted => {
                    let Security::Starttls(config) = manner.security else {
                        say(&mut stream, "502 not here")?;
                        continue;
                    };
                    say(&mut stream, "220 go on")?;
                    return match stream.into_inner().plain() {
                        Some(plain) => self.speak_tls(config, plain, false),
                        None => Ok(()),
                    };
                }
                "AUTH" if hello && manner.login.is_some() => {
                    let (how, user, password) = manner.login.expect("just looked");
                    let given = self.credentials(how, &line, &mut stream, encrypted)?;
                    if given == Some((user.to_owned(), password.to_owned())) {
                        self.login = Some(user.to_owned());
                        say(&mut stream, "235 welcome")?;
                    } else {
                        say(&mut stream, &format!("535 no {user} with that"))?;
                    }
                }
                "MAIL" | "RCPT" | "DATA" if !may_mail => say(&mut stream, "530 log in first")?,
                "MAIL" if hello && from.is_none() => {
                    from = Some(address(&line));
                    say(&mut stream, "250 fine")?;
                }
                "RCPT" if from.is_some() => {
                    let address = address(&line);
                    if manner.unknown == Some(address.as_str()) {
                        say(&mut stream, &format!("550 5.1.1 <{address}> is not here"))?;
                    } else {
                        to.push(address);
                        say(&mut stream, "250 fine")?;
                    }
                }
                "DATA" if !to.is_empty() => {
                    say(&mut stream, "354 go on")?;
                    let mut raw = String::new();
                    loop {
                        let Some(line) = self.line(&mut stream, encrypted)? else { return Ok(()) };
                        if line == "." {
                            break;
                        }
                        raw.push_str(line.strip_prefix('.').unwrap_or(&line));
                        raw.push_str("\r\n");
                    }
                    let refusal = self.manner.lock().unwrap().refuse.pop_front();
                    if let Some(refusal) = refusal {
                        say(&mut stream, refusal)?;
                    } else {
                        let (from, to) = (from.take().expect("before RCPT"), std::mem::take(&mut to));
                        let letter = Letter { from, to, raw, encrypted, user: self.login.clone() };
                        self.seen.lock().unwrap().letters.push(letter);
                        say(&mut stream, "250 taken")?;
                    }
                    (from, to) = (None, Vec::new());
                }
                _ => {
                    self.fault(format!("out of order: {line}"));
                    say(&mut stream, "503 not now")?;
                }
            }
        }
    }

    fn credentials<S: Read + Write>(
        &self,
        how: &str,
        line: &str,
        stream: &mut BufReader<S>,
        encrypted: bool,
    ) -> io::Result<Option<(String, String)>> {
        let text = |code: &str| String::from_utf8(BASE64.decode(code).unwrap_or_default()).unwrap_or_default();
        let mut words = line.split(' ').skip(1);
        if words.next() != Some(how) {
            return Ok(None);
        }
        if how == "PLAIN" {
            let code = text(words.next().unwrap_or_default());
            let mut parts = code.split('\0').skip(1).map(str::to_owned);
            return Ok(parts.next().zip(parts.next()));
        }
        let mut given = Vec::new();
        for question in ["Username:", "Password:"] {
            say(stream, &format!("334 {}", BASE64.encode(question)))?;
            let Some(answer) = self.line(stream, encrypted)? else { return Ok(None) };
            given.push(text(&answer));
        }
        let password = given.pop();
        Ok(given.pop().zip(password))
    }

    /// Without its end; `None` when the client has gone.
    fn line<S: Read>(&self, stream: &mut BufReader<S>, encrypted: bool) -> io::Result<Option<String>> {
        let mut bytes = Vec::new();
        if stream.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        if !encrypted {
            self.seen.lock().unwrap().clear.push_str(&String::from_utf8_lossy(&bytes));
        }
        if !bytes.ends_with(b"\r\n") || bytes.len() > 1_000 || !bytes.is_ascii() {
            self.fault(format!("no line of SMTP: {}", String::from_utf8_lossy(&bytes)));
            return Ok(None);
        }
        bytes.truncate(bytes.len() - 2);
        Ok(Some(String::from_utf8(bytes).expect("ASCII is")))
    }

    fn fault(&self, what: String) {
        self.seen.lock().unwrap().faults.push(what);
    }
}

/// Gives up the plain connection, if it is one.
trait Upgrade {
    fn plain(self) -> Option<TcpStream>;
}

impl Upgrade for TcpStream {
    fn plain(self) -> Option<TcpStream> {
        Some(self)
    }
}

impl Upgrade for rustls::StreamOwned<rustls::ServerConnection, TcpStream> {
    fn plain(self) -> Option<TcpStream> {
        None
    }
}

fn say<S: Read + Write>(stream: &mut BufReader<S>, text: &str) -> io::Result<()> {
    let stream = stream.get_mut();
    stream.write_all(format!("{text}\r\n").as_bytes())?;
    stream.flush()
}

fn address(line: &str) -> String {
    line.split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map_or_else(String::new, |(address, _)| address.into())
}

/// An authority of its own in `dir/ca.pem`, and a server's certificate of it for `localhost`.
pub fn certificate(dir: &Path) -> Arc<rustls::ServerConfig> {
    let openssl = |arguments: &str| {
        let made =
            Command::new("openssl").current_dir(dir).args(arguments.split(' ')).output().expect("openssl is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -days 2 -subj /CN=authority -keyout ca-key.pem -out ca.pem"));
    openssl(&format!("req {key} -subj /CN=localhost -keyout mail-key.pem -out mail.csr"));
    std::fs::write(dir.join("names"), "subjectAltName=DNS:localhost\nbasicConstraints=critical,CA:FALSE\n")
        .expect("ours");
    openssl("x509 -req -in mail.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile names -out mail.pem");
    let chain = vec![CertificateDer::from_pem_file(dir.join("mail.pem")).expect("openssl wrote it")];
    let key = PrivateKeyDer::from_pem_file(dir.join("mail-key.pem")).expect("openssl wrote it");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("they belong together");
    Arc::new(config)
}
