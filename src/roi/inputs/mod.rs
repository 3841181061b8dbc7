//! What a projection assumes: fourteen values, each with its uncertainty and its source.
//!
//! Starts from a platform's priors; a user's options and observations replace them one by one. Two values depend on the
//! others and are settled last: the cap is not assumed when match, in-flight share, budget and CPM were all given (they
//! fix the impressions already), and without a budget the projection spends what the cap allows.

mod field;
mod observe;

pub(crate) use field::FIELDS;
pub use field::Field;

use super::{
    distribution::Distribution,
    funnel::Campaign,
    priors::{self, Identifiers, PlatformPrior},
};

/// A value with its source, in words.
#[derive(Debug, Clone, PartialEq)]
pub struct Assumption {
    /// Value and uncertainty.
    pub value: Distribution,
    /// Where it comes from.
    pub source: String,
    given: bool,
}

impl Assumption {
    fn prior((value, source): (Distribution, String)) -> Option<Self> {
        Some(Self { value, source, given: false })
    }
}

/// An ISO 4217 code such as `EUR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The currency of the price priors.
    pub const EUR: Self = Self(*b"EUR");

    /// The three letters.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a currency code is checked to be ASCII when it is made")
    }
}

impl std::str::FromStr for Currency {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let upper = text.trim().to_ascii_uppercase();
        match <[u8; 3]>::try_from(upper.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Self(code)),
            _ => Err(InputError::Currency(text.to_owned())),
        }
    }
}

impl serde::Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> serde::Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An input that cannot be projected from.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InputError {
    /// The platform has no row of priors.
    #[error("no priors for platform `{0}`\nhint: use one of {known}", known = known_platforms())]
    Platform(String),
    /// Not three letters.
    #[error("`{0}` is not a currency code\nhint: use three letters such as EUR")]
    Currency(String),
    /// A value outside its range.
    #[error("{name} = {value} is out of range\nhint: {name} is {expected}")]
    Range {
        /// Name of the assumption.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// An observation that cannot be.
    #[error(
        "impossible observation of {what}: {why}\nhint: check that both counts are of persons and of the same list"
    )]
    Observation {
        /// What was observed.
        what: &'static str,
        /// Why it cannot be.
        why: String,
    },
}

impl InputError {
    /// The field at fault, where one is.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Platform(_) => Some("platform"),
            Self::Currency(_) => Some("currency"),
            Self::Range { name, .. } => Some(name),
            Self::Observation { .. } => None,
        }
    }
}

fn known_platforms() -> String {
    priors::PLATFORMS.iter().map(|p| p.slug).collect::<Vec<_>>().join(", ")
}

/// Everything one projection needs.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The platform whose priors fill the gaps.
    pub platform: &'static PlatformPrior,
    /// Persons in the segment who are sent.
    pub inactives: u64,
    /// Currency of every amount.
    pub currency: Currency,
    /// Seed of the simulation.
    pub seed: u64,
    /// Simulated campaigns.
    pub draws: usize,
    /// Baskets hoped for; without one, 1.5 % of the inactives, the common assumption.
    pub target: Option<f64>,
    pub(crate) warnings: Vec<String>,
    values: [Option<Assumption>; FIELDS],
}

impl Inputs {
    /// Simulated campaigns unless told otherwise.
    pub const DEFAULT_DRAWS: usize = 200_000;

    /// Priors of a platform for a list of e-mails and phones.
    ///
    /// # Errors
    /// When the platform has no row of priors.
    pub fn for_platform(slug: &str, inactives: u64) -> Result<Self, InputError> {
        Self::with_identifiers(slug, inactives, Identifiers::Several)
    }

    /// Priors of a platform for a list with these identifiers.
    ///
    /// # Errors
    /// When the platform has no row of priors.
    pub fn with_identifiers(slug: &str, inactives: u64, identifiers: Identifiers) -> Result<Self, InputError> {
        let platform = PlatformPrior::find(slug).ok_or_else(|| InputError::Platform(slug.to_owned()))?;
        let mut values: [Option<Assumption>; FIELDS] = Default::default();
        let mut put = |field: Field, cited| values[field as usize] = Assumption::prior(cited);
        put(Field::Match, platform.match_rate(identifiers));
        put(Field::Cpm, platform.cpm());
        put(Field::Ctr, platform.ctr());
        put(Field::Cvr, platform.cvr());
        put(Field::InFlight, (priors::IN_FLIGHT, "prior, all platforms".into()));
        put(Field::Landing, (priors::LANDING, "prior, all platforms".into()));
        put(Field::Shape, (Distribution::Point(priors::SHAPE), "prior, all platforms".into()));
        put(Field::Aov, (priors::AOV, "example value: use your segment's own orders".into()));
        put(Field::Margin, (priors::MARGIN, "example value: use your own margin".into()));
        put(Field::Fixed, (Distribution::Point(0.0), "none given".into()));
        put(Field::P0, (priors::P0, "CDNOW, silent 365 days, next 60 days: backtest yours".into()));
        put(Field::Lift, (priors::LIFT, "Gordon 2022, Johnson 2017: trials of ads elsewhere".into()));
        Ok(Self {
            platform,
            inactives,
            currency: Currency::EUR,
            seed: 1,
            draws: Self::DEFAULT_DRAWS,
            target: None,
            warnings: Vec::new(),
            values,
        })
    }

    /// Replaces an assumption by a value the user states.
    ///
    /// # Errors
    /// When the value is outside the range of that assumption.
    pub fn set(&mut self, field: Field, value: Distribution, source: impl Into<String>) -> Result<(), InputError> {
        check(field, &value)?;
        self.values[field as usize] = Some(Assumption { value, source: source.into(), given: true });
        Ok(())
    }

    /// Replaces a built-in prior by one of the user's, which observations then move.
    ///
    /// # Errors
    /// When the value is outside the range of that assumption.
    pub fn set_prior(
        &mut self,
        field: Field,
        value: Distribution,
        source: impl Into<String>,
    ) -> Result<(), InputError> {
        check(field, &value)?;
        self.observe(field, value, source.into());
        Ok(())
    }

    fn observe(&mut self, field: Field, value: Distribution, source: String) {
        self.values[field as usize] = Some(Assumption { value, source, given: false });
    }

    /// What is assumed now; cap and budget are absent until they are given.
    pub fn get(&self, field: Field) -> Option<&Assumption> {
        self.values[field as usize].as_ref()
    }

    /// Settles cap and budget.
    pub(crate) fn resolve(&self) -> Resolved {
        let mut values = self.values.clone();
        let given = |field: Field| self.get(field).is_some_and(|a| a.given);
        let cap = Field::Cap as usize;
        if values[cap].is_none() {
            let fixed_delivery = [Field::Match, Field::InFlight, Field::Budget, Field::Cpm].into_iter().all(given);
            values[cap] = Assumption::prior(if fixed_delivery {
                (Distribution::Point(f64::INFINITY), "none: match, in-flight, budget, CPM are all given".into())
            } else {
                self.platform.cap()
            });
        }
        let budget = Field::Budget as usize;
        if values[budget].is_none() {
            let central = |f: Field| values[f as usize].as_ref().map_or(0.0, |a| a.value.central());
            let reachable = self.inactives as f64 * central(Field::Match) * central(Field::InFlight);
            let amount = reachable * central(Field::Cap) * central(Field::Cpm) / 1000.0;
            values[budget] = Assumption::prior(if amount.is_finite() {
                (Distribution::Point(amount), "none given: what the cap allows".into())
            } else {
                (Distribution::Point(0.0), "none given, and no cap to derive one from".into())
            });
        }
        Resolved {
            inactives: self.inactives as f64,
            values: values
                .map(|v| v.expect("every field but cap and budget starts from a prior, and those two were just set")),
        }
    }

    /// Share of the persons sent who see an ad, with every assumption at its central value.
    pub fn central_reach(&self) -> f64 {
        let resolved = self.resolve();
        let delivery = resolved.campaign(&resolved.central()).delivery();
        if resolved.inactives > 0.0 { delivery.reach / resolved.inactives } else { 0.0 }
    }

    /// Baskets hoped for.
    pub fn target(&self) -> f64 {
        self.target.unwrap_or(SEED_RATIO * self.inactives as f64)
    }
}

/// Baskets per inactive in the common assumption: half are matched, 3 % of those buy (derived from "100,000 inactives
/// give 1,500 baskets", the only figure that source states).
pub const SEED_RATIO: f64 = 0.015;

fn check(field: Field, value: &Distribution) -> Result<(), InputError> {
    let (centre, high) = (value.central(), if value.is_point() { value.central() } else { value.quantile(0.5) });
    let (fine, expected) = match field {
        _ if field.is_share() => {
            ((0.0..=1.0).contains(&centre) && high <= 1.0, "a share between 0 and 1, or 0 % and 100 %")
        }
        Field::Cpm | Field::Aov => (centre > 0.0 && centre.is_finite(), "an amount above 0"),
        Field::Budget | Field::Fixed => (centre >= 0.0 && centre.is_finite(), "an amount of at least 0"),
        Field::Cap => (centre > 0.0, "a count above 0, or `none`"),
        Field::Shape => (centre > 0.0, "above 0, or `inf` for random exposure"),
        _ => (centre >= -1.0 && centre.is_finite(), "relative, 0.10 for 10 %, and not below -1"),
    };
    if fine { Ok(()) } else { Err(InputError::Range { name: field.name(), value: value.to_string(), expected }) }
}

/// Inputs with nothing left open.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub inactives: f64,
    pub values: [Assumption; FIELDS],
}

impl Resolved {
    /// The campaign with every assumption at its central value.
    pub fn central(&self) -> [f64; FIELDS] {
        std::array::from_fn(|i| self.values[i].value.central())
    }

    /// Names a row of values; shares are kept within [0, 1].
    pub fn campaign(&self, v: &[f64; FIELDS]) -> Campaign {
        let share = |f: Field| v[f as usize].clamp(0.0, 1.0);
        let plain = |f: Field| v[f as usize];
        Campaign {
            inactives: self.inactives,
            match_rate: share(Field::Match),
            in_flight: share(Field::InFlight),
            budget: plain(Field::Budget),
            cpm: plain(Field::Cpm),
            ctr: share(Field::Ctr),
            landing: share(Field::Landing),
            cvr: share(Field::Cvr),
            aov: plain(Field::Aov),
            margin: share(Field::Margin),
            fixed: plain(Field::Fixed),
            cap: plain(Field::Cap),
            shape: plain(Field::Shape),
            p0: share(Field::P0),
            lift: plain(Field::Lift),
        }
    }
}
