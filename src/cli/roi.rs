//! `reveil roi`: what waking inactive customers is worth, before (`project`, `plan-holdout`) and after (`measure`).
//!
//! Parses, calls `crate::roi`, prints. Every subcommand has a page for people and `--json` for programs; the JSON field
//! names are a contract.

mod deliveries;
mod measure;
mod measure_page;
pub mod page;
mod plan;
mod project;
pub mod text;

use std::io::Write;

use super::setup::Global;

/// What a campaign is worth.
#[derive(Debug, clap::Subcommand)]
pub enum RoiCommand {
    /// Project baskets, buyers the ads cause, and return, with intervals, before spending
    Project(Box<project::ProjectArgs>),
    /// Tell whether a holdout of this size can show the effect, and what would
    PlanHoldout(Box<plan::PlanArgs>),
    /// Compare uploaded persons with those held out: lift, intervals, money
    Measure(Box<measure::MeasureArgs>),
    /// Take over what the platforms say was delivered, for the projections to learn from
    Deliveries(deliveries::DeliveriesArgs),
}

/// Runs one subcommand, writing its page or JSON to `out`.
///
/// # Errors
/// When an input is out of range (the message names the option and what is allowed) or `out` cannot be written.
pub async fn run(global: &Global, command: RoiCommand, out: &mut dyn Write) -> anyhow::Result<()> {
    match command {
        RoiCommand::Project(args) => project::run(global, &args, out).await,
        RoiCommand::PlanHoldout(args) => plan::run(&args, out),
        RoiCommand::Measure(args) => measure::run(global, *args, out).await,
        RoiCommand::Deliveries(args) => deliveries::run(global, &args, out).await,
    }
}

fn json(out: &mut dyn Write, value: &impl serde::Serialize) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{RoiCommand, run};

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        global: super::Global,
        #[command(subcommand)]
        command: RoiCommand,
    }

    /// What the command line prints, or its error.
    pub(super) fn printed(line: &str) -> anyhow::Result<String> {
        let cli = Cli::try_parse_from(std::iter::once("roi").chain(line.split_whitespace()))?;
        let mut out = Vec::new();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.block_on(run(&cli.global, cli.command, &mut out))?;
        Ok(String::from_utf8(out)?)
    }

    /// The JSON it prints.
    pub(super) fn json(line: &str) -> serde_json::Value {
        serde_json::from_str(&printed(line).unwrap_or_else(|e| panic!("{line}: {e}"))).expect("--json prints JSON")
    }

    /// Fails when a line is wider than a terminal.
    pub(super) fn fits(page: &str) {
        for line in page.lines() {
            assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
        }
    }

    #[test]
    fn arguments_describe_themselves() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        assert!(printed("project --help").unwrap_err().to_string().contains("--inactives"));
    }
}
