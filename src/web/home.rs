//! What there is and how it is: the audiences.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::language::Words;
use super::visitor::Visitor;
use super::{page, show};
use crate::http::App;
use crate::http::api::{Audience, audience};
use crate::http::problem::Problem;

#[derive(Debug, Template)]
#[template(path = "home.html", config = "src/web/askama.toml")]
struct Home {
    w: &'static Words,
    who: Option<String>,
    audiences: Vec<Audience>,
}

pub async fn home(State(app): State<App>, visitor: Visitor) -> Result<Response, Problem> {
    let engine = app.daemon.engine();
    let mut audiences = Vec::new();
    for (key, config) in engine.config.audience.iter().filter(|(key, _)| visitor.caller.sees(key)) {
        audiences.push(audience(&app, &engine, key, config).await?);
    }
    page(&Home { w: visitor.words, who: Some(visitor.caller.name), audiences })
}
