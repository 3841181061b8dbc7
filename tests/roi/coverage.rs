//! Simulated experiments with a known truth: do the intervals keep their promise?

use reveil::roi::{
    funnel::reach_share,
    measure::{Experiment, Measurement, Money, Reading, measure, proportions::Arms},
    random::Stream,
};

/// Buyers among `persons` who each buy with probability `p`: gaps between buyers are geometric.
pub fn buyers(stream: &mut Stream, persons: u64, p: f64) -> u64 {
    let (mut at, mut count) = (0.0, 0);
    loop {
        at += (stream.uniform().ln() / (-p).ln_1p()).ceil();
        if at > persons as f64 {
            return count;
        }
        count += 1;
    }
}

fn read(treated: u64, treated_buyers: u64, holdout: u64, holdout_buyers: u64, planned: Option<f64>) -> Measurement {
    measure(&Experiment {
        arms: Arms { treated, treated_buyers, holdout, holdout_buyers },
        money: Money { aov: Some(60.0), margin: Some(0.4), cost: Some(5000.0) },
        holdout_share: None,
        planned_variance: planned,
        reading: Reading::PlannedEnd,
        attributed_buyers: None,
        reached_share: None,
    })
    .unwrap()
}

const RUNS: u64 = 400;

#[test]
fn intervals_cover_the_truth_of_400_campaigns() {
    // 40,000 persons, a fifth held out; matched .62, served .9, reached by 12 views each, lift 30 % among those.
    let (treated, holdout, p0) = (32_000u64, 8_000u64, 0.024);
    let diluted = 0.62 * 0.9 * reach_share(12.0, 1.2) * 0.30;
    let truth = p0 * diluted;
    let (mut covered, mut covered_roi, mut covered_always) = (0, 0, 0);
    for run in 0..RUNS {
        let mut stream = Stream::new(2026, run, 1);
        let bought = buyers(&mut stream, treated, p0 * (1.0 + diluted));
        let spontaneous = buyers(&mut stream, holdout, p0);
        let m = read(treated, bought, holdout, spontaneous, None);
        covered += u64::from(m.newcombe[0] <= truth && truth <= m.newcombe[1]);
        covered_always += u64::from(m.always_valid.interval[0] <= truth && truth <= m.always_valid.interval[1]);
        let true_roi = truth * treated as f64 * 24.0 / 5000.0 - 1.0;
        let roi = m.incremental_roi.unwrap();
        covered_roi += u64::from(roi.low <= true_roi && true_roi <= roi.high);
    }
    let share = |n: u64| n as f64 / RUNS as f64;
    println!(
        "Newcombe {:.3}, ROI {:.3}, always-valid {:.3}",
        share(covered),
        share(covered_roi),
        share(covered_always)
    );
    assert!((0.93..=0.97).contains(&share(covered)), "Newcombe covers {}", share(covered));
    assert!((0.93..=0.97).contains(&share(covered_roi)), "ROI covers {}", share(covered_roi));
    assert!(share(covered_always) >= 0.97, "always-valid covers {}", share(covered_always));
}

#[test]
fn false_alarms_stay_at_the_stated_rate() {
    // No ads at all; ten equal looks as persons come in.
    let (treated, holdout, p0, looks) = (4_500u64, 1_500u64, 0.03, 10);
    let planned = p0 * (1.0 - p0) * (1.0 / (10 * treated) as f64 + 1.0 / (10 * holdout) as f64);
    let (mut at_end, mut ever_naive, mut ever_always) = (0, 0, 0);
    for run in 0..RUNS {
        let mut stream = Stream::new(7, run, 2);
        let (mut k_t, mut k_c, mut naive, mut always) = (0, 0, false, false);
        let mut last = false;
        for look in 1..=looks {
            k_t += buyers(&mut stream, treated, p0);
            k_c += buyers(&mut stream, holdout, p0);
            let m = read(look * treated, k_t, look * holdout, k_c, Some(planned));
            last = m.newcombe[0] > 0.0 || m.newcombe[1] < 0.0;
            naive |= last;
            always |= m.always_valid.p_value < 0.05;
        }
        at_end += u64::from(last);
        ever_naive += u64::from(naive);
        ever_always += u64::from(always);
    }
    let share = |n: u64| n as f64 / RUNS as f64;
    println!(
        "end {:.3}, naive peeking {:.3}, always-valid {:.3}",
        share(at_end),
        share(ever_naive),
        share(ever_always)
    );
    assert!((0.03..=0.07).contains(&share(at_end)), "{} at the planned end", share(at_end));
    assert!(share(ever_always) <= 0.05, "{} under always-valid", share(ever_always));
    assert!(share(ever_naive) > 0.10, "peeking without correction must show the harm this guards against");
}
