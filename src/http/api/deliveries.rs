//! What platforms say was delivered, for the projections to learn from.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::App;
use super::super::auth::Caller;
use super::super::contract::Input;
use super::super::listing::Page;
use super::super::problem::{FieldFault, Problem};
use super::audiences::visible;
use crate::report::deliveries::{Flight, figures};
use crate::store::deliveries::DeliveryFigures;

/// Flights to take over, all or none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Deliveries {
    /// One known by audience, destination and days is replaced.
    #[schema(min_items = 1, max_items = 1000)]
    items: Vec<Flight>,
}

/// What was taken over.
#[derive(Debug, Serialize, ToSchema)]
pub struct TakenOver {
    #[schema(example = 3)]
    flights: usize,
}

/// List delivery figures, oldest first
#[utoipa::path(get, path = "/v1/deliveries", tag = "results", operation_id = "list_deliveries",
    security(("token" = ["viewer"])),
    responses((status = 200, description = "All that the token may see", body = Page<DeliveryFigures>)))]
pub async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Page<DeliveryFigures>>, Problem> {
    let all = app.daemon.store().deliveries().await?;
    Ok(Json(Page::whole(all.into_iter().filter(|flight| caller.sees(&flight.audience)).collect())))
}

/// Take over delivery figures
#[utoipa::path(post, path = "/v1/deliveries", tag = "results", operation_id = "add_deliveries",
    request_body = Deliveries, security(("token" = ["operator"])),
    responses((status = 200, description = "They are known now", body = TakenOver)))]
pub async fn take_over(
    State(app): State<App>,
    caller: Caller,
    Input(request): Input<Deliveries>,
) -> Result<Json<TakenOver>, Problem> {
    let engine = app.daemon.engine();
    // What a token may not see must look as if it were not there.
    let hidden = |flight: &&Flight| {
        engine.config.audience.contains_key(&flight.audience) && visible(&engine, &caller, &flight.audience).is_err()
    };
    if let Some(flight) = request.items.iter().find(hidden) {
        return Err(Problem::not_found("audience", &flight.audience));
    }
    let flights = figures(&engine.config, request.items).map_err(|faults| {
        let told = faults.into_iter().map(|fault| FieldFault {
            location: "body",
            field: format!("/items/{}/{}", fault.index, fault.field),
            message: fault.message,
            hint: None,
        });
        Problem::unprocessable(told.collect())
    })?;
    engine.store.save_deliveries(&flights).await?;
    let detail = serde_json::json!({ "flights": flights.len() });
    engine.store.audit(engine.clock.now(), &caller.name, "import_deliveries", "", &detail).await?;
    Ok(Json(TakenOver { flights: flights.len() }))
}
