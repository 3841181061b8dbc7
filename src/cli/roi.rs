use clap::Subcommand;
#[derive(Debug, Subcommand)]
pub enum RoiCommand { X }
pub fn run(_: RoiCommand, _: &mut dyn std::io::Write) -> anyhow::Result<()> { Ok(()) }
