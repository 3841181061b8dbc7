//! Decodes PostgreSQL's binary COPY format into Arrow.
//! Source: <https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format".

use std::fmt::Write;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::stream::BATCH_ROWS;
use super::{Error, ErrorKind, Result};

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Microseconds from 1970 to PostgreSQL's zero, 2000-01-01.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

const DAY_MICROS: i64 = 86_400_000_000;

/// How a column's bytes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    /// Of two, four or eight bytes.
    Int,
    Float4,
    Float8,
    Text,
    Timestamp,
    Date,
    Uuid,
    /// Cast to text by the server.
    Other,
}

impl Kind {
    /// By sqlx's name of the type.
    pub(super) fn of(type_name: &str) -> Self {
        match type_name {
            "BOOL" => Self::Bool,
            "INT2" | "INT4" | "INT8" => Self::Int,
            "FLOAT4" => Self::Float4,
            "FLOAT8" => Self::Float8,
            "TEXT" | "VARCHAR" | "CHAR" | "NAME" => Self::Text,
            "TIMESTAMP" | "TIMESTAMPTZ" => Self::Timestamp,
            "DATE" => Self::Date,
            "UUID" => Self::Uuid,
            _ => Self::Other,
        }
    }
}

enum Builder {
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Text(StringBuilder),
    Time(TimestampMicrosecondBuilder),
}

/// Takes the byte stream in any pieces, gives batches.
pub(super) struct CopyDecoder {
    names: Vec<String>,
    kinds: Vec<Kind>,
    builders: Vec<Builder>,
    schema: SchemaRef,
    /// The beginning of a row whose rest has not come yet.
    carry: Vec<u8>,
    header_read: bool,
    ended: bool,
    rows: usize,
}

impl CopyDecoder {
    pub(super) fn new(columns: Vec<(String, Kind)>) -> Self {
        let (names, kinds): (Vec<String>, Vec<Kind>) = columns.into_iter().unzip();
        let fields: Vec<Field> =
            names.iter().zip(&kinds).map(|(name, kind)| Field::new(name, data_type(*kind), true)).collect();
        let builders = kinds.iter().map(|kind| builder(*kind)).collect();
        let schema = Arc::new(Schema::new(fields));
        Self { names, kinds, builders, schema, carry: Vec::new(), header_read: false, ended: false, rows: 0 }
    }

    /// # Errors
    /// Bytes that are not the announced format.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        if self.carry.is_empty() {
            let used = self.rows_of(bytes)?;
            self.carry.extend_from_slice(&bytes[used..]);
        } else {
            let mut carry = std::mem::take(&mut self.carry);
            carry.extend_from_slice(bytes);
            let used = self.rows_of(&carry)?;
            carry.drain(..used);
            self.carry = carry;
        }
        Ok(())
    }

    /// A batch once enough rows are there.
    pub(super) fn full_batch(&mut self) -> Option<RecordBatch> {
        (self.rows >= BATCH_ROWS).then(|| self.take_batch())
    }

    /// The last rows.
    ///
    /// # Errors
    /// A stream that stops in the middle.
    pub(super) fn finish(mut self) -> Result<Option<RecordBatch>> {
        if !self.ended {
            return Err(malformed("the data stopped in the middle"));
        }
        Ok((self.rows > 0).then(|| self.take_batch()))
    }

    fn take_batch(&mut self) -> RecordBatch {
        self.rows = 0;
        let arrays: Vec<ArrayRef> = self
            .builders
            .iter_mut()
            .map(|builder| match builder {
                Builder::Bool(builder) => Arc::new(builder.finish()) as ArrayRef,
                Builder::Int(builder) => Arc::new(builder.finish()),
                Builder::Float(builder) => Arc::new(builder.finish()),
                Builder::Text(builder) => Arc::new(builder.finish()),
                Builder::Time(builder) => Arc::new(builder.finish().with_timezone("UTC")),
            })
            .collect();
        let options = arrow_array::RecordBatchOptions::new().with_row_count(arrays.first().map(|array| array.len()));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .expect("the schema is made from the builders")
    }

    /// Reads all whole rows; returns how many bytes they took.
    fn rows_of(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut at = 0;
        if !self.header_read {
            let Some(used) = header(bytes)? else { return Ok(0) };
            at = used;
            self.header_read = true;
        }
        while !self.ended {
            let Some(end) = self.row_end(&bytes[at..])? else { break };
            if end == 2 && bytes[at..at + 2] == [0xff, 0xff] {
                self.ended = true;
            } else {
                self.append_row(&bytes[at + 2..at + end])?;
            }
            at += end;
        }
        Ok(at)
    }

    /// Length of the row at the beginning, when it is all there.
    fn row_end(&self, bytes: &[u8]) -> Result<Option<usize>> {
        let Some(count) = bytes.first_chunk::<2>() else { return Ok(None) };
        let count = i16::from_be_bytes(*count);
        if count == -1 {
            return Ok(Some(2));
        }
        if usize::try_from(count).ok() != Some(self.kinds.len()) {
            return Err(malformed("a row has another number of columns"));
        }
        let mut at = 2;
        for _ in 0..count {
            let Some(length) = bytes.get(at..).and_then(<[u8]>::first_chunk::<4>) else { return Ok(None) };
            at += 4 + usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        }
        Ok((at <= bytes.len()).then_some(at))
    }

    fn append_row(&mut self, mut bytes: &[u8]) -> Result<()> {
        for ((kind, builder), name) in self.kinds.iter().zip(&mut self.builders).zip(&self.names) {
            let (length, rest) = bytes.split_first_chunk::<4>().expect("row_end has checked the row");
            let length = usize::try_from(i32::from_be_bytes(*length)).ok();
            let (value, rest) = rest.split_at(length.unwrap_or(0));
            bytes = rest;
            append(*kind, builder, length.map(|_| value)).ok_or_else(|| {
                Error::new(ErrorKind::Input, format!("PostgreSQL: column {name} holds a value that cannot be read"))
                    .hint("cast it to text in an expression, for instance \"(column::text)\"")
            })?;
        }
        self.rows += 1;
        Ok(())
    }
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Other, format!("PostgreSQL: {what}")).hint("try again; a proxy may have cut the connection")
}

fn header(bytes: &[u8]) -> Result<Option<usize>> {
    if bytes.len() < 19 {
        return Ok(None);
    }
    if &bytes[..11] != SIGNATURE {
        return Err(malformed("the reply is not in COPY's binary format"));
    }
    let extension = bytes[15..].first_chunk::<4>().map_or(0, |length| u32::from_be_bytes(*length) as usize);
    Ok((bytes.len() >= 19 + extension).then_some(19 + extension))
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Bool => DataType::Boolean,
        Kind::Int => DataType::Int64,
        Kind::Float4 | Kind::Float8 => DataType::Float64,
        Kind::Timestamp | Kind::Date => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Kind::Text | Kind::Uuid | Kind::Other => DataType::Utf8,
    }
}

fn builder(kind: Kind) -> Builder {
    match kind {
        Kind::Bool => Builder::Bool(BooleanBuilder::new()),
        Kind::Int => Builder::Int(Int64Builder::new()),
        Kind::Float4 | Kind::Float8 => Builder::Float(Float64Builder::new()),
        Kind::Timestamp | Kind::Date => Builder::Time(TimestampMicrosecondBuilder::new()),
        Kind::Text | Kind::Uuid | Kind::Other => Builder::Text(StringBuilder::new()),
    }
}

/// `None` when the bytes do not fit the kind.
fn append(kind: Kind, builder: &mut Builder, value: Option<&[u8]>) -> Option<()> {
    match builder {
        Builder::Bool(builder) => builder.append_option(match value {
            None => None,
            Some([byte]) => Some(*byte != 0),
            Some(_) => return None,
        }),
        Builder::Int(builder) => builder.append_option(match value {
            None => None,
            Some(bytes) => Some(integer(bytes)?),
        }),
        Builder::Float(builder) => builder.append_option(match value {
            None => None,
            Some(bytes) if kind == Kind::Float4 => Some(f64::from(f32::from_be_bytes(bytes.try_into().ok()?))),
            Some(bytes) => Some(f64::from_be_bytes(bytes.try_into().ok()?)),
        }),
        Builder::Time(builder) => builder.append_option(match value {
            None => None,
            Some(bytes) => {
                let number = integer(bytes)?;
                // The extremes are `infinity`: no instant.
                let infinite = number == i64::MAX || number == i64::MIN;
                let infinite_day = number == i64::from(i32::MAX) || number == i64::from(i32::MIN);
                match kind {
                    Kind::Date if infinite_day => None,
                    Kind::Date => Some(number * DAY_MICROS + EPOCH_MICROS),
                    _ if infinite => None,
                    _ => Some(number.checked_add(EPOCH_MICROS)?),
                }
            }
        }),
        Builder::Text(builder) => match value {
            None => builder.append_null(),
            Some(bytes) if kind == Kind::Uuid => {
                for (index, byte) in bytes.iter().enumerate() {
                    let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
                    write!(builder, "{dash}{byte:02x}").ok()?;
                }
                builder.append_value("");
            }
            Some(bytes) => builder.append_value(std::str::from_utf8(bytes).ok()?),
        },
    }
    Some(())
}

fn integer(bytes: &[u8]) -> Option<i64> {
    Some(match bytes.len() {
        2 => i64::from(i16::from_be_bytes(bytes.try_into().ok()?)),
        4 => i64::from(i32::from_be_bytes(bytes.try_into().ok()?)),
        8 => i64::from_be_bytes(bytes.try_into().ok()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{CopyDecoder, Kind, SIGNATURE};
    use crate::warehouse::{Columns, parse_time};

    fn stream() -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0; 8]);
        for (id, name, day) in [(7_i32, Some("é"), 0_i32), (8, None, -1)] {
            bytes.extend(3_i16.to_be_bytes());
            bytes.extend([4_i32.to_be_bytes(), id.to_be_bytes()].concat());
            match name {
                Some(name) => {
                    bytes.extend((name.len() as i32).to_be_bytes());
                    bytes.extend(name.as_bytes());
                }
                None => bytes.extend((-1_i32).to_be_bytes()),
            }
            bytes.extend([4_i32.to_be_bytes(), day.to_be_bytes()].concat());
        }
        bytes.extend([0xff, 0xff]);
        bytes
    }

    fn decoder() -> CopyDecoder {
        let kinds = [("id", Kind::Int), ("name", Kind::Text), ("day", Kind::Date)];
        CopyDecoder::new(kinds.map(|(name, kind)| (name.to_owned(), kind)).into())
    }

    #[test]
    fn reads_rows_cut_anywhere() {
        let bytes = stream();
        for size in 1..=bytes.len() {
            let mut decoder = decoder();
            for chunk in bytes.chunks(size) {
                decoder.feed(chunk).unwrap();
            }
            let batch = decoder.finish().unwrap().unwrap();
            let columns = Columns::new(&batch);
            assert_eq!(columns.get("id").unwrap().i64(1), Some(8));
            assert_eq!(columns.get("name").unwrap().string(0).as_deref(), Some("é"));
            assert_eq!(columns.get("name").unwrap().string(1), None);
            assert_eq!(columns.get("day").unwrap().time(1), parse_time("1999-12-31"));
        }
    }

    #[test]
    fn notices_a_truncated_stream() {
        let bytes = stream();
        let mut decoder = decoder();
        decoder.feed(&bytes[..bytes.len() - 3]).unwrap();
        assert!(decoder.finish().is_err());
    }
}
