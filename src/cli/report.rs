//! Placeholder while the room is built.
use super::{exit::Exit, setup::Global};
use clap::Subcommand;
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    MatchRates,
}
pub async fn run(_: &Global, _: ReportCommand) -> anyhow::Result<Exit> {
    Ok(Exit::Done)
}
