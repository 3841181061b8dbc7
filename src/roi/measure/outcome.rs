//! What became of an experiment in the warehouse, as sums.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{proportions::Arms, revenue::Revenue};

/// One arm, everybody in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub struct ArmOutcome {
    /// Persons assigned; customers who share an address or a number are one.
    pub persons: u64,
    /// Customers behind them.
    pub customers: u64,
    /// Those with a purchase in the window.
    pub buyers: u64,
    pub orders: u64,
    /// Hundredths, net of cancellations.
    pub revenue_minor: i64,
    /// The same over the year before assignment.
    pub before_minor: i64,
}

/// What became of an experiment in the warehouse.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Outcome {
    pub as_of: DateTime<Utc>,
    pub window_days: u32,
    pub first_assigned: NaiveDate,
    pub last_assigned: NaiveDate,
    /// Persons whose window has not ended at `as_of`; they count with what they did so far.
    pub windows_open: u64,
    /// The last day on which anybody bought, as far as windows reach.
    pub last_purchase: Option<NaiveDate>,
    /// False when the warehouse's purchases end before the windows do, so that buyers are missing.
    pub covered: bool,
    /// Share of the assigned that was to be withheld.
    pub planned_holdout_share: f64,
    /// The share was changed while the experiment ran, so the arms hold different mixes of early and late persons.
    pub share_changed: bool,
    pub treated: ArmOutcome,
    pub holdout: ArmOutcome,
    /// Money per person, in whole units of the currency.
    #[serde(skip)]
    pub revenue: Option<Revenue>,
}

impl Outcome {
    pub fn arms(&self) -> Arms {
        let (treated, holdout) = (self.treated, self.holdout);
        Arms {
            treated: treated.persons,
            treated_buyers: treated.buyers,
            holdout: holdout.persons,
            holdout_buyers: holdout.buyers,
        }
    }

    /// Net revenue of the window per order, both arms, in whole units; `None` when there is none.
    pub fn aov(&self) -> Option<f64> {
        let orders = self.treated.orders + self.holdout.orders;
        let revenue = self.treated.revenue_minor + self.holdout.revenue_minor;
        (orders > 0 && revenue > 0).then(|| revenue as f64 / 100.0 / orders as f64)
    }
}
