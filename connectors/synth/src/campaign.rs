//! A simulated campaign whose true effect is known, so that measured lift can be held against it.
//!
//! Who is exposed, who clicks and who buys is drawn here; who was matched and who was held out is the caller's. The
//! platform's own claim (`attributed`) over-claims on purpose: it takes credit for purchases that would have come anyway.

use crate::draw::{Draws, field};

/// Most exposures one person can be given: each has its own draw numbers.
const EXPOSURE_LIMIT: u32 = 1_000;

const DAY_SECS: f64 = 86_400.0;
/// The windows platforms commonly claim by: a click within a week, a view within a day.
const CLICK_WINDOW_SECS: f64 = 7.0 * DAY_SECS;
const VIEW_WINDOW_SECS: f64 = DAY_SECS;

/// How a campaign runs and what it truly does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CampaignParameters {
    /// Seed of every draw; two campaigns on the same persons need two seeds.
    pub seed: u64,
    /// Probability that a reachable member sees the campaign at all, 0 to 1.
    pub in_flight_ratio: f64,
    /// Mean exposures of a member in flight: impressions divided by reachable members.
    pub mean_exposures: f64,
    /// Shape k of their negative binomial distribution: the smaller, the more uneven.
    pub exposure_shape: f64,
    /// Frequency cap, at most 1,000.
    pub max_exposures: u32,
    /// Probability of a click per exposure, 0 to 1.
    pub click_ratio: f64,
    /// The truth to be found (lambda): relative lift of the purchase probability of a member with many exposures. 0 makes
    /// an A/A test.
    pub lift_ratio: f64,
    /// Days over which exposures are spread; at most `window_days`.
    pub flight_days: u32,
    /// Days over which purchases are counted, from the first day of the flight.
    pub window_days: u32,
}

impl Default for CampaignParameters {
    /// Seed 0, nine in ten in flight, five exposures on average (k = 1.2) capped at 60, 1 % clicks, no effect, 14 days in
    /// flight, 60 days counted.
    fn default() -> Self {
        Self {
            seed: 0,
            in_flight_ratio: 0.9,
            mean_exposures: 5.0,
            exposure_shape: 1.2,
            max_exposures: 60,
            click_ratio: 0.01,
            lift_ratio: 0.0,
            flight_days: 14,
            window_days: 60,
        }
    }
}

/// A parameter outside its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("campaign parameter `{parameter}` must be {expected}")]
pub struct ParameterError {
    /// Name of the field.
    pub parameter: &'static str,
    /// Its range.
    pub expected: &'static str,
}

impl CampaignParameters {
    fn check(&self) -> Result<(), ParameterError> {
        let ratio = |value: f64| (0.0..=1.0).contains(&value);
        let checks = [
            ("in_flight_ratio", ratio(self.in_flight_ratio), "between 0 and 1"),
            ("mean_exposures", self.mean_exposures.is_finite() && self.mean_exposures >= 0.0, "0 or more"),
            ("exposure_shape", self.exposure_shape.is_finite() && self.exposure_shape > 0.0, "above 0"),
            ("max_exposures", self.max_exposures <= EXPOSURE_LIMIT, "at most 1000"),
            ("click_ratio", ratio(self.click_ratio), "between 0 and 1"),
            ("lift_ratio", self.lift_ratio.is_finite() && self.lift_ratio >= -1.0, "-1 or more"),
            ("window_days", self.window_days > 0, "at least 1"),
            ("flight_days", self.flight_days <= self.window_days, "at most window_days"),
        ];
        match checks.into_iter().find(|(_, sound, _)| !sound) {
            Some((parameter, _, expected)) => Err(ParameterError { parameter, expected }),
            None => Ok(()),
        }
    }
}

/// One person of the experiment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CampaignMember {
    /// Index of the person.
    pub person: u64,
    /// Whether the platform can show them the campaign: matched, eligible and not held out.
    pub reachable: bool,
    /// Probability that they buy within the window without any campaign; taken into 0 to 1.
    pub baseline_probability: f64,
}

/// What happened to one person. Times are seconds since the first moment of the flight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CampaignOutcome {
    /// Index of the person.
    pub person: u64,
    /// Times the campaign was shown to them.
    pub exposures: u32,
    /// How often they clicked.
    pub clicks: u32,
    /// When they bought, if they did.
    pub purchased_after_secs: Option<u64>,
    /// The truth nobody can observe: whether they would have bought without the campaign.
    pub would_have_purchased: bool,
    /// The probability behind `purchased_after_secs`, lift included. Its mean over the treated minus that of the baselines
    /// is the true intent-to-treat effect.
    pub purchase_probability: f64,
    /// Whether the platform claims the purchase: a click in the 7 days or an exposure in the day before it.
    pub attributed: bool,
}

/// Runs a campaign over its members, in their order. The outcome of a member depends on nobody else.
///
/// Purchase probability is `baseline × (1 + lift × (1 − exp(−exposures / 3)))`, at most 1. A purchase that would have come
/// anyway falls anywhere in the window; one that the campaign brings falls after the first exposure.
///
/// # Errors
/// When a parameter is out of range, naming it.
pub fn simulate_campaign<I: IntoIterator<Item = CampaignMember>>(
    members: I,
    parameters: CampaignParameters,
) -> Result<impl Iterator<Item = CampaignOutcome> + use<I>, ParameterError> {
    parameters.check()?;
    Ok(members.into_iter().map(move |member| outcome(member, &parameters)))
}

fn outcome(member: CampaignMember, parameters: &CampaignParameters) -> CampaignOutcome {
    let draws = Draws::new(parameters.seed, member.person);
    let in_flight = member.reachable && draws.chance(field::IN_FLIGHT, parameters.in_flight_ratio);
    let exposures = if in_flight { exposures(draws.unit(field::EXPOSURES), parameters) } else { 0 };
    let flight_secs = f64::from(parameters.flight_days) * DAY_SECS;
    let window_secs = f64::from(parameters.window_days) * DAY_SECS;
    let exposed_at = |n: u32| draws.unit(field::EXPOSURE_SECOND + u64::from(n)) * flight_secs;
    let clicked = |n: u32| draws.chance(field::EXPOSURE_CLICK + u64::from(n), parameters.click_ratio);

    let baseline = member.baseline_probability.clamp(0.0, 1.0);
    let saturation = 1.0 - (-f64::from(exposures) / 3.0).exp();
    let purchase_probability = (baseline * (1.0 + parameters.lift_ratio * saturation)).min(1.0);
    // One draw decides both worlds, so that the difference between them is the campaign alone.
    let u = draws.unit(field::PURCHASE);
    let would_have_purchased = u < baseline;
    let earliest = if would_have_purchased { 0.0 } else { (0..exposures).map(exposed_at).fold(flight_secs, f64::min) };
    let purchased_at =
        (u < purchase_probability).then(|| earliest + draws.unit(field::PURCHASE_SECOND) * (window_secs - earliest));
    let attributed = purchased_at.is_some_and(|bought_at| {
        (0..exposures).any(|n| {
            let window = if clicked(n) { CLICK_WINDOW_SECS } else { VIEW_WINDOW_SECS };
            (0.0..=window).contains(&(bought_at - exposed_at(n)))
        })
    });
    CampaignOutcome {
        person: member.person,
        exposures,
        clicks: (0..exposures).filter(|&n| clicked(n)).count() as u32,
        purchased_after_secs: purchased_at.map(|secs| secs as u64),
        would_have_purchased,
        purchase_probability,
        attributed,
    }
}

/// The negative binomial count at quantile `u`, capped.
fn exposures(u: f64, parameters: &CampaignParameters) -> u32 {
    let (mean, shape) = (parameters.mean_exposures, parameters.exposure_shape);
    let mut mass = (shape / (shape + mean)).powf(shape);
    let mut cumulative = mass;
    let mut count = 0;
    while u >= cumulative && count < parameters.max_exposures {
        mass *= (f64::from(count) + shape) / f64::from(count + 1) * (mean / (shape + mean));
        cumulative += mass;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One in five held out; baselines differ between persons.
    fn members(count: u64) -> impl Iterator<Item = CampaignMember> {
        (0..count).map(|person| CampaignMember {
            person,
            reachable: person % 5 != 0,
            baseline_probability: 0.04 + 0.02 * (person % 7) as f64,
        })
    }

    fn run(count: u64, parameters: CampaignParameters) -> Vec<CampaignOutcome> {
        simulate_campaign(members(count), parameters).expect("sound parameters").collect()
    }

    #[test]
    fn exposures_follow_the_negative_binomial() {
        let parameters = CampaignParameters { in_flight_ratio: 1.0, max_exposures: 1_000, ..Default::default() };
        let treated = run(100_000, parameters).into_iter().filter(|o| o.person % 5 != 0);
        let counts = treated.map(|o| f64::from(o.exposures)).collect::<Vec<_>>();
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / counts.len() as f64;
        assert!((mean - 5.0).abs() < 0.06, "mean {mean}");
        // Variance of a negative binomial: mean + mean² / shape.
        assert!((variance / (5.0 + 25.0 / 1.2) - 1.0).abs() < 0.04, "variance {variance}");
    }

    #[test]
    fn holdout_sees_nothing_and_the_cap_holds() {
        let parameters = CampaignParameters { max_exposures: 4, click_ratio: 0.5, ..Default::default() };
        for outcome in run(5_000, parameters) {
            assert!(outcome.exposures <= 4 && outcome.clicks <= outcome.exposures);
            if outcome.person % 5 == 0 {
                assert_eq!((outcome.exposures, outcome.attributed), (0, false));
                assert_eq!(outcome.purchased_after_secs.is_some(), outcome.would_have_purchased);
            }
        }
    }

    #[test]
    fn without_effect_nothing_is_incremental_yet_the_platform_claims_some() {
        let outcomes = run(20_000, CampaignParameters::default());
        assert!(outcomes.iter().all(|o| o.purchased_after_secs.is_some() == o.would_have_purchased));
        let claimed = outcomes.iter().filter(|o| o.attributed).count();
        // Some 1,250 exposed buyers, whose views cover about four of the 60 days: 80 to 90 purchases happen to fall there.
        assert!((50..=120).contains(&claimed), "{claimed} claimed");
    }

    #[test]
    fn purchases_the_campaign_brings_come_within_the_window_and_only_to_the_exposed() {
        let outcomes = run(20_000, CampaignParameters { lift_ratio: 1.0, ..Default::default() });
        let brought = outcomes.iter().filter(|o| o.purchased_after_secs.is_some() && !o.would_have_purchased);
        let brought = brought.collect::<Vec<_>>();
        assert!(brought.len() > 500, "{}", brought.len());
        assert!(brought.iter().all(|o| o.exposures > 0 && o.purchased_after_secs < Some(60 * 86_400)));
    }

    /// Difference in purchase rates with its 95 % interval's half width, and the true effect.
    fn measure(outcomes: &[CampaignOutcome]) -> (f64, f64, f64) {
        let rate = |treated: bool| {
            let arm = outcomes.iter().filter(|o| (o.person % 5 != 0) == treated).collect::<Vec<_>>();
            let n = arm.len() as f64;
            let rate = arm.iter().filter(|o| o.purchased_after_secs.is_some()).count() as f64 / n;
            (rate, rate * (1.0 - rate) / n, n)
        };
        let ((treated, treated_variance, n), (held, held_variance, _)) = (rate(true), rate(false));
        let baseline = |person: u64| 0.04 + 0.02 * (person % 7) as f64;
        let treated_members = outcomes.iter().filter(|o| o.person % 5 != 0);
        let effect = treated_members.map(|o| o.purchase_probability - baseline(o.person)).sum::<f64>() / n;
        (treated - held, 1.96 * (treated_variance + held_variance).sqrt(), effect)
    }

    #[test]
    fn a_difference_in_rates_finds_the_known_truth() {
        for lift_ratio in [0.0, 0.5] {
            let covered = (0..400).filter(|&seed| {
                let parameters = CampaignParameters { seed, lift_ratio, ..Default::default() };
                let (difference, half_width, effect) = measure(&run(3_500, parameters));
                (difference - effect).abs() <= half_width
            });
            let coverage = covered.count() as f64 / 400.0;
            assert!((0.93..=0.97).contains(&coverage), "lift {lift_ratio}: {coverage}");
        }
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        let faulty =
            |parameters| simulate_campaign(members(1), parameters).map(Iterator::count).expect_err("out of range");
        let defaults = CampaignParameters::default();
        assert_eq!(faulty(CampaignParameters { click_ratio: 1.5, ..defaults }).parameter, "click_ratio");
        assert_eq!(faulty(CampaignParameters { mean_exposures: f64::NAN, ..defaults }).parameter, "mean_exposures");
        let long = faulty(CampaignParameters { flight_days: 61, ..defaults });
        assert_eq!(long.to_string(), "campaign parameter `flight_days` must be at most window_days");
    }
}
