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

use serde::{Deserialize, Deserializer};

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

/// Written like the options: a number, `"5%"`, `"beta(a,b)"`, `"lognormal(median,sigma)"` or `"mean(m,cv)"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior(pub Distribution);

impl<'de> Deserialize<'de> for Prior {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Text(String),
        }
        match Written::deserialize(deserializer) {
            Ok(Written::Number(number)) => Ok(Self(Distribution::Point(number))),
            Ok(Written::Text(text)) => text.parse().map(Self).map_err(serde::de::Error::custom),
            Err(_) => Err(serde::de::Error::custom("write a number, \"5%\" or \"beta(10,6)\"")),
        }
    }
}

/// The assumptions of one platform; those left out keep their built-in prior.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Priors {
    /// Share of persons the platform recognises.
    #[serde(rename = "match")]
    pub match_rate: Option<Prior>,
    /// Share of those it can show ads to.
    pub in_flight: Option<Prior>,
    /// Price of 1,000 ad views.
    pub cpm: Option<Prior>,
    /// Most ad views per person and flight.
    pub cap: Option<Prior>,
    /// Shape of the reach curve.
    pub shape: Option<Prior>,
    /// Clicks per ad view.
    pub ctr: Option<Prior>,
    /// Share of clicks that reach the shop.
    pub landing: Option<Prior>,
    /// Orders per visit.
    pub cvr: Option<Prior>,
    /// Average order value.
    pub aov: Option<Prior>,
    /// Gross margin as a share of revenue.
    pub margin: Option<Prior>,
    /// Cost besides media.
    pub fixed: Option<Prior>,
    /// Share of the segment that returns by itself.
    pub p0: Option<Prior>,
    /// Relative rise of that share among persons reached.
    pub lift: Option<Prior>,
}

impl Priors {
    fn fields(&self) -> impl Iterator<Item = (Field, Distribution)> {
        [
            (Field::Match, self.match_rate),
            (Field::InFlight, self.in_flight),
            (Field::Cpm, self.cpm),
            (Field::Cap, self.cap),
            (Field::Shape, self.shape),
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
        .filter_map(|(field, prior)| Some((field, prior?.0)))
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
