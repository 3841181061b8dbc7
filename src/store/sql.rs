//! One SQL text for both databases: statements with their values, and how columns become values.
//!
//! Placeholders are `$1`, `$2` …, which sqlx numbers the same way on both. Columns have types that both know: TEXT,
//! BIGINT, DOUBLE PRECISION, BOOLEAN. Instants are TEXT of one width, so that they compare as text; JSON is TEXT.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};
use serde_json::Value as Json;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, Database, Decode, Type};

/// A statement and what stands for its placeholders.
#[derive(Debug, Clone)]
pub(super) struct Sql {
    sqlite: Cow<'static, str>,
    postgres: Cow<'static, str>,
    values: Vec<Value>,
}

/// The same text for both.
pub(super) fn sql(text: &'static str) -> Sql {
    sql_for(text, text)
}

/// For the few words that one of them does not know.
pub(super) fn sql_for(sqlite: &'static str, postgres: &'static str) -> Sql {
    Sql { sqlite: sqlite.into(), postgres: postgres.into(), values: Vec::new() }
}

/// A text put together from names of tables and columns, never from values.
pub(super) fn sql_owned(text: String) -> Sql {
    Sql { sqlite: text.clone().into(), postgres: text.into(), values: Vec::new() }
}

impl Sql {
    /// The next placeholder's value.
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }
    pub(super) fn for_sqlite(self) -> sqlx::Result<(AssertSqlSafe<Cow<'static, str>>, SqliteArguments)> {
        Ok((AssertSqlSafe(self.sqlite), arguments(self.values).map_err(sqlx::Error::Encode)?))
    }
    pub(super) fn for_postgres(self) -> sqlx::Result<(AssertSqlSafe<Cow<'static, str>>, PgArguments)> {
        Ok((AssertSqlSafe(self.postgres), arguments(self.values).map_err(sqlx::Error::Encode)?))
    }
}

/// What a placeholder stands for.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(Option<String>),
    Whole(Option<i64>),
    Real(Option<f64>),
    Flag(Option<bool>),
    Bytes(Vec<u8>),
}

fn arguments<A>(values: Vec<Value>) -> Result<A, BoxDynError>
where
    A: Arguments + Default,
    for<'q> Option<String>: sqlx::Encode<'q, A::Database> + Type<A::Database>,
    for<'q> Option<i64>: sqlx::Encode<'q, A::Database> + Type<A::Database>,
    for<'q> Option<f64>: sqlx::Encode<'q, A::Database> + Type<A::Database>,
    for<'q> Option<bool>: sqlx::Encode<'q, A::Database> + Type<A::Database>,
    for<'q> Vec<u8>: sqlx::Encode<'q, A::Database> + Type<A::Database>,
{
    let mut arguments = A::default();
    for value in values {
        match value {
            Value::Text(text) => arguments.add(text)?,
            Value::Whole(number) => arguments.add(number)?,
            Value::Real(number) => arguments.add(number)?,
            Value::Flag(flag) => arguments.add(flag)?,
            Value::Bytes(bytes) => arguments.add(bytes)?,
        }
    }
    Ok(arguments)
}

macro_rules! into_value {
    ($($type:ty => $variant:ident $convert:expr;)*) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                let convert: fn($type) -> _ = $convert;
                Self::$variant(Some(convert(value)))
            }
        }
        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self {
                Self::$variant(value.map($convert))
            }
        }
    )*};
}

into_value! {
    &str => Text |text| text.to_owned();
    String => Text |text| text;
    &String => Text |text| text.clone();
    DateTime<Utc> => Text stamp;
    &Json => Text ToString::to_string;
    i64 => Whole |number| number;
    u32 => Whole i64::from;
    u64 => Whole whole;
    f64 => Real |number| number;
    bool => Flag |flag| flag;
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<&Option<String>> for Value {
    fn from(text: &Option<String>) -> Self {
        Self::Text(text.clone())
    }
}

/// Counts beyond 2⁶³ do not happen.
fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The instant as it is stored: `2026-01-01T00:00:00.000000Z`.
pub(super) fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A TEXT column on its way to what it means.
#[derive(Debug)]
pub struct Cell(Option<String>);

impl<DB: Database> Type<DB> for Cell
where
    String: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        <String as Type<DB>>::type_info()
    }
    fn compatible(info: &DB::TypeInfo) -> bool {
        <String as Type<DB>>::compatible(info)
    }
}

impl<'r, DB: Database> Decode<'r, DB> for Cell
where
    Option<String>: Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
        Option::<String>::decode(value).map(Self)
    }
}

/// A text that does not mean what its column holds. The text itself stays out of errors.
#[derive(Debug, thiserror::Error)]
#[error("not {0}")]
pub struct Unreadable(&'static str);

/// A value kept as text.
pub(super) trait FromText: Sized {
    const WHAT: &'static str;
    fn from_text(text: &str) -> Option<Self>;
}

impl Cell {
    pub(super) fn read<T: FromText>(self) -> Result<T, Unreadable> {
        self.0.as_deref().and_then(T::from_text).ok_or(Unreadable(T::WHAT))
    }
    pub(super) fn read_opt<T: FromText>(self) -> Result<Option<T>, Unreadable> {
        self.0.map(|text| T::from_text(&text).ok_or(Unreadable(T::WHAT))).transpose()
    }
}

/// Lets `#[sqlx(try_from = "Cell")]` read a type, there or absent.
macro_rules! read_from_text {
    ($type:ty, $what:literal, $read:expr) => {
        impl $crate::store::sql::FromText for $type {
            const WHAT: &'static str = $what;
            fn from_text(text: &str) -> Option<Self> {
                let read: fn(&str) -> Option<Self> = $read;
                read(text)
            }
        }
        impl TryFrom<$crate::store::sql::Cell> for $type {
            type Error = $crate::store::sql::Unreadable;
            fn try_from(cell: $crate::store::sql::Cell) -> Result<Self, Self::Error> {
                cell.read()
            }
        }
        impl TryFrom<$crate::store::sql::Cell> for Option<$type> {
            type Error = $crate::store::sql::Unreadable;
            fn try_from(cell: $crate::store::sql::Cell) -> Result<Self, Self::Error> {
                cell.read_opt()
            }
        }
    };
}
pub(super) use read_from_text;

read_from_text!(DateTime<Utc>, "an instant", |text| {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.fZ").ok().map(|at| at.and_utc())
});
read_from_text!(chrono::NaiveDate, "a day", |text| text.parse().ok());
read_from_text!(Json, "JSON", |text| serde_json::from_str(text).ok());
