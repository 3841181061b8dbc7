//! Checks a JSON value against a schema of the OpenAPI document and names every fault.
//!
//! It knows the keywords that the document uses, which a test makes sure of; so what the document promises is what is
//! checked, and nothing has to be said twice.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate};
use regex_lite::Regex;
use serde_json::{Map, Value};

/// Where a fault is, as a JSON pointer, and what it is.
pub type Fault = (String, String);

/// The document's named schemas and compiled patterns.
#[derive(Debug)]
pub struct Schemas {
    named: Map<String, Value>,
    patterns: HashMap<String, Regex>,
}

/// Keywords that say what is allowed.
#[cfg(test)]
const CHECKED: [&str; 19] = [
    "$ref",
    "type",
    "enum",
    "const",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "oneOf",
    "anyOf",
];
/// Keywords that only describe.
#[cfg(test)]
const DESCRIBING: [&str; 7] = ["title", "description", "example", "examples", "default", "deprecated", "writeOnly"];

impl Schemas {
    /// # Panics
    /// When a pattern is no regular expression: a mistake in the code that the first test shows.
    pub fn new(document: &Value) -> Self {
        let named = document.pointer("/components/schemas").and_then(Value::as_object).cloned().unwrap_or_default();
        let mut patterns = HashMap::new();
        collect_patterns(document, &mut patterns);
        Self { named, patterns }
    }

    /// Every fault of `value`.
    pub fn faults(&self, schema: &Value, value: &Value) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.check(schema, value, "", &mut faults);
        faults
    }

    /// Keywords below `schema` that nothing checks.
    #[cfg(test)]
    pub fn unknown_keywords(&self, schema: &Value) -> Vec<String> {
        let mut unknown = Vec::new();
        let Value::Object(fields) = schema else { return unknown };
        for (key, inner) in fields {
            match key.as_str() {
                "$ref" => unknown.extend(self.unknown_keywords(self.resolve(schema))),
                "properties" => {
                    let properties = inner.as_object().into_iter().flat_map(Map::values);
                    unknown.extend(properties.flat_map(|property| self.unknown_keywords(property)));
                }
                "oneOf" | "anyOf" => {
                    let forms = inner.as_array().into_iter().flatten();
                    unknown.extend(forms.flat_map(|form| self.unknown_keywords(form)));
                }
                "items" | "additionalProperties" => unknown.extend(self.unknown_keywords(inner)),
                key if CHECKED.contains(&key) || DESCRIBING.contains(&key) => {}
                key => unknown.push(key.to_owned()),
            }
        }
        unknown
    }

    /// The schema itself, or the one it refers to.
    pub fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { return schema };
        let name = reference.rsplit('/').next().unwrap_or_default();
        self.named.get(name).map_or(schema, |named| self.resolve(named))
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, faults: &mut Vec<Fault>) {
        let schema = self.resolve(schema);
        for keyword in ["oneOf", "anyOf"] {
            if let Some(Value::Array(forms)) = schema.get(keyword) {
                return self.check_forms(forms, value, at, faults);
            }
        }
        let kinds = kinds(schema);
        if !kinds.is_empty() && !kinds.iter().any(|kind| is_kind(value, kind)) {
            let wanted = kinds.iter().map(|kind| article(kind)).collect::<Vec<_>>().join(" or ");
            return faults.push((at.to_owned(), format!("is {}, not {wanted}", article(kind_of(value)))));
        }
        if let Some(Value::Array(allowed)) = schema.get("enum")
            && !allowed.contains(value)
        {
            let allowed = allowed.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
            return faults.push((at.to_owned(), format!("must be one of {allowed}")));
        }
        if schema.get("const").is_some_and(|wanted| wanted != value) {
            faults.push((at.to_owned(), format!("must be {}", schema["const"])));
        }
        match value {
            Value::Object(fields) => self.check_fields(schema, fields, at, faults),
            Value::Array(items) => self.check_items(schema, items, at, faults),
            Value::String(text) => {
                let found = self.text_fault(schema, text);
                faults.extend(found.map(|message| (at.to_owned(), message)));
            }
            Value::Number(number) => {
                faults.extend(number_fault(schema, number).map(|message| (at.to_owned(), message)));
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn check_fields(&self, schema: &Value, fields: &Map<String, Value>, at: &str, faults: &mut Vec<Fault>) {
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, value) in fields {
            let inside = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
            if let Some(property) = properties.and_then(|properties| properties.get(name)) {
                self.check(property, value, &inside, faults);
                continue;
            }
            match schema.get("additionalProperties") {
                Some(Value::Bool(false)) => {
                    let known: Vec<&str> = properties.into_iter().flat_map(Map::keys).map(String::as_str).collect();
                    faults.push((inside, format!("is not a field of this request; it takes {}", known.join(", "))));
                }
                Some(other @ Value::Object(_)) => self.check(other, value, &inside, faults),
                _ => {}
            }
        }
        for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            if let Some(name) = required.as_str().filter(|name| !fields.contains_key(*name)) {
                faults.push((format!("{at}/{name}"), "is missing".to_owned()));
            }
        }
    }

    fn check_items(&self, schema: &Value, items: &[Value], at: &str, faults: &mut Vec<Fault>) {
        let bound = |key: &str| schema.get(key).and_then(Value::as_u64);
        if let Some(least) = bound("minItems").filter(|least| (items.len() as u64) < *least) {
            faults.push((at.to_owned(), format!("has {} entries; at least {least}", items.len())));
        }
        if let Some(most) = bound("maxItems").filter(|most| items.len() as u64 > *most) {
            return faults.push((at.to_owned(), format!("has {} entries; at most {most}", items.len())));
        }
        if let Some(each) = schema.get("items") {
            for (index, item) in items.iter().enumerate() {
                self.check(each, item, &format!("{at}/{index}"), faults);
            }
        }
    }

    /// One of several forms has to fit. When none does, the faults of the form that comes nearest are told.
    fn check_forms(&self, forms: &[Value], value: &Value, at: &str, faults: &mut Vec<Fault>) {
        let mut nearest: Option<Vec<Fault>> = None;
        for form in forms {
            let mut found = Vec::new();
            self.check(form, value, at, &mut found);
            if found.is_empty() {
                return;
            }
            let same_kind = self.all_kinds(form).iter().any(|kind| is_kind(value, kind));
            if same_kind && nearest.as_ref().is_none_or(|best| found.len() < best.len()) {
                nearest = Some(found);
            }
        }
        let forms = forms.iter().flat_map(|form| self.all_kinds(form)).map(article).collect::<Vec<_>>();
        faults.extend(nearest.unwrap_or_else(|| {
            vec![(at.to_owned(), format!("is {}, not {}", article(kind_of(value)), forms.join(" or ")))]
        }));
    }

    /// The types a schema or any of its forms names.
    fn all_kinds<'a>(&'a self, schema: &'a Value) -> Vec<&'a str> {
        let schema = self.resolve(schema);
        let forms = ["oneOf", "anyOf"].into_iter().filter_map(|keyword| schema.get(keyword)?.as_array()).flatten();
        kinds(schema).into_iter().chain(forms.flat_map(|form| self.all_kinds(form))).collect()
    }

    fn text_fault(&self, schema: &Value, text: &str) -> Option<String> {
        let length = text.chars().count() as u64;
        if let Some(least) = schema.get("minLength").and_then(Value::as_u64).filter(|least| length < *least) {
            return Some(if least == 1 { "is empty".into() } else { format!("is shorter than {least} characters") });
        }
        if let Some(most) = schema.get("maxLength").and_then(Value::as_u64).filter(|most| length > *most) {
            return Some(format!("is longer than {most} characters"));
        }
        let odd = match schema.get("format").and_then(Value::as_str) {
            Some("date-time") if DateTime::parse_from_rfc3339(text).is_err() => {
                Some("is not an instant; write 2026-01-01T12:00:00Z".to_owned())
            }
            Some("date") if text.len() != 10 || text.parse::<NaiveDate>().is_err() => {
                Some("is not a date; write 2026-01-01".to_owned())
            }
            _ => None,
        };
        if odd.is_some() {
            return odd;
        }
        if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
            && self.patterns.get(pattern).is_some_and(|regex| !regex.is_match(text))
        {
            return Some(format!("does not fit {pattern}"));
        }
        None
    }
}

fn collect_patterns(value: &Value, patterns: &mut HashMap<String, Regex>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(pattern)) = fields.get("pattern") {
                let regex = Regex::new(pattern).unwrap_or_else(|error| panic!("pattern {pattern}: {error}"));
                patterns.insert(pattern.clone(), regex);
            }
            fields.values().for_each(|inner| collect_patterns(inner, patterns));
        }
        Value::Array(items) => items.iter().for_each(|inner| collect_patterns(inner, patterns)),
        _ => {}
    }
}

/// The types a schema names.
pub fn kinds(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(kind)) => vec![kind.as_str()],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is_kind(value: &Value, kind: &str) -> bool {
    match (kind, value) {
        ("integer", Value::Number(number)) => {
            number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        ("number", Value::Number(_)) => true,
        _ => kind_of(value) == kind,
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn article(kind: &str) -> &'static str {
    match kind {
        "null" => "null",
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "a text",
        "array" => "a list",
        _ => "an object",
    }
}

fn number_fault(schema: &Value, number: &serde_json::Number) -> Option<String> {
    let value = number.as_f64()?;
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    if let Some(least) = bound("minimum").filter(|least| value < *least) {
        return Some(format!("is below {least}"));
    }
    if let Some(least) = bound("exclusiveMinimum").filter(|least| value <= *least) {
        return Some(format!("is not above {least}"));
    }
    if let Some(most) = bound("maximum").filter(|most| value > *most) {
        return Some(format!("is above {most}"));
    }
    let (low, high) = match schema.get("format").and_then(Value::as_str) {
        Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
        Some("int64") => (i64::MIN, i64::MAX),
        _ => return None,
    };
    // A fraction is told of as the wrong kind; here it is a whole number, which a float holds too when it is small.
    let whole = number.as_i64().or_else(|| (value.abs() < 9e15).then_some(value as i64));
    match whole {
        Some(whole) if whole < low => Some(format!("is below {low}")),
        Some(whole) if whole <= high => None,
        _ if value < 0.0 => Some(format!("is below {low}")),
        _ => Some(format!("is above {high}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(schema: &Value, value: &Value) -> Vec<String> {
        let document = json!({ "components": { "schemas": { "Key": {
            "type": "string", "pattern": "^[a-z]+$", "maxLength": 3 } } }, "here": schema });
        let faults = Schemas::new(&document).faults(schema, value);
        faults.into_iter().map(|(field, message)| format!("{field}: {message}")).collect()
    }

    #[test]
    fn names_every_fault() {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["key", "when"],
            "properties": {
                "key": { "$ref": "#/components/schemas/Key" },
                "when": { "anyOf": [{ "type": "string", "format": "date" }, { "type": "string", "format": "date-time" }] },
                "count": { "type": ["integer", "null"], "minimum": 1, "maximum": 5 },
                "list": { "type": "array", "maxItems": 2, "items": { "type": "boolean" } },
                "ratio": { "type": "number", "exclusiveMinimum": 0 },
                "maybe": { "oneOf": [{ "type": "null" }, { "$ref": "#/components/schemas/Key" }] },
            }
        });
        let right = json!({ "key": "ab", "when": "2026-01-01T00:00:00Z", "count": 5, "list": [true], "ratio": 1,
            "maybe": null });
        assert_eq!(told(&schema, &right), Vec::<String>::new());
        let wrong = json!({ "key": "AB", "count": 9, "list": [1, true], "ratio": 0, "maybe": "abcd", "a/b": 1 });
        assert_eq!(
            told(&schema, &wrong),
            [
                "/a~1b: is not a field of this request; it takes count, key, list, maybe, ratio, when",
                "/count: is above 5",
                "/key: does not fit ^[a-z]+$",
                "/list/0: is a number, not true or false",
                "/maybe: is longer than 3 characters",
                "/ratio: is not above 0",
                "/when: is missing",
            ]
        );
        let other = json!({ "key": 1, "when": "soon", "count": 1.5, "list": [true, true, true] });
        assert_eq!(
            told(&schema, &other),
            [
                "/count: is a number, not a whole number or null",
                "/key: is a number, not a text",
                "/list: has 3 entries; at most 2",
                "/when: is not a date; write 2026-01-01",
            ]
        );
    }

    #[test]
    fn a_choice_of_kinds_tells_what_would_do() {
        let schema = json!({ "oneOf": [{ "type": "number" }, { "type": "string", "minLength": 1 }] });
        assert_eq!(told(&schema, &json!([])), [": is a list, not a number or a text"]);
        assert_eq!(told(&schema, &json!("")), [": is empty"]);
        assert_eq!(told(&json!({ "enum": ["a", "b"] }), &json!("c")), [": must be one of \"a\", \"b\""]);
    }

    #[test]
    fn a_format_bounds_whole_numbers_to_the_last_digit() {
        let long = json!({ "type": "integer", "format": "int64" });
        assert_eq!(told(&long, &json!(i64::MAX)), Vec::<String>::new());
        assert_eq!(told(&long, &json!(i64::MIN)), Vec::<String>::new());
        assert_eq!(told(&long, &json!(5.0)), Vec::<String>::new());
        // As floats, this and the largest allowed are the same.
        assert_eq!(told(&long, &json!(1_u64 << 63)), [": is above 9223372036854775807"]);
        assert_eq!(told(&long, &json!(-1e19)), [": is below -9223372036854775808"]);
        let short = json!({ "type": "integer", "format": "int32" });
        assert_eq!(told(&short, &json!(i32::MAX)), Vec::<String>::new());
        assert_eq!(told(&short, &json!(1_i64 << 31)), [": is above 2147483647"]);
        assert_eq!(told(&short, &json!(-3e9)), [": is below -2147483648"]);
    }
}
