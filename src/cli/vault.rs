//! `reveil vault`: the master key and the secrets sealed with it. Values come on stdin, never as arguments, and are
//! never shown.

use std::io::Read as _;
use std::path::PathBuf;

use clap::Subcommand;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use super::exit::{CliError, Exit};
use super::setup::{Global, engine, load, print_json};
use super::table::{Align, Table};
use crate::config::vault::KeySource;
use crate::store::audit::local_actor;
use crate::vault::{self, SecretMeta, key};

/// A credential is a few kilobytes at most.
const MOST_BYTES: u64 = 64 * 1024;

/// See the module.
#[derive(Debug, Subcommand)]
pub enum VaultCommand {
    /// Make a master key: into a file, or with --stdout for a secret store
    Init {
        /// The file; default what [vault] master_key says. Never overwritten
        #[arg(long, value_name = "FILE", conflicts_with = "stdout")]
        file: Option<PathBuf>,
        /// Print it instead, for an environment variable
        #[arg(long)]
        stdout: bool,
    },
    /// Seal a secret that is read from stdin
    Set { name: String },
    /// What is sealed, without opening it
    List {
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
    /// Delete a secret
    Delete {
        name: String,
        /// Really do it
        #[arg(long)]
        yes: bool,
    },
    /// Seal everything anew under the current master key; keys before it stay in [vault] old_keys until nothing uses them
    Rotate {
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
}

/// # Errors
/// No or a wrong key, the state, or nothing on stdin.
pub async fn run(global: &Global, command: VaultCommand) -> anyhow::Result<Exit> {
    match command {
        VaultCommand::Init { file, stdout } => init(global, file, stdout),
        VaultCommand::Set { name } => set(global, &name).await,
        VaultCommand::List { json } => list(global, json).await,
        VaultCommand::Delete { name, yes } => delete(global, &name, yes).await,
        VaultCommand::Rotate { json } => rotate(global, json).await,
    }
}

fn init(global: &Global, file: Option<PathBuf>, stdout: bool) -> anyhow::Result<Exit> {
    let key = key::generate()?;
    if stdout {
        println!("{}", key.as_str());
        return Ok(Exit::Done);
    }
    let path = match file {
        Some(path) => path,
        None => match load(global)?.0.vault.master_key {
            Some(KeySource::File(path)) => global.config.parent().unwrap_or(std::path::Path::new(".")).join(path),
            _ => {
                return Err(CliError::new(Exit::Usage, "where to? [vault] master_key names no file")
                    .hint("give --file master.key and write master_key = { file = \"master.key\" }, or --stdout")
                    .into());
            }
        },
    };
    key::write_private(&path, &format!("{}\n", key.as_str()))?;
    println!("Made a master key in {}. Keep a copy elsewhere: without it no secret opens.", path.display());
    Ok(Exit::Done)
}

async fn set(global: &Global, name: &str) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    let vault = engine.vault()?;
    let mut text = Zeroizing::new(String::new());
    std::io::stdin().lock().take(MOST_BYTES).read_to_string(&mut text)?;
    let value = text.trim_end_matches(['\r', '\n']);
    if value.is_empty() {
        return Err(CliError::new(Exit::Usage, "no secret came on stdin")
            .hint(format!("reveil vault set {name} < file"))
            .into());
    }
    let now = engine.clock.now();
    vault.set(name, &SecretString::from(value), SecretMeta::of_kind("secret"), now).await?;
    engine
        .store
        .audit(now, &local_actor(), "set_secret", name, &serde_json::json!({ "key_id": vault.key_id() }))
        .await?;
    println!("Sealed `{name}`.");
    Ok(Exit::Done)
}

async fn list(global: &Global, json: bool) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    let secrets = vault::list(&engine.store).await?;
    if json {
        print_json(&serde_json::json!({ "secrets": secrets }))?;
        return Ok(Exit::Done);
    }
    if secrets.is_empty() {
        println!("Nothing is sealed.");
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        ("secret", Align::Left),
        ("kind", Align::Left),
        ("key", Align::Left),
        ("set", Align::Left),
        ("ends", Align::Left),
    ]);
    for secret in secrets {
        let end = secret.meta.expires_at.map_or("-".to_owned(), |end| end.format("%Y-%m-%d %H:%M").to_string());
        table.row(vec![
            secret.name,
            secret.meta.kind,
            secret.key_id,
            secret.updated_at.format("%Y-%m-%d %H:%M").to_string(),
            end,
        ]);
    }
    print!("{}", table.render(0));
    Ok(Exit::Done)
}

async fn delete(global: &Global, name: &str, yes: bool) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    if !yes {
        return Err(CliError::new(Exit::Guarded, format!("this deletes `{name}` for good; nothing was done"))
            .hint("add --yes to do it")
            .into());
    }
    if !engine.store.delete_secret(name).await? {
        return Err(vault::VaultError::Absent { name: name.to_owned() }.into());
    }
    engine.store.audit(engine.clock.now(), &local_actor(), "delete_secret", name, &serde_json::json!({})).await?;
    println!("Deleted `{name}`.");
    Ok(Exit::Done)
}

async fn rotate(global: &Global, json: bool) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    let now = engine.clock.now();
    let rotated = engine.vault()?.rotate(now).await?;
    let detail =
        serde_json::json!({ "key_id": rotated.key_id, "sealed_anew": rotated.sealed_anew, "left": rotated.left });
    engine.store.audit(now, &local_actor(), "rotate_key", &rotated.key_id, &detail).await?;
    let complete = if rotated.left.is_empty() { Exit::Done } else { Exit::Partial };
    if json {
        print_json(&rotated)?;
        return Ok(complete);
    }
    println!("{} sealed anew under {}, {} were already.", rotated.sealed_anew, rotated.key_id, rotated.unchanged);
    for (key_id, secrets) in &rotated.left {
        println!("The key {key_id} still seals {secrets}; configure it in [vault] old_keys and rotate again.");
    }
    for key_id in &rotated.unused_keys {
        println!("Nothing uses the key {key_id} any more; it can leave [vault] old_keys.");
    }
    Ok(complete)
}
