//! `[server]`: where `reveil serve` listens.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use url::Url;

/// See the module.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Address and port. Default `127.0.0.1:8750`, which only this machine reaches; port 0 picks a free one.
    pub listen: SocketAddr,
    /// How people and programs reach it, for links in alerts and answers: `https://reveil.example`. Default made from
    /// `listen`.
    pub public_url: Option<Url>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8750)), public_url: None }
    }
}
