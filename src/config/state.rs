//! `[state]`: where runs, jobs, schedules and the audit log are kept.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// See the module.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateConfig {
    /// A PostgreSQL database that several replicas share, `postgres://user:password@host:5432/database`; add
    /// `?sslmode=verify-full` beyond a trusted network. A proxy in between must pool sessions, not transactions.
    /// Default: SQLite in `state_dir`, for one machine.
    #[serde(default)]
    pub url: Option<SecretString>,
    /// Connections one replica keeps to it, at most. Default 8: every worker, the pages and the scheduler have one
    /// when they need it, and ten replicas stay under PostgreSQL's usual 100. SQLite does not use it.
    #[serde(default = "connections")]
    pub connections: u32,
    /// Seconds a call waits for a connection before it fails. Default 10: long enough for a restart of the server,
    /// short enough that a page can still say what is wrong.
    #[serde(default = "connect_timeout_secs")]
    pub connect_timeout_secs: u64,
}

impl Default for StateConfig {
    fn default() -> Self {
        Self { url: None, connections: connections(), connect_timeout_secs: connect_timeout_secs() }
    }
}

const fn connections() -> u32 {
    8
}

const fn connect_timeout_secs() -> u64 {
    10
}

impl StateConfig {
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.connect_timeout_secs)
    }

    pub(super) fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let scheme =
            self.url.as_ref().map(|url| url.expose_secret().split_once("://").map_or("", |(scheme, _)| scheme));
        if scheme.is_some_and(|scheme| !["postgres", "postgresql"].contains(&scheme)) {
            let message = "is not a PostgreSQL address; write postgres://user:password@host:5432/database, or leave it \
                           out for SQLite in state_dir";
            faults.push(("state.url".into(), message.into()));
        }
        if self.connections < 2 {
            faults.push((
                "state.connections".into(),
                "is too few; a claim and a page need one each, write 2 or more".into(),
            ));
        }
        if self.connect_timeout_secs == 0 {
            faults.push((
                "state.connect_timeout_secs".into(),
                "is 0, so that nothing would ever connect; 10 is usual".into(),
            ));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> StateConfig {
        toml::from_str(text).expect("it parses")
    }

    #[test]
    fn an_address_of_another_database_is_a_fault() {
        for (url, faulty) in
            [("postgres://h/d", false), ("postgresql://h/d", false), ("mysql://h/d", true), ("d", true)]
        {
            assert_eq!(!parsed(&format!("url = '{url}'")).faults().is_empty(), faulty, "{url}");
        }
        assert!(StateConfig::default().faults().is_empty());
    }

    #[test]
    fn debug_hides_the_password() {
        assert!(!format!("{:?}", parsed("url = 'postgres://u:s3cret@h/d'")).contains("s3cret"));
    }
}
