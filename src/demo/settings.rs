//! The configuration of the demonstration, as a user would write it.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// What the sandbox accepts; no secret of anybody.
const SECRETS: [(&str, &str); 3] = [
    ("SANDBOX_META_TOKEN", "sandbox-meta-token"),
    ("SANDBOX_GOOGLE_CLIENT_SECRET", "sandbox-google-client-secret"),
    ("SANDBOX_GOOGLE_REFRESH_TOKEN", "sandbox-google-refresh-token"),
];

/// As environment variables.
pub fn secrets() -> impl Iterator<Item = (String, String)> {
    SECRETS.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()))
}

/// Media money of the demonstration, in pounds: what the sober golden example spends per person, rounded.
pub fn budget(people: u64) -> f64 {
    (people as f64 * 0.05 / 10.0).round() * 10.0
}

/// Writes `reveil.toml` and `.env` into `dir`; returns the former's path.
///
/// # Errors
/// With the file's name.
pub fn write(dir: &Path, port: u16) -> anyhow::Result<PathBuf> {
    let config = include_str!("reveil.toml").replace("{port}", &port.to_string());
    let config = config.replace("{warehouse}", &absolute(dir).join("shop.db").display().to_string());
    let environment: String = SECRETS.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    for (name, text) in [("reveil.toml", config), (".env", environment)] {
        let path = dir.join(name);
        std::fs::write(&path, text)
            .map_err(|error| anyhow::anyhow!("{} cannot be written: {error}", path.display()))?;
    }
    Ok(dir.join("reveil.toml"))
}

/// The key of the members' keys, made of the seed: the same seed shows the same figures. Real ones are random.
///
/// # Errors
/// With the file's name.
pub fn write_member_key(state_dir: &Path, seed: u64) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let key = Sha256::new().chain_update(b"reveil demo").chain_update(seed.to_be_bytes()).finalize();
    let path = state_dir.join("member.key");
    let mut options = std::fs::OpenOptions::new();
    options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, &key))
        .map_err(|error| anyhow::anyhow!("{} cannot be written: {error}", path.display()))
}

fn absolute(dir: &Path) -> PathBuf {
    std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned())
}
