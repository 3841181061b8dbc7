//! `schedule` and `full_sync` of an audience: when it is refreshed by `reveil serve`, and what happens to times missed.

use std::str::FromStr as _;

use chrono_tz::Tz;
use croner::Cron;
use serde::{Deserialize, Serialize};

use super::period::Period;

/// When: `{ cron = "0 5 * * *", timezone = "Europe/Paris" }` or `{ every = "6h" }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Five-field cron expression: `0 5 * * *`. One that names hours fires once at each local time it names, whatever
    /// daylight saving does: a time that is skipped fires when the clock has jumped, one that comes twice fires the
    /// first time. One for every hour (`*/15 * * * *`) keeps its pace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// IANA name for `cron`: `Europe/Paris`. Default `UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// A fixed pace instead of `cron`: `"6h"`, counted from 1970-01-01 UTC so that all replicas agree. At least `"1s"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Period>,
}

/// What becomes of times that passed while nobody was there to fire them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// Nothing.
    None,
    /// The latest is made up for.
    #[default]
    Latest,
    /// Each is made up for, as of its own time, oldest first; of very many only the latest.
    All,
}

impl Schedule {
    /// The parsed expression and its zone; `None` for a fixed pace.
    ///
    /// # Errors
    /// What to write instead.
    pub(crate) fn parse_cron(&self) -> Result<Option<(Cron, Tz)>, String> {
        let Some(text) = &self.cron else { return Ok(None) };
        if text.split_whitespace().count() != 5 {
            return Err(format!(
                "`{text}` has not five fields; write minute, hour, day, month, weekday, as in \"0 5 * * *\""
            ));
        }
        let cron = Cron::from_str(text).map_err(|error| format!("`{text}` is not a cron expression: {error}"))?;
        let zone = self.timezone.as_deref().unwrap_or("UTC");
        let zone = zone
            .parse::<Tz>()
            .map_err(|_| format!("`{zone}` is not a time zone; write an IANA name like \"Europe/Paris\""))?;
        Ok(Some((cron, zone)))
    }

    /// What is wrong with it, below `key`.
    pub(super) fn faults(&self, key: &str) -> Vec<(String, String)> {
        let fault = match (&self.cron, self.every) {
            (None, None) => Some(format!("says no time; write {EXAMPLE}")),
            (Some(_), Some(_)) => Some("has both `cron` and `every`; keep one".to_owned()),
            (None, Some(_)) if self.timezone.is_some() => {
                Some("`timezone` belongs to `cron`; `every` is counted in UTC".to_owned())
            }
            (None, Some(every)) if every.0.is_zero() => Some("`every` must be at least \"1s\"".to_owned()),
            (None, Some(_)) => None,
            (Some(_), None) => match self.parse_cron() {
                Err(fault) => Some(fault),
                Ok(Some((cron, zone))) => {
                    let start = chrono::DateTime::UNIX_EPOCH.with_timezone(&zone);
                    cron.find_next_occurrence(&start, false).err().map(|_| "never comes due".to_owned())
                }
                Ok(None) => None,
            },
        };
        fault.map(|fault| (key.to_owned(), fault)).into_iter().collect()
    }
}

const EXAMPLE: &str = "{ cron = \"0 5 * * *\", timezone = \"Europe/Paris\" } or { every = \"6h\" }";

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(toml: &str) -> Option<String> {
        let schedule: Schedule = toml::from_str(toml).expect("the shape is right");
        schedule.faults("k").pop().map(|(_, fault)| fault)
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(fault("cron = '0 5 * * *'\ntimezone = 'Europe/Paris'"), None);
        assert_eq!(fault("every = '6h'"), None);
        for (toml, part) in [
            ("", "says no time"),
            ("cron = '0 5 * * *'\nevery = '6h'", "keep one"),
            ("every = '6h'\ntimezone = 'Europe/Paris'", "belongs to `cron`"),
            ("every = '0s'", "at least"),
            ("cron = '0 0 5 * * *'", "five fields"),
            ("cron = '61 5 * * *'", "not a cron expression"),
            ("cron = '0 5 * * *'\ntimezone = 'Paris'", "IANA"),
            ("cron = '0 0 30 2 *'", "never"),
        ] {
            let said = fault(toml).unwrap_or_else(|| panic!("{toml} passed"));
            assert!(said.contains(part), "{toml}: {said}");
        }
    }
}
