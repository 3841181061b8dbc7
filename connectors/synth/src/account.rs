//! What a simulated platform holds: the identity graph that decides who matches. The daemon never reads it.

use crate::draw::field;
use crate::person::Person;
use crate::platform::Platform;
use std::fmt;
use std::io::{self, Write};

/// One person's account on one platform.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Where.
    pub platform: Platform,
    /// Whose.
    pub person: u64,
    /// Addresses the platform knows, canonical spelling.
    pub emails: Vec<String>,
    /// Numbers the platform knows, E.164 with plus.
    pub phones: Vec<String>,
    /// Whether name and postcode alone suffice to find the account.
    pub name_postcode: bool,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("platform", &self.platform)
            .field("person", &self.person)
            .field("emails", &self.emails.len())
            .field("phones", &self.phones.len())
            .field("name_postcode", &self.name_postcode)
            .finish()
    }
}

pub(crate) const HEADER: &str = "platform,person,emails,phones,name_postcode\n";

impl Account {
    /// The account of a person, or `None` without one that could ever match.
    pub(crate) fn new(platform: Platform, person: &Person) -> Option<Self> {
        let first_field = field::ACCOUNT + 16 * platform as u64;
        let chance = |j: u64, probability| person.draws.chance(first_field + j, probability);
        if !chance(0, platform.account_probability(person.age_band)) {
            return None;
        }
        let emails = person
            .mailboxes()
            .filter(|mailbox| chance(1 + mailbox.kind as u64, platform.mail_probability(mailbox)))
            .map(|mailbox| mailbox.address.clone())
            .collect::<Vec<_>>();
        let phones = [person.mobile, person.old_mobile]
            .into_iter()
            .enumerate()
            .filter_map(|(slot, number)| number.filter(|_| chance(5 + slot as u64, platform.phone_probability(slot))))
            .map(|number| person.e164(number))
            .collect::<Vec<_>>();
        let name_postcode = chance(7, platform.name_postcode_probability());
        let findable = name_postcode || !emails.is_empty() || !phones.is_empty();
        findable.then_some(Self { platform, person: person.index, emails, phones, name_postcode })
    }

    pub(crate) fn write_csv(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "{},{},{},{},{}",
            self.platform.slug(),
            self.person,
            self.emails.join(";"),
            self.phones.join(";"),
            u8::from(self.name_postcode)
        )
    }
}
