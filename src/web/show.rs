//! Small things templates show.

use chrono::{DateTime, Utc};

use crate::http::api::{RunCounts, RunObservation};
use crate::sync::delivery::main_reading;
use crate::web::language::Words;

/// To the minute; the zone is said.
pub fn instant(at: &DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// Refused members.
pub fn rejected(words: &Words, counts: &RunCounts) -> String {
    words.count(&(counts.rejected.values().sum::<u64>() + counts.rejected_unnamed))
}

/// The readings, first the one that stands for the destination.
pub fn readings(observations: &[RunObservation]) -> Vec<&RunObservation> {
    let mut readings: Vec<_> = observations.iter().collect();
    let main = main_reading(observations.iter().map(|reading| reading.kind != "not_offered"));
    if let Some(first) = readings.get_mut(..=main) {
        first.rotate_right(1);
    }
    readings
}

/// A reading as people read it, or nothing when the platform says nothing.
pub fn rate(words: &Words, reading: &RunObservation) -> Option<String> {
    match (reading.low, reading.high) {
        (Some(low), Some(high)) if (high - low).abs() < 1e-9 => Some(words.percent(&low)),
        (Some(low), Some(high)) => Some(format!("{} – {}", words.percent(&low), words.percent(&high))),
        _ => reading.matched.map(|matched| words.count(&matched)),
    }
}

/// A bar's part of the whole, in percent.
pub fn part(number: &u64, of: &u64) -> u64 {
    (number * 100).checked_div(*of).unwrap_or(0).min(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_reading_comes_first() {
        let reading = |sent, kind| RunObservation {
            as_of: DateTime::UNIX_EPOCH,
            sent,
            kind,
            low: None,
            high: None,
            matched: None,
            definition: String::new(),
        };
        let sent = |all: &[RunObservation]| readings(all).iter().map(|reading| reading.sent).collect::<Vec<_>>();
        let never = |sent| reading(sent, "not_offered");
        assert_eq!(sent(&[never(1), never(2), reading(3, "pending"), reading(4, "bounds")]), [3, 1, 2, 4]);
        assert_eq!(sent(&[never(1), never(2)]), [1, 2]);
        assert_eq!(sent(&[]), [0u64; 0]);
    }
}
