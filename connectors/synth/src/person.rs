//! A synthetic person as they are: every address and number they have, before any shop's or platform's partial view.

use crate::country::Country;
use crate::draw::{Draws, field};
use crate::names::{NAMES, Name};
use std::fmt;

/// Which of a person's mailboxes an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MailboxKind {
    /// The one in use; everybody has it.
    Main,
    /// A second one in use.
    Second,
    /// One no longer read, which shops and platforms still hold.
    Abandoned,
    /// At the employer.
    Work,
}

/// An address of a person. Its `Debug` leaves the address out, so that habits stay right in code that may one day see
/// real ones.
#[derive(Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// Which one it is.
    pub kind: MailboxKind,
    /// Canonical spelling: lower case, no tag.
    pub address: String,
    /// First label of the domain (`gmail`, `orange`, …; `corp` for every employer).
    pub(crate) domain: &'static str,
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// One synthetic person, a pure function of (seed, index).
#[derive(Clone)]
pub struct Person {
    /// Which person, from 0.
    pub index: u64,
    /// Where they live.
    pub country: Country,
    /// Given name, composed (NFC).
    pub first_name: &'static str,
    /// Family name, composed (NFC).
    pub last_name: &'static str,
    /// 0 is 18-29 years, 1 is 30-44, 2 is 45-59, 3 is 60 and more.
    pub age_band: usize,
    /// Five digits in France, four elsewhere.
    pub postcode: String,
    /// The mailbox in use.
    pub main: Mailbox,
    /// A second one in use.
    pub second: Option<Mailbox>,
    /// One left behind.
    pub abandoned: Option<Mailbox>,
    /// At work.
    pub work: Option<Mailbox>,
    /// Current mobile: national number without trunk prefix.
    pub mobile: Option<u64>,
    /// The mobile before it.
    pub old_mobile: Option<u64>,
    pub(crate) first: &'static Name,
    pub(crate) last: &'static Name,
    pub(crate) draws: Draws,
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Person").field("index", &self.index).field("country", &self.country).finish_non_exhaustive()
    }
}

const AGE_SHARES: [f64; 4] = [0.18, 0.32, 0.28, 0.22];

const FRENCH_DOMAINS: [(&str, f64); 11] = [
    ("gmail", 0.47),
    ("hotmail", 0.12),
    ("orange", 0.08),
    ("yahoo", 0.07),
    ("free", 0.055),
    ("outlook", 0.05),
    ("wanadoo", 0.035),
    ("icloud", 0.035),
    ("laposte", 0.03),
    ("live", 0.03),
    ("sfr", 0.025),
];

const OTHER_DOMAINS: [(&str, f64); 7] = [
    ("gmail", 0.55),
    ("outlook", 0.12),
    ("hotmail", 0.10),
    ("yahoo", 0.10),
    ("icloud", 0.06),
    ("gmx", 0.04),
    ("proton", 0.03),
];

const ABANDONED_DOMAINS: [(&str, f64); 5] =
    [("hotmail", 0.30), ("wanadoo", 0.25), ("yahoo", 0.20), ("free", 0.15), ("gmail", 0.10)];

impl Person {
    pub(crate) fn new(seed: u64, index: u64) -> Self {
        let draws = Draws::new(seed, index);
        let country = draws.pick(field::COUNTRY, &Country::WEIGHTS);
        let names = &*NAMES;
        let first_names =
            if draws.chance(field::GENDER, 0.52) { &names.first_feminine } else { &names.first_masculine };
        let first = &first_names[draws.below(field::FIRST_NAME, first_names.len() as u64) as usize];
        let last_draw = draws.unit(field::LAST_NAME);
        let last = &names.last[(last_draw * last_draw * names.last.len() as f64) as usize];

        let tag = base36(index);
        let domains: &[_] = if country == Country::Fr { &FRENCH_DOMAINS } else { &OTHER_DOMAINS };
        let mailbox = |kind, pattern, domain, suffix: &str| {
            let local = local_part(pattern, &first.slug, &last.slug, &tag);
            Mailbox { kind, address: format!("{local}{suffix}@{domain}.example"), domain }
        };
        let main =
            mailbox(MailboxKind::Main, draws.unit(field::MAIN_PATTERN), draws.pick(field::MAIN_DOMAIN, domains), "");
        let second = draws.chance(field::HAS_SECOND, 0.45).then(|| {
            let domain = draws.pick(field::SECOND_DOMAIN, domains);
            mailbox(MailboxKind::Second, draws.unit(field::SECOND_PATTERN), domain, "2")
        });
        let abandoned = draws.chance(field::HAS_ABANDONED, 0.30).then(|| {
            let domain = draws.pick(field::ABANDONED_DOMAIN, &ABANDONED_DOMAINS);
            mailbox(MailboxKind::Abandoned, 0.9, domain, "9")
        });
        let work = draws.chance(field::HAS_WORK, 0.25).then(|| Mailbox {
            kind: MailboxKind::Work,
            address: format!("{}.{}@corp{}.example", &first.slug[..1], last.slug, index % 9973),
            domain: "corp",
        });

        // Even slots are current mobiles, odd ones old mobiles: the two never collide within a block.
        let slot = index.wrapping_mul(2);
        Self {
            index,
            country,
            first_name: &first.composed,
            last_name: &last.composed,
            age_band: age_band(draws.unit(field::AGE)),
            postcode: postcode(country, draws.unit(field::POSTCODE)),
            main,
            second,
            abandoned,
            work,
            mobile: draws.chance(field::HAS_MOBILE, 0.93).then(|| country.phone_number(slot)),
            old_mobile: draws.chance(field::HAS_OLD_MOBILE, 0.25).then(|| country.phone_number(slot + 1)),
            first,
            last,
            draws,
        }
    }

    /// Every mailbox with its position in the account fields: main 0, second 1, abandoned 2, work 3.
    pub(crate) fn mailboxes(&self) -> impl Iterator<Item = &Mailbox> {
        [Some(&self.main), self.second.as_ref(), self.abandoned.as_ref(), self.work.as_ref()].into_iter().flatten()
    }

    /// A number of this person in E.164 form.
    pub(crate) fn e164(&self, national: u64) -> String {
        format!("+{}{national}", self.country.calling_code())
    }
}

/// The identifier of a person's first row in the warehouse.
pub fn customer_id(index: u64) -> String {
    format!("C{index:08}")
}

fn local_part(pattern: f64, first: &str, last: &str, tag: &str) -> String {
    if pattern < 0.55 {
        format!("{first}.{last}.{tag}")
    } else if pattern < 0.75 {
        format!("{}{last}{tag}", &first[..1])
    } else if pattern < 0.88 {
        format!("{first}{tag}")
    } else {
        format!("{last}_{first}_{tag}")
    }
}

fn age_band(u: f64) -> usize {
    let mut sum = 0.0;
    let bands_below = AGE_SHARES.iter().filter(|&&share| {
        sum += share;
        sum <= u
    });
    bands_below.count().min(AGE_SHARES.len() - 1)
}

fn postcode(country: Country, u: f64) -> String {
    if country == Country::Fr {
        let department = (u * 94.0) as u64;
        format!("{:05}", 1000 + department * 1000 + (u * 94_000.0) as u64 % 990)
    } else {
        (1000 + (u * 8999.0) as u64).to_string()
    }
}

fn base36(mut n: u64) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut reversed = Vec::with_capacity(13);
    loop {
        reversed.push(char::from(DIGITS[(n % 36) as usize]));
        n /= 36;
        if n == 0 {
            return reversed.into_iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base36_counts_past_one_digit() {
        assert_eq!(base36(0), "0");
        assert_eq!(base36(35), "z");
        assert_eq!(base36(36), "10");
        assert_eq!(base36(u64::MAX), "3w5e11264sgsf");
    }

    #[test]
    fn every_address_is_under_the_reserved_top_level_domain() {
        for index in 0..5_000 {
            let person = Person::new(1, index);
            assert!(person.mailboxes().all(|mailbox| mailbox.address.ends_with(".example")));
        }
    }

    #[test]
    fn debug_shows_no_identifier() {
        let person = Person::new(1, 42);
        let shown = format!("{person:?} {:?}", person.main);
        assert!(!shown.contains('@') && !shown.contains(person.last_name), "{shown}");
    }
}
