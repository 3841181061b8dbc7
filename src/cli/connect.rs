//! `reveil connect`: a person grants access to a destination in a browser; the tokens go into the vault.

use std::io::{BufRead as _, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use reveil_sdk::OAuthSpec;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use url::Url;

use super::exit::{CliError, Exit};
use super::setup::{Global, engine, print_json};
use crate::config::DestinationConfig;
use crate::config::destination::{Credentials, SecretSource};
use crate::connectors;
use crate::store::audit::local_actor;
use crate::sync::Engine;
use crate::transport::http;
use crate::vault::connect::{Asker, Question, denied, timed_out};
use crate::vault::credential::{KIND, StoredGrant};
use crate::vault::loopback::Loopback;
use crate::vault::{Vault, VaultError};

/// Where a browser ends that cannot reach the machine the command runs on: the address is copied from there.
const PASTE_REDIRECT: &str = "http://127.0.0.1:8751/callback";

/// See the module.
#[derive(Debug, Args)]
pub struct ConnectArgs {
    /// The destination of the config
    destination: String,
    /// For machines without a browser: open the address elsewhere and paste where it ends, or the code, on stdin
    #[arg(long)]
    paste: bool,
    /// Open the address in this machine's browser
    #[arg(long, conflicts_with = "paste")]
    open: bool,
    /// Port on 127.0.0.1 that the browser comes back to; 0 takes a free one
    #[arg(long, default_value_t = 0, conflicts_with = "paste")]
    port: u16,
    /// The address registered with the platform, when it takes no loopback address
    #[arg(long, requires = "paste", value_name = "URL")]
    redirect_uri: Option<Url>,
    /// Read the client's secret from the first line of stdin, when the config does not name its place
    #[arg(long)]
    client_secret_stdin: bool,
    /// Wait so long for the answer
    #[arg(long, default_value_t = 300, value_name = "SECS")]
    timeout_secs: u64,
    /// One JSON document at the end
    #[arg(long)]
    json: bool,
}

/// # Errors
/// The destination cannot be connected so, nobody answered, access was refused, or the vault does not open.
pub async fn run(global: &Global, args: ConnectArgs) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    let name = &args.destination;
    let config = engine.config.destination(name)?;
    let descriptor = connectors::find(&config.connector).expect("checked when the config was loaded").descriptor;
    let spec = descriptor.oauth.ok_or_else(|| {
        CliError::new(Exit::Usage, format!("{} needs no browser: its credential is made there and set here", descriptor.label))
            .hint(format!("`reveil vault set NAME` takes it on stdin; then credentials = {{ vault = \"NAME\" }} in [destination.{name}]"))
    })?;
    let secret = secret_name(name, config, &spec)?;
    let vault = engine.vault()?;
    let asker = asker(&engine, &args, config, spec, &vault, &secret).await?;
    let http = http::client(Duration::from_secs(config.timeout_secs))?;
    let (question, code) = if args.paste { pasted(&args, &asker)? } else { answered(&args, &asker).await? };
    let grant = asker.redeem(question, code, &http, &*engine.clock).await?;
    let now = engine.clock.now();
    let meta = grant.meta(Some(name.clone()));
    vault.set(&secret, &grant.to_secret(), meta.clone(), now).await?;
    let detail = serde_json::json!({ "secret": secret, "connector": config.connector, "scopes": grant.scopes, "expires_at": meta.expires_at });
    engine.store.audit(now, &local_actor(), "connect", name, &detail).await?;
    if args.json {
        print_json(
            &serde_json::json!({ "destination": name, "secret": secret, "expires_at": meta.expires_at, "scopes": grant.scopes }),
        )?;
        return Ok(Exit::Done);
    }
    println!("Connected {name}; the grant is sealed in the vault as `{secret}`.");
    match meta.expires_at {
        Some(end) => {
            println!("It ends {} and is renewed before, as long as Réveil runs.", end.format("%Y-%m-%d %H:%M UTC"))
        }
        None => println!("The platform states no end of it."),
    }
    Ok(Exit::Done)
}

/// The vault's name for the grant, as the destination's credentials say.
fn secret_name(name: &str, config: &DestinationConfig, spec: &OAuthSpec) -> Result<String, CliError> {
    let source = match &config.credentials {
        Credentials::One(source) => Some(source),
        Credentials::Named(named) => named.get(spec.token),
        Credentials::None => None,
    };
    match source {
        Some(SecretSource::Vault(secret)) => Ok(secret.clone()),
        _ => Err(CliError::new(Exit::Usage, format!("destination.{name} does not take its credential from the vault"))
            .hint(format!("write credentials = {{ vault = \"{name}\" }} in [destination.{name}]"))),
    }
}

async fn asker(
    engine: &Engine,
    args: &ConnectArgs,
    config: &DestinationConfig,
    spec: OAuthSpec,
    vault: &Vault,
    secret: &str,
) -> anyhow::Result<Asker> {
    // A secret that does not open must not be written over by somebody who has the wrong key.
    let earlier = match vault.find(secret).await {
        Ok(opened) => opened.filter(|opened| opened.meta.kind == KIND),
        Err(error @ VaultError::Tampered { .. }) => {
            eprintln!("{error}; it is replaced");
            None
        }
        Err(error) => return Err(error.into()),
    };
    let earlier = earlier.and_then(|opened| StoredGrant::read(&opened, secret).ok());
    let client_id = earlier.as_ref().map(|grant| grant.client_id.clone());
    let client_secret = if args.client_secret_stdin {
        Some(read_line().context("no client secret on stdin")?)
    } else {
        match &config.credentials {
            Credentials::Named(named) if named.contains_key(spec.client_secret) => {
                let mut alone = config.clone();
                let source = named[spec.client_secret].clone();
                alone.credentials = Credentials::Named([(spec.client_secret.to_owned(), source)].into());
                let mut secrets = connectors::read_secrets(&args.destination, &alone, &engine.places(&alone)?).await?;
                secrets.by_name.remove(spec.client_secret)
            }
            _ => earlier.and_then(|grant| grant.client_secret),
        }
    };
    Ok(Asker::new(spec, config, client_id, client_secret, engine.config.warehouse.synthetic)?)
}

/// Asks here, is answered by paste.
fn pasted(args: &ConnectArgs, asker: &Asker) -> anyhow::Result<(Question, String)> {
    let redirect = args.redirect_uri.clone().unwrap_or_else(|| PASTE_REDIRECT.parse().expect("a URL"));
    let question = asker.ask(redirect);
    show(&question)?;
    eprintln!("Open it in a browser, allow the access, and paste here the address the browser ends on:");
    let answer = read_line().map_err(|_| CliError::new(Exit::Permission, "nothing was pasted"))?;
    let code = question.read_pasted(&answer)?;
    Ok((question, code))
}

/// Asks here, is answered by the browser.
async fn answered(args: &ConnectArgs, asker: &Asker) -> anyhow::Result<(Question, String)> {
    let place = Loopback::bind(args.port).await.with_context(|| format!("cannot listen on 127.0.0.1:{}", args.port))?;
    let question = asker.ask(place.url().clone());
    show(&question)?;
    eprintln!("Open it in a browser on this machine and allow the access; waiting {} s.", args.timeout_secs);
    if args.open {
        open(&question);
    }
    let waiting = tokio::time::timeout(Duration::from_secs(args.timeout_secs), place.answer(&question));
    let answer = waiting.await.map_err(|_| timed_out(args.timeout_secs))??;
    let code = answer.map_err(|word| denied(&word))?;
    Ok((question, code))
}

/// On stderr, so that stdout stays for the result.
fn show(question: &Question) -> anyhow::Result<()> {
    let mut err = std::io::stderr().lock();
    writeln!(err, "\n  {}\n", question.url)?;
    Ok(err.flush()?)
}

fn open(question: &Question) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let started = std::process::Command::new(program)
        .arg(question.url.as_str())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn();
    if started.is_err() {
        eprintln!("No browser could be started ({program}); open the address yourself.");
    }
}

/// One line of stdin.
pub(super) fn read_line() -> std::io::Result<SecretString> {
    let mut line = Zeroizing::new(String::new());
    if std::io::stdin().lock().read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(SecretString::from(line.trim_end_matches(['\r', '\n'])))
}
