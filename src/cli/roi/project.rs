//! `reveil roi project`: options and observations to assumptions.

use std::io::Write;

use anyhow::bail;
use chrono::{DateTime, Utc};

use super::{
    counts, json, number,
    page::{page, union_page},
    pair,
};
use crate::cli::setup::{Global, engine, instant};
use crate::config::RoiConfig;
use crate::report::projection::Known;
use crate::roi::{
    Currency, Distribution, Field, Inputs, priors::Identifiers, project, project_union, update::bucket_label,
};

/// Most simulated campaigns: 10 million take about 700 MB.
const MAX_DRAWS: usize = 10_000_000;

/// Options of `roi project`. A value is a number, 5%, beta(a,b), lognormal(median,sigma) or mean(m,cv).
#[derive(Debug, clap::Args)]
#[command(after_help = "VALUE is a number, a share like 5%, beta(a,b), lognormal(median,sigma) or mean(m,cv).\n\
    What you leave out comes from the platform's priors; every assumption is listed with its source.")]
pub struct ProjectArgs {
    /// Inactive customers in the segment; with --audience, default those who may be sent
    #[arg(long, required_unless_present = "audience")]
    inactives: Option<u64>,
    /// Learn from this audience: its match rates, delivery figures, own orders and spontaneous return
    #[arg(long, value_name = "KEY")]
    audience: Option<String>,
    /// With --audience: as of this date or instant; default now
    #[arg(long, value_parser = instant, value_name = "DATE", requires = "audience")]
    as_of: Option<DateTime<Utc>>,
    /// Platform whose priors fill the gaps; several, comma-separated, are counted in union. Default the audience's
    /// platforms, else meta
    #[arg(long, value_delimiter = ',')]
    platform: Vec<String>,
    /// The list carries e-mail addresses only, no phones
    #[arg(long)]
    mail_only: bool,
    /// Currency of every amount; default that of the audience's events, else EUR
    #[arg(long)]
    currency: Option<Currency>,
    /// Share of persons the platform recognises
    #[arg(long = "match", value_name = "VALUE")]
    match_rate: Option<Distribution>,
    /// Share of those it can show ads to during the flight
    #[arg(long, value_name = "VALUE")]
    in_flight: Option<Distribution>,
    /// Media budget, shared equally by several platforms; without one, what the cap allows
    #[arg(long, value_name = "VALUE")]
    budget: Option<Distribution>,
    /// Price of 1,000 ad views
    #[arg(long, value_name = "VALUE")]
    cpm: Option<Distribution>,
    /// Clicks per ad view
    #[arg(long, value_name = "VALUE")]
    ctr: Option<Distribution>,
    /// Share of clicks that reach the shop
    #[arg(long, value_name = "VALUE")]
    landing: Option<Distribution>,
    /// Orders per visit
    #[arg(long, value_name = "VALUE")]
    cvr: Option<Distribution>,
    /// Average order value
    #[arg(long, value_name = "VALUE")]
    aov: Option<Distribution>,
    /// Gross margin as a share of revenue
    #[arg(long, value_name = "VALUE")]
    margin: Option<Distribution>,
    /// Cost besides media, shared equally by several platforms
    #[arg(long, value_name = "VALUE")]
    fixed: Option<Distribution>,
    /// Most ad views per person and flight, or `none`
    #[arg(long, value_name = "VALUE", value_parser = number_or_none)]
    cap: Option<Distribution>,
    /// Shape of the reach curve, or `inf` for views spread at random
    #[arg(long, value_name = "VALUE", value_parser = number_or_none)]
    shape: Option<Distribution>,
    /// Share of the segment that returns in the window without any ads
    #[arg(long, value_name = "VALUE")]
    p0: Option<Distribution>,
    /// Relative rise of that share among persons reached
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    lift: Option<Distribution>,
    /// Seed of the simulation: the same seed gives the same bytes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Simulated campaigns
    #[arg(long, default_value_t = Inputs::DEFAULT_DRAWS)]
    draws: usize,
    /// Baskets hoped for; without it, 1.5 % of the inactives
    #[arg(long, value_parser = number)]
    target: Option<f64>,
    /// Observed: persons matched of those sent, same audience
    #[arg(long, value_name = "MATCHED/SENT", value_parser = counts)]
    matched: Option<(u64, u64)>,
    /// Observed: an earlier list on this platform; repeatable
    #[arg(long, value_name = "MATCHED/SENT", value_parser = counts)]
    past_list: Vec<(u64, u64)>,
    /// Observed: the platform's label, such as 41-50 or <20
    #[arg(long, value_name = "LABEL")]
    match_bucket: Option<String>,
    /// Observed: bounds of the match share
    #[arg(long, value_name = "LOW,HIGH", value_parser = pair)]
    match_bounds: Option<(f64, f64)>,
    /// Observed: clicks of ad views in an earlier flight
    #[arg(long, value_name = "CLICKS/VIEWS", value_parser = counts)]
    clicks: Option<(u64, u64)>,
    /// Observed: orders of visits in an earlier flight
    #[arg(long, value_name = "ORDERS/VISITS", value_parser = counts)]
    orders: Option<(u64, u64)>,
    /// Observed: price of 1,000 ad views paid in an earlier flight; repeatable
    #[arg(long, value_name = "AMOUNT", value_parser = number)]
    paid_cpm: Vec<f64>,
    /// Observed: ad views per reachable person, and the share of them reached
    #[arg(long, value_name = "VIEWS,SHARE", value_parser = pair)]
    reached: Option<(f64, f64)>,
    /// Observed: the segment rebuilt at an earlier date, and how many bought in the window after; repeatable
    #[arg(long, value_name = "BUYERS/INACTIVES", value_parser = counts)]
    backtest: Vec<(u64, u64)>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn number_or_none(text: &str) -> Result<Distribution, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "none" | "inf" => Ok(Distribution::Point(f64::INFINITY)),
        other => other.parse().map_err(|e: crate::roi::distribution::ParseError| e.to_string()),
    }
}

/// # Errors
/// Options out of range, or what the state and the warehouse of an audience say.
pub async fn run(global: &Global, args: &ProjectArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    if args.draws == 0 || args.draws > MAX_DRAWS {
        bail!("--draws {} is out of range\nhint: from 1 to {MAX_DRAWS}", args.draws);
    }
    let learned = match &args.audience {
        Some(audience) => {
            let engine = engine(global).await?;
            let as_of = args.as_of.unwrap_or_else(|| engine.clock.now());
            let known = Known::gather(&engine, audience, as_of).await?;
            Some((engine.config.roi, known))
        }
        None => None,
    };
    let platforms = args.platforms(learned.as_ref().map(|(_, known)| known));
    let inputs = platforms
        .iter()
        .map(|slug| args.inputs(slug, platforms.len(), learned.as_ref()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    if let [one] = inputs.as_slice() {
        let projection = project(one);
        return if args.json { json(out, &projection) } else { page(out, &projection) };
    }
    let Some(union) = project_union(&inputs) else { bail!("no platform\nhint: give --platform meta") };
    if args.json { json(out, &union) } else { union_page(out, &union) }
}

impl ProjectArgs {
    fn platforms(&self, known: Option<&Known>) -> Vec<String> {
        if !self.platform.is_empty() {
            return self.platform.clone();
        }
        let mut platforms: Vec<String> = Vec::new();
        for (_, connector) in known.into_iter().flat_map(|known| &known.destinations) {
            if !platforms.contains(connector) {
                platforms.push(connector.clone());
            }
        }
        if platforms.is_empty() { vec!["meta".to_owned()] } else { platforms }
    }

    fn inputs(&self, slug: &str, platforms: usize, learned: Option<&(RoiConfig, Known)>) -> anyhow::Result<Inputs> {
        let identifiers = if self.mail_only { Identifiers::MailOnly } else { Identifiers::Several };
        let people = self.inactives.or(learned.map(|(_, known)| known.people)).unwrap_or(0);
        let mut inputs = Inputs::with_identifiers(slug.trim(), people, identifiers)?;
        inputs.currency = self.currency.or(learned.and_then(|(_, known)| known.currency)).unwrap_or(Currency::EUR);
        inputs.seed = self.seed;
        inputs.draws = self.draws;
        inputs.target = self.target;
        if let Some((priors, known)) = learned {
            priors.apply(&mut inputs)?;
            known.apply(&mut inputs)?;
            if known.before_rules && self.inactives.is_none() {
                inputs.warnings.push(format!(
                    "The {people} inactives were counted before consent and the other rules, because {} was never \
                     synced: fewer may be sent.",
                    known.audience
                ));
            }
        }
        let shares = platforms as f64;
        for (field, value) in [
            (Field::Match, self.match_rate),
            (Field::InFlight, self.in_flight),
            (Field::Budget, self.budget.map(|b| divided(b, shares))),
            (Field::Cpm, self.cpm),
            (Field::Cap, self.cap),
            (Field::Shape, self.shape),
            (Field::Ctr, self.ctr),
            (Field::Landing, self.landing),
            (Field::Cvr, self.cvr),
            (Field::Aov, self.aov),
            (Field::Margin, self.margin),
            (Field::Fixed, self.fixed.map(|f| divided(f, shares))),
            (Field::P0, self.p0),
            (Field::Lift, self.lift),
        ] {
            if let Some(value) = value {
                inputs.set(field, value, format!("given: --{}", field.name().replace('_', "-")))?;
            }
        }
        if !self.past_list.is_empty() {
            inputs.observe_match_past_lists(&self.past_list)?;
        }
        if let Some((matched, sent)) = self.matched {
            inputs.observe_match_exact(matched, sent)?;
        }
        if let Some(label) = &self.match_bucket {
            let (low, high) = bucket_label(label)?;
            inputs.observe_match_interval(low, high)?;
        }
        if let Some((low, high)) = self.match_bounds {
            inputs.observe_match_interval(low, high)?;
        }
        if let Some((clicks, views)) = self.clicks {
            inputs.observe_clicks(clicks, views)?;
        }
        if let Some((orders, visits)) = self.orders {
            inputs.observe_orders(orders, visits)?;
        }
        if !self.paid_cpm.is_empty() {
            inputs.observe_cpms(&self.paid_cpm)?;
        }
        if let Some((views, share)) = self.reached {
            inputs.observe_reach(views, share)?;
        }
        if !self.backtest.is_empty() {
            inputs.observe_p0(&self.backtest)?;
        }
        Ok(inputs)
    }
}

/// An amount shared by several platforms.
fn divided(amount: Distribution, parts: f64) -> Distribution {
    match amount {
        Distribution::Point(value) => Distribution::Point(value / parts),
        Distribution::LogNormal { median, sigma } => Distribution::LogNormal { median: median / parts, sigma },
        Distribution::MeanCv { mean, cv } => Distribution::MeanCv { mean: mean / parts, cv },
        // Not an amount; `Inputs::set` judges it as it is.
        beta => beta,
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
