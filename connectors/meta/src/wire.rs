//! Shapes of requests and replies, in Meta's words. Numbers come as numbers, as numeric strings or as null, depending
//! on the endpoint, so every one of them is read leniently.

use serde::de::{Deserializer, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Reply to a creation.
#[derive(Debug, Deserialize)]
pub(crate) struct Created {
    pub id: String,
}

/// `POST act_<id>/customaudiences`.
#[derive(Debug, Serialize)]
pub(crate) struct CreateAudienceRequest<'a> {
    pub name: &'a str,
    pub subtype: &'static str,
    pub customer_file_source: &'a str,
    pub description: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub audience_labels: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
}

/// A page of an edge.
#[derive(Debug, Deserialize)]
pub(crate) struct Page<T> {
    pub data: Vec<T>,
    #[serde(default)]
    pub paging: Paging,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Paging {
    #[serde(default)]
    pub cursors: Cursors,
    /// Holds the access token, so only its presence is kept.
    pub next: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Cursors {
    pub after: Option<String>,
}

/// The fields of an audience this crate asks for; only `id` is sure to come.
#[derive(Debug, Deserialize)]
pub(crate) struct Audience {
    pub id: String,
    pub subtype: Option<String>,
    pub description: Option<String>,
    pub operation_status: Option<StatusField>,
    pub delivery_status: Option<StatusField>,
    #[serde(default, deserialize_with = "integer")]
    pub approximate_count_lower_bound: Option<i64>,
    #[serde(default, deserialize_with = "integer")]
    pub approximate_count_upper_bound: Option<i64>,
    #[serde(default, deserialize_with = "integer")]
    pub time_created: Option<i64>,
    #[serde(default, deserialize_with = "integer")]
    pub delete_time: Option<i64>,
    #[serde(default)]
    pub fields_violating_integrity_policy: Value,
}

/// `operation_status` and `delivery_status`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct StatusField {
    #[serde(default, deserialize_with = "integer")]
    code: Option<i64>,
    /// One documented sample spells `code` so.
    #[serde(default, deserialize_with = "integer")]
    status: Option<i64>,
    pub description: Option<String>,
}

impl StatusField {
    pub fn code(&self) -> Option<i64> {
        self.code.or(self.status)
    }
}

/// Reply to a member write. All fields optional: the reply of `usersofanyaudience` is not documented in full.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct UsersReply {
    #[serde(default, deserialize_with = "integer")]
    pub num_invalid_entries: Option<i64>,
    /// A map in the reference, an array in the guide; at most 100. Counted and dropped at once: they are digests.
    #[serde(default, deserialize_with = "count")]
    pub invalid_entry_samples: u64,
}

/// One row of `GET <audience>/sessions`.
#[derive(Debug, Deserialize)]
pub(crate) struct Session {
    #[serde(default, deserialize_with = "integer")]
    pub session_id: Option<i64>,
    #[serde(default, deserialize_with = "integer")]
    pub num_matched: Option<i64>,
    #[serde(default, deserialize_with = "integer")]
    pub start_time: Option<i64>,
    #[serde(default, deserialize_with = "integer")]
    pub end_time: Option<i64>,
    #[serde(default, deserialize_with = "decimal")]
    pub progress: Option<f64>,
    pub stage: Option<String>,
}

/// `GET act_<id>?fields=tos_accepted,user_tos_accepted`.
#[derive(Debug, Deserialize)]
pub(crate) struct Account {
    #[serde(default)]
    pub tos_accepted: Value,
    #[serde(default)]
    pub user_tos_accepted: Value,
}

/// What every reply is looked at for before anything else.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Envelope {
    pub success: Option<bool>,
    pub error: Option<GraphError>,
}

/// The documented error object. `message` is for developers and may repeat input: it is not read at all.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct GraphError {
    #[serde(default, deserialize_with = "integer")]
    pub code: Option<i64>,
    #[serde(default, deserialize_with = "integer")]
    pub error_subcode: Option<i64>,
    #[serde(default)]
    pub is_transient: Option<bool>,
    pub error_user_title: Option<String>,
    pub error_user_msg: Option<String>,
    #[serde(default)]
    pub error_data: Value,
    pub fbtrace_id: Option<String>,
}

impl GraphError {
    /// True when `blame_field_specs` (an array of paths) names the member payload. `error_data` is an object or a
    /// string that holds one.
    pub fn blames_payload(&self) -> bool {
        let parsed;
        let blame = match &self.error_data {
            Value::String(text) => {
                parsed = serde_json::from_str::<Value>(text).unwrap_or_default();
                &parsed
            }
            object => object,
        };
        let paths = blame["blame_field_specs"].as_array().into_iter().flatten();
        paths.filter_map(|path| path.get(0)).any(|first| first == "payload")
    }
}

fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    })
}

fn decimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().trim_end_matches('%').parse().ok(),
        _ => None,
    })
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Array(samples) => samples.len() as u64,
        Value::Object(samples) => samples.len() as u64,
        _ => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_counted_in_both_documented_forms() {
        for (body, count) in [
            (r#"{"invalid_entry_samples":{"a":"x","b":"y"}}"#, 2),
            (r#"{"invalid_entry_samples":["a","b","c"]}"#, 3),
            (r#"{"invalid_entry_samples":null}"#, 0),
            ("{}", 0),
        ] {
            let reply: UsersReply = serde_json::from_str(body).unwrap();
            assert_eq!(reply.invalid_entry_samples, count, "{body}");
        }
    }

    #[test]
    fn numbers_are_read_as_numbers_strings_and_nulls() {
        let session: Session = serde_json::from_str(
            r#"{"session_id":"9778993","num_matched":null,"progress":"100","end_time":1757326241}"#,
        )
        .unwrap();
        assert_eq!(
            (session.session_id, session.num_matched, session.progress, session.end_time),
            (Some(9_778_993), None, Some(100.0), Some(1_757_326_241))
        );
    }

    #[test]
    fn blame_is_read_from_an_object_and_from_a_string() {
        for (data, blames) in [
            (r#"{"blame_field_specs":[["payload","data"]]}"#, true),
            (r#""{\"blame_field_specs\":[[\"payload\"]]}""#, true),
            (r#"{"blame_field_specs":[["session","batch_seq"]]}"#, false),
            (r#""no json""#, false),
            ("null", false),
        ] {
            let error: GraphError = serde_json::from_str(&format!(r#"{{"error_data":{data}}}"#)).unwrap();
            assert_eq!(error.blames_payload(), blames, "{data}");
        }
    }
}
