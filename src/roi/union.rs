//! Several platforms at once: people are counted once, not once per platform.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    inputs::{Field, Inputs},
    projection::{Projection, project_with_threads},
    simulate::{Drawer, Summary, available_threads, draw_all},
};

/// Share of the segment reached by at least one platform.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct UnionReach {
    /// If platforms reach independently of each other.
    pub independent: f64,
    /// At least: everyone is on the largest platform.
    pub low: f64,
    /// At most: nobody is on two.
    pub high: f64,
}

/// Union of the shares m_j s_j rho_j each platform reaches of the whole segment.
pub fn union_reach(shares: &[f64]) -> UnionReach {
    UnionReach {
        independent: 1.0 - shares.iter().map(|s| 1.0 - s).product::<f64>(),
        low: shares.iter().copied().fold(0.0, f64::max),
        high: shares.iter().sum::<f64>().min(1.0),
    }
}

/// Projection over several platforms for one segment.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct UnionProjection {
    /// Each platform alone.
    pub platforms: Vec<Projection>,
    /// Share of the segment reached by any, at central values.
    pub reach: UnionReach,
    /// Persons reached by any, simulated under independence.
    pub persons_reached: Summary,
    /// Buyers caused, one lift per person reached however many platforms reached them.
    pub incremental_buyers: Summary,
    /// Return of all platforms together on those buyers; absent when nothing is spent.
    pub incremental_roi: Option<Summary>,
    /// Share of simulated campaigns whose caused buyers pay the whole cost.
    pub p_incremental_roi_positive: f64,
    /// Media and fixed cost of all platforms at central values.
    pub cost: f64,
}

/// Projects several platforms for the same segment; seed, draws, segment assumptions are those of the first.
///
/// Fixed costs are added up, so give each platform its own part. Nothing is returned for an empty list.
pub fn project_union(all: &[Inputs]) -> Option<UnionProjection> {
    let first = all.first()?;
    let threads = available_threads();
    let platforms: Vec<Projection> = all.iter().map(|i| project_with_threads(i, threads)).collect();
    let everyone = first.inactives as f64;
    let share = |reach: f64| if everyone > 0.0 { reach / everyone } else { 0.0 };
    let shares: Vec<f64> = platforms.iter().map(|p| share(p.point.reach)).collect();

    let mut resolved: Vec<_> = all.iter().map(Inputs::resolve).collect();
    let shared = resolved[0].values.clone();
    for other in &mut resolved {
        for field in Field::ALL.into_iter().filter(|f| f.of_the_segment()) {
            other.values[field as usize] = shared[field as usize].clone();
        }
    }
    let drawers: Vec<Drawer<'_>> =
        resolved.iter().enumerate().map(|(i, r)| Drawer::new(r, first.seed, i as u32)).collect();
    let rows: Vec<[f64; 3]> = draw_all(first.draws.max(1), threads, |draw| {
        let (mut missed, mut cost, mut per_person, mut per_order) = (1.0, 0.0, 0.0, 0.0);
        for (drawer, resolved) in drawers.iter().zip(&resolved) {
            let campaign = resolved.campaign(&drawer.values(draw));
            let delivery = campaign.delivery();
            missed *= 1.0 - share(delivery.reach);
            cost += delivery.spend + campaign.fixed;
            (per_person, per_order) = (campaign.p0 * campaign.lift, campaign.aov * campaign.margin);
        }
        let reached = everyone * (1.0 - missed);
        let buyers = reached * per_person;
        [reached, buyers, if cost > 0.0 { (buyers * per_order - cost) / cost } else { f64::NAN }]
    });
    let column = |m: usize| Summary::of(rows.iter().map(|r| r[m]));
    Some(UnionProjection {
        reach: union_reach(&shares),
        persons_reached: column(0)?,
        incremental_buyers: column(1)?,
        incremental_roi: column(2),
        p_incremental_roi_positive: rows.iter().filter(|r| r[2] > 0.0).count() as f64 / rows.len() as f64,
        cost: platforms.iter().map(|p| p.point.cost).sum(),
        platforms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn union_lies_between_the_largest_and_the_sum() {
        let u = union_reach(&[0.5, 0.3, 0.2]);
        assert!((u.independent - (1.0 - 0.5 * 0.7 * 0.8)).abs() < 1e-12);
        assert_eq!((u.low, u.high), (0.5, 1.0));
        assert_eq!(union_reach(&[]), UnionReach { independent: 0.0, low: 0.0, high: 0.0 });
    }

    #[test]
    fn a_second_platform_adds_fewer_persons_than_it_reaches_alone() {
        let mut all =
            [Inputs::for_platform("meta", 100_000).unwrap(), Inputs::for_platform("google", 100_000).unwrap()];
        for i in &mut all {
            i.draws = 4000;
        }
        let union = project_union(&all).unwrap();
        let alone: Vec<f64> = union.platforms.iter().map(|p| p.simulation.reach.mean).collect();
        assert!(union.persons_reached.mean > alone[0].max(alone[1]));
        assert!(union.persons_reached.mean < 0.9 * (alone[0] + alone[1]));
        assert!(project_union(&[]).is_none());
    }
}
