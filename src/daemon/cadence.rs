//! When a schedule comes due: pure arithmetic on instants.
//!
//! Local times and daylight saving: a cron expression that names hours stands for local times of day, and each of them
//! fires exactly once. One that the clock skips fires at the moment it has jumped; one that comes twice fires the first
//! time. `croner` does so for a single time of day only (`30 2 * * *`, not `30 2,14 * * *`), hence the walk over local
//! times here. An expression for every hour stands for a pace: it goes on evenly through both changes.

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset as _, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use croner::Cron;
use sha2::{Digest as _, Sha256};

use crate::config::{CatchUp, Period, Schedule};

/// No zone has ever put its clock forward by more at once.
const LONGEST_SHIFT: TimeDelta = TimeDelta::hours(25);
/// Due times made up for under `catch_up = "all"`, at most.
pub const MOST_CAUGHT_UP: usize = 24;
/// Under `catch_up = "none"` a due time is still on time this long after it.
const ON_TIME: TimeDelta = TimeDelta::minutes(2);
/// Steps of a walk through missed times before it skips to the recent ones.
const MOST_STEPS: usize = 3_000;
/// Which are those of this long.
const RECENT: TimeDelta = TimeDelta::days(1);

/// A schedule that can be asked for its times.
#[derive(Debug, Clone)]
pub enum Cadence {
    /// Local times of day.
    Times { cron: Box<Cron>, zone: Tz },
    /// Even steps by the cron's minutes, in every hour.
    Hourly { cron: Box<Cron>, zone: Tz },
    /// Even steps from 1970-01-01 UTC.
    Every(TimeDelta),
}

impl Cadence {
    /// `None` for a schedule that was not checked, or never comes due.
    pub fn of(schedule: &Schedule) -> Option<Self> {
        if let Some(every) = schedule.every {
            return Self::every(every);
        }
        let (cron, zone) = schedule.parse_cron().ok()??;
        let cron = Box::new(cron);
        let hourly = cron.pattern.hours.values().len() == 24;
        Some(if hourly { Self::Hourly { cron, zone } } else { Self::Times { cron, zone } })
    }

    pub fn every(period: Period) -> Option<Self> {
        let step = TimeDelta::from_std(period.0).ok()?;
        (step >= TimeDelta::seconds(1)).then_some(Self::Every(step))
    }

    /// The first due time after that instant.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Every(step) => {
                let step = step.num_seconds();
                let count = after.timestamp().div_euclid(step) + 1;
                DateTime::from_timestamp(count.checked_mul(step)?, 0)
            }
            Self::Hourly { cron, zone } => {
                let next = cron.find_next_occurrence(&after.with_timezone(zone), false).ok()?;
                Some(next.with_timezone(&Utc))
            }
            Self::Times { cron, zone } => next_time_of_day(cron, *zone, after),
        }
    }

    /// Whether it comes due at that very instant.
    pub fn is_due_at(&self, instant: DateTime<Utc>) -> bool {
        self.next_after(instant - TimeDelta::seconds(1)) == Some(instant)
    }

    /// The `n`th due time after that instant, the first being 1.
    pub fn nth_after(&self, after: DateTime<Utc>, n: u32) -> Option<DateTime<Utc>> {
        (0..n).try_fold(after, |at, _| self.next_after(at))
    }
}

/// Walks the local times the expression names, from that of `after` on: earlier ones stand for earlier instants, and in
/// an hour that comes a second time those that were fired in the first are passed over.
fn next_time_of_day(cron: &Cron, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut local = after.with_timezone(&zone).naive_local();
    loop {
        // The expression is matched against plain clock readings, for which UTC stands in: it has no changes.
        let next = cron.find_next_occurrence(&local.and_utc(), false).ok()?;
        local = next.naive_utc();
        let instant = instant_of(local, zone)?;
        if instant > after {
            return Some(instant);
        }
    }
}

/// When the clocks of the zone show this: the first time if twice, the moment of the jump if never.
fn instant_of(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => Some(instant.with_timezone(&Utc)),
        LocalResult::None => {
            // Read with the offset from before the jump it lies after it, and the other way round.
            let before = zone.offset_from_utc_datetime(&(local - LONGEST_SHIFT)).fix();
            let (mut low, mut high) =
                ((local - LONGEST_SHIFT).and_utc().timestamp(), (local + LONGEST_SHIFT).and_utc().timestamp());
            // The first second whose offset is no longer the old one.
            while low + 1 < high {
                let middle = low + (high - low) / 2;
                let offset = zone.offset_from_utc_datetime(&DateTime::from_timestamp(middle, 0)?.naive_utc()).fix();
                if offset == before { low = middle } else { high = middle }
            }
            DateTime::from_timestamp(high, 0)
        }
    }
}

/// How far a due time is put off: the same for everybody who knows its key, below `most` and the time to the next one.
pub fn jitter(cadence: &Cadence, key: &str, due: DateTime<Utc>, most: Option<Period>) -> TimeDelta {
    let Some(most) = most.and_then(|most| TimeDelta::from_std(most.0).ok()) else { return TimeDelta::zero() };
    let room = cadence.next_after(due).map_or(most, |next| most.min(next - due));
    let millis = u64::try_from(room.num_milliseconds()).unwrap_or(0).max(1);
    let digest = Sha256::new().chain_update(key).chain_update(due.timestamp().to_be_bytes()).finalize();
    let draw = u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes"));
    TimeDelta::milliseconds(i64::try_from(draw % millis).unwrap_or(0))
}

/// What a schedule asks for at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Due times to fire now, oldest first.
    pub fire: Vec<DateTime<Utc>>,
    /// Due times left out.
    pub missed: u64,
    /// The due time after them all.
    pub next: Option<DateTime<Utc>>,
}

/// What to do at `now` about a schedule that was due at `due`; `None` when it is not yet time.
pub fn step(
    cadence: &Cadence,
    key: &str,
    due: DateTime<Utc>,
    now: DateTime<Utc>,
    most_jitter: Option<Period>,
    catch_up: CatchUp,
) -> Option<Step> {
    let is_time = |due: DateTime<Utc>| due + jitter(cadence, key, due, most_jitter) <= now;
    if !is_time(due) {
        return None;
    }
    let mut passed = vec![due];
    let mut missed = 0;
    let mut next = cadence.next_after(due);
    while let Some(due) = next.filter(|due| is_time(*due)) {
        passed.push(due);
        next = cadence.next_after(due);
        if passed.len() > MOST_STEPS {
            // Only the recent ones can still matter; how many the others were is not worth a walk of hours.
            passed.drain(..passed.len() - MOST_CAUGHT_UP);
            missed += (MOST_STEPS + 1 - MOST_CAUGHT_UP) as u64;
            let recent = now - recent_of(cadence);
            next = if due < recent { cadence.next_after(recent) } else { next };
        }
    }
    let last = *passed.last().expect("the first one passed");
    let late = now - (last + jitter(cadence, key, last, most_jitter));
    let kept = match catch_up {
        CatchUp::None if late > ON_TIME => 0,
        CatchUp::None | CatchUp::Latest => 1,
        CatchUp::All => MOST_CAUGHT_UP,
    };
    let fire = passed.split_off(passed.len() - kept.min(passed.len()));
    Some(Step { fire, missed: missed + passed.len() as u64, next })
}

/// How far back a walk may skip: everything that can still be caught up.
fn recent_of(cadence: &Cadence) -> TimeDelta {
    match cadence {
        Cadence::Every(step) => *step * i32::try_from(MOST_CAUGHT_UP + 2).expect("a small number"),
        Cadence::Times { .. } | Cadence::Hourly { .. } => RECENT,
    }
}

#[cfg(test)]
mod tests;
