//! What a segment did by itself in the past: rebuilt at earlier dates, and who bought since.
//!
//! Data that end before a window does would show nobody returning, which is worse than knowing nothing: such windows
//! are left out, with the reason.

use chrono::{DateTime, Duration, Utc};

use crate::config::{Inactive, WarehouseConfig};
use crate::segment;
pub use crate::segment::compare::QUIET_DAYS;
use crate::segment::compare::{WINDOWS, covered};
use crate::warehouse::Source;

/// Window that projections count in.
pub const RETURN_WINDOW_DAYS: u32 = 60;
/// How many earlier dates, and how far apart: the longest window, so that none overlaps the next.
const DATES: i64 = 3;
const STEP_DAYS: i64 = 90;

/// The segment at one earlier date.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    pub as_of: DateTime<Utc>,
    pub inactive: u64,
    /// Days and who returned within them, of the windows that the data cover.
    pub returned: Vec<(u32, u64)>,
}

/// The segment at several earlier dates.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// Latest first; dates at which nobody was inactive are left out.
    pub past: Vec<Past>,
    /// Net revenue per order of the inactives' own past, hundredths.
    pub aov_minor: Option<f64>,
    /// Why something is missing, in whole sentences.
    pub missing: Vec<String>,
}

impl History {
    /// Asks the warehouse, once per date.
    ///
    /// # Errors
    /// A faulty definition, or the warehouse's errors.
    pub async fn read(
        source: &dyn Source,
        mapping: &WarehouseConfig,
        definition: &Inactive,
        as_of: DateTime<Utc>,
    ) -> crate::warehouse::Result<Self> {
        let mut history = Self::default();
        if mapping.events.is_empty() {
            history.missing.push("No events are mapped, so nothing is known of who comes back without ads.".to_owned());
            return Ok(history);
        }
        let mut last_purchase = None;
        for back in 1..=DATES {
            let at = as_of - Duration::days(STEP_DAYS * back);
            let found = segment::returns(source, mapping, definition, at, &WINDOWS).await?;
            last_purchase = last_purchase.max(found.last_purchase_at);
            if found.inactive == 0 {
                continue;
            }
            history.aov_minor = history.aov_minor.or(found.aov_pooled_minor);
            let returned = found.windows.iter().filter(|window| covered(at, window.days, last_purchase));
            let returned = returned.map(|window| (window.days, window.returned)).collect();
            history.past.push(Past { as_of: at, inactive: found.inactive, returned });
        }
        history.stale(as_of, last_purchase);
        if history.past.is_empty() {
            history.missing.push(format!(
                "Nobody was inactive by this definition {STEP_DAYS} to {} days ago, so the share who come back without ads \
                 is not from this shop.",
                STEP_DAYS * DATES
            ));
        }
        Ok(history)
    }

    fn stale(&mut self, as_of: DateTime<Utc>, last_purchase: Option<DateTime<Utc>>) {
        let now = as_of.format("%Y-%m-%d");
        let Some(last) = last_purchase else {
            self.missing.push(format!(
                "Nobody bought anything in the {} days before {now}: the warehouse seems to end earlier, so nothing was \
                 learned of who comes back without ads, and who bought since counts as inactive.",
                STEP_DAYS * DATES
            ));
            return;
        };
        let quiet = (as_of - last).num_days();
        if quiet > QUIET_DAYS {
            self.missing.push(format!(
                "The warehouse's last purchase is of {}, {quiet} days before {now}: windows that end later were left out, \
                 and who bought since counts as inactive. Load newer orders or give an earlier date.",
                last.format("%Y-%m-%d")
            ));
        }
    }

    /// `(returned, inactive)` of each date within [`RETURN_WINDOW_DAYS`].
    pub fn windows(&self) -> Vec<(u64, u64)> {
        let window = |past: &Past| {
            let found = past.returned.iter().find(|(days, _)| *days == RETURN_WINDOW_DAYS)?;
            Some((found.1, past.inactive))
        };
        self.past.iter().filter_map(window).collect()
    }
}
