//! Whether a match rate fell further than it usually moves. Medians throughout: one odd reading among the earlier ones
//! must neither raise an alarm nor hide one.
//!
//! Many readings are intervals: a bucket of ten percent, bounds from rounded counts. A fall is claimed only when the
//! whole of the new interval lies below where the earlier ones begin; for an exact rate both ends are the same.

use reveil_sdk::MatchKind;

use crate::store::model::StoredObservation;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    pub low: f64,
    pub high: f64,
    pub sent: u64,
}

/// What counts as a fall.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sensitivity {
    pub deviations: f64,
    pub min_drop: f64,
    pub min_readings: usize,
}

/// What the readings say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verdict {
    /// Too few earlier readings of the same kind to know what is usual.
    TooFew {
        have: usize,
        need: usize,
    },
    Usual,
    /// Below `floor`; usually it is `median` (the lower ends', for intervals).
    Fell {
        latest: Rate,
        median: f64,
        floor: f64,
    },
}

/// Compared with so many earlier readings, at most.
const HISTORY: usize = 30;
/// A median absolute deviation times this estimates a standard deviation.
const MAD_TO_SIGMA: f64 = 1.4826;

/// The latest reading against those before it.
pub(crate) fn judge(earlier: &[Rate], latest: Rate, sensitivity: Sensitivity) -> Verdict {
    let Sensitivity { deviations, min_drop, min_readings } = sensitivity;
    let earlier = &earlier[earlier.len().saturating_sub(HISTORY)..];
    if earlier.len() < min_readings {
        return Verdict::TooFew { have: earlier.len(), need: min_readings };
    }
    let lows: Vec<f64> = earlier.iter().map(|rate| rate.low).collect();
    let center = median(&lows);
    let deviation = MAD_TO_SIGMA * median(&lows.iter().map(|low| (low - center).abs()).collect::<Vec<_>>());
    // What chance alone does to a rate of so few people.
    let chance = (center * (1.0 - center) / (latest.sent.max(1) as f64)).max(0.0).sqrt();
    let allowed = (deviations * deviation.max(chance)).max(min_drop);
    let floor = center - allowed;
    if latest.high < floor { Verdict::Fell { latest, median: center, floor } } else { Verdict::Usual }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The readings that may be compared with the latest one of a destination, oldest first, and that one: same kind, same
/// rules, one per run. `None` when the latest has no rate.
pub(crate) fn comparable(
    readings: &[StoredObservation],
    destination: &str,
    before: Option<chrono::DateTime<chrono::Utc>>,
) -> Option<(Vec<Rate>, Rate)> {
    let mut own: Vec<&StoredObservation> =
        readings.iter().filter(|reading| reading.primary && reading.destination == destination).collect();
    let latest = own.pop()?;
    let kind = latest.reading.kind;
    let is_rate = matches!(kind, MatchKind::Exact | MatchKind::Bucket | MatchKind::Bounds);
    let latest_rate = rate(latest).filter(|_| is_rate)?;
    let mut earlier: Vec<(Option<&str>, Rate)> = Vec::new();
    for reading in own {
        let same = reading.reading.kind == kind && reading.rules_version == latest.rules_version;
        // A fall that stands must not become what is usual.
        let early = before.is_none_or(|before| reading.reading.as_of < before);
        let other_run = reading.run_id != latest.run_id;
        let (true, Some(rate)) = (same && early && other_run, rate(reading)) else { continue };
        match earlier.last_mut() {
            // Several readings of one run are one upload looked at several times; the last is the settled one.
            Some((run, last)) if run.is_some() && *run == reading.run_id.as_deref() => *last = rate,
            _ => earlier.push((reading.run_id.as_deref(), rate)),
        }
    }
    Some((earlier.into_iter().map(|(_, rate)| rate).collect(), latest_rate))
}

fn rate(observation: &StoredObservation) -> Option<Rate> {
    let reading = &observation.reading;
    Some(Rate { low: reading.low?, high: reading.high?, sent: reading.sent })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Sensitivity = Sensitivity { deviations: 4.0, min_drop: 0.03, min_readings: 5 };

    fn exact(rate: f64) -> Rate {
        Rate { low: rate, high: rate, sent: 100_000 }
    }

    fn fell(earlier: &[f64], latest: f64) -> bool {
        let earlier: Vec<Rate> = earlier.iter().map(|rate| exact(*rate)).collect();
        matches!(judge(&earlier, exact(latest), USUAL), Verdict::Fell { .. })
    }

    #[test]
    fn says_when_it_cannot_know() {
        let verdict = judge(&[exact(0.6); 4], exact(0.1), USUAL);
        assert_eq!(verdict, Verdict::TooFew { have: 4, need: 5 });
    }

    #[test]
    fn a_fall_beyond_the_usual_movement_is_seen() {
        let steady = [0.60, 0.61, 0.59, 0.60, 0.62, 0.60];
        assert!(!fell(&steady, 0.58) && !fell(&steady, 0.70));
        assert!(fell(&steady, 0.50));
        let restless = [0.60, 0.70, 0.52, 0.66, 0.55, 0.63];
        assert!(!fell(&restless, 0.50), "what moves much may move much");
        assert!(fell(&restless, 0.20));
    }

    #[test]
    fn one_odd_reading_changes_nothing() {
        assert!(fell(&[0.60, 0.61, 0.59, 0.05, 0.60, 0.62], 0.50), "an earlier outage does not hide the next");
        assert!(!fell(&[0.60, 0.61, 0.59, 0.99, 0.60, 0.62], 0.59));
    }

    #[test]
    fn a_tiny_movement_of_a_steady_rate_is_none() {
        assert!(!fell(&[0.6; 10], 0.575));
        assert!(fell(&[0.6; 10], 0.565));
    }

    #[test]
    fn few_people_move_by_chance() {
        let earlier = [exact(0.6); 8];
        let few = Rate { sent: 60, ..exact(0.45) };
        assert_eq!(judge(&earlier, few, USUAL), Verdict::Usual);
        assert!(matches!(judge(&earlier, exact(0.45), USUAL), Verdict::Fell { .. }));
    }

    #[test]
    fn intervals_fall_only_when_all_of_them_does() {
        let bucket = |low: f64| Rate { low, high: low + 0.1, sent: 100_000 };
        let earlier = [bucket(0.5); 6];
        assert_eq!(judge(&earlier, bucket(0.4), USUAL), Verdict::Usual, "0.50 may have become 0.49");
        assert!(matches!(judge(&earlier, bucket(0.3), USUAL), Verdict::Fell { .. }));
    }
}
