//! The measurement against simulated campaigns whose effect is known. `benches/closed_loop.rs` does it at full size.

#[path = "../support/closed_loop.rs"]
mod support;

use support::{Loop, run};

const SMALL: Loop = Loop { persons: 3_000, holdout_bps: 2_000, lift_ratio: 0.6, runs: 400, base_rate: None };

#[test]
fn intervals_cover_the_truth_of_400_simulated_campaigns() {
    let tally = run(SMALL);
    println!("{tally:?}");
    assert_eq!(tally.runs, 400);
    let covered = tally.share(tally.covered);
    assert!((0.93..=0.97).contains(&covered), "{covered}");
    assert!(tally.share(tally.covered_always) >= covered, "the price of looking at any time is width");
    assert!(tally.truth > 0.003, "the campaigns do something: {}", tally.truth);
    assert!((tally.measured - tally.truth).abs() < 0.001, "{} for {}", tally.measured, tally.truth);
}

#[test]
fn without_effect_alarms_stay_at_the_stated_rate() {
    let tally = run(Loop { lift_ratio: 0.0, ..SMALL });
    println!("{tally:?}");
    assert_eq!(tally.truth, 0.0);
    let (end, always) = (tally.share(tally.alarms_at_end), tally.share(tally.alarms_always));
    assert!(end <= 0.07, "{end} at the planned end");
    assert!(always <= 0.05, "{always} at any of the looks");
    let naive = tally.share(tally.alarms_naive);
    assert!(naive > 0.10, "looking without correction shows the harm: {naive}");
}
