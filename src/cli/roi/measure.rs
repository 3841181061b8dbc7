//! `reveil roi measure`: what the ads caused, from counts.

use std::io::Write;

use serde::Serialize;

use super::{counts, json, number, pair, text};
use crate::roi::{
    Currency,
    measure::{
        ALPHA, Experiment, Interval, Measurement, Money, Reading, Verdict, measure,
        proportions::Arms,
        revenue::{ArmMoments, Welch, welch},
    },
};

/// Options of `roi measure`. Count everyone assigned to an arm, whether matched or not.
#[derive(Debug, clap::Args)]
pub struct MeasureArgs {
    /// Persons uploaded
    #[arg(long)]
    treated: u64,
    /// Distinct buyers among them
    #[arg(long)]
    treated_buyers: u64,
    /// Persons held out
    #[arg(long)]
    holdout: u64,
    /// Distinct buyers among them
    #[arg(long)]
    holdout_buyers: u64,
    /// Average order value
    #[arg(long, value_parser = number)]
    aov: Option<f64>,
    /// Gross margin as a share of revenue
    #[arg(long, value_parser = number)]
    margin: Option<f64>,
    /// Media and other cost of the campaign
    #[arg(long, value_parser = number)]
    cost: Option<f64>,
    /// Currency of every amount
    #[arg(long, default_value = "EUR")]
    currency: Currency,
    /// Share planned to be held out; checks that the arms were filled as planned
    #[arg(long, value_parser = number)]
    holdout_share: Option<f64>,
    /// The test is still running: let the always-valid interval decide
    #[arg(long, conflicts_with = "look")]
    interim: bool,
    /// One of several planned looks, such as 2/5: let the O'Brien-Fleming boundary decide
    #[arg(long, value_name = "LOOK/OF", value_parser = counts)]
    look: Option<(u64, u64)>,
    /// Share of buyers foreseen when the test was planned; fixes the always-valid interval beforehand
    #[arg(long, value_parser = number)]
    planned_base_rate: Option<f64>,
    /// Buyers the platform claims
    #[arg(long, value_parser = number)]
    attributed: Option<f64>,
    /// Share of the uploaded who were reached; shows the effect on those
    #[arg(long, value_parser = number)]
    reached_share: Option<f64>,
    /// Revenue per person uploaded, zeros included: mean and standard deviation
    #[arg(long, value_name = "MEAN,SD", value_parser = pair, requires = "holdout_revenue")]
    treated_revenue: Option<(f64, f64)>,
    /// Revenue per person held out, zeros included: mean and standard deviation
    #[arg(long, value_name = "MEAN,SD", value_parser = pair, requires = "treated_revenue")]
    holdout_revenue: Option<(f64, f64)>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    measurement: Measurement,
    revenue: Option<Welch>,
    currency: String,
}

pub fn run(args: &MeasureArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let arms = Arms {
        treated: args.treated,
        treated_buyers: args.treated_buyers,
        holdout: args.holdout,
        holdout_buyers: args.holdout_buyers,
    };
    let experiment = Experiment {
        arms,
        money: Money { aov: args.aov, margin: args.margin, cost: args.cost },
        holdout_share: args.holdout_share,
        planned_variance: args
            .planned_base_rate
            .map(|p| p * (1.0 - p) * (1.0 / args.treated as f64 + 1.0 / args.holdout as f64)),
        reading: match args.look {
            Some((look, of)) => Reading::PlannedLook { look: look as usize, of: of as usize },
            None if args.interim => Reading::Interim,
            None => Reading::PlannedEnd,
        },
        attributed_buyers: args.attributed,
        reached_share: args.reached_share,
    };
    let measurement = measure(&experiment)?;
    let revenue =
        args.treated_revenue.zip(args.holdout_revenue).filter(|_| !measurement.sample_ratio.blocked).and_then(
            |(t, c)| {
                let arm = |persons, (mean, sd)| ArmMoments::from_summary(persons, mean, sd);
                welch(&arm(args.treated, t), &arm(args.holdout, c), ALPHA)
            },
        );
    let report = Report { measurement, revenue, currency: args.currency.code().to_owned() };
    if args.json { json(out, &report) } else { page(out, &experiment, &report) }
}

fn page(out: &mut dyn Write, experiment: &Experiment, report: &Report) -> anyhow::Result<()> {
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
        let revenue = Interval { estimate: r.diff, low: r.interval[0], high: r.interval[1] };
        line("revenue per person, measured directly", revenue, &amount)?;
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

fn sentence_case(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).chain(['.']).collect())
}

#[cfg(test)]
mod tests {
    use crate::cli::roi::tests::{fits, json, printed};

    const GOLDEN: &str = "measure --treated 90000 --treated-buyers 1980 --holdout 10000 --holdout-buyers 180";

    #[test]
    fn json_has_the_contracted_fields() {
        let j = json(&format!("{GOLDEN} --aov 60 --margin 0.4 --cost 9000 --holdout-share 10% --json"));
        for key in ["diff", "z", "p_value", "p_lift_positive"] {
            assert!(j[key].is_number(), "{key}");
        }
        assert!((j["always_valid"]["p_value"].as_f64().unwrap() - 0.086_680_567).abs() < 1e-8);
        assert!((j["newcombe"][0].as_f64().unwrap() - 0.001_049_921_8).abs() < 1e-9);
        for key in ["relative", "incremental_buyers", "iroas", "incremental_roi"] {
            for part in ["estimate", "low", "high"] {
                assert!(j[key][part].is_number(), "{key}.{part}");
            }
        }
        assert_eq!(j["sample_ratio"]["blocked"], false);
        assert!(j["verdict"].as_str().unwrap().starts_with("above zero"));
    }

    #[test]
    fn interim_readers_get_the_cautious_answer() {
        let j = json(&format!("{GOLDEN} --interim --json"));
        assert_eq!(j["verdict"], "not distinguishable from zero");
        assert_eq!(json(&format!("{GOLDEN} --look 2/5 --json"))["verdict"], "not distinguishable from zero");
        assert!(json(&format!("{GOLDEN} --look 5/5 --json"))["verdict"].as_str().unwrap().starts_with("above"));
    }

    #[test]
    fn broken_arms_show_no_effect() {
        let line = "measure --treated 89400 --treated-buyers 1980 --holdout 10600 --holdout-buyers 180 --holdout-share 0.1 --aov 60";
        let j = json(&format!("{line} --json"));
        assert_eq!(j["sample_ratio"]["blocked"], true);
        assert!(j["incremental_buyers"].is_null() && j["verdict"].as_str().unwrap().starts_with("blocked"));
        let page = printed(line).unwrap();
        fits(&page);
        assert!(!page.contains("best estimate"));
    }

    #[test]
    fn arms_without_buyers_have_no_relative_lift() {
        let j = json("measure --treated 900 --treated-buyers 5 --holdout 100 --holdout-buyers 0 --json");
        assert!(j["relative"].is_null());
        assert_eq!(j["verdict"], "not distinguishable from zero");
        let error = printed("measure --treated 9 --treated-buyers 10 --holdout 9 --holdout-buyers 1").unwrap_err();
        assert!(error.to_string().contains("hint:"));
    }

    #[test]
    fn page_fits_and_names_the_money() {
        let page = printed(&format!(
            "{GOLDEN} --aov 60 --margin 0.4 --cost 9000 --attributed 1500 --reached-share 0.54 --treated-revenue 1.42,17.75 \
             --holdout-revenue 0.65,11.6"
        ))
        .unwrap();
        fits(&page);
        for words in ["360", "25 EUR", "4.2 times", "Arm sizes were not checked"] {
            assert!(page.contains(words), "{words}");
        }
    }
}
