//! Match readings. They are added and never changed.

use chrono::{DateTime, Utc};
use reveil_sdk::{MatchKind, MatchObservation};

use super::model::{StoredObservation, kind_name};
use super::page::{Cursor, Page, page};
use super::sql::{sql, stamp};
use super::{Store, StoreError};

/// Which readings to list; empty for all.
#[derive(Debug, Clone, Default)]
pub struct ObservationFilter {
    pub audience: Option<String>,
    pub destination: Option<String>,
    pub kind: Option<MatchKind>,
    pub primary: Option<bool>,
    /// Included.
    pub since: Option<DateTime<Utc>>,
    /// Not included.
    pub until: Option<DateTime<Utc>>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    audience: String,
    destination: String,
    connector: String,
    run_id: Option<String>,
    #[sqlx(try_from = "super::sql::Cell")]
    as_of: DateTime<Utc>,
    #[sqlx(try_from = "i64")]
    sent: u64,
    #[sqlx(try_from = "super::sql::Cell")]
    kind: MatchKind,
    low: Option<f64>,
    high: Option<f64>,
    matched: Option<i64>,
    definition: String,
    #[sqlx(try_from = "i64")]
    rules_version: u32,
    primary_reading: bool,
}

impl From<Row> for StoredObservation {
    fn from(row: Row) -> Self {
        Self {
            audience: row.audience,
            destination: row.destination,
            connector: row.connector,
            run_id: row.run_id,
            rules_version: row.rules_version,
            primary: row.primary_reading,
            reading: MatchObservation {
                as_of: row.as_of,
                sent: row.sent,
                kind: row.kind,
                low: row.low,
                high: row.high,
                matched: row.matched.and_then(|matched| u64::try_from(matched).ok()),
                definition: row.definition,
            },
        }
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, audience, destination, connector, run_id, as_of, sent, kind, low, high, matched, definition,
                    rules_version, primary_reading FROM observation ",
            $rest
        )
    };
}

impl Store {
    /// Adds a reading. Readings are never changed.
    ///
    /// # Errors
    /// The database's; `LeaseLost`.
    pub async fn add_observation(&self, observation: &StoredObservation) -> Result<(), StoreError> {
        let reading = &observation.reading;
        let insert = sql(
            "INSERT INTO observation (audience, destination, connector, run_id, as_of, sent, kind, low, high, matched,
                                      definition, rules_version, primary_reading)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        );
        let insert = insert.bind(&observation.audience).bind(&observation.destination).bind(&observation.connector);
        let insert = insert.bind(&observation.run_id).bind(reading.as_of).bind(reading.sent);
        let insert = insert.bind(kind_name(reading.kind)).bind(reading.low).bind(reading.high).bind(reading.matched);
        let insert = insert.bind(&reading.definition).bind(observation.rules_version).bind(observation.primary);
        self.execute_fenced(insert).await.map(drop)
    }

    /// Readings, oldest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn observations(&self, audience: Option<&str>) -> Result<Vec<StoredObservation>, StoreError> {
        let query = sql(select!("WHERE $1 IS NULL OR audience = $1 ORDER BY as_of, id")).bind(audience);
        let rows: Vec<Row> = self.fetch_all(query).await?;
        Ok(rows.into_iter().map(StoredObservation::from).collect())
    }

    /// Readings, newest first. New ones do not move the pages that follow a cursor.
    ///
    /// # Errors
    /// The database's; `Cursor`.
    pub async fn observations_page(
        &self,
        filter: &ObservationFilter,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<StoredObservation>, StoreError> {
        let after = cursor.map(|text| Ok((Cursor::read(text)?, Cursor::number(text)?))).transpose()?;
        let (after_at, after_id) = after.map_or((None, None), |(cursor, id)| (Some(cursor.at), Some(id)));
        let query = sql(select!(
            "WHERE ($1 IS NULL OR audience = $1) AND ($2 IS NULL OR destination = $2) AND ($3 IS NULL OR kind = $3)
             AND ($4 IS NULL OR primary_reading = $4) AND ($5 IS NULL OR as_of >= $5) AND ($6 IS NULL OR as_of < $6)
             AND ($7 IS NULL OR as_of < $7 OR (as_of = $7 AND id < $8))
             ORDER BY as_of DESC, id DESC LIMIT $9"
        ));
        let query = query.bind(&filter.audience).bind(&filter.destination).bind(filter.kind.map(kind_name));
        let query = query.bind(filter.primary).bind(filter.since).bind(filter.until);
        let query = query.bind(after_at).bind(after_id).bind(i64::from(limit) + 1);
        let rows: Vec<Row> = self.fetch_all(query).await?;
        let rows = page(rows, limit, |row| Cursor { at: stamp(row.as_of), id: row.id.to_string() });
        Ok(Page { items: rows.items.into_iter().map(StoredObservation::from).collect(), next: rows.next })
    }
}
