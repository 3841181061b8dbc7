//! The pages for people: rendered here, no build step, usable without scripts, on a phone and by keyboard, in French and
//! English. They show what the API shows, through the same functions, and let the same tokens in.

mod home;
mod language;
mod login;
mod run;
mod runs;
mod show;
mod visitor;

use askama::Template;
use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};

pub use language::Language;
use language::Words;
pub use visitor::{Known, recognise};

use crate::http::App;
use crate::http::problem::Problem;

/// All pages and what they load.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/", get(home::home))
        .route("/login", get(login::form).post(login::enter))
        .route("/logout", post(login::leave))
        .route("/runs", get(runs::runs))
        .route("/runs/{id}", get(run::run))
        .route("/runs/{id}/cancel", post(run::cancel))
        .route("/assets/style.css", get(style))
        .route("/assets/live.js", get(script))
}

/// Whether a path is for people rather than programs.
pub fn is_page(path: &str) -> bool {
    !path.starts_with("/v1") && !["/healthz", "/readyz", "/metrics"].contains(&path)
}

/// Whether a browser asks.
pub fn wants_html(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}

async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("style.css"))
}

async fn script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("live.js"))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "private, max-age=3600")], text).into_response()
}

/// A page, or the problem of a template, which is ours.
fn page(template: &impl Template) -> Result<Response, Problem> {
    let text = template.render().map_err(anyhow::Error::from)?;
    Ok(Html(text).into_response())
}

#[derive(Debug, Template)]
#[template(path = "error.html", config = "src/web/askama.toml")]
struct ErrorPage<'a> {
    w: &'static Words,
    who: Option<String>,
    status: u16,
    title: &'static str,
    /// In English.
    detail: Option<&'a str>,
    /// In the visitor's language, where there are words for it.
    remedy: Option<&'static str>,
    /// In English.
    hint: &'a str,
    request_id: &'a str,
}

/// A problem for people; `who` has shown a valid token, and keeps the way to the other pages.
pub fn error_page(problem: &Problem, request_id: &str, language: Language, who: Option<String>) -> Response {
    let document = problem.document(request_id);
    let words = language.words();
    let rendered = ErrorPage {
        w: words,
        who,
        status: document.status,
        title: words.problem(problem.code),
        detail: problem.detail.as_deref(),
        remedy: problem.hint.is_none().then(|| words.remedy(problem.code)).flatten(),
        hint: &document.hint,
        request_id,
    }
    .render();
    let status = StatusCode::from_u16(document.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let Ok(text) = rendered else { return problem.write(request_id) };
    let mut response = (status, Html(text)).into_response();
    for (name, value) in &problem.headers {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept, accept-language"));
    response
}
