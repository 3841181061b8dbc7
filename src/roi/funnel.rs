//! The arithmetic of one campaign: from inactives to baskets by the click funnel, and to incremental buyers by the causal
//! route. Plain numbers in, plain numbers out; uncertainty is added by `simulate`.

use serde::Serialize;
use utoipa::ToSchema;

/// One fully specified campaign. Shares are in [0, 1], money in one currency, CPM per 1,000 impressions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Campaign {
    /// Persons in the segment who are sent.
    pub inactives: f64,
    /// Share of them the platform matches.
    pub match_rate: f64,
    /// Share of the matched who can be served during the flight.
    pub in_flight: f64,
    /// Money for media.
    pub budget: f64,
    /// Price of 1,000 impressions.
    pub cpm: f64,
    /// Clicks per impression.
    pub ctr: f64,
    /// Share of clicks that become visits.
    pub landing: f64,
    /// Orders per visit.
    pub cvr: f64,
    /// Average order value.
    pub aov: f64,
    /// Gross margin as a share of revenue.
    pub margin: f64,
    /// Cost besides media.
    pub fixed: f64,
    /// Most impressions per reachable person and flight; infinite for no cap.
    pub cap: f64,
    /// Shape of the reach curve; infinite for random exposure.
    pub shape: f64,
    /// Share of the segment that returns in the window without any ads.
    pub p0: f64,
    /// Relative lift of that share among persons reached.
    pub lift: f64,
}

/// What a campaign is projected to do. Ratios without a denominator are absent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct CampaignFunnel {
    /// Persons matched.
    pub matched: f64,
    /// Matched persons in flight.
    pub reachable: f64,
    /// Impressions bought.
    pub impressions: f64,
    /// Impressions per person who could see them.
    pub exposure: Option<f64>,
    /// Media money spent.
    pub spend: f64,
    /// Persons who see at least one ad.
    pub reach: f64,
    /// Impressions per person reached.
    pub frequency: Option<f64>,
    /// Clicks.
    pub clicks: f64,
    /// Visits to the shop.
    pub visits: f64,
    /// Orders attributed by the click funnel.
    pub baskets: f64,
    /// Revenue of those orders.
    pub revenue: f64,
    /// Gross margin of those orders.
    pub margin: f64,
    /// Media and fixed cost.
    pub cost: f64,
    /// Margin less cost.
    pub profit: f64,
    /// (margin - cost) / cost.
    pub roi: Option<f64>,
    /// revenue / spend.
    pub roas: Option<f64>,
    /// cost / baskets.
    pub cpa: Option<f64>,
    /// spend / clicks.
    pub cpc: Option<f64>,
    /// Orders per visit at which margin pays the cost.
    pub breakeven_cvr: Option<f64>,
    /// CPM at which margin pays the cost.
    pub breakeven_cpm: Option<f64>,
    /// Order value at which margin pays the cost.
    pub breakeven_aov: Option<f64>,
    /// Persons reached who would have bought without ads.
    pub spontaneous_buyers: f64,
    /// Buyers the ads cause.
    pub incremental_buyers: f64,
    /// Incremental revenue / spend.
    pub iroas: Option<f64>,
    /// (incremental margin - cost) / cost.
    pub incremental_roi: Option<f64>,
}

pub(crate) fn ratio(numerator: f64, denominator: f64) -> Option<f64> {
    (denominator != 0.0).then(|| numerator / denominator).filter(|r| r.is_finite())
}

/// Share of persons reached by `g` impressions per reachable person.
///
/// Exposure is gamma-Poisson with this shape; an infinite shape is plain Poisson.
pub fn reach_share(g: f64, shape: f64) -> f64 {
    if shape.is_infinite() { -(-g).exp_m1() } else { -(-shape * (g / shape).ln_1p()).exp_m1() }
}

/// Share of the full lift that a reachable person has on average at `g` impressions each: one who sees x has
/// 1 - exp(-x/3) of what somebody has who sees very many, and x is spread with this shape.
pub fn share_of_full_lift(g: f64, shape: f64) -> f64 {
    reach_share(g * -(-1.0f64 / 3.0).exp_m1(), shape)
}

/// The five numbers the simulation needs before it draws counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery {
    pub matched: f64,
    pub reachable: f64,
    pub impressions: f64,
    pub spend: f64,
    pub reach: f64,
}

impl Campaign {
    pub(crate) fn delivery(&self) -> Delivery {
        let matched = self.inactives * self.match_rate;
        let reachable = matched * self.in_flight;
        let affordable = if self.cpm > 0.0 { 1000.0 * self.budget / self.cpm } else { f64::INFINITY };
        // A cap of infinity times nobody is not a number; nobody gets no impressions.
        let allowed = if reachable > 0.0 { self.cap * reachable } else { 0.0 };
        let impressions = affordable.min(allowed);
        let g = if reachable > 0.0 { impressions / reachable } else { 0.0 };
        Delivery {
            matched,
            reachable,
            impressions,
            spend: impressions * self.cpm / 1000.0,
            reach: reachable * reach_share(g, self.shape),
        }
    }

    /// Both routes, in expectation.
    pub fn funnel(&self) -> CampaignFunnel {
        let Delivery { matched, reachable, impressions, spend, reach } = self.delivery();
        let clicks = impressions * self.ctr;
        let visits = clicks * self.landing;
        let baskets = visits * self.cvr;
        let revenue = baskets * self.aov;
        let margin = revenue * self.margin;
        let cost = spend + self.fixed;
        let spontaneous_buyers = reach * self.p0;
        let incremental_buyers = spontaneous_buyers * self.lift;
        let incremental_revenue = incremental_buyers * self.aov;
        CampaignFunnel {
            matched,
            reachable,
            impressions,
            exposure: ratio(impressions, reachable),
            spend,
            reach,
            frequency: ratio(impressions, reach),
            clicks,
            visits,
            baskets,
            revenue,
            margin,
            cost,
            profit: margin - cost,
            roi: ratio(margin - cost, cost),
            roas: ratio(revenue, spend),
            cpa: ratio(cost, baskets),
            cpc: ratio(spend, clicks),
            breakeven_cvr: ratio(cost, visits * self.aov * self.margin),
            breakeven_cpm: ratio(1000.0 * (margin - self.fixed), impressions),
            breakeven_aov: ratio(cost, baskets * self.margin),
            spontaneous_buyers,
            incremental_buyers,
            iroas: ratio(incremental_revenue, spend),
            incremental_roi: ratio(incremental_revenue * self.margin - cost, cost),
        }
    }
}

/// The pressure at which one more impression earns what it costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Optimum {
    /// Margin earned per unit of money by the very first impressions; at or below 1, do not spend.
    pub value_per_reach: f64,
    /// Impressions per reachable person.
    pub impressions_per_person: f64,
    /// Media money.
    pub budget: f64,
    /// Persons reached.
    pub reach: f64,
    /// Buyers the ads cause at that pressure.
    pub incremental_buyers: f64,
    /// Their margin.
    pub incremental_margin: f64,
    /// Their margin less the media money; fixed cost aside.
    pub profit: f64,
}

impl Campaign {
    /// Profit-optimal pressure on the causal route, never above the cap.
    pub fn optimum(&self) -> Optimum {
        let reachable = self.inactives * self.match_rate * self.in_flight;
        let per_buyer = self.p0 * self.lift * self.aov * self.margin;
        let value = 1000.0 / self.cpm * per_buyer;
        let wanted = if value <= 1.0 {
            0.0
        } else if self.shape.is_infinite() {
            value.ln()
        } else {
            self.shape * (value.powf(1.0 / (self.shape + 1.0)) - 1.0)
        };
        let g = wanted.min(self.cap);
        let budget = g * reachable * self.cpm / 1000.0;
        let reach = reachable * reach_share(g, self.shape);
        Optimum {
            value_per_reach: value,
            impressions_per_person: g,
            budget,
            reach,
            incremental_buyers: reach * self.p0 * self.lift,
            incremental_margin: reach * per_buyer,
            profit: reach * per_buyer - budget,
        }
    }
}
