//! Many simulated campaigns of known effect, measured as `reveil roi measure` measures. Shared by the test and the
//! benchmark.

use reveil::identity::bucket;
use reveil::roi::measure::proportions::Arms;
use reveil::roi::measure::{Experiment, Measurement, Money, Reading, measure};
use reveil_synth::{CampaignMember, CampaignParameters, simulate_campaign};

/// What to simulate.
#[derive(Debug, Clone, Copy)]
pub struct Loop {
    pub persons: u64,
    pub holdout_bps: u16,
    /// Relative lift of persons who see many ads; 0 makes A/A runs.
    pub lift_ratio: f64,
    pub runs: u64,
    /// Share of everybody that buys by itself; without one, it differs by recency band.
    pub base_rate: Option<f64>,
}

impl Loop {
    /// Ad views per person in flight, on average.
    pub const VIEWS: f64 = 8.0;

    fn baseline(self, person: u64) -> f64 {
        self.base_rate.unwrap_or_else(|| by_band(person))
    }
}

/// Looks while the window runs, evenly spaced.
const LOOKS: u64 = 20;
const WINDOW_DAYS: u64 = 60;
/// Share of persons the platform knows.
pub const MATCHED_BPS: u16 = 6_200;

/// How many runs did what.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub runs: u64,
    /// The 95 % interval held the true effect of the treated.
    pub covered: u64,
    /// The always-valid interval did, at the end.
    pub covered_always: u64,
    /// Called different from zero at the planned end.
    pub alarms_at_end: u64,
    /// Called so at any look, by the plain interval and by the always-valid rule.
    pub alarms_naive: u64,
    pub alarms_always: u64,
    /// Mean of the true effects and of the measured ones.
    pub truth: f64,
    pub measured: f64,
}

impl Tally {
    pub fn share(&self, count: u64) -> f64 {
        count as f64 / self.runs as f64
    }
    fn joined(self, other: Self) -> Self {
        let runs = self.runs + other.runs;
        let mean = |a: f64, b: f64| (a * self.runs as f64 + b * other.runs as f64) / (runs as f64).max(1.0);
        Self {
            runs,
            covered: self.covered + other.covered,
            covered_always: self.covered_always + other.covered_always,
            alarms_at_end: self.alarms_at_end + other.alarms_at_end,
            alarms_naive: self.alarms_naive + other.alarms_naive,
            alarms_always: self.alarms_always + other.alarms_always,
            truth: mean(self.truth, other.truth),
            measured: mean(self.measured, other.measured),
        }
    }
}

/// Share of the person's recency band that buys by itself within the window.
fn by_band(person: u64) -> f64 {
    [0.012, 0.02, 0.024, 0.036, 0.055, 0.07][(person % 6) as usize]
}

/// Runs all of it on as many threads as there are; the result does not depend on how many.
pub fn run(what: Loop) -> Tally {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let ids: Vec<String> = (0..what.persons).map(|person| person.to_string()).collect();
    let known: Vec<bool> = ids.iter().map(|id| bucket("platform", id) < MATCHED_BPS).collect();
    std::thread::scope(|scope| {
        let part = |first: u64| {
            let (ids, known) = (&ids, &known);
            scope.spawn(move || {
                let runs = (first..what.runs).step_by(threads as usize);
                runs.map(|number| campaign(what, ids, known, number)).fold(Tally::default(), Tally::joined)
            })
        };
        let parts: Vec<_> = (0..threads).map(part).collect();
        parts.into_iter().map(|part| part.join().expect("no panic")).fold(Tally::default(), Tally::joined)
    })
}

fn campaign(what: Loop, ids: &[String], known: &[bool], number: u64) -> Tally {
    let salt = format!("closed-loop-{number}");
    let held: Vec<bool> = ids.iter().map(|id| bucket(&salt, id) < what.holdout_bps).collect();
    let members = (0..what.persons).map(|person| CampaignMember {
        person,
        reachable: known[person as usize] && !held[person as usize],
        baseline_probability: what.baseline(person),
    });
    let parameters = CampaignParameters {
        seed: number,
        lift_ratio: what.lift_ratio,
        mean_exposures: Loop::VIEWS,
        ..Default::default()
    };
    let (mut persons, mut truth) = ([0_u64; 2], 0.0);
    let mut bought = [[0_u64; 2]; LOOKS as usize];
    for outcome in simulate_campaign(members, parameters).expect("sound parameters") {
        let arm = usize::from(held[outcome.person as usize]);
        persons[arm] += 1;
        if arm == 0 {
            truth += outcome.purchase_probability - what.baseline(outcome.person);
        }
        if let Some(after) = outcome.purchased_after_secs {
            let look = after * LOOKS / (WINDOW_DAYS * 86_400);
            bought[look.min(LOOKS - 1) as usize][arm] += 1;
        }
    }
    let truth = truth / persons[0] as f64;
    let planned = 0.036 * (1.0 - 0.036) * (1.0 / persons[0] as f64 + 1.0 / persons[1] as f64);
    let (mut buyers, mut naive, mut always) = ([0, 0], false, false);
    let mut last = None;
    for look in bought {
        buyers = [buyers[0] + look[0], buyers[1] + look[1]];
        let read = read(persons, buyers, planned, what.holdout_bps);
        naive |= differs(read.newcombe);
        always |= differs(read.always_valid.interval);
        last = Some(read);
    }
    let last = last.expect("there are looks");
    let holds = |[low, high]: [f64; 2]| u64::from(low <= truth && truth <= high);
    Tally {
        runs: 1,
        covered: holds(last.newcombe),
        covered_always: holds(last.always_valid.interval),
        alarms_at_end: u64::from(differs(last.newcombe)),
        alarms_naive: u64::from(naive),
        alarms_always: u64::from(always),
        truth,
        measured: last.diff,
    }
}

fn differs([low, high]: [f64; 2]) -> bool {
    low > 0.0 || high < 0.0
}

fn read(persons: [u64; 2], buyers: [u64; 2], planned: f64, holdout_bps: u16) -> Measurement {
    measure(&Experiment {
        arms: Arms { treated: persons[0], treated_buyers: buyers[0], holdout: persons[1], holdout_buyers: buyers[1] },
        money: Money { aov: None, margin: None, cost: None },
        holdout_share: Some(f64::from(holdout_bps) / 10_000.0),
        planned_variance: Some(planned),
        reading: Reading::Interim,
        attributed_buyers: None,
        reached_share: None,
    })
    .expect("possible counts")
}
