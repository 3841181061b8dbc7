//! The synthetic golden pipeline: 100,000 made-up people with CDNOW histories, judged, filtered and normalised by the
//! library's own rules. CDNOW may not be vendored: without `REVEIL_DATA_DIR` the test is left out.

mod rates;
mod reference;

use std::collections::{BTreeSet, HashMap};
use std::io::Read as _;
use std::path::PathBuf;

use chrono::{DateTime, Duration, NaiveDate, Utc};
use reveil::config::EligibilityConfig;
use reveil::config::eligibility::BouncePolicy;
use reveil::sync::eligibility::{Facts, Rules};
use reveil_sdk::IdentifierKind;
use reveil_sdk::identifier::{CanonicalPerson, Canonicaliser, NormalizationOptions, RawPerson, Slot};
use reveil_synth::{Histories, People, SourceEnd};
use sha2::{Digest as _, Sha256};

const PERSONS: u64 = 100_000;
const SEED: u64 = 20_260_101;

/// Rows inactive, rows eligible, distinct digests of e-mails and phones, and what is common to all of them: SHA-256 over
/// the digests in hex, sorted, a line each.
struct Golden {
    days: i64,
    inactive: u64,
    eligible: u64,
    emails: (usize, &'static str),
    phones: (usize, &'static str),
}

const GOLDEN: [Golden; 2] = [
    Golden {
        days: 180,
        inactive: 83_570,
        eligible: 44_028,
        emails: (39_952, "6a23658322143c41a78aefd2289076270012afe9cd8d9fcb509795505d1773bf"),
        phones: (24_552, "118c550eb18ff42134c9539c2920272b92c2ee2a30876565b3c4c17184847b0b"),
    },
    Golden {
        days: 365,
        inactive: 71_728,
        eligible: 37_201,
        emails: (33_770, "903fd597980b55511a70c2542e760f8c9fda83bdceb2823425f124074f00473a"),
        phones: (20_721, "efa4f36a13c0d7a9090299180b744f070703c2c6faa38e8c3c69c48db0e091a7"),
    },
];

fn common(digests: &BTreeSet<[u8; 32]>) -> String {
    let lines: Vec<String> = digests.iter().map(const_hex::encode).collect();
    const_hex::encode(Sha256::digest(lines.join("\n")))
}

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
        let (mut emails, mut own_phones, mut phones) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
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
                phones: &[contact.phone.as_deref().unwrap_or_default()],
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
            let refused = person.rejections().iter().any(|(kind, _)| *kind == IdentifierKind::Email);
            for (slot, digest) in person.identity_digests() {
                match slot {
                    Slot::Email(_) if !refused => drop(emails.insert(*digest)),
                    Slot::Phone(_) => drop(own_phones.insert(*digest)),
                    _ => {}
                }
            }
            let number = contact.phone.as_deref().and_then(|text| reference::phone(text, contact.country.code()));
            phones.extend(number.map(|number| <[u8; 32]>::from(Sha256::digest(number))));
        }
        assert_eq!((inactive, eligible), (golden.inactive, golden.eligible), "{} days", golden.days);
        assert_eq!((emails.len(), common(&emails).as_str()), golden.emails, "{} days", golden.days);
        assert_eq!((phones.len(), common(&phones).as_str()), golden.phones, "{} days", golden.days);
        // Our rules clean more: 45 rows of 103,114 come out otherwise, see `rates`.
        let apart = own_phones.len().abs_diff(golden.phones.0);
        assert!(apart <= 6, "{} days: {apart} phones apart", golden.days);
        assert!(!emails.contains(&<[u8; 32]>::from(Sha256::digest(b""))), "the digest of nothing is nobody's");
    }
}
