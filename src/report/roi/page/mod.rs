//! The report as one HTML file: nothing is loaded, every chart has its figures in words, light and dark follow the reader.

mod future;
mod past;

use super::RoiReport;
use super::chart::escape;
use crate::roi::plan::grouped;
use crate::roi::simulate::Summary;
use std::fmt::Write as _;

/// Colours of platforms and lines, in order; they come with different dashes.
const CLASSES: [&str; 4] = ["a", "b", "c", "n"];

/// The whole page.
pub fn html(report: &RoiReport) -> String {
    let mut page = String::with_capacity(64 * 1024);
    let title = escape(&format!("{}: what waking them is worth", report.label));
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <meta name=\"referrer\" content=\"no-referrer\"><title>{title}</title><style>{}</style></head><body>\
         <a class=\"skip\" href=\"#main\">Skip to the figures</a><header><h1>{title}</h1><p class=\"soft\">Audience {}, as of \
         {}. Inactive: {}. Amounts in {}.{}</p></header><main id=\"main\">\n",
        include_str!("../page.css"),
        escape(&report.audience),
        report.as_of.format("%-d %B %Y"),
        escape(&report.definition.label()),
        escape(&report.currency),
        if report.synthetic { " The customers are made up." } else { "" }
    );
    past::cards(&mut page, report);
    past::funnel(&mut page, report);
    if !report.destinations.is_empty() {
        past::matches(&mut page, &report.destinations);
    }
    if !report.returns.is_empty() {
        past::returns(&mut page, report);
    }
    if !report.projections.is_empty() {
        future::projections(&mut page, report);
    }
    if let Some(holdout) = &report.holdout {
        future::power(&mut page, holdout);
    }
    if let Some(matrix) = &report.matrix {
        past::matrix(&mut page, matrix);
    }
    if !report.projections.is_empty() {
        future::assumptions(&mut page, report);
    }
    page.push_str("</main><footer>");
    for note in &report.notes {
        let _ = write!(page, "<p class=\"note\">{}</p>", escape(note));
    }
    page.push_str(
        "<p class=\"note\">A match rate says that the data is usable, not that ads perform. A basket count without a control \
         group contains everybody who would have come back anyway.</p></footer></body></html>\n",
    );
    page
}

fn whole(value: f64) -> String {
    let sign = if value <= -0.5 { "−" } else { "" };
    format!("{sign}{}", grouped(value.abs().round() as u64))
}

fn percent(share: f64) -> String {
    let value = 100.0 * share;
    if value.abs() >= 1000.0 {
        return format!("{}\u{a0}%", whole(value));
    }
    let digits = if value.abs() >= 10.0 || value == 0.0 {
        0
    } else if value.abs() >= 1.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}\u{a0}%").replace('-', "−")
}

fn span(summary: &Summary, show: impl Fn(f64) -> String) -> String {
    format!("{} ({} to {})", show(summary.p50), show(summary.p05), show(summary.p95))
}

fn section(page: &mut String, id: &str, title: &str, text: &str) {
    let _ = write!(page, "<section aria-labelledby=\"{id}\"><h2 id=\"{id}\">{}</h2><p>{}</p>", escape(title), text);
}
