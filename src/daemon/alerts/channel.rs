//! How a message gets there: webhook, chat, mail. One try; who calls tries again.

use std::error::Error as _;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lettre::address::Envelope;
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::response::Category;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message as Mail, Tokio1Executor};
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tracing::warn;

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

/// Sends a message once. `now` is what a signature is dated by: receivers refuse old ones, and a message may have been
/// tried before.
///
/// # Errors
/// A secret is missing, or whoever listens there refuses or is away.
pub(crate) async fn send(
    name: &str,
    channel: &ChannelConfig,
    message: &Message,
    places: &Places<'_>,
    now: DateTime<Utc>,
) -> Result<(), ChannelError> {
    let fail = |(what, passing): (String, bool)| ChannelError { channel: name.to_owned(), what, passing };
    match channel {
        ChannelConfig::Webhook { url, signing_key, timeout } => {
            let key = match signing_key {
                Some(source) => Some(secret(source, places).await.map_err(fail)?),
                None => None,
            };
            let body = serde_json::to_string(message).map_err(|error| fail((error.to_string(), false)))?;
            let headers = key.map(|key| signature(&key, now.timestamp(), &body));
            post(url, body, headers, timeout.0, places).await.map_err(fail)
        }
        ChannelConfig::Slack { url, timeout } => {
            let mark = if message.state == "resolved" { ":white_check_mark:" } else { ":warning:" };
            let (title, plain) = (chat_text(&message.title), chat_text(&message.plain()));
            let body = json!({ "text": format!("{mark} *{title}*\n{plain}") }).to_string();
            post(url, body, None, timeout.0, places).await.map_err(fail)
        }
        ChannelConfig::Email { .. } => mail(name, channel, message, places).await.map_err(fail),
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

/// What is no markup. <https://docs.slack.dev/messaging/formatting-message-text>, "Escaping text".
fn chat_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

async fn mail(name: &str, channel: &ChannelConfig, message: &Message, places: &Places<'_>) -> Result<(), Failure> {
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
    let transport = builder.build();
    let letter = letter(from, to, message)?;
    let (envelope, letter) = (letter.envelope(), letter.formatted());
    match transport.send_raw(envelope, &letter).await {
        Ok(_) => Ok(()),
        // One address that is refused must not keep the message from the others.
        Err(error) if to.len() > 1 && is_about_mail(&error) => {
            let mut refused = 0;
            for address in envelope.to() {
                let alone = Envelope::new(envelope.from().cloned(), vec![address.clone()])
                    .map_err(|_| wrong("the mail cannot be put together"))?;
                refused += usize::from(transport.send_raw(&alone, &letter).await.is_err());
            }
            if refused == to.len() {
                return Err(mail_failure(&error));
            }
            warn!(channel = name, refused, addresses = to.len(), "A mail was refused for some of its addresses");
            Ok(())
        }
        Err(error) => Err(mail_failure(&error)),
    }
}

fn letter(from: &str, to: &[String], message: &Message) -> Result<Mail, Failure> {
    let wrong = |what: &str| (what.to_owned(), false);
    let from: Mailbox = from.parse().map_err(|_| wrong("`from` is no mail address"))?;
    // The same at each try: a server that took a letter whose receipt was lost recognises the second one.
    let seed = format!("{} {} {}", message.key, message.state, message.at.to_rfc3339());
    let id = const_hex::encode(&Sha256::digest(seed)[..16]);
    let id = format!("<{id}@{}>", from.email.domain());
    // RFC 3834: nobody's absence note answers it.
    let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    let mut letter = Mail::builder()
        .from(from)
        .subject(format!("[Réveil] {}", message.title))
        .date(message.at.into())
        .message_id(Some(id))
        .header(ContentType::TEXT_PLAIN)
        .raw_header(automatic);
    for address in to {
        letter = letter.to(address.parse().map_err(|_| wrong("`to` holds something that is no mail address"))?);
    }
    letter.body(message.plain()).map_err(|_| wrong("the mail cannot be put together"))
}

/// A lasting refusal of this sender, these addresses or this letter; not of the login or of what was said.
fn is_about_mail(error: &smtp::Error) -> bool {
    error.is_permanent() && error.status().is_some_and(|status| status.category == Category::MailSystem)
}

/// A handshake that failed shows as a connection that did.
fn is_tls_fault(error: &smtp::Error) -> bool {
    let sources = std::iter::successors(error.source(), |&error| error.source());
    let mut io = sources.filter_map(|error| error.downcast_ref::<std::io::Error>()?.get_ref());
    io.any(|inner| inner.is::<rustls::Error>())
}

/// The server's own words may repeat an address; its status says enough.
fn mail_failure(error: &smtp::Error) -> Failure {
    if let Some(status) = error.status() {
        return (format!("the mail server refuses it with status {status}"), !error.is_permanent());
    }
    if error.is_client() {
        return ("the mail server offers no STARTTLS, or no way to log in".to_owned(), false);
    }
    let what = if error.is_timeout() {
        "no answer in time from the mail server"
    } else if error.is_tls() || is_tls_fault(error) {
        "no TLS with the mail server: it speaks none, or its certificate is not trusted"
    } else {
        "the mail server cannot be reached"
    };
    (what.to_owned(), true)
}

/// Key, what is wrong, what to do.
pub(crate) type Fault = (String, String, &'static str);

/// What keeps a channel from working that can be seen without sending anything.
pub(crate) async fn faults(name: &str, channel: &ChannelConfig, places: &Places<'_>) -> Vec<Fault> {
    let (secrets, address): (Vec<(&str, &SecretSource)>, _) = match channel {
        ChannelConfig::Webhook { url, signing_key, .. } => {
            (signing_key.iter().map(|source| ("signing_key", source)).collect(), Some(url))
        }
        ChannelConfig::Slack { url, .. } => (Vec::new(), Some(url)),
        ChannelConfig::Email { password, .. } => (password.iter().map(|source| ("password", source)).collect(), None),
    };
    let mut faults = Vec::new();
    let key = |field: &str| format!("alerts.channel.{name}.{field}");
    for (field, source) in secrets {
        if let Err((what, _)) = secret(source, places).await {
            faults.push((key(field), what, remedy(source)));
        }
    }
    if let Some(Address::Secret(source)) = address {
        match secret(source, places).await {
            Err((what, _)) => faults.push((key("url"), what, remedy(source))),
            Ok(text) if text.expose_secret().trim().parse::<url::Url>().is_err() => {
                faults.push((key("url"), "its address is no URL".to_owned(), "put https://… there, whole"));
            }
            Ok(_) => {}
        }
    }
    faults
}

const fn remedy(source: &SecretSource) -> &'static str {
    match source {
        SecretSource::Env(_) => "export it, or write it into .env beside the config",
        SecretSource::File(_) => "write the secret into that file, readable by the daemon alone",
        SecretSource::Vault(_) => "set it with `reveil vault set`; `reveil vault list` shows those there are",
    }
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

    #[test]
    fn a_chat_reads_text_as_text() {
        assert_eq!(chat_text("a < b & <!channel>"), "a &lt; b &amp; &lt;!channel&gt;");
    }

    /// Computed with `printf '1767225600.{"a":1}' | openssl dgst -sha256 -hmac key`.
    #[test]
    fn the_signature_is_an_hmac_over_timestamp_and_body() {
        let [(_, timestamp), (_, signed)] = signature(&SecretString::from("key"), 1_767_225_600, r#"{"a":1}"#);
        assert_eq!(timestamp, "1767225600");
        assert_eq!(signed, "sha256=80f7b75f8618b9b24d72673996a625f1a43f7387a26b6739d667431724fe4d23");
    }
}
