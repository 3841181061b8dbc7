//! The member payload: strict about shape, tolerant about cells (a malformed cell is counted, as Meta counts it).

use super::error::MetaError;
use crate::core::key::{Digest, EMPTY_HASH, Key, Kind, Rows, from_hex, unit};
use crate::core::people::meta_address;
use crate::world::{Shared, Struck};
use serde::de::{DeserializeSeed, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Rows per request, at most.
const MAX_ROWS: usize = 10_000;
/// Samples of invalid entries in a reply, at most.
const MAX_SAMPLES: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Payload<'a> {
    #[serde(borrow)]
    schema: Schema<'a>,
    #[serde(borrow)]
    data: Table<'a>,
    /// Tied to combined keys in the documents; hashed rows are accepted either way.
    is_raw: Option<serde_json::Value>,
    app_ids: Option<IgnoredAny>,
    page_ids: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Schema<'a> {
    Single(#[serde(borrow)] Cow<'a, str>),
    Multi(#[serde(borrow)] Vec<Cow<'a, str>>),
}

enum Cell<'a> {
    Text(Cow<'a, str>),
    Number(f64),
    List(Vec<String>),
    Null,
}

/// All rows' cells end to end.
#[derive(Default)]
struct Table<'a> {
    cells: Vec<Cell<'a>>,
    ends: Vec<usize>,
    /// Rows written as a bare value, which only the single-string schemas have.
    bare: usize,
}

struct CellVisitor;
impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cell")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cell<'de>, E> {
        Ok(Cell::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Cell<'de>, E> {
        Ok(Cell::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_u64<E>(self, n: u64) -> Result<Cell<'de>, E> {
        Ok(Cell::Number(n as f64))
    }
    fn visit_i64<E>(self, n: i64) -> Result<Cell<'de>, E> {
        Ok(Cell::Number(n as f64))
    }
    fn visit_f64<E>(self, n: f64) -> Result<Cell<'de>, E> {
        Ok(Cell::Number(n))
    }
    fn visit_unit<E>(self) -> Result<Cell<'de>, E> {
        Ok(Cell::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Cell<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Cell::List(items))
    }
}
impl<'de> Deserialize<'de> for Cell<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(CellVisitor)
    }
}

/// Reads one row straight into the table.
struct RowSeed<'t, 'a>(&'t mut Table<'a>);
impl<'de> DeserializeSeed<'de> for RowSeed<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}
impl<'de> Visitor<'de> for RowSeed<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(cell) = seq.next_element()? {
            self.0.cells.push(cell);
        }
        self.0.ends.push(self.0.cells.len());
        Ok(())
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<(), E> {
        self.0.cells.push(Cell::Text(Cow::Borrowed(text)));
        self.0.ends.push(self.0.cells.len());
        self.0.bare += 1;
        Ok(())
    }
    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.cells.push(Cell::Text(Cow::Owned(text.to_owned())));
        self.0.ends.push(self.0.cells.len());
        self.0.bare += 1;
        Ok(())
    }
}
impl<'de: 'a, 'a> Deserialize<'de> for Table<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct TableVisitor;
        impl<'de> Visitor<'de> for TableVisitor {
            type Value = Table<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of rows")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut table = Table::default();
                while seq.next_element_seed(RowSeed(&mut table))?.is_some() {}
                Ok(table)
            }
        }
        d.deserialize_seq(TableVisitor)
    }
}

/// Which of the two incompatible ways of uploading an audience was begun with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DataSource {
    MultiHashes,
    HashesOrUserIds,
}

impl DataSource {
    pub(crate) fn name(self) -> &'static str {
        match self {
            DataSource::MultiHashes => "MULTI_HASHES",
            DataSource::HashesOrUserIds => "HASHES_OR_USER_IDS",
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Column {
    /// An identifier of its own, hashed.
    Hashed(Kind),
    /// An identifier of its own, plain.
    Plain(Kind),
    Mobile,
    First,
    Last,
    Zip,
    Country,
    /// Hashed, narrows a match; never an identifier.
    Detail,
    Value,
    Options,
}

impl Column {
    fn multi(name: &str) -> Option<Self> {
        Some(match name {
            "EMAIL" => Column::Hashed(Kind::Email),
            "PHONE" => Column::Hashed(Kind::Phone),
            "EXTERN_ID" => Column::Plain(Kind::ExternId),
            "MADID" => Column::Mobile,
            "FN" => Column::First,
            "LN" => Column::Last,
            "ZIP" => Column::Zip,
            "COUNTRY" => Column::Country,
            "GEN" | "DOBY" | "DOBM" | "DOBD" | "FI" | "CT" | "ST" => Column::Detail,
            "LOOKALIKE_VALUE" => Column::Value,
            "UID" | "PAGEUID" | "APPUID" => Column::Plain(Kind::UserId),
            "DATA_PROCESSING_OPTIONS" | "DATA_PROCESSING_OPTIONS_COUNTRY" | "DATA_PROCESSING_OPTIONS_STATE" => {
                Column::Options
            }
            _ => return None,
        })
    }

    fn single(name: &str) -> Option<Self> {
        Some(match name {
            "EMAIL_SHA256" => Column::Hashed(Kind::Email),
            "PHONE_SHA256" => Column::Hashed(Kind::Phone),
            "MOBILE_ADVERTISER_ID" => Column::Mobile,
            "EXTERN_ID" => Column::Plain(Kind::ExternId),
            "UID" => Column::Plain(Kind::UserId),
            _ => return None,
        })
    }
}

/// A payload understood.
pub(crate) struct Upload {
    pub(crate) rows: Rows,
    /// Rows sent, usable or not.
    pub(crate) received: u64,
    pub(crate) invalid: u64,
    pub(crate) samples: Vec<String>,
    pub(crate) source: DataSource,
    pub(crate) schema: Vec<String>,
    pub(crate) value_based: bool,
}

impl Payload<'_> {
    /// Checks shape and cells.
    pub(crate) fn read(self, shared: &Shared, struck: &Struck) -> Result<Upload, MetaError> {
        let boolean = |v: &serde_json::Value| {
            v.is_boolean() || ["0", "1", "\"true\"", "\"false\""].contains(&v.to_string().as_str())
        };
        if self.is_raw.as_ref().is_some_and(|v| !boolean(v)) {
            return Err(MetaError::invalid("payload.is_raw must be a boolean"));
        }
        let (names, source): (Vec<&str>, DataSource) = match &self.schema {
            Schema::Single(name) => (vec![name.as_ref()], DataSource::HashesOrUserIds),
            Schema::Multi(names) if names.len() == 1 && names[0].ends_with("_SHA256") => {
                (vec![names[0].as_ref()], DataSource::HashesOrUserIds)
            }
            Schema::Multi(names) => (names.iter().map(AsRef::as_ref).collect(), DataSource::MultiHashes),
        };
        let column = |name: &&str| match source {
            DataSource::MultiHashes => Column::multi(name),
            DataSource::HashesOrUserIds => Column::single(name),
        };
        let columns: Option<Vec<Column>> = names.iter().map(column).collect();
        let Some(columns) = columns.filter(|c| !c.is_empty()) else {
            return Err(MetaError::invalid("payload.schema holds a key that is not offered").blame("schema"));
        };
        if names.iter().enumerate().any(|(i, name)| names[..i].contains(name)) {
            return Err(MetaError::invalid("payload.schema names a key twice").blame("schema"));
        }
        if columns.contains(&Column::Plain(Kind::UserId)) && self.app_ids.is_none() && self.page_ids.is_none() {
            return Err(MetaError::invalid("UID needs app_ids, PAGEUID needs page_ids"));
        }
        let sent = self.data.ends.len();
        if sent == 0 {
            return Err(MetaError::invalid("payload.data is empty").blame("data"));
        }
        if sent > MAX_ROWS {
            return Err(MetaError::invalid(format!("payload.data has {sent} rows; at most {MAX_ROWS} per request"))
                .blame("data"));
        }
        if source == DataSource::MultiHashes && self.data.bare > 0 {
            return Err(MetaError::invalid("with a schema of several keys every row is an array").blame("data"));
        }
        let mut reader = Reader {
            shared,
            struck,
            columns: &columns,
            rows: Rows::with_capacity(sent, 2),
            invalid: 0,
            samples: Vec::new(),
        };
        let mut start = 0;
        for (index, &end) in self.data.ends.iter().enumerate() {
            let row = &self.data.cells[start..end];
            start = end;
            if row.len() != columns.len() {
                let what = format!("row {index} has {} cells, the schema {}", row.len(), columns.len());
                return Err(MetaError::invalid(what).blame("data"));
            }
            reader.row(row)?;
        }
        Ok(Upload {
            rows: reader.rows,
            received: sent as u64,
            invalid: reader.invalid,
            samples: reader.samples,
            source,
            schema: names.iter().map(|&n| n.to_owned()).collect(),
            value_based: columns.contains(&Column::Value),
        })
    }
}

struct Reader<'r> {
    shared: &'r Shared,
    struck: &'r Struck,
    columns: &'r [Column],
    rows: Rows,
    invalid: u64,
    samples: Vec<String>,
}

impl Reader<'_> {
    /// Reads one row: its usable keys become a row of their own, an unusable or malformed one is counted.
    fn row(&mut self, cells: &[Cell<'_>]) -> Result<(), MetaError> {
        let mut keys: Vec<Key> = Vec::new();
        let (mut first, mut last, mut zip, mut country) = (None, None, None, None);
        let mut malformed: Option<&str> = None;
        for (cell, column) in cells.iter().zip(self.columns) {
            let text = match (cell, column) {
                (Cell::Text(text), _) => text.as_ref(),
                (Cell::Number(n), Column::Value) if *n >= 0.0 => continue,
                (Cell::Number(_), Column::Options) => continue,
                (Cell::List(items), Column::Options) if items.iter().all(|item| item == "LDU") => continue,
                (Cell::Null, _) => {
                    return Err(MetaError::invalid("a cell is null; an unknown value is an empty string"));
                }
                (Cell::Number(n), Column::Plain(kind)) => {
                    keys.push(Key::of_plain(*kind, &n.to_string()));
                    continue;
                }
                _ => return Err(MetaError::invalid("a cell has the wrong type").blame("data")),
            };
            if text.is_empty() {
                continue;
            }
            match column {
                Column::Plain(kind) => keys.push(Key::of_plain(*kind, text)),
                Column::Mobile if is_device_id(text) => keys.push(Key::of_plain(Kind::MobileId, text)),
                Column::Mobile => malformed = Some(text),
                Column::Value if text.parse::<f64>().is_ok_and(|v| v >= 0.0) => {}
                Column::Value => malformed = Some(text),
                Column::Options => {}
                Column::Hashed(_) | Column::First | Column::Last | Column::Zip | Column::Country | Column::Detail => {
                    if self.struck.bad_row().is_some_and(|prefix| text.starts_with(prefix)) {
                        // The whole payload is blamed: the row is for the client to find.
                        return Err(MetaError::invalid("Invalid parameter").blame("payload"));
                    }
                    let Some(digest) = from_hex(text, false).filter(|d| *d != EMPTY_HASH) else {
                        malformed = Some(text);
                        continue;
                    };
                    let slot: &mut Option<Digest> = match column {
                        Column::Hashed(kind) => {
                            keys.push(Key::new(*kind, digest));
                            continue;
                        }
                        Column::First => &mut first,
                        Column::Last => &mut last,
                        Column::Zip => &mut zip,
                        Column::Country => &mut country,
                        _ => continue,
                    };
                    *slot = Some(digest);
                }
            }
        }
        if let (Some(first), Some(last), Some(zip)) = (first, last, zip) {
            keys.push(meta_address(&first, &last, &zip, country.as_ref()));
        }
        let refused = match (self.struck.partial(), keys.first()) {
            (Some(share), Some(key)) => unit(self.shared.settings.seed, key.word()) < share,
            _ => false,
        };
        if refused || malformed.is_some() || keys.is_empty() {
            self.invalid += 1;
            if self.samples.len() < MAX_SAMPLES {
                self.samples.push(malformed.unwrap_or_default().chars().take(64).collect());
            }
        }
        if !refused && !keys.is_empty() {
            keys.into_iter().for_each(|key| self.rows.key(key));
            self.rows.end_row();
        }
        Ok(())
    }
}

/// Lower-case hex groups of 8-4-4-4-12.
fn is_device_id(text: &str) -> bool {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && text.bytes().all(|b| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}
