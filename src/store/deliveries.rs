//! What platforms say was delivered, flight by flight, as given by the user.

use chrono::NaiveDate;
use serde::Serialize;
use sqlx::Row;

use super::{Store, StoreError};

/// One flight of one audience on one destination. Sums of persons and money, nobody's data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeliveryFigures {
    pub audience: String,
    pub destination: String,
    pub from: NaiveDate,
    /// Included.
    pub to: NaiveDate,
    pub impressions: u64,
    /// Distinct persons who saw it.
    pub reach: Option<u64>,
    pub clicks: Option<u64>,
    /// Whole units of `currency`.
    pub spend: Option<f64>,
    /// Orders the platform claims.
    pub orders: Option<u64>,
    pub currency: Option<String>,
}

impl Store {
    /// Writes flights, all or none; one known by audience, destination and days is replaced.
    ///
    /// # Errors
    /// The database's.
    pub async fn save_deliveries(&self, flights: &[DeliveryFigures]) -> Result<(), StoreError> {
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let mut transaction = self.pool.begin().await.map_err(|error| self.fail(error))?;
        for flight in flights {
            sqlx::query("INSERT OR REPLACE INTO delivery VALUES (?,?,?,?,?,?,?,?,?,?)")
                .bind(&flight.audience)
                .bind(&flight.destination)
                .bind(flight.from.to_string())
                .bind(flight.to.to_string())
                .bind(whole(flight.impressions))
                .bind(flight.reach.map(whole))
                .bind(flight.clicks.map(whole))
                .bind(flight.spend)
                .bind(flight.orders.map(whole))
                .bind(&flight.currency)
                .execute(&mut *transaction)
                .await
                .map_err(|error| self.fail(error))?;
        }
        transaction.commit().await.map_err(|error| self.fail(error))
    }

    /// All flights, oldest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn deliveries(&self) -> Result<Vec<DeliveryFigures>, StoreError> {
        let rows = sqlx::query(
            "SELECT audience, destination, first_day, last_day, impressions, reach, clicks, spend, orders, currency
             FROM delivery ORDER BY first_day, last_day, audience, destination",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.fail(error))?;
        let count = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        rows.iter()
            .map(|row| {
                Some(DeliveryFigures {
                    audience: row.get(0),
                    destination: row.get(1),
                    from: row.get::<&str, _>(2).parse().ok()?,
                    to: row.get::<&str, _>(3).parse().ok()?,
                    impressions: count(row.get(4))?,
                    reach: count(row.get(5)),
                    clicks: count(row.get(6)),
                    spend: row.get(7),
                    orders: count(row.get(8)),
                    currency: row.get(9),
                })
            })
            .collect::<Option<_>>()
            .ok_or(StoreError::Malformed { table: "delivery" })
    }
}
