//! Lists in CSV and Parquet files: loaded into SQLite in memory, one table per file, so that the same SQL runs on
//! them and no raw identifier is written to disk. Memory grows with the files; larger lists belong in a database.
//!
//! Every CSV column is text and a blank field is NULL: `00123` and `+33…` stay what they are. A `where` or an
//! expression that compares numbers has to CAST them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, Statement, params_from_iter};
use tokio::task::spawn_blocking;

use super::{BatchStream, Column, Dialect, Error, ErrorKind, Result, Source, SqliteSource, quote_name};
use crate::config::warehouse::{Encoding, ListFile};

/// Tables made of files.
#[derive(Debug)]
pub struct FilesSource {
    inner: SqliteSource,
    /// The database lives as long as this connection.
    _anchor: Arc<Mutex<Connection>>,
}

impl FilesSource {
    /// Reads the files, each into a table of its name.
    ///
    /// # Errors
    /// `Config` when there is none; `Unreachable` or `Input`, with file and line, for files that cannot be read.
    pub async fn load(files: &BTreeMap<String, ListFile>) -> Result<Self> {
        if files.is_empty() {
            return Err(Error::config("[warehouse] driver = \"files\" has no files")
                .hint("[warehouse.files]\\ncustomers = \"customers.csv\""));
        }
        let files = files.clone();
        spawn_blocking(move || Self::load_now(&files))
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Other, "the file reader stopped unexpectedly")))
    }

    fn load_now(files: &BTreeMap<String, ListFile>) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let inner = SqliteSource::in_memory(
            format!("file:reveil-lists-{number}?mode=memory&cache=shared"),
            "(files in memory)",
        );
        let mut connection = inner.connect()?;
        for (name, file) in files {
            load_file(&mut connection, name, file)?;
        }
        Ok(Self { inner, _anchor: Arc::new(Mutex::new(connection)) })
    }
}

#[async_trait::async_trait]
impl Source for FilesSource {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }
    async fn query(&self, sql: &str) -> Result<BatchStream> {
        self.inner.query(sql).await
    }
    async fn check(&self) -> Result<()> {
        self.inner.check().await
    }
    async fn columns(&self, table: &str) -> Result<Vec<Column>> {
        self.inner.columns(table).await
    }
}

fn load_file(connection: &mut Connection, name: &str, file: &ListFile) -> Result<()> {
    let path = file.path.display().to_string();
    let opened = File::open(&file.path).map_err(|error| {
        Error::new(ErrorKind::Unreachable, format!("{path}: cannot be opened ({})", error.kind())).hint(format!(
            "check the path of {name} in [warehouse.files]; relative paths start at the configuration file"
        ))
    })?;
    let transaction = connection.transaction().map_err(|error| loading(&path, &error))?;
    if has_extension(&file.path, "parquet") {
        load_parquet(&transaction, name, &path, opened)?;
    } else if has_extension(&file.path, "gz") {
        load_csv(&transaction, name, &path, file, flate2::read::MultiGzDecoder::new(BufReader::new(opened)))?;
    } else {
        load_csv(&transaction, name, &path, file, opened)?;
    }
    transaction.commit().map_err(|error| loading(&path, &error))
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

/// SQLite's words here are about names and sizes, never about values.
fn loading(path: &str, error: &rusqlite::Error) -> Error {
    Error::new(ErrorKind::Input, format!("{path}: cannot be loaded: {error}"))
        .hint("column names must differ, also in letter case, and there may be at most 2,000")
}

fn create<'c>(connection: &'c Connection, name: &str, columns: &[String], path: &str) -> Result<Statement<'c>> {
    let quoted: Vec<String> = columns.iter().map(|column| quote_name(column, Dialect::Sqlite)).collect();
    let table = quote_name(name, Dialect::Sqlite);
    connection
        .execute(&format!("CREATE TABLE {table} ({})", quoted.join(", ")), [])
        .map_err(|error| loading(path, &error))?;
    let places = vec!["?"; columns.len()].join(", ");
    connection.prepare(&format!("INSERT INTO {table} VALUES ({places})")).map_err(|error| loading(path, &error))
}

fn load_csv(connection: &Connection, name: &str, path: &str, file: &ListFile, input: impl Read) -> Result<()> {
    let delimiter = u8::try_from(file.delimiter).map_err(|_| {
        Error::config(format!("{path}: the delimiter must be an ASCII character")).hint("delimiter = \";\" or \"\\t\"")
    })?;
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(input);
    let header = reader.byte_headers().map_err(|error| broken_csv(path, &error))?.clone();
    let columns = csv_columns(path, file, &header)?;
    let mut insert = create(connection, name, &columns, path)?;
    let mut record = csv::ByteRecord::new();
    let mut texts: Vec<Option<String>> = Vec::with_capacity(columns.len());
    while reader.read_byte_record(&mut record).map_err(|error| broken_csv(path, &error))? {
        texts.clear();
        for (bytes, column) in record.iter().zip(&columns) {
            let line = record.position().map_or(0, csv::Position::line);
            let text = decode(bytes, file.encoding).ok_or_else(|| not_utf8(path, line, column))?;
            texts.push(if text.trim().is_empty() { None } else { Some(text) });
        }
        insert.execute(params_from_iter(&texts)).map_err(|error| loading(path, &error))?;
    }
    Ok(())
}

fn csv_columns(path: &str, file: &ListFile, header: &csv::ByteRecord) -> Result<Vec<String>> {
    let first = header.get(0).unwrap_or_default();
    if first.starts_with(&[0xff, 0xfe]) || first.starts_with(&[0xfe, 0xff]) {
        return Err(Error::new(ErrorKind::Input, format!("{path}: line 1: the file is UTF-16"))
            .hint("save it as UTF-8 (in Excel: \"CSV UTF-8\")"));
    }
    let mut columns = Vec::new();
    for (index, bytes) in header.iter().enumerate() {
        let bytes = if index == 0 { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes) } else { bytes };
        let number = index + 1;
        let text = decode(bytes, file.encoding)
            .ok_or_else(|| not_utf8(path, 1, &format!("number {number}")))?
            .trim()
            .to_owned();
        if text.is_empty() {
            return Err(Error::new(ErrorKind::Input, format!("{path}: line 1: column {number} has no name"))
                .hint("the first line must name the columns"));
        }
        columns.push(text);
    }
    if let [only] = columns.as_slice()
        && let Some(found) = [';', '\t', '|', ','].iter().find(|c| **c != file.delimiter && only.contains(**c))
    {
        return Err(Error::new(ErrorKind::Input, format!("{path}: line 1: one column only, with {found:?} inside"))
            .hint(format!("declare the delimiter in [warehouse.files]: {{ path = \"…\", delimiter = {found:?} }}")));
    }
    if columns.is_empty() {
        return Err(Error::new(ErrorKind::Input, format!("{path}: the file is empty"))
            .hint("the first line must name the columns"));
    }
    Ok(columns)
}

fn not_utf8(path: &str, line: u64, column: &str) -> Error {
    Error::new(ErrorKind::Input, format!("{path}: line {line}: column {column} is not UTF-8"))
        .hint("save the file as UTF-8, or declare encoding = \"windows-1252\" in [warehouse.files]")
}

/// The csv crate's errors would quote the fields.
fn broken_csv(path: &str, error: &csv::Error) -> Error {
    let line = error.position().map_or(0, csv::Position::line);
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => Error::new(
            ErrorKind::Input,
            format!("{path}: line {line}: {len} fields where the header has {expected_len}"),
        )
        .hint("quote fields that hold the delimiter or a line break, or set `delimiter` in [warehouse.files]"),
        csv::ErrorKind::Io(cause) => {
            Error::new(ErrorKind::Input, format!("{path}: cannot be read to its end ({})", cause.kind()))
                .hint("a .gz file may be cut short; copy it again")
        }
        _ => Error::new(ErrorKind::Input, format!("{path}: line {line}: not readable as CSV"))
            .hint("check quotes and delimiter around that line"),
    }
}

/// Windows-1252 differs from Unicode only from 0x80 to 0x9F; five of those codes mean nothing.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

fn decode(bytes: &[u8], encoding: Encoding) -> Option<String> {
    match encoding {
        Encoding::Utf8 => std::str::from_utf8(bytes).ok().map(str::to_owned),
        Encoding::Windows1252 => Some(
            bytes
                .iter()
                .map(|byte| match byte {
                    0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
                    _ => char::from(*byte),
                })
                .collect(),
        ),
    }
}

#[cfg(not(feature = "parquet"))]
fn load_parquet(_: &Connection, _: &str, path: &str, _: File) -> Result<()> {
    Err(Error::config(format!("{path}: this build cannot read Parquet")).hint("build with the feature `parquet`"))
}

#[cfg(feature = "parquet")]
fn load_parquet(connection: &Connection, name: &str, path: &str, file: File) -> Result<()> {
    use super::{Columns, Values};
    use rusqlite::types::Value;

    let broken = |_| {
        Error::new(ErrorKind::Input, format!("{path}: not readable as Parquet"))
            .hint("check that the file is whole and its compression is zstd, snappy or none")
    };
    let builder = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).map_err(broken)?;
    let columns: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    let integer: Vec<bool> = builder.schema().fields().iter().map(|field| field.data_type().is_integer()).collect();
    let mut insert = create(connection, name, &columns, path)?;
    for batch in builder.build().map_err(broken)? {
        let batch = batch.map_err(|_| {
            Error::new(ErrorKind::Input, format!("{path}: damaged Parquet data")).hint("write the file again")
        })?;
        let rows = Columns::new(&batch);
        let values: Vec<Values<'_>> = columns.iter().filter_map(|column| rows.get(column)).collect();
        for row in 0..batch.num_rows() {
            let cells = values.iter().zip(&integer).map(|(values, integer)| match values.string(row) {
                None => Value::Null,
                Some(text) if *integer => text.parse().map_or(Value::Text(text), Value::Integer),
                Some(text) if text.trim().is_empty() => Value::Null,
                Some(text) => Value::Text(text),
            });
            insert.execute(params_from_iter(cells)).map_err(|error| loading(path, &error))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::FilesSource;
    use crate::config::warehouse::{Encoding, ListFile};
    use crate::warehouse::{Columns, Error, Source};

    async fn load(name: &str, bytes: &[u8], change: impl Fn(&mut ListFile)) -> Result<FilesSource, Error> {
        let folder = tempfile::tempdir().unwrap();
        let mut file = ListFile::new(folder.path().join(name));
        std::fs::write(&file.path, bytes).unwrap();
        change(&mut file);
        FilesSource::load(&BTreeMap::from([("people".to_owned(), file)])).await
    }

    async fn first_text(source: &FilesSource, sql: &str) -> Option<String> {
        let batch = source.query(sql).await.unwrap().next().await.unwrap().unwrap();
        Columns::new(&batch).get("v").unwrap().string(0)
    }

    #[tokio::test]
    async fn keeps_text_as_it_is_and_blanks_as_null() {
        let source = load("a.csv", b"\xef\xbb\xbfid,v\n1,00123\n2, \n", |_| {}).await.unwrap();
        assert_eq!(first_text(&source, "SELECT v FROM people WHERE id = '1'").await.as_deref(), Some("00123"));
        assert_eq!(first_text(&source, "SELECT count(*) AS v FROM people WHERE v IS NULL").await.as_deref(), Some("1"));
    }

    #[tokio::test]
    async fn two_streams_at_once() {
        let source = load("a.csv", b"id,v\n1,x\n", |_| {}).await.unwrap();
        let _open = source.query("SELECT * FROM people").await.unwrap();
        assert_eq!(first_text(&source, "SELECT v FROM people").await.as_deref(), Some("x"));
    }

    #[tokio::test]
    async fn reads_what_excel_writes() {
        let source = load("a.csv", b"id;v\n1;Ren\xe9 \x80\n", |file| {
            file.delimiter = ';';
            file.encoding = Encoding::Windows1252;
        })
        .await
        .unwrap();
        assert_eq!(first_text(&source, "SELECT v FROM people").await.as_deref(), Some("René €"));
    }

    #[tokio::test]
    async fn faults_name_file_line_column_and_remedy() {
        for (bytes, parts) in [
            (&b"id,v\n1,Ren\xe9\n"[..], ["line 2", "column v", "windows-1252"]),
            (b"id;v\n1;x\n", ["line 1", "';'", "delimiter"]),
            (b"id,v\n1,x\n2,y,secret@mail.example\n", ["line 3", "3 fields", "quote fields"]),
            (b"id,\n1,x\n", ["line 1", "column 2", "name the columns"]),
        ] {
            let error = load("a.csv", bytes, |_| {}).await.unwrap_err().to_string();
            for part in parts {
                assert!(error.contains(part), "{part} not in {error}");
            }
            assert!(error.contains("a.csv") && !error.contains("secret"), "{error}");
        }
    }

    #[cfg(feature = "parquet")]
    #[tokio::test]
    async fn reads_parquet() {
        use std::sync::Arc;

        use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};

        let batch = RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(vec![9, 10])) as ArrayRef),
            ("v", Arc::new(StringArray::from(vec![Some("é"), None])) as ArrayRef),
        ])
        .unwrap();
        let mut bytes = Vec::new();
        let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let source = load("a.parquet", &bytes, |_| {}).await.unwrap();
        // As a number 9 is less than 10; as a text it would not be.
        assert_eq!(first_text(&source, "SELECT v FROM people WHERE id < 10").await.as_deref(), Some("é"));
        let error = load("a.parquet", &bytes[..40], |_| {}).await.unwrap_err().to_string();
        assert!(error.contains("not readable as Parquet"), "{error}");
    }
}
