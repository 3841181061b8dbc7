//! The configuration of the demonstration, as a user would write it.

use std::path::{Path, PathBuf};

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

fn absolute(dir: &Path) -> PathBuf {
    std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned())
}
