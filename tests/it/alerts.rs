//! What people are told reaches a mail server, a webhook and a chat that listen on this machine.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::binary::{self, Output};
use crate::mail::{Letter, MailServer, Manner, Security, certificate};
use crate::privacy::{assert_clean, forbidden};
use crate::serve::{Served, config, queue_run, shop};
use crate::shop::Shop;

const PASSWORD: &str = "s3cret-of-the-mail-server";
const LABEL: &str = "Schlafende Kundinnen – 180 Tage, étape n° 2";

/// A mail channel to this server.
fn channel(name: &str, server: &MailServer, to: &[&str], rest: &str) -> String {
    let port = server.address.port();
    format!(
        "[alerts.channel.{name}]\nkind = \"email\"\nhost = \"localhost\"\nport = {port}\n\
         from = \"Réveil <reveil@shop.example>\"\nto = {to:?}\ntimeout = \"5s\"\n{rest}\n"
    )
}

const CLEAR: &str = "security = \"none\"";

/// Adds to the config of a shop.
fn with(shop: &Shop, channels: &str) -> String {
    let text = config(shop, 50, "", "max_attempts = 1").replace("Dormant 180 days", LABEL);
    let server = "[server]\npublic_url = \"https://reveil.example/base\"\n";
    text.replace("[server]\n", server) + channels
}

/// `reveil alerts test`, which trusts the authority in the shop's directory.
fn alerts_test(shop: &Shop, more: &[&str]) -> Output {
    std::fs::write(shop.path().join(".env"), format!("MAIL_PASSWORD={PASSWORD}\nSANDBOX_META_TOKEN=x\n")).unwrap();
    let mut command = binary::command(shop.path(), &[&["--log", "debug", "alerts", "test"], more].concat());
    command.env("SSL_CERT_FILE", shop.path().join("ca.pem"));
    binary::finish(command)
}

fn about<'l>(letters: &'l [Letter], what: &str) -> Vec<&'l Letter> {
    letters.iter().filter(|letter| letter.header("Subject").is_some_and(|subject| subject.contains(what))).collect()
}

#[test]
fn a_failed_run_becomes_a_mail_to_everybody_and_its_end_another() {
    let shop = shop(300, 50, "", "");
    let server = MailServer::start(Manner::default());
    let everybody = ["ops@shop.example", "Änne <aenne@shop.example>"];
    let good = with(&shop, &channel("post", &server, &everybody, CLEAR));
    shop.write_config(&good.replace("table = \"orders\"", "table = \"orders_2\""));
    let mut served = Served::start(&shop);
    let id = queue_run(&shop);
    served.until("a mail comes", || !about(&server.letters(), "run failed").is_empty());
    let letters = server.letters();
    let letter = about(&letters, "run failed")[0];
    assert_eq!(
        (letter.from.as_str(), letter.to.join(" ")),
        ("reveil@shop.example", "ops@shop.example aenne@shop.example".into())
    );
    assert_eq!(letter.header("From").unwrap(), "Réveil <reveil@shop.example>");
    assert_eq!(letter.header("To").unwrap(), "ops@shop.example, Änne <aenne@shop.example>");
    assert_eq!(letter.header("Subject").unwrap(), format!("[Réveil] {LABEL}: run failed"));
    assert_eq!(letter.header("Content-Type").unwrap(), "text/plain; charset=utf-8");
    assert_eq!(letter.header("Auto-Submitted").unwrap(), "auto-generated");
    chrono::DateTime::parse_from_rfc2822(&letter.header("Date").unwrap()).unwrap();
    assert!(letter.header("Message-ID").unwrap().ends_with("@shop.example>"));
    let text = letter.text();
    let first = format!("Run {id} of audience dormant ended as failed: ");
    assert!(text.starts_with(&first) && text.contains("orders_2"), "{text}");
    assert!(text.trim_end().ends_with(&format!("https://reveil.example/base/runs/{id}")), "{text}");
    let listed = shop.reveil(&["alerts", "list", "--json"]).expect(0).json();
    assert_eq!(
        (&listed["alerts"][0]["key"], &listed["alerts"][0]["state"]),
        (&"failed_run:dormant".into(), &"firing".into())
    );
    assert!(shop.reveil(&["alerts", "list"]).expect(0).stdout.contains("failed_run:dormant"));

    shop.write_config(&good);
    served.signal("-HUP");
    served.until("it reloads", || served.log().contains("Reloaded the configuration"));
    queue_run(&shop);
    served.until("another mail comes", || !about(&server.letters(), "recovered").is_empty());
    assert_eq!(served.end("-TERM"), Some(0), "{}", served.log());
    let letters = server.letters();
    assert_eq!((about(&letters, "run failed").len(), about(&letters, "recovered").len()), (1, 1));
    assert!(about(&letters, "recovered")[0].text().contains("went well again"));
    let forbidden = forbidden(&shop);
    for letter in &letters {
        assert_clean("a mail", letter.raw.as_bytes(), &forbidden);
        assert_clean("a mail's text", letter.text().as_bytes(), &forbidden);
    }
    assert!(!served.log().contains("shop.example"), "no address in the log: {}", served.log());
}

#[test]
fn a_server_that_refuses_for_a_while_gets_the_same_mail_later() {
    let shop = shop(300, 50, "", "");
    let refuse = ["451 4.7.1 later, reveil@shop.example"].into();
    let server = MailServer::start(Manner { refuse, ..Manner::default() });
    let text = with(&shop, &channel("post", &server, &["ops@shop.example"], CLEAR));
    shop.write_config(&text.replace("table = \"orders\"", "table = \"orders_2\""));
    let mut served = Served::start(&shop);
    queue_run(&shop);
    served.until("the mail was refused", || server.clear().contains("\r\n.\r\n"));
    assert!(server.letters().is_empty());
    assert!(served.get("/readyz").starts_with("HTTP/1.1 200"), "a mail server that is busy is not its fault");
    served.until("the mail comes", || !server.letters().is_empty());
    served.until("it is counted", || {
        served.get("/metrics").contains("reveil_alert_messages_total{channel=\"post\",outcome=\"done\"} 1")
    });
    let clear = server.clear();
    let ids: Vec<&str> = clear.lines().filter(|line| line.starts_with("Message-ID: ")).collect();
    assert!(ids.len() == 2 && ids[0] == ids[1], "the second try is the first letter: {ids:?}");
    assert_eq!(served.end("-TERM"), Some(0), "{}", served.log());
    assert!(!served.log().contains("could not be delivered"), "{}", served.log());
}

#[test]
fn a_message_that_waits_for_its_next_try_outlives_the_process() {
    let shop = shop(300, 50, "", "");
    let refuse = ["451 4.7.1 later", "451 4.7.1 later"].into();
    let server = MailServer::start(Manner { refuse, ..Manner::default() });
    let text = with(&shop, &channel("post", &server, &["ops@shop.example"], CLEAR));
    shop.write_config(&text.replace("table = \"orders\"", "table = \"orders_2\""));
    let mut served = Served::start(&shop);
    queue_run(&shop);
    served.until("the mail was refused", || served.log().contains("did not take a message"));
    let runs = shop.reveil(&["runs", "--json"]).expect(0).json();
    assert_eq!(runs["runs"][0]["state"], "failed", "the run is over and waits for nobody");
    served.end("-KILL");
    assert!(server.letters().is_empty());
    let listed = shop.reveil(&["alerts", "list", "--json"]).expect(0).json();
    assert!(listed["alerts"][0]["last_sent_at"].is_null(), "{listed}");
    let mut served = Served::start(&shop);
    served.until("the mail comes", || !about(&server.letters(), "run failed").is_empty());
    served.until("it is told", || {
        let listed = shop.reveil(&["alerts", "list", "--json"]).expect(0).json();
        listed["alerts"][0]["last_sent_at"].is_string()
    });
    assert_eq!(served.end("-TERM"), Some(0), "{}", served.log());
    assert_eq!(server.letters().len(), 1);
}

#[test]
fn a_channel_that_never_answers_holds_up_no_run() {
    let shop = shop(300, 50, "", "");
    // The system takes the connections; nobody reads them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hook = format!(
        "[alerts.channel.hook]\nkind = \"webhook\"\nurl = {{ url = \"http://{}/hook\" }}\ntimeout = \"30s\"\n",
        silent.local_addr().unwrap()
    );
    let text = with(&shop, &hook).replace("[scheduler]\n", "[scheduler]\nmax_concurrent_runs = 1\n");
    shop.write_config(&text.replace("table = \"orders\"", "table = \"orders_2\""));
    let served = Served::start(&shop);
    let failed = |count: usize| {
        let runs = shop.reveil(&["runs", "--json"]).expect(0).json();
        let of_state =
            |state: &str| runs["runs"].as_array().unwrap().iter().filter(|run| run["state"] == state).count();
        of_state("failed") == count
    };
    queue_run(&shop);
    served.until("the first run fails", || failed(1));
    served.until("its message is on its way", || {
        served.get("/metrics").contains("reveil_queue_jobs") && served.log().contains("kind=\"alert\"")
    });
    let started = std::time::Instant::now();
    queue_run(&shop);
    served.until("the second run fails", || failed(2));
    assert!(
        started.elapsed() < std::time::Duration::from_secs(25),
        "it waited for the channel: {:?}",
        started.elapsed()
    );
    assert!(!served.log().contains("did not take a message"), "the channel is still silent");
}

#[test]
fn a_channel_without_its_secret_is_found_before_it_is_needed() {
    let shop = shop(50, 50, "", "");
    let channels = "[alerts.channel.hook]\nkind = \"webhook\"\nurl = { env = \"HOOK_NOT_SET\" }\n\
                    signing_key = { vault = \"hook-key\" }\n";
    shop.write_config(&with(&shop, channels));
    let output = shop.reveil(&["check", "--offline"]).expect(2);
    for said in [
        "FAIL alerts.channel.hook.url: the environment variable HOOK_NOT_SET is not set",
        "export it",
        "FAIL alerts.channel.hook.signing_key: ",
        "reveil vault set",
    ] {
        assert!(output.stdout.contains(said), "{said}: {}", output.stdout);
    }
    let found = shop.reveil(&["check", "--offline", "--json"]).expect(2).json();
    assert_eq!(found["ok"], false);
    let mut served = Served::start(&shop);
    served.until("it warns", || served.log().contains("Alerts cannot be sent through this channel"));
    assert!(served.log().contains("alerts.channel.hook.url"), "{}", served.log());
    assert_eq!(served.end("-TERM"), Some(0));
}

#[test]
fn the_list_of_tokens_says_which_end_soon() {
    let shop = shop(50, 50, "", "");
    for (name, days) in [("airflow", "6"), ("grafana", "300")] {
        shop.reveil(&["token", "create", name, "--role", "viewer", "--days", days]).expect(0);
    }
    let listed = shop.reveil(&["token", "list"]).expect(0).stdout;
    let line = |name: &str| listed.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    assert!(line("airflow").contains("5 days left") && line("grafana").contains("valid"), "{listed}");
    let listed = shop.reveil(&["token", "list", "--json"]).expect(0).json();
    assert_eq!(listed["tokens"][0]["expires_in_days"], 5, "{listed}");
    assert_eq!(listed["tokens"][0]["state"], "valid");
}

#[test]
fn an_address_that_is_refused_keeps_the_mail_from_nobody_else() {
    let shop = shop(50, 50, "", "");
    let server = MailServer::start(Manner { unknown: Some("gone@shop.example"), ..Manner::default() });
    let to = ["gone@shop.example", "ops@shop.example", "aenne@shop.example"];
    let alone = channel("alone", &server, &to[..1], CLEAR);
    shop.write_config(&with(&shop, &(channel("post", &server, &to, CLEAR) + &alone)));
    let output = alerts_test(&shop, &["post"]).expect(0);
    assert!(output.stdout.contains("ok   post") && output.stderr.contains("refused=1"), "{output:?}");
    let reached: Vec<String> = server.letters().into_iter().flat_map(|letter| letter.to).collect();
    assert_eq!(reached, to[1..]);
    let output = alerts_test(&shop, &["alone"]).expect(1);
    assert!(output.stdout.contains("FAIL alone") && output.stdout.contains("550"), "{output:?}");
    assert!(!format!("{output:?}").contains("shop.example"), "{output:?}");
}

fn login(security: &str) -> String {
    format!("security = \"{security}\"\nusername = \"reveil\"\npassword = {{ env = \"MAIL_PASSWORD\" }}")
}

#[test]
fn a_mail_goes_over_tls_with_either_login() {
    let shop = shop(50, 50, "", "");
    let tls = certificate(shop.path());
    for (how, security, name) in [
        ("PLAIN", Security::Starttls(Arc::clone(&tls)), "starttls"),
        ("LOGIN", Security::Starttls(Arc::clone(&tls)), "starttls"),
        ("PLAIN", Security::Tls(Arc::clone(&tls)), "tls"),
        ("LOGIN", Security::Tls(tls), "tls"),
    ] {
        let server =
            MailServer::start(Manner { security, login: Some((how, "reveil", PASSWORD)), ..Manner::default() });
        shop.write_config(&with(&shop, &channel("post", &server, &["ops@shop.example"], &login(name))));
        let output = alerts_test(&shop, &[]).expect(0);
        assert_eq!(output.stdout, "ok   post\n");
        let letters = server.letters();
        let [letter] = &letters[..] else { panic!("{name} with {how}: {letters:?}") };
        assert!(letter.encrypted && letter.user.as_deref() == Some("reveil"), "{letter:?}");
        assert_eq!(letter.header("Subject").unwrap(), "[Réveil] Réveil: a test");
        assert_eq!(letter.text().trim_end(), "This channel works. Nothing is wrong.");
        assert!(!server.clear().contains("AUTH") && !server.clear().contains("MAIL"), "{}", server.clear());
        assert!(!output.stderr.contains(PASSWORD), "{}", output.stderr);
    }
}

#[test]
fn the_password_is_never_said_in_the_clear() {
    let shop = shop(50, 50, "", "");
    let elsewhere = tempfile::tempdir().unwrap();
    let unknown = certificate(elsewhere.path());
    let known = certificate(shop.path());
    let of = |security| {
        let login = Some(("PLAIN", "reveil", PASSWORD));
        MailServer::start(Manner { security, login, ..Manner::default() })
    };
    for (what, server, security, host, word) in [
        ("no TLS", of(Security::None), "starttls", "localhost", "STARTTLS"),
        ("no TLS", of(Security::None), "tls", "localhost", "TLS"),
        ("not trusted", of(Security::Starttls(Arc::clone(&unknown))), "starttls", "localhost", "not trusted"),
        ("not trusted", of(Security::Tls(unknown)), "tls", "localhost", "not trusted"),
        ("another name", of(Security::Starttls(known)), "starttls", "127.0.0.1", "not trusted"),
    ] {
        let channel = channel("post", &server, &["ops@shop.example"], &login(security)).replace("localhost", host);
        shop.write_config(&with(&shop, &channel));
        let output = alerts_test(&shop, &[]).expect(1);
        assert!(output.stdout.contains("FAIL post") && output.stdout.contains(word), "{what}: {}", output.stdout);
        let clear = server.clear();
        assert!(!clear.contains("AUTH") && !clear.contains("MAIL FROM"), "{what}, {security}: {clear}");
    }
}

#[test]
fn a_login_that_is_refused_is_said_so() {
    let shop = shop(50, 50, "", "");
    let login = Some(("PLAIN", "reveil", "another"));
    let server = MailServer::start(Manner { login, ..Manner::default() });
    let to = ["ops@shop.example", "aenne@shop.example"];
    let with_login = "username = \"reveil\"\npassword = { env = \"MAIL_PASSWORD\" }";
    shop.write_config(&with(&shop, &channel("post", &server, &to, &format!("{CLEAR}\n{with_login}"))));
    let output = alerts_test(&shop, &[]).expect(1);
    assert!(output.stdout.contains("535"), "{output:?}");
    assert_eq!(server.clear().matches("AUTH").count(), 1, "no second try, which may lock the account");
    shop.write_config(&with(&shop, &channel("post", &server, &to, &format!("{CLEAR}\nusername = \"reveil\""))));
    let output = alerts_test(&shop, &[]).expect(2);
    assert!(output.stderr.contains("alerts.channel.post") && output.stderr.contains("go together"), "{output:?}");
}

/// What was posted: the head in lower case, and the document.
type Posts = Arc<Mutex<Vec<(String, Value)>>>;

/// Takes what is posted, like a webhook or a chat.
fn listener() -> (SocketAddr, Posts) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, heard) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let shared = Arc::clone(&heard);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).unwrap() > 0 {}
            let head = head.to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
            shared.lock().unwrap().push((head, serde_json::from_slice(&body).unwrap()));
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        }
    });
    (address, heard)
}

#[test]
fn the_command_line_tries_each_channel() {
    let shop = shop(50, 50, "", "");
    assert_eq!(alerts_test(&shop, &[]).code, Some(2), "nobody would be told");
    let (address, heard) = listener();
    let server = MailServer::start(Manner::default());
    let channels = format!(
        "[alerts.channel.hook]\nkind = \"webhook\"\nurl = {{ url = \"http://{address}/hook\" }}\n\
         signing_key = {{ env = \"MAIL_PASSWORD\" }}\n\
         [alerts.channel.chat]\nkind = \"slack\"\nurl = {{ url = \"http://{address}/chat\" }}\n\
         [alerts.channel.lost]\nkind = \"webhook\"\nurl = {{ env = \"NOT_SET\" }}\n"
    );
    shop.write_config(&with(&shop, &(channels + &channel("post", &server, &["ops@shop.example"], CLEAR))));
    let output = alerts_test(&shop, &[]).expect(1);
    let lost = "FAIL lost: alerts.channel.lost: the environment variable NOT_SET is not set";
    assert_eq!(output.stdout, format!("ok   chat\nok   hook\n{lost}\nok   post\n"));
    alerts_test(&shop, &["chat", "hook", "post"]).expect(0);
    assert_eq!(server.letters().len(), 2);
    let heard = heard.lock().unwrap();
    let at = |path: &str| {
        heard.iter().filter(move |(head, _)| head.starts_with(&format!("post {path} "))).collect::<Vec<_>>()
    };
    let (hooks, chats) = (at("/hook"), at("/chat"));
    assert_eq!((hooks.len(), chats.len()), (2, 2));
    assert!(hooks[0].0.contains("x-reveil-signature: sha256=") && hooks[0].0.contains("x-reveil-timestamp: "));
    assert_eq!(hooks[0].1["kind"], "test");
    assert!(chats[0].1["text"].as_str().unwrap().contains("*Réveil: a test*\nThis channel works."), "{}", chats[0].1);
    let unknown = alerts_test(&shop, &["chta"]).expect(2);
    assert!(unknown.stderr.contains("chta") && unknown.stderr.contains("chat, hook, lost, post"), "{unknown:?}");
}
