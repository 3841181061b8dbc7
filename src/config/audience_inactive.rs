//! `inactive = …` of an audience: what makes a customer dormant.
//!
//! A definition is judged at an instant T and sees only events before T. Its answer is inactive, active or unknown;
//! `all`, `any` and `not` combine answers by Kleene's rules, so that missing data never makes a segment. The SQL is
//! written by [`crate::segment::sql`].

mod faults;

use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Kinds that undo or correct a purchase. They are never activity.
pub const NEVER_ACTIVITY: [&str; 4] = ["cancel", "adjust", "refund", "return"];

/// What makes a customer inactive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inactive {
    /// None of the listed events for so many days. Nobody who never had one is judged.
    NoEventDays(NoEventDays),
    /// The last purchase is older than so many days.
    PurchaseRecency(PurchaseRecency),
    /// Every channel silent for its own number of days; one recent event anywhere makes the person active.
    MultiChannel(MultiChannel),
    /// None of the last N campaigns delivered to the person was opened or clicked.
    NoOpenCampaigns(NoOpenCampaigns),
    /// Silent for longer than the person's own rhythm of purchases.
    PersonalCadence(PersonalCadence),
    /// In a listed cell of the recency, frequency, monetary matrix.
    RfmMatrix(RfmMatrix),
    /// Known for some time, and never bought.
    NeverActive(NeverActive),
    /// Probability of still being a customer, by the MBG/NBD or BG/NBD model, under a limit.
    PAlive(PAlive),
    /// All must hold.
    All(Vec<Inactive>),
    /// One must hold.
    Any(Vec<Inactive>),
    /// Turns inactive and active around; unknown stays unknown. Recent buyers, for instance.
    Not(Box<Inactive>),
    /// A query of one's own that returns `customer_id`: those it returns are in, all others out. Trusted.
    Sql(String),
    /// A table or dbt model of one's own with a `customer_id`.
    Table(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoEventDays {
    /// `order`, `open`, `click`, `sms_click`, `ad_click`, `web_visit`, `store_visit`, `login` … as they stand in the
    /// events. Default: the purchase kinds.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// 1 to 36,500. Often 30, 60 or 365.
    pub days: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurchaseRecency {
    /// 1 to 36,500; or give a sector.
    #[serde(default)]
    pub days: Option<u32>,
    /// A starting value, to be replaced by your own data.
    #[serde(default)]
    pub sector: Option<Sector>,
}

/// Starting values of `purchase_recency`, in days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sector {
    Grocery,
    Hair,
    Beauty,
    Fashion,
    Home,
    Travel,
    Car,
}

impl Sector {
    /// Days after the last purchase.
    pub const fn days(self) -> u32 {
        match self {
            Self::Grocery => 45,
            Self::Hair => 90,
            Self::Beauty => 120,
            Self::Fashion => 180,
            Self::Home => 365,
            Self::Travel => 540,
            Self::Car => 1460,
        }
    }
}

impl PurchaseRecency {
    /// The limit in days; `days` wins over `sector`. Zero when neither is set, which [`Inactive::faults`] reports.
    pub fn limit_days(&self) -> u32 {
        self.days.or(self.sector.map(Sector::days)).unwrap_or(0)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiChannel {
    pub channels: Vec<Channel>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// One kind …
    #[serde(default)]
    pub kind: Option<String>,
    /// … or several that share a limit.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// 1 to 36,500.
    pub days: u32,
}

impl Channel {
    /// The kinds of this channel, from either key.
    pub fn all_kinds(&self) -> Vec<String> {
        self.kind.iter().chain(&self.kinds).cloned().collect()
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoOpenCampaigns {
    /// How many of the person's last campaigns are looked at.
    pub campaigns: u32,
    /// People with fewer deliveries are unknown. Default: `campaigns`.
    #[serde(default)]
    pub min_delivered: Option<u32>,
    /// What counts as a reaction. Default: `open_or_click`, machine opens left out.
    #[serde(default)]
    pub engagement: Engagement,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engagement {
    #[default]
    OpenOrClick,
    /// More reliable: mail programs open messages by themselves.
    Click,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonalCadence {
    /// Times the person's median gap between purchase days. Often 2 or 3.
    pub k: f64,
    /// Purchase days needed to know a rhythm. Default: 3.
    #[serde(default = "three")]
    pub min_days: u32,
    /// Days after the last purchase for everybody else.
    #[serde(alias = "fallback")]
    pub fallback_days: u32,
}

fn three() -> u32 {
    3
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RfmMatrix {
    /// Equal groups per axis, 1 = worst. Default: 5. Not used on an axis with limits of its own.
    #[serde(default = "five")]
    pub bins: u32,
    /// Limits of one's own instead of equal groups.
    #[serde(default)]
    pub limits: RfmLimits,
    /// The cells that are inactive; one match is enough.
    #[serde(default)]
    pub cells: Vec<RfmCell>,
    /// `high_value`: recency up to 2, frequency and monetary value from 4 (of 5). `win_back`: active before the last
    /// `period_days` and not since ("à reconquérir").
    #[serde(default)]
    pub preset: Option<RfmPreset>,
    /// What recency and frequency are of. Default: `rfm`, purchases.
    #[serde(default)]
    pub variant: RfmVariant,
    /// The period of `win_back`, in days. Default: 365.
    #[serde(default = "year")]
    pub period_days: u32,
}

impl Default for RfmMatrix {
    fn default() -> Self {
        Self {
            bins: five(),
            limits: RfmLimits::default(),
            cells: Vec::new(),
            preset: None,
            variant: RfmVariant::Rfm,
            period_days: year(),
        }
    }
}

/// What a matrix counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RfmVariant {
    /// Purchases: recency, frequency, monetary value.
    #[default]
    Rfm,
    /// Recency and frequency of opens; no third axis.
    Rfo,
    /// Recency and frequency of clicks; no third axis.
    Rfc,
}

impl RfmVariant {
    /// Kinds of events it counts; empty for purchases.
    pub fn kinds(self) -> Vec<String> {
        match self {
            Self::Rfm => Vec::new(),
            Self::Rfo => vec!["open".into()],
            Self::Rfc => ["click", "sms_click", "ad_click"].map(String::from).into(),
        }
    }
}

fn year() -> u32 {
    365
}

fn five() -> u32 {
    5
}

/// Ascending limits; n limits make n + 1 groups.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RfmLimits {
    /// Days since the last purchase. The longest silence is group 1.
    #[serde(default)]
    pub recency_days: Vec<u32>,
    /// Purchases; a value equal to a limit is in the group above.
    #[serde(default)]
    pub frequency: Vec<u32>,
    /// Sum of purchases in hundredths of the currency.
    #[serde(default)]
    pub monetary_minor: Vec<u64>,
}

/// Groups per axis; an axis that is not given matches all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RfmCell {
    #[serde(default)]
    pub r: Vec<u32>,
    #[serde(default)]
    pub f: Vec<u32>,
    #[serde(default)]
    pub m: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RfmPreset {
    HighValue,
    #[serde(alias = "a_reconquerir")]
    WinBack,
}

impl RfmMatrix {
    /// The listed cells and those of the preset.
    pub fn all_cells(&self) -> Vec<RfmCell> {
        let mut cells = self.cells.clone();
        if self.preset == Some(RfmPreset::HighValue) {
            let m = if self.variant == RfmVariant::Rfm { vec![4, 5] } else { Vec::new() };
            cells.push(RfmCell { r: vec![1, 2], f: vec![4, 5], m });
        }
        cells
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeverActive {
    /// Days since `created_at`.
    pub days: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PAlive {
    /// Default: `mbg`. `bg` gives every one-time buyer a probability of 1.
    #[serde(default)]
    pub model: AliveModel,
    /// r, alpha, a, b, with time in weeks; or `"fit"`: fitted to the warehouse's own histories each time. Default: fit.
    #[serde(default)]
    pub theta: Theta,
    /// Inactive under this probability, between 0 and 1.
    pub p: f64,
}

/// Parameters of the model.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Theta {
    /// To be fitted.
    #[default]
    Fit,
    /// r, alpha, a, b.
    Given([f64; 4]),
}

impl Serialize for Theta {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fit => serializer.serialize_str("fit"),
            Self::Given(numbers) => numbers.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Theta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FitOrNumbers;
        impl<'de> Visitor<'de> for FitOrNumbers {
            type Value = Theta;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"fit\" or four numbers above 0: r, alpha, a, b")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Theta, E> {
                if text == "fit" { Ok(Theta::Fit) } else { Err(E::invalid_value(Unexpected::Str(text), &self)) }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Theta, A::Error> {
                <[f64; 4]>::deserialize(SeqAccessDeserializer::new(seq)).map(Theta::Given)
            }
        }
        deserializer.deserialize_any(FitOrNumbers)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AliveModel {
    #[default]
    Mbg,
    Bg,
}

impl Inactive {
    /// The name in the configuration.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NoEventDays(_) => "no_event_days",
            Self::PurchaseRecency(_) => "purchase_recency",
            Self::MultiChannel(_) => "multi_channel",
            Self::NoOpenCampaigns(_) => "no_open_campaigns",
            Self::PersonalCadence(_) => "personal_cadence",
            Self::RfmMatrix(_) => "rfm_matrix",
            Self::NeverActive(_) => "never_active",
            Self::PAlive(_) => "p_alive",
            Self::All(_) => "all",
            Self::Any(_) => "any",
            Self::Not(_) => "not",
            Self::Sql(_) => "sql",
            Self::Table(_) => "table",
        }
    }

    /// In few words, for tables: `purchase_recency 180 d`.
    pub fn label(&self) -> String {
        let inner = |parts: &[Self], word: &str| parts.iter().map(Self::label).collect::<Vec<_>>().join(word);
        match self {
            Self::NoEventDays(it) if it.kinds.is_empty() => format!("no purchase {} d", it.days),
            Self::NoEventDays(it) => format!("no {} {} d", it.kinds.join("/"), it.days),
            Self::PurchaseRecency(it) => format!("last purchase {} d", it.limit_days()),
            Self::MultiChannel(it) => {
                let channel = |it: &Channel| format!("{} {} d", it.all_kinds().join("/"), it.days);
                format!("silent: {}", it.channels.iter().map(channel).collect::<Vec<_>>().join(", "))
            }
            Self::NoOpenCampaigns(it) => format!("no reaction to {} campaigns", it.campaigns),
            Self::PersonalCadence(it) => format!("own rhythm x{}, else {} d", it.k, it.fallback_days),
            Self::RfmMatrix(it) => match it.preset {
                Some(RfmPreset::HighValue) => "matrix: high value".into(),
                Some(RfmPreset::WinBack) => format!("matrix: none in {} d", it.period_days),
                None => format!("matrix: {} cells", it.cells.len()),
            },
            Self::NeverActive(it) => format!("never bought, known {} d", it.days),
            Self::PAlive(it) => format!("P(alive) < {}", it.p),
            Self::All(parts) => format!("({})", inner(parts, " and ")),
            Self::Any(parts) => format!("({})", inner(parts, " or ")),
            Self::Not(part) => format!("not {}", part.label()),
            Self::Sql(_) => "own query".into(),
            Self::Table(table) => format!("table {table}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Inactive, NoEventDays};

    #[test]
    fn reads_toml_as_documented() {
        #[derive(serde::Deserialize)]
        struct Audience {
            inactive: Inactive,
        }
        let audience: Audience =
            toml::from_str("inactive = { no_event_days = { kinds = ['order', 'click', 'store_visit'], days = 180 } }")
                .unwrap();
        assert_eq!(
            audience.inactive,
            Inactive::NoEventDays(NoEventDays {
                kinds: vec!["order".into(), "click".into(), "store_visit".into()],
                days: 180
            })
        );
        let nested: Audience = toml::from_str(
            "[inactive]\nall = [{ purchase_recency = { sector = 'fashion' } }, { not = { no_event_days = { kinds = ['click'], days = 30 } } }]",
        )
        .unwrap();
        assert!(nested.inactive.faults().is_empty());
    }

    #[test]
    fn refuses_an_unknown_key() {
        let error = serde_json::from_str::<Inactive>(r#"{"no_event_days": {"day": 3}}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `day`"), "{error}");
    }
}
