//! `reveil sandbox`: simulated platforms on this machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::Args;
use reveil_sandbox::{Delays, Faults, RealTime, Sandbox, Settings};

use super::exit::Exit;
use super::setup::instant;

/// Where it listens unless told otherwise.
pub const DEFAULT_PORT: u16 = 7411;

/// See the module.
#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = DEFAULT_PORT)]
    port: u16,
    /// A directory that `reveil demo --keep` left: its people, accounts and platform state
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Accounts of the simulated platforms, as `reveil demo data` writes them
    #[arg(long, value_name = "FILE.csv")]
    accounts: Option<PathBuf>,
    /// People with names and postcodes, for matching by them
    #[arg(long, value_name = "FILE.csv")]
    contacts: Option<PathBuf>,
    /// Keep the platforms' state in this file over restarts
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Seconds of the platforms' time per real second
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Start the platforms' clock at this date or instant; default now
    #[arg(long, value_parser = instant, value_name = "DATE")]
    as_of: Option<DateTime<Utc>>,
    /// Let the platforms take their usual time to decide; without it they decide at once
    #[arg(long)]
    delays: bool,
    /// Enforce the platforms' quotas
    #[arg(long)]
    quotas: bool,
    /// Faults to inject, as in "meta.users.add:throttle=613@0.05"; the sandbox's README lists them
    #[arg(long, default_value = "", value_name = "RULES")]
    faults: String,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Serves until Ctrl-C or SIGTERM.
///
/// # Errors
/// The port is taken, a file cannot be read, a fault rule is wrong.
pub async fn run(args: SandboxArgs) -> anyhow::Result<Exit> {
    let in_dir = |name: &str| args.dir.as_ref().map(|dir| dir.join(name)).filter(|path| path.exists());
    let offset = args.as_of.map_or_else(chrono::TimeDelta::zero, |at| at - Utc::now());
    let faults: Faults = if args.faults.is_empty() {
        Faults::NONE
    } else {
        args.faults.parse().map_err(|error| anyhow::anyhow!("--faults: {error}"))?
    };
    let settings = Settings {
        accounts: args.accounts.clone().or_else(|| in_dir("accounts.csv")),
        contacts: args.contacts.clone().or_else(|| in_dir("contacts.csv")),
        state: args.state.clone().or_else(|| args.dir.as_ref().map(|dir| dir.join("sandbox.json"))),
        time: Arc::new(RealTime::new(args.speed, offset)),
        faults,
        seed: args.seed,
        enforce_quotas: args.quotas,
        delays: if args.delays { Delays::default() } else { Delays::none() },
        ..Settings::default()
    };
    let sandbox = Sandbox::start(SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)), settings)
        .await
        .with_context(|| format!("the sandbox cannot start on port {}", args.port))?;
    println!("Simulated platforms, on this machine only:");
    println!("  meta     {}   token: sandbox-meta-token", sandbox.base_url("meta"));
    println!("  google   {}   token endpoint: {}", sandbox.base_url("google"), sandbox.token_url());
    println!("  control  {}", sandbox.base_url("control"));
    println!("Ctrl-C ends it.");
    stopped().await?;
    sandbox.stop().await?;
    Ok(Exit::Done)
}

async fn stopped() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}
