//! How each dialect writes what differs: names, instants, days, money.
//!
//! Instants: SQLite compares seconds since 1970, the others their own timestamps. Limits are worked out here and
//! written as constants, so no dialect has to subtract days.

use chrono::{DateTime, Utc};

use crate::config::warehouse::{Dialect, Field, TimeForm, ValueUnit};
use crate::warehouse::{quote_name, quote_table};

impl Dialect {
    pub(super) fn name(self, name: &str) -> String {
        quote_name(name, self)
    }

    pub(super) fn table(self, table: &str) -> String {
        quote_table(table, self)
    }

    /// A mapped value; columns are looked up in `alias`.
    pub(super) fn field(self, field: &Field, alias: &str) -> String {
        match field {
            Field::Column(name) => format!("{alias}.{}", self.name(name)),
            Field::Literal(text) => literal(text),
            Field::Expression(sql) => sql.clone(),
        }
    }

    pub(super) fn text(self, expression: &str) -> String {
        match self {
            Self::Ansi => format!("CAST({expression} AS VARCHAR)"),
            _ => format!("CAST({expression} AS TEXT)"),
        }
    }

    /// A stored time as an instant that compares with [`Dialect::instant`].
    pub(super) fn time(self, stored: &str, form: TimeForm) -> String {
        match (self, form) {
            // Whole numbers are seconds, or milliseconds when they are that large (as seconds the year 5138).
            (Self::Sqlite, TimeForm::Auto) => format!(
                "CASE WHEN typeof({stored}) <> 'integer' THEN unixepoch({stored}, 'auto') \
                 WHEN abs({stored}) >= 100000000000 THEN {stored} / 1000 ELSE {stored} END"
            ),
            (Self::Sqlite, TimeForm::UnixSeconds) => format!("CAST({stored} AS INTEGER)"),
            (Self::Sqlite, TimeForm::UnixMillis) => format!("(CAST({stored} AS INTEGER) / 1000)"),
            (Self::Postgresql, TimeForm::Auto) => format!("CAST({stored} AS TIMESTAMPTZ)"),
            (Self::Postgresql, TimeForm::UnixSeconds) => format!("to_timestamp(CAST({stored} AS DOUBLE PRECISION))"),
            (Self::Postgresql, TimeForm::UnixMillis) => {
                format!("to_timestamp(CAST({stored} AS DOUBLE PRECISION) / 1000)")
            }
            (Self::Ansi, TimeForm::Auto) => format!("CAST({stored} AS TIMESTAMP)"),
            (Self::Ansi, TimeForm::UnixSeconds) => {
                format!("(TIMESTAMP '1970-01-01 00:00:00' + {stored} * INTERVAL '1' SECOND)")
            }
            (Self::Ansi, TimeForm::UnixMillis) => {
                format!("(TIMESTAMP '1970-01-01 00:00:00' + ({stored} / 1000) * INTERVAL '1' SECOND)")
            }
        }
    }

    pub(super) fn instant(self, at: DateTime<Utc>) -> String {
        match self {
            Self::Sqlite => at.timestamp().to_string(),
            Self::Postgresql => format!("TIMESTAMPTZ '{}+00'", at.format("%Y-%m-%d %H:%M:%S")),
            Self::Ansi => format!("TIMESTAMP '{}'", at.format("%Y-%m-%d %H:%M:%S")),
        }
    }

    /// Days since 1970 (UTC) of an instant.
    pub(super) fn day(self, instant: &str) -> String {
        match self {
            Self::Sqlite => format!("({instant} / 86400)"),
            Self::Postgresql => format!("(CAST({instant} AT TIME ZONE 'UTC' AS DATE) - DATE '1970-01-01')"),
            Self::Ansi => format!("CAST(FLOOR(EXTRACT(EPOCH FROM {instant}) / 86400) AS BIGINT)"),
        }
    }

    /// An instant as the warehouse shows it in a result.
    pub(super) fn shown(self, instant: &str) -> String {
        match self {
            Self::Sqlite => format!("strftime('%Y-%m-%dT%H:%M:%SZ', {instant}, 'unixepoch')"),
            _ => instant.to_owned(),
        }
    }

    /// The date of an instant as text.
    pub(super) fn date_text(self, instant: &str) -> String {
        match self {
            Self::Sqlite => format!("strftime('%Y-%m-%d', {instant}, 'unixepoch')"),
            Self::Postgresql => format!("to_char({instant} AT TIME ZONE 'UTC', 'YYYY-MM-DD')"),
            Self::Ansi => format!("CAST(CAST({instant} AS DATE) AS VARCHAR)"),
        }
    }

    /// A stored amount in hundredths.
    pub(super) fn minor(self, stored: &str, unit: ValueUnit) -> String {
        let number = match self {
            // Keeps whole numbers whole and reads numbers out of text.
            Self::Sqlite => format!("({stored} + 0)"),
            Self::Postgresql => format!("CAST({stored} AS NUMERIC)"),
            Self::Ansi => format!("CAST({stored} AS DECIMAL(18, 4))"),
        };
        match unit {
            ValueUnit::Minor => number,
            ValueUnit::Major => format!("({number} * 100)"),
        }
    }

    pub(super) fn whole(self, number: &str) -> String {
        match self {
            Self::Sqlite => format!("CAST(round({number}) AS INTEGER)"),
            _ => format!("CAST(round({number}) AS BIGINT)"),
        }
    }

    pub(super) fn float(self, number: &str) -> String {
        match self {
            Self::Sqlite => format!("CAST({number} AS REAL)"),
            _ => format!("CAST({number} AS DOUBLE PRECISION)"),
        }
    }

    pub(super) fn no_number(self) -> &'static str {
        match self {
            Self::Sqlite => "NULL",
            Self::Postgresql => "CAST(NULL AS NUMERIC)",
            Self::Ansi => "CAST(NULL AS DECIMAL(18, 4))",
        }
    }

    /// SQLite would copy a subquery's expressions into the outer query and work out each time twice or more. A limit
    /// that does not limit keeps it from that.
    pub(super) fn once(self) -> &'static str {
        match self {
            Self::Sqlite => " LIMIT -1",
            _ => "",
        }
    }
}

/// A text constant. Doubling quotes is enough in the dialects written here; a backslash is refused where a customer's id
/// comes from outside, because some engines behind ADBC read it as an escape.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

pub(super) fn list(kinds: &[String]) -> String {
    kinds.iter().map(|kind| literal(kind)).collect::<Vec<_>>().join(", ")
}
