//! Charts as inline SVG that fits any width: horizontal places are percentages, so text keeps its size on a phone.
//! Every chart carries a title and a description in words.

use std::fmt::Write as _;

/// Text made safe between tags and in quoted attributes.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(character),
        }
    }
    // A percent sign stays with its number.
    safe.replace(" %", "\u{a0}%")
}

/// What a chart is called, and what it shows for those who do not see it.
#[derive(Debug, Clone, Copy)]
pub struct Caption<'a> {
    /// Unique on the page.
    pub id: &'a str,
    pub title: &'a str,
    pub description: &'a str,
}

/// One line of an interval chart: a range with a middle, or a single value.
#[derive(Debug, Clone)]
pub struct Interval {
    pub label: String,
    /// In words, at the right.
    pub shown: String,
    /// Ends of the range; `None` for a single value.
    pub range: Option<(f64, f64)>,
    pub middle: Option<f64>,
    /// Colour class.
    pub class: &'static str,
}

/// One line of a line chart.
#[derive(Debug, Clone)]
pub struct Series {
    pub label: String,
    /// Rising in x.
    pub points: Vec<(f64, f64)>,
    /// Colour and dash class.
    pub class: &'static str,
}

/// The axis from 0: a round end at or above `most` and the steps to it.
pub fn axis(most: f64) -> Vec<f64> {
    if !(most.is_finite() && most > 0.0) {
        return vec![0.0, 1.0];
    }
    let magnitude = 10_f64.powf((most / 4.0).log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * magnitude).into_iter().find(|step| 4.0 * step >= most);
    let step = step.unwrap_or(10.0 * magnitude);
    (0..=(most / step - 1e-9).ceil() as u32).map(|index| f64::from(index) * step).collect()
}

fn open(svg: &mut String, caption: Caption<'_>, class: &str, height: f64) {
    let Caption { id, title, description } = caption;
    let _ = write!(
        svg,
        "<svg class=\"{class}\" width=\"100%\" height=\"{height}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
         <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>",
        escape(title),
        escape(description)
    );
}

/// Bars from 0, the longest over the whole width.
pub fn bars(caption: Caption<'_>, rows: &[(String, String, f64, &'static str)]) -> String {
    let most = rows.iter().map(|row| row.2).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let mut svg = String::new();
    open(&mut svg, caption, "bars", 46.0 * rows.len() as f64);
    for (index, (label, shown, value, class)) in rows.iter().enumerate() {
        let top = 46.0 * index as f64;
        let _ = write!(
            svg,
            "<text x=\"0\" y=\"{}\">{}</text><text x=\"100%\" y=\"{0}\" class=\"end strong\">{}</text>\
             <rect x=\"0\" y=\"{}\" width=\"100%\" height=\"14\" class=\"track\"/>\
             <rect x=\"0\" y=\"{3}\" width=\"{:.2}%\" height=\"14\" class=\"{class}\"/>",
            top + 14.0,
            escape(label),
            escape(shown),
            top + 21.0,
            100.0 * value / most
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Ranges over one axis from 0.
pub fn intervals(caption: Caption<'_>, rows: &[Interval], ticks: &[f64], tick: impl Fn(f64) -> String) -> String {
    let end = ticks.last().copied().unwrap_or(1.0);
    let at = |value: f64| 100.0 * (value / end).clamp(0.0, 1.0);
    let height = 46.0 * rows.len() as f64;
    let mut svg = String::new();
    open(&mut svg, caption, "intervals", height + 24.0);
    for value in ticks {
        let x = at(*value);
        let anchor = if x < 1.0 {
            ""
        } else if x > 99.0 {
            "end"
        } else {
            "mid"
        };
        let _ = write!(
            svg,
            "<line x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"0\" y2=\"{height}\" class=\"grid\"/>\
             <text x=\"{x:.2}%\" y=\"{}\" class=\"tick {anchor}\">{}</text>",
            height + 17.0,
            escape(&tick(*value))
        );
    }
    for (index, row) in rows.iter().enumerate() {
        let top = 46.0 * index as f64;
        let middle = top + 29.0;
        let class = row.class;
        let _ = write!(
            svg,
            "<text x=\"0\" y=\"{}\" class=\"halo\">{}</text><text x=\"100%\" y=\"{0}\" class=\"end strong halo\">{}</text>",
            top + 15.0,
            escape(&row.label),
            escape(&row.shown)
        );
        if let Some((low, high)) = row.range {
            let (low, high) = (at(low), at(high));
            let _ = write!(
                svg,
                "<line x1=\"{low:.2}%\" x2=\"{high:.2}%\" y1=\"{middle}\" y2=\"{middle}\" class=\"range {class}\"/>"
            );
            for end in [low, high] {
                let _ = write!(
                    svg,
                    "<line x1=\"{end:.2}%\" x2=\"{end:.2}%\" y1=\"{}\" y2=\"{}\" class=\"cap {class}\"/>",
                    middle - 6.0,
                    middle + 6.0
                );
            }
        }
        if let Some(value) = row.middle {
            let _ = write!(svg, "<circle cx=\"{:.2}%\" cy=\"{middle}\" r=\"5\" class=\"dot {class}\"/>", at(value));
        }
    }
    svg.push_str("</svg>");
    svg
}

/// Lines over two axes from 0, with a legend under them.
pub fn lines(
    caption: Caption<'_>,
    series: &[Series],
    x_ticks: &[f64],
    y_ticks: &[f64],
    show: (&dyn Fn(f64) -> String, &dyn Fn(f64) -> String),
) -> String {
    const HEIGHT: f64 = 200.0;
    let end = |ticks: &[f64]| ticks.last().copied().unwrap_or(1.0);
    let x = |value: f64| 100.0 * (value / end(x_ticks)).clamp(0.0, 1.0);
    let y = |value: f64| HEIGHT + 8.0 - HEIGHT * (value / end(y_ticks)).clamp(0.0, 1.0);
    let mut svg = String::new();
    open(&mut svg, caption, "lines", HEIGHT + 32.0);
    for value in y_ticks {
        let at = y(*value);
        let _ = write!(
            svg,
            "<line x1=\"0\" x2=\"100%\" y1=\"{at:.1}\" y2=\"{at:.1}\" class=\"grid\"/>\
             <text x=\"-8\" y=\"{:.1}\" class=\"tick end\">{}</text>",
            at + 4.0,
            escape(&show.1(*value))
        );
    }
    for value in x_ticks {
        let at = x(*value);
        let anchor = if at > 99.0 { "end" } else { "mid" };
        let _ = write!(
            svg,
            "<text x=\"{at:.2}%\" y=\"{}\" class=\"tick {anchor}\">{}</text>",
            HEIGHT + 27.0,
            escape(&show.0(*value))
        );
    }
    for one in series {
        for pair in one.points.windows(2) {
            let [(x1, y1), (x2, y2)] = pair else { continue };
            let _ = write!(
                svg,
                "<line x1=\"{:.2}%\" y1=\"{:.1}\" x2=\"{:.2}%\" y2=\"{:.1}\" class=\"curve {}\"/>",
                x(*x1),
                y(*y1),
                x(*x2),
                y(*y2),
                one.class
            );
        }
        if one.points.len() <= 6 {
            for (px, py) in &one.points {
                let _ = write!(
                    svg,
                    "<circle cx=\"{:.2}%\" cy=\"{:.1}\" r=\"3.5\" class=\"dot {}\"/>",
                    x(*px),
                    y(*py),
                    one.class
                );
            }
        }
    }
    svg.push_str("</svg><ul class=\"legend\">");
    for one in series {
        let _ = write!(
            svg,
            "<li><svg width=\"34\" height=\"10\" aria-hidden=\"true\"><line x1=\"1\" x2=\"33\" y1=\"5\" y2=\"5\" \
             class=\"curve {}\"/></svg> {}</li>",
            one.class,
            escape(&one.label)
        );
    }
    svg.push_str("</ul>");
    svg
}

#[cfg(test)]
mod tests {
    use super::{Caption, Interval, axis, escape, intervals};

    #[test]
    fn axes_end_at_or_above_the_data_in_round_steps() {
        assert_eq!(axis(97.0), [0.0, 25.0, 50.0, 75.0, 100.0]);
        assert_eq!(axis(100.0).last(), Some(&100.0));
        for most in [0.003, 0.21, 1.0, 3.7, 19.9, 1500.0, 8_765_432.0] {
            let ticks = axis(most);
            assert!(*ticks.last().unwrap() >= most && (2..=6).contains(&ticks.len()), "{most}: {ticks:?}");
        }
        assert_eq!(axis(0.0), [0.0, 1.0]);
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escape("<b a=\"1\">&'"), "&lt;b a=&quot;1&quot;&gt;&amp;&#39;");
        let caption = Caption { id: "c", title: "<script>", description: "d" };
        let row = Interval {
            label: "<img>".into(),
            shown: "1".into(),
            range: Some((1.0, 90.0)),
            middle: Some(4.0),
            class: "a",
        };
        let svg = intervals(caption, &[row], &[0.0, 50.0], |value| value.to_string());
        assert!(!svg.contains("<script>") && !svg.contains("<img>"));
        assert!(svg.contains("x2=\"100.00%\""), "a range beyond the axis ends at its end");
    }
}
