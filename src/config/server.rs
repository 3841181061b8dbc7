//! `[server]`: where `reveil serve` listens, and how much it takes from whom.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use url::Url;

use super::vault::KeySource;

/// See the module.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Address and port. Default `127.0.0.1:8750`: this machine only. Beyond loopback, `tls` and a token are needed.
    pub listen: SocketAddr,
    /// How people reach it, when that is not `listen`: `https://reveil.example.com`. Used in links; its host may be
    /// asked for.
    pub public_url: Option<Url>,
    /// Further names it may be asked for by, without port.
    pub allowed_hosts: Vec<String>,
    /// Certificate and key; relative to the config file. A reload reads both files again; what does not fit together is
    /// refused, and the old ones stay. Default none: plain HTTP, on loopback only.
    pub tls: Option<TlsConfig>,
    /// Listens beyond loopback without TLS: only behind a proxy that adds it. Default false.
    pub insecure: bool,
    /// An administrator's token given from outside, `{ env = "REVEIL_FIRST_TOKEN" }` or `{ file = "token" }`, taken while
    /// there is no valid one: for clusters, where nobody can run `reveil token create` before the daemon listens.
    /// `reveil token draw` prints one to put there. Default none.
    pub first_token: Option<KeySource>,
    /// Whoever is on this machine needs no token, and may do everything. Default false.
    pub open_on_loopback: bool,
    /// `/metrics` needs no token. Default false.
    pub metrics_public: bool,
    /// Origins of other sites whose pages may call the API from a browser. Default none.
    pub cors_origins: Vec<String>,
    /// Largest request body, in bytes. Default 1 MiB.
    pub body_limit_bytes: usize,
    /// A request's headers must be there within, in seconds. Default 10.
    pub header_timeout_secs: u64,
    /// A request's body must be there within, and a client must keep reading its answer, in seconds. Default 20.
    pub body_timeout_secs: u64,
    /// Connections at a time; more are closed. Default 512.
    pub max_connections: usize,
    /// Requests answered at a time; more are told to come back. Default 64.
    pub max_concurrent_requests: usize,
    /// Live event streams at a time. Default 128.
    pub max_event_streams: usize,
    /// Plans and measurements, which read the warehouse, at a time. Default 2.
    pub max_concurrent_plans: usize,
    /// Such a one is given up after, in seconds. Default 300.
    pub plan_timeout_secs: u64,
    /// How often one token may call.
    pub rate_limit: RateLimitConfig,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8750)),
            public_url: None,
            allowed_hosts: Vec::new(),
            tls: None,
            insecure: false,
            first_token: None,
            open_on_loopback: false,
            metrics_public: false,
            cors_origins: Vec::new(),
            body_limit_bytes: 1 << 20,
            header_timeout_secs: 10,
            body_timeout_secs: 20,
            max_connections: 512,
            max_concurrent_requests: 64,
            max_event_streams: 128,
            max_concurrent_plans: 2,
            plan_timeout_secs: 300,
            rate_limit: RateLimitConfig::default(),
        }
    }
}

/// PEM files.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The chain, the server's own certificate first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A token may call `burst` times at once and `per_second` times a second in the long run. Addresses that call without
/// a valid token get a tenth of it. `/healthz` and `/readyz` are not counted.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimitConfig {
    /// Default 20.
    pub per_second: u32,
    /// Default 100.
    pub burst: u32,
}

impl Default for RateLimitConfig {
    fn default() -> Self {
        Self { per_second: 20, burst: 100 }
    }
}

impl TlsConfig {
    /// What keeps the files from being used, by key.
    pub fn faults(&self, base_dir: &Path) -> Vec<(String, String)> {
        let (cert, key) = (base_dir.join(&self.cert), base_dir.join(&self.key));
        let wrong = |path: &Path, error: pem::Error, what: &str| match error {
            pem::Error::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
                format!("there is no file {}", path.display())
            }
            pem::Error::Io(error) => format!("{} cannot be read: {error}", path.display()),
            _ => format!("{} holds no {what} in PEM", path.display()),
        };
        let chain = CertificateDer::pem_file_iter(&cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) });
        let private = PrivateKeyDer::from_pem_file(&key);
        match (chain, private) {
            (Ok(chain), Ok(private)) => {
                let provider = rustls::crypto::ring::default_provider();
                let pair = rustls::sign::CertifiedKey::from_der(chain, private, &provider);
                let told = |error: rustls::Error| format!("{} does not fit server.tls.cert: {error}", key.display());
                pair.err().map(|error| ("server.tls.key".to_owned(), told(error))).into_iter().collect()
            }
            (chain, private) => {
                let chain = chain.err().map(|error| ("server.tls.cert".to_owned(), wrong(&cert, error, "certificate")));
                let private =
                    private.err().map(|error| ("server.tls.key".to_owned(), wrong(&key, error, "private key")));
                chain.into_iter().chain(private).collect()
            }
        }
    }
}

impl ServerConfig {
    /// Whether the address is this machine's own.
    pub fn on_loopback(&self) -> bool {
        self.listen.ip().is_loopback()
    }

    pub(super) fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut at_least_one = |key: &str, ok: bool| {
            if !ok {
                faults.push((format!("server.{key}"), "must be at least 1; leave it out for the default".to_owned()));
            }
        };
        at_least_one("rate_limit.per_second", self.rate_limit.per_second > 0);
        at_least_one("rate_limit.burst", self.rate_limit.burst > 0);
        at_least_one("max_connections", self.max_connections > 0);
        at_least_one("max_concurrent_requests", self.max_concurrent_requests > 0);
        at_least_one("max_event_streams", self.max_event_streams > 0);
        at_least_one("max_concurrent_plans", self.max_concurrent_plans > 0);
        at_least_one("header_timeout_secs", self.header_timeout_secs > 0);
        at_least_one("body_timeout_secs", self.body_timeout_secs > 0);
        at_least_one("plan_timeout_secs", self.plan_timeout_secs > 0);
        if self.body_limit_bytes < 4096 {
            faults.push(("server.body_limit_bytes".into(), "is under 4096; a forget request would not fit".into()));
        }
        if self.public_url.as_ref().is_some_and(|url| !matches!(url.scheme(), "http" | "https")) {
            faults.push(("server.public_url".into(), "must start with https:// (or http://)".into()));
        }
        for origin in &self.cors_origins {
            let same = Url::parse(origin).is_ok_and(|url| url.origin().ascii_serialization() == *origin);
            if !same {
                let message = format!("`{origin}` is not an origin; write https://host or https://host:port");
                faults.push(("server.cors_origins".into(), message));
            }
        }
        if !self.on_loopback() && self.tls.is_none() && !self.insecure {
            faults.push((
                "server.listen".into(),
                format!(
                    "{} can be reached from other machines, and without TLS anybody between can read tokens; set \
                     server.tls = {{ cert, key }}, listen on 127.0.0.1, or, behind a proxy that adds TLS, set \
                     server.insecure = true",
                    self.listen
                ),
            ));
        }
        if !self.on_loopback() && self.open_on_loopback {
            let message = "is for an address of this machine only; make tokens with `reveil token create`".to_owned();
            faults.push(("server.open_on_loopback".into(), message));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let config: ServerConfig = toml::from_str(text).expect("TOML of the section");
        config.faults().into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn beyond_loopback_needs_tls_or_a_word() {
        assert!(faults("").is_empty());
        assert!(faults("listen = '[::1]:80'").is_empty());
        assert_eq!(faults("listen = '0.0.0.0:80'"), ["server.listen"]);
        assert!(faults("listen = '0.0.0.0:80'\ninsecure = true").is_empty());
        assert!(faults("listen = '0.0.0.0:80'\ntls = { cert = 'c', key = 'k' }").is_empty());
        assert_eq!(
            faults("listen = '0.0.0.0:80'\ninsecure = true\nopen_on_loopback = true"),
            ["server.open_on_loopback"]
        );
    }

    #[test]
    fn origins_are_origins() {
        assert!(faults("cors_origins = ['https://a.example', 'http://localhost:3000']").is_empty());
        for wrong in ["*", "https://a.example/", "a.example"] {
            assert_eq!(faults(&format!("cors_origins = ['{wrong}']")), ["server.cors_origins"], "{wrong}");
        }
    }
}
