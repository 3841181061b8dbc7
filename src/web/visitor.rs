//! Whoever looks at a page: somebody with a session, or somebody who is sent to get one.

use std::sync::{Arc, OnceLock};

use axum::extract::{FromRequestParts, Request};
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

/// Travels with the request, so that whoever writes the page of a problem knows the visitor too.
#[derive(Debug, Clone, Default)]
pub struct Known(Arc<OnceLock<String>>);

impl Known {
    fn is(&self, name: &str) {
        // Who it is does not change within a request.
        let _ = self.0.set(name.to_owned());
    }
    /// The token's name, once it was found valid.
    pub fn name(&self) -> Option<String> {
        self.0.get().cloned()
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
        if let Some(known) = parts.extensions.get::<Known>() {
            known.is(&caller.name);
        }
        app.limits().tokens.take(&caller.id).map_err(Problem::into_response)?;
        Ok(Self { caller, words: Language::of(&parts.headers).words() })
    }
}

/// Notes who asks for a page that is not there, so that the way back stays in sight.
pub async fn recognise(app: &App, request: Request) {
    let (mut parts, _) = request.into_parts();
    // Strangers are told the same, with less around it.
    drop(Visitor::from_request_parts(&mut parts, app).await);
}

/// Comes back to where the visitor wanted to go.
fn to_login(parts: &Parts) -> Response {
    let path = parts.uri.path_and_query().map_or("/", axum::http::uri::PathAndQuery::as_str);
    let query: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", path).finish();
    Redirect::to(&format!("/login?{query}")).into_response()
}
