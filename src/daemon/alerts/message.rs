//! What is said to people: counts, names and what to do; never anybody's data.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::rules::{Finding, State};
use crate::config::Config;

/// See the module. As it is, the body of a webhook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Message {
    pub kind: String,
    pub rule: String,
    /// Stays the same from the beginning of a state to its end.
    pub key: String,
    /// `firing` or `resolved`.
    pub state: String,
    pub title: String,
    pub text: String,
    pub hint: Option<String>,
    pub audience: Option<String>,
    pub destination: Option<String>,
    pub run_id: Option<String>,
    pub at: DateTime<Utc>,
    /// The run's page.
    pub link: Option<String>,
}

impl Message {
    pub(crate) fn of(finding: &Finding, config: &Config, at: DateTime<Utc>) -> Self {
        let fine = finding.state == State::Fine;
        let label =
            finding.audience.as_ref().map(|key| config.audience.get(key).map_or(key, |audience| &audience.label));
        let subject = label.or(finding.destination.as_ref()).map_or("Réveil", String::as_str);
        let title = match (finding.rule, fine) {
            ("failed_run", false) => format!("{subject}: run failed"),
            ("match_rate", false) => format!("{subject}: match rate fell"),
            ("below_minimum", false) => format!("{subject}: below the platform's minimum"),
            ("credential", false) => format!("{subject}: credential expires"),
            ("stale_audience", false) => format!("{subject}: stale"),
            ("rejected_share", false) => format!("{subject}: many members rejected"),
            (_, _) => format!("{subject}: recovered"),
        };
        let link = finding.run_id.as_ref().zip(config.server.public_url.as_ref()).and_then(|(run, url)| {
            let mut base = url.clone();
            base.path_segments_mut().ok()?.pop_if_empty().extend(["runs", run]);
            Some(base.into())
        });
        Self {
            kind: "alert".to_owned(),
            rule: finding.rule.to_owned(),
            key: finding.key.clone(),
            state: if fine { "resolved" } else { "firing" }.to_owned(),
            title,
            text: finding.text.clone(),
            hint: finding.hint.clone().filter(|_| !fine),
            audience: finding.audience.clone(),
            destination: finding.destination.clone(),
            run_id: finding.run_id.clone(),
            at,
            link,
        }
    }

    /// What `reveil alerts test` sends.
    pub(crate) fn test(at: DateTime<Utc>) -> Self {
        Self {
            kind: "test".to_owned(),
            rule: "test".to_owned(),
            key: "test".to_owned(),
            state: "firing".to_owned(),
            title: "Réveil: a test".to_owned(),
            text: "This channel works. Nothing is wrong.".to_owned(),
            hint: None,
            audience: None,
            destination: None,
            run_id: None,
            at,
            link: None,
        }
    }

    /// Plain text, for chat and mail.
    pub(crate) fn plain(&self) -> String {
        let mut text = self.text.clone();
        for (before, part) in [("\nWhat to do: ", &self.hint), ("\n", &self.link)] {
            if let Some(part) = part {
                text.push_str(before);
                text.push_str(part);
            }
        }
        text
    }
}
