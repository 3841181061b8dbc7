//! The synthetic golden pipeline: 100,000 made-up people with CDNOW histories, judged, filtered and normalised by the
//! library's own rules. CDNOW may not be vendored: without `REVEIL_DATA_DIR` the test is left out.

use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::path::PathBuf;

use chrono::{DateTime, Duration, NaiveDate, Utc};
use reveil::config::EligibilityConfig;
use reveil::config::eligibility::BouncePolicy;
use reveil::sync::eligibility::{Facts, Rules};
use reveil_sdk::identifier::{CanonicalPerson, Canonicaliser, NormalizationOptions, RawPerson, Slot};
use reveil_synth::{Histories, People, SourceEnd};
use sha2::{Digest as _, Sha256};

const PERSONS: u64 = 100_000;
const SEED: u64 = 20_260_101;

/// Rows inactive, rows eligible, distinct e-mail digests.
struct Golden {
    days: i64,
    inactive: u64,
    eligible: u64,
    emails: usize,
}

const GOLDEN: [Golden; 2] = [
    Golden { days: 180, inactive: 83_570, eligible: 44_028, emails: 39_952 },
    Golden { days: 365, inactive: 71_728, eligible: 37_201, emails: 33_770 },
];

#[test]
fn the_pipeline_meets_its_golden_figures() {
    let Some(data) = std::env::var_os("REVEIL_DATA_DIR").map(PathBuf::from) else {
        println!("left out: REVEIL_DATA_DIR is not set");
        return;
    };
    let file = std::fs::File::open(data.join("cdnow_transactions.csv.gz")).expect("CDNOW is there");
    let mut csv = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut csv).expect("CDNOW unpacks");
    let histories = Histories::from_reader(&csv[..], SourceEnd::CDNOW).expect("CDNOW reads");
    let as_of_day = NaiveDate::from_ymd_opt(2026, 1, 1).expect("a date");
    let as_of: DateTime<Utc> = as_of_day.and_hms_opt(0, 0, 0).expect("midnight").and_utc();
    let mut last: HashMap<u64, DateTime<Utc>> = HashMap::new();
    for order in histories.orders(0..PERSONS, SEED, as_of_day) {
        let at = last.entry(order.person).or_insert(order.ts);
        *at = (*at).max(order.ts);
    }
    let config =
        EligibilityConfig { allow_unsubscribed: true, hard_bounce: BouncePolicy::Keep, ..EligibilityConfig::default() };
    let rules = Rules::new(&config, as_of);
    let mut canonicaliser = Canonicaliser::new(&NormalizationOptions::default());
    let mut person = CanonicalPerson::new();
    for golden in GOLDEN {
        let (mut inactive, mut eligible) = (0, 0);
        let mut emails: HashSet<[u8; 32]> = HashSet::new();
        for contact in (People { persons: PERSONS, seed: SEED }).contacts(0..PERSONS) {
            // Second rows of a person (`C…B`) share the history of the first.
            let index: u64 = contact.customer_id[1..9].parse().expect("a customer id");
            let Some(last_order) = last.get(&index).copied() else { continue };
            if last_order >= as_of - Duration::days(golden.days) {
                continue;
            }
            inactive += 1;
            let facts = Facts {
                erasure: contact.erasure,
                objection: contact.objection,
                us_opt_out: contact.us_opt_out,
                consent_ads: Some(contact.consent_ads.as_str()),
                country: contact.country.code(),
                last_contact_at: Some(last_order),
                ..Facts::default()
            };
            if rules.judge(&facts).is_err() {
                continue;
            }
            eligible += 1;
            let raw = RawPerson {
                emails: &[contact.email.as_deref().unwrap_or_default()],
                phones: &[],
                mobile_ids: &[],
                email_digests: &[],
                phone_digests: &[],
                given_name: "",
                family_name: "",
                postcode: "",
                city: "",
                country: contact.country.code(),
            };
            canonicaliser.person(&raw, &mut person);
            // Accepted ones only: an address with white space inside has a slot of its own for two platforms.
            if person.rejections().is_empty() {
                emails.extend(
                    person
                        .identity_digests()
                        .filter_map(|(slot, digest)| matches!(slot, Slot::Email(_)).then_some(*digest)),
                );
            }
        }
        assert_eq!((inactive, eligible), (golden.inactive, golden.eligible), "{} days", golden.days);
        assert_eq!(emails.len(), golden.emails, "{} days", golden.days);
        assert!(!emails.contains(&<[u8; 32]>::from(Sha256::digest(b""))), "the digest of nothing is nobody's");
    }
}
