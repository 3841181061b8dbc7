//! The acceptance run: 400 simulated campaigns of 100,000 persons with a fifth held out, measured, and 400 more without
//! effect. Prints how often the intervals held the truth and how often nothing was called something; then how often a
//! sober effect is seen at all.

#[path = "../support/closed_loop.rs"]
mod support;

use support::{Loop, run};

fn main() {
    let full = Loop { persons: 100_000, holdout_bps: 2_000, lift_ratio: 0.5, runs: 400, base_rate: None };
    let sober = Loop { base_rate: Some(0.024), ..full };
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    for (name, what) in [
        ("lift 50 %", full),
        ("no effect", Loop { lift_ratio: 0.0, ..full }),
        ("2.4 % buy anyway, lift 10 %", Loop { lift_ratio: 0.1, ..sober }),
        ("2.4 % buy anyway, lift 30 %", Loop { lift_ratio: 0.3, ..sober }),
    ] {
        let begun = std::time::Instant::now();
        let tally = run(what);
        println!(
            "{name}: {} campaigns of {} persons in {:.1} s",
            tally.runs,
            what.persons,
            begun.elapsed().as_secs_f64()
        );
        println!("  true effect {:.6}, measured {:.6} on average", tally.truth, tally.measured);
        println!("  95 % interval held the truth      {}", percent(tally.share(tally.covered)));
        println!("  always-valid interval held it     {}", percent(tally.share(tally.covered_always)));
        println!("  called an effect at the end       {}", percent(tally.share(tally.alarms_at_end)));
        println!("  called one at any of 20 looks     {}", percent(tally.share(tally.alarms_naive)));
        println!("  the same, always-valid rule       {}", percent(tally.share(tally.alarms_always)));
    }
}
