//! Every other warehouse: an ADBC driver library, loaded in a child process of the same binary.
//!
//! The child reads one JSON [`Request`] from stdin (so no secret is in its arguments), runs the query and writes an
//! Arrow IPC stream to stdout; a failure is one JSON line on stderr. A driver's runtime, crash or stuck call thus
//! never touches the daemon, and dropping the stream kills the child.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use adbc_core::options::{AdbcVersion, OptionDatabase};
use adbc_core::{Connection as _, Database as _, Driver as _, LOAD_FLAG_DEFAULT, Statement as _};
use adbc_driver_manager::ManagedDriver;
use arrow_array::RecordBatchReader;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::stream::BatchSender;
use super::{BatchStream, Column, Dialect, Error, ErrorKind, Result, Source, quote_table};
use crate::config::warehouse::WarehouseConfig;

/// What the child is asked. Holds secrets, so it has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
struct Request {
    driver: String,
    entrypoint: Option<String>,
    uri: Option<String>,
    options: BTreeMap<String, String>,
    sql: String,
}

/// The child's last word when it fails.
#[derive(Serialize, Deserialize)]
struct Failure {
    /// `load`, `connect` or `query`.
    stage: String,
    sqlstate: Option<String>,
    message: String,
}

/// A warehouse behind an ADBC driver.
pub struct AdbcSource {
    request: Request,
    dialect: Dialect,
    program: PathBuf,
    arguments: Vec<String>,
}

impl std::fmt::Debug for AdbcSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdbcSource").field("driver", &self.request.driver).field("dialect", &self.dialect).finish()
    }
}

impl AdbcSource {
    /// By `[warehouse] driver`, `uri`, `entrypoint`, `options` and `dialect`. The child is this program with the
    /// argument `__adbc`.
    ///
    /// # Errors
    /// When this program's own path is unknown.
    pub fn new(config: &WarehouseConfig) -> Result<Self> {
        let program =
            std::env::current_exe().map_err(|_| Error::new(ErrorKind::Other, "the path of this program is unknown"))?;
        let options = config.options.iter().map(|(key, value)| (key.clone(), value.expose_secret().to_owned()));
        let request = Request {
            driver: config.driver.clone(),
            entrypoint: config.entrypoint.clone(),
            uri: config.uri.as_ref().map(|uri| uri.expose_secret().to_owned()),
            options: options.collect(),
            sql: String::new(),
        };
        let dialect = config.dialect.unwrap_or_else(|| guess_dialect(&config.driver));
        Ok(Self { request, dialect, program, arguments: vec!["__adbc".into()] })
    }

    /// Another program as the child, for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn with_program(mut self, program: PathBuf, arguments: Vec<String>) -> Self {
        (self.program, self.arguments) = (program, arguments);
        self
    }

    fn spawn(&self) -> Result<Child> {
        Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                Error::new(ErrorKind::Other, format!("the ADBC child process did not start ({})", error.kind()))
            })
    }

    async fn schema(&self, sql: &str) -> Result<arrow_schema::SchemaRef> {
        let mut child = self.spawn()?;
        let request = Request { sql: sql.to_owned(), ..self.request.clone() };
        spawn_blocking(move || {
            let (stdin, stdout, last_word) = pipes(&mut child);
            let sent = send_request(stdin, &request).is_ok();
            let reader = if sent { StreamReader::try_new(BufReader::new(stdout), None).ok() } else { None };
            let schema = reader.map(|reader| reader.schema());
            if schema.is_some() {
                let _ = child.kill();
            }
            let result = schema.ok_or_else(|| failure(&request.driver, last_word));
            let _ = child.wait();
            result
        })
        .await
        .unwrap_or_else(|_| Err(stopped(&self.request.driver)))
    }
}

fn guess_dialect(driver: &str) -> Dialect {
    let name = Path::new(driver).file_name().and_then(|name| name.to_str()).unwrap_or(driver).to_ascii_lowercase();
    if name.contains("postgres") {
        Dialect::Postgresql
    } else if name.contains("sqlite") {
        Dialect::Sqlite
    } else {
        Dialect::Ansi
    }
}

#[async_trait::async_trait]
impl Source for AdbcSource {
    fn dialect(&self) -> Dialect {
        self.dialect
    }

    async fn query(&self, sql: &str) -> Result<BatchStream> {
        let mut child = self.spawn()?;
        let (stdin, stdout, last_word) = pipes(&mut child);
        let child = Arc::new(Mutex::new(child));
        let killer = child.clone();
        let (sender, stream) = BatchStream::channel(move || {
            let _ = killer.lock().expect("nothing panics while it holds the child").kill();
        });
        let request = Request { sql: sql.to_owned(), ..self.request.clone() };
        spawn_blocking(move || {
            let complete = pump(&request, stdin, stdout, &sender);
            let mut child = child.lock().expect("nothing panics while it holds the child");
            if sender.is_closed() {
                let _ = child.kill();
            } else if !complete {
                // The pipe is closed, so the child ends by itself after its last word.
                let _ = sender.blocking_send(Err(failure(&request.driver, last_word)));
            }
            let _ = child.wait();
        });
        Ok(stream)
    }

    async fn check(&self) -> Result<()> {
        self.schema("SELECT 1").await.map(|_| ())
    }

    async fn columns(&self, table: &str) -> Result<Vec<Column>> {
        let table = quote_table(table, self.dialect);
        let schema = self.schema(&format!("SELECT * FROM {table} t WHERE 1 = 0")).await?;
        let column = |field: &arrow_schema::FieldRef| Column {
            name: field.name().clone(),
            type_name: field.data_type().to_string().to_ascii_lowercase(),
        };
        Ok(schema.fields().iter().map(column).collect())
    }
}

type LastWord = JoinHandle<Option<Failure>>;

/// Stderr is drained from the start: a driver that logs there must not block on a full pipe.
fn pipes(child: &mut Child) -> (ChildStdin, ChildStdout, LastWord) {
    let stderr = child.stderr.take().expect("stderr is piped");
    let last_word = std::thread::spawn(move || {
        let lines = BufReader::new(stderr).split(b'\n').map_while(std::io::Result::ok);
        lines.filter_map(|line| serde_json::from_slice(&line).ok()).last()
    });
    (child.stdin.take().expect("stdin is piped"), child.stdout.take().expect("stdout is piped"), last_word)
}

fn send_request(mut stdin: ChildStdin, request: &Request) -> std::io::Result<()> {
    serde_json::to_writer(&mut stdin, request).map_err(std::io::Error::other)?;
    stdin.flush()
}

/// False when the child failed; its stderr says why.
fn pump(request: &Request, stdin: ChildStdin, stdout: ChildStdout, sender: &BatchSender) -> bool {
    if send_request(stdin, request).is_err() {
        return false;
    }
    let Ok(reader) = StreamReader::try_new(BufReader::with_capacity(1 << 20, stdout), None) else { return false };
    let mut reader = reader;
    for batch in &mut reader {
        let Ok(batch) = batch else { return false };
        if sender.blocking_send(Ok(batch)).is_err() {
            return true;
        }
    }
    // Without the end mark the child broke off between two batches.
    reader.is_finished()
}

fn stopped(driver: &str) -> Error {
    Error::new(ErrorKind::Other, format!("ADBC driver {driver}: the child process ended without a word"))
        .hint("the driver may have crashed; try its newest version")
}

fn failure(driver: &str, last_word: LastWord) -> Error {
    let Some(failure) = last_word.join().ok().flatten() else { return stopped(driver) };
    let label = format!("ADBC driver {driver}");
    match (failure.stage.as_str(), failure.sqlstate) {
        ("load", _) => Error::new(ErrorKind::Unreachable, format!("{label}: cannot be loaded: {}", failure.message))
            .hint("install the driver library and put its path in [warehouse] driver"),
        (_, Some(code)) => Error::from_sqlstate(&label, &code, &failure.message),
        ("connect", None) => Error::new(ErrorKind::Unreachable, format!("{label}: {}", failure.message))
            .hint("check [warehouse] uri and options"),
        (_, None) => Error::new(ErrorKind::Query, format!("{label}: {}", failure.message))
            .hint("`reveil segment sql` prints the query; `dialect` in [warehouse] changes its SQL"),
    }
}

/// The child: reads a request from `stdin`, writes the result to `stdout` as an Arrow IPC stream.
///
/// # Errors
/// One whose text is the JSON line to print on stderr; exit with a failure code then.
pub fn adbc_child_main(stdin: impl Read, stdout: impl Write) -> Result<(), String> {
    let request: Request = serde_json::from_reader(stdin)
        .map_err(|_| line("load", None, "the request is not what this version of reveil writes"))?;
    let failed = |stage: &'static str| {
        let secrets: Vec<String> = secrets_of(&request);
        move |error: adbc_core::error::Error| {
            let code: String = error.sqlstate.iter().map(|c| char::from(*c as u8)).collect();
            let code = (code != "00000" && code.chars().all(|c| c.is_ascii_alphanumeric())).then_some(code);
            line(stage, code, &mask(&error.message, &secrets))
        }
    };
    let entrypoint = request.entrypoint.as_deref().map(str::as_bytes);
    let mut driver =
        ManagedDriver::load_from_name(&request.driver, entrypoint, AdbcVersion::V110, LOAD_FLAG_DEFAULT, None)
            .map_err(failed("load"))?;
    let uri = request.uri.iter().map(|uri| (OptionDatabase::Uri, uri.as_str().into()));
    let others = request.options.iter().map(|(key, value)| (OptionDatabase::from(key.as_str()), value.as_str().into()));
    let database = driver.new_database_with_opts(uri.chain(others)).map_err(failed("connect"))?;
    let mut connection = database.new_connection().map_err(failed("connect"))?;
    let mut statement = connection.new_statement().map_err(failed("connect"))?;
    statement.set_sql_query(&request.sql).map_err(failed("query"))?;
    let reader = statement.execute().map_err(failed("query"))?;

    let broken_pipe = |_| line("query", None, "the result could not be written");
    let mut writer =
        StreamWriter::try_new(BufWriter::with_capacity(1 << 20, stdout), &reader.schema()).map_err(broken_pipe)?;
    for batch in reader {
        let batch = batch.map_err(|error| line("query", None, &mask(&error.to_string(), &secrets_of(&request))))?;
        writer.write(&batch).map_err(broken_pipe)?;
    }
    writer.finish().map_err(broken_pipe)?;
    writer
        .into_inner()
        .map_err(broken_pipe)?
        .flush()
        .map_err(|_| line("query", None, "the result could not be written"))
}

fn line(stage: &str, sqlstate: Option<String>, message: &str) -> String {
    let failure = Failure { stage: stage.into(), sqlstate, message: message.replace('\n', " ").trim().into() };
    serde_json::to_string(&failure).expect("text can be written as JSON")
}

/// Everything a driver must not repeat in its messages.
fn secrets_of(request: &Request) -> Vec<String> {
    let mut secrets: Vec<String> = request.uri.iter().chain(request.options.values()).cloned().collect();
    if let Some(parsed) = request.uri.as_deref().and_then(|uri| url::Url::parse(uri).ok()) {
        secrets.extend(parsed.password().map(String::from));
        secrets.extend(parsed.query_pairs().map(|(_, value)| value.into_owned()));
    }
    // Short values ("true", "5432") are no secrets, and masking them would garble the text.
    secrets.retain(|secret| secret.len() >= 6);
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

/// Without the secrets, and without words that look like an address or a phone number: drivers quote values.
fn mask(message: &str, secrets: &[String]) -> String {
    let text = secrets.iter().fold(message.to_owned(), |text, secret| text.replace(secret.as_str(), "***"));
    let personal = |word: &str| word.contains('@') || word.bytes().filter(u8::is_ascii_digit).count() >= 7;
    text.split(' ').map(|word| if personal(word) { "***" } else { word }).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{Request, adbc_child_main, guess_dialect, mask, secrets_of};
    use crate::warehouse::Dialect;

    fn request() -> Request {
        Request {
            driver: "libadbc_driver_absent".into(),
            entrypoint: None,
            uri: Some("snow://user:hunter22@account/db?token=abcdef12".into()),
            options: [("password".to_owned(), "pa55word".to_owned())].into(),
            sql: "SELECT 1".into(),
        }
    }

    #[test]
    fn messages_are_masked() {
        let text =
            mask("no route to snow://user:hunter22@account/db?token=abcdef12, pa55word", &secrets_of(&request()));
        assert_eq!(text, "no route to ***, ***");
        assert_eq!(
            mask("cannot read 'ann@mail.example' or +33612345678 as INT64", &[]),
            "cannot read *** or *** as INT64"
        );
        assert!(!mask("bad token abcdef12 for hunter22", &secrets_of(&request())).contains("abcdef12"));
    }

    #[test]
    fn an_absent_library_is_one_json_line() {
        let json = serde_json::to_vec(&request()).unwrap();
        let line = adbc_child_main(json.as_slice(), Vec::new()).unwrap_err();
        assert!(line.starts_with("{\"stage\":\"load\"") && !line.contains('\n'), "{line}");
    }

    #[test]
    fn knows_drivers_by_name() {
        assert_eq!(guess_dialect("/opt/libadbc_driver_postgresql.so"), Dialect::Postgresql);
        assert_eq!(guess_dialect("adbc_driver_snowflake"), Dialect::Ansi);
    }
}
