//! The certificate the daemon shows, and the key to it: read at the start and again at every reload, so that a renewed one
//! needs no restart. Connections that are open keep the one they began with.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use axum_server::tls_rustls::RustlsConfig;

use crate::config::server::TlsConfig;

/// A chain and its key that fit together.
pub(crate) struct Certificate(Arc<rustls::ServerConfig>);

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

impl Certificate {
    /// # Errors
    /// The files cannot be read, or are not a chain and its key.
    pub(crate) async fn read(tls: &TlsConfig, base_dir: &Path) -> anyhow::Result<Self> {
        // Another part of the process may have chosen before, and then the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (cert, key) = (base_dir.join(&tls.cert), base_dir.join(&tls.key));
        let read = RustlsConfig::from_pem_file(&cert, &key).await.with_context(|| {
            format!(
                "{} and {} are not a PEM certificate chain and its private key, or cannot be read",
                cert.display(),
                key.display()
            )
        })?;
        Ok(Self(read.get_inner()))
    }
}

/// Where the listener takes the certificate from. Clones share.
#[derive(Clone)]
pub(crate) struct Shown(RustlsConfig);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl Shown {
    pub(crate) fn new(first: Certificate) -> Self {
        Self(RustlsConfig::from_config(first.0))
    }
    /// New connections get this one.
    pub(crate) fn replace(&self, next: Certificate) {
        self.0.reload_from_config(next.0);
    }
    pub(super) fn listener(&self) -> RustlsConfig {
        self.0.clone()
    }
}
