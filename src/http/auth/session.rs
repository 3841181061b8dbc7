//! The pages' cookie. It holds the pasted token itself, so that revoking the token ends the session everywhere, on
//! every replica, at once. No script can read it and no other site can send it.

use axum::http::{HeaderMap, HeaderValue, header};

const PLAIN: &str = "reveil_session";
/// Browsers take a cookie of this name only with `Secure`, `Path=/` and no `Domain`.
const UNDER_TLS: &str = "__Host-reveil_session";
/// A working day; then the token is pasted again.
const MAX_AGE_SECS: u32 = 12 * 60 * 60;

/// The token in the request's cookie.
pub fn token(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == UNDER_TLS || *name == PLAIN).map(|(_, value)| value)
}

/// The header that starts a session.
pub fn start(token: &str, secure: bool) -> HeaderValue {
    cookie(token, secure, MAX_AGE_SECS)
}

/// The header that ends it.
pub fn end(secure: bool) -> HeaderValue {
    cookie("", secure, 0)
}

fn cookie(value: &str, secure: bool, max_age: u32) -> HeaderValue {
    let (name, extra) = if secure { (UNDER_TLS, "; Secure") } else { (PLAIN, "") };
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age}{extra}");
    let mut header = HeaderValue::from_str(&text).expect("a token is hex and underscores");
    header.set_sensitive(true);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_read_back() {
        for secure in [false, true] {
            let set = start("rvl_1_2", secure);
            let pair = set.to_str().unwrap().split(';').next().unwrap().to_owned();
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, format!("theme=dark; {pair}").parse().unwrap());
            assert_eq!(token(&headers), Some("rvl_1_2"));
            assert_eq!(set.to_str().unwrap().contains("Secure"), secure);
        }
        assert!(end(true).to_str().unwrap().contains("Max-Age=0"));
    }
}
