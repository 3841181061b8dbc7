//! The fourteen assumptions by name.

use serde::Serialize;
use utoipa::ToSchema;

/// The assumptions, in the order reports print them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[repr(usize)]
pub enum Field {
    /// Share of persons matched.
    Match,
    /// Share of the matched served in the flight.
    InFlight,
    /// Media money.
    Budget,
    /// Price per 1,000 impressions.
    Cpm,
    /// Impressions per person and flight at most.
    Cap,
    /// Shape of the reach curve.
    Shape,
    /// Clicks per impression.
    Ctr,
    /// Visits per click.
    Landing,
    /// Orders per visit.
    Cvr,
    /// Average order value.
    Aov,
    /// Gross margin share.
    Margin,
    /// Cost besides media.
    Fixed,
    /// Spontaneous return.
    P0,
    /// Relative lift among the reached.
    Lift,
}

/// Number of assumptions.
pub(crate) const FIELDS: usize = 14;

impl Field {
    /// All of them, in report order.
    pub const ALL: [Self; FIELDS] = [
        Self::Match,
        Self::InFlight,
        Self::Budget,
        Self::Cpm,
        Self::Cap,
        Self::Shape,
        Self::Ctr,
        Self::Landing,
        Self::Cvr,
        Self::Aov,
        Self::Margin,
        Self::Fixed,
        Self::P0,
        Self::Lift,
    ];

    /// Name in JSON; the option of the command line is the same with dashes.
    pub fn name(self) -> &'static str {
        self.words().0
    }

    /// What it means, for people.
    pub fn label(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Match => ("match", "share of persons the platform recognises"),
            Self::InFlight => ("in_flight", "share of those it can show ads to"),
            Self::Budget => ("budget", "media budget"),
            Self::Cpm => ("cpm", "price of 1,000 ad views"),
            Self::Cap => ("cap", "most ad views per person"),
            Self::Shape => ("shape", "how evenly views spread over people"),
            Self::Ctr => ("ctr", "clicks per ad view"),
            Self::Landing => ("landing", "share of clicks that reach the shop"),
            Self::Cvr => ("cvr", "orders per visit"),
            Self::Aov => ("aov", "average order value"),
            Self::Margin => ("margin", "gross margin"),
            Self::Fixed => ("fixed", "cost besides media"),
            Self::P0 => ("p0", "share who return without any ads"),
            Self::Lift => ("lift", "how much ads raise that share"),
        }
    }

    /// True for values between 0 and 1.
    pub fn is_share(self) -> bool {
        matches!(self, Self::Match | Self::InFlight | Self::Ctr | Self::Landing | Self::Cvr | Self::Margin | Self::P0)
    }

    /// True for amounts of money.
    pub fn is_money(self) -> bool {
        matches!(self, Self::Budget | Self::Cpm | Self::Aov | Self::Fixed)
    }

    /// True for what belongs to the customers rather than to the platform, so that platforms share it.
    pub(crate) fn of_the_segment(self) -> bool {
        matches!(self, Self::Aov | Self::Margin | Self::P0 | Self::Lift)
    }
}
