//! PostgreSQL: one connection per query, a read-only transaction, rows by binary COPY.
//!
//! COPY is measured nearly twice as fast as the row protocol. The types of the columns come from preparing the
//! query first; a type without a decoder in [`super::postgres_copy`] is cast to text by the server, so any type can be
//! read. Dropping the stream closes the connection, and the server notices within two seconds.

use futures::StreamExt;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Column as _, ConnectOptions, Connection, Executor, Statement, TypeInfo};

use super::postgres_copy::{CopyDecoder, Kind};
use super::stream::BatchSender;
use super::{BatchStream, Column, Dialect, Error, ErrorKind, Result, Source, quote_table};

const LABEL: &str = "PostgreSQL";

/// A PostgreSQL database.
#[derive(Clone)]
pub struct PostgresSource {
    options: PgConnectOptions,
}

impl std::fmt::Debug for PostgresSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresSource").finish_non_exhaustive()
    }
}

impl PostgresSource {
    /// From `postgresql://user:password@host:5432/database?sslmode=…`. Connects with each query.
    ///
    /// # Errors
    /// A uri that is none.
    pub fn new(uri: &SecretString) -> Result<Self> {
        let options: PgConnectOptions = uri.expose_secret().parse().map_err(|_| {
            Error::config("[warehouse] uri is not a PostgreSQL uri").hint(
                "postgresql://user:password@host:5432/database, special characters of the password percent-encoded",
            )
        })?;
        Ok(Self { options: options.application_name("reveil").disable_statement_logging() })
    }

    async fn connect(&self) -> Result<PgConnection> {
        let mut connection = PgConnection::connect_with(&self.options).await.map_err(|error| from_sqlx(&error))?;
        // Makes the server look for a closed connection during a long sort; and compiling a query at run time, which the
        // costs below would always ask for, takes longer than most segments. Older versions know neither setting.
        for (setting, value, since) in [("client_connection_check_interval", "2s", 140_000), ("jit", "off", 110_000)] {
            let set = format!(
                "SELECT set_config('{setting}', '{value}', false) \
                 WHERE current_setting('server_version_num')::int >= {since}"
            );
            let _ = sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut connection).await;
        }
        // A segment reads whole tables. Nested loops only ever win there by a wrong estimate of a subquery's rows, and
        // then run it once per customer.
        let session = "SET TIME ZONE 'UTC'; SET standard_conforming_strings = on; SET enable_nestloop = off; \
                       BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        sqlx::raw_sql(session).execute(&mut connection).await.map_err(|error| from_sqlx(&error))?;
        Ok(connection)
    }
}

#[async_trait::async_trait]
impl Source for PostgresSource {
    fn dialect(&self) -> Dialect {
        Dialect::Postgresql
    }

    async fn query(&self, sql: &str) -> Result<BatchStream> {
        let mut connection = self.connect().await?;
        let columns = describe(&mut connection, sql).await?;
        let copy = copy_statement(sql, &columns);
        let decoder = CopyDecoder::new(columns);
        // The task ends, and the connection with it, as soon as nobody listens.
        let (sender, stream) = BatchStream::channel(|| {});
        tokio::spawn(async move {
            let failed = tokio::select! {
                result = pump(&mut connection, &copy, decoder, &sender) => result.err(),
                () = sender.closed() => None,
            };
            if let Some(error) = failed {
                let _ = sender.send(Err(error)).await;
            }
        });
        Ok(stream)
    }

    async fn check(&self) -> Result<()> {
        let mut connection = self.connect().await?;
        connection.execute("SELECT 1").await.map_err(|error| from_sqlx(&error))?;
        let _ = connection.close().await;
        Ok(())
    }

    async fn columns(&self, table: &str) -> Result<Vec<Column>> {
        let mut connection = self.connect().await?;
        let table = quote_table(table, Dialect::Postgresql);
        let alias = if table.starts_with('(') { " AS t" } else { "" };
        let sql = format!("SELECT * FROM {table}{alias}");
        let statement = connection.prepare(sqlx::SqlSafeStr::into_sql_str(AssertSqlSafe(sql))).await;
        let statement = statement.map_err(|error| from_sqlx(&error))?;
        let columns = statement.columns().iter();
        Ok(columns
            .map(|column| Column {
                name: column.name().to_owned(),
                type_name: column.type_info().name().to_ascii_lowercase(),
            })
            .collect())
    }
}

async fn describe(connection: &mut PgConnection, sql: &str) -> Result<Vec<(String, Kind)>> {
    let sql = sqlx::SqlSafeStr::into_sql_str(AssertSqlSafe(sql.to_owned()));
    let statement = connection.prepare(sql).await.map_err(|error| from_sqlx(&error))?;
    Ok(statement
        .columns()
        .iter()
        .map(|column| (column.name().to_owned(), Kind::of(column.type_info().name())))
        .collect())
}

/// Columns are addressed by position, so that names may repeat or be anything.
fn copy_statement(sql: &str, columns: &[(String, Kind)]) -> String {
    let aliases: Vec<String> = (0..columns.len()).map(|index| format!("c{index}")).collect();
    let outputs: Vec<String> = columns
        .iter()
        .zip(&aliases)
        .map(|((_, kind), alias)| if *kind == Kind::Other { format!("{alias}::text") } else { alias.clone() })
        .collect();
    let sql = sql.trim().trim_end_matches(';');
    format!(
        "COPY (SELECT {} FROM ({sql}\n) AS q({})) TO STDOUT (FORMAT binary)",
        outputs.join(", "),
        aliases.join(", ")
    )
}

async fn pump(connection: &mut PgConnection, copy: &str, mut decoder: CopyDecoder, sender: &BatchSender) -> Result<()> {
    let mut chunks = connection.copy_out_raw(copy).await.map_err(|error| from_sqlx(&error))?;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| from_sqlx(&error))?;
        decoder.feed(&chunk)?;
        if let Some(batch) = decoder.full_batch()
            && sender.send(Ok(batch)).await.is_err()
        {
            return Ok(());
        }
    }
    if let Some(batch) = decoder.finish()? {
        let _ = sender.send(Ok(batch)).await;
    }
    Ok(())
}

/// sqlx's own words can hold connection settings, so only database messages are passed on.
fn from_sqlx(error: &sqlx::Error) -> Error {
    let make = |kind, text: &str, hint: &str| Error::new(kind, format!("{LABEL}: {text}")).hint(hint);
    match error {
        sqlx::Error::Database(database) => match database.code() {
            Some(code) => Error::from_sqlstate(LABEL, &code, database.message()),
            None => make(ErrorKind::Other, "the server refused the query", "look into the server's log"),
        },
        sqlx::Error::Io(cause) => make(
            ErrorKind::Unreachable,
            &format!("cannot connect or was cut off ({})", cause.kind()),
            "check host and port in [warehouse] uri, and that the server is up",
        ),
        sqlx::Error::Tls(_) => make(
            ErrorKind::Unreachable,
            "TLS failed",
            "check the server's certificate and `sslmode` in [warehouse] uri",
        ),
        sqlx::Error::Protocol(_) => make(
            ErrorKind::Unreachable,
            "the reply is not of PostgreSQL's protocol",
            "check host and port in [warehouse] uri",
        ),
        _ => make(ErrorKind::Other, "the connection failed", "check [warehouse] uri"),
    }
}
