//! Lists in pages: `limit` and an opaque `cursor`, which says where the next page begins.

use serde::Serialize;
use utoipa::ToSchema;

/// Entries of a page when the caller does not say.
pub const DEFAULT_LIMIT: u32 = 50;

/// One page of a list. For a token of some audiences a page may hold fewer entries than asked for, though more follow.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Ask again with `cursor` set to this for the next page; `null` at the end.
    #[schema(example = json!(null))]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// All there is.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next_cursor: None }
    }
}
