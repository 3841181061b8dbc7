//! The report as a flat table, for spreadsheets.

use serde::Serialize;

use super::RoiReport;
use crate::roi::simulate::Summary;

/// One figure. `low` and `high` are the ends of its range, where it has one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub section: &'static str,
    pub item: String,
    pub measure: String,
    pub value: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub unit: String,
    pub note: String,
}

/// All figures of the report.
pub fn rows(report: &RoiReport) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut put =
        |section, item: &str, measure: &str, value: Option<f64>, range: Option<(f64, f64)>, unit: &str, note: &str| {
            rows.push(Row {
                section,
                item: item.to_owned(),
                measure: measure.to_owned(),
                value,
                low: range.map(|range| range.0),
                high: range.map(|range| range.1),
                unit: unit.to_owned(),
                note: note.to_owned(),
            });
        };
    let funnel = &report.funnel;
    for (measure, people) in [
        ("customers", funnel.customers),
        ("active", funnel.active),
        ("unknown", funnel.unknown),
        ("inactive", funnel.inactive),
        ("eligible", funnel.eligible),
    ] {
        put("funnel", &report.audience, measure, Some(people as f64), None, "persons", "");
    }
    for excluded in &funnel.excluded {
        put(
            "excluded",
            &report.audience,
            &excluded.reason,
            Some(excluded.people as f64),
            None,
            "persons",
            excluded.label,
        );
    }
    for destination in &report.destinations {
        put("destination", &destination.destination, "held", Some(destination.held as f64), None, "persons", "");
        for excluded in &destination.excluded {
            let people = Some(excluded.people as f64);
            put("excluded", &destination.destination, &excluded.reason, people, None, "persons", excluded.label);
        }
        if let Some(reading) = &destination.reading {
            let range = reading.low.zip(reading.high);
            let value = reading.low.filter(|_| reading.kind == "exact");
            let note = format!("{}: {}", reading.kind, reading.definition);
            put("match", &destination.destination, "match_rate", value, range, "share", &note);
        }
    }
    for curve in &report.returns {
        for point in &curve.points {
            let item = curve.as_of.format("%Y-%m-%d").to_string();
            put("return", &item, &format!("{}_days", point.days), Some(point.share), None, "share", "");
        }
    }
    for projection in &report.projections {
        let currency = projection.currency.as_str();
        let sim = &projection.simulation;
        let range = |summary: &Summary| Some((summary.p05, summary.p95));
        let item = projection.platform;
        let usual = projection.common_assumption.baskets;
        put("projection", item, "usual_claim_baskets", Some(usual), None, "orders", "1.5 % of the inactive (derived)");
        put(
            "projection",
            item,
            "baskets",
            Some(sim.baskets.p50),
            range(&sim.baskets),
            "orders",
            "by clicks, 90 % range",
        );
        let caused = &sim.incremental_buyers;
        put(
            "projection",
            item,
            "incremental_buyers",
            Some(caused.p50),
            range(caused),
            "persons",
            "caused by the ads, 90 % range",
        );
        let [middle, low, high] = projection.spontaneous_return;
        put("projection", item, "return_without_ads", Some(middle), Some((low, high)), "persons", "");
        put("projection", item, "spend", Some(sim.spend.p50), range(&sim.spend), currency, "");
        if let Some(roi) = &sim.incremental_roi {
            put("projection", item, "incremental_roi", Some(roi.p50), range(roi), "ratio", "");
        }
        put(
            "projection",
            item,
            "p_incremental_roi_positive",
            Some(sim.p_incremental_roi_positive),
            None,
            "probability",
            "",
        );
    }
    for cell in report.matrix.iter().flat_map(|matrix| &matrix.cells) {
        let item = format!("r{}f{}m{}", cell.r, cell.f, cell.m.unwrap_or(0));
        put("matrix", &item, "customers", Some(cell.customers as f64), None, "persons", "");
        put("matrix", &item, "win_back", Some(cell.win_back as f64), None, "persons", "");
    }
    if let Some(holdout) = &report.holdout {
        let item = format!("{:.1}%", 100.0 * holdout.share);
        put("holdout", &item, "mde_relative", Some(holdout.judgement.mde_relative), None, "ratio", "");
        put(
            "holdout",
            &item,
            "expected_power",
            Some(holdout.judgement.expected_power),
            None,
            "probability",
            &holdout.judgement.sentence,
        );
    }
    rows
}
