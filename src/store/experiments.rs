//! What own experiments came to. Sums over persons, nobody's data.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use super::sql::sql;
use super::{Store, StoreError};

/// One experiment, read after its windows had ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MeasuredExperiment {
    pub audience: String,
    /// Of its draws; another salt withholds other people, so it is another experiment.
    pub salts: String,
    pub as_of: DateTime<Utc>,
    pub window_days: u32,
    pub first_day: NaiveDate,
    pub last_day: NaiveDate,
    pub treated: u64,
    pub treated_buyers: u64,
    pub holdout: u64,
    pub holdout_buyers: u64,
    /// Of the treated: who saw an ad, as far as it was known then.
    pub reached_share: f64,
    pub reached_source: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    audience: String,
    salts: String,
    #[sqlx(try_from = "super::sql::Cell")]
    as_of: DateTime<Utc>,
    window_days: i64,
    #[sqlx(try_from = "super::sql::Cell")]
    first_day: NaiveDate,
    #[sqlx(try_from = "super::sql::Cell")]
    last_day: NaiveDate,
    #[sqlx(try_from = "i64")]
    treated: u64,
    #[sqlx(try_from = "i64")]
    treated_buyers: u64,
    #[sqlx(try_from = "i64")]
    holdout: u64,
    #[sqlx(try_from = "i64")]
    holdout_buyers: u64,
    reached_share: f64,
    reached_source: String,
}

impl From<Row> for MeasuredExperiment {
    fn from(row: Row) -> Self {
        Self {
            audience: row.audience,
            salts: row.salts,
            as_of: row.as_of,
            window_days: u32::try_from(row.window_days).unwrap_or(u32::MAX),
            first_day: row.first_day,
            last_day: row.last_day,
            treated: row.treated,
            treated_buyers: row.treated_buyers,
            holdout: row.holdout,
            holdout_buyers: row.holdout_buyers,
            reached_share: row.reached_share,
            reached_source: row.reached_source,
        }
    }
}

impl Store {
    /// Writes what an experiment came to; an earlier reading of it is replaced.
    ///
    /// # Errors
    /// The database's.
    pub async fn save_experiment(&self, it: &MeasuredExperiment) -> Result<(), StoreError> {
        let upsert = sql(
            "INSERT INTO experiment (audience, salts, as_of, window_days, first_day, last_day, treated, treated_buyers,
                                     holdout, holdout_buyers, reached_share, reached_source)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
             ON CONFLICT (audience, salts) DO UPDATE SET
                as_of = excluded.as_of, window_days = excluded.window_days, first_day = excluded.first_day,
                last_day = excluded.last_day, treated = excluded.treated, treated_buyers = excluded.treated_buyers,
                holdout = excluded.holdout, holdout_buyers = excluded.holdout_buyers,
                reached_share = excluded.reached_share, reached_source = excluded.reached_source",
        );
        let upsert = upsert.bind(&it.audience).bind(&it.salts).bind(it.as_of).bind(it.window_days);
        let upsert = upsert.bind(it.first_day.to_string()).bind(it.last_day.to_string());
        let upsert = upsert.bind(it.treated).bind(it.treated_buyers).bind(it.holdout).bind(it.holdout_buyers);
        self.execute(upsert.bind(it.reached_share).bind(&it.reached_source)).await.map(drop)
    }

    /// All experiments, oldest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn experiments(&self) -> Result<Vec<MeasuredExperiment>, StoreError> {
        let query =
            sql("SELECT audience, salts, as_of, window_days, first_day, last_day, treated, treated_buyers, holdout,
                    holdout_buyers, reached_share, reached_source
             FROM experiment ORDER BY first_day, audience, salts");
        let rows: Vec<Row> = self.fetch_all(query).await?;
        Ok(rows.into_iter().map(MeasuredExperiment::from).collect())
    }
}
