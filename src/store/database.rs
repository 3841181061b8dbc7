//! The two databases behind one set of calls: read, write, transaction.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgRow};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Connection as _, FromRow, Postgres, Sqlite, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::error::StoreError;
use super::sql::Sql;

/// A writer waits this long for another process's (`reveil sync` beside the daemon); transactions take milliseconds.
pub(super) const BUSY: Duration = Duration::from_secs(10);
/// Readers never wait in WAL mode; a fourth connection already idles most of the time.
const SQLITE_CONNECTIONS: u32 = 4;
/// For a connection of this process's own; only a stuck disk makes anybody wait so long.
const SQLITE_ACQUIRE: Duration = Duration::from_secs(15);
/// The longest statement reads one page of a list. Also bounds how long a replica frozen within a transaction can
/// keep the others from claiming.
const STATEMENT_MILLIS: &str = "20000";
/// Beyond the server's own limit: the answer was lost, or the network swallows it.
const ANSWER: Duration = Duration::from_secs(30);
/// A living server answers this in milliseconds.
const PING: Duration = Duration::from_secs(5);

/// What can be read from a row of either database.
pub(super) trait Stored:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin + 'static
{
}
impl<T> Stored for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin + 'static {}

/// Where statements go.
#[derive(Debug, Clone)]
pub(super) struct Database {
    pub(super) pools: Pools,
    /// For errors: a path, or server and database without user and password.
    place: Arc<str>,
}

#[derive(Debug, Clone)]
pub(super) enum Pools {
    Sqlite {
        pool: SqlitePool,
        /// SQLite has one writer, and who waits for it there polls and keeps a connection from readers. Within this
        /// process they queue here instead.
        writer: Arc<Mutex<()>>,
    },
    Postgres(PgPool),
}

/// A transaction that writes; undone when dropped before [`Tx::commit`].
pub(super) struct Tx {
    inner: Inner,
    place: Arc<str>,
}

enum Inner {
    // The turn ends after the transaction.
    Sqlite(Transaction<'static, Sqlite>, OwnedMutexGuard<()>),
    Postgres(Transaction<'static, Postgres>),
}

/// One connection, in a transaction or not.
enum Connection<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

pub(super) fn sqlite_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
}

impl Database {
    pub(super) fn sqlite(options: SqliteConnectOptions) -> Self {
        let place = options.get_filename().display().to_string().into();
        let pool = SqlitePoolOptions::new().max_connections(SQLITE_CONNECTIONS).acquire_timeout(SQLITE_ACQUIRE);
        // SQLite undoes a transaction by itself when the disk is full. Rolling it back fails then, and sqlx goes on
        // counting it: such a connection would refuse every later transaction. The ping makes the rollback happen first.
        let pool = pool.after_release(|connection, _| {
            Box::pin(async { connection.ping().await.map(|()| !connection.is_in_transaction()) })
        });
        let pool = pool.connect_lazy_with(options);
        Self { pools: Pools::Sqlite { pool, writer: Arc::default() }, place }
    }

    pub(super) fn postgres(options: PgConnectOptions, connections: u32, patience: Duration) -> Self {
        let database = options.get_database().unwrap_or(options.get_username());
        let place = format!("{}:{}/{database}", options.get_host(), options.get_port()).into();
        let options = options.application_name("reveil").options([
            ("statement_timeout", STATEMENT_MILLIS),
            ("idle_in_transaction_session_timeout", STATEMENT_MILLIS),
        ]);
        // sqlx asks every connection that comes back whether it lives, without an end to its patience: those to a
        // server that has vanished would be out of the pool until TCP gives up, a quarter of an hour later.
        let pool = PgPoolOptions::new().max_connections(connections).acquire_timeout(patience).after_release(
            |connection, _| {
                Box::pin(async {
                    let alive = tokio::time::timeout(PING, connection.ping()).await;
                    alive.unwrap_or_else(|_| Err(no_answer())).map(|()| true)
                })
            },
        );
        Self { pools: Pools::Postgres(pool.connect_lazy_with(options)), place }
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn is_postgres(&self) -> bool {
        matches!(self.pools, Pools::Postgres(_))
    }

    /// A transaction that has the right to write from its first statement on, so that it cannot find out too late.
    pub(super) async fn begin(&self) -> Result<Tx, StoreError> {
        let inner = match &self.pools {
            Pools::Sqlite { pool, writer } => {
                let turn = Arc::clone(writer).lock_owned().await;
                pool.begin_with("BEGIN IMMEDIATE").await.map(|transaction| Inner::Sqlite(transaction, turn))
            }
            Pools::Postgres(pool) => answered(pool.begin()).await.map(Inner::Postgres),
        };
        Ok(Tx { inner: inner.map_err(|error| fail(&self.place, error))?, place: Arc::clone(&self.place) })
    }

    pub(super) async fn fetch_all<T: Stored>(&self, sql: Sql) -> Result<Vec<T>, StoreError> {
        let result = match &self.pools {
            Pools::Sqlite { pool, .. } => match pool.acquire().await {
                Ok(mut connection) => Connection::Sqlite(&mut connection).fetch_all(sql).await,
                Err(error) => Err(error),
            },
            Pools::Postgres(pool) => match pool.acquire().await {
                Ok(mut connection) => Connection::Postgres(&mut connection).fetch_all(sql).await,
                Err(error) => Err(error),
            },
        };
        result.map_err(|error| fail(&self.place, error))
    }

    pub(super) async fn fetch_optional<T: Stored>(&self, sql: Sql) -> Result<Option<T>, StoreError> {
        Ok(self.fetch_all(sql).await?.into_iter().next())
    }

    /// How many rows it touched.
    pub(super) async fn execute(&self, sql: Sql) -> Result<u64, StoreError> {
        let result = match &self.pools {
            Pools::Sqlite { pool, writer } => {
                let _turn = writer.lock().await;
                match pool.acquire().await {
                    Ok(mut connection) => Connection::Sqlite(&mut connection).execute(sql).await,
                    Err(error) => Err(error),
                }
            }
            Pools::Postgres(pool) => match pool.acquire().await {
                Ok(mut connection) => Connection::Postgres(&mut connection).execute(sql).await,
                Err(error) => Err(error),
            },
        };
        result.map_err(|error| fail(&self.place, error))
    }

    pub(super) async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { pool, .. } => pool.close().await,
            Pools::Postgres(pool) => pool.close().await,
        }
    }
}

impl Tx {
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn is_postgres(&self) -> bool {
        matches!(self.inner, Inner::Postgres(_))
    }

    fn connection(&mut self) -> Connection<'_> {
        match &mut self.inner {
            Inner::Sqlite(transaction, _) => Connection::Sqlite(transaction),
            Inner::Postgres(transaction) => Connection::Postgres(transaction),
        }
    }

    pub(super) async fn fetch_all<T: Stored>(&mut self, sql: Sql) -> Result<Vec<T>, StoreError> {
        let result = self.connection().fetch_all(sql).await;
        result.map_err(|error| fail(&self.place, error))
    }

    pub(super) async fn fetch_optional<T: Stored>(&mut self, sql: Sql) -> Result<Option<T>, StoreError> {
        Ok(self.fetch_all(sql).await?.into_iter().next())
    }

    /// Rows as they are, of a `state.db`.
    pub(super) async fn sqlite_rows(&mut self, sql: Sql) -> Result<Vec<SqliteRow>, StoreError> {
        let Inner::Sqlite(transaction, _) = &mut self.inner else {
            return Err(fail(&self.place, sqlx::Error::Configuration("not SQLite".into())));
        };
        let result = match sql.for_sqlite() {
            Ok((text, arguments)) => sqlx::query_with(text, arguments).fetch_all(&mut **transaction).await,
            Err(error) => Err(error),
        };
        result.map_err(|error| fail(&self.place, error))
    }

    /// For what is always there.
    pub(super) async fn fetch_one<T: Stored>(&mut self, sql: Sql) -> Result<T, StoreError> {
        self.fetch_optional(sql).await?.ok_or_else(|| fail(&self.place, sqlx::Error::RowNotFound))
    }

    /// How many rows it touched.
    pub(super) async fn execute(&mut self, sql: Sql) -> Result<u64, StoreError> {
        let result = self.connection().execute(sql).await;
        result.map_err(|error| fail(&self.place, error))
    }

    /// Several statements without placeholders.
    pub(super) async fn script(&mut self, text: String) -> Result<(), StoreError> {
        let script = sqlx::raw_sql(sqlx::AssertSqlSafe(text));
        let result = match self.connection() {
            Connection::Sqlite(connection) => script.execute(connection).await.map(drop),
            Connection::Postgres(connection) => script.execute(connection).await.map(drop),
        };
        result.map_err(|error| fail(&self.place, error))
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        let result = match self.inner {
            Inner::Sqlite(transaction, _turn) => transaction.commit().await,
            Inner::Postgres(transaction) => answered(transaction.commit()).await,
        };
        result.map_err(|error| fail(&self.place, error))
    }
}

fn fail(place: &str, source: sqlx::Error) -> StoreError {
    match source {
        sqlx::Error::ColumnDecode { index, .. } => StoreError::Malformed { what: index },
        source => StoreError::Database { place: place.to_owned(), source },
    }
}

impl Connection<'_> {
    async fn fetch_all<T: Stored>(self, sql: Sql) -> sqlx::Result<Vec<T>> {
        match self {
            Self::Sqlite(connection) => {
                let (text, arguments) = sql.for_sqlite()?;
                let rows = sqlx::query_with(text, arguments).fetch_all(connection).await?;
                rows.iter().map(T::from_row).collect()
            }
            Self::Postgres(connection) => {
                let (text, arguments) = sql.for_postgres()?;
                let rows = answered(sqlx::query_with(text, arguments).fetch_all(connection)).await?;
                rows.iter().map(T::from_row).collect()
            }
        }
    }

    async fn execute(self, sql: Sql) -> sqlx::Result<u64> {
        match self {
            Self::Sqlite(connection) => {
                let (text, arguments) = sql.for_sqlite()?;
                Ok(sqlx::query_with(text, arguments).execute(connection).await?.rows_affected())
            }
            Self::Postgres(connection) => {
                let (text, arguments) = sql.for_postgres()?;
                let query = sqlx::query_with(text, arguments);
                Ok(answered(query.execute(connection)).await?.rows_affected())
            }
        }
    }
}

/// A server that is gone without a word never answers; nobody waits for it for ever.
async fn answered<T>(answer: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    tokio::time::timeout(ANSWER, answer).await.unwrap_or_else(|_| Err(no_answer()))
}

fn no_answer() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer"))
}
