//! What ads would bring, whether a holdout could show it, and what all of it assumes.

use super::{CLASSES, percent, section, span, whole};
use crate::report::roi::chart::{Caption, Interval, Series, axis, escape, intervals, lines};
use crate::report::roi::{HoldoutPower, RoiReport};
use crate::roi::plan::grouped;
use crate::roi::simulate::Summary;
use crate::roi::{Field, Projection};
use std::fmt::Write as _;

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

pub(super) fn projections(page: &mut String, report: &RoiReport) {
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

pub(super) fn power(page: &mut String, it: &HoldoutPower) {
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

pub(super) fn assumptions(page: &mut String, report: &RoiReport) {
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
