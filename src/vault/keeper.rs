//! Keeps a grant of the vault fresh. Several processes may share it, and a refresh token may be good for one use only,
//! so one of them announces in the vault that it renews; the others wait for what it puts there. New tokens are in the
//! vault before they are used.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reveil_sdk::{Clock, Error, ErrorKind};
use secrecy::SecretString;
use tracing::{info, warn};

use super::credential::{Renewing, StoredGrant};
use super::key::random;
use super::{Opened, Vault, VaultError};
use crate::transport::TokenKeeper;
use crate::transport::http::is_loopback;

/// Longer than any token server takes; whoever announced a renewal and is silent for so long is dead.
const RENEWAL: chrono::Duration = chrono::Duration::seconds(90);
/// Between looks at a renewal that another process has announced.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// What a life of no stated end is counted as.
const LONG: chrono::Duration = chrono::Duration::days(1);
/// Tries to put new tokens into the vault: lost, they cannot be had again.
const STORE_TRIES: u32 = 6;

/// See the module.
#[derive(Debug, Clone)]
pub struct VaultKeeper {
    vault: Vault,
    secret: String,
    clock: Arc<dyn Clock>,
    /// The source is marked `synthetic`: no host but this machine is asked.
    loopback_only: bool,
}

impl VaultKeeper {
    pub fn new(vault: Vault, secret: impl Into<String>, clock: Arc<dyn Clock>, loopback_only: bool) -> Self {
        Self { vault, secret: secret.into(), clock, loopback_only }
    }

    /// The grant with a usable access token, renewed when it has to be or should be.
    ///
    /// # Errors
    /// `Auth` when the token server refuses, `Unavailable` when it cannot be reached, `Config` when the vault does not
    /// open.
    pub async fn fresh(
        &self,
        http: &reqwest::Client,
        refused: Option<&SecretString>,
    ) -> reveil_sdk::Result<StoredGrant> {
        loop {
            let opened = self.vault.get(&self.secret).await.map_err(closed)?;
            let grant = StoredGrant::read(&opened, &self.secret).map_err(closed)?;
            let now = self.clock.now();
            let live = grant.is_live(now, refused);
            if live && !grant.is_due(now) {
                return Ok(grant);
            }
            if grant.renewing.as_ref().is_some_and(|renewing| now < renewing.until) {
                if live {
                    return Ok(grant);
                }
                self.clock.sleep(LOOK_AGAIN).await;
                continue;
            }
            let Some(announced) = self.announce(&opened, &grant, now).await? else { continue };
            let (keeper, http) = (self.clone(), http.clone());
            // A task of its own: who asked may be cancelled, the tokens that come back must not be lost.
            let renewing = tokio::spawn(async move { keeper.renew(&http, announced).await });
            match renewing.await.map_err(|_| Error::new(ErrorKind::Unexpected, "GetToken", "the renewal broke off"))? {
                Ok(Some(grant)) => return Ok(grant),
                // Somebody connected anew meanwhile.
                Ok(None) => {}
                Err(error) if live => {
                    warn!(secret = self.secret, error = %error, "The token could not be renewed before it is due");
                    return Ok(grant);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Renews a token of long life that is about to end; leaves a refresh token alone.
    ///
    /// # Errors
    /// As [`VaultKeeper::fresh`].
    pub async fn renew_due(&self, http: &reqwest::Client) -> reveil_sdk::Result<()> {
        let opened = self.vault.get(&self.secret).await.map_err(closed)?;
        let grant = StoredGrant::read(&opened, &self.secret).map_err(closed)?;
        if grant.exchange.is_some() {
            self.fresh(http, None).await?;
        }
        Ok(())
    }

    /// `None` when another process was quicker.
    async fn announce(
        &self,
        opened: &Opened,
        grant: &StoredGrant,
        now: DateTime<Utc>,
    ) -> reveil_sdk::Result<Option<(Opened, StoredGrant)>> {
        let mut by = [0; 8];
        random(&mut by).map_err(closed)?;
        let mut grant = grant.clone();
        grant.renewing = Some(Renewing { by: const_hex::encode(by), until: now + RENEWAL });
        let taken = self.store(opened, &grant, now).await.map_err(closed)?;
        Ok(taken.map(|opened| (opened, grant)))
    }

    async fn renew(
        &self,
        http: &reqwest::Client,
        (opened, mut grant): (Opened, StoredGrant),
    ) -> reveil_sdk::Result<Option<StoredGrant>> {
        let renewed = match self.allowed(&grant) {
            Ok(()) => grant.renew(http).await,
            Err(error) => Err(error),
        };
        let now = self.clock.now();
        match renewed {
            Ok(tokens) => grant.take(tokens, now),
            Err(error) => {
                grant.renewing = None;
                // Not worth more: it would run out by itself.
                let _ = self.store(&opened, &grant, now).await;
                return Err(error);
            }
        }
        for attempt in 1.. {
            match self.store(&opened, &grant, now).await {
                Ok(stored) => {
                    info!(secret = self.secret, "Renewed the token");
                    return Ok(stored.map(|_| grant));
                }
                Err(error) if attempt == STORE_TRIES => return Err(closed(error)),
                Err(_) => self.clock.sleep(Duration::from_secs(1 << attempt)).await,
            }
        }
        unreachable!("the loop ends with its last try")
    }

    async fn store(&self, old: &Opened, grant: &StoredGrant, now: DateTime<Utc>) -> Result<Option<Opened>, VaultError> {
        let meta = grant.meta(old.meta.destination.clone());
        self.vault.replace(old, &grant.to_secret(), meta, now).await
    }

    fn allowed(&self, grant: &StoredGrant) -> reveil_sdk::Result<()> {
        if !self.loopback_only || is_loopback(&grant.token_url) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Config,
            "GetToken",
            "the source is marked synthetic; no other machine is asked for tokens",
        )
        .hint("connect to a sandbox on 127.0.0.1, or remove `synthetic = true`"))
    }
}

#[async_trait]
impl TokenKeeper for VaultKeeper {
    async fn access_token(
        &self,
        http: &reqwest::Client,
        refused: Option<&SecretString>,
    ) -> reveil_sdk::Result<(SecretString, DateTime<Utc>)> {
        let grant = self.fresh(http, refused).await?;
        let ends = grant.access_expires_at.unwrap_or_else(|| self.clock.now() + LONG);
        Ok((grant.access_token, ends))
    }
}

/// The vault's fault as the error of a call.
pub(crate) fn closed(error: VaultError) -> Error {
    let kind = if matches!(error, VaultError::Store(_)) { ErrorKind::Unavailable } else { ErrorKind::Config };
    Error::new(kind, "OpenSecret", error.to_string())
}
