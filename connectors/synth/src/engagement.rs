//! Clicks, web visits and store visits for the demo's cross-channel segment. Invented for the demo: no source behind
//! the rates, and not part of the reference generator.

use crate::contact::days_since_open;
use crate::draw::{Draws, field};
use crate::histories::{Channel, Histories, write_ts};
use crate::parallel::write_in_order;
use crate::person::customer_id;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::Serialize;
use std::io::{self, Write};
use std::ops::Range;

/// What a person did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EngagementKind {
    /// Clicked in a mailing.
    Click,
    /// Came to the web shop without buying.
    WebVisit,
    /// Was in a shop.
    StoreVisit,
}

impl EngagementKind {
    /// The column's spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Click => "click",
            Self::WebVisit => "web_visit",
            Self::StoreVisit => "store_visit",
        }
    }
}

/// One thing a person did, with its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engagement {
    /// Who.
    pub person: u64,
    /// What.
    pub kind: EngagementKind,
    /// When; always before the as-of date.
    pub ts: DateTime<Utc>,
}

/// What a person did besides buying: at most one click and one web visit.
///
/// A person who ever opened a mailing clicked on the day of the last open with probability .20. That day is `as_of` minus
/// `days_since_open`; for 0 it is the day before, since `as_of` itself has not begun. Independently, a web visit on one of
/// the last 720 days with probability .10. Store visits follow from orders: see [`Histories::engagement`].
pub fn engagement(person: u64, seed: u64, as_of: NaiveDate) -> Vec<Engagement> {
    let draws = Draws::new(seed, person);
    let midnight = as_of.and_time(NaiveTime::MIN).and_utc();
    let at = |kind, days_back: u64, second_field| {
        let second = TimeDelta::seconds(draws.below(second_field, 86_400) as i64);
        Engagement { person, kind, ts: midnight - TimeDelta::days(days_back as i64) + second }
    };
    let opened = days_since_open(draws);
    let click = opened
        .filter(|_| draws.chance(field::CLICKED, 0.20))
        .map(|days| at(EngagementKind::Click, u64::from(days.max(1)), field::CLICK_SECOND));
    let visit = draws
        .chance(field::VISITED, 0.10)
        .then(|| at(EngagementKind::WebVisit, 1 + draws.below(field::VISIT_DAY, 720), field::VISIT_SECOND));
    click.into_iter().chain(visit).collect()
}

impl Histories {
    /// Everything a slice of persons did: per person the click, the web visit, then a store visit at the time of each
    /// order placed in a shop.
    pub fn engagement(
        &self,
        persons: Range<u64>,
        seed: u64,
        as_of: NaiveDate,
    ) -> impl Iterator<Item = Engagement> + use<'_> {
        persons.flat_map(move |person| {
            let in_store = self.orders(person..person + 1, seed, as_of).filter(|o| o.channel == Channel::Store);
            let visits = in_store.map(move |o| Engagement { person, kind: EngagementKind::StoreVisit, ts: o.ts });
            engagement(person, seed, as_of).into_iter().chain(visits)
        })
    }

    /// Writes what persons `0..persons` did as CSV (`customer_id,kind,ts`) with a header, returning the number of rows.
    /// Uses all cores.
    ///
    /// # Errors
    /// What `out` returns.
    pub fn write_engagement(&self, persons: u64, seed: u64, as_of: NaiveDate, out: &mut impl Write) -> io::Result<u64> {
        out.write_all(b"customer_id,kind,ts\n")?;
        let mut rows = 0;
        let make = |range: Range<u64>, bytes: &mut Vec<u8>| {
            let mut part = 0_u64;
            for event in self.engagement(range, seed, as_of) {
                part += 1;
                write!(bytes, "{},{},", customer_id(event.person), event.kind.as_str())?;
                write_ts(bytes, event.ts)?;
                bytes.push(b'\n');
            }
            Ok(part)
        };
        write_in_order(persons, out, make, |part| rows += part)?;
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::People;

    const AS_OF: NaiveDate = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();

    #[test]
    fn a_click_falls_on_the_day_of_the_last_open_and_before_as_of() {
        let people = People { persons: 10_000, seed: 3 };
        let midnight = AS_OF.and_time(NaiveTime::MIN).and_utc();
        let (mut opened, mut clicks, mut visits) = (0_u32, 0_u32, 0_u32);
        for index in 0..people.persons {
            let contact = people.contacts(index..index + 1).next().expect("every person has a row");
            opened += u32::from(contact.days_since_open.is_some());
            for event in engagement(index, people.seed, AS_OF) {
                assert!(event.ts < midnight);
                let days_back = (AS_OF - event.ts.date_naive()).num_days();
                match event.kind {
                    EngagementKind::Click => {
                        clicks += 1;
                        let open = contact.days_since_open.expect("who clicks has opened");
                        assert_eq!(days_back, i64::from(open.max(1)));
                    }
                    EngagementKind::WebVisit => {
                        visits += 1;
                        assert!((1..=720).contains(&days_back));
                    }
                    EngagementKind::StoreVisit => unreachable!("store visits come from orders"),
                }
            }
        }
        let click_ratio = f64::from(clicks) / f64::from(opened);
        assert!((click_ratio - 0.20).abs() < 0.015, "{click_ratio}");
        assert!((f64::from(visits) / 10_000.0 - 0.10).abs() < 0.01, "{visits}");
    }

    #[test]
    fn every_store_order_is_a_store_visit() {
        let histories = Histories::online_retail();
        let store = histories.orders(0..300, 3, AS_OF).filter(|order| order.channel == Channel::Store);
        let expected = store.map(|order| (order.person, order.ts)).collect::<Vec<_>>();
        let events = histories.engagement(0..300, 3, AS_OF).filter(|e| e.kind == EngagementKind::StoreVisit);
        assert_eq!(events.map(|event| (event.person, event.ts)).collect::<Vec<_>>(), expected);
        assert!(!expected.is_empty());

        let mut file = Vec::new();
        let rows = histories.write_engagement(300, 3, AS_OF, &mut file).expect("a Vec takes every write");
        let lines = file.iter().filter(|&&byte| byte == b'\n').count() as u64;
        assert_eq!(lines, rows + 1);
    }
}
