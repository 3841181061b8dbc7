//! What the advertiser's warehouse holds about a person: one address, one number, and the dirt of real tables.

use crate::country::Country;
use crate::dirt::{title_case, typed_email, typed_phone};
use crate::draw::{Draws, field};
use crate::person::{Mailbox, MailboxKind, Person, customer_id};
use serde::Serialize;
use std::fmt;
use std::io::{self, Write};

/// Consent to advertising, as a warehouse column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Consent {
    /// Given.
    Granted,
    /// Refused.
    Denied,
    /// Never asked, or lost.
    Unknown,
}

impl Consent {
    /// The column's spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "GRANTED",
            Self::Denied => "DENIED",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// One row of `contacts.csv`. A blank column is `None`. Its `Debug` shows the customer number only.
#[derive(Clone, PartialEq, Eq)]
pub struct Contact {
    /// `C` and eight digits; a second row of the same person ends in `B`.
    pub customer_id: String,
    /// Given name, composed (NFC) or decomposed (NFD) by person.
    pub first_name: String,
    /// Family name, in the same form.
    pub last_name: String,
    /// As typed: broken, tagged, capitalised, padded, or fine.
    pub email: Option<String>,
    /// As typed, in one of nine layouts or junk.
    pub phone: Option<String>,
    /// Where the person lives.
    pub country: Country,
    /// Five digits in France, four elsewhere.
    pub postcode: String,
    /// Consent to advertising.
    pub consent_ads: Consent,
    /// Left the newsletter.
    pub unsubscribed: bool,
    /// The address does not exist any more.
    pub hard_bounce: bool,
    /// Marked a mailing as spam.
    pub complaint: bool,
    /// Objected to direct marketing.
    pub objection: bool,
    /// Asked to be erased.
    pub erasure: bool,
    /// Opted out of sale or sharing (United States).
    pub us_opt_out: bool,
    /// Mailings sent so far.
    pub campaigns_sent: u32,
    /// Days since the last mailing was opened, 0 to 719; `None` if never.
    pub days_since_open: Option<u32>,
    /// A second mail column, mostly blank.
    pub email_2: Option<String>,
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contact").field("customer_id", &self.customer_id).finish_non_exhaustive()
    }
}

pub(crate) const HEADER: &str = "customer_id,first_name,last_name,email,phone,country,postcode,consent_ads,\
    unsubscribed,hard_bounce,complaint,objection,erasure,us_opt_out,campaigns_sent,days_since_open,email_2\n";

impl Contact {
    /// The rows of one person: one, or two for the three in a hundred who registered twice.
    pub(crate) fn rows_of(seed: u64, index: u64) -> (Self, Option<Self>) {
        let person = Person::new(seed, index);
        let mut row = Self::first_row(&person);
        if index > 0 && person.draws.chance(field::HOUSEHOLD, 0.01) {
            row.email = Some(neighbour_email(seed, index));
        }
        let second = person.draws.chance(field::SECOND_ROW, 0.03).then(|| row.second_row(&person));
        (row, second)
    }

    fn first_row(person: &Person) -> Self {
        let draws = person.draws;
        let held = held_mailbox(person);
        let bounce = if held.is_some_and(|m| m.kind == MailboxKind::Abandoned) { 0.25 } else { 0.01 };
        let decomposed = draws.chance(field::DECOMPOSED, 0.5);
        let spell =
            |name: &crate::names::Name| if decomposed { name.decomposed.clone() } else { name.composed.clone() };
        let email_2 = || {
            let others = [Some(&person.main), person.second.as_ref(), person.abandoned.as_ref()];
            let other = others.into_iter().flatten().find(|m| held.is_none_or(|h| h.address != m.address));
            other.map(|m| m.address.clone())
        };
        Self {
            customer_id: customer_id(person.index),
            first_name: spell(person.first),
            last_name: spell(person.last),
            email: held.map(|mailbox| typed_email(draws, &mailbox.address)),
            phone: held_phone(person).map(|number| typed_phone(draws, person.country, number)),
            country: person.country,
            postcode: person.postcode.clone(),
            consent_ads: match draws.unit(field::CONSENT) {
                u if u < 0.58 => Consent::Granted,
                u if u < 0.75 => Consent::Denied,
                _ => Consent::Unknown,
            },
            unsubscribed: draws.chance(field::UNSUBSCRIBED, 0.11),
            hard_bounce: draws.chance(field::HARD_BOUNCE, bounce),
            complaint: draws.chance(field::COMPLAINT, 0.002),
            objection: draws.chance(field::OBJECTION, 0.005),
            erasure: draws.chance(field::ERASURE, 0.001),
            us_opt_out: person.country == Country::Us && draws.chance(field::US_OPT_OUT, 0.10),
            campaigns_sent: 6 + draws.below(field::SENDS, 20) as u32,
            days_since_open: days_since_open(draws),
            email_2: if draws.chance(field::EMAIL_2, 0.10) { email_2() } else { None },
        }
    }

    /// The same person registered again, with the same mail in other capitals or with another mail and the clean number.
    fn second_row(&self, person: &Person) -> Self {
        let mut row = Self { customer_id: format!("{}B", self.customer_id), email_2: None, ..self.clone() };
        if person.draws.chance(field::SECOND_ROW_KIND, 0.5) {
            row.email = Some(title_case(&held_mailbox(person).unwrap_or(&person.main).address));
        } else {
            row.email = Some(person.second.as_ref().unwrap_or(&person.main).address.clone());
            if let Some(number) = person.mobile {
                row.phone = Some(person.e164(number));
            }
        }
        row
    }

    pub(crate) fn write_csv(&self, out: &mut impl Write) -> io::Result<()> {
        let texts = [&self.customer_id, &self.first_name, &self.last_name];
        for text in texts {
            write_field(out, text)?;
            out.write_all(b",")?;
        }
        write_field(out, self.email.as_deref().unwrap_or(""))?;
        out.write_all(b",")?;
        write_field(out, self.phone.as_deref().unwrap_or(""))?;
        write!(
            out,
            ",{},{},{},{},{},{},{},{},{},{},",
            self.country.code(),
            self.postcode,
            self.consent_ads.as_str(),
            u8::from(self.unsubscribed),
            u8::from(self.hard_bounce),
            u8::from(self.complaint),
            u8::from(self.objection),
            u8::from(self.erasure),
            u8::from(self.us_opt_out),
            self.campaigns_sent,
        )?;
        if let Some(days) = self.days_since_open {
            write!(out, "{days}")?;
        }
        out.write_all(b",")?;
        write_field(out, self.email_2.as_deref().unwrap_or(""))?;
        out.write_all(b"\n")
    }
}

/// Quotes where a comma, a quote or a line feed asks for it, as the reference writer does. The `csv` crate also quotes a
/// lone carriage return, which would part from the reference.
fn write_field(out: &mut impl Write, text: &str) -> io::Result<()> {
    if text.contains([',', '"', '\n']) {
        write!(out, "\"{}\"", text.replace('"', "\"\""))
    } else {
        out.write_all(text.as_bytes())
    }
}

/// Days since the last open, 0 to 719.
pub(crate) fn days_since_open(draws: Draws) -> Option<u32> {
    let u = draws.unit(field::LAST_OPEN);
    (u >= 0.35).then(|| ((u - 0.35) / 0.65 * 720.0) as u32)
}

/// The mailbox the shop was given. Someone drawn to give one they lack gives the main one.
fn held_mailbox(person: &Person) -> Option<&Mailbox> {
    let u = person.draws.unit(field::HELD_EMAIL);
    let given = if u < 0.62 {
        Some(&person.main)
    } else if u < 0.75 {
        person.second.as_ref()
    } else if u < 0.90 {
        person.abandoned.as_ref()
    } else if u < 0.94 {
        person.work.as_ref()
    } else {
        return None;
    };
    given.or(Some(&person.main))
}

fn held_phone(person: &Person) -> Option<u64> {
    let u = person.draws.unit(field::HELD_PHONE);
    if u < 0.47 {
        person.mobile
    } else if u < 0.62 {
        person.old_mobile.or(person.mobile)
    } else {
        None
    }
}

/// The address of the closest person before who gave one: a household member's mail on this person's row.
fn neighbour_email(seed: u64, index: u64) -> String {
    let mut before = index;
    loop {
        before -= 1;
        let neighbour = Person::new(seed, before);
        match held_mailbox(&neighbour) {
            Some(mailbox) => return mailbox.address.clone(),
            None if before == 0 => return neighbour.main.address,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_only_where_needed() {
        let quoted = |text| {
            let mut out = Vec::new();
            write_field(&mut out, text).expect("a Vec takes every write");
            String::from_utf8(out).expect("UTF-8 in, UTF-8 out")
        };
        assert_eq!(quoted(" plain "), " plain ");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
    }

    #[test]
    fn debug_shows_no_identifier() {
        let (row, _) = Contact::rows_of(1, 0);
        assert_eq!(format!("{row:?}"), "Contact { customer_id: \"C00000000\", .. }");
    }
}
