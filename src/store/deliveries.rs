//! What platforms say was delivered, flight by flight, as given by the user.

use chrono::NaiveDate;
use serde::Serialize;

use super::sql::sql;
use super::{Store, StoreError};

/// One flight of one audience on one destination. Sums of persons and money, nobody's data.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
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

#[derive(sqlx::FromRow)]
struct Row {
    audience: String,
    destination: String,
    #[sqlx(try_from = "super::sql::Cell")]
    first_day: NaiveDate,
    #[sqlx(try_from = "super::sql::Cell")]
    last_day: NaiveDate,
    #[sqlx(try_from = "i64")]
    impressions: u64,
    reach: Option<i64>,
    clicks: Option<i64>,
    spend: Option<f64>,
    orders: Option<i64>,
    currency: Option<String>,
}

impl From<Row> for DeliveryFigures {
    fn from(row: Row) -> Self {
        let count = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        Self {
            audience: row.audience,
            destination: row.destination,
            from: row.first_day,
            to: row.last_day,
            impressions: row.impressions,
            reach: count(row.reach),
            clicks: count(row.clicks),
            spend: row.spend,
            orders: count(row.orders),
            currency: row.currency,
        }
    }
}

impl Store {
    /// Writes flights, all or none; one known by audience, destination and days is replaced.
    ///
    /// # Errors
    /// The database's.
    pub async fn save_deliveries(&self, flights: &[DeliveryFigures]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for flight in flights {
            let upsert = sql(
                "INSERT INTO delivery (audience, destination, first_day, last_day, impressions, reach, clicks, spend,
                                       orders, currency)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
                 ON CONFLICT (audience, destination, first_day, last_day) DO UPDATE SET
                    impressions = excluded.impressions, reach = excluded.reach, clicks = excluded.clicks,
                    spend = excluded.spend, orders = excluded.orders, currency = excluded.currency",
            );
            let upsert = upsert.bind(&flight.audience).bind(&flight.destination);
            let upsert = upsert.bind(flight.from.to_string()).bind(flight.to.to_string());
            let upsert = upsert.bind(flight.impressions).bind(flight.reach).bind(flight.clicks).bind(flight.spend);
            tx.execute(upsert.bind(flight.orders).bind(&flight.currency)).await?;
        }
        tx.commit().await
    }

    /// All flights, oldest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn deliveries(&self) -> Result<Vec<DeliveryFigures>, StoreError> {
        let query = sql(
            "SELECT audience, destination, first_day, last_day, impressions, reach, clicks, spend, orders, currency
             FROM delivery ORDER BY first_day, last_day, audience, destination",
        );
        let rows: Vec<Row> = self.fetch_all(query).await?;
        Ok(rows.into_iter().map(DeliveryFigures::from).collect())
    }
}
