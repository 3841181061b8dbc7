//! Pages of a list that goes on growing: a cursor names the last row seen, not a count of rows.

use super::StoreError;

/// Some rows and where the next ones start.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Opaque; absent at the end.
    pub next: Option<String>,
}

/// A place in a list that is sorted by an instant and an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) at: String,
    pub(super) id: String,
}

impl Cursor {
    /// # Errors
    /// `Cursor` when it was not made by [`Cursor::text`].
    pub(super) fn read(text: &str) -> Result<Self, StoreError> {
        let bad = || StoreError::Cursor(text.chars().take(80).collect());
        let bytes = const_hex::decode(text).map_err(|_| bad())?;
        let plain = String::from_utf8(bytes).map_err(|_| bad())?;
        let (at, id) = plain.split_once('|').ok_or_else(bad)?;
        Ok(Self { at: at.to_owned(), id: id.to_owned() })
    }

    /// For a list sorted by number alone.
    pub(super) fn number(text: &str) -> Result<i64, StoreError> {
        Self::read(text)?.id.parse().map_err(|_| StoreError::Cursor(text.chars().take(80).collect()))
    }

    pub(super) fn text(&self) -> String {
        const_hex::encode(format!("{}|{}", self.at, self.id))
    }
}

/// Cuts the one row too many that says there is more.
pub(super) fn page<T>(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> Cursor) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(|last| cursor(last).text()) } else { None };
    Page { items, next }
}
