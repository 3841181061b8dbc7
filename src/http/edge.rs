//! The outermost layer: every request gets an id, a line in the log and in the metrics; every answer the security
//! headers; whatever went wrong inside leaves as a problem document, or as a page for people.

use std::any::Any;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::{Instrument as _, debug, error, info_span};

use super::App;
use super::auth::origin::asked_host;
use super::problem::{Code, Problem};
use crate::web;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What browsers are told about every answer. Pages have one style sheet and one script of their own, nothing foreign.
static SECURITY: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// For a year. Names below this one may be other people's.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// The id of the request, for whoever logs.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// The layer.
pub async fn around(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    request.extensions_mut().insert(RequestId(id.clone()));
    let known = web::Known::default();
    request.extensions_mut().insert(known.clone());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let for_people = web::is_page(request.uri().path()) && web::wants_html(request.headers());
    let language = web::Language::of(request.headers());
    let span = info_span!("request", request.id = %id, route, method = %method);
    let response = match right_host(&app, &request) {
        Ok(()) => next.run(request).instrument(span.clone()).await,
        Err(problem) => problem.into_response(),
    };
    let mut response = finish(response, &id, for_people.then_some(language), known.name());
    // At a proxy that adds TLS, it is for the proxy to say.
    if app.server().tls.is_some() {
        response.headers_mut().entry(header::STRICT_TRANSPORT_SECURITY).or_insert(HSTS);
    }
    let status = response.status().as_u16();
    let elapsed = started.elapsed();
    app.daemon.metrics().api.answered(&route, known_method(&method), status, elapsed);
    span.in_scope(|| debug!(status, duration_ms = elapsed.as_millis() as u64, "Answered"));
    response
}

/// Writes problems, and adds what every answer has.
fn finish(response: Response, id: &str, page: Option<web::Language>, who: Option<String>) -> Response {
    let mut response = match (response.extensions().get::<Problem>().cloned(), page) {
        (Some(problem), None) => rewrite(&response, &problem, id),
        (Some(problem), Some(language)) => web::error_page(&problem, id, language, who),
        (None, page) if is_foreign_error(&response) => {
            let problem = Problem::new(Code::of_status(response.status()));
            match page {
                Some(language) => web::error_page(&problem, id, language, who),
                None => rewrite(&response, &problem, id),
            }
        }
        _ => response,
    };
    let headers = response.headers_mut();
    for (name, value) in &SECURITY {
        headers.entry(name).or_insert_with(|| HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID.clone(), id);
    }
    response
}

/// The problem as a document, with the headers that were put on the answer on its way out: Allow, rate limits, CORS.
fn rewrite(response: &Response, problem: &Problem, id: &str) -> Response {
    let mut written = problem.write(id);
    for (name, value) in response.headers() {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            written.headers_mut().entry(name).or_insert_with(|| value.clone());
        }
    }
    written
}

/// An error some library answered with.
fn is_foreign_error(response: &Response) -> bool {
    let status = response.status();
    (status.is_client_error() || status.is_server_error())
        && response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"))
}

/// Takes over the caller's id when it is harmless, so that both sides' logs can be joined.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let sane = |id: &&str| {
        (8..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    given.filter(sane).map_or_else(new_id, str::to_owned)
}

fn new_id() -> String {
    let mut random = [0; 8];
    // Without randomness ids repeat, which only makes logs harder to read.
    let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random);
    const_hex::encode(random)
}

/// Methods people make up do not become labels.
fn known_method(method: &Method) -> &str {
    let known = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS, Method::PATCH];
    if known.contains(method) { method.as_str() } else { "other" }
}

/// On loopback only names of this machine are answered to: a page of another site that points its own name here would
/// otherwise count as ours.
fn right_host(app: &App, request: &Request) -> Result<(), Problem> {
    let server = app.server();
    if !server.on_loopback() {
        return Ok(());
    }
    let asked = asked_host(request.headers(), request.uri()).unwrap_or_default();
    let name = host_name(asked);
    let own = server.listen.ip().to_string();
    let public = server.public_url.as_ref().and_then(url::Url::host_str);
    let known = ["localhost", "127.0.0.1", "::1", own.as_str()].into_iter().chain(public);
    let mut known = known.chain(server.allowed_hosts.iter().map(String::as_str));
    if known.any(|known| known.trim_matches(['[', ']']).eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    Err(Problem::new(Code::WrongHost))
}

/// Without the port.
fn host_name(asked: &str) -> &str {
    match asked.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => asked.rsplit_once(':').map_or(asked, |(name, _)| name),
    }
}

/// A handler broke an invariant; the process carries on.
pub fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    error!(error = text, "A request panicked");
    Problem::new(Code::Internal).into_response()
}

/// No such address.
pub async fn not_found(State(app): State<App>, request: Request) -> Response {
    if web::is_page(request.uri().path()) && web::wants_html(request.headers()) {
        web::recognise(&app, request).await;
    }
    Problem::new(Code::NotFound).detail("nothing is at this address").into_response()
}

/// The address takes other methods; axum adds which.
pub async fn method_not_allowed() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, Problem::new(Code::MethodNotAllowed)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_taken_over_only_when_harmless() {
        let with = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID.clone(), HeaderValue::from_bytes(id.as_bytes()).unwrap());
            request_id(&headers)
        };
        assert_eq!(with("airflow-run.42_x"), "airflow-run.42_x");
        for odd in ["short", "has space in it", &"x".repeat(65), "quote\"quote\""] {
            assert_ne!(with(odd), odd);
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }

    #[test]
    fn ports_and_brackets_are_no_part_of_a_name() {
        for (asked, name) in
            [("localhost:8750", "localhost"), ("[::1]:80", "::1"), ("a.example", "a.example"), ("", "")]
        {
            assert_eq!(host_name(asked), name);
        }
    }
}
