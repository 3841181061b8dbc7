//! Purchase histories: every synthetic person borrows the whole order list of one anonymous customer of a real shop.

use crate::draw::{Draws, field};
use crate::parallel::write_in_order;
use crate::person::customer_id;
use crate::source::{self, SourceEnd, SourceError, SourceOrder};
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Timelike, Utc};
use flate2::read::GzDecoder;
use serde::Serialize;
use std::io::{self, Read, Write};
use std::ops::Range;

/// Online Retail II, aggregated to invoices; see `data/README.md` for origin, licence and changes.
static ONLINE_RETAIL: &[u8] = include_bytes!("../data/online_retail_orders.csv.gz");

/// Channel draws of a person start at the person's index times this.
const CHANNEL_STRIDE: u64 = 1024;

/// Where an order was placed; invented, the sources know one channel only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// Online, seven in ten.
    Web,
    /// In a shop.
    Store,
}

impl Channel {
    /// The column's spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Store => "store",
        }
    }
}

/// One row of the orders file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// `O`, the person, a dash and the position in the person's list.
    pub order_id: String,
    /// The person's first warehouse row (`C` and eight digits).
    pub customer_id: String,
    /// Whose, as an index.
    pub person: u64,
    /// When; always before the as-of date.
    pub ts: DateTime<Utc>,
    /// How much, in hundredths of the currency.
    pub amount_minor: i64,
    /// Where.
    pub channel: Channel,
}

/// Counts over an orders file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct OrderSummary {
    /// Rows without the header.
    pub orders: u64,
    /// Of those, placed in a shop.
    pub store_orders: u64,
    /// Sum over all orders, in hundredths of the currency.
    pub amount_minor: i64,
}

/// The order lists of a source's customers, ready to be lent.
#[derive(Clone)]
pub struct Histories {
    customers: Vec<Vec<SourceOrder>>,
    end: SourceEnd,
}

impl std::fmt::Debug for Histories {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Histories").field("customers", &self.customers.len()).field("end", &self.end).finish()
    }
}

impl Histories {
    /// The vendored source: 5,878 customers of a British online gift shop, 2009-12-01 to 2011-12-09.
    pub fn online_retail() -> Self {
        Self::from_reader(GzDecoder::new(ONLINE_RETAIL), SourceEnd::ONLINE_RETAIL)
            .expect("the vendored order list is checked by a test")
    }

    /// Reads another source from uncompressed CSV, either one row per invoice (`customer_id`, `ts`, `kind`,
    /// `revenue_pence`) or one per purchase day (`customer_id`, `date`, `amount_cents`).
    ///
    /// # Errors
    /// When the list is unreadable, lacks a column, holds a value that does not parse, or holds no identified sale.
    pub fn from_reader(csv: impl Read, end: SourceEnd) -> Result<Self, SourceError> {
        Ok(Self { customers: source::read(csv)?, end })
    }

    /// How many source customers there are to borrow from.
    pub fn customers(&self) -> usize {
        self.customers.len()
    }

    /// The first day after the source's last order.
    pub(crate) fn end(&self) -> NaiveDate {
        self.end.0
    }

    /// The order lists lent, ascending in time; none is empty.
    pub(crate) fn source_customers(&self) -> &[Vec<SourceOrder>] {
        &self.customers
    }

    /// The orders of a slice of persons, in order: whole lists, moved by whole days so that the source ends on `as_of`,
    /// then 0 to 7 weeks back (one person in ten: two years more, so that retention limits bite), amounts times 80 to
    /// 120 %.
    ///
    /// # Panics
    /// When `as_of` is so far from now (tens of thousands of years) that a moved order leaves the calendar.
    pub fn orders(&self, persons: Range<u64>, seed: u64, as_of: NaiveDate) -> impl Iterator<Item = Order> + use<'_> {
        let source_to_as_of = as_of - self.end.0;
        persons.flat_map(move |person| {
            let draws = Draws::new(seed, person);
            let list = &self.customers[draws.below(field::HISTORY, self.customers.len() as u64) as usize];
            let long_gone = if draws.chance(field::LONG_GONE, 0.10) { 104 } else { 0 };
            let weeks_back = draws.below(field::WEEKS_BACK, 8) + long_gone;
            let shift = source_to_as_of - TimeDelta::weeks(weeks_back as i64);
            let percent = 80 + draws.below(field::AMOUNT, 41) as i64;
            list.iter().zip(0_u64..).map(move |(order, position)| {
                let channel_draws = Draws::new(seed, person.wrapping_mul(CHANNEL_STRIDE).wrapping_add(position));
                Order {
                    order_id: format!("O{person:08}-{position:04}"),
                    customer_id: customer_id(person),
                    person,
                    ts: order.ts + shift,
                    // Rounds down for negative amounts too.
                    amount_minor: (order.amount_minor * percent).div_euclid(100),
                    channel: if channel_draws.chance(field::CHANNEL, 0.7) { Channel::Web } else { Channel::Store },
                }
            })
        })
    }

    /// Writes the orders of persons `0..persons` as CSV with a header. Uses all cores.
    ///
    /// # Errors
    /// What `out` returns.
    pub fn write_orders(
        &self,
        persons: u64,
        seed: u64,
        as_of: NaiveDate,
        out: &mut impl Write,
    ) -> io::Result<OrderSummary> {
        out.write_all(b"order_id,customer_id,ts,amount_minor,channel\n")?;
        let mut summary = OrderSummary::default();
        let make = |range: Range<u64>, bytes: &mut Vec<u8>| {
            let mut part = OrderSummary::default();
            for order in self.orders(range, seed, as_of) {
                part.orders += 1;
                part.store_orders += u64::from(order.channel == Channel::Store);
                part.amount_minor += order.amount_minor;
                order.write_csv(bytes)?;
            }
            Ok(part)
        };
        write_in_order(persons, out, make, |part| {
            summary.orders += part.orders;
            summary.store_orders += part.store_orders;
            summary.amount_minor += part.amount_minor;
        })?;
        Ok(summary)
    }
}

impl Order {
    fn write_csv(&self, out: &mut impl Write) -> io::Result<()> {
        write!(out, "{},{},", self.order_id, self.customer_id)?;
        write_ts(out, self.ts)?;
        writeln!(out, ",{},{}", self.amount_minor, self.channel.as_str())
    }
}

/// ISO 8601 in UTC to the second. Field by field, since chrono's format strings cost more than all the rest of a row.
pub(crate) fn write_ts(out: &mut impl Write, ts: DateTime<Utc>) -> io::Result<()> {
    let (year, month, day) = (ts.year(), ts.month(), ts.day());
    write!(out, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", ts.hour(), ts.minute(), ts.second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    #[test]
    fn the_vendored_list_is_the_documented_one() {
        let mut unpacked = Vec::new();
        GzDecoder::new(ONLINE_RETAIL).read_to_end(&mut unpacked).expect("a sound archive");
        let sha256 = const_hex::encode(Sha256::digest(&unpacked));
        assert_eq!(sha256, "d1f13175086a1d2cd3e70d56063828f7b0237244c22326eadcef69fb1d7ce96e");
        assert_eq!(Histories::online_retail().customers(), 5_878);
    }

    #[test]
    fn amounts_round_down_on_both_sides_of_zero() {
        let row = |amount: i64| format!("customer_id,date,amount_cents\n1,1998-06-30,{amount}\n");
        let as_of = NaiveDate::from_ymd_opt(2026, 1, 1).expect("a date");
        for amount in [-7_i64, 7] {
            let histories = Histories::from_reader(row(amount).as_bytes(), SourceEnd::CDNOW).expect("one order");
            for order in histories.orders(0..50, 1, as_of) {
                let percent = 80 + Draws::new(1, order.person).below(field::AMOUNT, 41) as i64;
                assert!(order.amount_minor * 100 <= amount * percent, "{amount} times {percent} %");
                assert!((order.amount_minor + 1) * 100 > amount * percent, "{amount} times {percent} %");
            }
        }
    }
}
