//! What became of an accepted request, and what Google says of matching.
//!
//! Google gives a range of rates per upload and a whole percentage per list, never a count: both are passed on as
//! the intervals they are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::Method;
use reveil_sdk::{
    AudienceRef, Context, Error, ErrorKind, MatchKind, MatchObservation, RejectReason, Rejection, Result,
    UploadSummary, Verdict,
};

use crate::audience::set_query;
use crate::error::{self, Replies};
use crate::wire::{DestinationStatus, ErrorCount, RequestStatus};
use crate::{DESCRIPTOR, Google};

/// The shortest pause between two looks. The engine takes the first one after 30 minutes and longer pauses after that,
/// as Google asks; processing may take a day.
const POLL_AGAIN: Duration = Duration::from_secs(60);

const OPERATION: &str = "RetrieveRequestStatus";
const RANGE_PREFIX: &str = "MATCH_RATE_RANGE_";
const REASON_PREFIX: &str = "PROCESSING_ERROR_REASON_";

/// `MatchRateRange` as ratios, upper bound exclusive but for the last (match_rate.py of google-ads-datamanager 0.9.4).
const RANGES: &[(&str, f64, f64)] = &[
    ("LESS_THAN_20", 0.00, 0.20),
    ("20_TO_30", 0.20, 0.31),
    ("31_TO_40", 0.31, 0.41),
    ("41_TO_50", 0.41, 0.51),
    ("51_TO_60", 0.51, 0.61),
    ("61_TO_70", 0.61, 0.71),
    ("71_TO_80", 0.71, 0.81),
    ("81_TO_90", 0.81, 0.91),
    ("91_TO_100", 0.91, 1.00),
];

const LIST_DEFINITION: &str = "Google's matchRatePercentage of the whole list, in whole per cent; how it is rounded is not \
    documented, so one per cent is left on either side";

impl Google {
    pub(crate) async fn request_verdict(&self, cx: &Context<'_>, request_id: &str) -> Result<Verdict> {
        let mut url = self.url(&["requestStatus:retrieve"]);
        set_query(&mut url, &[("requestId", request_id)]);
        let call = self.call(OPERATION, Method::GET, url);
        match cx.fetch::<RequestStatus>(call, &Replies::PLAIN).await {
            // Every request of ours has one destination. None yet is no news.
            Ok(status) => match status.request_status_per_destination.first() {
                Some(destination) => verdict_of(destination).map_err(|error| error.with("ticket", request_id)),
                None => Ok(Verdict::Pending { again_after: POLL_AGAIN }),
            },
            // Not `Failed`: what became of it cannot be learnt any more, and it may well have been applied.
            Err(error) if error.kind() == ErrorKind::NotFound => Err(error.with("ticket", request_id).hint(
                "Google keeps a verdict for about 50 days; member writes are set operations, so send them again",
            )),
            Err(error) => Err(error.with("ticket", request_id)),
        }
    }

    pub(crate) async fn match_readings(
        &self,
        cx: &Context<'_>,
        audience: &AudienceRef,
        upload: &UploadSummary,
    ) -> Result<Vec<MatchObservation>> {
        let as_of = cx.clock.now();
        let observation = |sent, kind, bounds: Option<(f64, f64)>, definition: &str| MatchObservation {
            as_of,
            sent,
            kind,
            low: bounds.map(|(low, _)| low),
            high: bounds.map(|(_, high)| high),
            matched: None,
            definition: definition.to_owned(),
        };
        let mut readings = Vec::new();
        let definition = DESCRIPTOR.match_information.definition;
        if let Some((sent, kind, bounds)) = combine(&upload.match_ranges) {
            readings.push(observation(sent, kind, Some(bounds), definition));
        } else if upload.pending_batches > 0 {
            readings.push(observation(upload.persons, MatchKind::Pending, None, definition));
        } else if upload.persons > 0 {
            // Everything is decided and no request was eligible for a rate: too few people, or Google keeps it.
            readings.push(observation(upload.persons, MatchKind::NotOffered, None, definition));
        }
        let list = self.existing_list(cx, audience).await?;
        if let Some(percentage) = list.match_rate_percentage() {
            let ratio = f64::from(percentage) / 100.0;
            let bounds = ((ratio - 0.01).max(0.0), (ratio + 0.01).min(1.0));
            readings.push(observation(upload.audience_persons, MatchKind::Bounds, Some(bounds), LIST_DEFINITION));
        }
        Ok(readings)
    }
}

fn verdict_of(status: &DestinationStatus) -> Result<Verdict> {
    match status.request_status.as_str() {
        "PROCESSING" | "REQUEST_STATUS_UNKNOWN" | "" => Ok(Verdict::Pending { again_after: POLL_AGAIN }),
        "SUCCESS" | "PARTIAL_SUCCESS" => {
            let (rejected, rejected_unnamed) = rejections(&status.error_info.error_counts);
            Ok(Verdict::Applied { rejected, rejected_unnamed, match_range: match_range(status) })
        }
        // One page of the documents writes FAILURE; the enum says FAILED.
        "FAILED" | "FAILURE" => Ok(failure(&status.error_info.error_counts)),
        other => {
            Err(Error::new(ErrorKind::Protocol, OPERATION, "the request is in a state that this version does not know")
                .with("state", other.chars().take(40).collect::<String>()))
        }
    }
}

/// Rejections by position where Google gives positions, by count where not. A member is rejected once, for the
/// first reason.
fn rejections(counts: &[ErrorCount]) -> (Vec<Rejection>, BTreeMap<RejectReason, u64>) {
    let mut seen = BTreeSet::new();
    let (mut named, mut unnamed) = (Vec::new(), BTreeMap::new());
    for count in counts {
        let reason = processing_reason(&count.reason);
        let listed = count.record_indices.len() as u64;
        let rest = count.record_count.unwrap_or(listed).saturating_sub(listed);
        if rest > 0 {
            *unnamed.entry(reason.clone()).or_default() += rest;
        }
        for &index in &count.record_indices {
            if seen.insert(index) {
                named.push(Rejection { index, reason: reason.clone() });
            }
        }
    }
    named.sort_by_key(|rejection| rejection.index);
    (named, unnamed)
}

fn failure(counts: &[ErrorCount]) -> Verdict {
    let main = counts.iter().max_by_key(|count| count.record_count.unwrap_or(count.record_indices.len() as u64));
    let reason = main.map_or(RejectReason::from_static("failed"), |count| processing_reason(&count.reason));
    // Google's own fault may pass; a reason in the data or settings stays.
    let again = matches!(reason.code(), "internal_error" | "unspecified" | "failed");
    Verdict::Failed { reason, again }
}

/// `PROCESSING_ERROR_REASON_NO_CONSENT` is `no_consent` here.
fn processing_reason(reason: &str) -> RejectReason {
    error::reject_reason(reason.strip_prefix(REASON_PREFIX).unwrap_or(reason), "unspecified")
}

fn match_range(status: &DestinationStatus) -> Option<(f64, f64)> {
    let ingestion = &status.audience_members_ingestion_status;
    let kind = ingestion.composite_data_ingestion_status.as_ref().or(ingestion.user_data_ingestion_status.as_ref())?;
    let name = kind.upload_match_rate_range.strip_prefix(RANGE_PREFIX)?;
    RANGES.iter().find(|(range, ..)| *range == name).map(|&(_, low, high)| (low, high))
}

/// All requests in one range: that range. Otherwise the mean of the bounds, each weighing what it was sent for:
/// the rate over everybody lies between them.
fn combine(ranges: &[(u64, f64, f64)]) -> Option<(u64, MatchKind, (f64, f64))> {
    let sent: u64 = ranges.iter().map(|(persons, ..)| persons).sum();
    let &(_, low, high) = ranges.first()?;
    if sent == 0 {
        return None;
    }
    if ranges.iter().all(|range| (range.1, range.2) == (low, high)) {
        return Some((sent, MatchKind::Bucket, (low, high)));
    }
    let mean = |bound: fn(&(u64, f64, f64)) -> f64| {
        ranges.iter().map(|range| range.0 as f64 * bound(range)).sum::<f64>() / sent as f64
    };
    Some((sent, MatchKind::Bounds, (mean(|range| range.1), mean(|range| range.2).min(1.0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_touch_and_cover_everything() {
        assert_eq!((RANGES[0].1, RANGES[RANGES.len() - 1].2), (0.0, 1.0));
        assert!(RANGES.windows(2).all(|pair| pair[0].2 == pair[1].1));
    }

    #[test]
    fn one_range_stays_a_bucket_and_several_become_weighted_bounds() {
        assert_eq!(combine(&[]), None);
        assert_eq!(combine(&[(10_000, 0.51, 0.61), (5, 0.51, 0.61)]), Some((10_005, MatchKind::Bucket, (0.51, 0.61))));
        let (sent, kind, (low, high)) = combine(&[(300, 0.20, 0.31), (100, 0.61, 0.71)]).unwrap();
        assert_eq!((sent, kind), (400, MatchKind::Bounds));
        assert!((low - 0.3025).abs() < 1e-12 && (high - 0.41).abs() < 1e-12, "{low} {high}");
    }

    #[test]
    fn a_short_list_of_positions_leaves_the_rest_unnamed() {
        let counts = [
            ErrorCount {
                record_count: Some(12),
                reason: "PROCESSING_ERROR_REASON_NO_CONSENT".into(),
                record_indices: vec![9, 4],
            },
            ErrorCount {
                record_count: Some(1),
                reason: "PROCESSING_ERROR_REASON_DENIED_CONSENT".into(),
                record_indices: vec![4],
            },
        ];
        let (named, unnamed) = rejections(&counts);
        let named: Vec<_> = named.iter().map(|rejection| (rejection.index, rejection.reason.code())).collect();
        assert_eq!(named, [(4, "no_consent"), (9, "no_consent")]);
        assert_eq!(unnamed, BTreeMap::from([(RejectReason::from_static("no_consent"), 10)]));
    }
}
