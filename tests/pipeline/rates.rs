//! Match rates of nine simulated platforms over 100,000 made-up persons: the goldens by the plain rules, and what our own
//! preparation reaches. A person matches when any uploaded digest of any of their rows is in the platform's index.

use std::collections::{HashMap, HashSet};

use reveil_sdk::identifier::{
    CanonicalPerson, Canonicaliser, IdentifierTable, NormalizationOptions, Preparer, RawPerson, table,
};
use reveil_sdk::{IdentifierKind, MemberBuf, MemberKey};
use reveil_synth::{Contact, People, Platform};
use sha2::{Digest as _, Sha256};

use crate::{PERSONS, SEED, reference};

const PEOPLE: People = People { persons: PERSONS, seed: SEED };
const KINDS: [IdentifierKind; 2] = [IdentifierKind::Email, IdentifierKind::Phone];

/// Persons matched by: mail as typed, mail normalised, mail and phone, all identifiers.
type Matched = [u64; 4];

/// `synthetic_100k.json`, `match_rate_over_persons`, times 100,000.
const GOLDEN: [(Platform, Matched); 9] = [
    (Platform::Meta, [42_543, 49_657, 61_219, 63_735]),
    (Platform::Google, [20_726, 42_440, 52_340, 54_820]),
    (Platform::TikTok, [14_305, 16_718, 28_159, 28_442]),
    (Platform::LinkedIn, [16_855, 19_632, 21_555, 22_863]),
    (Platform::Pinterest, [20_239, 23_655, 23_655, 24_185]),
    (Platform::Snap, [11_176, 13_163, 19_232, 19_495]),
    (Platform::Microsoft, [11_302, 13_209, 13_209, 13_901]),
    (Platform::Amazon, [36_931, 43_112, 53_410, 55_709]),
    (Platform::X, [9_691, 11_329, 14_042, 14_287]),
];

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// What one platform holds, as digests of canonical addresses and of E.164 numbers.
#[derive(Default)]
struct Index {
    emails: HashSet<[u8; 32]>,
    phones: HashSet<[u8; 32]>,
    /// Persons found by name and postcode alone.
    by_name: HashSet<u64>,
}

fn indices() -> HashMap<Platform, Index> {
    let mut all: HashMap<Platform, Index> = HashMap::new();
    for account in PEOPLE.accounts(0..PERSONS) {
        let index = all.entry(account.platform).or_default();
        let canonical = |address: &String| match account.platform {
            Platform::Google => digest(&reference::fold_gmail(address)),
            _ => digest(address),
        };
        index.emails.extend(account.emails.iter().map(canonical));
        index.phones.extend(account.phones.iter().map(|number| digest(number)));
        if account.name_postcode {
            index.by_name.insert(account.person);
        }
    }
    all
}

/// One person's digests by some rules: as typed, first mail, second mail, phone; mails plain and folded.
#[derive(Default)]
struct Uploaded {
    typed: Vec<[u8; 32]>,
    /// Plain and folded.
    emails: [Vec<[u8; 32]>; 2],
    more_emails: [Vec<[u8; 32]>; 2],
    phones: Vec<[u8; 32]>,
}

impl Uploaded {
    fn matches(&self, platform: Platform, index: &Index, person: u64) -> [bool; 4] {
        let folded = usize::from(platform == Platform::Google);
        let any = |digests: &[[u8; 32]], held: &HashSet<[u8; 32]>| digests.iter().any(|digest| held.contains(digest));
        let email = any(&self.emails[folded], &index.emails);
        let with_phone = email || any(&self.phones, &index.phones);
        let more = any(&self.more_emails[folded], &index.emails) || index.by_name.contains(&person);
        [any(&self.typed, &index.emails), email, with_phone, with_phone || more]
    }
}

fn reference_digests(rows: &[Contact]) -> Uploaded {
    let mut up = Uploaded::default();
    for row in rows {
        up.typed.extend(row.email.as_deref().map(digest));
        for (field, emails) in [(&row.email, &mut up.emails), (&row.email_2, &mut up.more_emails)] {
            if let Some(address) = field.as_deref().and_then(reference::email) {
                emails[0].push(digest(&address));
                emails[1].push(digest(&reference::fold_gmail(&address)));
            }
        }
        let number = row.phone.as_deref().and_then(|text| reference::phone(text, row.country.code()));
        up.phones.extend(number.map(|number| digest(&number)));
    }
    up
}

/// The product's own preparation: what is uploaded to Google, and to a platform that takes addresses as they are.
struct Own {
    canonicaliser: Canonicaliser,
    preparers: [Preparer; 2],
    person: CanonicalPerson,
    members: MemberBuf,
}

impl Own {
    fn new() -> Self {
        let options = NormalizationOptions { gmail_domains: vec!["gmail.example".into()], ..Default::default() };
        let preparer = |table: &'static IdentifierTable| Preparer::new(table, &options, &KINDS);
        Self {
            canonicaliser: Canonicaliser::new(&options),
            // Microsoft takes addresses as they are, as the other seven of the simulation do.
            preparers: [preparer(&table::META), preparer(&table::GOOGLE)],
            person: CanonicalPerson::new(),
            members: MemberBuf::new(),
        }
    }

    /// Digests of e-mails and, as E.164, of phones.
    fn digests(&mut self, email: &str, phone: &str, country: &str, table: usize) -> (Vec<[u8; 32]>, Vec<[u8; 32]>) {
        let raw = RawPerson {
            emails: &[email],
            phones: &[phone],
            mobile_ids: &[],
            email_digests: &[],
            phone_digests: &[],
            given_name: "",
            family_name: "",
            postcode: "",
            city: "",
            country,
        };
        self.canonicaliser.person(&raw, &mut self.person);
        self.members.clear();
        self.preparers[table].prepare(&self.person, MemberKey([0; 12]), &mut self.members);
        self.members.last().map_or_else(Default::default, |m| (m.emails().to_vec(), m.phones().to_vec()))
    }

    fn uploaded(&mut self, rows: &[Contact]) -> Uploaded {
        let mut up = Uploaded::default();
        for row in rows {
            let text = |field: &Option<String>| field.clone().unwrap_or_default();
            up.typed.extend(row.email.as_deref().map(digest));
            for table in 0..2 {
                let (emails, phones) = self.digests(&text(&row.email), &text(&row.phone), row.country.code(), table);
                up.emails[table].extend(emails);
                up.more_emails[table].extend(self.digests(&text(&row.email_2), "", row.country.code(), table).0);
                // Google takes E.164, which the index holds.
                if table == 1 {
                    up.phones.extend(phones);
                }
            }
        }
        up
    }
}

#[test]
fn match_rates_of_nine_platforms_are_met() {
    let indices = indices();
    let mut own = Own::new();
    let mut by_rules: HashMap<Platform, Matched> = HashMap::new();
    let mut by_us: HashMap<Platform, Matched> = HashMap::new();
    let (mut plain_phones, mut own_phones, mut rows_apart) = (HashSet::new(), HashSet::new(), 0);
    for person in 0..PERSONS {
        let rows: Vec<Contact> = PEOPLE.contacts(person..person + 1).collect();
        let (plain, ours) = (reference_digests(&rows), own.uploaded(&rows));
        rows_apart += u64::from(plain.phones != ours.phones);
        plain_phones.extend(plain.phones.iter().copied());
        own_phones.extend(ours.phones.iter().copied());
        for (uploaded, tally) in [(&plain, &mut by_rules), (&ours, &mut by_us)] {
            for platform in Platform::ALL {
                let matched = uploaded.matches(platform, &indices[&platform], person);
                let counts = tally.entry(platform).or_default();
                counts.iter_mut().zip(matched).for_each(|(count, hit)| *count += u64::from(hit));
            }
        }
    }
    println!(
        "phones: {} by the plain rules, {} by ours, {rows_apart} persons apart",
        plain_phones.len(),
        own_phones.len()
    );
    for (platform, golden) in GOLDEN {
        println!("{:<10} golden {golden:?}, ours {:?}", platform.slug(), by_us[&platform]);
        assert_eq!(by_rules[&platform], golden, "{}", platform.slug());
        let ours = by_us[&platform];
        assert_eq!(ours[..2], golden[..2], "{}: e-mails match exactly", platform.slug());
        assert!((2..4).all(|mode| ours[mode].abs_diff(golden[mode]) <= 10), "{}: {ours:?}", platform.slug());
    }
    assert_eq!(plain_phones.len(), 57_744);
    assert_eq!((own_phones.len(), rows_apart), (57_756, 45), "cleaning saves some numbers");
}
