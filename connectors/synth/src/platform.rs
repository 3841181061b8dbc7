//! What each simulated platform knows about people: the inclusion table behind the match rates.

use crate::person::{Mailbox, MailboxKind};
use serde::Serialize;

/// A simulated ad platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Facebook and Instagram.
    Meta,
    /// Google Ads.
    Google,
    /// TikTok.
    TikTok,
    /// LinkedIn.
    LinkedIn,
    /// Pinterest.
    Pinterest,
    /// Snapchat.
    Snap,
    /// Microsoft Advertising.
    Microsoft,
    /// Amazon Ads.
    Amazon,
    /// X.
    X,
}

/// How probably an account knows an address of its person.
enum Mail {
    /// By kind of mailbox: main, second, abandoned, work.
    ByKind([f64; 4]),
    /// A platform that runs mail itself knows nearly all of its own addresses, whatever their kind.
    OwnDomains { domains: &'static [&'static str], own: f64, work: f64, other: f64 },
}

struct Inclusion {
    /// Probability of an account, by age band.
    account: [f64; 4],
    mail: Mail,
    /// Current and old mobile.
    phone: [f64; 2],
    name_postcode: f64,
}

impl Platform {
    /// Every platform, in the order of the account fields.
    pub const ALL: [Self; 9] = [
        Self::Meta,
        Self::Google,
        Self::TikTok,
        Self::LinkedIn,
        Self::Pinterest,
        Self::Snap,
        Self::Microsoft,
        Self::Amazon,
        Self::X,
    ];

    /// The name in `accounts.csv`: lower case, one word.
    pub const fn slug(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Google => "google",
            Self::TikTok => "tiktok",
            Self::LinkedIn => "linkedin",
            Self::Pinterest => "pinterest",
            Self::Snap => "snap",
            Self::Microsoft => "microsoft",
            Self::Amazon => "amazon",
            Self::X => "x",
        }
    }

    /// The platform of that slug.
    pub fn from_slug(slug: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|platform| platform.slug() == slug)
    }

    pub(crate) const fn account_probability(self, age_band: usize) -> f64 {
        self.inclusion().account[age_band]
    }

    pub(crate) fn mail_probability(self, mailbox: &Mailbox) -> f64 {
        match &self.inclusion().mail {
            Mail::ByKind(by_kind) => by_kind[mailbox.kind as usize],
            Mail::OwnDomains { domains, own, .. } if domains.contains(&mailbox.domain) => *own,
            Mail::OwnDomains { work, .. } if mailbox.kind == MailboxKind::Work => *work,
            Mail::OwnDomains { other, .. } => *other,
        }
    }

    /// `slot` 0 is the current mobile, 1 the old one.
    pub(crate) const fn phone_probability(self, slot: usize) -> f64 {
        self.inclusion().phone[slot]
    }

    pub(crate) const fn name_postcode_probability(self) -> f64 {
        self.inclusion().name_postcode
    }

    /// Orders of magnitude chosen so that match rates land where advertisers report them; invented, not measured.
    const fn inclusion(self) -> &'static Inclusion {
        const META: Inclusion = Inclusion {
            account: [0.84, 0.86, 0.80, 0.68],
            mail: Mail::ByKind([0.72, 0.38, 0.45, 0.05]),
            phone: [0.70, 0.35],
            name_postcode: 0.10,
        };
        const GOOGLE: Inclusion = Inclusion {
            account: [0.86, 0.84, 0.78, 0.62],
            mail: Mail::OwnDomains { domains: &["gmail"], own: 0.97, work: 0.02, other: 0.26 },
            phone: [0.50, 0.20],
            name_postcode: 0.06,
        };
        const TIKTOK: Inclusion = Inclusion {
            account: [0.74, 0.52, 0.34, 0.16],
            mail: Mail::ByKind([0.46, 0.22, 0.18, 0.02]),
            phone: [0.78, 0.30],
            name_postcode: 0.0,
        };
        const LINKEDIN: Inclusion = Inclusion {
            account: [0.40, 0.52, 0.42, 0.18],
            mail: Mail::ByKind([0.58, 0.20, 0.35, 0.45]),
            phone: [0.18, 0.05],
            name_postcode: 0.05,
        };
        const PINTEREST: Inclusion = Inclusion {
            account: [0.48, 0.46, 0.36, 0.25],
            mail: Mail::ByKind([0.72, 0.30, 0.30, 0.02]),
            phone: [0.0, 0.0],
            name_postcode: 0.0,
        };
        const SNAP: Inclusion = Inclusion {
            account: [0.80, 0.36, 0.14, 0.05],
            mail: Mail::ByKind([0.50, 0.20, 0.30, 0.01]),
            phone: [0.62, 0.30],
            name_postcode: 0.0,
        };
        const MICROSOFT: Inclusion = Inclusion {
            account: [0.45, 0.48, 0.48, 0.42],
            mail: Mail::OwnDomains { domains: &["hotmail", "outlook", "live"], own: 0.95, work: 0.05, other: 0.14 },
            phone: [0.0, 0.0],
            name_postcode: 0.0,
        };
        const AMAZON: Inclusion = Inclusion {
            account: [0.74, 0.82, 0.76, 0.60],
            mail: Mail::ByKind([0.70, 0.20, 0.20, 0.03]),
            phone: [0.60, 0.20],
            name_postcode: 0.08,
        };
        const X: Inclusion = Inclusion {
            account: [0.36, 0.32, 0.22, 0.12],
            mail: Mail::ByKind([0.52, 0.25, 0.30, 0.04]),
            phone: [0.35, 0.15],
            name_postcode: 0.0,
        };
        match self {
            Self::Meta => &META,
            Self::Google => &GOOGLE,
            Self::TikTok => &TIKTOK,
            Self::LinkedIn => &LINKEDIN,
            Self::Pinterest => &PINTEREST,
            Self::Snap => &SNAP,
            Self::Microsoft => &MICROSOFT,
            Self::Amazon => &AMAZON,
            Self::X => &X,
        }
    }
}
