//! The platforms this build knows.

use axum::Json;

use super::super::listing::Page;
use crate::connectors::{self, ConnectorFacts};

/// List connectors
#[utoipa::path(get, path = "/v1/connectors", tag = "destinations", operation_id = "list_connectors",
    security(("token" = ["viewer"])),
    responses((status = 200, description = "All of them, with identifiers, limits and settings",
               body = Page<ConnectorFacts>)))]
pub async fn list() -> Json<Page<ConnectorFacts>> {
    Json(Page::whole(connectors::all().iter().map(|builtin| ConnectorFacts::of(builtin.descriptor)).collect()))
}
