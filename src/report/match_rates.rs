//! Match readings as they are reported: each with its kind and the platform's own definition, never one blended figure.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::store::model::{StoredObservation, kind_name};

/// One reading, in the form of the JSON contract.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    pub audience: String,
    pub destination: String,
    pub connector: String,
    pub as_of: DateTime<Utc>,
    /// Distinct persons the reading is about.
    pub sent: u64,
    /// `exact`, `bucket`, `bounds`, `count`, `pending` or `not_offered`.
    pub kind: &'static str,
    /// Ratios 0–1.
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub matched: Option<u64>,
    /// The platform's own definition of the figure.
    pub definition: String,
    /// Version of the normalisation rules the members were prepared with.
    pub rules_version: u32,
    pub run: Option<String>,
}

impl From<StoredObservation> for Reading {
    fn from(stored: StoredObservation) -> Self {
        Self {
            audience: stored.audience,
            destination: stored.destination,
            connector: stored.connector,
            as_of: stored.reading.as_of,
            sent: stored.reading.sent,
            kind: kind_name(stored.reading.kind),
            low: stored.reading.low,
            high: stored.reading.high,
            matched: stored.reading.matched,
            definition: stored.reading.definition,
            rules_version: stored.rules_version,
            run: stored.run_id,
        }
    }
}

/// One reading for each audience and destination, or with `history` all of them, oldest first.
///
/// A refresh of a few members says little about the audience, so the latest reading over at least half as many persons
/// as the largest one is shown. Readings that say nothing (yet) give way to those that do.
pub fn readings(stored: Vec<StoredObservation>, history: bool) -> Vec<Reading> {
    let primary = stored.into_iter().filter(|stored| stored.primary).map(Reading::from);
    if history {
        return primary.collect();
    }
    let mut groups: Vec<Vec<Reading>> = Vec::new();
    for reading in primary {
        let same = |group: &&mut Vec<Reading>| {
            group[0].audience == reading.audience && group[0].destination == reading.destination
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(reading),
            None => groups.push(vec![reading]),
        }
    }
    groups.into_iter().map(telling).collect()
}

/// The reading of one destination to show.
fn telling(mut group: Vec<Reading>) -> Reading {
    let says = |reading: &Reading| !matches!(reading.kind, "pending" | "not_offered");
    let largest = group.iter().filter(|reading| says(reading)).map(|reading| reading.sent).max().unwrap_or(0);
    let chosen = group.iter().rposition(|reading| says(reading) && reading.sent * 2 >= largest);
    let index = chosen.unwrap_or(group.len() - 1);
    group.swap_remove(index)
}

#[cfg(test)]
mod tests {
    use reveil_sdk::{MatchKind, MatchObservation};

    use super::*;

    fn stored(destination: &str, day: u32, kind: MatchKind) -> StoredObservation {
        StoredObservation {
            audience: "dormant".into(),
            destination: destination.into(),
            connector: "meta".into(),
            run_id: None,
            rules_version: 1,
            primary: true,
            reading: MatchObservation {
                as_of: DateTime::UNIX_EPOCH + chrono::Duration::days(i64::from(day)),
                sent: u64::from(day),
                kind,
                low: None,
                high: None,
                matched: None,
                definition: "d".into(),
            },
        }
    }

    #[test]
    fn the_latest_that_says_enough_is_shown() {
        let all = vec![
            stored("meta", 1, MatchKind::Exact),
            stored("google", 2, MatchKind::Pending),
            stored("meta", 100, MatchKind::Exact),
            stored("meta", 90, MatchKind::Exact),
            stored("meta", 40, MatchKind::Exact),
            stored("meta", 400, MatchKind::Pending),
        ];
        let latest = readings(all.clone(), false);
        assert_eq!(
            latest.iter().map(|reading| (reading.destination.as_str(), reading.sent)).collect::<Vec<_>>(),
            [("meta", 90), ("google", 2)]
        );
        assert_eq!(readings(all, true).len(), 6);
    }
}
