//! Many simulated campaigns: how sure the projection is.
//!
//! Draw i depends on the seed and i alone and is stored at place i, so the result is the same, to the byte, on one thread
//! or on many.

use serde::Serialize;

use super::{
    distribution::Sampler,
    inputs::{FIELDS, Field, Resolved},
    random::Stream,
};

/// Where a simulated quantity lies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// Average.
    pub mean: f64,
    /// 5 % of the campaigns lie below.
    pub p05: f64,
    /// A quarter lies below.
    pub p25: f64,
    /// Half lie below.
    pub p50: f64,
    /// Three quarters lie below.
    pub p75: f64,
    /// 95 % lie below.
    pub p95: f64,
}

impl Summary {
    /// Summary of `values`, which are reordered; none when there are none. Values that are not numbers are left out.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.retain(|v| !v.is_nan());
        if values.is_empty() {
            return None;
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let mut start = 0;
        let [p05, p25, p50, p75, p95] = [0.05, 0.25, 0.50, 0.75, 0.95].map(|p| {
            let place = p * (values.len() - 1) as f64;
            let index = place as usize;
            // Everything before `start` is already below what this quantile looks for.
            let (_, low, above) = values[start..].select_nth_unstable_by(index - start, f64::total_cmp);
            let low = *low;
            let next = above.iter().copied().fold(f64::INFINITY, f64::min);
            start = index;
            if next.is_finite() { low + (place - index as f64) * (next - low) } else { low }
        });
        Some(Self { mean, p05, p25, p50, p75, p95 })
    }
}

/// What the simulated campaigns came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Simulation {
    /// Campaigns simulated.
    pub draws: usize,
    /// Seed they came from.
    pub seed: u64,
    /// Media money spent.
    pub spend: Summary,
    /// Persons reached.
    pub reach: Summary,
    /// Baskets by the click funnel.
    pub baskets: Summary,
    /// Their revenue.
    pub revenue: Summary,
    /// Return by the click funnel; absent when nothing is spent.
    pub roi: Option<Summary>,
    /// Buyers the ads cause.
    pub incremental_buyers: Summary,
    /// Return on those; absent when nothing is spent.
    pub incremental_roi: Option<Summary>,
    /// Share of campaigns with a positive return by the click funnel.
    pub p_roi_positive: f64,
    /// Share of campaigns whose caused buyers pay the cost.
    pub p_incremental_roi_positive: f64,
    /// Share of campaigns that reach the target.
    pub p_baskets_at_target: f64,
    /// The target, in baskets.
    pub target: f64,
}

const METRICS: usize = 7;
type Row = [f64; METRICS];

/// Stream numbers of the two Poisson counts, after those of the assumptions.
const BASKETS: u32 = FIELDS as u32;
const INCREMENTAL: u32 = FIELDS as u32 + 1;
/// Distance between the streams of two platforms drawn together.
const PLATFORM_STRIDE: u32 = 64;

/// A campaign made ready to be drawn from.
pub(crate) struct Drawer<'a> {
    resolved: &'a Resolved,
    samplers: [Sampler; FIELDS],
    seed: u64,
    offset: u32,
}

impl<'a> Drawer<'a> {
    /// `place` tells platforms of one union apart; what belongs to the segment is drawn alike for all of them.
    pub fn new(resolved: &'a Resolved, seed: u64, place: u32) -> Self {
        let samplers = std::array::from_fn(|i| resolved.values[i].value.sampler());
        Self { resolved, samplers, seed, offset: place * PLATFORM_STRIDE }
    }

    pub fn values(&self, draw: u64) -> [f64; FIELDS] {
        std::array::from_fn(|i| {
            let offset = if Field::ALL[i].of_the_segment() { 0 } else { self.offset };
            self.samplers[i].draw(|| Stream::new(self.seed, draw, i as u32 + offset))
        })
    }

    fn row(&self, draw: u64) -> Row {
        let campaign = self.resolved.campaign(&self.values(draw));
        let delivery = campaign.delivery();
        let expected = delivery.impressions * campaign.ctr * campaign.landing * campaign.cvr;
        let baskets = Stream::new(self.seed, draw, BASKETS + self.offset).poisson(expected);
        let caused = delivery.reach * campaign.p0 * campaign.lift;
        // A negative lift drives buyers away: count those and turn the sign.
        let incremental =
            Stream::new(self.seed, draw, INCREMENTAL + self.offset).poisson(caused.abs()).copysign(caused);
        let cost = delivery.spend + campaign.fixed;
        let per_order = campaign.aov * campaign.margin;
        let roi = |orders: f64| if cost > 0.0 { (orders * per_order - cost) / cost } else { f64::NAN };
        [delivery.spend, delivery.reach, baskets, baskets * campaign.aov, roi(baskets), incremental, roi(incremental)]
    }
}

/// Threads this machine offers.
pub(crate) fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Computes `row(i)` for every draw, shared out over `threads`.
pub(crate) fn draw_all<T: Copy + Default + Send>(
    draws: usize,
    threads: usize,
    row: impl Fn(u64) -> T + Sync,
) -> Vec<T> {
    let mut rows = vec![T::default(); draws];
    let share = draws.div_ceil(threads.max(1)).max(1);
    std::thread::scope(|scope| {
        for (part, chunk) in rows.chunks_mut(share).enumerate() {
            let row = &row;
            scope.spawn(move || {
                for (i, slot) in chunk.iter_mut().enumerate() {
                    *slot = row((part * share + i) as u64);
                }
            });
        }
    });
    rows
}

/// Simulates `draws` campaigns (at least one) on `threads` threads.
pub(crate) fn simulate(resolved: &Resolved, seed: u64, draws: usize, target: f64, threads: usize) -> Simulation {
    let draws = draws.max(1);
    let drawer = Drawer::new(resolved, seed, 0);
    let rows = draw_all(draws, threads, |i| drawer.row(i));
    let rows = &rows;
    let share_where = |test: &dyn Fn(&Row) -> bool| rows.iter().filter(|r| test(r)).count() as f64 / draws as f64;
    let column = move |m: usize| Summary::of(rows.iter().map(|r| r[m]).collect());
    let mut columns: [Option<Summary>; METRICS] = [None; METRICS];
    std::thread::scope(|scope| {
        let per_thread = METRICS.div_ceil(threads.clamp(1, METRICS));
        for (part, chunk) in columns.chunks_mut(per_thread).enumerate() {
            scope.spawn(move || {
                for (i, slot) in chunk.iter_mut().enumerate() {
                    *slot = column(part * per_thread + i);
                }
            });
        }
    });
    let [spend, reach, baskets, revenue, roi, incremental_buyers, incremental_roi] = columns;
    let present =
        |s: Option<Summary>| s.expect("counts and amounts are numbers in every draw, and there is at least one draw");
    Simulation {
        draws,
        seed,
        spend: present(spend),
        reach: present(reach),
        baskets: present(baskets),
        revenue: present(revenue),
        roi,
        incremental_buyers: present(incremental_buyers),
        incremental_roi,
        p_roi_positive: share_where(&|r| r[4] > 0.0),
        p_incremental_roi_positive: share_where(&|r| r[6] > 0.0),
        p_baskets_at_target: share_where(&|r| r[2] >= target),
        target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_takes_interpolated_quantiles() {
        let s = Summary::of((0..=100).rev().map(f64::from).collect()).unwrap();
        assert_eq!((s.mean, s.p05, s.p25, s.p50, s.p75, s.p95), (50.0, 5.0, 25.0, 50.0, 75.0, 95.0));
        let s = Summary::of(vec![1.0, 2.0, f64::NAN]).unwrap();
        assert_eq!((s.p50, s.mean), (1.5, 1.5));
        assert_eq!(Summary::of(vec![f64::NAN]), None);
        assert_eq!(Summary::of(vec![3.0]).unwrap().p95, 3.0);
    }
}
