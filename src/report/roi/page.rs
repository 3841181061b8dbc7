//! The report as one HTML file: nothing is loaded, every chart has its figures in words, light and dark follow the reader.

use std::fmt::Write as _;

use super::chart::{Caption, Interval, Series, axis, bars, escape, intervals, lines};
use super::{Destination, HoldoutPower, RoiReport};
use crate::report::match_rates::Reading;
use crate::roi::plan::grouped;
use crate::roi::simulate::Summary;
use crate::roi::{Field, Projection};
use crate::segment::Matrix;

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
        include_str!("page.css"),
        escape(&report.audience),
        report.as_of.format("%-d %B %Y"),
        escape(&report.definition.label()),
        escape(&report.currency),
        if report.synthetic { " The customers are made up." } else { "" }
    );
    cards(&mut page, report);
    funnel(&mut page, report);
    if !report.destinations.is_empty() {
        matches(&mut page, &report.destinations);
    }
    if !report.returns.is_empty() {
        returns(&mut page, report);
    }
    if !report.projections.is_empty() {
        projections(&mut page, report);
    }
    if let Some(holdout) = &report.holdout {
        power(&mut page, holdout);
    }
    if let Some(matrix) = &report.matrix {
        self::matrix(&mut page, matrix);
    }
    if !report.projections.is_empty() {
        assumptions(&mut page, report);
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

fn card(page: &mut String, term: &str, figure: &str, small: &str) {
    let _ =
        write!(page, "<div><dt>{}</dt><dd>{}<small>{}</small></dd></div>", escape(term), escape(figure), escape(small));
}

fn cards(page: &mut String, report: &RoiReport) {
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

fn section(page: &mut String, id: &str, title: &str, text: &str) {
    let _ = write!(page, "<section aria-labelledby=\"{id}\"><h2 id=\"{id}\">{}</h2><p>{}</p>", escape(title), text);
}

fn funnel(page: &mut String, report: &RoiReport) {
    let funnel = &report.funnel;
    let run = match (&funnel.run, funnel.run_as_of) {
        (Some(run), Some(at)) => format!("Run {}, as of {}.", escape(run), at.format("%-d %B %Y")),
        _ => "Counted in the warehouse; nothing has been sent.".to_owned(),
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

fn matches(page: &mut String, destinations: &[Destination]) {
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

fn returns(page: &mut String, report: &RoiReport) {
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

fn projection_rows(it: &Projection) -> Vec<Interval> {
    let sim = &it.simulation;
    let [middle, low, high] = it.spontaneous_return;
    let row = |label: &str, shown: String, range, middle, class| Interval {
        label: label.to_owned(),
        shown,
        range,
        middle,
        class,
    };
    let usual = it.common_assumption.baskets;
    let spread = |summary: &Summary| Some((summary.p05, summary.p95));
    vec![
        row("Usual claim (1.5 %)", whole(usual), None, Some(usual), "n"),
        row("Baskets by clicks", span(&sim.baskets, whole), spread(&sim.baskets), Some(sim.baskets.p50), "a"),
        row(
            "Back without ads",
            format!("{} ({} to {})", whole(middle), whole(low), whole(high)),
            Some((low, high)),
            Some(middle),
            "c",
        ),
        row(
            "Caused by the ads",
            span(&sim.incremental_buyers, whole),
            spread(&sim.incremental_buyers),
            Some(sim.incremental_buyers.p50),
            "b",
        ),
    ]
}

fn projections(page: &mut String, report: &RoiReport) {
    section(
        page,
        "projection",
        "What ads would bring",
        "The usual claim counts 1.5 baskets per 100 inactive customers (half matched, 3 in 100 of those buy; derived, its source \
         gives only the ratio). The click funnel counts baskets after clicks. Only the last line is due to the ads. Ranges hold 90 % of \
         simulated campaigns.",
    );
    for (index, it) in report.projections.iter().enumerate() {
        let rows = projection_rows(it);
        let most = rows.iter().map(|row| row.range.map_or(0.0, |range| range.1).max(row.middle.unwrap_or(0.0)));
        let ticks = axis(most.fold(0.0, f64::max));
        let words: Vec<String> = rows.iter().map(|row| format!("{}: {}", row.label, row.shown)).collect();
        let id = format!("projection-chart-{index}");
        let caption = Caption {
            id: &id,
            title: &format!("Projection for {}", it.platform_label),
            description: &words.join("; "),
        };
        let _ = write!(
            page,
            "<h3>{}</h3><div class=\"plot\">{}</div>",
            escape(it.platform_label),
            intervals(caption, &rows, &ticks, tick)
        );
        let roi = it.simulation.incremental_roi.as_ref().map_or(String::new(), |roi| {
            format!(" Return on the cost, counting only caused buyers: {}.", span(roi, percent))
        });
        let best = &it.optimum;
        let advice = if best.impressions_per_person > 0.0 {
            format!(
                "The budget that earns most is {} {}, for {} buyers caused.",
                whole(best.budget),
                it.currency,
                whole(best.incremental_buyers)
            )
        } else {
            "No budget pays at these assumptions.".to_owned()
        };
        let _ = write!(
            page,
            "<p>Spending {} {}: {} of simulated campaigns pay.{} {}</p>",
            whole(it.point.spend),
            escape(&it.currency),
            percent(it.simulation.p_incremental_roi_positive),
            escape(&roi),
            escape(&advice)
        );
        for warning in &it.warnings {
            let _ = write!(page, "<p class=\"note\">{}</p>", escape(warning));
        }
    }
    if let Some(union) = &report.union {
        let _ = write!(
            page,
            "<h3>All platforms, each person once</h3><p>{} people reached, {} buyers caused, {} of simulated campaigns pay their \
             cost of {} {} (overlap by chance).</p>",
            span(&union.persons_reached, whole),
            span(&union.incremental_buyers, whole),
            percent(union.p_incremental_roi_positive),
            whole(union.cost),
            escape(&report.currency)
        );
    }
    page.push_str("</section>\n");
}

/// A count on an axis; small ones keep a digit.
fn tick(value: f64) -> String {
    if value < 10.0 && value.fract() > 0.0 { format!("{value:.1}") } else { whole(value) }
}

fn power(page: &mut String, it: &HoldoutPower) {
    let intro = if it.configured {
        format!("This audience holds out {} of {} people.", percent(it.share), grouped(it.population))
    } else {
        format!(
            "This audience holds nobody out, so nothing it brings can be proven. With {} of {} people:",
            percent(it.share),
            grouped(it.population)
        )
    };
    section(page, "power", "Can a holdout show it?", &format!("{} {}", escape(&intro), escape(&it.judgement.sentence)));
    let series: Vec<Series> = it
        .curves
        .iter()
        .enumerate()
        .map(|(index, curve)| Series {
            label: format!("{} held out", percent(curve.share)),
            points: curve.points.clone(),
            class: CLASSES[index % CLASSES.len()],
        })
        .collect();
    let words: Vec<String> = it
        .curves
        .iter()
        .map(|curve| {
            let seen = curve.points.iter().find(|point| point.1 >= 0.8);
            let from = seen.map_or("no lift up to 100 % is seen 8 times in 10".to_owned(), |point| {
                format!("a lift of {} is seen 8 times in 10", percent(point.0))
            });
            format!("{} held out: {from}", percent(curve.share))
        })
        .collect();
    let caption = Caption {
        id: "power-chart",
        title: "Chance to see a lift among the people reached",
        description: &words.join("; "),
    };
    let chart =
        lines(caption, &series, &[0.0, 0.25, 0.5, 0.75, 1.0], &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0], (&percent, &percent));
    let _ = writeln!(
        page,
        "<p class=\"note\">Chance to see the effect (up) if ads raise buying by so much among the people they reach (right). Wanted: 80 %.</p>\
         <div class=\"plot axis\">{chart}</div><p class=\"note\">{}.</p></section>",
        escape(&words.join("; "))
    );
}

fn matrix(page: &mut String, matrix: &Matrix) {
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

fn assumptions(page: &mut String, report: &RoiReport) {
    section(
        page,
        "assumptions",
        "What this rests on",
        "Every assumption with its 90 % range and its source. What moves the result most stands first; measure that first.",
    );
    for it in &report.projections {
        let _ = write!(
            page,
            "<details><summary>{}</summary><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Assumptions for {0}\"><table><thead><tr><th scope=\"col\">Assumption</th><th scope=\"col\">Value</th><th scope=\"col\">Range</th><th scope=\"col\" class=\"text\">Source</th></tr></thead><tbody>",
            escape(it.platform_label)
        );
        let first: Vec<Field> = it.sensitivity.iter().map(|line| line.field).collect();
        let rest = Field::ALL.into_iter().filter(|field| !first.contains(field));
        for field in first.iter().copied().chain(rest) {
            let line = it.assumption(field);
            let show = |value: f64| {
                if value.is_infinite() {
                    "none".to_owned()
                } else if field.is_share() || field == Field::Lift {
                    percent(value)
                } else if value.abs() < 100.0 && value.fract() != 0.0 {
                    format!("{value:.2}")
                } else {
                    whole(value)
                }
            };
            let range = if line.low == line.high {
                String::new()
            } else {
                format!("{} to {}", show(line.low), show(line.high))
            };
            let _ = write!(
                page,
                "<tr><td>{}</td><td>{}</td><td>{range}</td><td class=\"text\">{}</td></tr>",
                escape(field.label()),
                show(line.central),
                escape(&line.source)
            );
        }
        page.push_str("</tbody></table></div></details>");
    }
    page.push_str("</section>\n");
}
