//! `[warehouse]`: where customers and events are, and which of the user's columns means what.
//!
//! A mapped value is a [`Field`]: a column name, a quoted literal (`"'FR'"`) or an SQL expression in parentheses
//! (`"(lower(mail))"`). Tables are names (`schema.table`) or a query in parentheses. Expressions, queries and
//! `where` texts go into the generated SQL as they are: whoever writes the configuration is trusted with the
//! warehouse, exactly as with the `uri`.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The SQL a warehouse speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    Sqlite,
    #[serde(alias = "postgres")]
    Postgresql,
    /// Standard SQL with `EXTRACT(EPOCH FROM …)`, for ADBC drivers of anything else.
    Ansi,
}

/// `[warehouse]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarehouseConfig {
    /// `sqlite`, `postgresql`, `files` (CSV and Parquet lists), or the name or path of an ADBC driver library such
    /// as `adbc_driver_snowflake`. Default: `sqlite`.
    #[serde(default = "default_driver")]
    pub driver: String,
    /// Where the warehouse is: `file:shop.db`, `postgresql://…`, or what the ADBC driver expects. May hold a
    /// password, so it is never printed; write `${WAREHOUSE_URI}` to take it from the environment.
    #[serde(default)]
    pub uri: Option<SecretString>,
    /// The data is made up. Such data may only be sent to loopback hosts. Default: false.
    #[serde(default)]
    pub synthetic: bool,
    /// The SQL to write for an ADBC driver. Default: guessed from the driver's name, else `ansi`.
    #[serde(default)]
    pub dialect: Option<Dialect>,
    /// ADBC only: the library's initialisation function. Default: found from the library's name.
    #[serde(default)]
    pub entrypoint: Option<String>,
    /// ADBC only: database options as the driver documents them (`adbc.snowflake.sql.account`, `username` …).
    #[serde(default)]
    pub options: BTreeMap<String, SecretString>,
    /// `driver = "files"` only: one table per file, by name.
    #[serde(default)]
    pub files: BTreeMap<String, ListFile>,
    /// Event kinds that are purchases; naming one of them in a definition names all.
    /// Default: `["order", "sale", "purchase"]`.
    #[serde(default = "default_purchase_kinds")]
    pub purchase_kinds: Vec<String>,
    /// Who may be in an audience. Without it a segment can be counted over the events alone, but not sent.
    #[serde(default)]
    pub customers: Option<CustomersMapping>,
    /// What people did: one table or a list of tables.
    #[serde(default, deserialize_with = "one_or_many")]
    pub events: Vec<EventsMapping>,
    /// Campaign deliveries, for `no_open_campaigns`.
    #[serde(default)]
    pub deliveries: Option<DeliveriesMapping>,
}

impl WarehouseConfig {
    /// Lets relative paths start at the folder of the configuration, wherever the command is given.
    pub(super) fn start_at(&mut self, base: &Path) {
        for file in self.files.values_mut().filter(|file| file.path.is_relative()) {
            file.path = base.join(&file.path);
        }
        if self.driver == "sqlite"
            && let Some(uri) = &self.uri
        {
            self.uri = Some(SecretString::from(sqlite_from(uri.expose_secret(), base)));
        }
    }
}

/// The address with its path below `base`, unless it is absolute or in memory.
fn sqlite_from(uri: &str, base: &Path) -> String {
    let after = |prefix: &str| uri.strip_prefix(prefix).map(|rest| (prefix.to_owned(), rest));
    let (scheme, rest) = ["sqlite://file:", "sqlite:file:", "sqlite://", "sqlite:", "file:"]
        .into_iter()
        .find_map(after)
        .unwrap_or((String::new(), uri));
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    if path.is_empty() || path.starts_with('/') || path.starts_with(':') {
        return uri.to_owned();
    }
    let path = base.join(path);
    match query {
        Some(query) => format!("{scheme}{}?{query}", path.display()),
        None => format!("{scheme}{}", path.display()),
    }
}

impl Default for WarehouseConfig {
    fn default() -> Self {
        Self {
            driver: default_driver(),
            uri: None,
            synthetic: false,
            dialect: None,
            entrypoint: None,
            options: BTreeMap::new(),
            files: BTreeMap::new(),
            purchase_kinds: default_purchase_kinds(),
            customers: None,
            events: Vec::new(),
            deliveries: None,
        }
    }
}

fn default_driver() -> String {
    "sqlite".into()
}

fn default_purchase_kinds() -> Vec<String> {
    ["order", "sale", "purchase"].map(String::from).into()
}

/// A CSV or Parquet file read as a table. A plain string is the path.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListFile {
    /// Relative to the configuration file. `.parquet` files are Parquet, all others CSV; `.gz` is unpacked.
    pub path: PathBuf,
    /// CSV only: the character between fields. Default: `,`.
    pub delimiter: char,
    /// CSV only: the character set. Default: UTF-8 with or without a byte order mark.
    pub encoding: Encoding,
}

impl<'de> Deserialize<'de> for ListFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Full {
            path: PathBuf,
            #[serde(default = "comma")]
            delimiter: char,
            #[serde(default)]
            encoding: Encoding,
        }
        struct PathOrTable;
        impl<'de> Visitor<'de> for PathOrTable {
            type Value = ListFile;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, or { path = …, delimiter = …, encoding = … }")
            }
            fn visit_str<E>(self, path: &str) -> Result<ListFile, E> {
                Ok(ListFile::new(path))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ListFile, A::Error> {
                let full = Full::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ListFile { path: full.path, delimiter: full.delimiter, encoding: full.encoding })
            }
        }
        deserializer.deserialize_any(PathOrTable)
    }
}

impl ListFile {
    /// A comma-separated UTF-8 file (or a Parquet file, by its name).
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), delimiter: comma(), encoding: Encoding::default() }
    }
}

fn comma() -> char {
    ','
}

/// Character set of a CSV file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Encoding {
    #[default]
    #[serde(rename = "utf-8", alias = "utf8")]
    Utf8,
    /// What Excel writes in Western Europe; also read for ISO 8859-1.
    #[serde(rename = "windows-1252", alias = "latin1", alias = "iso-8859-1", alias = "cp1252")]
    Windows1252,
}

/// A mapped value: a column, a `'literal'` or an `(SQL expression)`. See the module.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Field {
    Column(String),
    Literal(String),
    Expression(String),
}

impl From<String> for Field {
    fn from(text: String) -> Self {
        if text.len() >= 2 && text.starts_with('\'') && text.ends_with('\'') {
            Self::Literal(text[1..text.len() - 1].replace("''", "'"))
        } else if text.starts_with('(') && text.ends_with(')') {
            Self::Expression(text)
        } else {
            Self::Column(text)
        }
    }
}

impl From<&str> for Field {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<Field> for String {
    fn from(field: Field) -> Self {
        match field {
            Field::Column(name) => name,
            Field::Literal(text) => format!("'{}'", text.replace('\'', "''")),
            Field::Expression(sql) => sql,
        }
    }
}

/// How instants are stored. All are UTC unless they carry an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeForm {
    /// Native timestamps, dates, ISO 8601 text; on SQLite also seconds since 1970.
    #[default]
    Auto,
    /// Seconds since 1970.
    UnixSeconds,
    /// Milliseconds since 1970.
    UnixMillis,
}

/// Unit of a money column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueUnit {
    /// Euros, pounds …
    #[default]
    Major,
    /// Hundredths: cents, pence …
    Minor,
}

/// `[warehouse.customers]`: one row per customer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomersMapping {
    /// Table or view (`schema.table`), or a query in parentheses.
    pub table: String,
    /// The customer's id, as in the events. Rows whose id is blank are nobody and ignored.
    pub id: Option<Field>,
    /// Clear e-mail addresses.
    #[serde(default)]
    pub emails: Vec<Field>,
    /// Clear phone numbers.
    #[serde(default)]
    pub phones: Vec<Field>,
    /// E-mails already normalised and SHA-256-hashed (hexadecimal). Declared here, never guessed.
    #[serde(default)]
    pub email_digests: Vec<Field>,
    /// Phones already in E.164 and SHA-256-hashed (hexadecimal).
    #[serde(default)]
    pub phone_digests: Vec<Field>,
    /// Mobile advertising ids (IDFA, GAID).
    #[serde(default)]
    pub mobile_ids: Vec<Field>,
    #[serde(default)]
    pub first_name: Option<Field>,
    #[serde(default)]
    pub last_name: Option<Field>,
    #[serde(default)]
    pub postcode: Option<Field>,
    #[serde(default)]
    pub city: Option<Field>,
    /// ISO 3166-1 alpha-2, a column or for instance `"'FR'"`. Also the country national phone numbers are read with.
    #[serde(default)]
    pub country: Option<Field>,
    /// Consent to the use for advertising (`true`, `1`, `yes`, `granted` …). Anything else means no.
    #[serde(default)]
    pub consent_ads: Option<Field>,
    /// When that consent was given.
    #[serde(default)]
    pub consent_at: Option<Field>,
    /// Where it was given.
    #[serde(default)]
    pub consent_source: Option<Field>,
    /// Unsubscribed from mailings.
    #[serde(default)]
    pub unsubscribed: Option<Field>,
    #[serde(default)]
    pub hard_bounce: Option<Field>,
    /// Marked a mailing as spam.
    #[serde(default)]
    pub complaint: Option<Field>,
    /// Objected to direct marketing.
    #[serde(default)]
    pub objection: Option<Field>,
    /// Asked to be erased.
    #[serde(default)]
    pub erasure: Option<Field>,
    /// Opted out of sale or sharing (United States).
    #[serde(default)]
    pub us_opt_out: Option<Field>,
    /// Test or employee account.
    #[serde(default)]
    pub test: Option<Field>,
    #[serde(default)]
    pub minor: Option<Field>,
    #[serde(default)]
    pub birth_date: Option<Field>,
    #[serde(default)]
    pub created_at: Option<Field>,
    /// Last contact that came from the person; restarts retention.
    #[serde(default)]
    pub last_contact_at: Option<Field>,
    /// Where the person stands in the win-back mails: days after the first one (0, 5, 10, 15), `done`, blank when not in
    /// them. See `eligibility.ladder_ready`.
    #[serde(default)]
    pub ladder_step: Option<Field>,
    /// How `created_at` is stored. Default: `auto`.
    #[serde(default)]
    pub time_form: TimeForm,
    /// SQL condition on the table's rows, trusted.
    #[serde(default, rename = "where")]
    pub filter: Option<String>,
}

/// One table of `[warehouse.events]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsMapping {
    /// Table or view (`schema.table`), or a query in parentheses.
    pub table: String,
    /// Whose event. Blank ids are guests and ignored.
    pub customer_id: Field,
    /// When it happened. Rows without a time are ignored.
    pub at: Field,
    /// How `at` is stored. Default: `auto`.
    #[serde(default)]
    pub time_form: TimeForm,
    /// What happened: a column or a literal. Default: `'order'`.
    #[serde(default = "default_kind")]
    pub kind: Field,
    /// Amount of a purchase.
    #[serde(default)]
    pub value: Option<Field>,
    /// Unit of `value`. Default: `major`.
    #[serde(default)]
    pub value_unit: ValueUnit,
    /// Currency of `value`, for reports; amounts are not converted.
    #[serde(default)]
    pub currency: Option<Field>,
    /// SQL condition on the table's rows, trusted.
    #[serde(default, rename = "where")]
    pub filter: Option<String>,
}

fn default_kind() -> Field {
    Field::Literal("order".into())
}

/// `[warehouse.deliveries]`: one row per person and campaign delivered (or per message).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveriesMapping {
    pub table: String,
    pub customer_id: Field,
    pub campaign_id: Field,
    /// When it was delivered.
    pub at: Field,
    /// First open, if any.
    #[serde(default)]
    pub opened_at: Option<Field>,
    /// First click, if any.
    #[serde(default)]
    pub clicked_at: Option<Field>,
    /// True when a machine opened it (Apple Mail Privacy Protection, scanners); such opens are not counted.
    #[serde(default)]
    pub machine_open: Option<Field>,
    /// How the three times are stored. Default: `auto`.
    #[serde(default)]
    pub time_form: TimeForm,
    /// SQL condition on the table's rows, trusted.
    #[serde(default, rename = "where")]
    pub filter: Option<String>,
}

/// Reads a table or a list of tables. Not an untagged enum, whose errors would not name the faulty key.
fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct OneOrMany<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table or a list of tables")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Vec<T>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(seq))
        }
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
            Ok(vec![T::deserialize(MapAccessDeserializer::new(map))?])
        }
    }
    deserializer.deserialize_any(OneOrMany(PhantomData))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use secrecy::ExposeSecret as _;

    use super::{Field, WarehouseConfig, sqlite_from};

    #[test]
    fn reads_one_events_table_or_a_list() {
        let one: WarehouseConfig = toml::from_str(
            "[events]\ntable = 'orders'\ncustomer_id = 'cid'\nat = 'ordered_at'\nkind = \"'order'\"\nvalue = 'amount'",
        )
        .unwrap();
        assert_eq!(one.events[0].kind, Field::Literal("order".into()));
        let two: WarehouseConfig = toml::from_str(
            "[[events]]\ntable='orders'\ncustomer_id='c'\nat='a'\n[[events]]\ntable='clicks'\ncustomer_id='c'\nat='a'\nkind=\"'click'\"",
        )
        .unwrap();
        assert_eq!(two.events.len(), 2);
    }

    #[test]
    fn relative_paths_start_at_the_configuration() {
        let base = Path::new("/etc/reveil");
        for (uri, wanted) in [
            ("file:shop.db", "file:/etc/reveil/shop.db"),
            ("shop.db", "/etc/reveil/shop.db"),
            ("sqlite:data/shop.db?immutable=1", "sqlite:/etc/reveil/data/shop.db?immutable=1"),
            ("sqlite://shop.db", "sqlite:///etc/reveil/shop.db"),
            ("file:/srv/shop.db", "file:/srv/shop.db"),
            ("file:///srv/shop.db", "file:///srv/shop.db"),
            ("sqlite:///srv/shop.db?mode=ro", "sqlite:///srv/shop.db?mode=ro"),
            (":memory:", ":memory:"),
        ] {
            assert_eq!(sqlite_from(uri, base), wanted);
        }
        let mut files: WarehouseConfig =
            toml::from_str("driver = 'files'\nuri = 'untouched'\n[files]\na = 'a.csv'\nb = '/srv/b.csv'").unwrap();
        files.start_at(base);
        let paths: Vec<_> = files.files.values().map(|file| file.path.display().to_string()).collect();
        assert_eq!(paths, ["/etc/reveil/a.csv", "/srv/b.csv"]);
        assert_eq!(files.uri.unwrap().expose_secret(), "untouched");
    }

    #[test]
    fn names_an_unknown_key() {
        let error =
            toml::from_str::<WarehouseConfig>("[events]\ntable='o'\ncustomer_id='c'\nat='a'\nwhen='b'").unwrap_err();
        assert!(error.to_string().contains("unknown field `when`"), "{error}");
    }

    #[test]
    fn debug_hides_the_uri() {
        let config: WarehouseConfig = toml::from_str("uri = 'postgresql://u:s3cret@h/db'").unwrap();
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn a_field_is_a_column_a_literal_or_an_expression() {
        for text in ["email", "'FR'", "'O''Neill'", "(lower(mail))"] {
            assert_eq!(String::from(Field::from(text)), text);
        }
        assert_eq!(Field::from("'O''Neill'"), Field::Literal("O'Neill".into()));
    }
}
