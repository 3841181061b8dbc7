//! Small things templates show.

use chrono::{DateTime, Utc};

use crate::http::api::{RunCounts, RunObservation};
use crate::web::language::Words;

/// To the minute; the zone is said.
pub fn instant(at: &DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// Refused members.
pub fn rejected(words: &Words, counts: &RunCounts) -> String {
    words.count(&(counts.rejected.values().sum::<u64>() + counts.rejected_unnamed))
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
