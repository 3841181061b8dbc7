//! A token is pasted; a cookie that no script can read keeps it.

use askama::Template;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::language::Words;
use super::{Language, page};
use crate::http::App;
use crate::http::auth::{address, check_token, origin, session};
use crate::http::contract::read_body;
use crate::http::limits::network;
use crate::http::problem::{Code, Problem};

#[derive(Debug, Template)]
#[template(path = "login.html", config = "src/web/askama.toml")]
struct Login {
    w: &'static Words,
    who: Option<String>,
    next: String,
    wrong: bool,
}

/// The form.
pub async fn form(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    app.limits().addresses.take(&network(address(request.extensions())))?;
    let query = request.uri().query().unwrap_or_default();
    let next = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "next");
    let next = own_path(next.map(|(_, value)| value.into_owned()));
    page(&Login { w: Language::of(request.headers()).words(), who: None, next, wrong: false })
}

/// The pasted token.
pub async fn enter(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    origin::own_page(&parts)?;
    let fields = fields(&parts.headers, body).await?;
    let field = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.trim().to_owned());
    let next = own_path(field("next"));
    let token = field("token").unwrap_or_default();
    match check_token(&app, &parts, &token).await {
        Ok(_) => {
            let mut response = Redirect::to(&next).into_response();
            response.headers_mut().insert(header::SET_COOKIE, session::start(&token, app.secure()));
            Ok(response)
        }
        Err(problem) if problem.code == Code::Unauthenticated => {
            let words = Language::of(&parts.headers).words();
            let mut response = page(&Login { w: words, who: None, next, wrong: true })?;
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            Ok(response)
        }
        Err(problem) => Err(problem),
    }
}

/// Forgets the cookie.
pub async fn leave(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    origin::own_page(&parts)?;
    let mut response = Redirect::to("/login").into_response();
    response.headers_mut().insert(header::SET_COOKIE, session::end(app.secure()));
    Ok(response)
}

/// A form is small.
const FORM_BYTES: usize = 4096;
const FORM_SECS: u64 = 10;

async fn fields(headers: &HeaderMap, body: Body) -> Result<Vec<(String, String)>, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(Problem::new(Code::UnsupportedMediaType).hint("send the form of this page"));
    }
    let bytes = read_body(body, FORM_BYTES, FORM_SECS).await?;
    Ok(url::form_urlencoded::parse(&bytes).into_owned().collect())
}

/// Only a path of this server: nobody is sent elsewhere after logging in.
fn own_path(path: Option<String>) -> String {
    let own = |path: &String| {
        path.starts_with('/')
            && !path.starts_with("//")
            && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    path.filter(own).unwrap_or_else(|| "/".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        let of = |path: &str| own_path(Some(path.to_owned()));
        assert_eq!(of("/runs?audience=a"), "/runs?audience=a");
        for foreign in
            ["https://evil.example", "//evil.example", "/\\evil.example", "", "/a\r\nSet-Cookie: x", "javascript:1"]
        {
            assert_eq!(of(foreign), "/", "{foreign:?}");
        }
    }
}
