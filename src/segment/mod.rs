//! Segments: who is inactive, as SQL the warehouse runs, and the figures about them.

mod alive;
mod cadence;
pub mod compare;
mod matrix;
mod resolve;
pub mod sql;

use std::collections::BTreeMap;
use std::path::Path;

use arrow_array::RecordBatch;
use chrono::{DateTime, Utc};
use serde::Serialize;

pub use self::alive::{FittedModel, Settled, settle};
pub use self::cadence::{Cadence, GapDays, cadence};
pub use self::matrix::{Cell, Matrix, Score, matrix, scores};
pub use self::resolve::resolve;
use crate::config::audience_inactive::Inactive;
use crate::config::warehouse::{EventsMapping, Field, ListFile, TimeForm, ValueUnit, WarehouseConfig};
use crate::warehouse::{Columns, Error, ErrorKind, FilesSource, Result, Source};

/// How many customers a definition judges and finds inactive.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Count {
    /// The audience's name, when the definition belongs to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    pub as_of: DateTime<Utc>,
    /// Customers the definition can judge; for purchase recency all with a purchase before `as_of`.
    pub customers: u64,
    pub inactive: u64,
    /// Customers it cannot judge, for want of data.
    pub unknown: u64,
    /// Both together: what `plan` and `sync` call customers.
    pub total: u64,
    /// Models fitted for `theta = "fit"`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fitted: Vec<FittedModel>,
}

/// What the inactive did by themselves after `as_of`, and what they were worth before.
/// Amounts are hundredths of the currency; averages are `None` when there is nothing to average.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Returns {
    pub as_of: DateTime<Utc>,
    pub inactive: u64,
    /// Purchases of the inactive before `as_of`.
    pub own_orders: u64,
    pub own_revenue_minor: i64,
    /// Their revenue over their orders.
    pub aov_pooled_minor: Option<f64>,
    /// Mean and median over customers of their own average order.
    pub aov_customer_mean_minor: Option<f64>,
    pub aov_customer_median_minor: Option<f64>,
    /// In the order asked for.
    pub windows: Vec<ReturnWindow>,
    /// Anybody's last purchase in the longest window; none when nobody bought.
    pub last_purchase_at: Option<DateTime<Utc>>,
}

/// What the inactive did in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ReturnWindow {
    pub days: u32,
    /// Inactive customers with a purchase in `[as_of, as_of + days)`.
    pub returned: u64,
    pub orders: u64,
    pub revenue_minor: i64,
}

/// What a definition says about one customer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// `inactive`, `active` or `unknown`.
    pub state: String,
    pub reason: String,
    /// Each simple definition inside it.
    pub leaves: Vec<LeafExplanation>,
    pub last_activity_at: Option<DateTime<Utc>>,
    pub orders_count: Option<i64>,
    pub orders_value_minor: Option<i64>,
}

/// What one simple definition inside another says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeafExplanation {
    /// Its name in the configuration.
    pub definition: String,
    pub state: String,
    pub reason: String,
    /// Probability of still being a customer, of a definition that goes by it; `None` without a purchase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p_alive: Option<f64>,
}

/// Counts the customers of a definition at an instant.
///
/// # Errors
/// A faulty definition, or whatever the warehouse answers.
pub async fn count(
    source: &dyn Source,
    warehouse: &WarehouseConfig,
    definition: &Inactive,
    as_of: DateTime<Utc>,
) -> Result<Count> {
    let Settled { definition, fitted } = settle(source, warehouse, definition, as_of).await?;
    let row = only_row(source, &sql::count_query(warehouse, &definition, as_of, source.dialect())?).await?;
    let (customers, unknown) = (number(&row, "customers")?, number(&row, "unknown")?);
    Ok(Count {
        audience: None,
        as_of,
        customers,
        inactive: number(&row, "inactive")?,
        unknown,
        total: customers + unknown,
        fitted,
    })
}

/// Counts who came back by themselves within some windows of days, in one query; see [`Returns`].
///
/// # Errors
/// As [`count`].
pub async fn returns(
    source: &dyn Source,
    warehouse: &WarehouseConfig,
    definition: &Inactive,
    as_of: DateTime<Utc>,
    windows: &[u32],
) -> Result<Returns> {
    let definition = settle(source, warehouse, definition, as_of).await?.definition;
    let sql = sql::return_query(warehouse, &definition, as_of, windows, source.dialect())?;
    let row = only_row(source, &sql).await?;
    let float = |name| Columns::new(&row).get(name).and_then(|values| values.f64(0));
    let amount = |name: &str| Columns::new(&row).get(name).and_then(|values| values.i64(0)).unwrap_or(0);
    let window = |(index, days): (usize, &u32)| {
        Ok(ReturnWindow {
            days: *days,
            returned: number(&row, &format!("returned_{index}"))?,
            orders: number(&row, &format!("return_orders_{index}"))?,
            revenue_minor: amount(&format!("return_revenue_minor_{index}")),
        })
    };
    Ok(Returns {
        as_of,
        inactive: number(&row, "inactive")?,
        own_orders: number(&row, "own_orders")?,
        own_revenue_minor: amount("own_revenue_minor"),
        aov_pooled_minor: float("aov_pooled_minor"),
        aov_customer_mean_minor: float("aov_customer_mean_minor"),
        aov_customer_median_minor: float("aov_customer_median_minor"),
        windows: windows.iter().enumerate().map(window).collect::<Result<_>>()?,
        last_purchase_at: Columns::new(&row).get("last_purchase_at").and_then(|values| values.time(0)),
    })
}

/// Says what a definition makes of one customer, and why; `None` when there is no such customer.
///
/// # Errors
/// As [`count`].
pub async fn explain(
    source: &dyn Source,
    warehouse: &WarehouseConfig,
    definition: &Inactive,
    as_of: DateTime<Utc>,
    customer_id: &str,
) -> Result<Option<Explanation>> {
    let definition = settle(source, warehouse, definition, as_of).await?.definition;
    let sql = sql::explain_query(warehouse, &definition, as_of, source.dialect(), customer_id)?;
    let Some(row) = first_batch(source, &sql).await? else { return Ok(None) };
    let columns = Columns::new(&row);
    let text = |name: &str| columns.get(name).and_then(|values| values.string(0)).unwrap_or_default();
    let leaf = |index: usize| {
        columns.get(&format!("leaf_{index}")).map(|_| LeafExplanation {
            definition: text(&format!("leaf_name_{index}")),
            state: text(&format!("leaf_{index}")),
            reason: text(&format!("leaf_reason_{index}")),
            p_alive: columns
                .get(&format!("leaf_gone_odds_{index}"))
                .and_then(|values| values.f64(0))
                .map(|odds| 1.0 / (1.0 + odds.exp())),
        })
    };
    let leaves: Vec<LeafExplanation> = (1..).map_while(leaf).collect();
    let state = text("state");
    // A segment of one's own without mapped customers has no parts to look into.
    let alone = || {
        let (definition, reason) = (definition.name().into(), text("reason"));
        vec![LeafExplanation { definition, state: state.clone(), reason, p_alive: None }]
    };
    Ok(Some(Explanation {
        leaves: if leaves.is_empty() { alone() } else { leaves },
        state: state.clone(),
        reason: text("reason"),
        last_activity_at: columns.get("last_activity_at").and_then(|values| values.time(0)),
        orders_count: columns.get("orders_count").and_then(|values| values.i64(0)),
        orders_value_minor: columns.get("orders_value_minor").and_then(|values| values.i64(0)),
    }))
}

/// Counts over a CSV file of events alone (`.gz` too), without a configured warehouse. Columns: `customer_id`, `ts` and,
/// when there, `kind` (else all are orders) and `value` or `revenue_pence`.
///
/// # Errors
/// Faults of the file with line and column, of the definition, a missing column.
pub async fn count_from_events_csv(path: &Path, definition: &Inactive, as_of: DateTime<Utc>) -> Result<Count> {
    let (source, warehouse) = open_events_csv(path).await?;
    count(&source, &warehouse, definition, as_of).await
}

/// The source and mapping behind [`count_from_events_csv`], for the other figures.
///
/// # Errors
/// As there.
pub async fn open_events_csv(path: &Path) -> Result<(FilesSource, WarehouseConfig)> {
    let files = BTreeMap::from([("events".to_owned(), ListFile::new(path))]);
    let source = FilesSource::load(&files).await?;
    let columns = source.columns("events").await?;
    let find = |names: &[&str]| {
        let mut found =
            names.iter().filter_map(|name| columns.iter().find(|column| column.name.eq_ignore_ascii_case(name)));
        found.next().map(|column| Field::Column(column.name.clone()))
    };
    let needed = |names: &[&str]| {
        find(names).ok_or_else(|| {
            let message = format!("{}: line 1: no column named {}", path.display(), names.join(" or "));
            Error::new(ErrorKind::Input, message).hint("the columns are customer_id, ts, kind, value")
        })
    };
    let pence = find(&["revenue_pence", "value_minor", "value_cents", "amount_cents"]);
    let events = EventsMapping {
        table: "events".into(),
        customer_id: needed(&["customer_id"])?,
        at: needed(&["ts", "at", "date"])?,
        time_form: TimeForm::Auto,
        kind: find(&["kind"]).unwrap_or_else(|| Field::Literal("order".into())),
        value_unit: if pence.is_some() { ValueUnit::Minor } else { ValueUnit::Major },
        value: pence.or_else(|| find(&["value"])),
        currency: None,
        filter: None,
    };
    Ok((source, WarehouseConfig { driver: "files".into(), files, events: vec![events], ..WarehouseConfig::default() }))
}

async fn first_batch(source: &dyn Source, sql: &str) -> Result<Option<RecordBatch>> {
    let mut stream = source.query(sql).await?;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        if batch.num_rows() > 0 {
            return Ok(Some(batch));
        }
    }
    Ok(None)
}

async fn only_row(source: &dyn Source, sql: &str) -> Result<RecordBatch> {
    let missing = || Error::new(ErrorKind::Other, "the warehouse returned no row for a count");
    first_batch(source, sql).await?.ok_or_else(missing)
}

fn number(row: &RecordBatch, name: &str) -> Result<u64> {
    let value = Columns::new(row).get(name).and_then(|values| values.i64(0));
    value
        .and_then(|value| u64::try_from(value).ok())
        .ok_or_else(|| Error::new(ErrorKind::Other, format!("the warehouse returned no number as {name}")))
}
