//! A destination ready to be called: its connector, and the transport that connector's calls go through.

use std::sync::Arc;
use std::time::Duration;

use reveil_sdk::{Clock, Connector, Context, Result, Transport};

use crate::config::DestinationConfig;
use crate::connectors::{self, Places};
use crate::transport::http::Caller;
use crate::transport::retry::RetryPolicy;
use crate::transport::{HttpTransport, Shared, TokenKeeper, TransportOptions, http};
use crate::vault::keeper::VaultKeeper;

/// See the module.
pub struct Destination {
    pub name: String,
    pub connector: Box<dyn Connector>,
    transport: Box<dyn Transport>,
    clock: Arc<dyn Clock>,
    /// Members per request.
    pub batch_members: u32,
    /// Before the first question for a verdict, when the config says so.
    pub poll_first: Option<Duration>,
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Destination").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Destination {
    /// # Errors
    /// `Config`: settings or secrets missing or wrong.
    pub(super) async fn open(
        name: &str,
        config: &DestinationConfig,
        places: &Places<'_>,
        clock: &Arc<dyn Clock>,
        loopback_only: bool,
        mut retry: RetryPolicy,
        shared: &Shared,
    ) -> Result<Self> {
        let mut secrets = connectors::read_secrets(name, config, places).await?;
        let keeper = match (&places.vault, &secrets.grant) {
            (Some(vault), Some(secret)) => {
                Some(VaultKeeper::new(vault.clone(), secret, Arc::clone(clock), loopback_only))
            }
            _ => None,
        };
        if let Some(keeper) = &keeper {
            // What the connector is made with: a token of long life may be due for renewal.
            let http = http::client(Duration::from_secs(config.timeout_secs))?;
            keeper.renew_due(&http).await?;
            secrets = connectors::read_secrets(name, config, places).await?;
        }
        let (connector, _) = connectors::connect_with(name, config, secrets)?;
        let descriptor = connector.descriptor();
        if let Some(first_delay_ms) = config.retry_first_delay_ms {
            retry.first_delay = Duration::from_millis(first_delay_ms);
        }
        let options = TransportOptions { timeout: Duration::from_secs(config.timeout_secs), retry, loopback_only };
        let mut limits = descriptor.limits;
        limits.requests_per_minute =
            [limits.requests_per_minute, config.requests_per_minute].into_iter().flatten().min();
        let caller = Caller { destination: name, connector: descriptor.slug, shared };
        let keeper = keeper.map(|keeper| Arc::new(keeper) as Arc<dyn TokenKeeper>);
        let transport =
            HttpTransport::new(connector.auth(), &limits, Arc::clone(clock), options, caller)?.keeping(keeper);
        let most = descriptor.limits.max_batch_members;
        Ok(Self {
            name: name.to_owned(),
            transport: Box::new(transport),
            clock: Arc::clone(clock),
            batch_members: config.batch_members.unwrap_or(most).min(most),
            poll_first: config.poll_first_secs.map(Duration::from_secs),
            connector,
        })
    }

    /// For calls.
    pub fn context(&self) -> Context<'_> {
        Context { transport: &*self.transport, clock: &*self.clock }
    }
}
