//! Shares as people write them: `"10%"` or `0.1`.

use serde::{Deserialize, Deserializer, Serializer};

/// A share between 0 and 1, kept in basis points (hundredths of a percent).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Share(pub u16);

impl Share {
    /// Reads `10%`, `12.5%` or `0.1`.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a share; write \"10%\" or 0.1");
        let (number, scale) = match text.trim().strip_suffix('%') {
            Some(percent) => (percent.trim(), 100.0),
            None => (text.trim(), 10_000.0),
        };
        let value: f64 = number.parse().map_err(|_| wrong())?;
        let basis_points = value * scale;
        if !(0.0..=10_000.0).contains(&basis_points) {
            return Err(wrong());
        }
        Ok(Self(basis_points.round() as u16))
    }
    pub fn ratio(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Text {
            Number(f64),
            Text(String),
        }
        let text = match Text::deserialize(deserializer) {
            Ok(Text::Number(number)) => number.to_string(),
            Ok(Text::Text(text)) => text,
            Err(_) => return Err(serde::de::Error::custom("not a share; write \"10%\" or 0.1")),
        };
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl serde::Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.ratio())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_percent_and_ratio() {
        assert_eq!(Share::parse("10%"), Ok(Share(1000)));
        assert_eq!(Share::parse("0.125"), Ok(Share(1250)));
        assert!(Share::parse("110%").is_err());
        assert!(Share::parse("ten").is_err());
    }
}
