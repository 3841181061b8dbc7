//! Reads a shop's real, anonymous order list: the rhythm of buying that the synthetic persons borrow.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use csv::StringRecord;
use std::collections::BTreeMap;
use std::io::Read;

/// The first day after a source's last order, which is moved onto the as-of date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceEnd(pub NaiveDate);

impl SourceEnd {
    /// Online Retail II ends on 2011-12-09.
    pub const ONLINE_RETAIL: Self = Self(NaiveDate::from_ymd_opt(2011, 12, 10).unwrap());
    /// CDNOW ends on 1998-06-30.
    pub const CDNOW: Self = Self(NaiveDate::from_ymd_opt(1998, 7, 1).unwrap());
}

/// Why an order list cannot be used. No value of the list is quoted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Not readable as CSV.
    #[error("the order list is not readable as CSV: {0}")]
    Csv(#[from] csv::Error),
    /// A column is absent.
    #[error(
        "the order list has no column `{column}`; hint: it needs customer_id, ts, kind, revenue_pence, or customer_id, \
         date, amount_cents"
    )]
    MissingColumn {
        /// The absent column.
        column: &'static str,
    },
    /// A value does not parse.
    #[error("line {line} of the order list: `{column}` is not {expected}")]
    BadValue {
        /// Line of the file, from 1.
        line: u64,
        /// Column of the value.
        column: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Nobody bought anything.
    #[error("the order list has no identified sale, so there is no history to lend")]
    Empty,
}

/// One order of a source customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SourceOrder {
    pub(crate) ts: DateTime<Utc>,
    pub(crate) amount_minor: i64,
}

/// Reads the orders of every identified customer, customers ascending by number, each one's orders by time and amount.
pub(crate) fn read(csv: impl Read) -> Result<Vec<Vec<SourceOrder>>, SourceError> {
    let mut reader = csv::Reader::from_reader(csv);
    let layout = Layout::of(reader.headers()?)?;
    let mut customers = BTreeMap::<u64, Vec<SourceOrder>>::new();
    let mut record = StringRecord::new();
    while reader.read_record(&mut record)? {
        if let Some((customer, order)) = layout.parse(&record)? {
            customers.entry(customer).or_default().push(order);
        }
    }
    if customers.is_empty() {
        return Err(SourceError::Empty);
    }
    let sorted = customers.into_values().map(|mut orders| {
        orders.sort_unstable();
        orders
    });
    Ok(sorted.collect())
}

/// Where the columns are, in one of the two layouts.
enum Layout {
    /// One row per invoice, with refunds and guests among them.
    Invoices { customer: usize, ts: usize, kind: usize, amount: usize },
    /// One row per purchase day.
    Days { customer: usize, date: usize, amount: usize },
}

impl Layout {
    fn of(header: &StringRecord) -> Result<Self, SourceError> {
        let find = |column| header.iter().position(|name| name == column).ok_or(SourceError::MissingColumn { column });
        let customer = find("customer_id")?;
        if let Ok(amount) = find("amount_cents") {
            return Ok(Self::Days { customer, date: find("date")?, amount });
        }
        Ok(Self::Invoices { customer, ts: find("ts")?, kind: find("kind")?, amount: find("revenue_pence")? })
    }

    /// The row's customer and order, or `None` for a refund, an adjustment or a guest.
    fn parse(&self, record: &StringRecord) -> Result<Option<(u64, SourceOrder)>, SourceError> {
        let bad = |column, expected| {
            let line = record.position().map_or(0, csv::Position::line);
            SourceError::BadValue { line, column, expected }
        };
        let integer = "a whole number";
        match *self {
            Self::Invoices { customer, ts, kind, amount } => {
                if &record[kind] != "sale" || record[customer].is_empty() {
                    return Ok(None);
                }
                let ts = NaiveDateTime::parse_from_str(&record[ts], "%Y-%m-%dT%H:%M:%SZ")
                    .map_err(|_| bad("ts", "a UTC time like 2011-12-09T12:50:00Z"))?;
                let order = SourceOrder {
                    ts: ts.and_utc(),
                    amount_minor: record[amount].parse().map_err(|_| bad("revenue_pence", integer))?,
                };
                Ok(Some((record[customer].parse().map_err(|_| bad("customer_id", integer))?, order)))
            }
            Self::Days { customer, date, amount } => {
                let date = NaiveDate::parse_from_str(&record[date], "%Y-%m-%d")
                    .map_err(|_| bad("date", "a date like 1998-06-30"))?;
                let order = SourceOrder {
                    ts: date.and_time(NaiveTime::MIN).and_utc(),
                    amount_minor: record[amount].parse().map_err(|_| bad("amount_cents", integer))?,
                };
                Ok(Some((record[customer].parse().map_err(|_| bad("customer_id", integer))?, order)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "invoice,customer_id,ts,country,kind,n_lines,units,revenue_pence\n";

    #[test]
    fn only_identified_sales_are_lent_and_in_order() {
        let rows = "3,7,2011-01-02T00:00:00Z,X,sale,1,1,200\n2,7,2011-01-01T00:00:00Z,X,sale,1,1,100\n\
            C4,7,2011-01-03T00:00:00Z,X,cancel,1,1,-100\n5,,2011-01-04T00:00:00Z,X,sale,1,1,900\n\
            1,5,2011-01-05T00:00:00Z,X,sale,1,1,300\n";
        let customers = read(format!("{HEADER}{rows}").as_bytes()).expect("a sound list");
        let amounts = customers.iter().map(|orders| orders.iter().map(|o| o.amount_minor).collect::<Vec<_>>());
        assert_eq!(amounts.collect::<Vec<_>>(), [vec![300], vec![100, 200]]);
    }

    #[test]
    fn errors_say_where_and_quote_nothing() {
        let broken = format!("{HEADER}1,5,yesterday,X,sale,1,1,300\n");
        let error = read(broken.as_bytes()).expect_err("no such time").to_string();
        assert_eq!(error, "line 2 of the order list: `ts` is not a UTC time like 2011-12-09T12:50:00Z");
        assert!(matches!(read("a,b\n".as_bytes()), Err(SourceError::MissingColumn { column: "customer_id" })));
        assert!(matches!(read(HEADER.as_bytes()), Err(SourceError::Empty)));
    }
}
