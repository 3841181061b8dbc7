//! Why the state could not be read or written, and whether waiting helps.

use sqlx::error::DatabaseError;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the state directory {path} cannot be made: {source}")]
    Directory { path: String, source: std::io::Error },
    #[error("state.url cannot be read: {0}\nhint: write postgres://user:password@host:5432/database")]
    Url(String),
    #[error("the state database {place}: {source}\nhint: {}", hint(.source))]
    Database { place: String, source: sqlx::Error },
    #[error(
        "the state database {place} was written by a newer Réveil (its version {found}, known here {known})\n\
         hint: run the newer binary, or give this one a state of its own"
    )]
    Newer { place: String, found: i64, known: i64 },
    #[error(
        "the state database holds something in {what} that this version cannot read; was it written by a newer one?"
    )]
    Malformed { what: String },
    #[error(
        "the state database {place} is in use: {table} has rows\nhint: copy into an empty database, before the first sync"
    )]
    NotEmpty { place: String, table: &'static str },
    #[error("there is no {what} `{key}`")]
    Unknown { what: &'static str, key: String },
    /// Another worker has taken the job over; what this one still knows is worthless.
    #[error("the lease of job {job} is lost: another worker has taken it over")]
    LeaseLost { job: String },
    #[error("`{0}` is not a cursor of this list\nhint: pass `next_cursor` of the page before, unchanged")]
    Cursor(String),
}

impl StoreError {
    /// Whether the same call may work later without anybody changing it: the database is out of reach, full, busy or
    /// has restarted. What was being written is then either there as a whole or not at all.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Database { source, .. } if transient(source))
    }

    /// SQLite: another connection holds what this one needs.
    pub(super) fn is_busy(&self) -> bool {
        let Self::Database { source: sqlx::Error::Database(error), .. } = self else { return false };
        sqlite_code(&**error) == Some(BUSY)
    }
}

const BUSY: u32 = 5;

/// SQLite's plain error code; extended ones carry it in the low byte.
fn sqlite_code(error: &dyn DatabaseError) -> Option<u32> {
    error.try_downcast_ref::<sqlx::sqlite::SqliteError>()?;
    error.code()?.parse::<u32>().ok().map(|code| code & 0xff)
}

fn transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => passing(&**error),
        _ => false,
    }
}

fn passing(error: &dyn DatabaseError) -> bool {
    const LOCKED: u32 = 6;
    const IO: u32 = 10;
    const FULL: u32 = 13;
    if let Some(code) = sqlite_code(error) {
        return [BUSY, LOCKED, IO, FULL].contains(&code);
    }
    let Some(code) = error.code() else { return false };
    // Connection lost, resources gone (disk, memory, connections), server going down or starting, a standby that is
    // about to be promoted, deadlocks, lock and statement time-outs.
    ["08", "53", "57P", "58"].iter().any(|class| code.starts_with(class))
        || ["25006", "40001", "40P01", "55P03", "57014"].contains(&&*code)
}

fn hint(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::Database(error) if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() => {
            "another program may hold it, the disk may be full, or the file is not Réveil's"
        }
        sqlx::Error::Database(_) => "PostgreSQL refused it; its own log says more",
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Tls(_) => {
            "check that the server runs and is reachable from here, and `sslmode` in state.url"
        }
        _ => "if it stays, please report it",
    }
}
