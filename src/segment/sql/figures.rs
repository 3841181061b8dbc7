//! Queries behind figures: whom several definitions share, the matrix, histories to fit a model to; and what a sync reads.

use chrono::{DateTime, SubsecRound, Utc};

use super::events::EventQueries;
use super::{Also, BaseOptions, Query};
use crate::config::audience_inactive::{Inactive, PersonalCadence, RfmMatrix};
use crate::config::lost::LostConfig;
use crate::config::warehouse::{Dialect, WarehouseConfig};
use crate::warehouse::{Error, Result};

/// What a sync reads: [`super::base_query`] over everybody with all columns and, when `lost` is configured, a column
/// `lost` (1 or 0).
///
/// # Errors
/// As [`super::base_query`]; also when `lost` is configured and deliveries are not mapped.
pub fn sync_query(
    warehouse: &WarehouseConfig,
    definition: &Inactive,
    as_of: DateTime<Utc>,
    dialect: Dialect,
    lost: Option<&LostConfig>,
) -> Result<String> {
    let everybody = BaseOptions { only_inactive: false, columns: true, reason: false };
    let own = warehouse.customers.is_none() && matches!(definition, Inactive::Sql(_) | Inactive::Table(_));
    if own && lost.is_some() {
        return Err(Error::config("[lost] needs [warehouse.customers] when the segment is a query of your own")
            .hint("map the customers, or leave the lost out in that query and remove [lost]"));
    }
    let also = Also { lost, ..Also::default() };
    Ok(Query::judge_with(warehouse, definition, as_of, dialect, everybody, None, &also)?.into_sql())
}

/// Which definitions share whom: `mask` (bit i: inactive by definition i) and `people`, for every combination found.
///
/// # Errors
/// As [`super::base_query`]; also for more than 16 definitions.
pub fn overlap_query(
    warehouse: &WarehouseConfig,
    definitions: &[&Inactive],
    as_of: DateTime<Utc>,
    dialect: Dialect,
) -> Result<String> {
    if definitions.len() > 16 {
        return Err(Error::config(format!("{} definitions are too many to compare at once", definitions.len()))
            .hint("compare 16 at most"));
    }
    let options = BaseOptions { only_inactive: true, ..BaseOptions::STATES };
    let parts = definitions
        .iter()
        .enumerate()
        .map(|(index, definition)| {
            let sql = Query::judge(warehouse, definition, as_of, dialect, options, None)?.into_sql();
            Ok(format!("SELECT DISTINCT q{index}.customer_id, {} AS bit FROM ({sql}) AS q{index}", 1 << index))
        })
        .collect::<Result<Vec<String>>>()?;
    Ok(format!(
        "SELECT g.mask, count(*) AS people FROM (SELECT u.customer_id, CAST(sum(u.bit) AS BIGINT) AS mask FROM ({}) AS u \
         GROUP BY u.customer_id) AS g GROUP BY g.mask",
        parts.join(" UNION ALL ")
    ))
}

/// Purchase histories with how many customers have each: `repeats` (purchase days less one), `last_days` (first to last
/// day), `age_days` (first day to `as_of`), `people`.
///
/// # Errors
/// When no table has purchases.
pub fn history_query(warehouse: &WarehouseConfig, as_of: DateTime<Utc>, dialect: Dialect) -> Result<String> {
    let as_of = as_of.trunc_subsecs(0);
    let events = EventQueries { warehouse, dialect, as_of, only_customer: None };
    if warehouse.events.is_empty() || events.impossible(&events.purchases()) {
        return Err(Error::config("no table of [warehouse.events] has purchases, so no model can be fitted")
            .hint("map the orders, or name their kind in `purchase_kinds`"));
    }
    let today = as_of.timestamp().div_euclid(86_400);
    Ok(format!(
        "SELECT h.repeats, h.last_days, h.age_days, count(*) AS people FROM (SELECT d.customer_id, count(*) - 1 AS repeats, \
         max(d.day_number) - min(d.day_number) AS last_days, {today} - min(d.day_number) AS age_days FROM ({}) AS d \
         GROUP BY d.customer_id) AS h GROUP BY h.repeats, h.last_days, h.age_days",
        events.purchase_days()
    ))
}

/// Customers who ever bought, by their rhythm: `gap` (median days between purchases; NULL with too few), `inactive` and
/// `silent` (beyond the limit for everybody; both 1 or 0), `people`.
///
/// # Errors
/// As [`super::base_query`].
pub fn cadence_query(
    warehouse: &WarehouseConfig,
    cadence: &PersonalCadence,
    as_of: DateTime<Utc>,
    dialect: Dialect,
) -> Result<String> {
    let columns = [
        ("cadence_0.median_gap", "median_gap"),
        ("cadence_0.days", "purchase_days_count"),
        ("cadence_0.last_day", "last_day"),
    ];
    let also = Also { columns: &columns, ..Also::default() };
    let definition = Inactive::PersonalCadence(cadence.clone());
    let query = Query::judge_with(warehouse, &definition, as_of, dialect, BaseOptions::STATES, None, &also)?;
    let (today, min, limit) = (as_of.timestamp().div_euclid(86_400), cadence.min_days, cadence.fallback_days);
    let gap = dialect.float("s.median_gap");
    Ok(query
        .then("rhythms")
        .select(&format!(
            "SELECT g.gap, g.inactive, g.silent, count(*) AS people FROM (SELECT \
             CASE WHEN s.purchase_days_count >= {min} THEN {gap} END AS gap, \
             CASE WHEN s.state = 'inactive' THEN 1 ELSE 0 END AS inactive, \
             CASE WHEN {today} - s.last_day > {limit} THEN 1 ELSE 0 END AS silent \
             FROM rhythms AS s WHERE s.last_day IS NOT NULL) AS g GROUP BY g.gap, g.inactive, g.silent"
        ))
        .into_sql())
}

/// The matrix itself: `r`, `f`, `m` (0 without that axis), `people`, `gone` (of them: nothing in the period).
///
/// # Errors
/// As [`super::base_query`].
pub fn matrix_query(
    warehouse: &WarehouseConfig,
    matrix: &RfmMatrix,
    as_of: DateTime<Utc>,
    dialect: Dialect,
) -> Result<String> {
    let select = "SELECT s.r, s.f, s.m, count(*) AS people, sum(s.gone) AS gone FROM cells AS s WHERE s.r IS NOT NULL \
                  GROUP BY s.r, s.f, s.m ORDER BY s.r, s.f, s.m";
    Ok(cells(warehouse, matrix, as_of, dialect)?.select(select).into_sql())
}

/// Everybody's cell: `customer_id`, `r`, `f`, `m` and `gone` as in [`matrix_query`].
///
/// # Errors
/// As [`super::base_query`].
pub fn scores_query(
    warehouse: &WarehouseConfig,
    matrix: &RfmMatrix,
    as_of: DateTime<Utc>,
    dialect: Dialect,
) -> Result<String> {
    let select = "SELECT s.customer_id, s.r, s.f, s.m, s.gone FROM cells AS s WHERE s.r IS NOT NULL \
                  ORDER BY s.r, s.f, s.m, length(s.customer_id), s.customer_id";
    Ok(cells(warehouse, matrix, as_of, dialect)?.select(select).into_sql())
}

fn cells(warehouse: &WarehouseConfig, matrix: &RfmMatrix, as_of: DateTime<Utc>, dialect: Dialect) -> Result<Query> {
    // A cell without axes holds everybody who has one; their own cells are read beside it.
    let all =
        RfmMatrix { cells: vec![crate::config::audience_inactive::RfmCell::default()], preset: None, ..matrix.clone() };
    let columns = ["r", "f", "m", "gone"].map(|axis| (format!("rfm_0.{axis}"), axis));
    let columns = columns.each_ref().map(|(sql, name)| (sql.as_str(), *name));
    let also = Also { columns: &columns, ..Also::default() };
    let everybody = BaseOptions::STATES;
    Ok(Query::judge_with(warehouse, &Inactive::RfmMatrix(all), as_of, dialect, everybody, None, &also)?.then("cells"))
}
