//! Placeholder while the room is built.

use super::{exit::Exit};
#[derive(Debug, clap::Args)] pub struct SandboxArgs;

pub async fn run(_: SandboxArgs) -> anyhow::Result<Exit> { Ok(Exit::Done) }
