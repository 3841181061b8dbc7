//! `reveil health`: asks the daemon of this configuration whether it is well. For health checks in images that have
//! neither a shell nor curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::exit::{CliError, Exit};
use super::setup::{Global, load};
use crate::config::ServerConfig;

/// A daemon that takes longer is not well.
const TIMEOUT: Duration = Duration::from_secs(4);

/// See the module.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Only whether the process answers, not whether its state and its scheduler are in order
    #[arg(long)]
    live: bool,
}

/// # Errors
/// Faults of the config; nobody answers; the daemon is not ready, with what is not in order.
pub async fn run(global: &Global, args: HealthArgs) -> anyhow::Result<Exit> {
    let (config, _) = load(global)?;
    let url = url(&config.server, if args.live { "healthz" } else { "readyz" });
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // It is asked by its address on this machine, which no certificate names.
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .no_proxy()
        .tls_danger_accept_invalid_certs(true)
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let unwell = |message: String| anyhow::Error::from(CliError::new(Exit::Failed, message));
    let reply = client.get(&url).send().await.map_err(|error| {
        let why = if error.is_timeout() { "does not answer in time" } else { "cannot be reached" };
        unwell(format!("the daemon {why} at {url}"))
    })?;
    let status = reply.status();
    if status.is_success() {
        println!("{}", if args.live { "alive" } else { "ready" });
        return Ok(Exit::Done);
    }
    let body = reply.text().await.unwrap_or_default();
    Err(unwell(format!("the daemon is not ready: {}", reasons(&body).unwrap_or_else(|| status.to_string()))))
}

/// Where the daemon is reached on this machine.
fn url(server: &ServerConfig, path: &str) -> String {
    let scheme = if server.tls.is_some() { "https" } else { "http" };
    let ip = match server.listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("{scheme}://{}/{path}", SocketAddr::new(ip, server.listen.port()))
}

/// The conditions that do not hold, from the body of `/readyz`.
fn reasons(body: &str) -> Option<String> {
    let document: Value = serde_json::from_str(body).ok()?;
    let failed = document["conditions"].as_array()?.iter().filter(|condition| condition["ok"] == false);
    let text = |condition: &Value| Some(format!("{}: {}", condition["name"].as_str()?, condition["detail"].as_str()?));
    let all: Vec<String> = failed.filter_map(text).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::server::TlsConfig;
    use crate::daemon::{Condition, Readiness};

    #[test]
    fn asks_on_this_machine_whatever_it_listens_on() {
        let at = |listen: &str| ServerConfig { listen: listen.parse().unwrap(), ..ServerConfig::default() };
        assert_eq!(url(&at("127.0.0.1:8750"), "readyz"), "http://127.0.0.1:8750/readyz");
        assert_eq!(url(&at("0.0.0.0:80"), "healthz"), "http://127.0.0.1:80/healthz");
        assert_eq!(url(&at("[::]:80"), "readyz"), "http://[::1]:80/readyz");
        let tls = Some(TlsConfig { cert: "c".into(), key: "k".into() });
        assert_eq!(url(&ServerConfig { tls, ..at("10.0.0.1:443") }, "readyz"), "https://10.0.0.1:443/readyz");
    }

    #[test]
    fn says_what_is_not_in_order() {
        let condition = |name, ok, detail: &str| Condition { name, ok, detail: detail.to_owned() };
        let conditions = vec![condition("state", false, "away"), condition("x", true, "")];
        let body = serde_json::to_string(&Readiness { ready: false, conditions }).unwrap();
        assert_eq!(reasons(&body).as_deref(), Some("state: away"));
        assert_eq!(reasons("<html>"), None);
    }
}
