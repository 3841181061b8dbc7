//! Time of one projection of 200,000 simulated campaigns; the budget is 100 ms on two cores.

use divan::Bencher;
use reveil::roi::{
    Inputs,
    projection::{project, project_with_threads},
};

fn main() {
    divan::main();
}

fn inputs() -> Inputs {
    Inputs::for_platform("meta", 100_000).expect("meta has priors")
}

#[divan::bench]
fn all_cores(bencher: Bencher) {
    let inputs = inputs();
    bencher.bench(|| project(&inputs));
}

#[divan::bench]
fn one_core(bencher: Bencher) {
    let inputs = inputs();
    bencher.bench(|| project_with_threads(&inputs, 1));
}
