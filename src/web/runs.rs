//! The runs, newest first.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::language::Words;
use super::visitor::Visitor;
use super::{page, show};
use crate::http::App;
use crate::http::problem::Problem;
use crate::store::model::Run;
use crate::store::runs::RunFilter;

const PER_PAGE: u32 = 30;

/// What of the list. Anything else in the address is ignored: people share and shorten links.
#[derive(Debug, Default, Deserialize)]
pub struct Which {
    audience: Option<String>,
    cursor: Option<String>,
}

#[derive(Debug, Template)]
#[template(path = "runs.html", config = "src/web/askama.toml")]
struct Runs {
    w: &'static Words,
    who: Option<String>,
    audience: Option<String>,
    runs: Vec<Run>,
    /// Address of the next page.
    older: Option<String>,
    newest: Option<String>,
}

pub async fn runs(State(app): State<App>, visitor: Visitor, Query(which): Query<Which>) -> Result<Response, Problem> {
    let filter = RunFilter { audience: which.audience.clone(), ..RunFilter::default() };
    let found = app.daemon.store().runs_page(&filter, which.cursor.as_deref(), PER_PAGE).await?;
    page(&Runs {
        w: visitor.words,
        runs: found.items.into_iter().filter(|run| visitor.caller.sees(&run.audience)).collect(),
        older: found.next.map(|cursor| address(which.audience.as_deref(), Some(&cursor))),
        newest: which.cursor.map(|_| address(which.audience.as_deref(), None)),
        audience: which.audience,
        who: Some(visitor.caller.name),
    })
}

fn address(audience: Option<&str>, cursor: Option<&str>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in [("audience", audience), ("cursor", cursor)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    format!("/runs?{}", query.finish())
}
