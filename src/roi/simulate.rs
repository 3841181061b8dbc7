//! Many simulated campaigns: how sure the projection is.
//!
//! Draw i depends on the seed and i alone and is stored at place i, so the result is the same, to the byte, on one thread
//! or on many.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    inputs::{FIELDS, Field, Resolved},
    random::{Lattice, Stream},
    sampler::Sampler,
};

/// Where a simulated quantity lies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
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
    /// Summary of `values`; none when there are none. Values that are not numbers are left out.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut total = 0.0;
        // Integers that order like the numbers: they are compared several times faster than floats.
        let mut keys: Vec<i64> = values
            .filter(|v| !v.is_nan())
            .map(|v| {
                total += v;
                ordered(v.to_bits() as i64)
            })
            .collect();
        let last = keys.len().checked_sub(1)?;
        let places = [0.05, 0.25, 0.50, 0.75, 0.95].map(|p| p * last as f64);
        let mut wanted: Vec<usize> =
            places.iter().flat_map(|place| [*place as usize, (*place as usize + 1).min(last)]).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut found = vec![0; wanted.len()];
        pick(&mut keys, 0, &wanted, &mut found);
        let at = |place: usize| {
            let known = wanted.binary_search(&place.min(last)).expect("every place asked for is among the wanted");
            f64::from_bits(ordered(found[known]) as u64)
        };
        let [p05, p25, p50, p75, p95] = places.map(|place| {
            let (low, next) = (at(place as usize), at(place as usize + 1));
            low + place.fract() * (next - low)
        });
        Some(Self { mean: total / keys.len() as f64, p05, p25, p50, p75, p95 })
    }
}

/// The keys at the `wanted` places (rising, each once) of the sorted whole, of which `keys` begin at place `first`.
/// Sorting all of them would take several times as long.
fn pick(keys: &mut [i64], first: usize, wanted: &[usize], found: &mut [i64]) {
    let middle = wanted.len() / 2;
    let Some(place) = wanted.get(middle) else { return };
    let (below, key, above) = keys.select_nth_unstable(place - first);
    found[middle] = *key;
    pick(below, first, &wanted[..middle], &mut found[..middle]);
    pick(above, place + 1, &wanted[middle + 1..], &mut found[middle + 1..]);
}

/// Maps the bits of a float to an integer of the same order, and back.
fn ordered(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// What the simulated campaigns came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Simulation {
    /// Campaigns simulated.
    pub draws: usize,
    /// Seed they came from.
    pub seed: u64,
    /// Persons matched.
    pub matched: Summary,
    /// Impressions bought.
    pub impressions: Summary,
    /// Media money spent.
    pub spend: Summary,
    /// Persons reached.
    pub reach: Summary,
    /// Impressions per person reached; absent when nobody is.
    pub frequency: Option<Summary>,
    /// Clicks.
    pub clicks: Summary,
    /// Baskets by the click funnel.
    pub baskets: Summary,
    /// Their revenue.
    pub revenue: Summary,
    /// That revenue / spend; absent when nothing is spent.
    pub roas: Option<Summary>,
    /// Return by the click funnel; absent when nothing is spent.
    pub roi: Option<Summary>,
    /// Buyers the ads cause.
    pub incremental_buyers: Summary,
    /// Revenue of those / spend; absent when nothing is spent.
    pub iroas: Option<Summary>,
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

const METRICS: usize = 13;
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
    lattice: Lattice,
    place: u32,
}

/// Lattice axis of each assumption; the first ones are the most even, so they go to what decides the tails.
const AXES: [Field; Lattice::AXES] = [
    Field::Lift,
    Field::Cvr,
    Field::P0,
    Field::Cpm,
    Field::Match,
    Field::InFlight,
    Field::Aov,
    Field::Ctr,
    Field::Landing,
    Field::Margin,
    Field::Budget,
    Field::Fixed,
    Field::Shape,
    Field::Cap,
];

impl<'a> Drawer<'a> {
    /// `place` tells platforms of one union apart; what belongs to the segment is drawn alike for all of them.
    pub fn new(resolved: &'a Resolved, seed: u64, place: u32) -> Self {
        let samplers = std::array::from_fn(|i| resolved.values[i].value.sampler());
        Self { resolved, samplers, seed, lattice: Lattice::new(seed), place }
    }

    pub fn values(&self, draw: u64) -> [f64; FIELDS] {
        let mut values = [0.0; FIELDS];
        for (axis, field) in AXES.into_iter().enumerate() {
            let i = field as usize;
            values[i] = match &self.samplers[i] {
                Sampler::Point(value) => *value,
                // Only the first platform's own assumptions are on the lattice: two platforms on one axis would always be
                // lucky together.
                sampler if self.place == 0 || field.of_the_segment() => sampler.at(self.lattice.at(draw, axis)),
                sampler => {
                    let variable = i as u32 + self.place * PLATFORM_STRIDE;
                    sampler.at(Stream::new(self.seed, draw, variable).uniform())
                }
            };
        }
        values
    }

    fn row(&self, draw: u64) -> Row {
        let campaign = self.resolved.campaign(&self.values(draw));
        let offset = self.place * PLATFORM_STRIDE;
        let delivery = campaign.delivery();
        let clicks = delivery.impressions * campaign.ctr;
        let expected = clicks * campaign.landing * campaign.cvr;
        let baskets = Stream::new(self.seed, draw, BASKETS + offset).poisson(expected);
        let caused = delivery.reach * campaign.p0 * campaign.lift;
        // A negative lift drives buyers away: count those and turn the sign.
        let incremental = Stream::new(self.seed, draw, INCREMENTAL + offset).poisson(caused.abs()).copysign(caused);
        let cost = delivery.spend + campaign.fixed;
        let per_order = campaign.aov * campaign.margin;
        let roi = |orders: f64| if cost > 0.0 { (orders * per_order - cost) / cost } else { f64::NAN };
        let over = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { f64::NAN };
        [
            delivery.spend,
            delivery.reach,
            baskets,
            baskets * campaign.aov,
            roi(baskets),
            incremental,
            roi(incremental),
            delivery.matched,
            delivery.impressions,
            over(delivery.impressions, delivery.reach),
            clicks,
            over(baskets * campaign.aov, delivery.spend),
            over(incremental * campaign.aov, delivery.spend),
        ]
    }
}

/// Threads this machine offers.
pub(crate) fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Draws a thread takes at a time: short enough that a busy core does not hold up the others.
const CHUNK: usize = 4096;

/// Hands `tasks` to `threads` threads, the next one to whoever is free.
fn share_out<T>(tasks: impl Iterator<Item = T> + Send, threads: usize, work: impl Fn(T) + Sync) {
    let tasks = Mutex::new(tasks);
    let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| std::iter::from_fn(next).for_each(&work));
        }
        std::iter::from_fn(next).for_each(&work);
    });
}

/// Computes `row(i)` for every draw, shared out over `threads`.
pub(crate) fn draw_all<T: Copy + Default + Send>(
    draws: usize,
    threads: usize,
    row: impl Fn(u64) -> T + Sync,
) -> Vec<T> {
    let mut rows = vec![T::default(); draws];
    share_out(rows.chunks_mut(CHUNK).enumerate(), threads.min(draws.div_ceil(CHUNK)), |(part, chunk)| {
        for (i, slot) in chunk.iter_mut().enumerate() {
            *slot = row((part * CHUNK + i) as u64);
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
    let column = |m: usize| Summary::of(rows.iter().map(|r| r[m]));
    let mut columns: [Option<Summary>; METRICS] = [None; METRICS];
    share_out(columns.iter_mut().enumerate(), threads.min(METRICS), |(i, slot)| *slot = column(i));
    let [spend, reach, baskets, revenue, roi, incremental_buyers, incremental_roi, more @ ..] = columns;
    let [matched, impressions, frequency, clicks, roas, iroas] = more;
    let present =
        |s: Option<Summary>| s.expect("counts and amounts are numbers in every draw, and there is at least one draw");
    Simulation {
        draws,
        seed,
        matched: present(matched),
        impressions: present(impressions),
        spend: present(spend),
        reach: present(reach),
        frequency,
        clicks: present(clicks),
        baskets: present(baskets),
        revenue: present(revenue),
        roas,
        roi,
        incremental_buyers: present(incremental_buyers),
        iroas,
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
        let s = Summary::of((-50..=50).rev().map(f64::from)).unwrap();
        assert_eq!((s.mean, s.p05, s.p25, s.p50, s.p75, s.p95), (0.0, -45.0, -25.0, 0.0, 25.0, 45.0));
        let s = Summary::of([1.0, 2.0, f64::NAN].into_iter()).unwrap();
        assert_eq!((s.p50, s.mean), (1.5, 1.5));
        assert_eq!(Summary::of([f64::NAN].into_iter()), None);
        assert_eq!(Summary::of([3.0].into_iter()).unwrap().p95, 3.0);
    }
}
