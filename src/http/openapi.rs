//! The OpenAPI 3.1 document, made from the handlers. What every operation has in common is put in here, once.

use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};

use super::api;
use super::auth::is_probe;
use super::problem::{Code, FieldFault, ProblemDocument};

#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Réveil",
        description = "Keeps ad audiences equal to a warehouse's inactive segment, and says what it was worth.\n\n\
            Send a token as `Authorization: Bearer rvl_…`; `reveil token create` makes one. Errors are RFC 9457 \
            problem documents with a stable `code`, a `hint` and the `request_id` that the log has too. Lists come in \
            pages: ask again with `cursor` set to the page's `next_cursor`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(ProblemDocument, Code, FieldFault)),
    tags(
        (name = "audiences", description = "What is kept equal to the segment"),
        (name = "runs", description = "Syncs, queued, running and ended"),
        (name = "destinations", description = "Accounts on platforms, and the connectors that reach them"),
        (name = "results", description = "Match readings, delivery figures, projections, lift"),
        (name = "privacy", description = "Erasure and the audit log"),
        (name = "service", description = "The daemon itself")
    )
)]
struct Frame;

/// The document.
pub fn document() -> Value {
    let mut frame = Frame::openapi();
    let components = frame.components.get_or_insert_default();
    components.add_security_scheme(
        "token",
        SecurityScheme::Http(
            Http::builder()
                .scheme(HttpAuthScheme::Bearer)
                .bearer_format("rvl_<id>_<secret>")
                .description(Some("The role needed stands beside it: viewer, operator or admin"))
                .build(),
        ),
    );
    let cookie = ApiKeyValue::with_description("reveil_session", "Set by /login, for the pages and their live events");
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    frame.merge(api::routes().into_openapi());
    let mut document = serde_json::to_value(&frame).expect("the document is plain data");
    complete(&mut document);
    document
}

/// As text for people and files.
pub fn pretty() -> String {
    format!("{:#}\n", document())
}

/// Adds to each operation what the layers around it do.
fn complete(document: &mut Value) {
    document["components"]["responses"] = json!({ "Problem": {
        "description": "What went wrong and what to do",
        "headers": common_headers(),
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/ProblemDocument" } } },
    } });
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    let operations = paths.flat_map(|(path, item)| {
        item.as_object_mut().into_iter().flat_map(Map::values_mut).map(move |one| (path, one))
    });
    for (path, operation) in operations {
        plain_parameters(operation);
        roles(operation);
        responses(operation, !is_probe(path));
    }
}

/// A parameter that is left out is not null.
fn plain_parameters(operation: &mut Value) {
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let Some(schema) = parameter.get_mut("schema") else { continue };
        let kind = schema.get_mut("type").and_then(Value::as_array_mut).and_then(|kinds| {
            kinds.retain(|kind| kind != "null");
            kinds.pop()
        });
        if let Some(kind) = kind {
            schema["type"] = kind;
        }
        let form = schema.get_mut("oneOf").and_then(Value::as_array_mut).and_then(|forms| {
            forms.retain(|form| form["type"] != "null");
            forms.pop()
        });
        if let Some(form) = form {
            *schema = form;
        }
    }
}

/// Whatever takes a token takes a session too.
fn roles(operation: &mut Value) {
    let role = operation["security"][0]["token"].clone();
    if role.is_array() {
        operation["security"] = json!([{ "token": role }, { "session": role }]);
    }
}

fn responses(operation: &mut Value, limited: bool) {
    let secured = operation["security"][0]["token"].is_array();
    let is_in =
        |place: &str| operation["parameters"].as_array().is_some_and(|all| all.iter().any(|one| one["in"] == place));
    let in_path = is_in("path");
    let in_query = is_in("query");
    let has_body = operation.get("requestBody").is_some();
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    for (status, response) in responses.iter_mut() {
        if status.starts_with('2') && response.get("$ref").is_none() {
            let mut headers = common_headers();
            if !limited {
                headers.as_object_mut().expect("just made").retain(|name, _| !name.starts_with("RateLimit-"));
            }
            let known = response["headers"].as_object().cloned().unwrap_or_default();
            let mut all = headers.as_object().cloned().unwrap_or_default();
            all.extend(known);
            response["headers"] = Value::Object(all);
        }
    }
    let mut statuses = vec!["400", "421", "500", "503"];
    if limited {
        statuses.push("429");
    }
    if secured {
        statuses.extend(["401", "403"]);
    }
    if in_query {
        statuses.push("422");
    }
    if in_path {
        statuses.push("404");
    }
    if has_body {
        statuses.extend(["408", "413", "415", "422"]);
    }
    for status in statuses {
        responses.entry(status).or_insert_with(|| json!({ "$ref": "#/components/responses/Problem" }));
    }
    responses.sort_keys();
}

fn common_headers() -> Value {
    let number = |what: &str| json!({ "description": what, "schema": { "type": "integer", "minimum": 0 } });
    json!({
        "X-Request-Id": { "description": "Of this request; yours, when you sent one of 8 to 64 harmless characters",
            "schema": { "type": "string" } },
        "RateLimit-Limit": number("Calls that may be made at once"),
        "RateLimit-Remaining": number("Calls left of them"),
        "RateLimit-Reset": number("Seconds until all of them are there again"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::schema::Schemas;
    use super::*;

    fn operations(document: &Value) -> Vec<(String, &Value)> {
        let paths = document["paths"].as_object().unwrap().iter();
        paths
            .flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |(m, op)| (format!("{m} {path}"), op)))
            .collect()
    }

    #[test]
    fn every_operation_says_who_may_call_it_and_what_it_is() {
        let document = document();
        assert_eq!(document["openapi"], "3.1.0");
        let open = ["get /healthz", "get /readyz", "get /v1/openapi.json", "get /v1/version"];
        for (name, operation) in operations(&document) {
            let secured = operation["security"][0]["token"][0].is_string();
            assert_eq!(!secured, open.contains(&name.as_str()), "{name}: security");
            for key in ["operationId", "summary"] {
                assert!(operation[key].is_string(), "{name} has no {key}");
            }
            assert!(operation["tags"][0].is_string(), "{name} has no tag");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(parameter["description"].is_string(), "{name}: {} has no description", parameter["name"]);
            }
        }
    }

    #[test]
    fn only_what_has_a_limit_speaks_of_one() {
        for (name, operation) in operations(&document()) {
            let probe = ["get /healthz", "get /readyz"].contains(&name.as_str());
            let success =
                operation["responses"].as_object().unwrap().iter().find(|(status, _)| status.starts_with('2'));
            let headers = success.map(|(_, response)| response["headers"]["RateLimit-Limit"].is_object());
            assert_eq!(operation["responses"]["429"].is_null(), probe, "{name}: 429");
            assert_eq!(headers.unwrap_or(!probe), !probe, "{name}: headers");
        }
    }

    /// Of two types of one name the document would show one, and answers of the other would not fit it.
    #[test]
    fn no_two_types_share_a_name() {
        let derived = regex_lite::Regex::new(
            r"derive\([^)]*ToSchema[^)]*\)\](?:\s*#\[[^\n]*|\s*///[^\n]*)*\s*pub (?:struct|enum) (\w+)",
        );
        let (derived, mut seen) = (derived.unwrap(), std::collections::BTreeMap::new());
        let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() {
                    folders.push(entry);
                } else if entry.extension().is_some_and(|extension| extension == "rs") {
                    let text = std::fs::read_to_string(&entry).unwrap();
                    for found in derived.captures_iter(&text) {
                        let other = seen.insert(found[1].to_owned(), entry.clone());
                        assert_eq!(other, None, "{} is in {} too", &found[1], entry.display());
                    }
                }
            }
        }
        assert!(seen.len() > 50, "{seen:?}");
    }

    /// A keyword that nothing checks would be a promise not kept.
    #[test]
    fn every_keyword_of_a_request_is_checked() {
        let document = document();
        let schemas = Schemas::new(&document);
        for (name, operation) in operations(&document) {
            let parameters = operation["parameters"].as_array().into_iter().flatten().map(|one| &one["schema"]);
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            for schema in parameters.chain([body]) {
                assert_eq!(schemas.unknown_keywords(schema), Vec::<String>::new(), "{name}");
            }
        }
    }

    #[test]
    fn bodies_refuse_what_they_do_not_know() {
        let document = document();
        let schemas = Schemas::new(&document);
        for (name, operation) in operations(&document) {
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            if body.is_null() {
                continue;
            }
            let faults = schemas.faults(body, &json!({ "no such field": 1 }));
            assert!(faults.iter().any(|(at, _)| at == "/no such field"), "{name}: {faults:?}");
        }
    }
}
