//! `reveil roi project`.

use std::io::Write;

use super::{
    json,
    page::{page, union_page},
};
use crate::cli::setup::{Global, engine};
use crate::report::campaign;
use crate::roi::request::{ProjectAnswer, ProjectRequest};

/// Options of `roi project`.
#[derive(Debug, clap::Args)]
#[command(after_help = "VALUE is a number, a share like 5%, beta(a,b), lognormal(median,sigma) or mean(m,cv).\n\
    What you leave out comes from the platform's priors; every assumption is listed with its source.")]
pub struct ProjectArgs {
    #[command(flatten)]
    request: ProjectRequest,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// # Errors
/// Options out of range, or what the state and the warehouse of an audience say.
pub async fn run(global: &Global, args: &ProjectArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let engine = match &args.request.audience {
        Some(_) => Some(engine(global).await?),
        None => None,
    };
    let answer = campaign::project(engine.as_ref(), &args.request).await?;
    if args.json {
        return json(out, &answer);
    }
    match &answer {
        ProjectAnswer::One(projection) => page(out, projection),
        ProjectAnswer::Several(union) => union_page(out, union),
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::roi::tests::{fits, json, printed};

    #[test]
    fn json_has_the_contracted_fields_and_golden_values() {
        let j = json(
            "project --inactives 100000 --match 0.5 --in-flight 1 --budget 15000 --cpm 10 --ctr 0.02 --landing 1 \
             --cvr 0.05 --aov 60 --margin 0.4 --fixed 0 --shape 1.2 --draws 2000 --json",
        );
        for (key, want) in [
            ("matched", 50_000.0),
            ("impressions", 1_500_000.0),
            ("reach", 48_997.69),
            ("baskets", 1500.0),
            ("roi", 1.4),
            ("roas", 6.0),
            ("cpa", 10.0),
            ("breakeven_cvr", 0.020_833_333),
            ("breakeven_cpm", 24.0),
            ("breakeven_aov", 25.0),
        ] {
            let got = j["point"][key].as_f64().unwrap();
            assert!((got - want).abs() <= 1e-6 * want, "{key}: {got}");
        }
        for metric in ["baskets", "roi", "incremental_buyers"] {
            for q in ["mean", "p05", "p25", "p50", "p75", "p95"] {
                assert!(j["simulation"][metric][q].is_number(), "{metric} {q}");
            }
        }
        for p in ["p_roi_positive", "p_incremental_roi_positive", "p_baskets_at_target"] {
            assert!(j["simulation"][p].is_number(), "{p}");
        }
        for key in ["value_per_reach", "impressions_per_person", "budget", "incremental_buyers", "profit"] {
            assert!(j["optimum"][key].is_number(), "{key}");
        }
        let assumptions = j["assumptions"].as_array().unwrap();
        assert_eq!(assumptions.len(), 14);
        assert!(
            assumptions.iter().all(|a| a["name"].is_string() && a["source"].as_str().is_some_and(|s| !s.is_empty()))
        );
    }

    #[test]
    fn page_fits_and_shows_both_columns() {
        let page = printed("project --inactives 100000 --budget 9000 --fixed 500 --draws 5000").unwrap();
        fits(&page);
        for words in ["1,500", "usually said", "Who returns anyway", "Best pressure", "lognormal", "house guess"] {
            let shown = page.contains(words);
            assert_eq!(shown, !matches!(words, "lognormal" | "house guess"), "{words}");
        }
    }

    #[test]
    fn every_platform_has_a_page_that_fits() {
        for slug in crate::roi::priors::PLATFORMS.iter().map(|p| p.slug) {
            fits(
                &printed(&format!("project --inactives 2500000 --platform {slug} --draws 500 --currency USD")).unwrap(),
            );
        }
        fits(&printed("project --inactives 100000 --platform meta,google,tiktok --budget 9000 --draws 500").unwrap());
    }

    #[test]
    fn observations_reach_the_assumptions() {
        let j = json(
            "project --inactives 100000 --platform google --match-bucket <20 --clicks 5431/412000 --orders 96/4100 \
             --backtest 630/17515 --paid-cpm 5 --reached 8,0.72 --draws 500 --json",
        );
        let named =
            |name: &str| j["assumptions"].as_array().unwrap().iter().find(|a| a["name"] == name).unwrap().clone();
        assert_eq!(named("match")["value"], "beta(10.4,9.6,0,0.195)");
        assert!(named("p0")["source"].as_str().unwrap().contains("630 of 17515"));
        assert!((named("shape")["central"].as_f64().unwrap() - 0.42674215).abs() < 1e-6);
        assert!(j["warnings"][0].as_str().unwrap().contains("normalisation"));
    }

    #[test]
    fn wrong_input_says_what_to_write() {
        for line in [
            "project --inactives 1000 --match 1.5",
            "project --inactives 1000 --platform myspace",
            "project --inactives 1000 --cpm nope",
            "project --inactives 1000 --matched 5/3",
            "project --inactives 1000 --draws 0",
        ] {
            assert!(printed(line).unwrap_err().to_string().contains("hint:"), "{line}");
        }
    }
}
