//! `reveil roi measure`: what the ads caused, from counts or from the warehouse.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use chrono::{DateTime, Days, Utc};
use clap::builder::ArgPredicate;
use serde::{Deserialize, Serialize};

use super::{counts, json, number, pair, text};
use crate::cli::setup::{Global, engine, instant};
use crate::report::lift::{ArmOutcome, Outcome, Question, of_audience};
use crate::report::projection::{currency_of, spent};
use crate::roi::{
    Currency,
    measure::{
        ALPHA, Experiment, Interval, Measurement, Money, Reading, Verdict, measure,
        proportions::Arms,
        revenue::{ArmMoments, Revenue, RevenueTest, percentile, welch},
    },
};

/// Percentile of earlier revenue above which amounts are cut.
const WINSORISE_AT: f64 = 0.995;

/// Options of `roi measure`. Count everyone assigned to an arm, whether matched or not.
#[derive(Debug, clap::Args)]
pub struct MeasureArgs {
    /// Count in the warehouse: everybody this audience's syncs sent or withheld, and what they bought since
    #[arg(long, value_name = "KEY", conflicts_with_all = ["treated", "treated_buyers", "holdout", "holdout_buyers",
        "holdout_share", "treated_revenue", "holdout_revenue", "persons"])]
    audience: Option<String>,
    /// With --audience: days counted from each customer's first assignment
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=730))]
    window_days: u32,
    /// With --audience: as of this date or instant; default now
    #[arg(long, value_parser = instant, value_name = "DATE")]
    as_of: Option<DateTime<Utc>>,
    /// Persons uploaded; everybody assigned, whether matched or not
    #[arg(
        long,
        required = false,
        required_unless_present = "audience",
        default_value_if("audience", ArgPredicate::IsPresent, "0")
    )]
    treated: u64,
    /// Distinct buyers among them
    #[arg(
        long,
        required = false,
        required_unless_present = "audience",
        default_value_if("audience", ArgPredicate::IsPresent, "0")
    )]
    treated_buyers: u64,
    /// Persons held out
    #[arg(
        long,
        required = false,
        required_unless_present = "audience",
        default_value_if("audience", ArgPredicate::IsPresent, "0")
    )]
    holdout: u64,
    /// Distinct buyers among them
    #[arg(
        long,
        required = false,
        required_unless_present = "audience",
        default_value_if("audience", ArgPredicate::IsPresent, "0")
    )]
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
    /// Currency of every amount; default that of the warehouse's events, else EUR
    #[arg(long)]
    currency: Option<Currency>,
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
    /// CSV of every person assigned, zeros included: columns arm (treated or holdout), revenue, and optionally before
    /// (revenue before the test), which gives the cap for whales and takes out what the past explains
    #[arg(long, value_name = "FILE", conflicts_with = "treated_revenue")]
    persons: Option<PathBuf>,
    /// Cut each person's revenue at this amount in the second line; without it, the 99.5th percentile of `before`
    #[arg(long, value_name = "AMOUNT", value_parser = number)]
    winsorise_at: Option<f64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    measurement: Measurement,
    revenue: Option<Revenue>,
    currency: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    assignment: Option<Assignment>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// Who was assigned, and what was taken from the warehouse.
#[derive(Debug, Serialize)]
struct Assignment {
    audience: String,
    #[serde(flatten)]
    outcome: Outcome,
    /// Average order value used for the money, given or of these orders.
    aov: Option<f64>,
    /// Cost used, given or from the imported deliveries.
    cost: Option<f64>,
}

/// # Errors
/// Impossible counts, an audience that nobody was withheld from yet, or the warehouse's errors.
pub async fn run(global: &Global, args: &MeasureArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    match &args.audience {
        Some(audience) => from_warehouse(global, args, audience, out).await,
        None => from_counts(args, out),
    }
}

fn from_counts(args: &MeasureArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    if args.winsorise_at.is_some() && args.persons.is_none() {
        bail!("--winsorise-at needs persons to cut\nhint: give --persons or --audience");
    }
    let arms = Arms {
        treated: args.treated,
        treated_buyers: args.treated_buyers,
        holdout: args.holdout,
        holdout_buyers: args.holdout_buyers,
    };
    let reading = if args.interim { Reading::Interim } else { Reading::PlannedEnd };
    let experiment = args.experiment(arms, args.aov, args.holdout_share, reading);
    let measurement = measure(&experiment)?;
    let revenue = if measurement.sample_ratio.blocked { None } else { args.revenue()? };
    let currency = args.currency.unwrap_or(Currency::EUR).code().to_owned();
    let report = Report { measurement, revenue, currency, assignment: None, warnings: Vec::new() };
    if args.json { json(out, &report) } else { page(out, &experiment, &report) }
}

async fn from_warehouse(
    global: &Global,
    args: &MeasureArgs,
    audience: &str,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let engine = engine(global).await?;
    let question = Question {
        as_of: args.as_of.unwrap_or_else(|| engine.clock.now()),
        window_days: args.window_days,
        cap_minor: args.winsorise_at.map(|cap| cap * 100.0),
    };
    let Some(outcome) = of_audience(&engine, audience, question).await? else {
        bail!(
            "nobody of audience `{audience}` was assigned yet\n\
             hint: `reveil sync {audience}` records who was sent and who was withheld; measure some weeks after it"
        );
    };
    let aov = args.aov.or_else(|| outcome.aov());
    // While windows run, every look is one of many.
    let early = args.interim || outcome.windows_open > 0;
    let reading = if early { Reading::Interim } else { Reading::PlannedEnd };
    let share = Some(outcome.planned_holdout_share).filter(|share| *share > 0.0 && *share < 1.0);
    let currency = args.currency.or_else(|| currency_of(&engine.config.warehouse)).unwrap_or(Currency::EUR);
    let mut experiment = args.experiment(outcome.arms(), aov, share, reading);
    let mut warnings = warnings(&outcome);
    let until = (outcome.last_assigned + Days::new(args.window_days.into())).min(question.as_of.date_naive());
    let flights = engine.store.deliveries().await?;
    let (cost, claimed, foreign) = spent(&flights, audience, outcome.first_assigned, until, currency);
    experiment.money.cost = args.cost.or(cost);
    experiment.attributed_buyers = args.attributed.or(claimed);
    if args.cost.is_none() && foreign > 0 {
        warnings.push(format!("{foreign} flight(s) paid in another currency are not in the cost: give --cost."));
    }
    let measurement = measure(&experiment)?;
    let revenue = outcome.revenue.filter(|_| !measurement.sample_ratio.blocked);
    let assignment = Some(Assignment { audience: audience.to_owned(), outcome, aov, cost: experiment.money.cost });
    let report = Report { measurement, revenue, currency: currency.code().to_owned(), assignment, warnings };
    if args.json { json(out, &report) } else { page(out, &experiment, &report) }
}

fn warnings(outcome: &Outcome) -> Vec<String> {
    let mut warnings = Vec::new();
    if outcome.windows_open > 0 {
        warnings.push(format!(
            "The window of {} customers has not ended: they count with what they did so far, and the always-valid \
             interval decides.",
            text::count(outcome.windows_open as f64)
        ));
    }
    if outcome.share_changed {
        warnings.push(
            "The share withheld was changed while the experiment ran, so the arms mix early and late customers \
             differently. Name a new experiment when you change it."
                .to_owned(),
        );
    }
    warnings
}

/// One line of the file of persons.
#[derive(Debug, Deserialize)]
struct Person {
    arm: Arm,
    revenue: f64,
    before: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Arm {
    Treated,
    Holdout,
}

impl MeasureArgs {
    fn experiment(&self, arms: Arms, aov: Option<f64>, holdout_share: Option<f64>, reading: Reading) -> Experiment {
        Experiment {
            arms,
            money: Money { aov, margin: self.margin, cost: self.cost },
            holdout_share,
            planned_variance: self
                .planned_base_rate
                .map(|p| p * (1.0 - p) * (1.0 / arms.treated as f64 + 1.0 / arms.holdout as f64)),
            reading: match self.look {
                Some((look, of)) => Reading::PlannedLook { look: look as usize, of: of as usize },
                None => reading,
            },
            attributed_buyers: self.attributed,
            reached_share: self.reached_share,
        }
    }

    fn revenue(&self) -> anyhow::Result<Option<Revenue>> {
        if let Some(path) = &self.persons {
            return self.revenue_of_persons(path);
        }
        let arm = |persons, (mean, sd)| ArmMoments::from_summary(persons, mean, sd);
        Ok(self
            .treated_revenue
            .zip(self.holdout_revenue)
            .and_then(|(t, c)| welch(&arm(self.treated, t), &arm(self.holdout, c), ALPHA))
            .map(|plain| Revenue { plain, winsorised: None, cuped: None }))
    }

    fn revenue_of_persons(&self, path: &Path) -> anyhow::Result<Option<Revenue>> {
        let shown = path.display();
        let mut rows = csv::Reader::from_path(path).with_context(|| format!("cannot open {shown}"))?;
        let persons = rows
            .deserialize()
            .enumerate()
            .map(|(i, row)| {
                // The reader's own message quotes the row, which may hold more than these columns.
                row.map_err(|_| {
                    anyhow::anyhow!(
                        "row {} of {shown} cannot be read\nhint: columns are arm (treated or holdout), revenue and, \
                         optionally, before; amounts are plain numbers",
                        i + 1
                    )
                })
            })
            .collect::<anyhow::Result<Vec<Person>>>()?;
        if let Some(i) = persons.iter().position(|p| !p.revenue.is_finite() || p.before.is_some_and(|b| !b.is_finite()))
        {
            bail!("row {} of {shown} has an amount that is not a number\nhint: write 0 for no revenue", i + 1);
        }
        let count = |arm| persons.iter().filter(|p| p.arm == arm).count() as u64;
        let (treated, holdout) = (count(Arm::Treated), count(Arm::Holdout));
        if (treated, holdout) != (self.treated, self.holdout) {
            bail!(
                "{shown} has {treated} treated and {holdout} held-out persons, the options say {} and {}\n\
                 hint: list every person assigned, those who spent nothing too",
                self.treated,
                self.holdout
            );
        }
        let before: Vec<f64> = persons.iter().filter_map(|p| p.before).collect();
        let cap = self.winsorise_at.or_else(|| percentile(&before, WINSORISE_AT).filter(|c| *c > 0.0));
        let mut test = RevenueTest::new(cap);
        for p in &persons {
            test.add(p.arm == Arm::Treated, p.revenue, p.before.unwrap_or(0.0));
        }
        Ok(test.result(ALPHA))
    }
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
            "Everybody audience {} was assigned from {} to {}, {} days each: {} orders worth {} per person uploaded, {} \
             orders worth {} per person held out, net of cancellations. Planned to be held out: {}.",
            assignment.audience,
            o.first_assigned,
            o.last_assigned,
            o.window_days,
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
    fn persons_give_three_revenue_lines() {
        use std::io::Write;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "arm,revenue,before").unwrap();
        for i in 0..400 {
            let arm = if i % 4 == 0 { "holdout" } else { "treated" };
            let revenue = if i % 10 == 1 { 50 + i % 7 } else { 0 };
            writeln!(file, "{arm},{revenue},{}", i % 13).unwrap();
        }
        writeln!(file, "treated,90000,3").unwrap();
        let path = file.path().display().to_string();
        let line = |treated| {
            format!(
                "measure --treated {treated} --treated-buyers 21 --holdout 100 --holdout-buyers 20 --persons {path}"
            )
        };
        let j = json(&format!("{} --json", line(301)));
        let number = |part: &str| j.pointer(part).and_then(serde_json::Value::as_f64).unwrap();
        assert!(number("/revenue/plain/diff") > 200.0);
        assert!(number("/revenue/winsorised/diff") < 10.0);
        assert!(number("/revenue/cuped/variance_ratio") > 0.5);
        fits(&printed(&line(301)).unwrap());
        assert!(printed(&line(300)).unwrap_err().to_string().contains("hint:"));
        writeln!(file, "neither,x,1").unwrap();
        let error = format!("{:#}", printed(&line(301)).unwrap_err());
        assert!(error.contains("row 402") && !error.contains("neither"), "{error}");
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
