//! How observations move the priors.

use super::{
    distribution::Distribution,
    funnel::reach_share,
    inputs::InputError,
    measure::proportions::{Arms, log_ratio},
    special::{beta_cdf, normal_quantile},
};

/// Persons that earlier lists may count for together: lists differ for reasons a count of persons does not show.
pub const PAST_LISTS_WEIGHT: f64 = 200.0;

/// Spread of ln CPM between flights of one advertiser; house guess.
const CPM_FLIGHT_SIGMA: f64 = 0.25;

/// Least spread of true lifts between experiments assumed while there are too few to estimate it; house guess.
const LIFT_SPREAD_FLOOR: f64 = 0.05;

fn refuse(what: &'static str, why: impl Into<String>) -> InputError {
    InputError::Observation { what, why: why.into() }
}

/// Beta updated by an exact count of the very thing it is about.
///
/// # Errors
/// When `hits` exceed `trials`.
pub fn exact((a, b): (f64, f64), hits: u64, trials: u64, what: &'static str) -> Result<Distribution, InputError> {
    if hits > trials {
        return Err(refuse(what, format!("{hits} of {trials}")));
    }
    Ok(Distribution::Beta { a: a + hits as f64, b: b + (trials - hits) as f64 })
}

/// Beta for a new list, from earlier lists `(matched, sent)` scaled down to 200 persons in all.
///
/// # Errors
/// When a list matched more persons than it sent.
pub fn past_lists((a, b): (f64, f64), lists: &[(u64, u64)]) -> Result<Distribution, InputError> {
    if let Some((matched, sent)) = lists.iter().find(|(matched, sent)| matched > sent) {
        return Err(refuse("match", format!("{matched} of {sent}")));
    }
    let matched: f64 = lists.iter().map(|l| l.0 as f64).sum();
    let sent: f64 = lists.iter().map(|l| l.1 as f64).sum();
    let weight = if sent > 0.0 { (PAST_LISTS_WEIGHT / sent).min(1.0) } else { 0.0 };
    Ok(Distribution::Beta { a: a + weight * matched, b: b + weight * (sent - matched) })
}

/// A prior cut to what a platform's bucket or bounds leave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// The cut prior.
    pub posterior: Distribution,
    /// Probability the prior gave to the bucket beforehand.
    pub prior_mass: f64,
}

impl Bucket {
    /// Says so when the bucket was so unlikely that broken data is the better explanation.
    pub fn warning(&self) -> Option<String> {
        (self.prior_mass < 0.01).then(|| {
            format!(
                "The reported match share had a prior probability of {:.2} %. Broken normalisation (country codes, \
                 capitals, double hashing) is likelier than luck: check the list before you spend.",
                100.0 * self.prior_mass
            )
        })
    }
}

/// Cuts a Beta to [`low`, `high`).
///
/// # Errors
/// When the interval is empty or outside [0, 1].
pub fn interval((a, b): (f64, f64), low: f64, high: f64) -> Result<Bucket, InputError> {
    if !(0.0 <= low && low < high && high <= 1.0) {
        return Err(refuse("match", format!("the interval {low} to {high} is not within 0 to 1")));
    }
    let prior_mass = beta_cdf(high, a, b) - beta_cdf(low, a, b);
    Ok(Bucket { posterior: Distribution::TruncatedBeta { a, b, low, high }, prior_mass })
}

/// Bounds meant by a label read off a platform's page: a percentage rounded to a whole one, so `41-50` is
/// [40.5, 50.5) % and `<20` is [0, 19.5) %.
///
/// Google's API gives enum values instead, whose documentation states the interval of each (`41_TO_50` is [41, 51) %). The
/// connector stores those bounds with the reading, and they are used as they are, never through a label.
///
/// # Errors
/// When the label has neither form.
pub fn bucket_label(label: &str) -> Result<(f64, f64), InputError> {
    let bad = || refuse("match", format!("the label `{label}` is neither `<20` nor `41-50`"));
    let clean = label.trim().trim_end_matches('%').trim();
    if let Some(upper) = clean.strip_prefix('<') {
        let upper: f64 = upper.trim().parse().map_err(|_| bad())?;
        return if (1.0..=100.0).contains(&upper) { Ok((0.0, (upper - 0.5) / 100.0)) } else { Err(bad()) };
    }
    let (low, high) = clean.split_once('-').ok_or_else(bad)?;
    let low: f64 = low.trim().trim_end_matches('%').parse().map_err(|_| bad())?;
    let high: f64 = high.trim().parse().map_err(|_| bad())?;
    if !(0.0..=100.0).contains(&low) || !(0.0..=100.0).contains(&high) || low > high {
        return Err(bad());
    }
    Ok((((low - 0.5) / 100.0).max(0.0), ((high + 0.5) / 100.0).min(1.0)))
}

/// Normal update of ln CPM by CPMs paid in earlier flights.
///
/// The result is for the *next* flight, so it keeps the spread between flights.
///
/// # Errors
/// When a CPM is not above 0.
pub fn cpm((median, sigma): (f64, f64), paid: &[f64]) -> Result<Distribution, InputError> {
    if let Some(bad) = paid.iter().find(|c| !(c.is_finite() && **c > 0.0)) {
        return Err(refuse("cpm", format!("{bad} is not a price above 0")));
    }
    if paid.is_empty() {
        return Ok(Distribution::LogNormal { median, sigma });
    }
    // The prior is about one flight too: its variance is that of the level plus that between flights.
    let between = CPM_FLIGHT_SIGMA.min(0.7 * sigma).powi(2);
    let level = (sigma * sigma - between).max(1e-6);
    let n = paid.len() as f64;
    let observed = paid.iter().map(|c| c.ln()).sum::<f64>() / n;
    let variance = 1.0 / (1.0 / level + n / between);
    let mean = variance * (median.ln() / level + n * observed / between);
    Ok(Distribution::LogNormal { median: mean.exp(), sigma: (variance + between).sqrt() })
}

/// Shape of the reach curve that reaches `share` at `g` impressions per person.
///
/// # Errors
/// When not even random exposure reaches that many, or nobody was reached.
pub fn reach_shape(g: f64, share: f64) -> Result<f64, InputError> {
    let most = reach_share(g, f64::INFINITY);
    if !(g > 0.0 && share > 0.0 && share < most) {
        return Err(refuse(
            "reach",
            format!(
                "{:.1} % at {g:.2} impressions per person; possible is above 0 and below {:.1} %",
                100.0 * share,
                100.0 * most
            ),
        ));
    }
    let (mut low, mut high) = (1e-9f64.ln(), 1e9f64.ln());
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if reach_share(g, middle.exp()) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok((0.5 * (low + high)).exp())
}

/// Spontaneous return from backtest windows `(buyers, inactives)`.
///
/// One window gives its own uncertainty. Several also show how much seasons differ, and the result is then as wide as
/// that difference asks for.
///
/// # Errors
/// When there is no window, an empty one, or one with more buyers than persons.
pub fn spontaneous_return(windows: &[(u64, u64)]) -> Result<Distribution, InputError> {
    if windows.is_empty() {
        return Err(refuse("p0", "no backtest window"));
    }
    if let Some((buyers, persons)) = windows.iter().find(|(buyers, persons)| buyers > persons || *persons == 0) {
        return Err(refuse("p0", format!("{buyers} buyers of {persons} persons")));
    }
    let buyers: f64 = windows.iter().map(|w| w.0 as f64).sum();
    let persons: f64 = windows.iter().map(|w| w.1 as f64).sum();
    let pooled = Distribution::Beta { a: buyers + 1.0, b: persons - buyers + 1.0 };
    let k = windows.len() as f64;
    let mean = windows.iter().map(|w| w.0 as f64 / w.1 as f64).sum::<f64>() / k;
    if windows.len() < 2 || mean <= 0.0 || mean >= 1.0 {
        return Ok(pooled);
    }
    let spread = windows.iter().map(|w| (w.0 as f64 / w.1 as f64 - mean).powi(2)).sum::<f64>() / (k - 1.0);
    let sampling = windows.iter().map(|w| mean * (1.0 - mean) / w.1 as f64).sum::<f64>() / k;
    let between = spread - sampling;
    // Next window = mean (known to spread / k) + its own deviation.
    let weight = mean * (1.0 - mean) / (between + spread / k) - 1.0;
    if between <= 0.0 || weight >= persons {
        return Ok(pooled);
    }
    Ok(Distribution::beta_from_mean(mean, weight.max(2.0)))
}

/// A relative lift measured in an own experiment, scaled to persons reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PastLift {
    /// Relative lift, 0.10 for 10 %. May be negative.
    pub estimate: f64,
    /// Its standard error.
    pub standard_error: f64,
}

impl PastLift {
    /// Of an experiment's arms, of whose treated this share saw an ad: the relative lift of the whole list over that share,
    /// with the error of the log ratio. None when an arm has no buyer or nobody was reached.
    pub fn of(arms: &Arms, reached_share: f64) -> Option<Self> {
        let relative = log_ratio(arms, 0.05).filter(|_| reached_share > 0.0 && reached_share <= 1.0)?;
        let ratio = 1.0 + relative.estimate;
        let error = ((1.0 + relative.high) / ratio).ln() / normal_quantile(0.975);
        Some(Self { estimate: relative.estimate / reached_share, standard_error: ratio * error / reached_share })
    }
}

/// Lift expected in the next campaign: random effects over own experiments (DerSimonian and Laird 1986), times the prior.
///
/// # Errors
/// When there is no experiment, or one without a standard error above 0.
pub fn lift((median, sigma): (f64, f64), past: &[PastLift]) -> Result<Distribution, InputError> {
    if past.is_empty() || past.iter().any(|p| !(p.estimate.is_finite() && p.standard_error > 0.0)) {
        return Err(refuse("lift", "each experiment needs an estimate and a standard error above 0"));
    }
    let weights: Vec<f64> = past.iter().map(|p| p.standard_error.powi(-2)).collect();
    let total: f64 = weights.iter().sum();
    let fixed = past.iter().zip(&weights).map(|(p, w)| w * p.estimate).sum::<f64>() / total;
    let q: f64 = past.iter().zip(&weights).map(|(p, w)| w * (p.estimate - fixed).powi(2)).sum();
    let c = total - weights.iter().map(|w| w * w).sum::<f64>() / total;
    let freedom = past.len() as f64 - 1.0;
    let mut between = if c > 0.0 { ((q - freedom) / c).max(0.0) } else { 0.0 };
    if past.len() < 3 {
        between = between.max(LIFT_SPREAD_FLOOR * LIFT_SPREAD_FLOOR);
    }
    let weights: Vec<f64> = past.iter().map(|p| 1.0 / (p.standard_error.powi(2) + between)).collect();
    let total: f64 = weights.iter().sum();
    let pooled = past.iter().zip(&weights).map(|(p, w)| w * p.estimate).sum::<f64>() / total;
    let variance = 1.0 / total + between;

    // The prior lives on ln lift, the evidence on the lift itself: multiply them on a grid of ln lift.
    let grid = (0..=4000).map(|i| median.ln() + sigma.max(1e-3) * (i as f64 / 250.0 - 8.0));
    let log_density =
        |x: f64| -0.5 * ((x - median.ln()) / sigma.max(1e-3)).powi(2) - 0.5 * (x.exp() - pooled).powi(2) / variance;
    let top = grid.clone().map(log_density).fold(f64::NEG_INFINITY, f64::max);
    let (mass, first, second) = grid.fold((0.0, 0.0, 0.0), |(m, s, q), x| {
        let w = (log_density(x) - top).exp();
        (m + w, s + w * x, q + w * x * x)
    });
    let mean = first / mass;
    Ok(Distribution::LogNormal { median: mean.exp(), sigma: (second / mass - mean * mean).max(0.0).sqrt() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, want: f64) {
        assert!((got - want).abs() <= 1e-6 * want.abs(), "got {got}, want {want}");
    }

    fn beta(d: Distribution) -> (f64, f64) {
        match d {
            Distribution::Beta { a, b } => (a, b),
            other => panic!("not a Beta: {other}"),
        }
    }

    #[test]
    fn exact_counts_add_up() {
        let post = exact((12.4, 7.6), 31_240, 52_000, "match").unwrap();
        close(post.mean(), 0.60077662);
        close(post.quantile(0.05), 0.59724257);
        close(post.quantile(0.95), 0.60430628);
        close(exact((22.0, 1978.0), 5431, 412_000, "ctr").unwrap().mean(), 0.013171498);
        let cvr = exact((1.5, 48.5), 96, 4100, "cvr").unwrap();
        close(cvr.quantile(0.05), 0.019761876);
        close(cvr.quantile(0.95), 0.027487084);
        assert!(exact((1.0, 1.0), 5, 4, "match").is_err());
    }

    #[test]
    fn past_lists_count_for_200_persons_at_most() {
        let post = past_lists((12.4, 7.6), &[(31_240, 52_000)]).unwrap();
        let (a, b) = beta(post);
        close(a, 132.55385);
        close(b, 87.446154);
        close(post.mean(), 0.60251748);
        close(post.quantile(0.05), 0.54782687);
        close(post.quantile(0.95), 0.65614586);
        assert_eq!(
            beta(past_lists((1.0, 1.0), &[(30, 50), (20, 50)]).unwrap()),
            (51.0, 51.0),
            "small lists count in full"
        );
    }

    #[test]
    fn buckets_cut_the_prior() {
        let (low, high) = bucket_label("41-50").unwrap();
        close(low, 0.405);
        close(high, 0.505);
        let bucket = interval((10.4, 9.6), low, high).unwrap();
        close(bucket.prior_mass, 0.29341238);
        close(bucket.posterior.mean(), 0.45896974);
        close(bucket.posterior.quantile(0.05), 0.4116799);
        close(bucket.posterior.quantile(0.5), 0.46079526);
        close(bucket.posterior.quantile(0.95), 0.50078427);
        assert_eq!(bucket.warning(), None);

        let bounds = interval((12.4, 7.6), 0.571, 0.672).unwrap();
        close(bounds.prior_mass, 0.35540589);
        close(bounds.posterior.mean(), 0.62221858);
        close(bounds.posterior.quantile(0.95), 0.66687222);
    }

    #[test]
    fn an_unlikely_bucket_warns() {
        let (low, high) = bucket_label("<20 %").unwrap();
        let bucket = interval((10.4, 9.6), low, high).unwrap();
        close(bucket.prior_mass, 0.00067833867);
        close(bucket.posterior.mean(), 0.17502904);
        close(bucket.posterior.quantile(0.05), 0.13920511);
        assert!(bucket.warning().unwrap().contains("normalisation"));
        for label in ["", "40", "60-50", "<0", "a-b"] {
            assert!(bucket_label(label).is_err(), "{label}");
        }
        assert_eq!(bucket_label("91-100").unwrap().1, 1.0);
    }

    #[test]
    fn reach_shape_inverts_the_curve() {
        close(reach_shape(8.0, 0.72).unwrap(), 0.42674215);
        assert!(reach_shape(1.0, 0.64).is_err(), "1 - 1/e is the most that one impression per person reaches");
    }

    #[test]
    fn paid_cpms_pull_the_median_and_narrow_it() {
        let Distribution::LogNormal { median, sigma } = cpm((11.0, 0.35), &[8.0, 8.5, 7.8]).unwrap() else { panic!() };
        assert!((8.0..9.3).contains(&median), "{median}");
        assert!((0.2..0.35).contains(&sigma), "{sigma}");
        assert_eq!(cpm((11.0, 0.35), &[]).unwrap(), Distribution::LogNormal { median: 11.0, sigma: 0.35 });
        assert!(cpm((11.0, 0.35), &[0.0]).is_err());
    }

    #[test]
    fn windows_that_differ_widen_the_backtest() {
        let one = spontaneous_return(&[(630, 17_515)]).unwrap();
        close(one.mean(), 631.0 / 17_517.0);
        let alike = spontaneous_return(&[(630, 17_515), (640, 17_500)]).unwrap();
        let apart = spontaneous_return(&[(630, 17_515), (1200, 17_500), (400, 17_000)]).unwrap();
        let width = |d: Distribution| d.quantile(0.95) - d.quantile(0.05);
        assert!(width(alike) < width(one) && width(apart) > 10.0 * width(alike));
        assert!(spontaneous_return(&[]).is_err() && spontaneous_return(&[(3, 2)]).is_err());
    }

    #[test]
    fn an_experiment_gives_the_lift_of_those_reached() {
        let arms = Arms { treated: 90_000, treated_buyers: 1980, holdout: 10_000, holdout_buyers: 180 };
        let lift = PastLift::of(&arms, 0.5).unwrap();
        close(lift.estimate, 2.0 * 0.2222222222);
        // sqrt((1 - .022) / 1980 + (1 - .018) / 180) = .07712; times the ratio 1.2222, over .5.
        assert!((lift.standard_error - 0.1885).abs() < 1e-4, "{}", lift.standard_error);
        assert_eq!(PastLift::of(&Arms { holdout_buyers: 0, ..arms }, 0.5), None);
        assert_eq!(PastLift::of(&arms, 0.0), None);
    }

    #[test]
    fn own_experiments_overrule_the_prior_as_they_gain_precision() {
        let measured = |n, se| lift((0.10, 1.0), &vec![PastLift { estimate: 0.30, standard_error: se }; n]).unwrap();
        let (weak, strong) = (measured(1, 0.5), measured(6, 0.03));
        assert!((weak.quantile(0.5) - 0.10).abs() < 0.05, "{weak}");
        assert!((strong.quantile(0.5) - 0.30).abs() < 0.02, "{strong}");
        let negative = lift((0.10, 1.0), &[PastLift { estimate: -0.05, standard_error: 0.04 }]).unwrap();
        assert!(negative.quantile(0.5) < 0.08, "{negative}");
    }
}
