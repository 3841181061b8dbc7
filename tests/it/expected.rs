//! What the platforms should hold, computed from the test's own customers by its own rules and its own hashing: it
//! shares no code with the program, so that each checks the other.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Duration, Months, Utc};
use sha2::{Digest, Sha256};

use crate::shop::{Customer, HOLDOUT_BPS, INACTIVE_DAYS, SALT};

/// More customers than these make an identifier a placeholder.
const SHARED_ABOVE: usize = 5;
const RETENTION_MONTHS: u32 = 36;

/// `kind:digest` as the simulated platforms show them.
pub type Digests = BTreeSet<String>;

/// What both platforms should hold, and who is kept off them.
#[derive(Debug, Default)]
pub struct Expected {
    pub meta: Digests,
    pub google: Digests,
    /// Units withheld as control group that would be sent otherwise; tells that the rule had something to do.
    pub held_out: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Target,
    Active,
    Refused,
    Other,
}

/// One identifier: what customers share, and what each platform gets of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Identifier {
    /// Equal for customers with the same mailbox or phone.
    identity: String,
    pub meta: String,
    pub google: String,
}

/// The target of both platforms as of `as_of`.
pub fn expected(customers: &[Customer], as_of: DateTime<Utc>) -> Expected {
    expected_of(customers, as_of, INACTIVE_DAYS, SALT)
}

/// The same for an audience that sleeps so many days and withholds by this salt.
pub fn expected_of(customers: &[Customer], as_of: DateTime<Utc>, inactive_days: i64, salt: &str) -> Expected {
    let roles: Vec<Role> = customers.iter().map(|customer| role(customer, as_of, inactive_days)).collect();
    let identifiers: Vec<Vec<Identifier>> =
        customers.iter().zip(&roles).map(|(customer, role)| identifiers(customer, *role)).collect();
    let mut holders: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, own) in identifiers.iter().enumerate() {
        for identifier in own {
            holders.entry(&identifier.identity).or_default().push(index);
        }
    }
    let units = units(customers, &holders);
    let held_out: Vec<bool> = (0..customers.len()).map(|index| is_held_out(&units[&index], salt)).collect();
    let mut expected = Expected::default();
    let mut withheld = BTreeSet::new();
    for (index, own) in identifiers.iter().enumerate() {
        if roles[index] != Role::Target {
            continue;
        }
        for identifier in own {
            let holders = &holders[identifier.identity.as_str()];
            let by = |role| holders.iter().any(|holder| roles[*holder] == role);
            if holders.len() > SHARED_ABOVE || by(Role::Refused) || by(Role::Active) {
                continue;
            }
            if held_out[index] {
                withheld.insert(&units[&index]);
                continue;
            }
            expected.meta.insert(identifier.meta.clone());
            expected.google.insert(identifier.google.clone());
        }
    }
    expected.held_out = withheld.len();
    expected
}

fn role(customer: &Customer, as_of: DateTime<Utc>, inactive_days: i64) -> Role {
    let last = customer.orders.iter().filter(|at| **at < as_of).max();
    let dormant_before = as_of - Duration::days(inactive_days);
    if customer.objection || customer.erasure || customer.consent == "DENIED" {
        return Role::Refused;
    }
    let retained_from = as_of.checked_sub_months(Months::new(RETENTION_MONTHS)).expect("a usual date");
    match last {
        Some(last) if *last >= dormant_before => Role::Active,
        Some(last) if customer.consent == "GRANTED" && !customer.unsubscribed && *last >= retained_from => Role::Target,
        _ => Role::Other,
    }
}

/// The bounced address is left out of whoever could be sent.
fn identifiers(customer: &Customer, role: Role) -> Vec<Identifier> {
    let may_be_sent = customer.consent == "GRANTED" && !customer.unsubscribed && role != Role::Refused;
    let skipped = usize::from(customer.hard_bounce && may_be_sent);
    let emails = customer.emails.iter().skip(skipped).flatten().map(|email| email_forms(email));
    emails.chain(customer.phone.iter().map(|phone| phone_forms(phone))).collect()
}

/// The test's addresses are clean: lower case, no blanks; only the folding is a platform's own.
pub fn email_forms(email: &str) -> Identifier {
    let (local, domain) = email.split_once('@').expect("the test's addresses have an @");
    let folded = if domain == "gmail.example" {
        format!("{}@{domain}", local.split('+').next().unwrap_or_default().replace('.', ""))
    } else {
        email.to_owned()
    };
    Identifier {
        meta: format!("email:{}", sha256(email)),
        google: format!("email:{}", sha256(&folded)),
        identity: folded,
    }
}

/// The test's numbers are French and stored as `0639980000`.
pub fn phone_forms(national: &str) -> Identifier {
    let digits = format!("33{}", &national[1..]);
    Identifier {
        meta: format!("phone:{}", sha256(&digits)),
        google: format!("phone:{}", sha256(&format!("+{digits}"))),
        identity: digits,
    }
}

pub fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The key of everybody's unit: the smallest id of those linked by identifiers.
fn units(customers: &[Customer], holders: &BTreeMap<&str, Vec<usize>>) -> HashMap<usize, String> {
    let mut smallest: Vec<String> = customers.iter().map(|customer| customer.id.clone()).collect();
    // Links are few and short: repeat until nothing changes.
    loop {
        let mut changed = false;
        for holders in holders.values().filter(|holders| (2..=SHARED_ABOVE).contains(&holders.len())) {
            let least = holders.iter().map(|holder| smallest[*holder].clone()).min().expect("not empty");
            for holder in holders {
                if smallest[*holder] != least {
                    smallest[*holder].clone_from(&least);
                    changed = true;
                }
            }
        }
        if !changed {
            return smallest.into_iter().enumerate().collect();
        }
    }
}

fn is_held_out(unit: &str, salt: &str) -> bool {
    let hash = Sha256::digest(format!("{salt}:{unit}"));
    let number = u64::from_be_bytes(hash[..8].try_into().expect("8 bytes"));
    (u128::from(number) * 10_000) >> 64 < u128::from(HOLDOUT_BPS)
}
