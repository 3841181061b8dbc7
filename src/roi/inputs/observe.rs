//! Observations that move the assumptions; the rules are in `update`.

use super::{Field, InputError, Inputs, check};
use crate::roi::{distribution::Distribution, update};

impl Inputs {
    fn beta(&self, field: Field) -> (f64, f64) {
        match self.get(field).map(|a| a.value) {
            Some(Distribution::Beta { a, b } | Distribution::TruncatedBeta { a, b, .. }) => (a, b),
            // A stated point is overruled by an observation; start from no knowledge.
            _ => (1.0, 1.0),
        }
    }

    /// The platform counted `matched` of `sent` persons of this very audience.
    ///
    /// # Errors
    /// When more persons matched than were sent.
    pub fn observe_match_exact(&mut self, matched: u64, sent: u64) -> Result<(), InputError> {
        let value = update::exact(self.beta(Field::Match), matched, sent, "match")?;
        self.observe(Field::Match, value, format!("observed: {matched} of {sent} persons matched"));
        Ok(())
    }

    /// Earlier lists on this platform matched like this (`(matched, sent)` each); this one is new.
    ///
    /// # Errors
    /// When more persons matched than were sent.
    pub fn observe_match_past_lists(&mut self, lists: &[(u64, u64)]) -> Result<(), InputError> {
        let value = update::past_lists(self.beta(Field::Match), lists)?;
        self.observe(
            Field::Match,
            value,
            format!("observed: {} earlier list(s), worth 200 persons at most", lists.len()),
        );
        Ok(())
    }

    /// The platform reports a match share in [`low`, `high`), from a bucket or from bounds.
    ///
    /// # Errors
    /// When the interval is empty or outside [0, 1].
    pub fn observe_match_interval(&mut self, low: f64, high: f64) -> Result<(), InputError> {
        let prior = self.beta(Field::Match);
        let bucket = update::interval(prior, low, high)?;
        if let Some(warning) = bucket.warning() {
            self.warnings.push(warning);
        }
        let source = format!("observed: {} says {:.1} % to {:.1} %", self.platform.label, 100.0 * low, 100.0 * high);
        self.observe(Field::Match, bucket.posterior, source);
        Ok(())
    }

    /// Delivery figures of an earlier flight: clicks of impressions.
    ///
    /// # Errors
    /// When there are more clicks than impressions.
    pub fn observe_clicks(&mut self, clicks: u64, impressions: u64) -> Result<(), InputError> {
        let value = update::exact(self.beta(Field::Ctr), clicks, impressions, "ctr")?;
        self.observe(Field::Ctr, value, format!("observed: {clicks} clicks of {impressions} impressions"));
        Ok(())
    }

    /// Delivery figures of an earlier flight: orders of visits.
    ///
    /// # Errors
    /// When there are more orders than visits.
    pub fn observe_orders(&mut self, orders: u64, visits: u64) -> Result<(), InputError> {
        let value = update::exact(self.beta(Field::Cvr), orders, visits, "cvr")?;
        self.observe(Field::Cvr, value, format!("observed: {orders} orders of {visits} visits"));
        Ok(())
    }

    /// CPMs paid in earlier flights.
    ///
    /// # Errors
    /// When one is not above 0.
    pub fn observe_cpms(&mut self, cpms: &[f64]) -> Result<(), InputError> {
        let (median, sigma) = match self.get(Field::Cpm).map(|a| a.value) {
            Some(Distribution::LogNormal { median, sigma }) if sigma > 0.0 => (median, sigma),
            Some(other) => (other.central(), 0.5),
            None => (10.0, 1.0),
        };
        let value = update::cpm((median, sigma), cpms)?;
        self.observe(Field::Cpm, value, format!("observed: {} earlier flight(s)", cpms.len()));
        Ok(())
    }

    /// Reach reported by the platform: share of reachable persons seen, at `g` impressions per reachable person.
    ///
    /// # Errors
    /// When no reach curve passes through that point.
    pub fn observe_reach(&mut self, g: f64, share: f64) -> Result<(), InputError> {
        let shape = update::reach_shape(g, share)?;
        self.observe(Field::Shape, Distribution::Point(shape), format!("observed: {:.1} % reached", 100.0 * share));
        Ok(())
    }

    /// The segment rebuilt at earlier dates: `(buyers, inactives)` of each window.
    ///
    /// # Errors
    /// When there is no window, or one has more buyers than persons.
    pub fn observe_p0(&mut self, windows: &[(u64, u64)]) -> Result<(), InputError> {
        let value = update::spontaneous_return(windows)?;
        let (buyers, persons) = windows.iter().fold((0, 0), |t, w| (t.0 + w.0, t.1 + w.1));
        self.observe(
            Field::P0,
            value,
            format!("backtest: {buyers} of {persons} returned, {} window(s)", windows.len()),
        );
        Ok(())
    }

    /// Order value of the segment's own past orders.
    ///
    /// # Errors
    /// When the mean is not above 0.
    pub fn observe_aov(&mut self, mean: f64, cv: f64, source: impl Into<String>) -> Result<(), InputError> {
        let value = Distribution::MeanCv { mean, cv };
        check(Field::Aov, &value)?;
        self.observe(Field::Aov, value, source.into());
        Ok(())
    }

    /// Lifts measured in own experiments.
    ///
    /// # Errors
    /// When there is none, or one has no standard error.
    pub fn observe_lifts(&mut self, past: &[update::PastLift]) -> Result<(), InputError> {
        let prior = match self.get(Field::Lift).map(|a| a.value) {
            Some(Distribution::LogNormal { median, sigma }) => (median, sigma),
            _ => (0.10, 1.0),
        };
        let value = update::lift(prior, past)?;
        self.observe(Field::Lift, value, format!("observed: {} own experiment(s), random effects", past.len()));
        Ok(())
    }

    /// Says why an assumption was left as it is.
    pub fn remark(&mut self, field: Field, why: &str) {
        if let Some(known) = &mut self.values[field as usize] {
            known.source = format!("{}; {why}", known.source);
        }
    }
}
