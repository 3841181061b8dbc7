//! The population: rows as structs for any slice, or as whole files with a summary.

use crate::account::{self, Account};
use crate::contact::{self, Consent, Contact};
use crate::country::Country;
use crate::parallel::write_in_order;
use crate::person::Person;
use crate::platform::Platform;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;

/// A population of synthetic persons; two with equal fields are equal to the byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct People {
    /// How many persons; indices run from 0.
    pub persons: u64,
    /// Seed of every draw.
    pub seed: u64,
}

/// Counts over the rows of `contacts.csv`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Persons; fewer than rows.
    pub persons: u64,
    /// Rows without the header.
    pub rows: u64,
    /// Rows without an address.
    pub email_blank: u64,
    /// Rows without a number.
    pub phone_blank: u64,
    /// Rows by consent.
    pub consent: BTreeMap<Consent, u64>,
    /// Rows by country.
    pub country: BTreeMap<Country, u64>,
    /// Rows by flag.
    pub flags: Flags,
}

/// Rows on which each flag is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each is the column of the same name in `Contact`, counted")]
pub struct Flags {
    pub unsubscribed: u64,
    pub hard_bounce: u64,
    pub complaint: u64,
    pub objection: u64,
    pub erasure: u64,
    pub us_opt_out: u64,
}

impl Summary {
    /// Counts one row in. `persons` is left alone: a person may have two rows.
    pub fn count(&mut self, row: &Contact) {
        self.rows += 1;
        self.email_blank += u64::from(row.email.is_none());
        self.phone_blank += u64::from(row.phone.is_none());
        *self.consent.entry(row.consent_ads).or_default() += 1;
        *self.country.entry(row.country).or_default() += 1;
        self.flags.unsubscribed += u64::from(row.unsubscribed);
        self.flags.hard_bounce += u64::from(row.hard_bounce);
        self.flags.complaint += u64::from(row.complaint);
        self.flags.objection += u64::from(row.objection);
        self.flags.erasure += u64::from(row.erasure);
        self.flags.us_opt_out += u64::from(row.us_opt_out);
    }

    fn absorb(&mut self, other: &Self) {
        self.persons += other.persons;
        self.rows += other.rows;
        self.email_blank += other.email_blank;
        self.phone_blank += other.phone_blank;
        for (&consent, rows) in &other.consent {
            *self.consent.entry(consent).or_default() += rows;
        }
        for (&country, rows) in &other.country {
            *self.country.entry(country).or_default() += rows;
        }
        self.flags.unsubscribed += other.flags.unsubscribed;
        self.flags.hard_bounce += other.flags.hard_bounce;
        self.flags.complaint += other.flags.complaint;
        self.flags.objection += other.flags.objection;
        self.flags.erasure += other.flags.erasure;
        self.flags.us_opt_out += other.flags.us_opt_out;
    }
}

/// Counts over the rows of `accounts.csv`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AccountSummary {
    /// Rows without the header.
    pub rows: u64,
    /// Rows by platform.
    pub platform: BTreeMap<Platform, u64>,
}

impl People {
    /// The person of that index, whole: what neither the shop nor any platform sees.
    pub fn person(&self, index: u64) -> Person {
        Person::new(self.seed, index)
    }

    /// The warehouse rows of a slice of persons, in order; indices past `persons` are left out.
    pub fn contacts(&self, range: Range<u64>) -> impl Iterator<Item = Contact> + use<> {
        let seed = self.seed;
        self.within(range).flat_map(move |index| {
            let (row, second) = Contact::rows_of(seed, index);
            [Some(row), second].into_iter().flatten()
        })
    }

    /// The platform accounts of a slice of persons: by person, then by platform; indices past `persons` are left out.
    pub fn accounts(&self, range: Range<u64>) -> impl Iterator<Item = Account> + use<> {
        let seed = self.seed;
        self.within(range).flat_map(move |index| {
            let person = Person::new(seed, index);
            Platform::ALL.into_iter().filter_map(move |platform| Account::new(platform, &person))
        })
    }

    /// Writes `contacts.csv`: UTF-8, line feeds, a header. Uses all cores.
    ///
    /// # Errors
    /// What `out` returns.
    pub fn write_contacts(&self, out: &mut impl Write) -> io::Result<Summary> {
        out.write_all(contact::HEADER.as_bytes())?;
        let mut summary = Summary::default();
        let make = |range: Range<u64>, bytes: &mut Vec<u8>| {
            let mut part = Summary { persons: range.end - range.start, ..Summary::default() };
            for row in self.contacts(range) {
                part.count(&row);
                row.write_csv(bytes)?;
            }
            Ok(part)
        };
        write_in_order(self.persons, out, make, |part| summary.absorb(&part))?;
        Ok(summary)
    }

    /// Writes `accounts.csv`, several addresses or numbers of a row joined by semicolons. Uses all cores.
    ///
    /// # Errors
    /// What `out` returns.
    pub fn write_accounts(&self, out: &mut impl Write) -> io::Result<AccountSummary> {
        out.write_all(account::HEADER.as_bytes())?;
        let mut summary = AccountSummary::default();
        let make = |range: Range<u64>, bytes: &mut Vec<u8>| {
            let mut by_platform = BTreeMap::<_, u64>::new();
            for row in self.accounts(range) {
                *by_platform.entry(row.platform).or_default() += 1;
                row.write_csv(bytes)?;
            }
            Ok(by_platform)
        };
        write_in_order(self.persons, out, make, |by_platform| {
            for (platform, rows) in by_platform {
                summary.rows += rows;
                *summary.platform.entry(platform).or_default() += rows;
            }
        })?;
        Ok(summary)
    }

    fn within(&self, range: Range<u64>) -> Range<u64> {
        range.start.min(self.persons)..range.end.min(self.persons)
    }
}
