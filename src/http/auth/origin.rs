//! Keeps pages of other sites from acting through a browser that has a session or sits on this machine.

use axum::http::{HeaderMap, Method, header, request::Parts};
use url::Url;

use super::super::problem::{Code, Problem};

/// Passes when the request changes nothing, comes from a page of this server, or from no page at all.
///
/// # Errors
/// `cross_site`.
pub fn own_page(parts: &Parts) -> Result<(), Problem> {
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let foreign = match (text("origin"), text("sec-fetch-site")) {
        (Some(origin), _) => origin_host(origin).as_deref() != asked_host(&parts.headers, &parts.uri),
        (None, Some(site)) => !matches!(site, "same-origin" | "none"),
        (None, None) => false,
    };
    if foreign { Err(Problem::new(Code::CrossSite)) } else { Ok(()) }
}

/// `host[:port]` as the client asked for it.
pub fn asked_host<'a>(headers: &'a HeaderMap, uri: &'a axum::http::Uri) -> Option<&'a str> {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    host.or_else(|| uri.authority().map(axum::http::uri::Authority::as_str))
}

fn origin_host(origin: &str) -> Option<String> {
    let url = Url::parse(origin).ok()?;
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(headers: &[(&str, &str)]) -> bool {
        let mut request = axum::http::Request::post("/x").header("host", "127.0.0.1:8750");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        own_page(&request.body(()).unwrap().into_parts().0).is_ok()
    }

    #[test]
    fn only_own_pages_and_programs_pass() {
        assert!(verdict(&[]));
        assert!(verdict(&[("origin", "http://127.0.0.1:8750")]));
        assert!(verdict(&[("sec-fetch-site", "same-origin")]));
        assert!(!verdict(&[("origin", "https://evil.example")]));
        assert!(!verdict(&[("origin", "http://127.0.0.1:9999")]));
        assert!(!verdict(&[("origin", "null")]));
        assert!(!verdict(&[("sec-fetch-site", "cross-site")]));
    }
}
