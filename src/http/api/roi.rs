//! What a campaign may be worth, whether a holdout can tell, and what it told. The same requests and answers as
//! `reveil roi … --json`.

use axum::Json;
use axum::extract::State;

use super::super::App;
use super::super::auth::Caller;
use super::super::contract::Input;
use super::super::problem::{Code, FieldFault, Problem, ProblemDocument};
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
    responses((status = 200, description = "As `reveil roi project --json`", body = ProjectAnswer),
              (status = 404, description = "There is no such audience", body = ProblemDocument,
               content_type = "application/problem+json"),
              (status = 409, description = "Nothing can be said yet (`not_yet`)", body = ProblemDocument,
               content_type = "application/problem+json"),
              (status = 502, description = "The warehouse failed", body = ProblemDocument,
               content_type = "application/problem+json"),
              (status = 504, description = "It took longer than server.plan_timeout_secs", body = ProblemDocument,
               content_type = "application/problem+json")))]
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
    responses((status = 200, description = "As `reveil roi measure --json`", body = MeasureAnswer),
              (status = 404, description = "There is no such audience", body = ProblemDocument,
               content_type = "application/problem+json"),
              (status = 409, description = "Nothing can be said yet (`not_yet`)", body = ProblemDocument,
               content_type = "application/problem+json"),
              (status = 502, description = "The warehouse failed", body = ProblemDocument,
               content_type = "application/problem+json"),
              (status = 504, description = "It took longer than server.plan_timeout_secs", body = ProblemDocument,
               content_type = "application/problem+json")))]
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
        let (message, hint) = text.split_once("\nhint: ").map_or((&*text, None), |(told, hint)| (told, Some(hint)));
        let problem = Self::unprocessable(vec![FieldFault::new("body", field, message)]);
        match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }
}

impl From<CampaignError> for Problem {
    fn from(error: CampaignError) -> Self {
        match error {
            CampaignError::Request(error) => error.into(),
            CampaignError::NoAudience(told) => Self::new(Code::NotFound).detail(told),
            CampaignError::NotYet(told) => match told.split_once("\nhint: ") {
                Some((detail, hint)) => Self::new(Code::NotYet).detail(detail).hint(hint),
                None => Self::new(Code::NotYet).detail(told),
            },
            CampaignError::Failed(error) => error.into(),
        }
    }
}
