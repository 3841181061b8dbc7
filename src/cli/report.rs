//! Placeholder while the room is built.
use clap::Subcommand;
use super::{exit::Exit, setup::Global};
#[derive(Debug, Subcommand)]
pub enum ReportCommand { MatchRates }
pub async fn run(_: &Global, _: ReportCommand) -> anyhow::Result<Exit> { Ok(Exit::Done) }
