//! A date or an instant in a request.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Deserializer, de};
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{KnownFormat, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// `2026-01-01`, which is midnight UTC, or `2026-01-01T12:00:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(DateTime<Utc>);

impl Moment {
    pub fn instant(self) -> DateTime<Utc> {
        self.0
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Ok(date) = text.parse::<NaiveDate>() {
            return Ok(Self(date.and_time(chrono::NaiveTime::MIN).and_utc()));
        }
        DateTime::parse_from_rfc3339(&text)
            .map(|at| Self(at.with_timezone(&Utc)))
            .map_err(|_| de::Error::custom("is not a date or instant; write 2026-01-01 or 2026-01-01T12:00:00Z"))
    }
}

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        let text = |format| {
            ObjectBuilder::new()
                .schema_type(SchemaType::Type(Type::String))
                .format(Some(SchemaFormat::KnownFormat(format)))
                // A year of four digits: what the warehouses can read.
                .pattern(Some("^(19|20|21)[0-9]{2}-"))
        };
        AnyOfBuilder::new()
            .description(Some("A date, which is midnight UTC, or an instant"))
            .examples(["2026-01-01", "2026-01-01T12:00:00Z"])
            .item(text(KnownFormat::Date))
            .item(text(KnownFormat::DateTime))
            .into()
    }
}

impl ToSchema for Moment {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dates_and_instants() {
        let read = |text: &str| serde_json::from_value::<Moment>(text.into()).map(|moment| moment.0.to_rfc3339());
        assert_eq!(read("2026-01-01").unwrap(), "2026-01-01T00:00:00+00:00");
        assert_eq!(read("2026-01-01T12:00:00+02:00").unwrap(), "2026-01-01T10:00:00+00:00");
        assert!(read("soon").unwrap_err().to_string().contains("write 2026-01-01"));
    }
}
