//! What is known: who is in the audience, who matched, who came back by themselves, the matrix.

use super::{CLASSES, percent, section, whole};
use crate::report::match_rates::Reading;
use crate::report::roi::chart::{Caption, Interval, Series, axis, bars, escape, intervals, lines};
use crate::report::roi::{Destination, RoiReport};
use crate::roi::plan::grouped;
use crate::roi::{Field, Projection};
use crate::segment::Matrix;
use std::fmt::Write as _;

fn card(page: &mut String, term: &str, figure: &str, small: &str) {
    let _ =
        write!(page, "<div><dt>{}</dt><dd>{}<small>{}</small></dd></div>", escape(term), escape(figure), escape(small));
}

pub(super) fn cards(page: &mut String, report: &RoiReport) {
    let caused = report.union.as_ref().map(|union| (&union.incremental_buyers, union.p_incremental_roi_positive));
    let alone = report.projections.first();
    let caused =
        caused.or(alone.map(|it| (&it.simulation.incremental_buyers, it.simulation.p_incremental_roi_positive)));
    if let (Some((buyers, chance)), Some(spontaneous)) = (caused, &report.spontaneous) {
        let verdict = if chance >= 0.8 {
            "likely pay"
        } else if chance >= 0.5 {
            "may pay"
        } else {
            "will more likely lose than earn"
        };
        let _ = write!(
            page,
            "<p class=\"verdict\">Of {} people who may be uploaded, about {} come back within {} days without any ads. Ads \
             would add about {}. At these assumptions they {verdict}: {} of simulated campaigns earn more than they cost.{}</p>",
            grouped(report.funnel.eligible),
            whole(spontaneous.share * report.funnel.eligible as f64),
            spontaneous.window_days,
            whole(buyers.p50),
            percent(chance),
            escape(&alone.map_or(String::new(), rests_on))
        );
    }
    page.push_str("<dl class=\"cards\">");
    let funnel = &report.funnel;
    let share = |part: u64, all: u64| percent(part as f64 / all.max(1) as f64);
    card(
        page,
        "Inactive",
        &grouped(funnel.inactive),
        &format!("{} of {} customers", share(funnel.inactive, funnel.customers), grouped(funnel.customers)),
    );
    card(
        page,
        "May be uploaded",
        &grouped(funnel.eligible),
        &format!("{} of the inactive", share(funnel.eligible, funnel.inactive)),
    );
    if let Some(back) = &report.spontaneous {
        let small = format!("in {} days, {} earlier windows", back.window_days, back.windows);
        card(page, "Come back without ads", &percent(back.share), &small);
    }
    if let Some((buyers, chance)) = caused {
        card(
            page,
            "Buyers the ads cause",
            &whole(buyers.p50),
            &format!("{} to {}, 90 % range", whole(buyers.p05), whole(buyers.p95)),
        );
        card(page, "Chance that they pay", &percent(chance), "of simulated campaigns");
    }
    page.push_str("</dl>\n");
}

/// What the verdict hangs on, said beside it.
fn rests_on(it: &Projection) -> String {
    let lift = it.assumption(Field::Lift);
    format!(
        " All of it rests on ads raising buying by about {} among the people they reach ({}).",
        percent(lift.central),
        lift.source
    )
}

pub(super) fn funnel(page: &mut String, report: &RoiReport) {
    let funnel = &report.funnel;
    let run = match (&funnel.run, funnel.run_as_of) {
        (Some(run), Some(at)) => format!("Run {}, as of {}.", escape(run), at.format("%-d %B %Y")),
        _ => format!("Counted in the warehouse as of {}; nothing was sent then.", funnel.as_of.format("%-d %B %Y")),
    };
    section(
        page,
        "funnel",
        "From customers to people on a platform",
        &format!(
            "{run} Missing data never makes anybody inactive: {} people are unknown and left alone.",
            grouped(funnel.unknown)
        ),
    );
    let mut rows = vec![
        ("Customers".to_owned(), grouped(funnel.customers), funnel.customers as f64, "n"),
        ("Inactive".to_owned(), grouped(funnel.inactive), funnel.inactive as f64, "a"),
        ("May be uploaded".to_owned(), grouped(funnel.eligible), funnel.eligible as f64, "a"),
    ];
    for destination in &report.destinations {
        let held = destination.held;
        rows.push((format!("In the audience: {}", destination.destination), grouped(held), held as f64, "b"));
    }
    let words: Vec<String> = rows.iter().map(|row| format!("{}: {}", row.0, row.1)).collect();
    let caption = Caption { id: "funnel-chart", title: "Funnel", description: &words.join("; ") };
    let _ = write!(page, "<div class=\"plot\">{}</div>", bars(caption, &rows));
    if !funnel.excluded.is_empty() {
        page.push_str(
            "<details open><summary>Who was left out, in the order of the rules</summary><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Left out\"><table><thead><tr><th scope=\"col\">Reason</th><th scope=\"col\">People</th></tr></thead><tbody>",
        );
        for excluded in &funnel.excluded {
            let _ = write!(page, "<tr><td>{}</td><td>{}</td></tr>", escape(excluded.label), grouped(excluded.people));
        }
        page.push_str("</tbody></table></div></details>");
    }
    for destination in report.destinations.iter().filter(|destination| !destination.excluded.is_empty()) {
        let parts: Vec<String> = destination
            .excluded
            .iter()
            .map(|excluded| format!("{} {}", grouped(excluded.people), excluded.label))
            .collect();
        let _ = write!(
            page,
            "<p class=\"note\">Of those who may be uploaded, not sent to <strong>{}</strong>: {}.</p>",
            escape(&destination.destination),
            escape(&parts.join("; "))
        );
    }
    page.push_str("</section>\n");
}

fn reading_words(reading: &Reading) -> (String, Option<(f64, f64)>, Option<f64>) {
    match (reading.kind, reading.low, reading.high) {
        ("exact", Some(low), _) => (format!("{:.1} %", 100.0 * low), None, Some(low)),
        (_, Some(low), Some(high)) => (format!("{:.0} to {:.0} %", 100.0 * low, 100.0 * high), Some((low, high)), None),
        (_, Some(low), None) => (format!("at least {:.0} %", 100.0 * low), Some((low, 1.0)), None),
        _ => (
            reading.matched.map_or("no figure".to_owned(), |matched| format!("{} matched", grouped(matched))),
            None,
            None,
        ),
    }
}

pub(super) fn matches(page: &mut String, destinations: &[Destination]) {
    section(
        page,
        "match",
        "How many the platforms recognise",
        "Each platform's own figure, as it gives it: exact, a bucket or bounds. They are defined differently, so do not compare them with each other.",
    );
    let rows: Vec<Interval> = destinations
        .iter()
        .enumerate()
        .map(|(index, destination)| {
            let (shown, range, middle) =
                destination.reading.as_ref().map_or(("no figure yet".to_owned(), None, None), reading_words);
            let kind = destination.reading.as_ref().map_or("", |reading| reading.kind);
            let label = if kind.is_empty() {
                destination.destination.clone()
            } else {
                format!("{} ({})", destination.destination, kind.replace('_', " "))
            };
            Interval { label, shown, range, middle, class: CLASSES[index % 3] }
        })
        .collect();
    let words: Vec<String> = rows.iter().map(|row| format!("{}: {}", row.label, row.shown)).collect();
    let caption = Caption { id: "match-chart", title: "Match rates", description: &words.join("; ") };
    let ticks = [0.0, 0.25, 0.5, 0.75, 1.0];
    let _ = write!(
        page,
        "<div class=\"plot\">{}</div>",
        intervals(caption, &rows, &ticks, |tick| format!("{:.0} %", 100.0 * tick))
    );
    for destination in destinations {
        let Some(reading) = &destination.reading else { continue };
        let _ = write!(
            page,
            "<p class=\"note\"><strong>{}</strong>, over {} people sent, {}: {}</p>",
            escape(&destination.destination),
            grouped(reading.sent),
            reading.as_of.format("%-d %B %Y"),
            escape(&reading.definition)
        );
    }
    page.push_str("</section>\n");
}

pub(super) fn returns(page: &mut String, report: &RoiReport) {
    let text = match &report.spontaneous {
        Some(back) => format!(
            "The same definition applied to earlier days, and how many of those people bought afterwards: {} of {} within {} days. They came back without this audience; no campaign can claim them.",
            grouped(back.returned),
            grouped(back.inactive),
            back.window_days
        ),
        None => {
            "The same definition applied to earlier days, and how many of those people bought afterwards.".to_owned()
        }
    };
    section(page, "returns", "Who comes back without ads", &text);
    let series: Vec<Series> = report
        .returns
        .iter()
        .enumerate()
        .map(|(index, curve)| Series {
            label: format!("inactive on {} ({})", curve.as_of.format("%-d %b %Y"), grouped(curve.inactive)),
            points: std::iter::once((0.0, 0.0))
                .chain(curve.points.iter().map(|point| (f64::from(point.days), point.share)))
                .collect(),
            class: CLASSES[index % CLASSES.len()],
        })
        .collect();
    let most = report.returns.iter().flat_map(|curve| &curve.points).map(|point| point.share).fold(0.0, f64::max);
    let words: Vec<String> = report
        .returns
        .iter()
        .map(|curve| {
            let points: Vec<String> =
                curve.points.iter().map(|point| format!("{} in {} days", percent(point.share), point.days)).collect();
            format!("{}: {}", curve.as_of.format("%Y-%m-%d"), points.join(", "))
        })
        .collect();
    let caption = Caption { id: "returns-chart", title: "Share who bought again", description: &words.join("; ") };
    let show = (&|days: f64| format!("{days:.0} d") as String, &percent as &dyn Fn(f64) -> String);
    let chart = lines(caption, &series, &[0.0, 30.0, 60.0, 90.0], &axis(most), (show.0, show.1));
    let _ = write!(page, "<div class=\"plot axis\">{chart}</div>");
    page.push_str("<details><summary>The figures</summary><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Returns\"><table><thead><tr><th scope=\"col\">Inactive on</th><th scope=\"col\">People</th><th scope=\"col\">30 days</th><th scope=\"col\">60 days</th><th scope=\"col\">90 days</th></tr></thead><tbody>");
    for curve in &report.returns {
        let _ = write!(page, "<tr><td>{}</td><td>{}</td>", curve.as_of.format("%Y-%m-%d"), grouped(curve.inactive));
        for point in &curve.points {
            let _ = write!(page, "<td>{} ({})</td>", grouped(point.returned), percent(point.share));
        }
        page.push_str("</tr>");
    }
    page.push_str("</tbody></table></div></details></section>\n");
}

pub(super) fn matrix(page: &mut String, matrix: &Matrix) {
    let high = matrix.high_value.map_or(String::new(), |people| {
        format!(
            " {} customers bought often and well (F4–5, M4–5) and are silent now (R1–2): the first to win back.",
            grouped(people)
        )
    });
    section(
        page,
        "matrix",
        "Recency and frequency",
        &format!(
            "{} customers with a purchase, in equal groups. Framed cells are to win back (“à reconquérir”): most of them bought before the last {} days and not since, {} people in all.{high}",
            grouped(matrix.customers),
            matrix.period_days,
            grouped(matrix.win_back)
        ),
    );
    let most = (1..=matrix.groups[0])
        .flat_map(|r| (1..=matrix.groups[1]).map(move |f| (r, f)))
        .map(|(r, f)| matrix.cell(r, f).0)
        .max()
        .unwrap_or(1)
        .max(1);
    page.push_str("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Matrix\"><table class=\"matrix\"><caption>People per cell; R = time since the last purchase (highest: latest), F = number of purchases</caption><thead><tr><td></td>");
    for f in 1..=matrix.groups[1] {
        let _ = write!(page, "<th scope=\"col\">F{f}</th>");
    }
    page.push_str("</tr></thead><tbody>");
    for r in (1..=matrix.groups[0]).rev() {
        let _ = write!(page, "<tr><th scope=\"row\">R{r}</th>");
        for f in 1..=matrix.groups[1] {
            let (people, _) = matrix.cell(r, f);
            let win = matrix.is_win_back(r, f);
            let _ = write!(
                page,
                "<td{} style=\"background:rgba(var(--heat),{:.2})\">{}{}</td>",
                if win { " class=\"win\"" } else { "" },
                0.06 + 0.4 * people as f64 / most as f64,
                grouped(people),
                if win { "<span role=\"img\" aria-label=\"to win back\"> *</span>" } else { "" }
            );
        }
        page.push_str("</tr>");
    }
    page.push_str("</tbody></table></div></section>\n");
}
