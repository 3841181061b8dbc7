//! The page of a measurement: the conclusion first, then what it rests on.

use std::io::Write;

use super::text;
use crate::roi::measure::{ArmOutcome, Experiment, Interval, Reading, Verdict};
use crate::roi::request::{MeasureAnswer, measure::Assignment};

pub(super) fn page(out: &mut dyn Write, experiment: &Experiment, report: &MeasureAnswer) -> anyhow::Result<()> {
    let m = &report.measurement;
    let arms = experiment.arms;
    writeln!(out, "{}", sentence_case(m.verdict.as_str()))?;
    writeln!(out)?;
    writeln!(out, "{:<12}{:>14}{:>12}{:>14}", "", "persons", "buyers", "share")?;
    for (name, persons, buyers, rate) in [
        ("uploaded", arms.treated, arms.treated_buyers, m.treated_rate),
        ("held out", arms.holdout, arms.holdout_buyers, m.holdout_rate),
    ] {
        let (persons, buyers) = (text::count(persons as f64), text::count(buyers as f64));
        writeln!(out, "{name:<12}{persons:>14}{buyers:>12}{:>14}", text::percent(rate))?;
    }
    writeln!(out)?;
    if let Some(assignment) = &report.assignment {
        assigned(out, assignment, &report.currency)?;
    }
    for warning in &report.warnings {
        text::paragraph(out, warning)?;
    }
    if m.verdict == Verdict::Blocked {
        text::paragraph(
            out,
            &format!(
                "The arm sizes would arise by chance with a probability of {}. Assignment, upload or counting is broken, so \
                 no effect is shown. Look for persons lost from one arm only: failed uploads, late filters, duplicates.",
                text::percent(m.sample_ratio.p_value.unwrap_or(0.0))
            ),
        )?;
        return Ok(());
    }
    writeln!(out, "{:<44}{:>16}   95 % interval", "", "best estimate")?;
    let code = report.currency.as_str();
    let mut line = |label: &str, i: Interval, show: &dyn Fn(f64) -> String| {
        writeln!(out, "{label:<44}{:>16}   {} to {}", show(i.estimate), show(i.low), show(i.high))
    };
    let points = |v: f64| format!("{:.3} points", 100.0 * v);
    let decided = match experiment.reading {
        Reading::Interim => m.always_valid.interval,
        _ => m.newcombe,
    };
    line("rise in the share who buy", Interval { estimate: m.diff, low: decided[0], high: decided[1] }, &points)?;
    if let Some(relative) = m.relative {
        line("the same, relative", relative, &text::signed_percent)?;
    }
    if let Some(effect) = m.effect_on_reached {
        line("rise among persons actually reached", effect, &points)?;
    }
    let amount = |v: f64| text::money(v, code);
    let times = |v: f64| format!("{v:.2}");
    for (label, value, show) in [
        ("buyers the ads caused", m.incremental_buyers, &text::count as &dyn Fn(f64) -> String),
        ("their revenue", m.incremental_revenue, &amount),
        ("their margin", m.incremental_margin, &amount),
        ("caused revenue per unit of cost (iROAS)", m.iroas, &times),
        ("return on cost (ROI)", m.incremental_roi, &text::signed_percent),
    ] {
        if let Some(interval) = value {
            line(label, interval, show)?;
        }
    }
    if let Some(r) = &report.revenue {
        for (label, welch) in [
            ("revenue per person, measured directly", Some(r.plain)),
            ("the same, largest amounts cut", r.winsorised),
            ("the same, past revenue taken out", r.cuped.map(|c| c.adjusted)),
        ] {
            if let Some(w) = welch {
                line(label, Interval { estimate: w.diff, low: w.interval[0], high: w.interval[1] }, &amount)?;
            }
        }
    }
    writeln!(out)?;
    if let Some(cost) = m.cost_per_incremental_buyer {
        writeln!(out, "One caused buyer cost {}.", text::money(cost, code))?;
    }
    if let Some(needed) = m.breakeven_diff {
        writeln!(out, "The margin pays the cost from a rise of {}.", points(needed))?;
    }
    if let Some(a) = m.attributed {
        let ratio = a.ratio_to_incremental.map_or(String::new(), |r| format!(", {r:.1} times what the holdout shows"));
        writeln!(out, "The platform claims {} buyers{ratio}.", text::count(a.buyers))?;
    }
    text::paragraph(
        out,
        &format!(
            "Probability that the ads helped at all: {}. A difference this large arises by chance with probability {} at \
             the planned end; if you looked before, count {} instead.",
            text::percent(m.p_lift_positive),
            text::percent(m.p_value),
            text::percent(m.always_valid.p_value),
        ),
    )?;
    let [low, high] = report.credible.diff;
    writeln!(
        out,
        "With flat priors the rise lies between {} and {} with 95 % probability.",
        points(low),
        points(high)
    )?;
    if let Some(look) = m.group_sequential {
        writeln!(
            out,
            "Look {} of {}: stop when |z| reaches {:.3}; it is {:.3}.",
            look.look,
            look.of,
            look.boundary_z,
            m.z.abs()
        )?;
    }
    if m.sample_ratio.p_value.is_none() {
        writeln!(out, "Arm sizes were not checked: give --holdout-share as planned.")?;
    }
    Ok(())
}

fn assigned(out: &mut dyn Write, assignment: &Assignment, currency: &str) -> anyhow::Result<()> {
    let o = &assignment.outcome;
    let per_person =
        |arm: &ArmOutcome| text::money(arm.revenue_minor as f64 / 100.0 / (arm.persons as f64).max(1.0), currency);
    text::paragraph(
        out,
        &format!(
            "Everybody audience {} was assigned from {} to {}, {} days each ({} customers; those who share an address or a \
             number are one person): {} orders worth {} per person uploaded, {} \
             orders worth {} per person held out, net of cancellations. Planned to be held out: {}.",
            assignment.audience,
            o.first_assigned,
            o.last_assigned,
            o.window_days,
            text::count((o.treated.customers + o.holdout.customers) as f64),
            text::count(o.treated.orders as f64),
            per_person(&o.treated),
            text::count(o.holdout.orders as f64),
            per_person(&o.holdout),
            text::percent(o.planned_holdout_share),
        ),
    )?;
    Ok(())
}

fn sentence_case(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).chain(['.']).collect())
}
