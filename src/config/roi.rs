//! `[roi.priors.*]`: what projections start from, where the built-in priors do not fit the user's trade.
//!
//! ```toml
//! [roi.priors.meta]
//! match = "beta(10,6)"
//! cpm = "lognormal(9,0.3)"
//! [roi.priors.all]
//! margin = 0.55
//! ```
//! What Réveil observes moves these as it moves the built-in ones; an option of the command line replaces them.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::roi::request::value::Limit;
use crate::roi::{Distribution, Field, Inputs};

/// Goes for every platform; a platform's own section wins.
const ALL: &str = "all";

/// `[roi]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoiConfig {
    /// By platform as in `reveil roi project --platform`, or `all`.
    #[serde(default)]
    pub priors: BTreeMap<String, Priors>,
}

/// The assumptions of one platform, written like the options: a number, `"5%"`, `"beta(a,b)"`, `"lognormal(median,sigma)"`
/// or `"mean(m,cv)"`. Those left out keep their built-in prior.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Priors {
    /// Share of persons the platform recognises.
    #[serde(rename = "match")]
    pub match_rate: Option<Distribution>,
    /// Share of those it can show ads to.
    pub in_flight: Option<Distribution>,
    /// Price of 1,000 ad views.
    pub cpm: Option<Distribution>,
    /// Most ad views per person and flight.
    pub cap: Option<Limit>,
    /// Shape of the reach curve.
    pub shape: Option<Limit>,
    /// Clicks per ad view.
    pub ctr: Option<Distribution>,
    /// Share of clicks that reach the shop.
    pub landing: Option<Distribution>,
    /// Orders per visit.
    pub cvr: Option<Distribution>,
    /// Average order value.
    pub aov: Option<Distribution>,
    /// Gross margin as a share of revenue.
    pub margin: Option<Distribution>,
    /// Cost besides media.
    pub fixed: Option<Distribution>,
    /// Share of the segment that returns by itself.
    pub p0: Option<Distribution>,
    /// Relative rise of that share among persons reached.
    pub lift: Option<Distribution>,
}

impl Priors {
    fn fields(&self) -> impl Iterator<Item = (Field, Distribution)> {
        [
            (Field::Match, self.match_rate),
            (Field::InFlight, self.in_flight),
            (Field::Cpm, self.cpm),
            (Field::Cap, self.cap.map(|cap| cap.0)),
            (Field::Shape, self.shape.map(|shape| shape.0)),
            (Field::Ctr, self.ctr),
            (Field::Landing, self.landing),
            (Field::Cvr, self.cvr),
            (Field::Aov, self.aov),
            (Field::Margin, self.margin),
            (Field::Fixed, self.fixed),
            (Field::P0, self.p0),
            (Field::Lift, self.lift),
        ]
        .into_iter()
        .filter_map(|(field, prior)| Some((field, prior?)))
    }
}

impl RoiConfig {
    /// Puts the user's priors in the place of the built-in ones.
    ///
    /// # Errors
    /// A value outside the range of its assumption; not for a configuration that was loaded.
    pub fn apply(&self, inputs: &mut Inputs) -> Result<(), crate::roi::inputs::InputError> {
        for section in [ALL, inputs.platform.slug] {
            for (field, value) in self.priors.get(section).into_iter().flat_map(Priors::fields) {
                inputs.set_prior(field, value, format!("config: roi.priors.{section}.{}", field.name()))?;
            }
        }
        Ok(())
    }

    pub(super) fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        for (section, priors) in &self.priors {
            let platform = if section == ALL { "meta" } else { section };
            let mut inputs = match Inputs::for_platform(platform, 1) {
                Ok(inputs) => inputs,
                Err(error) => {
                    faults.push((format!("roi.priors.{section}"), error.to_string().replace('\n', "; ")));
                    continue;
                }
            };
            for (field, value) in priors.fields() {
                if let Err(error) = inputs.set_prior(field, value, "") {
                    let key = format!("roi.priors.{section}.{}", field.name());
                    faults.push((key, error.to_string().replace('\n', "; ")));
                }
            }
        }
        faults
    }
}
