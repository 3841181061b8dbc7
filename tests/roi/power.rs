//! The chance to see a sober effect, foreseen and simulated.
//!
//! The domain's golden (100,000 persons, a fifth held out, 2.4 % buy anyway, 55 % matched and in flight) says 9.5 % for a
//! lift of 10 % and 65 % for one of 30 %, out of simulated campaigns. There the lift is that of somebody who sees very many
//! ads; one who sees x has 1 - exp(-x/3) of it, and x is negative binomial. Read as the rise among all who are in flight,
//! the same numbers would give 19 % and 90 %.

use reveil::roi::{
    funnel::share_of_full_lift,
    measure::proportions::{Arms, newcombe},
    plan::HoldoutPlan,
    random::Stream,
    request::PlanHoldoutRequest,
};

use crate::coverage::buyers;

const SERVED: f64 = 0.55;
const GOLDEN: [(f64, f64); 2] = [(0.10, 0.095), (0.30, 0.65)];
/// Campaigns behind the golden.
const RUNS: f64 = 400.0;

fn plan(lift: f64) -> HoldoutPlan {
    HoldoutPlan {
        population: 100_000.0,
        holdout: 0.2,
        base_rate: 0.024,
        alpha: 0.05,
        power: 0.8,
        lift,
        reached: SERVED,
        window_days: 60.0,
    }
}

fn sampling_error(share: f64) -> f64 {
    (share * (1.0 - share) / RUNS).sqrt()
}

#[test]
fn the_golden_power_is_that_of_a_lift_diluted_by_few_views() {
    let diluted = share_of_full_lift(8.0, 1.2);
    assert!((diluted - 0.720).abs() < 0.001, "{diluted}");
    for (lift, golden) in GOLDEN {
        let foreseen = plan(lift * diluted).judge().unwrap();
        let off = (foreseen.expected_power - golden) / sampling_error(golden);
        println!("lift {lift}: {:.4} over the list, seen {:.3}", foreseen.expected_relative, foreseen.expected_power);
        assert!(off.abs() < 1.96, "lift {lift}: foreseen {}, golden {golden}", foreseen.expected_power);
        assert!(!foreseen.answers && foreseen.sentence.contains("cannot answer"), "{}", foreseen.sentence);
    }
    // The same asked as on the command line: plan-holdout --full-lift 10% --views 8.
    let asked = serde_json::json!({"population": 100_000, "holdout": "20%", "base_rate": "2.4%", "full_lift": "10%",
        "views": 8, "shape": 1.2, "match": SERVED, "in_flight": 1});
    let asked: PlanHoldoutRequest = serde_json::from_value(asked).unwrap();
    let (by_request, by_hand) = (asked.answer().unwrap(), plan(0.1 * diluted).judge().unwrap());
    assert!((by_request.expected_power - by_hand.expected_power).abs() < 1e-12, "{by_request:?}");
    let least = plan(0.1 * diluted).judge().unwrap().expected_relative;
    assert!((0.0395..0.05).contains(&least), "4 to 5 % over the whole list: {least}");
}

#[test]
fn the_undiluted_reading_is_another_campaign() {
    for ((lift, golden), undiluted) in GOLDEN.into_iter().zip([0.194, 0.905]) {
        let foreseen = plan(lift).judge().unwrap().expected_power;
        assert!((foreseen - undiluted).abs() < 0.002, "{foreseen}");
        assert!(foreseen - golden > 4.0 * sampling_error(golden), "not by chance: {foreseen} for {golden}");
    }
}

#[test]
fn campaigns_are_seen_as_often_as_foreseen() {
    let runs = 2000;
    for (lift, tolerance) in [(0.072, 0.025), (0.216, 0.035)] {
        let plan = plan(lift);
        let raised = plan.base_rate * (1.0 + SERVED * lift);
        let seen = (0..runs)
            .filter(|run| {
                let mut stream = Stream::new(11, *run, 5);
                let (treated, holdout) = (80_000, 20_000);
                let treated_buyers = buyers(&mut stream, treated, raised);
                let holdout_buyers = buyers(&mut stream, holdout, plan.base_rate);
                let [low, high] = newcombe(&Arms { treated, treated_buyers, holdout, holdout_buyers }, 0.05);
                low > 0.0 || high < 0.0
            })
            .count() as f64
            / runs as f64;
        let foreseen = plan.judge().unwrap().expected_power;
        println!("lift {lift}: foreseen {foreseen:.3}, seen {seen:.3}");
        assert!((seen - foreseen).abs() < tolerance, "{seen} for {foreseen}");
    }
}
