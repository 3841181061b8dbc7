//! Encryption, and where the daemon refuses to start.

use std::process::Command;

use reqwest::{Certificate, Client};
use serde_json::json;

use crate::binary;
use crate::server::{Server, configure, open, shop};
use crate::shop::Shop;

/// A certificate for this machine, made for this test alone.
fn certificate(shop: &Shop) -> Vec<u8> {
    let made = Command::new("openssl")
        .current_dir(shop.path())
        .args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost".split(' '),
        )
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args("-keyout key.pem -out cert.pem".split(' '))
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::read(shop.path().join("cert.pem")).expect("openssl wrote it")
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_and_cookies_are_bound_to_it() {
    let shop = shop(50).await;
    let certificate = certificate(&shop);
    let server = Server::start(shop, "tls = { cert = \"cert.pem\", key = \"key.pem\" }").await;
    let plain = server.client.get(format!("{}/healthz", server.base)).send().await;
    assert!(plain.is_err() || plain.is_ok_and(|answer| !answer.status().is_success()), "plain HTTP is not answered");
    let client = Client::builder()
        .tls_certs_only([Certificate::from_pem(&certificate).expect("PEM")])
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a provider was chosen");
    let base = server.base.replace("http://", "https://");
    let me = client.get(format!("{base}/v1/me")).bearer_auth(&server.tokens.viewer).send().await.expect("TLS");
    assert_eq!(me.json::<serde_json::Value>().await.expect("JSON")["role"], json!("viewer"));
    for path in ["/healthz", "/v1/nothing", "/login"] {
        let answer = client.get(format!("{base}{path}")).send().await.expect("TLS");
        assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000", "{path}");
    }
    let form = format!("token={}&next=/", server.tokens.viewer);
    let login = client
        .post(format!("{base}/login"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .expect("TLS");
    let cookie = login.headers()["set-cookie"].to_str().expect("ASCII");
    assert!(cookie.starts_with("__Host-reveil_session=rvl_"), "{cookie}");
    for part in ["; Secure", "; HttpOnly", "; SameSite=Strict", "; Path=/"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
}

/// Trusts this certificate alone, on a connection of its own each time.
async fn answers_as(server: &Server, certificate: &[u8]) -> bool {
    let client = Client::builder().tls_certs_only([Certificate::from_pem(certificate).expect("PEM")]).build();
    let url = format!("{}/healthz", server.base.replace("http://", "https://"));
    client.expect("a provider was chosen").get(url).send().await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_taken_without_a_restart_and_a_broken_one_is_not() {
    let shop = shop(50).await;
    let first = certificate(&shop);
    let server = Server::start(shop, "tls = { cert = \"cert.pem\", key = \"key.pem\" }").await;
    assert!(answers_as(&server, &first).await);
    let open =
        Client::builder().tls_certs_only([Certificate::from_pem(&first).expect("PEM")]).build().expect("as above");
    let me = |client: &Client| {
        let url = format!("{}/v1/me", server.base.replace("http://", "https://"));
        client.get(url).bearer_auth(&server.tokens.viewer).send()
    };
    assert_eq!(me(&open).await.expect("TLS").status(), 200);

    let second = certificate(&server.shop);
    assert!(!answers_as(&server, &second).await, "nobody has told it yet");
    server.signal("-HUP");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !answers_as(&server, &second).await {
        assert!(std::time::Instant::now() < deadline, "the new certificate is not shown");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(!answers_as(&server, &first).await);
    assert_eq!(me(&open).await.expect("its connection is as it was").status(), 200);

    // The key of another certificate, half a certificate, none: each is refused with the rest of the reload.
    let path = server.shop.path().to_owned();
    let good = std::fs::read(path.join("key.pem")).expect("openssl wrote it");
    certificate(&server.shop);
    std::fs::write(path.join("key.pem"), &good).expect("the directory is ours");
    let client =
        Client::builder().tls_certs_only([Certificate::from_pem(&second).expect("PEM")]).build().expect("as above");
    let reload = || {
        let url = format!("{}/v1/reload", server.base.replace("http://", "https://"));
        client.post(url).bearer_auth(&server.tokens.admin).send()
    };
    for broken in [None, Some(&second[..second.len() / 2]), Some(b"")] {
        if let Some(broken) = broken {
            std::fs::write(path.join("cert.pem"), broken).expect("the directory is ours");
        }
        let refused = crate::server::json(reload().await.expect("TLS"), 422).await;
        let (field, said) = (&refused["errors"][0]["field"], refused["errors"][0]["message"].as_str().expect("why"));
        assert!(field.as_str().is_some_and(|key| key.starts_with("server.tls.")), "{refused}");
        assert!((said.contains("cert.pem") || said.contains("server.tls.cert")) && said.contains("stays"), "{said}");
        assert!(answers_as(&server, &second).await, "the old one stays");
    }
    std::fs::write(path.join("cert.pem"), &second).expect("the directory is ours");
    crate::server::json(reload().await.expect("TLS"), 200).await;
    assert!(answers_as(&server, &second).await);
}

#[test]
fn a_drawn_token_is_good_for_the_first_one_and_kept_nowhere() {
    let shop = open(50);
    // Beside no config at all.
    let empty = tempfile::tempdir().expect("a temporary directory");
    let drawn = [0; 2].map(|_| binary::run(empty.path(), &["token", "draw"]).expect(0).stdout.trim().to_owned());
    assert!(drawn[0].starts_with("rvl_") && drawn[0].len() == 4 + 12 + 1 + 64 && drawn[0] != drawn[1], "{drawn:?}");
    assert_eq!(std::fs::read_dir(empty.path()).expect("readable").count(), 0, "nothing is written");
    configure(&shop, "first_token = { file = \"first\" }");
    std::fs::write(shop.path().join("first"), &drawn[0]).expect("the directory is ours");
    let mut daemon = binary::spawn(shop.path(), &["serve"]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let listed = loop {
        let listed = shop.reveil(&["token", "list", "--json"]).expect(0).json();
        if listed["tokens"][0].is_object() || std::time::Instant::now() > deadline {
            break listed;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    daemon.kill().expect("the child is ours");
    daemon.wait().expect("the child is ours");
    assert_eq!((&listed["tokens"][0]["name"], &listed["tokens"][0]["role"]), (&json!("first"), &json!("admin")));
    assert_eq!(listed["tokens"][0]["id"], drawn[0][4..16], "{listed}");
}

#[test]
fn files_that_are_not_there_are_found_by_the_check_and_at_the_start() {
    let shop = open(50);
    configure(&shop, "tls = { cert = \"cert.pem\", key = \"key.pem\" }");
    let both = ["server.tls.cert", "server.tls.key", "there is no file", "cert.pem", "key.pem"];
    let said = |code, words: &[&str]| {
        for args in [&["check", "--offline"][..], &["serve"]] {
            let output = binary::run(shop.path(), args).expect(code);
            let text = output.stdout + &output.stderr;
            for word in words {
                assert!(text.contains(word), "{args:?}: {word} in {text}");
            }
        }
    };
    said(2, &both);
    certificate(&shop);
    let key = std::fs::read(shop.path().join("key.pem")).expect("openssl wrote it");
    std::fs::write(shop.path().join("cert.pem"), "no certificate").expect("ours");
    said(2, &["server.tls.cert", "no certificate in PEM"]);
    certificate(&shop);
    std::fs::write(shop.path().join("key.pem"), key).expect("ours");
    said(2, &["server.tls.key", "does not fit server.tls.cert"]);
    certificate(&shop);
    let output = binary::run(shop.path(), &["check", "--offline"]).expect(0);
    assert!(output.stdout.contains("ok   server.tls"), "{}", output.stdout);
}

#[test]
fn nothing_is_served_where_strangers_could_come_in() {
    let shop = open(50);
    for (server, set, code, remedy) in [
        ("", "server.listen=127.0.0.1:0", 1, "reveil token create"),
        ("", "server.listen=0.0.0.0:0", 2, "server.tls"),
        ("insecure = true", "server.listen=0.0.0.0:0", 1, "reveil token create"),
        ("open_on_loopback = true\ninsecure = true", "server.listen=0.0.0.0:0", 2, "server.open_on_loopback"),
    ] {
        configure(&shop, server);
        let refused = binary::run(shop.path(), &["--set", set, "serve"]).expect(code);
        assert!(refused.stderr.contains(remedy), "{set} {server}: {}", refused.stderr);
    }
}
