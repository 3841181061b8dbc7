//! How many customers of the source came back by themselves, by how long they had been away: the baseline a simulated
//! campaign starts from.

use crate::histories::Histories;
use crate::source::SourceOrder;
use chrono::{NaiveDate, NaiveTime, TimeDelta};

/// Upper bounds of the recency bands in days; the last band is open.
const BAND_ENDS: [i64; 8] = [30, 60, 90, 120, 180, 270, 365, 545];

/// Observed return rates of a source by recency band.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReturnRates {
    by_band: [f64; BAND_ENDS.len() + 1],
}

impl ReturnRates {
    /// The share that bought within the window among customers whose last order lay that many days back. A band without
    /// any customer gives the share over all bands.
    pub fn after_days(&self, days_since_order: i64) -> f64 {
        self.by_band[band(days_since_order)]
    }
}

fn band(days: i64) -> usize {
    BAND_ENDS.partition_point(|&end| end <= days)
}

impl Histories {
    /// Return rates over a window of that many days, observed on the source's last such window: of the customers who had
    /// bought before it, how many bought in it.
    pub fn return_rates(&self, window_days: u32) -> ReturnRates {
        let window_start = self.end().and_time(NaiveTime::MIN).and_utc() - TimeDelta::days(i64::from(window_days));
        let mut seen = [0_u32; BAND_ENDS.len() + 1];
        let mut returned = seen;
        for orders in self.source_customers() {
            let (before, within) = orders.split_at(orders.partition_point(|order| order.ts < window_start));
            if let Some(SourceOrder { ts, .. }) = before.last() {
                let band = band((window_start - ts).num_days());
                seen[band] += 1;
                returned[band] += u32::from(!within.is_empty());
            }
        }
        let share = |returned: u32, seen: u32| f64::from(returned) / f64::from(seen.max(1));
        let overall = share(returned.iter().sum(), seen.iter().sum());
        let by_band = std::array::from_fn(|band| match seen[band] {
            0 => overall,
            seen => share(returned[band], seen),
        });
        ReturnRates { by_band }
    }

    /// Days from a person's last order to `as_of`, started days not counted.
    pub fn days_since_order(&self, person: u64, seed: u64, as_of: NaiveDate) -> i64 {
        let last = self.orders(person..person.saturating_add(1), seed, as_of).last();
        let last = last.expect("every source customer has an order").ts;
        (as_of.and_time(NaiveTime::MIN).and_utc() - last).num_days()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceEnd;

    #[test]
    fn rates_are_counted_by_recency() {
        // The window is June 1998. Customers 1 and 2 had been away 12 days, one came back; 3 had been away for 500.
        let csv = "customer_id,date,amount_cents\n1,1998-05-20,1\n1,1998-06-10,1\n2,1998-05-20,1\n3,1997-01-17,1\n";
        let histories = Histories::from_reader(csv.as_bytes(), SourceEnd::CDNOW).expect("a sound list");
        let rates = histories.return_rates(30);
        assert_eq!(rates.after_days(0), 0.5);
        assert_eq!(rates.after_days(29), 0.5);
        assert_eq!(rates.after_days(500), 0.0);
        assert_eq!(rates.after_days(100), 1.0 / 3.0, "an empty band gives the overall share");
    }

    #[test]
    fn the_longer_away_the_fewer_return() {
        let histories = Histories::online_retail();
        let rates = histories.return_rates(60);
        let (fresh, cool, cold) = (rates.after_days(10), rates.after_days(150), rates.after_days(600));
        assert!(fresh > 0.5 && fresh > cool && cool > cold && cold > 0.0, "{fresh} {cool} {cold}");
        let as_of = NaiveDate::from_ymd_opt(2026, 1, 1).expect("a date");
        assert!((0..500).all(|person| histories.days_since_order(person, 1, as_of) >= 0));
    }
}
