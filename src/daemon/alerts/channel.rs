//! How a message gets there: webhook, chat, mail. One try; who calls tries again.

use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message as Mail, Tokio1Executor};
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::message::Message;
use crate::config::alerts::{Address, ChannelConfig, MailSecurity};
use crate::config::destination::SecretSource;
use crate::connectors::Places;
use crate::transport::http::client;

/// Why a message did not arrive. Names the channel's key, never its address, which may be its secret.
#[derive(Debug, thiserror::Error)]
#[error("alerts.channel.{channel}: {what}")]
pub(crate) struct ChannelError {
    channel: String,
    what: String,
    /// Trying again may help.
    pub passing: bool,
}

/// Sends a message once.
///
/// # Errors
/// A secret is missing, or whoever listens there refuses or is away.
pub(crate) async fn send(
    name: &str,
    channel: &ChannelConfig,
    message: &Message,
    places: &Places<'_>,
) -> Result<(), ChannelError> {
    let fail = |(what, passing): (String, bool)| ChannelError { channel: name.to_owned(), what, passing };
    match channel {
        ChannelConfig::Webhook { url, signing_key, timeout } => {
            let key = match signing_key {
                Some(source) => Some(secret(source, places).await.map_err(fail)?),
                None => None,
            };
            let body = serde_json::to_string(message).map_err(|error| fail((error.to_string(), false)))?;
            let headers = key.map(|key| signature(&key, message.at.timestamp(), &body));
            post(url, body, headers, timeout.0, places).await.map_err(fail)
        }
        ChannelConfig::Slack { url, timeout } => {
            let mark = if message.state == "resolved" { ":white_check_mark:" } else { ":warning:" };
            let body = json!({ "text": format!("{mark} *{}*\n{}", message.title, message.plain()) }).to_string();
            post(url, body, None, timeout.0, places).await.map_err(fail)
        }
        ChannelConfig::Email { .. } => mail(channel, message, places).await.map_err(fail),
    }
}

type Failure = (String, bool);

async fn post(
    address: &Address,
    body: String,
    headers: Option<[(&'static str, String); 2]>,
    timeout: Duration,
    places: &Places<'_>,
) -> Result<(), Failure> {
    let url = match address {
        Address::Open { url } => url.clone(),
        Address::Secret(source) => {
            let text = secret(source, places).await?;
            text.expose_secret().trim().parse().map_err(|_| ("its address is no URL".to_owned(), false))?
        }
    };
    let client = client(timeout).map_err(|error| (error.to_string(), false))?;
    let mut request = client.post(url).header("content-type", "application/json").body(body);
    for (name, value) in headers.into_iter().flatten() {
        request = request.header(name, value);
    }
    let reply = request.send().await.map_err(|error| {
        let what = if error.is_timeout() { "no answer in time" } else { "cannot connect" };
        (what.to_owned(), true)
    })?;
    let status = reply.status();
    if status.is_success() {
        return Ok(());
    }
    let passing = status.is_server_error() || [408, 425, 429].contains(&status.as_u16());
    Err((format!("answered with status {}", status.as_u16()), passing))
}

/// The receiver computes the same over timestamp and body, and refuses what is old.
fn signature(key: &SecretString, timestamp: i64, body: &str) -> [(&'static str, String); 2] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose_secret().as_bytes());
    let signed = const_hex::encode(hmac::sign(&key, format!("{timestamp}.{body}").as_bytes()));
    [("x-reveil-timestamp", timestamp.to_string()), ("x-reveil-signature", format!("sha256={signed}"))]
}

async fn mail(channel: &ChannelConfig, message: &Message, places: &Places<'_>) -> Result<(), Failure> {
    let ChannelConfig::Email { host, port, security, username, password, from, to, timeout } = channel else {
        return Ok(());
    };
    let wrong = |what: &str| (what.to_owned(), false);
    let builder = match security {
        MailSecurity::Starttls => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(host),
        MailSecurity::Tls => AsyncSmtpTransport::<Tokio1Executor>::relay(host),
        MailSecurity::None => Ok(AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)),
    };
    let mut builder = builder.map_err(|_| wrong("the mail server's name is none"))?.timeout(Some(timeout.0));
    if let Some(port) = port {
        builder = builder.port(*port);
    }
    if let (Some(username), Some(password)) = (username, password) {
        let password = secret(password, places).await?;
        builder = builder.credentials(Credentials::new(username.clone(), password.expose_secret().to_owned()));
    }
    let mut letter = Mail::builder()
        .from(from.parse().map_err(|_| wrong("`from` is no mail address"))?)
        .subject(format!("[Réveil] {}", message.title))
        .header(ContentType::TEXT_PLAIN);
    for address in to {
        letter = letter.to(address.parse().map_err(|_| wrong("`to` holds something that is no mail address"))?);
    }
    let letter = letter.body(message.plain()).map_err(|_| wrong("the mail cannot be put together"))?;
    // The server's own words may repeat an address.
    builder.build().send(letter).await.map(drop).map_err(|error| {
        let passing = !error.is_permanent();
        (if passing { "the mail server cannot be reached" } else { "the mail server refuses it" }.to_owned(), passing)
    })
}

async fn secret(source: &SecretSource, places: &Places<'_>) -> Result<SecretString, Failure> {
    match source {
        SecretSource::Env(variable) => match places.environment.get(variable).filter(|value| !value.is_empty()) {
            Some(value) => Ok(SecretString::from(value.clone())),
            None => Err((format!("the environment variable {variable} is not set"), false)),
        },
        SecretSource::File(path) => {
            let path = places.base_dir.join(path);
            let text = tokio::fs::read_to_string(&path)
                .await
                .map_err(|error| (format!("the secret file {} cannot be read: {error}", path.display()), false))?;
            Ok(SecretString::from(text.trim_end_matches(['\r', '\n']).to_owned()))
        }
        SecretSource::Vault(name) => {
            let vault = places.vault.as_ref().ok_or_else(|| ("no [vault] is configured".to_owned(), false))?;
            let opened = vault.get(name).await.map_err(|error| (error.to_string(), false))?;
            Ok(opened.value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with `printf '1767225600.{"a":1}' | openssl dgst -sha256 -hmac key`.
    #[test]
    fn the_signature_is_an_hmac_over_timestamp_and_body() {
        let [(_, timestamp), (_, signed)] = signature(&SecretString::from("key"), 1_767_225_600, r#"{"a":1}"#);
        assert_eq!(timestamp, "1767225600");
        assert_eq!(signed, "sha256=80f7b75f8618b9b24d72673996a625f1a43f7387a26b6739d667431724fe4d23");
    }
}
