//! Starting values per platform, to be overwritten by what a user observes.
//!
//! B2C, mostly French lists of past customers, CPM in EUR. The published figures behind them are vendors' benchmark
//! pages, weak evidence, hence the low weights: the match prior of Meta counts for 20 persons. What has no source at all
//! is marked as a house guess and says so in every projection.

use super::distribution::Distribution;

/// Where a prior comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Published benchmark, named.
    Published(&'static str),
    /// Our own guess.
    House,
}

/// Which identifiers the list carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identifiers {
    /// One e-mail address per person.
    MailOnly,
    /// E-mail, phone and more.
    Several,
}

/// How the platform bills.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Price {
    /// Per 1,000 impressions: median and sigma of the log.
    PerThousand(f64, f64),
    /// Per click: median and sigma of the log. One paid click then counts as one impression that is clicked.
    PerClick(f64, f64),
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlatformPrior {
    /// Name on the command line.
    pub slug: &'static str,
    /// Name for people.
    pub label: &'static str,
    match_mail: f64,
    match_several: f64,
    /// Persons the match prior is worth, with its own mark.
    match_weight: (f64, Mark),
    match_mark: Mark,
    price: (Price, Mark),
    ctr: Option<(f64, Mark)>,
    cvr: (f64, Mark),
}

const CTR_WEIGHT: f64 = 2000.0;
const CVR_WEIGHT: f64 = 50.0;

use Mark::{House, Published};
use Price::{PerClick, PerThousand};

const MATCH: Mark = Published("Donutz Digital 2025");
const MEDIA: Mark = Published("Prooflytics 2026, calc4marketers 2026");
const META: Mark = Published("Prooflytics, calc4marketers, adlibrary 2026");
const META_CVR: Mark = Published("Powerhouse Media 2026");
const SEARCH: Mark = Published("InsightIQ 2026");

/// The table, in the order of the platforms' weight.
pub static PLATFORMS: &[PlatformPrior] = &[
    row(
        "meta",
        "Meta",
        (0.48, 0.62, MATCH),
        (20.0, MATCH),
        (PerThousand(11.0, 0.35), META),
        (0.011, MEDIA),
        (0.030, META_CVR),
    ),
    row(
        "google",
        "Google Demand Gen/Display",
        (0.38, 0.52, MATCH),
        (20.0, MATCH),
        (PerThousand(4.0, 0.60), MEDIA),
        (0.006, MEDIA),
        (0.020, MEDIA),
    ),
    row(
        "youtube",
        "YouTube",
        (0.38, 0.52, MEDIA),
        (20.0, MEDIA),
        (PerThousand(8.0, 0.50), MEDIA),
        (0.0045, MEDIA),
        (0.010, MEDIA),
    ),
    PlatformPrior {
        slug: "google-search",
        label: "Google Search (list as bid modifier)",
        match_mail: 0.38,
        match_several: 0.52,
        match_weight: (20.0, MATCH),
        match_mark: MATCH,
        price: (PerClick(1.20, 0.50), SEARCH),
        ctr: None,
        cvr: (0.025, SEARCH),
    },
    row(
        "tiktok",
        "TikTok",
        (0.20, 0.32, MEDIA),
        (6.0, House),
        (PerThousand(10.0, 0.40), MEDIA),
        (0.009, MEDIA),
        (0.012, House),
    ),
    row(
        "linkedin",
        "LinkedIn",
        (0.20, 0.25, MATCH),
        (8.0, MATCH),
        (PerThousand(42.0, 0.30), MEDIA),
        (0.005, MEDIA),
        (0.010, House),
    ),
    row(
        "pinterest",
        "Pinterest",
        (0.24, 0.26, House),
        (6.0, House),
        (PerThousand(6.0, 0.50), House),
        (0.006, House),
        (0.015, House),
    ),
    row(
        "snapchat",
        "Snapchat",
        (0.14, 0.22, MEDIA),
        (6.0, House),
        (PerThousand(8.0, 0.40), MEDIA),
        (0.005, House),
        (0.010, House),
    ),
    row(
        "amazon",
        "Amazon Ads",
        (0.43, 0.56, House),
        (6.0, House),
        (PerThousand(7.0, 0.50), House),
        (0.0035, House),
        (0.030, House),
    ),
    row(
        "microsoft",
        "Microsoft",
        (0.14, 0.15, House),
        (6.0, House),
        (PerThousand(5.0, 0.60), House),
        (0.004, House),
        (0.020, House),
    ),
    row("x", "X", (0.12, 0.15, House), (6.0, House), (PerThousand(6.0, 0.50), House), (0.005, House), (0.008, House)),
];

const fn row(
    slug: &'static str,
    label: &'static str,
    (match_mail, match_several, match_mark): (f64, f64, Mark),
    match_weight: (f64, Mark),
    price: (Price, Mark),
    ctr: (f64, Mark),
    cvr: (f64, Mark),
) -> PlatformPrior {
    PlatformPrior { slug, label, match_mail, match_several, match_weight, match_mark, price, ctr: Some(ctr), cvr }
}

/// A value with the words that say where it comes from.
pub(crate) type Cited = (Distribution, String);

impl PlatformPrior {
    /// Looks a platform up by slug; `google-ads` is accepted for `google`.
    pub fn find(slug: &str) -> Option<&'static Self> {
        let slug = if slug == "google-ads" { "google" } else { slug };
        PLATFORMS.iter().find(|p| p.slug == slug)
    }

    /// True when the platform bills per click.
    pub fn per_click(&self) -> bool {
        matches!(self.price.0, PerClick(..))
    }

    pub(crate) fn match_rate(&self, identifiers: Identifiers) -> Cited {
        let (mean, what) = match identifiers {
            Identifiers::MailOnly => (self.match_mail, "mail only"),
            Identifiers::Several => (self.match_several, "mail + phone"),
        };
        let (weight, weight_mark) = self.match_weight;
        let mut source = self.cite(self.match_mark, &format!(", {what}, worth {weight} persons"));
        if weight_mark == House && self.match_mark != House {
            source.push_str(" (house)");
        }
        (Distribution::beta_from_mean(mean, weight), source)
    }

    pub(crate) fn cpm(&self) -> Cited {
        let (price, mark) = self.price;
        match price {
            PerThousand(median, sigma) => (Distribution::LogNormal { median, sigma }, self.cite(mark, "")),
            PerClick(median, sigma) => {
                (Distribution::LogNormal { median: 1000.0 * median, sigma }, self.cite(mark, ", 1,000 paid clicks"))
            }
        }
    }

    pub(crate) fn ctr(&self) -> Cited {
        match self.ctr {
            Some((mean, mark)) => (Distribution::beta_from_mean(mean, CTR_WEIGHT), self.cite(mark, "")),
            None => (Distribution::Point(1.0), format!("{}: billed per click", self.label)),
        }
    }

    pub(crate) fn cvr(&self) -> Cited {
        let (mean, mark) = self.cvr;
        (Distribution::beta_from_mean(mean, CVR_WEIGHT), self.cite(mark, ""))
    }

    /// Most views per person and flight; paid clicks where those are billed.
    pub(crate) fn cap(&self) -> Cited {
        if self.per_click() {
            (Distribution::Point(CLICK_CAP), format!("{} house guess: clicks per person", self.slug))
        } else {
            (Distribution::Point(CAP), "prior, per 30-day flight".to_owned())
        }
    }

    fn cite(&self, mark: Mark, detail: &str) -> String {
        match mark {
            Published(source) => format!("{} benchmark: {source}{detail}", self.slug),
            House => format!("{} house guess, no source{detail}", self.slug),
        }
    }
}

/// Share of matched persons served during a flight.
pub const IN_FLIGHT: Distribution = Distribution::Beta { a: 18.0, b: 2.0 };
/// Share of clicks that load the landing page.
pub const LANDING: Distribution = Distribution::Beta { a: 16.0, b: 4.0 };
/// Shape of the reach curve.
pub const SHAPE: f64 = 1.2;
/// Impressions per person in a 30-day flight.
pub const CAP: f64 = 12.0;
/// Paid clicks per person in a 30-day flight where clicks are billed: what the view cap gives at Meta's click rate.
pub const CLICK_CAP: f64 = 0.13;
/// Relative lift among persons reached: 663 Facebook trials, median 6 % for lower-funnel outcomes (Gordon, Moakler,
/// Zettelmeyer 2022); display retargeting +10.5 % purchases (Johnson, Lewis, Nubbemeyer 2017).
pub const LIFT: Distribution = Distribution::LogNormal { median: 0.10, sigma: 1.0 };
/// Spontaneous return within 60 days of buyers silent for a year: 2.4 % at CDNOW, the lowest of the histories we have.
pub const P0: Distribution = Distribution::Beta { a: 24.0, b: 976.0 };
/// Order value used until the segment's own orders are read.
pub const AOV: Distribution = Distribution::MeanCv { mean: 60.0, cv: 0.15 };
/// Gross margin used until the user gives one.
pub const MARGIN: Distribution = Distribution::Point(0.40);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_platform_gives_usable_priors() {
        for p in PLATFORMS {
            for (value, source) in
                [p.match_rate(Identifiers::MailOnly), p.match_rate(Identifiers::Several), p.ctr(), p.cvr()]
            {
                assert!(value.central() > 0.0 && value.central() <= 1.0, "{}", p.slug);
                assert!(source.contains(p.slug) || source.contains(p.label));
            }
            assert!(p.cpm().0.central() > 0.0);
            assert!(p.match_mail <= p.match_several, "{}: more identifiers cannot match fewer", p.slug);
        }
        assert_eq!(PLATFORMS.len(), 11);
    }

    #[test]
    fn meta_priors_are_the_documented_ones() {
        let meta = PlatformPrior::find("meta").unwrap();
        assert_eq!(meta.match_rate(Identifiers::Several).0.to_string(), "beta(12.4,7.6)");
        assert_eq!(meta.cpm().0.to_string(), "lognormal(11,0.35)");
        assert_eq!(meta.ctr().0.to_string(), "beta(22,1978)");
        assert_eq!(meta.cvr().0.to_string(), "beta(1.5,48.5)");
        assert_eq!(
            PlatformPrior::find("google-ads").unwrap().match_rate(Identifiers::Several).0.to_string(),
            "beta(10.4,9.6)"
        );
        assert!(PlatformPrior::find("myspace").is_none());
        assert!(PlatformPrior::find("x").unwrap().cvr().1.contains("house guess"));
    }
}
