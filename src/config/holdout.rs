//! `[holdout]`: people kept out of every audience, to see what all advertising together does.

use serde::{Deserialize, Serialize};

use super::share::Share;

/// See the module. An audience's own `holdout` comes on top: whoever either of them withholds is not sent.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HoldoutConfig {
    /// Share of people withheld from every audience, `"2%"`. Default none.
    #[serde(default)]
    pub share: Share,
    /// Decides who they are: another salt, other people. Default `universal`; change it only to start anew, because
    /// people withheld until then get advertised to.
    #[serde(default = "universal")]
    pub salt: String,
}

impl Default for HoldoutConfig {
    fn default() -> Self {
        Self { share: Share::default(), salt: universal() }
    }
}

fn universal() -> String {
    "universal".to_owned()
}

impl HoldoutConfig {
    pub(super) fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        if self.salt.trim().is_empty() {
            faults.push(("holdout.salt".into(), "is blank; name it, or leave it out for `universal`".into()));
        }
        if self.share.0 == 10_000 {
            faults.push(("holdout.share".into(), "withholds everybody; a few percent are usual".into()));
        }
        faults
    }
}
