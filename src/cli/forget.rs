//! `reveil forget`: a person leaves every audience they were ever sent to. Identifiers come on stdin or in a file,
//! never as arguments: those stand in process lists and shell histories.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use super::exit::{CliError, Exit};
use super::output::progress;
use super::setup::{Global, engine, print_json};
use super::table::{Align, Table};
use crate::daemon::work::owner::{Alive, end_leases_of_the_dead};
use crate::daemon::worker_name;
use crate::erasure::{self, Given, GivenKind, Receipt, RequestError, RequestStatus, Signer};
use crate::store::audit::local_actor;
use crate::sync::control::Unstoppable;
use crate::sync::{Engine, Progress};

/// No request of one person is larger.
const MOST_BYTES: u64 = 1 << 20;

/// See the module.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ForgetArgs {
    #[command(subcommand)]
    command: Option<ForgetCommand>,
    /// Read identifiers from this file instead of stdin: one a line, as email:…, phone:…, customer_id:…, or CSV with the
    /// columns kind, value and country
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Your own number for the request; kept and shown, so it must not name the person
    #[arg(long)]
    reference: Option<String>,
    /// Country of phone numbers without country code, as FR
    #[arg(long, value_name = "CODE")]
    country: Option<String>,
    /// Leave finding and removing to the daemon
    #[arg(long)]
    queue: bool,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

/// What else there is to a request.
#[derive(Debug, Subcommand)]
pub enum ForgetCommand {
    /// How far requests are, with their receipts
    Status {
        /// Only this one
        id: Option<String>,
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
    /// Take up what is not done: platforms that were away, verdicts that were awaited
    Resume {
        /// Only this one
        id: Option<String>,
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
    /// The public key that receipts are verified with
    Key,
    /// Whether receipts are genuine: a file with one, a list of them, or the JSON of `status ID`
    Verify {
        file: PathBuf,
        /// The key they must be signed with, 64 hexadecimal digits; default this installation's
        #[arg(long, value_name = "HEX")]
        key: Option<String>,
    },
}

/// # Errors
/// Identifiers that cannot be used, the state, a ledger.
pub async fn run(global: &Global, args: ForgetArgs) -> anyhow::Result<Exit> {
    match args.command {
        Some(ForgetCommand::Status { id, json }) => status(global, id, json).await,
        Some(ForgetCommand::Resume { id, json }) => resume(global, id, json).await,
        Some(ForgetCommand::Key) => {
            println!("{}", Signer::load(&engine(global).await?).await?.public_key());
            Ok(Exit::Done)
        }
        Some(ForgetCommand::Verify { file, key }) => verify(global, &file, key).await,
        None => request(global, args).await,
    }
}

async fn request(global: &Global, args: ForgetArgs) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    let given = read(args.file.as_deref(), args.country.as_deref())?;
    let request = erasure::request(&engine, &given, args.reference.as_deref(), &local_actor()).await;
    let request = request.map_err(|error| match error {
        RequestError::Other(error) => error,
        refused => CliError::new(Exit::Usage, format!("{refused}; nothing was done")).into(),
    })?;
    drop(given);
    if args.queue {
        return show(&[erasure::status(&engine, &request.id).await?], args.json, "Left to the daemon.");
    }
    let progress = progress(args.json);
    let status = carry_out(&engine, &request.id, &*progress).await?;
    show(&[status], args.json, "`reveil forget resume` takes up what is not done; a daemon does it by itself.")
}

/// In this process, which lives as long as it works on it: another command must not take it for dead.
async fn carry_out(engine: &Engine, id: &str, progress: &dyn Progress) -> anyhow::Result<RequestStatus> {
    let (owner, state_dir) = (worker_name(), &engine.config.state_dir);
    let _alive = Alive::announce(state_dir, &owner).context("cannot write to the state directory")?;
    end_leases_of_the_dead(&engine.store, state_dir, engine.clock.now()).await?;
    erasure::carry_out(engine, id, &owner, &Unstoppable, progress).await
}

async fn resume(global: &Global, id: Option<String>, json: bool) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    let open: Vec<String> = match id {
        Some(id) => vec![id],
        None => {
            all(&engine).await?.into_iter().filter(|status| status.state != "erased").map(|status| status.id).collect()
        }
    };
    let progress = progress(json);
    let mut carried = Vec::new();
    for id in open {
        carried.push(carry_out(&engine, &id, &*progress).await?);
    }
    show(&carried, json, "`reveil forget resume` takes up what is not done; a daemon does it by itself.")
}

async fn status(global: &Global, id: Option<String>, json: bool) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    match id {
        Some(id) => {
            let status = erasure::status(&engine, &id).await?;
            if json {
                print_json(&status)?;
            } else {
                show(&[status], false, "")?;
            }
        }
        None => {
            show(&all(&engine).await?, json, "")?;
        }
    }
    Ok(Exit::Done)
}

async fn all(engine: &Engine) -> anyhow::Result<Vec<RequestStatus>> {
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let page = engine.store.forget_requests(cursor.as_deref(), 200).await?;
        for request in page.items {
            let targets = engine.store.forget_targets(&request.id).await?;
            all.push(erasure::show(request, &targets));
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(all);
        }
    }
}

/// Shows requests; the exit code says whether all are done.
fn show(requests: &[RequestStatus], json: bool, next: &str) -> anyhow::Result<Exit> {
    let is = |state: &str| requests.iter().flat_map(|request| &request.targets).any(|target| target.state == state);
    let exit = if requests.iter().all(|request| request.state == "erased") {
        Exit::Done
    } else if is("removing") || is("blocked") {
        Exit::Partial
    } else {
        Exit::Pending
    };
    if json {
        match requests {
            [one] => print_json(one)?,
            several => print_json(&serde_json::json!({ "requests": several }))?,
        }
        return Ok(exit);
    }
    if requests.is_empty() {
        println!("Nobody asked to be forgotten.");
        return Ok(exit);
    }
    for request in requests {
        let reference = request.reference.as_ref().map_or(String::new(), |reference| format!(" ({reference})"));
        println!("Request {}{reference}: {}", request.id, request.state);
        if request.targets.is_empty() && request.state == "erased" {
            println!("  in no audience; left out of every one from now on");
        }
        let mut table = Table::new(&[
            ("audience", Align::Left),
            ("destination", Align::Left),
            ("state", Align::Left),
            ("tries", Align::Right),
        ]);
        for target in &request.targets {
            table.row([
                target.audience.clone(),
                target.destination.clone(),
                target.state.clone(),
                target.attempts.to_string(),
            ]);
        }
        if !table.is_empty() {
            print!("{}", table.render(2));
        }
        for target in request.targets.iter().filter(|target| target.error.is_some()) {
            println!("  {}: {}", target.destination, target.error.as_deref().unwrap_or_default());
        }
        if !request.receipts.is_empty() {
            println!("  {} receipts: reveil forget status {} --json", request.receipts.len(), request.id);
        }
    }
    println!("Out of reach:");
    for text in erasure::NOT_COVERED {
        println!("  - {text}");
    }
    if exit != Exit::Done && !next.is_empty() {
        println!("{next}");
    }
    Ok(exit)
}

async fn verify(global: &Global, file: &Path, key: Option<String>) -> anyhow::Result<Exit> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let receipts = receipts(&text).ok_or_else(|| {
        CliError::new(Exit::Usage, format!("{} holds no receipt", file.display()))
            .hint("`reveil forget status ID --json` writes them")
    })?;
    let key = match key {
        Some(key) => key.to_ascii_lowercase(),
        None => Signer::load(&engine(global).await?).await?.public_key(),
    };
    let mut bad = 0;
    for receipt in &receipts {
        let statement = &receipt.statement;
        let place = format!("{} at {}, request {}", statement.audience, statement.destination, statement.request);
        if !receipt.is_genuine() {
            bad += 1;
            println!("FALSE   {place}: not as it was signed");
        } else if receipt.public_key != key {
            bad += 1;
            println!("FOREIGN {place}: signed with the key {}", receipt.public_key);
        } else {
            println!(
                "GENUINE {place}: {} removed, erased {}",
                statement.members_removed,
                statement.erased_at.format("%Y-%m-%d %H:%M UTC")
            );
        }
    }
    Ok(if bad == 0 { Exit::Done } else { Exit::Failed })
}

fn receipts(text: &str) -> Option<Vec<Receipt>> {
    #[derive(serde::Deserialize)]
    struct Status {
        receipts: Vec<Receipt>,
    }
    let several = serde_json::from_str::<Vec<Receipt>>(text)
        .or_else(|_| serde_json::from_str::<Status>(text).map(|status| status.receipts));
    several.or_else(|_| serde_json::from_str::<Receipt>(text).map(|one| vec![one])).ok().filter(|all| !all.is_empty())
}

fn read(file: Option<&Path>, country: Option<&str>) -> anyhow::Result<Vec<Given>> {
    let mut text = Zeroizing::new(String::new());
    match file {
        Some(path) => std::fs::File::open(path)
            .and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text))
            .with_context(|| format!("cannot read {}", path.display()))?,
        None => std::io::stdin().lock().take(MOST_BYTES).read_to_string(&mut text).context("cannot read stdin")?,
    };
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let mut given = Vec::new();
    for (index, line) in reader.records().enumerate() {
        // The parser's own message may repeat the line.
        let line = line.map_err(|_| unreadable(index + 1))?;
        let fields: Vec<&str> = line.iter().collect();
        match fields.as_slice() {
            ["kind", "value", ..] | [""] => {}
            [single] => given.push(single_value(single, country).ok_or_else(|| unreadable(index + 1))?),
            [kind, value, rest @ ..] => {
                let kind = GivenKind::from_name(kind).ok_or_else(|| unreadable(index + 1))?;
                let own = rest.first().copied().filter(|code| !code.is_empty());
                given.push(Given {
                    kind,
                    value: SecretString::from(*value),
                    country: own.or(country).map(str::to_owned),
                });
            }
            [] => {}
        }
    }
    Ok(given)
}

/// `email:…`, or a value that says by itself what it is.
fn single_value(text: &str, country: Option<&str>) -> Option<Given> {
    let named = text.split_once(':').and_then(|(kind, value)| Some((GivenKind::from_name(kind.trim())?, value)));
    let (kind, value) = match named {
        Some(named) => named,
        None if text.contains('@') => (GivenKind::Email, text),
        None if text.starts_with('+') => (GivenKind::Phone, text),
        None => return None,
    };
    Some(Given { kind, value: SecretString::from(value.trim()), country: country.map(str::to_owned) })
}

fn unreadable(line: usize) -> CliError {
    CliError::new(Exit::Usage, format!("line {line} is no identifier; nothing was done"))
        .hint("write email:…, phone:… or customer_id:…, one a line, or CSV with the columns kind, value and country")
}
