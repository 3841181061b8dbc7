use clap::Subcommand;
#[derive(Debug, Subcommand)]
pub enum HoldoutCommand { X }
pub fn run(_: HoldoutCommand, _: &mut dyn std::io::Write) -> anyhow::Result<()> { Ok(()) }
