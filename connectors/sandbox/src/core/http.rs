//! Requests and replies as the simulated platforms see them, free of the HTTP library.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use bytes::Bytes;
use std::borrow::Cow;

/// One request, read whole.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Path below the platform's prefix, without a leading slash, percent-decoded.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn segments(&self) -> Vec<&str> {
        self.path.split('/').filter(|s| !s.is_empty()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn bearer(&self) -> Option<&str> {
        let value = self.header("authorization")?;
        value.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("bearer "))?;
        Some(value[7..].trim())
    }

    pub(crate) fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        url::form_urlencoded::parse(self.query.as_bytes())
    }

    /// Whether the body is declared as this media type, parameters aside.
    pub(crate) fn is(&self, media_type: &str) -> bool {
        let declared = self.header("content-type").unwrap_or("").split(';').next().unwrap_or("").trim();
        declared.eq_ignore_ascii_case(media_type)
    }
}

/// One reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self {
            status,
            content_type: "application/json; charset=UTF-8",
            headers: Vec::new(),
            body: body.to_string().into(),
        }
    }

    pub(crate) fn ok(body: &serde_json::Value) -> Self {
        Self::json(200, body)
    }

    /// The page an edge server shows instead of the API's answer.
    pub(crate) fn html(status: u16) -> Self {
        let page = "<!DOCTYPE html>\n<html><head><title>Error</title></head><body><p>Sorry, something went wrong.</p></body></html>";
        Self { status, content_type: "text/html; charset=utf-8", headers: Vec::new(), body: page.into() }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert("content-type", HeaderValue::from_static(self.content_type));
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

/// What a platform made of a call: its reply, and for the log what it was and how many members it carried.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    pub(crate) members: usize,
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self { reply, members: 0 }
    }
}

/// Percent-decodes a path; a platform's ids never need it, clients that over-encode do (`audienceMembers%3Aingest`).
pub(crate) fn decode_path(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| path.get(at + 1..at + 3)).flatten();
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::decode_path;

    #[test]
    fn paths_are_decoded_once() {
        assert_eq!(decode_path("audienceMembers%3Aingest"), "audienceMembers:ingest");
        assert_eq!(decode_path("a%2"), "a%2");
        assert_eq!(decode_path("a%253A"), "a%3A");
    }
}
