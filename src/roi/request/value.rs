//! Values as people write them: `10%`, `31240/52000`, `1.42,17.75`, `beta(18,2)`, `none`.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::openapi::{
    RefOr,
    schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type},
};

use crate::clock::instant;
use crate::roi::distribution::{Distribution, ParseError, parse_number};

/// A number; a text may end in `%`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
pub struct Number(pub f64);

/// So many of so many: `31240/52000`, or `[31240, 52000]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts(pub u64, pub u64);

/// Two numbers: `1.42,17.75`, or `[1.42, 17.75]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pair(pub f64, pub f64);

/// A value that may have no upper end: `none` or `inf` beside what [`Distribution`] reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit(pub Distribution);

impl FromStr for Number {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_number(text.trim()).map(Self).ok_or_else(|| format!("`{text}` is not a number; write 0.1 or 10%"))
    }
}

impl FromStr for Counts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not two counts; write 31240/52000");
        let (hits, of) = text.split_once('/').ok_or_else(bad)?;
        Ok(Self(hits.trim().parse().map_err(|_| bad())?, of.trim().parse().map_err(|_| bad())?))
    }
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (a, b) = text.split_once(',').ok_or_else(|| format!("`{text}` is not two numbers; write 1.42,17.75"))?;
        Ok(Self(a.parse::<Number>()?.0, b.parse::<Number>()?.0))
    }
}

impl FromStr for Limit {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "none" | "inf" => Ok(Self(Distribution::Point(f64::INFINITY))),
            _ => text.parse().map(Self),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.central().is_infinite() { f.write_str("none") } else { self.0.fmt(f) }
    }
}

/// Reads a number as it is and a text by its own rules.
fn number_or_text<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(
    deserializer: D,
    number: impl FnOnce(f64) -> T,
    expected: &'static str,
) -> Result<T, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(f64),
        Text(String),
    }
    match Written::deserialize(deserializer) {
        Ok(Written::Number(value)) if value.is_finite() => Ok(number(value)),
        Ok(Written::Text(text)) => text.parse().map_err(de::Error::custom),
        _ => Err(de::Error::custom(format_args!("write {expected}"))),
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number_or_text(deserializer, Self, "a number, or a share such as \"10%\"")
    }
}

impl<'de> Deserialize<'de> for Distribution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number_or_text(deserializer, Self::Point, "a number, \"5%\" or \"beta(10,6)\"")
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number_or_text(deserializer, |value| Self(Distribution::Point(value)), "a number, \"none\" or \"beta(10,6)\"")
    }
}

/// Reads a date or an instant, where there is one.
pub(super) fn optional_instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| instant(&text).map_err(de::Error::custom)).transpose()
}

/// Reads two values from a list or by the rules of the text.
fn two<'de, D: Deserializer<'de>, V: Deserialize<'de>, T: FromStr<Err = String>>(
    deserializer: D,
    both: impl FnOnce(V, V) -> T,
    expected: &'static str,
) -> Result<T, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written<V> {
        List([V; 2]),
        Text(String),
    }
    match Written::deserialize(deserializer) {
        Ok(Written::List([first, second])) => Ok(both(first, second)),
        Ok(Written::Text(text)) => text.parse().map_err(de::Error::custom),
        Err(_) => Err(de::Error::custom(format_args!("write {expected}"))),
    }
}

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        two(deserializer, Self, "\"31240/52000\" or [31240, 52000]")
    }
}

impl<'de> Deserialize<'de> for Pair {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        two(deserializer, |a: Number, b: Number| Self(a.0, b.0), "\"1.42,17.75\" or [1.42, 17.75]")
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.central().is_infinite() { serializer.serialize_str("none") } else { self.0.serialize(serializer) }
    }
}

impl Serialize for Distribution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Point(value) => serializer.serialize_f64(*value),
            other => serializer.collect_str(other),
        }
    }
}

fn text(description: &str, example: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description)).examples([example])
}

fn or_text(other: impl Into<RefOr<Schema>>, description: &str, example: &str) -> RefOr<Schema> {
    OneOfBuilder::new().item(other).item(text(description, example)).into()
}

fn number() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Number)
}

/// Gives a hand-made schema to a type.
macro_rules! schema {
    ($type:ty, $schema:expr) => {
        impl utoipa::PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                $schema
            }
        }
        impl utoipa::ToSchema for $type {}
    };
}

schema!(Number, or_text(number(), "A number or a share", "10%"));
schema!(
    Distribution,
    or_text(number(), "5%, beta(a,b), beta(a,b,low,high), lognormal(median,sigma) or mean(m,cv)", "beta(18,2)")
);
schema!(Limit, or_text(number(), "none, or a value as elsewhere", "none"));
schema!(
    Counts,
    or_text(
        ArrayBuilder::new()
            .items(ObjectBuilder::new().schema_type(Type::Integer))
            .min_items(Some(2))
            .max_items(Some(2)),
        "So many of so many",
        "31240/52000"
    )
);
schema!(
    Pair,
    or_text(ArrayBuilder::new().items(number()).min_items(Some(2)).max_items(Some(2)), "Two numbers", "1.42,17.75")
);

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Given {
        share: Number,
        seen: Counts,
        spend: Pair,
        rate: Distribution,
        cap: Limit,
    }

    #[test]
    fn numbers_texts_and_lists_say_the_same() {
        let plain: Given = serde_json::from_value(
            json!({"share": 0.1, "seen": [3, 5], "spend": [1, 2.5], "rate": 0.5, "cap": "none"}),
        )
        .unwrap();
        let texts: Given = serde_json::from_value(
            json!({"share": "10%", "seen": "3/5", "spend": "1,2.5", "rate": "50%", "cap": "inf"}),
        )
        .unwrap();
        for it in [plain, texts] {
            assert_eq!((it.share, it.seen, it.spend), (Number(0.1), Counts(3, 5), Pair(1.0, 2.5)));
            assert_eq!(it.rate, Distribution::Point(0.5));
            assert_eq!(it.cap.to_string(), "none");
        }
    }

    #[test]
    fn what_cannot_be_read_says_what_to_write() {
        let seen = |value| serde_json::from_value::<Counts>(value).unwrap_err().to_string();
        for value in [json!([1]), json!([1, -2]), json!("3 of 5"), json!({})] {
            assert!(seen(value.clone()).contains("31240/52000"), "{value}");
        }
        let rate = serde_json::from_value::<Distribution>(json!("beta(0,1)")).unwrap_err().to_string();
        assert!(rate.contains("hint:"), "{rate}");
        assert!(serde_json::from_value::<Number>(json!(null)).unwrap_err().to_string().contains("10%"));
    }
}
