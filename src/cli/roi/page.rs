//! The page of a projection: what a growth lead needs to decide before spending.
//!
//! The common assumption stands beside both routes, then who returns anyway, the advice, and every assumption with its
//! source. No term of the trade goes unexplained.

use std::io::Write;

use super::text;
use crate::roi::{Field, Projection, UnionProjection, simulate::Summary};

pub fn page(out: &mut dyn Write, p: &Projection) -> anyhow::Result<()> {
    let code = p.currency.as_str();
    let sim = &p.simulation;
    writeln!(
        out,
        "Projection: {} inactive customers on {}, amounts in {code}",
        text::count(p.inactives as f64),
        p.platform_label
    )?;
    writeln!(out)?;
    comparison(out, p)?;
    writeln!(out)?;
    let [back, back_low, back_high] = p.spontaneous_return;
    let p0 = p.assumption(Field::P0);
    let between = if back_low == back_high {
        String::new()
    } else {
        format!(" ({} to {})", text::count(back_low), text::count(back_high))
    };
    text::paragraph(
        out,
        &format!(
            "Who returns anyway: without any ads, {} of these customers{between} buy again in the window, {} of them. \
             Orders counted after a campaign contain them, so a basket count alone proves nothing. The last column \
             counts only buyers the ads cause: persons reached x return without ads x rise by ads.",
            text::count(back),
            text::percent(p0.central),
        ),
    )?;
    writeln!(out)?;
    decision(out, p)?;
    writeln!(out)?;
    if let (Some(cvr), Some(cpm), Some(aov)) = (p.point.breakeven_cvr, p.point.breakeven_cpm, p.point.breakeven_aov) {
        let needed_cpm = if cpm > 0.0 {
            format!("ad views at {} per 1,000", text::money(cpm, code))
        } else {
            "free ad views".into()
        };
        text::hanging(
            out,
            "Break-even by clicks: ",
            &format!(
                "{} orders per visit (assumed {}), or {needed_cpm} (assumed {}), or orders of {} (assumed {}).",
                text::percent(cvr),
                text::percent(p.assumption(Field::Cvr).central),
                text::money(p.assumption(Field::Cpm).central, code),
                text::money(aov, code),
                text::money(p.assumption(Field::Aov).central, code),
            ),
        )?;
    }
    let movers: Vec<String> = p
        .sensitivity
        .iter()
        .take(3)
        .map(|s| {
            format!(
                "{} ({} to {}: profit {} to {})",
                s.field.name(),
                shown(s.field, s.input[0]),
                shown(s.field, s.input[1]),
                text::money(s.incremental_profit[0], code),
                text::money(s.incremental_profit[1], code),
            )
        })
        .collect();
    if !movers.is_empty() {
        text::hanging(out, "Moves the answer most:  ", &format!("{}. Measure these first.", movers.join(", ")))?;
    }
    writeln!(out)?;
    assumptions(out, p)?;
    for warning in &p.warnings {
        text::hanging(out, "warning: ", warning)?;
    }
    text::paragraph(
        out,
        &format!("Ranges hold 90 % of {} simulated campaigns (seed {}).", text::count(sim.draws as f64), sim.seed),
    )?;
    Ok(())
}

const LABEL: usize = 32;
const USUAL: usize = 14;
const CELL: usize = 26;

fn row(out: &mut dyn Write, label: &str, usual: &str, clicks: &str, caused: &str) -> std::io::Result<()> {
    let line = format!("{label:<LABEL$}{usual:>USUAL$} {clicks:>CELL$} {caused:>CELL$}");
    writeln!(out, "{}", line.trim_end())
}

fn range(s: &Summary, show: impl Fn(f64) -> String) -> String {
    if s.p05 == s.p95 { show(s.p50) } else { format!("{} ({} to {})", show(s.p50), show(s.p05), show(s.p95)) }
}

/// A value of an assumption: shares and the lift in per cent.
fn shown(field: Field, value: f64) -> String {
    if field.is_share() || field == Field::Lift { text::percent(value).replace(" %", "%") } else { text::plain(value) }
}

fn compact_percent(share: f64) -> String {
    format!("{:+.0}%", 100.0 * share)
}

fn comparison(out: &mut dyn Write, p: &Projection) -> anyhow::Result<()> {
    let sim = &p.simulation;
    let usual = &p.common_assumption;
    row(out, "", "usually said", "projected by clicks", "caused by the ads")?;
    row(out, "", "(1.5 % buy)", "middle (90 % range)", "middle (90 % range)")?;
    row(
        out,
        "Baskets / buyers",
        &text::count(usual.baskets),
        &range(&sim.baskets, text::short_count),
        &range(&sim.incremental_buyers, text::short_count),
    )?;
    row(
        out,
        "the same on average",
        "",
        &text::short_count(sim.baskets.mean),
        &text::short_count(sim.incremental_buyers.mean),
    )?;
    let roi = |s: &Option<Summary>| s.as_ref().map_or("-".to_owned(), |s| range(s, compact_percent));
    row(
        out,
        "Return per unit of cost (ROI)",
        &usual.roi.map_or("-".to_owned(), compact_percent),
        &roi(&sim.roi),
        &roi(&sim.incremental_roi),
    )?;
    row(
        out,
        "Chance that the margin pays it",
        "",
        &text::percent(sim.p_roi_positive),
        &text::percent(sim.p_incremental_roi_positive),
    )?;
    row(
        out,
        &format!("Chance of {} baskets", text::count(sim.target)),
        "taken as given",
        &text::percent(sim.p_baskets_at_target),
        "",
    )?;
    writeln!(out)?;
    text::hanging(
        out,
        "Path at assumed values: ",
        &format!(
            "{} recognised, {} can be served, {} ad views for {}, {} persons reached {} times each, {} clicks, {} visits, \
             {} baskets, {} revenue, {} margin against {} cost.",
            text::count(p.point.matched),
            text::count(p.point.reachable),
            text::count(p.point.impressions),
            text::money(p.point.spend, &p.currency),
            text::count(p.point.reach),
            text::plain(p.point.frequency.unwrap_or(0.0)),
            text::count(p.point.clicks),
            text::count(p.point.visits),
            text::count(p.point.baskets),
            text::money(p.point.revenue, &p.currency),
            text::money(p.point.margin, &p.currency),
            text::money(p.point.cost, &p.currency),
        ),
    )?;
    Ok(())
}

fn decision(out: &mut dyn Write, p: &Projection) -> anyhow::Result<()> {
    let code = p.currency.as_str();
    let best = &p.optimum;
    let chance = p.simulation.p_incremental_roi_positive;
    let spend = text::money(p.point.spend, code);
    let verdict = if p.point.cost <= 0.0 {
        "Nothing is spent at these inputs.".to_owned()
    } else if chance >= 0.8 {
        format!("Likely to pay: {} of simulated campaigns earn more than they cost at {spend}.", text::percent(chance))
    } else if chance >= 0.5 {
        format!(
            "A fair bet, no more: {} of simulated campaigns earn more than they cost at {spend}.",
            text::percent(chance)
        )
    } else {
        format!(
            "More likely to lose than to earn: only {} of simulated campaigns pay at {spend}.",
            text::percent(chance)
        )
    };
    text::hanging(out, "Before you spend: ", &verdict)?;
    let advice = if best.impressions_per_person <= 0.0 {
        format!(
            "Do not spend. The first {code} of ads earns {} back in margin, so no budget pays at these assumptions.",
            text::money(best.value_per_reach, code)
        )
    } else {
        let fixed = p.assumption(Field::Fixed).central;
        let after_fixed = if fixed > 0.0 {
            format!(", {} after the cost besides media", text::money(best.profit - fixed, code))
        } else {
            String::new()
        };
        format!(
            "{} is the media budget that earns most: {} ad views per person, {} buyers caused, profit {}{after_fixed}; \
             {} of simulated campaigns pay their media there. Each further view goes to persons already reached and costs \
             more than it brings.",
            text::money(best.budget, code),
            text::plain(best.impressions_per_person),
            text::count(best.incremental_buyers),
            text::money(best.profit, code),
            text::percent(p.p_optimum_pays),
        )
    };
    text::hanging(out, "Best pressure:    ", &advice)?;
    Ok(())
}

fn assumptions(out: &mut dyn Write, p: &Projection) -> anyhow::Result<()> {
    writeln!(out, "Assumptions")?;
    for a in &p.assumptions {
        let show = |v: f64| shown(a.field, v);
        let span = if a.low == a.high { String::new() } else { format!("{} to {}", show(a.low), show(a.high)) };
        let mark = format!("  {:<10}{:>8}  {span:<17} ", a.field.name(), show(a.central));
        text::hanging(out, &mark, &format!("{}: {}", a.field.label(), a.source))?;
    }
    Ok(())
}

pub fn union_page(out: &mut dyn Write, union: &UnionProjection) -> anyhow::Result<()> {
    let Some(first) = union.platforms.first() else { return Ok(()) };
    let code = first.currency.as_str();
    writeln!(
        out,
        "Projection: {} inactive customers on {} platforms, amounts in {code}",
        text::count(first.inactives as f64),
        union.platforms.len()
    )?;
    writeln!(out)?;
    writeln!(out, "{:<30}{:>12}{:>28}{:>28}", "", "spend", "persons reached", "buyers the ads cause")?;
    for p in &union.platforms {
        let label: String = p.platform_label.chars().take(29).collect();
        let sim = &p.simulation;
        writeln!(
            out,
            "{label:<30}{:>12}{:>28}{:>28}",
            text::count(p.point.spend),
            range(&sim.reach, text::short_count),
            range(&sim.incremental_buyers, text::short_count)
        )?;
    }
    writeln!(
        out,
        "{:<30}{:>12}{:>28}{:>28}",
        "All, each person once",
        text::count(union.platforms.iter().map(|p| p.point.spend).sum()),
        range(&union.persons_reached, text::short_count),
        range(&union.incremental_buyers, text::short_count)
    )?;
    writeln!(out)?;
    text::paragraph(
        out,
        &format!(
            "Middle and 90 % range. A person on two platforms is one person: together they reach {} of the segment if they \
             overlap by chance, between {} and {} whatever the overlap. Baskets claimed by platforms overlap too: count \
             distinct orders in the warehouse.",
            text::percent(union.reach.independent),
            text::percent(union.reach.low),
            text::percent(union.reach.high),
        ),
    )?;
    text::hanging(
        out,
        "Before you spend: ",
        &format!(
            "{} of simulated campaigns earn more than the {} they cost. Run `roi project` per platform for its path, best \
             pressure and assumptions.",
            text::percent(union.p_incremental_roi_positive),
            text::money(union.cost, code),
        ),
    )?;
    // Most are the same on every platform: said once.
    let mut said: Vec<&String> = Vec::new();
    for warning in union.platforms.iter().flat_map(|p| &p.warnings) {
        if !said.contains(&warning) {
            text::hanging(out, "warning: ", warning)?;
            said.push(warning);
        }
    }
    Ok(())
}
