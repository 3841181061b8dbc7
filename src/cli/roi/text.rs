//! Numbers and paragraphs for people: 100 columns, no exponent, no false precision.

use std::io::{self, Write};

use crate::roi::plan::grouped;

/// Width every page keeps to.
pub const WIDTH: usize = 100;

/// A count of persons, baskets, views.
pub fn count(value: f64) -> String {
    let sign = if value <= -0.5 { "-" } else { "" };
    format!("{sign}{}", grouped(value.abs().round() as u64))
}

/// A count for narrow columns: millions from a million on.
pub fn short_count(value: f64) -> String {
    if value.abs() >= 999_999.5 { format!("{:.2}M", value / 1e6) } else { count(value) }
}

/// A share; digits enough to tell small ones from nothing.
pub fn percent(share: f64) -> String {
    let value = 100.0 * share;
    let size = value.abs();
    match size {
        _ if size == 0.0 => "0 %".to_owned(),
        _ if size < 0.01 => format!("under {}0.01 %", if value < 0.0 { "-" } else { "" }),
        _ if size < 1.0 => format!("{value:.2} %"),
        _ if size < 9.95 => format!("{value:.1} %"),
        // Near certainty is not certainty.
        _ if (99.95..100.0).contains(&size) => format!("over {}99.9 %", if value < 0.0 { "-" } else { "" }),
        _ if (99.0..100.0).contains(&size) => format!("{value:.1} %"),
        _ => format!("{} %", count(value)),
    }
}

/// A gain or loss as a share, with its sign.
pub fn signed_percent(share: f64) -> String {
    let text = percent(share);
    if share > 0.0 && !text.starts_with("under") { format!("+{text}") } else { text }
}

/// An amount; cents only where they matter.
pub fn money(value: f64, currency: &str) -> String {
    if value.abs() < 100.0 && value.fract().abs() > 1e-9 {
        format!("{value:.2} {currency}")
    } else {
        format!("{} {currency}", count(value))
    }
}

/// A bare value for tables of assumptions: up to four significant digits.
pub fn plain(value: f64) -> String {
    if value.is_infinite() {
        return "none".to_owned();
    }
    let size = value.abs();
    if size >= 1000.0 {
        return count(value);
    }
    let decimals = if size >= 100.0 {
        0
    } else if size >= 10.0 {
        1
    } else if size >= 1.0 {
        2
    } else {
        4
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Writes a paragraph, broken between words.
pub fn paragraph(out: &mut dyn Write, text: &str) -> io::Result<()> {
    hanging(out, "", text)
}

/// Writes a paragraph whose first line starts with `mark` and whose others are indented as far.
pub fn hanging(out: &mut dyn Write, mark: &str, text: &str) -> io::Result<()> {
    let indent = " ".repeat(mark.chars().count());
    let mut line = mark.to_owned();
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(out, "{}", line.trim_end())?;
            line.clone_from(&indent);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    writeln!(out, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_naturally() {
        assert_eq!(percent(0.024), "2.4 %");
        assert_eq!(percent(0.00008), "under 0.01 %");
        assert_eq!(signed_percent(1.25), "+125 %");
        assert_eq!(signed_percent(-0.9477), "-95 %");
        assert_eq!(money(7365.6, "EUR"), "7,366 EUR");
        assert_eq!(money(36.458, "EUR"), "36.46 EUR");
        assert_eq!((plain(0.011), plain(f64::INFINITY), plain(1.2)), ("0.011".into(), "none".into(), "1.2".into()));
        assert_eq!(count(-1200.4), "-1,200");
        assert_eq!((short_count(1_250_000.0), short_count(999_000.0)), ("1.25M".into(), "999,000".into()));
        assert_eq!(
            (percent(0.9958), percent(0.99999), percent(1.0)),
            ("99.6 %".into(), "over 99.9 %".into(), "100 %".into())
        );
    }

    #[test]
    fn paragraphs_break_between_words() {
        let mut out = Vec::new();
        hanging(&mut out, "- ", &"word ".repeat(60)).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.lines().count() == 4 && text.lines().all(|l| l.chars().count() <= WIDTH));
        assert!(text.lines().skip(1).all(|l| l.starts_with("  word")));
    }
}
