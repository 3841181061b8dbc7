//! `reveil roi plan-holdout`: whether a test can answer, before it is run.

use std::io::Write;

use super::{json, text};
use crate::roi::{
    plan::{HoldoutJudgement, HoldoutPlan},
    request::PlanHoldoutRequest,
};

/// Options of `roi plan-holdout`. Shares are written 0.1 or 10%.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    #[command(flatten)]
    request: PlanHoldoutRequest,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &PlanArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let judged = args.request.answer()?;
    if args.json { json(out, &judged) } else { page(out, &args.request.plan()?, &judged) }
}

fn page(out: &mut dyn Write, plan: &HoldoutPlan, judged: &HoldoutJudgement) -> anyhow::Result<()> {
    writeln!(out, "{}", if judged.answers { "This test can answer." } else { "This test cannot answer." })?;
    writeln!(out)?;
    text::paragraph(out, &judged.sentence)?;
    writeln!(out)?;
    let mut line = |label: &str, value: String| writeln!(out, "  {label:<52}{value}");
    line("smallest rise it sees, relative", text::percent(judged.mde_relative))?;
    line("the same in buyers per 10,000 persons", text::plain(10_000.0 * judged.mde_absolute))?;
    line("rise expected over the whole list", text::percent(judged.expected_relative))?;
    line("chance to see it", text::percent(judged.expected_power))?;
    line(
        "persons to hold out so that it is seen",
        judged.required_holdout.map_or("not even half the list suffices".to_owned(), |n| text::count(n as f64)),
    )?;
    line(
        "false alarms accepted / wanted chance",
        format!("{} / {}", text::percent(plan.alpha), text::percent(plan.power)),
    )?;
    let Some(looks) = &judged.looks else { return Ok(()) };
    line(
        &format!("false alarms in {} looks, each read by itself", looks.looks),
        text::percent(looks.false_alarms_plain),
    )?;
    line("the same, with always-valid intervals", text::percent(looks.false_alarms_always_valid))?;
    line("the same, with boundaries planned beforehand", text::percent(looks.false_alarms_planned))?;
    let boundaries: Vec<String> = looks.boundaries_z.iter().map(|z| format!("{z:.3}")).collect();
    writeln!(out)?;
    text::paragraph(out, &format!("Those boundaries, |z| at each look (O'Brien-Fleming): {}.", boundaries.join(", ")))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::cli::roi::tests::{fits, json, printed};

    #[test]
    fn json_answers_and_percent_signs_work() {
        let j = json("plan-holdout --population 100000 --holdout 10% --base-rate 0.02 --alpha 0.05 --power 0.8 --json");
        assert!((j["mde_absolute"].as_f64().unwrap() - 0.004_134_382_2).abs() < 1e-9);
        assert!((j["mde_relative"].as_f64().unwrap() - 0.206_719_11).abs() < 1e-7);
        assert!(j["required_holdout"].is_null());
        assert!(j["sentence"].as_str().unwrap().contains("cannot answer"));
        let big = json(
            "plan-holdout --population 10000000 --holdout 0.1 --base-rate 2% --lift 20% --match 0.7 --in-flight 0.9 --json",
        );
        assert!(big["required_holdout"].as_u64().unwrap() > 1000);
        assert!(big["sentence"].as_str().unwrap().contains("can answer"));
    }

    #[test]
    fn page_fits() {
        let page = printed("plan-holdout --population 100000 --holdout 10% --base-rate 2%").unwrap();
        fits(&page);
        assert!(page.contains("pool refreshes"));
        let looks = printed("plan-holdout --population 100000 --holdout 10% --base-rate 2% --looks 5").unwrap();
        fits(&looks);
        assert!(looks.contains("4.877, 3.357, 2.680, 2.290, 2.031") && looks.contains("14 %"), "{looks}");
        assert!(
            printed("plan-holdout --population 100000 --holdout 0 --base-rate 2%")
                .unwrap_err()
                .to_string()
                .contains("hint:")
        );
    }
}
