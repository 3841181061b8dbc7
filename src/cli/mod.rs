//! The command line: one file per command. Tables for people, `--json` for programs; progress goes to stderr.

pub mod alerts;
pub mod audience;
pub mod audit;
pub mod check;
pub mod connect;
pub mod connector;
pub mod demo;
pub mod exit;
pub mod forget;
pub mod health;
pub mod holdout;
pub mod identify;
pub mod init;
pub mod output;
pub mod plan;
pub mod report;
pub mod roi;
pub mod runs;
pub mod sandbox;
pub mod segment;
pub mod serve;
pub mod setup;
pub mod state;
pub mod status;
pub mod sync;
pub mod table;
pub mod token;
pub mod vault;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::Exit;
use setup::Global;

/// Wakes dormant customers: keeps ad audiences equal to a warehouse's inactive segment.
#[derive(Debug, Parser)]
#[command(name = "reveil", version, about, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole line on made-up people with real purchase histories: nothing to set up
    Demo(demo::DemoArgs),
    /// Write a commented reveil.toml and .env to start from
    Init(init::InitArgs),
    /// Look whether config, warehouse, credentials and terms are in order; writes nothing
    Check(check::CheckArgs),
    /// Who is inactive: the SQL, the count, a masked preview
    #[command(subcommand)]
    Segment(segment::SegmentCommand),
    /// What a sync would do; sends nothing
    Plan(plan::PlanArgs),
    /// Bring the destinations of an audience up to date
    Sync(sync::SyncArgs),
    /// Work as a service: schedules, HTTP API, pages, alerts
    Serve(serve::ServeArgs),
    /// What each audience holds, what waits, when it ran last
    Status(status::StatusArgs),
    /// Whether the daemon of this configuration is ready; for health checks of containers
    Health(health::HealthArgs),
    /// The latest runs; cancel one
    Runs(runs::RunsArgs),
    /// Match rates, audiences, identifiers
    #[command(subcommand)]
    Report(report::ReportCommand),
    /// What waking them is worth: projection, planning and measurement
    #[command(subcommand)]
    Roi(roi::RoiCommand),
    /// The control group
    #[command(subcommand)]
    Holdout(holdout::HoldoutCommand),
    /// How a platform's rules treat identifiers of your own
    Identify(identify::IdentifyArgs),
    /// Erase a person from every audience they were ever sent to, and keep them out
    Forget(forget::ForgetArgs),
    /// Who did what, and whether the log is as it was written
    Audit(audit::AuditArgs),
    /// Grant access to a destination in a browser; the tokens go into the vault
    Connect(connect::ConnectArgs),
    /// The master key and the secrets sealed with it
    #[command(subcommand)]
    Vault(vault::VaultCommand),
    /// Where runs, jobs and the audit log are kept
    #[command(subcommand)]
    State(state::StateCommand),
    /// The platforms this build knows
    #[command(subcommand)]
    Connector(connector::ConnectorCommand),
    /// Delete an audience on a platform, or forget what was sent to it
    #[command(subcommand)]
    Audience(audience::AudienceCommand),
    /// What people are told when something is wrong
    #[command(subcommand)]
    Alerts(alerts::AlertsCommand),
    /// Simulated platforms on this machine
    Sandbox(sandbox::SandboxArgs),
    /// Who may call the HTTP API
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// The OpenAPI document of the HTTP API on stdout
    Openapi,
    /// Shell completions on stdout
    Completions { shell: clap_complete::Shell },
    /// Runs an ADBC driver for the parent process
    #[command(name = "__adbc", hide = true)]
    AdbcChild,
}

/// Parses, runs, maps errors to exit codes.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    leave_when_nobody_reads();
    setup::logging(&cli.global, matches!(cli.command, Command::Serve(_)));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return Exit::Failed.into();
        }
    };
    let result = runtime.block_on(run(cli));
    // A warehouse query that is being cancelled must not hold the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    crate::telemetry::log::finish();
    match result {
        Ok(exit) => exit.into(),
        Err(error) => exit::report(&error).into(),
    }
}

/// `… | head`: whoever read has seen enough, which is no error.
fn leave_when_nobody_reads() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or_default();
        if text.starts_with("failed printing to std") && text.contains("Broken pipe") {
            std::process::exit(0);
        }
        usual(panic);
    }));
}

async fn run(cli: Cli) -> anyhow::Result<Exit> {
    let global = cli.global;
    let mut out = std::io::stdout().lock();
    match cli.command {
        Command::Demo(args) => demo::run(args).await,
        Command::Init(args) => init::run(&args),
        Command::Check(args) => check::run(&global, args).await,
        Command::Segment(command) => segment::run(&global, command).await,
        Command::Plan(args) => plan::run(&global, args).await,
        Command::Sync(args) => sync::run(&global, args).await,
        Command::Serve(args) => serve::run(&global, args).await,
        Command::Alerts(command) => alerts::run(&global, command).await,
        Command::Status(args) => status::run(&global, args).await,
        Command::Health(args) => health::run(&global, args).await,
        Command::Runs(args) => runs::run(&global, args).await,
        Command::Report(command) => report::run(&global, command).await,
        Command::Roi(command) => roi::run(&global, command, &mut out).await.map(|()| Exit::Done),
        Command::Holdout(command) => holdout::run(command, &mut out).map(|()| Exit::Done),
        Command::Identify(args) => identify::run(&args),
        Command::Forget(args) => forget::run(&global, args).await,
        Command::Audit(args) => audit::run(&global, args).await,
        Command::Connect(args) => connect::run(&global, args).await,
        Command::Vault(command) => vault::run(&global, command).await,
        Command::State(command) => state::run(&global, command).await,
        Command::Connector(command) => connector::run(&command),
        Command::Audience(command) => audience::run(&global, command).await,
        Command::Sandbox(args) => sandbox::run(args).await,
        Command::Token(command) => token::run(&global, command).await,
        Command::Openapi => {
            write!(out, "{}", crate::http::openapi::pretty())?;
            Ok(Exit::Done)
        }
        Command::Completions { shell } => {
            use clap::CommandFactory as _;
            clap_complete::generate(shell, &mut Cli::command(), "reveil", &mut out);
            Ok(Exit::Done)
        }
        Command::AdbcChild => {
            // The parent reads the error, which is made for it.
            Ok(match crate::warehouse::adbc_child_main(std::io::stdin().lock(), out) {
                Ok(()) => Exit::Done,
                Err(line) => {
                    eprintln!("{line}");
                    Exit::Failed
                }
            })
        }
    }
}
