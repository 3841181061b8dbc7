//! Parameters of a Graph call, wherever they came: query, form (values JSON-encoded) or JSON body.

use super::error::MetaError;
use crate::core::http::Call;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Accepted on every call.
const COMMON: [&str; 12] = [
    "access_token",
    "appsecret_proof",
    "appsecret_time",
    "method",
    "fields",
    "locale",
    "format",
    "pretty",
    "debug",
    "summary",
    "suppress_http_code",
    "__cppo",
];

#[derive(Debug)]
enum Param<'a> {
    Text(Cow<'a, str>),
    Json(&'a RawValue),
}

#[derive(Debug, Default)]
pub(crate) struct Params<'a>(BTreeMap<Cow<'a, str>, Param<'a>>);

impl<'a> Params<'a> {
    /// Reads every parameter of a call; the body wins over the query.
    pub(crate) fn read(call: &'a Call) -> Result<Self, MetaError> {
        let mut all = BTreeMap::new();
        for (name, value) in call.query_pairs() {
            all.insert(name, Param::Text(value));
        }
        if call.body.is_empty() {
            return Ok(Self(all));
        }
        if call.is("application/json") {
            let fields: BTreeMap<Cow<'a, str>, &'a RawValue> =
                serde_json::from_slice(&call.body).map_err(|_| MetaError::invalid("The body is not a JSON object"))?;
            all.extend(fields.into_iter().map(|(name, value)| (name, Param::Json(value))));
        } else if call.is("application/x-www-form-urlencoded") {
            for (name, value) in url::form_urlencoded::parse(&call.body) {
                all.insert(name, Param::Text(value));
            }
        } else {
            return Err(MetaError::invalid("Unsupported content type: send JSON or a URL-encoded form"));
        }
        Ok(Self(all))
    }

    /// A parameter as text: a JSON string unquoted, any other JSON as written.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.0.get(name)? {
            Param::Text(text) => Some(Cow::Borrowed(text.as_ref())),
            Param::Json(raw) if raw.get() == "null" => None,
            Param::Json(raw) => match serde_json::from_str::<String>(raw.get()) {
                Ok(text) => Some(Cow::Owned(text)),
                Err(_) => Some(Cow::Borrowed(raw.get())),
            },
        }
    }

    /// A parameter that holds JSON, given as JSON or as its text.
    pub(crate) fn json<'s, T: Deserialize<'s>>(&'s self, name: &'static str) -> Result<Option<T>, MetaError> {
        let Some(param) = self.0.get(name) else { return Ok(None) };
        let text = match param {
            Param::Text(text) => text.as_ref(),
            Param::Json(raw) => raw.get(),
        };
        serde_json::from_str(text).map(Some).map_err(|e| json_fault(name, &e))
    }

    pub(crate) fn required(&self, name: &'static str) -> Result<Cow<'_, str>, MetaError> {
        self.text(name)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| MetaError::invalid(format!("The parameter {name} is required")).blame(name))
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|t| t == "true" || t == "1")
    }

    /// Refuses parameters the endpoint does not have.
    pub(crate) fn only(&self, own: &[&str]) -> Result<(), MetaError> {
        if self.0.contains_key("date_format") {
            return Err(MetaError::invalid("date_format is no longer supported"));
        }
        match self.0.keys().find(|name| !own.contains(&name.as_ref()) && !COMMON.contains(&name.as_ref())) {
            Some(name) => Err(MetaError::invalid(format!("Unexpected parameter: {}", clipped(name)))),
            None => Ok(()),
        }
    }
}

/// Enough of a name to recognise it, never a whole payload put into the wrong place.
fn clipped(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_graphic()).take(40).collect()
}

/// serde's message where it names a field; where it would quote a value only the place.
fn json_fault(name: &'static str, error: &serde_json::Error) -> MetaError {
    let text = error.to_string();
    let what = match text.split(" at line").next() {
        Some(said) if ["unknown field", "missing field", "duplicate field"].iter().any(|w| said.starts_with(w)) => {
            said.to_owned()
        }
        _ => format!("malformed at character {}", error.column()),
    };
    MetaError::invalid(format!("Invalid parameter {name}: {what}")).blame(name)
}
