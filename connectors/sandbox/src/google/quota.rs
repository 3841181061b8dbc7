//! The documented quotas per Cloud project, counted by the platforms' clock.

use super::Op;
use super::error::GoogleError;
use crate::world::Shared;
use serde::{Deserialize, Serialize};

const PER_MINUTE: u64 = 300;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Quota {
    minute: i64,
    day: i64,
    /// Per class: this minute, this day.
    used: [(u64, u64); 4],
}

/// Counts one request; refuses when quotas are enforced and spent.
pub(crate) fn count(shared: &Shared, op: Op) -> Result<(), GoogleError> {
    let (class, name, per_day) = match op {
        Op::Ingest | Op::Remove | Op::RemoveAll => (0, "IngestionMutateRequests", 100_000),
        Op::Status => (1, "IngestionReadRequests", 100_000),
        Op::Create | Op::Update | Op::Delete => (2, "ManagementMutateRequests", 50_000),
        Op::List | Op::Get => (3, "ManagementReadRequests", 50_000),
        Op::Token | Op::Authorize | Op::Revoke | Op::Unknown => return Ok(()),
    };
    let minute = shared.now().timestamp().div_euclid(60);
    let day = minute.div_euclid(1_440);
    let mut state = shared.google();
    let quota = &mut state.quota;
    if quota.minute != minute {
        quota.minute = minute;
        quota.used.iter_mut().for_each(|(this_minute, _)| *this_minute = 0);
    }
    if quota.day != day {
        quota.day = day;
        quota.used.iter_mut().for_each(|(_, today)| *today = 0);
    }
    let (this_minute, today) = &mut quota.used[class];
    if shared.settings.enforce_quotas {
        if *today >= per_day {
            return Err(GoogleError::quota(format!("{name}PerDayPerProject")));
        }
        if *this_minute >= PER_MINUTE {
            return Err(GoogleError::quota(format!("{name}PerMinutePerProject")));
        }
    }
    *this_minute += 1;
    *today += 1;
    Ok(())
}
