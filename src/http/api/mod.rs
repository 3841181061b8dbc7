//! The endpoints: one group a file. Each handler takes what the contract has checked, calls the library, and answers.

mod audiences;
mod audit;
mod connectors;
mod deliveries;
mod destinations;
mod events;
mod forget;
mod health;
mod held;
mod me;
mod moment;
mod observations;
mod paths;
mod plan;
mod reload;
mod roi;
mod run;
mod runs;
mod sync;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use audiences::{Audience, audience};
pub use health::Probed;
pub use held::HeldCache;
pub use run::{RunCounts, RunDocument, RunObservation, document as run_document};
pub use runs::{cancel_run, visible_run};

use super::App;

/// All of them, with their part of the OpenAPI document.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(health::openapi))
        .routes(routes!(health::version))
        .routes(routes!(me::me))
        .routes(routes!(audiences::list))
        .routes(routes!(audiences::get))
        .routes(routes!(audiences::pause))
        .routes(routes!(audiences::resume))
        .routes(routes!(plan::plan))
        .routes(routes!(sync::sync))
        .routes(routes!(runs::list))
        .routes(routes!(runs::get))
        .routes(routes!(runs::cancel))
        .routes(routes!(events::events))
        .routes(routes!(destinations::list))
        .routes(routes!(destinations::get))
        .routes(routes!(destinations::check))
        .routes(routes!(connectors::list))
        .routes(routes!(observations::list))
        .routes(routes!(roi::project))
        .routes(routes!(roi::plan_holdout))
        .routes(routes!(roi::measure))
        .routes(routes!(deliveries::list, deliveries::take_over))
        .routes(routes!(forget::list, forget::request))
        .routes(routes!(forget::get))
        .routes(routes!(audit::list))
        .routes(routes!(audit::verify))
        .routes(routes!(reload::reload))
}
