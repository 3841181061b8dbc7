//! Readers: a warehouse is a [`Source`] that answers SQL with a stream of Arrow batches.
//!
//! SQLite, PostgreSQL and lists in CSV or Parquet files are built in; every other warehouse comes through an ADBC
//! driver in a child process. What the SQL says is [`crate::segment`]'s; [`Columns`] gives typed access to the rows
//! whatever types the warehouse used. No error holds a uri or a value out of a row.

mod adbc;
mod error;
mod files;
mod postgres;
mod postgres_copy;
mod rows;
mod sqlite;
mod stream;

pub use adbc::{AdbcSource, adbc_child_main};
pub use error::{Error, ErrorKind, Result};
pub use files::FilesSource;
pub use postgres::PostgresSource;
pub use rows::{Columns, Values, parse_bool, parse_time};
pub use sqlite::SqliteSource;
pub use stream::BatchStream;

pub use crate::config::warehouse::Dialect;
use crate::config::warehouse::WarehouseConfig;

/// A column of a table, as the warehouse describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// The warehouse's own word, lower case; empty when it has none.
    pub type_name: String,
}

/// Something that answers SQL with Arrow batches.
#[async_trait::async_trait]
pub trait Source: Send + Sync {
    /// The SQL it understands.
    fn dialect(&self) -> Dialect;

    /// Runs one SELECT. Batches come as fast as they are taken; dropping the stream ends the query.
    ///
    /// # Errors
    /// Whatever can be known before the first row; later ones come in the stream.
    async fn query(&self, sql: &str) -> Result<BatchStream>;

    /// Proves that the warehouse can be reached and read. Writes nothing.
    async fn check(&self) -> Result<()>;

    /// The columns of a table, view or query in parentheses, in order.
    async fn columns(&self, table: &str) -> Result<Vec<Column>>;
}

/// The source that `[warehouse]` describes. Files are loaded here; databases are first reached by a query.
///
/// # Errors
/// Missing or contradictory settings; files that cannot be read.
pub async fn open(config: &WarehouseConfig) -> Result<Box<dyn Source>> {
    let uri = || {
        config.uri.clone().ok_or_else(|| {
            Error::config(format!("[warehouse] driver = \"{}\" needs a `uri`", config.driver))
                .hint("for instance uri = \"file:shop.db\" or uri = \"${WAREHOUSE_URI}\"")
        })
    };
    Ok(match config.driver.as_str() {
        "sqlite" => Box::new(SqliteSource::new(&uri()?)?),
        "postgresql" | "postgres" => Box::new(PostgresSource::new(&uri()?)?),
        "files" | "csv" | "parquet" => Box::new(FilesSource::load(&config.files).await?),
        _ => Box::new(AdbcSource::new(config)?),
    })
}

/// `"a"."b"` for `a.b`; a query in parentheses stays as it is.
pub(crate) fn quote_table(table: &str, dialect: Dialect) -> String {
    let table = table.trim();
    if table.starts_with('(') {
        return table.to_owned();
    }
    table.split('.').map(|part| quote_name(part, dialect)).collect::<Vec<_>>().join(".")
}

/// A name as the dialect quotes it. In `ansi` plain names stay bare, because engines that fold to upper case
/// (Snowflake, Oracle) would not find `"customers"`.
pub(crate) fn quote_name(name: &str, dialect: Dialect) -> String {
    let plain = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if dialect == Dialect::Ansi && plain && !RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Words that standard SQL keeps for itself and that people use as names.
const RESERVED: [&str; 28] = [
    "all",
    "at",
    "by",
    "case",
    "check",
    "column",
    "date",
    "day",
    "default",
    "desc",
    "end",
    "from",
    "group",
    "in",
    "key",
    "limit",
    "month",
    "order",
    "primary",
    "select",
    "table",
    "time",
    "timestamp",
    "to",
    "user",
    "value",
    "where",
    "year",
];

#[cfg(test)]
mod tests {
    use super::{Dialect, quote_table};

    #[test]
    fn quotes_names() {
        assert_eq!(quote_table("shop.Orders", Dialect::Postgresql), "\"shop\".\"Orders\"");
        assert_eq!(quote_table("shop.order", Dialect::Ansi), "shop.\"order\"");
        assert_eq!(quote_table("a\"b", Dialect::Sqlite), "\"a\"\"b\"");
        assert_eq!(quote_table("(SELECT 1)", Dialect::Ansi), "(SELECT 1)");
    }
}
