//! Byte equality with the reference generator, and the figures that other tests build on.
//!
//! The hashes and counts are facts of the reference files (100,000 persons, seed 20260101, as-of 2026-01-01, unless a test
//! says otherwise); the files themselves are not kept.

use chrono::NaiveDate;
use flate2::read::GzDecoder;
use reveil_synth::{Consent, Country, Flags, Histories, People, SourceEnd, Summary};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

const PEOPLE: People = People { persons: 100_000, seed: 20_260_101 };
const AS_OF: NaiveDate = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();

struct Hashing(Sha256);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn sha256_of<T>(write: impl FnOnce(&mut Hashing) -> io::Result<T>) -> (String, T) {
    let mut out = Hashing(Sha256::new());
    let result = write(&mut out).expect("hashing takes every write");
    (const_hex::encode(out.0.finalize()), result)
}

fn contacts_sha256(people: People) -> String {
    sha256_of(|out| people.write_contacts(out)).0
}

fn accounts_sha256(people: People) -> String {
    sha256_of(|out| people.write_accounts(out)).0
}

#[test]
fn contacts_equal_the_reference_file() {
    let (sha256, summary) = sha256_of(|out| PEOPLE.write_contacts(out));
    assert_eq!(sha256, "22a176915636221e09e9e5dad8dc92e552b83bd9bc2e2cf7a4dd31a5160fb4e9");
    let expected = Summary {
        persons: 100_000,
        rows: 103_114,
        email_blank: 5_858,
        phone_blank: 43_093,
        consent: [(Consent::Granted, 59_608), (Consent::Denied, 17_589), (Consent::Unknown, 25_917)].into(),
        country: [
            (Country::Fr, 84_219),
            (Country::Be, 6_288),
            (Country::Ch, 3_157),
            (Country::De, 3_129),
            (Country::Es, 2_146),
            (Country::It, 2_088),
            (Country::Gb, 1_060),
            (Country::Us, 1_027),
        ]
        .into(),
        flags: Flags {
            unsubscribed: 11_237,
            hard_bounce: 2_160,
            complaint: 224,
            objection: 565,
            erasure: 107,
            us_opt_out: 96,
        },
    };
    assert_eq!(summary, expected);
}

#[test]
fn accounts_equal_the_reference_file() {
    let (sha256, summary) = sha256_of(|out| PEOPLE.write_accounts(out));
    assert_eq!(sha256, "f83d2ad1cc53ae2610e634a2495fba09c8ee9ef78dea574f4808feb78385c36f");
    assert_eq!(summary.platform.values().sum::<u64>(), summary.rows);
    assert_eq!(summary.platform.len(), 9);
}

#[test]
fn other_seeds_and_sizes_equal_the_reference_files() {
    let small = People { persons: 5_000, seed: 7 };
    assert_eq!(contacts_sha256(small), "87d67467dd5e18533f81b25da8431e178264af0079a3332ca81297d5020a86cc");
    assert_eq!(accounts_sha256(small), "3733186e9075ddfaf614a85b41ea2deb826aa0422b7f96e24cbc83636c2a724f");
    // The largest seed wraps in the first addition.
    let tiny = People { persons: 3, seed: u64::MAX };
    assert_eq!(contacts_sha256(tiny), "1c554e919b4c9e3d1373529624fbf9ce41af30c0567a86c3204abde77d41e75d");
    assert_eq!(accounts_sha256(tiny), "696b8751de00f6df4a77cf49d726ae07377349656da74b94df591ea54d4c5a61");
}

#[test]
fn a_slice_equals_the_same_part_of_the_whole() {
    let people = People { persons: 3_000, seed: 11 };
    let whole = people.contacts(0..people.persons).collect::<Vec<_>>();
    let parts = (0..people.persons).step_by(250).flat_map(|first| people.contacts(first..first + 250));
    assert!(parts.eq(whole), "contacts differ by slice");
    let whole = people.accounts(0..people.persons).collect::<Vec<_>>();
    let parts = (0..people.persons).step_by(250).flat_map(|first| people.accounts(first..first + 250));
    assert!(parts.eq(whole), "accounts differ by slice");
    assert_eq!(
        people.contacts(2_999..4_000).map(|row| row.customer_id[..9].to_owned()).last().as_deref(),
        Some("C00002999")
    );
    assert_eq!(people.accounts(3_000..4_000).count(), 0);
}

#[test]
fn orders_from_online_retail_equal_the_reference_file() {
    let histories = Histories::online_retail();
    assert_eq!(histories.customers(), 5_878);
    let orders = |persons, seed| {
        let (sha256, summary) = sha256_of(|out| histories.write_orders(persons, seed, AS_OF, out));
        (summary.orders, sha256)
    };
    let expected = |count: u64, sha256: &str| (count, sha256.to_owned());
    assert_eq!(
        orders(2_000, PEOPLE.seed),
        expected(12_079, "7195c71a479219e5ca0354109d572834047c842fa42772f82c2758de07cd3112")
    );
    assert_eq!(orders(2_000, 7), expected(12_443, "020fc187f2bd43b6242f61b986220d2acb1d3767d2dc1c62eb86f4d3c7d8d3ab"));
    assert_eq!(
        orders(PEOPLE.persons, PEOPLE.seed),
        expected(631_573, "0bcc1b2d0588bbc663d0ad05f2ae10d41683c5a5a9c66c1b5da8235003442131")
    );
}

/// CDNOW may not be vendored: the test reads it from the directory named by `REVEIL_DATA_DIR`.
#[test]
fn orders_from_cdnow_equal_the_reference_file() {
    let Some(directory) = std::env::var_os("REVEIL_DATA_DIR").map(PathBuf::from) else {
        eprintln!("skipped: set REVEIL_DATA_DIR to the directory that holds cdnow_transactions.csv.gz");
        return;
    };
    let file = File::open(directory.join("cdnow_transactions.csv.gz")).expect("REVEIL_DATA_DIR holds CDNOW");
    let histories = Histories::from_reader(GzDecoder::new(file), SourceEnd::CDNOW).expect("a sound order list");
    let (sha256, summary) = sha256_of(|out| histories.write_orders(PEOPLE.persons, PEOPLE.seed, AS_OF, out));
    assert_eq!(summary.orders, 295_808);
    assert_eq!(sha256, "915965c0a5405533c1f1820317319ff6a8c8498b220a40aa3cec304fcb0c8b78");
}
