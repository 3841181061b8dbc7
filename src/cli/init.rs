//! `reveil init`: a commented configuration to start from.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::exit::{CliError, Exit};

/// See the module.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where to write reveil.toml and .env
    #[arg(long, default_value = ".", value_name = "DIR")]
    dir: PathBuf,
}

const CONFIG: &str = include_str!("init/reveil.toml");
const ENVIRONMENT: &str = include_str!("../../.env.example");

/// # Errors
/// A file is there already, or cannot be written.
pub fn run(args: &InitArgs) -> anyhow::Result<Exit> {
    std::fs::create_dir_all(&args.dir).with_context(|| format!("{} cannot be made", args.dir.display()))?;
    let files = [(args.dir.join("reveil.toml"), CONFIG), (args.dir.join(".env"), ENVIRONMENT)];
    if let Some((path, _)) = files.iter().find(|(path, _)| path.exists()) {
        return Err(CliError::new(Exit::Usage, format!("{} is there already; nothing was written", path.display()))
            .hint("choose another --dir, or move the file away")
            .into());
    }
    for (path, text) in &files {
        write_private(path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    println!("Wrote {} and {}.", files[0].0.display(), files[1].0.display());
    println!("Next: name your tables and columns in reveil.toml, put secrets into .env, then\n  reveil check");
    Ok(Exit::Done)
}

/// Secrets go into these files: readable by the owner only.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
