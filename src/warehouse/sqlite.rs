//! SQLite, the embedded default: read-only, on a blocking thread, everything as text.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_array::builder::StringBuilder;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, Statement};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::stream::{BATCH_ROWS, BatchSender};
use super::{BatchStream, Column, Dialect, Error, ErrorKind, Result, Source, quote_table};

/// How long a writer may hold the file before a query gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteSource {
    /// SQLite's own uri, without a scheme of ours.
    uri: String,
    /// What errors call it.
    label: String,
    memory: bool,
    busy_timeout: Duration,
}

impl SqliteSource {
    /// `file:shop.db`, `sqlite:shop.db`, `sqlite://shop.db` or a bare path. The file is opened by each query.
    ///
    /// # Errors
    /// An empty path.
    pub fn new(uri: &SecretString) -> Result<Self> {
        let text = uri.expose_secret();
        let rest = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")).unwrap_or(text);
        let path = rest.strip_prefix("file:").unwrap_or(rest);
        let path = path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path);
        let file = path.split('?').next().unwrap_or_default();
        if file.is_empty() {
            return Err(Error::config("[warehouse] uri names no SQLite file").hint("uri = \"file:shop.db\""));
        }
        Ok(Self { uri: format!("file:{path}"), label: file.to_owned(), memory: false, busy_timeout: BUSY_TIMEOUT })
    }

    /// A named database in memory that lives as long as some connection to it.
    pub(super) fn in_memory(uri: String, label: &str) -> Self {
        Self { uri, label: label.to_owned(), memory: true, busy_timeout: BUSY_TIMEOUT }
    }

    pub(super) fn connect(&self) -> Result<Connection> {
        let access = if self.memory { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
        if !self.memory && !Path::new(&self.label).exists() {
            return Err(Error::new(ErrorKind::Unreachable, format!("SQLite file {} does not exist", self.label))
                .hint("check [warehouse] uri; relative paths start at the configuration file"));
        }
        let flags = access | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.uri, flags).map_err(|error| self.error(&error))?;
        let set = || -> rusqlite::Result<()> {
            connection.busy_timeout(self.busy_timeout)?;
            // Otherwise a misspelt "column" would silently become the text 'column'.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
            // The page cache stays at its default: sorts of that size fit the processor's cache, and were measured a third
            // faster than with 64 MiB.
            connection.pragma_update(None, "mmap_size", 1_i64 << 30)?;
            // SQLite is built without its mathematical functions; `p_alive` needs the logarithm.
            let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
            connection.create_scalar_function("ln", 1, flags, |call| {
                Ok(call.get::<Option<f64>>(0)?.filter(|value| *value > 0.0).map(f64::ln))
            })?;
            if self.memory {
                // Lists hold contact data; not even a sort may write it to disk.
                connection.pragma_update(None, "temp_store", "MEMORY")?;
            }
            Ok(())
        };
        set().map_err(|error| self.error(&error))?;
        Ok(connection)
    }

    fn error(&self, error: &rusqlite::Error) -> Error {
        from_sqlite(&self.label, error)
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(Self) -> Result<T> + Send + 'static) -> Result<T> {
        let source = self.clone();
        spawn_blocking(move || work(source))
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Other, "the SQLite reader stopped unexpectedly")))
    }
}

#[async_trait::async_trait]
impl Source for SqliteSource {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    async fn query(&self, sql: &str) -> Result<BatchStream> {
        let connection = self.blocking(|source| source.connect()).await?;
        let interrupt = connection.get_interrupt_handle();
        let (sender, stream) = BatchStream::channel(move || interrupt.interrupt());
        let (ready, prepared) = oneshot::channel();
        let (label, sql) = (self.label.clone(), sql.to_owned());
        spawn_blocking(move || run(&label, &connection, &sql, ready, &sender));
        prepared
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Other, "the SQLite reader stopped unexpectedly")))?;
        Ok(stream)
    }

    async fn check(&self) -> Result<()> {
        self.blocking(|source| {
            let connection = source.connect()?;
            connection
                .query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))
                .map_err(|error| source.error(&error))
        })
        .await
    }

    async fn columns(&self, table: &str) -> Result<Vec<Column>> {
        let sql = format!("SELECT * FROM {}", quote_table(table, Dialect::Sqlite));
        self.blocking(move |source| {
            let connection = source.connect()?;
            let statement = connection.prepare(&sql).map_err(|error| source.error(&error))?;
            Ok(statement
                .columns()
                .iter()
                .map(|column| Column {
                    name: column.name().to_owned(),
                    type_name: column.decl_type().unwrap_or_default().to_ascii_lowercase(),
                })
                .collect())
        })
        .await
    }
}

/// Prepares, says so, then sends batches until the end or until nobody listens.
fn run(label: &str, connection: &Connection, sql: &str, ready: oneshot::Sender<Result<()>>, sender: &BatchSender) {
    let mut statement = match connection.prepare(sql) {
        Ok(statement) => statement,
        Err(error) => {
            let _ = ready.send(Err(from_sqlite(label, &error)));
            return;
        }
    };
    if ready.send(Ok(())).is_err() || sender.is_closed() {
        return;
    }
    if let Err(error) = pump(label, &mut statement, sender) {
        // A closed channel means the query was ended on purpose.
        let _ = sender.blocking_send(Err(error));
    }
}

fn pump(label: &str, statement: &mut Statement<'_>, sender: &BatchSender) -> Result<()> {
    let names: Vec<String> = statement.column_names().into_iter().map(String::from).collect();
    let schema: SchemaRef =
        Arc::new(Schema::new(names.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect::<Vec<_>>()));
    let mut builders: Vec<StringBuilder> = names.iter().map(|_| StringBuilder::new()).collect();
    let mut rows = statement.query([]).map_err(|error| from_sqlite(label, &error))?;
    let mut filled = 0;
    loop {
        let row = rows.next().map_err(|error| from_sqlite(label, &error))?;
        if let Some(row) = row {
            append(label, row, &names, &mut builders)?;
            filled += 1;
        }
        if filled == BATCH_ROWS || (row.is_none() && filled > 0) {
            let arrays = builders.iter_mut().map(|builder| Arc::new(builder.finish()) as _).collect();
            let batch = RecordBatch::try_new(schema.clone(), arrays).expect("the schema is made from the builders");
            if sender.blocking_send(Ok(batch)).is_err() {
                return Ok(());
            }
            filled = 0;
        }
        if row.is_none() {
            return Ok(());
        }
    }
}

fn append(label: &str, row: &Row<'_>, names: &[String], builders: &mut [StringBuilder]) -> Result<()> {
    for (index, builder) in builders.iter_mut().enumerate() {
        match row.get_ref(index).map_err(|error| from_sqlite(label, &error))? {
            ValueRef::Null => builder.append_null(),
            ValueRef::Integer(value) => {
                let _ = write!(builder, "{value}");
                builder.append_value("");
            }
            ValueRef::Real(value) => {
                let _ = write!(builder, "{value}");
                builder.append_value("");
            }
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => builder.append_value(text),
                Err(_) => {
                    let message =
                        format!("SQLite {label}: column {} holds a value that is not UTF-8 text", names[index]);
                    return Err(Error::new(ErrorKind::Input, message).hint("map another column, or repair the rows"));
                }
            },
        }
    }
    Ok(())
}

fn from_sqlite(label: &str, error: &rusqlite::Error) -> Error {
    let (code, message) = match error {
        rusqlite::Error::SqliteFailure(failure, message) => {
            (Some(failure.code), message.clone().unwrap_or_else(|| failure.to_string()))
        }
        rusqlite::Error::SqlInputError { error, msg, .. } => (Some(error.code), msg.clone()),
        _ => (None, error.to_string()),
    };
    let make = |kind, text: &str, hint: &str| Error::new(kind, format!("SQLite {label}: {text}")).hint(hint);
    match code {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => make(
            ErrorKind::Busy,
            "another program keeps the file locked",
            "let it finish, or put the file in WAL mode (PRAGMA journal_mode = WAL)",
        ),
        Some(ErrorCode::NotADatabase) => {
            make(ErrorKind::Input, "the file is not a SQLite database", "check [warehouse] uri and driver")
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            make(ErrorKind::Input, "the file is damaged", "check it with PRAGMA integrity_check")
        }
        Some(ErrorCode::CannotOpen) => make(
            ErrorKind::Unreachable,
            "the file cannot be opened",
            "check that it is a file this user may read, and for WAL mode that its folder is writable or add ?immutable=1",
        ),
        Some(ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
            make(ErrorKind::Denied, "the file may not be read", "give this user read permission")
        }
        Some(ErrorCode::ReadOnly) => make(ErrorKind::Denied, "the query tries to write", "a segment may only SELECT"),
        Some(ErrorCode::OperationInterrupted) => make(ErrorKind::Other, "the query was stopped", "run it again"),
        Some(ErrorCode::DiskFull) => {
            make(ErrorKind::Busy, "no space for temporary data", "free space or set SQLITE_TMPDIR")
        }
        _ => make(ErrorKind::Query, &message, "check table and column names in [warehouse]"),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use secrecy::SecretString;

    use super::SqliteSource;
    use crate::warehouse::{Columns, ErrorKind, Source};

    fn open(path: &std::path::Path) -> SqliteSource {
        SqliteSource::new(&SecretString::from(format!("file:{}", path.display()))).unwrap()
    }

    #[tokio::test]
    async fn streams_rows_of_mixed_types_as_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        Connection::open(&path)
            .unwrap()
            .execute_batch(
                "CREATE TABLE t (id INTEGER, v); INSERT INTO t VALUES (1, 2.5), (2, 'x'), (3, NULL), (4, 13085.0);",
            )
            .unwrap();
        let source = open(&path);
        source.check().await.unwrap();
        assert_eq!(source.columns("t").await.unwrap()[0].type_name, "integer");
        let mut stream = source.query("SELECT id, v FROM t ORDER BY id").await.unwrap();
        let batch = stream.next().await.unwrap().unwrap();
        let values = Columns::new(&batch).get("v").unwrap();
        let texts: Vec<_> = (0..4).map(|row| values.string(row)).collect();
        assert_eq!(texts, [Some("2.5".into()), Some("x".into()), None, Some("13085".into())]);
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn dropping_the_stream_ends_the_query() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (id);").unwrap();
        let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
        let stream = open(&path).query(endless).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        drop(stream);
        // The runtime waits for its blocking threads at the end of the test: it hangs if the query goes on.
    }

    #[tokio::test]
    async fn says_what_is_wrong_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let absent = open(&folder.path().join("absent.db")).check().await.unwrap_err();
        assert!(absent.kind() == ErrorKind::Unreachable && absent.to_string().contains("does not exist"), "{absent}");

        let path = folder.path().join("text.db");
        std::fs::write(&path, "a,b\n".repeat(1000)).unwrap();
        let text = open(&path).check().await.unwrap_err();
        assert!(text.to_string().contains("not a SQLite database"), "{text}");

        let path = folder.path().join("shop.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (id);").unwrap();
        let column = open(&path).query("SELECT \"emial\" FROM t").await.unwrap_err();
        assert!(column.kind() == ErrorKind::Query && column.to_string().contains("emial"), "{column}");
        let writer = Connection::open(&path).unwrap();
        writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let mut hurried = open(&path);
        hurried.busy_timeout = std::time::Duration::from_millis(20);
        let locked = hurried.check().await.unwrap_err();
        assert!(locked.kind() == ErrorKind::Busy && locked.is_transient(), "{locked}");
        drop(writer);

        let write = open(&path).query("DELETE FROM t").await.unwrap().next().await.unwrap().unwrap_err();
        assert_eq!(write.kind(), ErrorKind::Denied);
    }
}
