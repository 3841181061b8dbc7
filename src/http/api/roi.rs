//! What a campaign may be worth, whether a holdout can tell, and what it told. The same requests and answers as
//! `reveil roi … --json`.

use axum::Json;
use axum::extract::State;

use super::super::App;
use super::super::auth::Caller;
use super::super::contract::Input;
use super::super::problem::{Code, Problem};
use super::audiences::visible;
use super::plan::apart;
use crate::report::campaign::{self, CampaignError};
use crate::roi::plan::HoldoutJudgement;
use crate::roi::request::{
    MeasureAnswer, MeasureRequest, PlanHoldoutRequest, ProjectAnswer, ProjectRequest, RequestError,
};

/// Project what a campaign is worth
///
/// Baskets, buyers the ads cause, and return, with intervals and every assumption named. With `audience` it learns from
/// that audience's match rates, deliveries and orders.
#[utoipa::path(post, path = "/v1/roi/project", tag = "results", operation_id = "project_roi",
    request_body = ProjectRequest, security(("token" = ["operator"])),
    responses((status = 200, description = "As `reveil roi project --json`", body = ProjectAnswer)))]
pub async fn project(
    State(app): State<App>,
    caller: Caller,
    Input(request): Input<ProjectRequest>,
) -> Result<Json<ProjectAnswer>, Problem> {
    let engine = app.daemon.engine();
    if let Some(audience) = &request.audience {
        visible(&engine, &caller, audience)?;
    }
    request.check()?;
    Ok(Json(apart(&app, async move { Ok(campaign::project(Some(&engine), &request).await?) }).await?))
}

/// Tell whether a holdout can show the effect
#[utoipa::path(post, path = "/v1/roi/plan-holdout", tag = "results", operation_id = "plan_holdout",
    request_body = PlanHoldoutRequest, security(("token" = ["operator"])),
    responses((status = 200, description = "As `reveil roi plan-holdout --json`", body = HoldoutJudgement)))]
pub async fn plan_holdout(Input(request): Input<PlanHoldoutRequest>) -> Result<Json<HoldoutJudgement>, Problem> {
    Ok(Json(request.answer()?))
}

/// Measure what the ads caused
///
/// From counts, or with `audience` from the warehouse: everybody assigned, whatever the channel.
#[utoipa::path(post, path = "/v1/roi/measure", tag = "results", operation_id = "measure_roi",
    request_body = MeasureRequest, security(("token" = ["operator"])),
    responses((status = 200, description = "As `reveil roi measure --json`", body = MeasureAnswer)))]
pub async fn measure(
    State(app): State<App>,
    caller: Caller,
    Input(request): Input<MeasureRequest>,
) -> Result<Json<MeasureAnswer>, Problem> {
    let engine = app.daemon.engine();
    if let Some(audience) = &request.audience {
        visible(&engine, &caller, audience)?;
    }
    request.check()?;
    Ok(Json(apart(&app, async move { Ok(campaign::measure(Some(&engine), &request).await?.1) }).await?))
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        let field = error.field().map_or_else(String::new, |field| format!("/{field}"));
        let text = error.to_string();
        match text.split_once("\nhint: ") {
            Some((message, hint)) => Self::body_fault(field, message).hint(hint),
            None => Self::body_fault(field, text),
        }
    }
}

impl From<CampaignError> for Problem {
    fn from(error: CampaignError) -> Self {
        match error {
            CampaignError::Request(error) => error.into(),
            other => {
                let error = anyhow::Error::from(other);
                Self::new(Code::Internal).detail(error.to_string())
            }
        }
    }
}
