//! The recency, frequency, monetary matrix as counts.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::config::audience_inactive::{RfmMatrix, RfmVariant};
use crate::config::warehouse::WarehouseConfig;
use crate::warehouse::{Columns, Error, ErrorKind, Result, Source};

/// Customers of one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Cell {
    pub r: u32,
    pub f: u32,
    /// `None` where the variant has no third axis.
    pub m: Option<u32>,
    pub customers: u64,
    /// Of them: active before the period and not in it.
    pub win_back: u64,
}

/// The matrix of everybody who ever did what the variant counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Matrix {
    pub variant: RfmVariant,
    pub as_of: DateTime<Utc>,
    /// Groups of each axis, 1 = worst: r, f, m (0 without it).
    pub groups: [u32; 3],
    pub period_days: u32,
    pub customers: u64,
    /// To win back ("à reconquérir"): active before the period and not in it.
    pub win_back: u64,
    /// Of the five-group matrix: recency up to 2, frequency (and value) from 4. `None` for other group numbers.
    pub high_value: Option<u64>,
    pub cells: Vec<Cell>,
}

impl Matrix {
    /// Customers, and those of them to win back, in all cells of this recency and frequency.
    pub fn cell(&self, r: u32, f: u32) -> (u64, u64) {
        let cells = self.cells.iter().filter(|cell| (cell.r, cell.f) == (r, f));
        cells.fold((0, 0), |sum, cell| (sum.0 + cell.customers, sum.1 + cell.win_back))
    }

    /// True when most customers of the cell are to be won back.
    pub fn is_win_back(&self, r: u32, f: u32) -> bool {
        let (customers, win_back) = self.cell(r, f);
        2 * win_back > customers
    }
}

/// Counts the cells.
///
/// # Errors
/// A faulty matrix, or whatever the warehouse answers.
pub async fn matrix(
    source: &dyn Source,
    warehouse: &WarehouseConfig,
    matrix: &RfmMatrix,
    as_of: DateTime<Utc>,
) -> Result<Matrix> {
    let mut stream = source.query(&super::sql::matrix_query(warehouse, matrix, as_of, source.dialect())?).await?;
    let money = matrix.variant == RfmVariant::Rfm;
    let mut cells = Vec::new();
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let columns = Columns::new(&batch);
        for row in 0..columns.rows() {
            let number = |name| columns.get(name).and_then(|values| values.i64(row)).map(|number| number as u64);
            let [Some(r), Some(f), Some(m), Some(customers), Some(win_back)] =
                ["r", "f", "m", "people", "gone"].map(number)
            else {
                return Err(Error::new(ErrorKind::Other, "the warehouse returned no numbers for the matrix"));
            };
            let m = money.then_some(m as u32);
            cells.push(Cell { r: r as u32, f: f as u32, m, customers, win_back });
        }
    }
    let groups = |limits: usize| if limits == 0 { matrix.bins } else { limits as u32 + 1 };
    let groups = [
        groups(matrix.limits.recency_days.len()),
        groups(matrix.limits.frequency.len()),
        if money { groups(matrix.limits.monetary_minor.len()) } else { 0 },
    ];
    let high = |cell: &&Cell| cell.r <= 2 && cell.f >= 4 && cell.m.is_none_or(|m| m >= 4);
    let five = groups.iter().all(|number| [0, 5].contains(number));
    Ok(Matrix {
        variant: matrix.variant,
        as_of,
        groups,
        period_days: matrix.period_days,
        customers: cells.iter().map(|cell| cell.customers).sum(),
        win_back: cells.iter().map(|cell| cell.win_back).sum(),
        high_value: five.then(|| cells.iter().filter(high).map(|cell| cell.customers).sum()),
        cells,
    })
}

/// One customer's place in the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Score<'a> {
    pub customer_id: &'a str,
    pub r: i64,
    pub f: i64,
    /// `None` where the variant has no third axis.
    pub m: Option<i64>,
    pub win_back: bool,
}

/// Hands everybody's place to `take`, the worst cells first.
///
/// # Errors
/// As [`matrix`], and whatever `take` returns.
pub async fn scores<E: From<Error>>(
    source: &dyn Source,
    warehouse: &WarehouseConfig,
    matrix: &RfmMatrix,
    as_of: DateTime<Utc>,
    mut take: impl FnMut(Score<'_>) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let mut stream = source.query(&super::sql::scores_query(warehouse, matrix, as_of, source.dialect())?).await?;
    let money = matrix.variant == RfmVariant::Rfm;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let columns = Columns::new(&batch);
        for row in 0..columns.rows() {
            let number = |name| columns.get(name).and_then(|values| values.i64(row));
            let id = columns.get("customer_id").and_then(|values| values.string(row));
            let ([Some(r), Some(f), Some(m), Some(gone)], Some(id)) = (["r", "f", "m", "gone"].map(number), id) else {
                return Err(Error::new(ErrorKind::Other, "the warehouse returned no numbers for the matrix").into());
            };
            take(Score { customer_id: &id, r, f, m: money.then_some(m), win_back: gone == 1 })?;
        }
    }
    Ok(())
}
