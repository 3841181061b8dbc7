//! The OpenAPI document as the contract: what each operation takes and who may call it, read from the document and
//! held against every request before a handler sees it.

use std::collections::HashMap;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::App;
use super::auth::Role;
use super::problem::{Code, FieldFault, Problem};
use super::schema::{Schemas, kinds};

/// One method of one path.
#[derive(Debug)]
pub struct Operation {
    /// The least role that may call it; `None` = anybody.
    pub role: Option<Role>,
    /// Answers with a stream that may stay open.
    pub streams: bool,
    path: Vec<Parameter>,
    query: Vec<Parameter>,
    header: Vec<Parameter>,
    body: Option<BodySpec>,
}

#[derive(Debug)]
struct Parameter {
    name: String,
    required: bool,
    schema: Value,
}

#[derive(Debug)]
struct BodySpec {
    required: bool,
    schema: Value,
}

/// See the module.
#[derive(Debug)]
pub struct Contract {
    operations: HashMap<(Method, String), Operation>,
    schemas: Schemas,
}

impl Contract {
    pub fn new(document: &Value) -> Self {
        let mut operations = HashMap::new();
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                if let Ok(method) = Method::from_bytes(method.to_uppercase().as_bytes()) {
                    operations.insert((method, path.clone()), Operation::read(operation));
                }
            }
        }
        Self { operations, schemas: Schemas::new(document) }
    }

    /// What is asked for; a HEAD is a GET without the answer's body.
    pub fn operation(&self, method: &Method, path: Option<&MatchedPath>) -> Option<&Operation> {
        let method = if method == Method::HEAD { Method::GET } else { method.clone() };
        self.operations.get(&(method, path?.as_str().to_owned()))
    }

    fn parameter_faults(&self, operation: &Operation, path: &RawPathParams, parts: &Parts) -> Result<Checked, Problem> {
        for parameter in &operation.path {
            let given = path.iter().find(|(name, _)| *name == parameter.name).map_or("", |(_, value)| value);
            if !self.schemas.faults(&parameter.schema, &Value::from(given)).is_empty() {
                return Err(Problem::new(Code::NotFound).detail("nothing has a name of this form"));
            }
        }
        let mut faults = Vec::new();
        let query = self.query(operation, parts.uri.query().unwrap_or_default(), &mut faults);
        for parameter in &operation.header {
            let fault = match parts.headers.get(parameter.name.as_str()).map(|value| value.to_str()) {
                None if parameter.required => Some("is missing".to_owned()),
                None => None,
                Some(Err(_)) => Some("is not plain ASCII".to_owned()),
                Some(Ok(text)) => {
                    self.schemas.faults(&parameter.schema, &Value::from(text)).into_iter().next().map(|(_, told)| told)
                }
            };
            faults.extend(fault.map(|message| fault_of("header", &parameter.name, message)));
        }
        if faults.is_empty() { Ok(Checked { query, body: Value::Null }) } else { Err(Problem::invalid(faults)) }
    }

    fn query(&self, operation: &Operation, text: &str, faults: &mut Vec<FieldFault>) -> Map<String, Value> {
        let mut query = Map::new();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            let Some(parameter) = operation.query.iter().find(|parameter| parameter.name == name) else {
                let known: Vec<&str> = operation.query.iter().map(|parameter| parameter.name.as_str()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                faults.push(fault_of("query", &name, format!("is not a parameter of this request; it takes {known}")));
                continue;
            };
            let schema = self.schemas.resolve(&parameter.schema);
            if kinds(schema).contains(&"array") {
                let item = typed(self.schemas.resolve(&schema["items"]), &value);
                match query.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
                    Value::Array(items) => items.push(item),
                    _ => unreachable!("a list was put there"),
                }
            } else if query.insert(name.to_string(), typed(schema, &value)).is_some() {
                faults.push(fault_of("query", &name, "is given twice".to_owned()));
            }
        }
        for parameter in &operation.query {
            match query.get(&parameter.name) {
                Some(value) => faults.extend(
                    self.schemas
                        .faults(&parameter.schema, value)
                        .into_iter()
                        .map(|(at, message)| fault_of("query", &format!("{}{at}", parameter.name), message)),
                ),
                None if parameter.required => faults.push(fault_of("query", &parameter.name, "is missing".to_owned())),
                None => {}
            }
        }
        query
    }

    fn body(&self, spec: &BodySpec, parts: &Parts, bytes: &Bytes) -> Result<Value, Problem> {
        if bytes.is_empty() && !spec.required {
            return Ok(Value::Object(Map::new()));
        }
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let got = if essence.is_empty() { "no Content-Type".to_owned() } else { format!("`{essence}`") };
            return Err(Problem::new(Code::UnsupportedMediaType).detail(format!("the body came with {got}")));
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|error| {
            let what = if error.is_eof() { "the JSON ends too early" } else { "the body is not JSON" };
            Problem::new(Code::MalformedRequest).detail(format!(
                "{what}: line {}, column {}",
                error.line(),
                error.column()
            ))
        })?;
        let faults = self.schemas.faults(&spec.schema, &value);
        if faults.is_empty() {
            return Ok(value);
        }
        Err(Problem::invalid(faults.into_iter().map(|(at, message)| fault_of("body", &at, message)).collect()))
    }
}

fn fault_of(location: &'static str, field: &str, message: String) -> FieldFault {
    FieldFault::new(location, field, message)
}

/// A parameter's text as the type its schema names; what cannot be read stays text and fails the check.
fn typed(schema: &Value, text: &str) -> Value {
    for kind in kinds(schema) {
        let read = match kind {
            "integer" => text.parse::<i64>().ok().map(Value::from),
            "number" => text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from),
            "boolean" => text.parse::<bool>().ok().map(Value::from),
            _ => None,
        };
        if let Some(value) = read {
            return value;
        }
    }
    Value::from(text)
}

impl Operation {
    fn read(operation: &Value) -> Self {
        let of = |place: &str| {
            let all = operation["parameters"].as_array().into_iter().flatten();
            all.filter(|parameter| parameter["in"] == place)
                .map(|parameter| Parameter {
                    name: parameter["name"].as_str().unwrap_or_default().to_owned(),
                    required: parameter["required"] == true,
                    schema: parameter["schema"].clone(),
                })
                .collect()
        };
        let body = operation.get("requestBody").map(|body| BodySpec {
            required: body["required"] == true,
            schema: body["content"]["application/json"]["schema"].clone(),
        });
        Self {
            role: operation["security"][0]["token"][0].as_str().and_then(Role::from_name),
            streams: !operation["responses"]["200"]["content"]["text/event-stream"].is_null(),
            path: of("path"),
            query: of("query"),
            header: of("header"),
            body,
        }
    }
}

/// What came through the check: typed parameters and the body.
#[derive(Debug, Clone)]
struct Checked {
    query: Map<String, Value>,
    body: Value,
}

/// The layer. Reads the body whole, within the limits.
pub async fn enforce(
    State(app): State<App>,
    path: RawPathParams,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let Some(operation) = app.contract.operation(&parts.method, parts.extensions.get::<MatchedPath>()) else {
        return Ok(next.run(Request::from_parts(parts, body)).await);
    };
    let mut checked = app.contract.parameter_faults(operation, &path, &parts)?;
    if let Some(spec) = &operation.body {
        let server = app.server();
        let bytes = read_body(body, server.body_limit_bytes, server.body_timeout_secs).await?;
        checked.body = app.contract.body(spec, &parts, &bytes)?;
    }
    parts.extensions.insert(checked);
    Ok(next.run(Request::from_parts(parts, Body::empty())).await)
}

/// The whole body, when it is small and quick enough.
///
/// # Errors
/// `payload_too_large`, `request_timeout`, `malformed_request`.
pub async fn read_body(body: Body, limit: usize, within_secs: u64) -> Result<Bytes, Problem> {
    let read = axum::body::to_bytes(body, limit);
    match tokio::time::timeout(Duration::from_secs(within_secs), read).await {
        Err(_) => Err(Problem::new(Code::RequestTimeout)
            .detail(format!("the body was not there within {within_secs} s"))
            .header(header::CONNECTION, header::HeaderValue::from_static("close"))),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let too_large = std::iter::successors(Some(&error as &dyn std::error::Error), |cause| cause.source())
                .any(|cause| cause.to_string().contains("length limit"));
            Err(if too_large {
                Problem::new(Code::PayloadTooLarge)
                    .detail(format!("the body has more than {limit} bytes"))
                    .header(header::CONNECTION, header::HeaderValue::from_static("close"))
            } else {
                Problem::new(Code::MalformedRequest).detail("the body ended before its length")
            })
        }
    }
}

/// The checked query parameters.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Problem> {
        let checked = checked(parts)?;
        read("query", Value::Object(checked.query.clone())).map(Self)
    }
}

/// The checked body.
#[derive(Debug)]
pub struct Input<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for Input<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Problem> {
        let checked = checked(parts)?;
        read("body", checked.body.clone()).map(Self)
    }
}

/// The body's text in one canonical form, for telling whether two requests are the same.
#[derive(Debug)]
pub struct Same(pub String);

impl FromRequestParts<App> for Same {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Problem> {
        checked(parts).map(|checked| Self(checked.body.to_string()))
    }
}

fn checked(parts: &Parts) -> Result<&Checked, Problem> {
    parts.extensions.get::<Checked>().ok_or_else(|| Problem::new(Code::Internal))
}

/// What the schema cannot say, the type does.
fn read<T: DeserializeOwned>(location: &'static str, value: Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { String::new() } else { format!("/{}", path.replace('.', "/")) };
        Problem::unprocessable(vec![fault_of(location, &field, error.inner().to_string())])
    })
}
