//! Daylight saving in both directions, clocks that jump, times missed.

use std::collections::BTreeSet;

use super::*;

fn cron(expression: &str, zone: &str) -> Cadence {
    let schedule = Schedule { cron: Some(expression.into()), timezone: Some(zone.into()), every: None };
    Cadence::of(&schedule).expect("a right expression")
}

fn every(text: &str) -> Cadence {
    Cadence::every(Period::parse(text).unwrap()).unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// All due times from `from` on and before `to`, in UTC.
fn times(cadence: &Cadence, from: &str, to: &str) -> Vec<DateTime<Utc>> {
    let mut due = Vec::new();
    let mut last = at(from) - TimeDelta::seconds(1);
    while let Some(next) = cadence.next_after(last).filter(|next| *next < at(to)) {
        assert!(next > last, "due times only grow");
        due.push(next);
        last = next;
    }
    due
}

fn shown(due: &[DateTime<Utc>]) -> Vec<String> {
    due.iter().map(|due| due.format("%d %H:%M").to_string()).collect()
}

#[test]
fn a_daily_time_fires_once_in_the_spring_gap() {
    // 2026-03-29: 02:00 CET becomes 03:00 CEST, at 01:00 UTC.
    let paris = cron("30 2 * * *", "Europe/Paris");
    assert_eq!(
        shown(&times(&paris, "2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z")),
        ["28 01:30", "29 01:00", "30 00:30"]
    );
    // 2026-03-08: 02:00 EST becomes 03:00 EDT, at 07:00 UTC.
    let new_york = cron("30 2 * * *", "America/New_York");
    assert_eq!(
        shown(&times(&new_york, "2026-03-07T00:00:00Z", "2026-03-10T00:00:00Z")),
        ["07 07:30", "08 07:00", "09 06:30"]
    );
}

#[test]
fn a_daily_time_fires_once_in_the_autumn_fold() {
    // 2026-10-25: 03:00 CEST becomes 02:00 CET, at 01:00 UTC; 02:30 comes at 00:30 and 01:30 UTC.
    let paris = cron("30 2 * * *", "Europe/Paris");
    assert_eq!(
        shown(&times(&paris, "2026-10-24T00:00:00Z", "2026-10-27T00:00:00Z")),
        ["24 00:30", "25 00:30", "26 01:30"]
    );
    // 2026-11-01: 02:00 EDT becomes 01:00 EST, at 06:00 UTC.
    let new_york = cron("30 1 * * *", "America/New_York");
    assert_eq!(
        shown(&times(&new_york, "2026-10-31T00:00:00Z", "2026-11-03T00:00:00Z")),
        ["31 05:30", "01 05:30", "02 06:30"]
    );
}

#[test]
fn several_named_times_fire_once_each_too() {
    let paris = cron("15,45 2,14 * * *", "Europe/Paris");
    // Both times in the gap fall on the jump; one moment, one firing.
    assert_eq!(
        shown(&times(&paris, "2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z")),
        ["29 01:00", "29 12:15", "29 12:45"]
    );
    assert_eq!(
        shown(&times(&paris, "2026-10-25T00:00:00Z", "2026-10-26T00:00:00Z")),
        ["25 00:15", "25 00:45", "25 13:15", "25 13:45"]
    );
}

#[test]
fn every_local_time_of_named_hours_fires_once_over_a_year() {
    for zone in ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"] {
        let tz: Tz = zone.parse().unwrap();
        let due = times(&cron("0,20,40 0-22 * * *", zone), "2026-01-01T12:00:00Z", "2026-12-30T12:00:00Z");
        let locals: Vec<NaiveDateTime> = due.iter().map(|due| due.with_timezone(&tz).naive_local()).collect();
        let distinct: BTreeSet<&NaiveDateTime> = locals.iter().collect();
        assert_eq!(distinct.len(), locals.len(), "{zone}: a local time fired twice");
        let mut day = at("2026-01-03T00:00:00Z").naive_utc();
        while day < at("2026-12-28T00:00:00Z").naive_utc() {
            let exists = !matches!(tz.from_local_datetime(&day), LocalResult::None);
            let named = chrono::Timelike::hour(&day) < 23;
            if exists && named {
                assert!(distinct.contains(&day), "{zone}: {day} never fired");
            }
            day += TimeDelta::minutes(20);
        }
    }
}

#[test]
fn a_pace_goes_on_evenly_through_both_changes() {
    for (expression, minutes) in [("* * * * *", 1), ("*/15 * * * *", 15)] {
        for zone in ["Europe/Paris", "America/New_York", "Asia/Kolkata"] {
            let cadence = cron(expression, zone);
            for (from, to) in [
                ("2026-03-08T00:00:00Z", "2026-03-09T00:00:00Z"),
                ("2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z"),
                ("2026-10-25T00:00:00Z", "2026-10-26T00:00:00Z"),
                ("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"),
            ] {
                let due = times(&cadence, from, to);
                assert_eq!(due.len(), 24 * 60 / minutes, "{expression} in {zone} on {from}");
                let even = TimeDelta::minutes(minutes as i64);
                assert!(due.windows(2).all(|pair| pair[1] - pair[0] == even), "{expression} in {zone} on {from}");
            }
        }
    }
}

#[test]
fn a_zone_without_daylight_saving_is_left_alone() {
    let kolkata = cron("30 2 * * *", "Asia/Kolkata");
    let due = times(&kolkata, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
    assert_eq!(due.len(), 365);
    assert!(due.windows(2).all(|pair| pair[1] - pair[0] == TimeDelta::days(1)));
}

#[test]
fn even_steps_are_the_same_for_everybody() {
    let cadence = every("6h");
    assert_eq!(cadence.next_after(at("2026-05-01T05:59:59Z")), Some(at("2026-05-01T06:00:00Z")));
    assert_eq!(cadence.next_after(at("2026-05-01T06:00:00Z")), Some(at("2026-05-01T12:00:00Z")));
    assert!(cadence.is_due_at(at("2026-05-01T06:00:00Z")) && !cadence.is_due_at(at("2026-05-01T06:00:01Z")));
    assert_eq!(cadence.nth_after(at("2026-05-01T05:00:00Z"), 3), Some(at("2026-05-01T18:00:00Z")));
}

#[test]
fn jitter_is_the_same_everywhere_and_spreads() {
    let cadence = every("1h");
    let most = Some(Period::parse("10m").unwrap());
    let due = at("2026-05-01T06:00:00Z");
    let draws: BTreeSet<TimeDelta> =
        (0..200).map(|audience| jitter(&cadence, &format!("sync:{audience}"), due, most)).collect();
    assert!(draws.len() > 190 && draws.iter().all(|draw| *draw < TimeDelta::minutes(10)));
    assert!(draws.last().unwrap() > &TimeDelta::minutes(9));
    assert_eq!(jitter(&cadence, "sync:a", due, most), jitter(&cadence, "sync:a", due, most));
    // Never past the next due time, or they would change places.
    let long = Some(Period::parse("3d").unwrap());
    assert!(jitter(&cadence, "sync:a", due, long) < TimeDelta::hours(1));
}

fn stepped(due: &str, now: &str, catch_up: CatchUp) -> Option<(Vec<String>, u64, String)> {
    let step = step(&every("6h"), "sync:a", at(due), at(now), None, catch_up)?;
    Some((shown(&step.fire), step.missed, step.next.unwrap().format("%d %H:%M").to_string()))
}

#[test]
fn missed_times_are_made_up_for_as_asked() {
    let (due, now) = ("2026-05-01T06:00:00Z", "2026-05-02T07:00:00Z");
    let texts = |times: &[&str]| times.iter().map(|time| (*time).to_owned()).collect::<Vec<_>>();
    assert_eq!(stepped(due, "2026-05-01T05:59:59Z", CatchUp::All), None);
    assert_eq!(
        stepped(due, "2026-05-01T06:00:00Z", CatchUp::None),
        Some((texts(&["01 06:00"]), 0, "01 12:00".into())),
        "on time is not missed"
    );
    assert_eq!(stepped(due, now, CatchUp::None), Some((Vec::new(), 5, "02 12:00".into())));
    assert_eq!(stepped(due, now, CatchUp::Latest), Some((texts(&["02 06:00"]), 4, "02 12:00".into())));
    assert_eq!(
        stepped(due, now, CatchUp::All),
        Some((texts(&["01 06:00", "01 12:00", "01 18:00", "02 00:00", "02 06:00"]), 0, "02 12:00".into()))
    );
}

#[test]
fn a_clock_that_jumps_forward_makes_no_storm() {
    for (cadence, jump) in [(every("1s"), TimeDelta::days(400)), (cron("* * * * *", "UTC"), TimeDelta::days(4_000))] {
        let due = at("2026-05-01T06:00:00Z");
        let now = due + jump;
        let latest = step(&cadence, "k", due, now, None, CatchUp::Latest).unwrap();
        assert_eq!(latest.fire, [now], "the latest due time, which is now");
        let all = step(&cadence, "k", due, now, None, CatchUp::All).unwrap();
        assert_eq!((all.fire.len(), *all.fire.last().unwrap()), (MOST_CAUGHT_UP, now));
        assert!(all.fire.windows(2).all(|pair| cadence.next_after(pair[0]) == Some(pair[1])), "and those before it");
        assert!(all.next.unwrap() > now);
    }
}
