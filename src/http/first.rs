//! The first token, given from outside. Where nobody can run a command beside the daemon before it listens, as in a
//! cluster whose pods end until there is a token, nobody could make one otherwise.

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tracing::info;

use super::auth::role::Role;
use super::auth::token;
use crate::config::vault::KeySource;
use crate::daemon::{Daemon, Loaded};
use crate::store::tokens::ApiToken;

/// How it is called in lists and in the audit log.
const NAME: &str = "first";

/// The valid tokens; when there are none, the configured one is made an administrator's first.
///
/// # Errors
/// The configured token cannot be read or has another form; the state's.
pub async fn valid_tokens(daemon: &Daemon) -> anyhow::Result<usize> {
    let count = async || -> anyhow::Result<usize> {
        let now = daemon.clock().now();
        Ok(daemon.store().tokens().await?.iter().filter(|token| token.is_valid(now)).count())
    };
    let valid = count().await?;
    let loaded = daemon.loaded();
    let Some(source) = loaded.config.server.first_token.as_ref().filter(|_| valid == 0) else {
        return Ok(valid);
    };
    let text = read(source, &loaded).with_context(|| format!("server.first_token ({source})"))?;
    let text = text.expose_secret();
    let id = token::id_of(text).with_context(|| {
        format!("server.first_token ({source}) is no token: put there what `reveil token draw` prints")
    })?;
    let now = daemon.clock().now();
    let first = ApiToken {
        id: id.to_owned(),
        name: NAME.to_owned(),
        role: Role::Admin.name().to_owned(),
        audiences: None,
        hash: token::hash(text),
        created_at: now,
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    };
    match daemon.store().add_token(&first).await {
        Ok(()) => {
            let detail = json!({ "token": first.id, "role": first.role, "from": "server.first_token" });
            daemon.store().audit(now, "reveil", "create_token", NAME, &detail).await?;
            info!(token = first.id, "Took the first token from the configuration");
            Ok(1)
        }
        // Another replica was quicker, which is as good; or it was revoked, and then it stays so.
        Err(error) => match count().await? {
            0 => Err(error).context("server.first_token was revoked or has expired; make another: reveil token create"),
            valid => Ok(valid),
        },
    }
}

fn read(source: &KeySource, loaded: &Loaded) -> anyhow::Result<SecretString> {
    let text = match source {
        KeySource::Env(name) => loaded.environment.get(name).cloned().context("is not set")?,
        KeySource::File(path) => std::fs::read_to_string(loaded.base_dir.join(path)).context("cannot be read")?,
    };
    Ok(SecretString::from(text.trim().to_owned()))
}
