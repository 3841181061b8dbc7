//! The one error of reading a warehouse. It never holds a uri, an option value or a value out of a row.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The settings are wrong or incomplete.
    Config,
    /// The warehouse, file or library is not there or cannot be reached.
    Unreachable,
    /// The credential is refused or may not read this.
    Denied,
    /// Somebody else holds it; trying later can help.
    Busy,
    /// A table or column does not exist, or the SQL is refused.
    Query,
    /// The rows are not what was declared: an unreadable time, a broken line.
    Input,
    /// None of the above.
    Other,
}

/// See the module.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
}

impl Error {
    /// `message` says what and where, without values.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// True when the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, ErrorKind::Busy | ErrorKind::Unreachable)
    }

    /// By the five-character SQLSTATE of a server. `message` is the server's own words; those of data exceptions
    /// (class 22, 23) quote the offending value and are left out.
    pub(crate) fn from_sqlstate(source: &str, code: &str, message: &str) -> Self {
        let (kind, hint) = match code.get(..2).unwrap_or_default() {
            "28" => (ErrorKind::Denied, "check user and password in [warehouse] uri"),
            "08" | "57" => (ErrorKind::Unreachable, "the server closed or refused the connection; try again"),
            "53" => (ErrorKind::Busy, "the server is out of connections, memory or disk"),
            "55" | "40" => (ErrorKind::Busy, "another session holds what is needed; try again"),
            "22" | "23" => {
                let detail = match code {
                    "22007" | "22008" => "a value is not a date or time",
                    "22P02" => "a value has the wrong form for its type",
                    "22003" => "a number is out of range",
                    "22012" => "division by zero",
                    _ => "a value is not what its column's use needs",
                };
                return Self::new(ErrorKind::Input, format!("{source}: {detail} (SQLSTATE {code})")).hint(
                    "check the columns in [warehouse.events] and [warehouse.customers]; `time_form` declares numbers as times",
                );
            }
            _ => match code {
                "25006" => (ErrorKind::Denied, "the query tries to write, and a segment may only SELECT"),
                "42501" => (ErrorKind::Denied, "grant SELECT on the table to this user"),
                "3D000" => (ErrorKind::Unreachable, "check the database name in [warehouse] uri"),
                "42P01" | "42703" => (ErrorKind::Query, "check table and column names in [warehouse]"),
                "42883" | "42846" | "42804" => (
                    ErrorKind::Query,
                    "a column has another type than its use needs; for numbers as times set `time_form`",
                ),
                _ => (ErrorKind::Query, "`reveil segment sql` prints the query"),
            },
        };
        Self::new(kind, format!("{source}: {message} (SQLSTATE {code})")).hint(hint)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
