//! Placeholder while the room is built.

use super::{exit::Exit};
#[derive(Debug, clap::Args)] pub struct DemoArgs;

pub async fn run(_: DemoArgs) -> anyhow::Result<Exit> { Ok(Exit::Done) }
