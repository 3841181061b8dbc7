//! Whoever looks at a page: somebody with a session, or somebody who is sent to get one.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};

use super::{Language, language::Words};
use crate::http::App;
use crate::http::auth::{Caller, Role, identify};
use crate::http::problem::{Code, Problem};

/// See the module.
#[derive(Debug)]
pub struct Visitor {
    pub caller: Caller,
    pub words: &'static Words,
}

impl Visitor {
    pub fn may_operate(&self) -> bool {
        self.caller.role >= Role::Operator
    }
}

impl FromRequestParts<App> for Visitor {
    type Rejection = Response;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let caller = match identify(app, parts).await {
            Ok(caller) => caller,
            Err(problem) if problem.code == Code::Unauthenticated => return Err(to_login(parts)),
            Err(problem) => return Err(problem.into_response()),
        };
        app.limits().tokens.take(&caller.id).map_err(Problem::into_response)?;
        Ok(Self { caller, words: Language::of(&parts.headers).words() })
    }
}

/// Comes back to where the visitor wanted to go.
fn to_login(parts: &Parts) -> Response {
    let path = parts.uri.path_and_query().map_or("/", axum::http::uri::PathAndQuery::as_str);
    let query: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", path).finish();
    Redirect::to(&format!("/login?{query}")).into_response()
}
