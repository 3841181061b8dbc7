//! One run: its funnel, its destinations, and, while it goes, how far it is.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};

use super::language::Words;
use super::visitor::Visitor;
use super::{page, show};
use crate::http::App;
use crate::http::api::{RunDocument, cancel_run, run_document, visible_run};
use crate::http::auth::origin;
use crate::http::problem::{Code, Problem};
use crate::store::model::RunState;

#[derive(Debug, Template)]
#[template(path = "run.html", config = "src/web/askama.toml")]
struct Run {
    w: &'static Words,
    who: Option<String>,
    run: RunDocument,
    /// Neither ended nor only waiting for a verdict.
    live: bool,
    may_cancel: bool,
    /// For the verdict of a platform on what was sent, whether it has ended or goes on when that is there.
    waits: bool,
}

pub async fn run(State(app): State<App>, visitor: Visitor, Path(id): Path<String>) -> Result<Response, Problem> {
    let found = visible_run(&app, &visitor.caller, &id).await?;
    let run = run_document(&app, found).await?;
    let live = matches!(run.state, RunState::Queued | RunState::Running);
    let may_cancel = live && visitor.may_operate() && !run.cancel_requested;
    let undecided = run.destinations.iter().any(|part| part.state == RunState::Pending);
    let waits = run.state == RunState::Pending || (run.state == RunState::Queued && undecided);
    page(&Run { w: visitor.words, who: Some(visitor.caller.name), run, live, may_cancel, waits })
}

/// The button.
pub async fn cancel(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<String>,
    request: axum::extract::Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    origin::own_page(&parts)?;
    if !visitor.may_operate() {
        return Err(Problem::new(Code::Forbidden).detail("needs the role operator"));
    }
    cancel_run(&app, &visitor.caller, &id).await?;
    Ok(Redirect::to(&format!("/runs/{id}")).into_response())
}
