//! Typed access to a batch, whatever types the warehouse chose for its columns.

use std::fmt::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};

/// The columns of one batch by name.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    batch: &'a RecordBatch,
}

impl<'a> Columns<'a> {
    pub fn new(batch: &'a RecordBatch) -> Self {
        Self { batch }
    }

    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// The column of that name, in any letter case (some warehouses fold names). Look it up once per batch.
    pub fn get(&self, name: &str) -> Option<Values<'a>> {
        let schema = self.batch.schema_ref();
        let index = schema.fields().iter().position(|field| field.name().eq_ignore_ascii_case(name))?;
        Some(Values { array: self.batch.column(index) })
    }
}

/// The values of one column.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    array: &'a ArrayRef,
}

impl std::fmt::Debug for Values<'_> {
    /// Type and length only: the values are personal.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Values").field("type", self.array.data_type()).field("len", &self.array.len()).finish()
    }
}

impl<'a> Values<'a> {
    /// The value as text: text as it is, numbers in decimal, instants in ISO 8601 UTC. `None` for NULL and for types
    /// that have no text. Text columns are borrowed; others are written to `scratch`.
    pub fn text<'s>(&self, row: usize, scratch: &'s mut String) -> Option<&'s str>
    where
        'a: 's,
    {
        if let Some(text) = self.borrowed(row) {
            return Some(text);
        }
        scratch.clear();
        self.write(row, scratch).then_some(scratch.as_str())
    }

    /// As [`Values::text`], owned.
    pub fn string(&self, row: usize) -> Option<String> {
        let mut scratch = String::new();
        self.text(row, &mut scratch).map(str::to_owned)
    }

    /// The text itself when the column holds text; no copy.
    pub fn borrowed(&self, row: usize) -> Option<&'a str> {
        if self.array.is_null(row) {
            return None;
        }
        match self.array.data_type() {
            DataType::Utf8 => Some(self.array.as_string::<i32>().value(row)),
            DataType::LargeUtf8 => Some(self.array.as_string::<i64>().value(row)),
            DataType::Utf8View => Some(self.array.as_string_view().value(row)),
            _ => None,
        }
    }

    /// True and false in their usual spellings; `None` for NULL and anything else, so that "unknown" is never "yes".
    pub fn bool(&self, row: usize) -> Option<bool> {
        match self.array.data_type() {
            DataType::Boolean if !self.array.is_null(row) => Some(self.array.as_boolean().value(row)),
            _ => parse_bool(self.text(row, &mut String::new())?),
        }
    }

    /// A whole number; `None` for NULL, fractions and text that is none.
    pub fn i64(&self, row: usize) -> Option<i64> {
        let mut scratch = String::new();
        let text = self.text(row, &mut scratch)?.trim();
        text.parse().ok().or_else(|| {
            let (whole, fraction) = text.split_once('.')?;
            if fraction.bytes().all(|digit| digit == b'0') { whole.parse().ok() } else { None }
        })
    }

    /// A number; `None` for NULL and text that is none.
    pub fn f64(&self, row: usize) -> Option<f64> {
        self.text(row, &mut String::new())?.trim().parse().ok()
    }

    /// An instant, from native types, ISO 8601 text, dates (midnight UTC) or seconds since 1970 (milliseconds when
    /// the number is that large).
    pub fn time(&self, row: usize) -> Option<DateTime<Utc>> {
        if self.array.is_null(row) {
            return None;
        }
        native_time(self.array, row).or_else(|| parse_time(self.text(row, &mut String::new())?))
    }

    fn write(&self, row: usize, out: &mut String) -> bool {
        if self.array.is_null(row) {
            return false;
        }
        if let Some(time) = native_time(self.array, row) {
            out.push_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true));
            return true;
        }
        let array = self.array;
        match array.data_type() {
            DataType::Boolean => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
            DataType::Int8 => push::<Int8Type>(array, row, out),
            DataType::Int16 => push::<Int16Type>(array, row, out),
            DataType::Int32 => push::<Int32Type>(array, row, out),
            DataType::Int64 => push::<Int64Type>(array, row, out),
            DataType::UInt8 => push::<UInt8Type>(array, row, out),
            DataType::UInt16 => push::<UInt16Type>(array, row, out),
            DataType::UInt32 => push::<UInt32Type>(array, row, out),
            DataType::UInt64 => push::<UInt64Type>(array, row, out),
            // `Display` writes 13085.0 as 13085, so ids that a tool turned into floats still match.
            DataType::Float32 => push::<Float32Type>(array, row, out),
            DataType::Float64 => push::<Float64Type>(array, row, out),
            DataType::Decimal128(..) => out.push_str(&array.as_primitive::<Decimal128Type>().value_as_string(row)),
            _ => return false,
        }
        true
    }
}

fn push<T: ArrowPrimitiveType>(array: &ArrayRef, row: usize, out: &mut String)
where
    T::Native: std::fmt::Display,
{
    let _ = write!(out, "{}", array.as_primitive::<T>().value(row));
}

fn native_time(array: &ArrayRef, row: usize) -> Option<DateTime<Utc>> {
    match array.data_type() {
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => DateTime::from_timestamp(array.as_primitive::<TimestampSecondType>().value(row), 0),
            TimeUnit::Millisecond => {
                DateTime::from_timestamp_millis(array.as_primitive::<TimestampMillisecondType>().value(row))
            }
            TimeUnit::Microsecond => {
                DateTime::from_timestamp_micros(array.as_primitive::<TimestampMicrosecondType>().value(row))
            }
            TimeUnit::Nanosecond => {
                Some(DateTime::from_timestamp_nanos(array.as_primitive::<TimestampNanosecondType>().value(row)))
            }
        },
        DataType::Date32 => {
            DateTime::from_timestamp(i64::from(array.as_primitive::<Date32Type>().value(row)) * 86_400, 0)
        }
        DataType::Date64 => DateTime::from_timestamp_millis(array.as_primitive::<Date64Type>().value(row)),
        _ => None,
    }
}

/// True and false as warehouses and people write them, in any letter case; `None` for anything else.
pub fn parse_bool(text: &str) -> Option<bool> {
    const TRUE: [&str; 8] = ["true", "t", "1", "yes", "y", "granted", "on", "oui"];
    const FALSE: [&str; 9] = ["false", "f", "0", "no", "n", "denied", "off", "non", "revoked"];
    let text = text.trim();
    let is = |word: &&str| word.eq_ignore_ascii_case(text);
    if TRUE.iter().any(is) {
        Some(true)
    } else if FALSE.iter().any(is) {
        Some(false)
    } else {
        None
    }
}

/// An instant as ISO 8601 (`T` or space, fraction and offset optional, UTC when none), a date, or seconds or
/// milliseconds since 1970.
pub fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        // 1e11 seconds is the year 5138, 1e11 milliseconds is 1973.
        return if number.abs() >= 100_000_000_000 {
            DateTime::from_timestamp_millis(number)
        } else {
            DateTime::from_timestamp(number, 0)
        };
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(date.and_hms_opt(0, 0, 0)?.and_utc());
    }
    for form in ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z"] {
        if let Ok(time) = DateTime::parse_from_str(text, form) {
            return Some(time.to_utc());
        }
    }
    let text = text.strip_suffix(" UTC").unwrap_or(text);
    for form in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text.strip_suffix('Z').unwrap_or(text), form) {
            return Some(time.and_utc());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray};

    use super::{Columns, parse_bool, parse_time};

    #[test]
    fn reads_times_in_every_usual_form() {
        let instant = parse_time("2011-09-01T00:00:00Z").unwrap();
        for text in [
            "2011-09-01",
            "2011-09-01 00:00:00",
            "2011-09-01T00:00:00.000Z",
            "2011-09-01 02:00:00+02",
            "2011-09-01T02:00:00+02:00",
            "2011-09-01 00:00:00 UTC",
            "1314835200",
            "1314835200000",
        ] {
            assert_eq!(parse_time(text), Some(instant), "{text}");
        }
        assert_eq!(parse_time("01/09/2011"), None);
    }

    #[test]
    fn an_unclear_consent_is_none() {
        assert_eq!(parse_bool(" GRANTED "), Some(true));
        assert_eq!(parse_bool("no"), Some(false));
        assert_eq!(parse_bool("UNKNOWN"), None);
        assert_eq!(parse_bool(""), None);
    }

    #[test]
    fn gives_text_whatever_the_type() {
        let batch = RecordBatch::try_from_iter([
            ("ID", Arc::new(Int64Array::from(vec![Some(7), None])) as ArrayRef),
            ("f", Arc::new(Float64Array::from(vec![13085.0, 1.5])) as ArrayRef),
            ("d", Arc::new(Date32Array::from(vec![15218, 0])) as ArrayRef),
            ("s", Arc::new(StringArray::from(vec!["1", "t"])) as ArrayRef),
        ])
        .unwrap();
        let columns = Columns::new(&batch);
        let id = columns.get("id").unwrap();
        assert_eq!((id.string(0).as_deref(), id.string(1)), (Some("7"), None));
        let float = columns.get("f").unwrap();
        assert_eq!((float.string(0).as_deref(), float.i64(0), float.i64(1)), (Some("13085"), Some(13085), None));
        assert_eq!(columns.get("d").unwrap().time(0), parse_time("2011-09-01"));
        let flag = columns.get("s").unwrap();
        assert_eq!((flag.bool(0), flag.bool(1), flag.borrowed(0)), (Some(true), Some(true), Some("1")));
        assert!(columns.get("missing").is_none());
    }
}
