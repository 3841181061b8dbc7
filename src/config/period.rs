//! Lengths of time as people write them: `"6h"`, `"90s"`, `"1h30m"`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

const UNITS: [(&str, u64); 6] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400), ("w", 604_800), ("min", 60)];

/// A length of time in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Period(pub Duration);

impl Period {
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// Reads `90s`, `30m`, `6h`, `1d`, `2w` or several of them together.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a length of time; write \"90s\", \"30m\", \"6h\" or \"1d\"");
        let mut secs: u64 = 0;
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let digits = rest.find(|character: char| !character.is_ascii_digit()).ok_or_else(wrong)?;
            let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            let after = &rest[digits..];
            let letters = after.find(|character: char| character.is_ascii_digit()).unwrap_or(after.len());
            let unit = after[..letters].trim();
            let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
            secs = number.checked_mul(*factor).and_then(|part| secs.checked_add(part)).ok_or_else(wrong)?;
            rest = &after[letters..];
        }
        Ok(Self::secs(secs))
    }
}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let secs = self.0.as_secs();
        let (unit, factor) = [("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60)]
            .into_iter()
            .find(|(_, factor)| secs >= *factor && secs.is_multiple_of(*factor))
            .unwrap_or(("s", 1));
        write!(f, "{}{unit}", secs / factor)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)
            .map_err(|_| serde::de::Error::custom("not a length of time; write \"90s\", \"30m\", \"6h\" or \"1d\""))?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl serde::Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for (text, secs) in [("90s", 90), ("30m", 1_800), ("6h", 21_600), ("1d", 86_400), ("2w", 1_209_600)] {
            assert_eq!(Period::parse(text), Ok(Period::secs(secs)));
            assert_eq!(Period::secs(secs).to_string(), text);
        }
        assert_eq!(Period::parse("1h30m"), Ok(Period::secs(5_400)));
    }

    #[test]
    fn refuses_what_has_no_unit_or_overflows() {
        for text in ["", "90", "h", "6 hours", "-1h", "1.5h", "99999999999999999999s", "99999999999999999w"] {
            assert!(Period::parse(text).is_err(), "{text}");
        }
    }
}
