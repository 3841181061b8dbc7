//! Several definitions side by side: how many people, whom they share, who came back by themselves.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use serde::Serialize;

use super::{FittedModel, ReturnWindow, count, returns, settle, sql};
use crate::config::audience_inactive::Inactive;
use crate::config::warehouse::WarehouseConfig;
use crate::warehouse::{Columns, Result, Source};

/// Windows of spontaneous return, in days.
pub const WINDOWS: [u32; 3] = [30, 60, 90];
/// A shop in which nobody buys for so many days is taken to have data no further.
pub const QUIET_DAYS: i64 = 7;

/// Whether data whose last purchase is this one reach to the end of a window of `days` from `from` on.
pub fn covered(from: DateTime<Utc>, days: u32, last_purchase: Option<DateTime<Utc>>) -> bool {
    let end = from + Duration::days(i64::from(days) - QUIET_DAYS);
    last_purchase.is_some_and(|last| last >= end)
}

/// Who came back by themselves within some days. All is `None` when the data end before the window does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ReturnShare {
    pub window_days: u32,
    pub returned: Option<u64>,
    /// Of the inactive; `None` when there are none.
    pub share: Option<f64>,
    /// Orders of those who returned, and what they brought in hundredths.
    pub orders: Option<u64>,
    pub revenue_minor: Option<i64>,
    /// Mean of those orders, hundredths.
    pub aov_minor: Option<f64>,
}

/// One definition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    pub name: String,
    pub definition: Inactive,
    pub customers: u64,
    pub inactive: u64,
    pub unknown: u64,
    /// Of those it can judge.
    pub share: Option<f64>,
    pub backtest: Backtest,
    /// What was fitted for the size, when `theta = "fit"`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fitted: Vec<FittedModel>,
}

/// The same definition at an earlier instant, and what its people did since.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Backtest {
    pub as_of: DateTime<Utc>,
    pub inactive: u64,
    /// Windows that had ended at the instant of comparison.
    pub returns: Vec<ReturnShare>,
    /// Orders of the inactive before, and what they brought in hundredths.
    pub own_orders: u64,
    pub own_revenue_minor: i64,
    /// Mean and median over the customers' own means, hundredths.
    pub aov_customer_mean_minor: Option<f64>,
    pub aov_customer_median_minor: Option<f64>,
    /// Mean of the inactive's own orders before, and of the orders on return (longest window the data cover); hundredths.
    pub aov_own_minor: Option<f64>,
    pub aov_return_minor: Option<f64>,
}

/// People two definitions share.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overlap {
    pub a: String,
    pub b: String,
    pub both: u64,
    pub only_a: u64,
    pub only_b: u64,
    /// Shared, of all in either; `None` when both are empty.
    pub jaccard: Option<f64>,
}

/// A definition that could not be judged here, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Skipped {
    pub name: String,
    pub why: String,
}

/// The comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    pub as_of: DateTime<Utc>,
    pub definitions: Vec<Compared>,
    pub overlap: Vec<Overlap>,
    /// Only of preset definitions; others are errors.
    pub skipped: Vec<Skipped>,
    /// What the reader must know of the figures, in whole sentences.
    pub warnings: Vec<String>,
}

/// What to compare.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub name: String,
    pub definition: Inactive,
    /// Left out when the warehouse has not what it needs.
    pub optional: bool,
}

/// A starting set of definitions that purchases alone can judge.
pub fn presets() -> Vec<Candidate> {
    [
        r#"{"purchase_recency": {"days": 60}}"#,
        r#"{"purchase_recency": {"days": 180}}"#,
        r#"{"purchase_recency": {"days": 365}}"#,
        r#"{"personal_cadence": {"k": 2, "fallback_days": 180}}"#,
        r#"{"p_alive": {"theta": "fit", "p": 0.5}}"#,
        r#"{"rfm_matrix": {"preset": "high_value"}}"#,
    ]
    .into_iter()
    .map(|json| {
        let definition: Inactive = serde_json::from_str(json).expect("the presets are well formed; a test reads them");
        Candidate { name: definition.label(), definition, optional: true }
    })
    .collect()
}

/// Compares at `as_of`; who came back is counted from `backtest` on, in windows that had ended at `as_of`.
///
/// # Errors
/// A faulty definition, or whatever the warehouse answers.
pub async fn compare(
    source: &dyn Source,
    warehouse: &WarehouseConfig,
    candidates: &[Candidate],
    as_of: DateTime<Utc>,
    backtest: DateTime<Utc>,
) -> Result<Comparison> {
    let mut comparison =
        Comparison { as_of, definitions: Vec::new(), overlap: Vec::new(), skipped: Vec::new(), warnings: Vec::new() };
    let mut settled = Vec::new();
    let mut judged = false;
    let mut last_purchase = None;
    for candidate in candidates {
        match one(source, warehouse, candidate, as_of, backtest).await {
            Ok(found) => {
                judged |= !found.compared.backtest.returns.is_empty();
                last_purchase = last_purchase.max(found.last_purchase);
                comparison.definitions.push(found.compared);
                settled.push(found.definition);
            }
            Err(error) if candidate.optional && error.kind() == crate::warehouse::ErrorKind::Config => {
                comparison.skipped.push(Skipped { name: candidate.name.clone(), why: error.to_string() });
            }
            Err(error) => return Err(error),
        }
    }
    comparison.warnings.extend(ends_early(as_of, backtest, last_purchase).filter(|_| judged));
    if settled.len() > 1 {
        let masks = masks(source, warehouse, &settled.iter().collect::<Vec<_>>(), as_of).await?;
        for a in 0..settled.len() {
            for b in a + 1..settled.len() {
                comparison.overlap.push(overlap(&comparison.definitions, &masks, a, b));
            }
        }
    }
    Ok(comparison)
}

/// Says that a window the comparison asked for reaches beyond the data.
fn ends_early(as_of: DateTime<Utc>, backtest: DateTime<Utc>, last: Option<DateTime<Utc>>) -> Option<String> {
    let longest = WINDOWS.into_iter().rfind(|days| ended(*days, backtest, as_of))?;
    if covered(backtest, longest, last) {
        return None;
    }
    let (from, days) = (backtest.format("%Y-%m-%d"), longest);
    Some(match last {
        Some(last) => format!(
            "The last purchase in the {days} days from {from} on is of {}: the orders seem to end there, so windows that end \
             later say nothing, and who bought since counts as inactive. Load newer orders or give an earlier --as-of.",
            last.format("%Y-%m-%d")
        ),
        None => format!(
            "Nobody bought anything in the {days} days from {from} on: the orders seem to end earlier, so nothing is known of \
             who came back, and who bought since counts as inactive. Load newer orders or give an earlier --as-of."
        ),
    })
}

fn ended(days: u32, backtest: DateTime<Utc>, as_of: DateTime<Utc>) -> bool {
    backtest + Duration::days(i64::from(days)) <= as_of
}

/// One definition, what it was settled to, and anybody's last purchase in its windows.
struct Found {
    compared: Compared,
    definition: Inactive,
    last_purchase: Option<DateTime<Utc>>,
}

async fn one(
    source: &dyn Source,
    warehouse: &WarehouseConfig,
    candidate: &Candidate,
    as_of: DateTime<Utc>,
    backtest: DateTime<Utc>,
) -> Result<Found> {
    let now = settle(source, warehouse, &candidate.definition, as_of).await?;
    let size = count(source, warehouse, &now.definition, as_of).await?;
    let then = settle(source, warehouse, &candidate.definition, backtest).await?;
    let mut found = Backtest {
        as_of: backtest,
        inactive: 0,
        returns: Vec::new(),
        own_orders: 0,
        own_revenue_minor: 0,
        aov_customer_mean_minor: None,
        aov_customer_median_minor: None,
        aov_own_minor: None,
        aov_return_minor: None,
    };
    let mut last_purchase = None;
    let windows: Vec<u32> = WINDOWS.into_iter().filter(|days| ended(*days, backtest, as_of)).collect();
    if !windows.is_empty() {
        let back = returns(source, warehouse, &then.definition, backtest, &windows).await?;
        found.inactive = back.inactive;
        last_purchase = back.last_purchase_at;
        let share = |window: &ReturnWindow| {
            let known = covered(backtest, window.days, last_purchase).then_some(*window);
            ReturnShare {
                window_days: window.days,
                returned: known.map(|it| it.returned),
                share: known.and_then(|it| ratio(it.returned, back.inactive)),
                orders: known.map(|it| it.orders),
                revenue_minor: known.map(|it| it.revenue_minor),
                aov_minor: known
                    .filter(|it| it.orders > 0 && it.revenue_minor != 0)
                    .map(|it| it.revenue_minor as f64 / it.orders as f64),
            }
        };
        found.returns = back.windows.iter().map(share).collect();
        found.own_orders = back.own_orders;
        found.own_revenue_minor = back.own_revenue_minor;
        found.aov_customer_mean_minor = back.aov_customer_mean_minor;
        found.aov_customer_median_minor = back.aov_customer_median_minor;
        found.aov_own_minor = back.aov_pooled_minor;
        let longest = found.returns.iter().rfind(|window| window.returned.is_some());
        found.aov_return_minor = longest.and_then(|window| window.aov_minor);
    }
    let compared = Compared {
        name: candidate.name.clone(),
        definition: candidate.definition.clone(),
        customers: size.customers,
        inactive: size.inactive,
        unknown: size.unknown,
        share: ratio(size.inactive, size.customers),
        backtest: found,
        fitted: now.fitted,
    };
    Ok(Found { compared, definition: now.definition, last_purchase })
}

/// People by the set of definitions they are inactive by.
async fn masks(
    source: &dyn Source,
    warehouse: &WarehouseConfig,
    definitions: &[&Inactive],
    as_of: DateTime<Utc>,
) -> Result<BTreeMap<u32, u64>> {
    let mut stream = source.query(&sql::overlap_query(warehouse, definitions, as_of, source.dialect())?).await?;
    let mut masks = BTreeMap::new();
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let columns = Columns::new(&batch);
        let number = |name, row| columns.get(name).and_then(|values| values.i64(row)).unwrap_or(0);
        for row in 0..columns.rows() {
            masks.insert(number("mask", row) as u32, number("people", row) as u64);
        }
    }
    Ok(masks)
}

fn overlap(definitions: &[Compared], masks: &BTreeMap<u32, u64>, a: usize, b: usize) -> Overlap {
    let people = |test: &dyn Fn(bool, bool) -> bool| -> u64 {
        masks.iter().filter(|(mask, _)| test(*mask & (1 << a) != 0, *mask & (1 << b) != 0)).map(|(_, n)| n).sum()
    };
    let both = people(&|a, b| a && b);
    Overlap {
        a: definitions[a].name.clone(),
        b: definitions[b].name.clone(),
        both,
        only_a: people(&|a, b| a && !b),
        only_b: people(&|a, b| b && !a),
        jaccard: ratio(both, people(&|a, b| a || b)),
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
