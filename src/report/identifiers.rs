//! What the defects of a segment's identifiers cost: how many values and people each one takes, and how many people
//! mending it would bring back.

use std::collections::BTreeMap;

use reveil_sdk::IdentifierKind;
use reveil_sdk::identifier::{CanonicalPerson, Slot, reason_help};
use serde::Serialize;

/// One defect of one kind of identifier.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Defect {
    pub kind: &'static str,
    /// `no_region`, `no_at`, `looks_hashed`, …
    pub reason: String,
    /// What it means and how to mend it.
    pub remedy: &'static str,
    pub values: u64,
    /// Of all non-blank values of the kind.
    pub share: f64,
    /// People with this defect who have no other usable identifier: mending it would make them reachable.
    pub people_gained: u64,
}

/// One kind of identifier.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KindSummary {
    pub kind: &'static str,
    pub values: u64,
    pub usable: u64,
    /// People with at least one usable value of the kind.
    pub people: u64,
    /// People who have this kind and no other: what leaving the kind out would cost.
    pub only_this: u64,
}

/// The report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IdentifierReport {
    pub audience: String,
    /// Eligible people looked at.
    pub people: u64,
    /// Of them: with at least one usable identifier.
    pub reachable: u64,
    /// With no identifier at all, not even an unusable one.
    pub blank: u64,
    pub kinds: Vec<KindSummary>,
    /// The costliest first.
    pub defects: Vec<Defect>,
    /// Placeholders: values that more customers share than the config allows.
    pub shared_placeholder_people: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct KindCounts {
    values: u64,
    usable: u64,
    people: u64,
    only_this: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct DefectCounts {
    values: u64,
    people_gained: u64,
}

/// Takes eligible people one after another.
#[derive(Debug, Default)]
pub struct IdentifierCounter {
    people: u64,
    reachable: u64,
    blank: u64,
    email: KindCounts,
    phone: KindCounts,
    defects: BTreeMap<(IdentifierKind, String), DefectCounts>,
}

impl IdentifierCounter {
    pub fn person(&mut self, person: &CanonicalPerson) {
        self.people += 1;
        let (mut emails, mut phones) = (0, 0);
        for (slot, _) in person.identity_digests() {
            match slot {
                Slot::Email(_) => emails += 1,
                Slot::Phone(_) => phones += 1,
            }
        }
        let rejections: Vec<_> = person
            .rejections()
            .iter()
            .filter(|(kind, _)| matches!(kind, IdentifierKind::Email | IdentifierKind::Phone))
            .collect();
        let reachable = emails + phones > 0;
        self.reachable += u64::from(reachable);
        self.blank += u64::from(!reachable && rejections.is_empty());
        for (counts, own, other) in [(&mut self.email, emails, phones), (&mut self.phone, phones, emails)] {
            counts.usable += own;
            counts.values += own;
            counts.people += u64::from(own > 0);
            counts.only_this += u64::from(own > 0 && other == 0);
        }
        for (kind, reason) in rejections {
            match kind {
                IdentifierKind::Email => self.email.values += 1,
                _ => self.phone.values += 1,
            }
            let counts = self.defects.entry((*kind, reason.code().to_owned())).or_default();
            counts.values += 1;
            counts.people_gained += u64::from(!reachable);
        }
    }

    pub fn finish(self, audience: &str, shared_placeholder_people: u64) -> IdentifierReport {
        let summary = |kind: IdentifierKind, counts: KindCounts| KindSummary {
            kind: kind.name(),
            values: counts.values,
            usable: counts.usable,
            people: counts.people,
            only_this: counts.only_this,
        };
        let mut defects: Vec<Defect> = self
            .defects
            .into_iter()
            .map(|((kind, reason), counts)| {
                let values = if kind == IdentifierKind::Email { self.email.values } else { self.phone.values };
                Defect {
                    kind: kind.name(),
                    remedy: reason_help(&reason),
                    reason,
                    values: counts.values,
                    share: counts.values as f64 / values.max(1) as f64,
                    people_gained: counts.people_gained,
                }
            })
            .collect();
        defects.sort_by_key(|defect| std::cmp::Reverse((defect.people_gained, defect.values)));
        IdentifierReport {
            audience: audience.to_owned(),
            people: self.people,
            reachable: self.reachable,
            blank: self.blank,
            kinds: vec![summary(IdentifierKind::Email, self.email), summary(IdentifierKind::Phone, self.phone)],
            defects,
            shared_placeholder_people,
        }
    }
}

#[cfg(test)]
mod tests {
    use reveil_sdk::identifier::{Canonicaliser, NormalizationOptions, RawPerson};

    use super::*;

    #[test]
    fn a_defect_costs_people_only_when_nothing_else_is_usable() {
        let mut canonicaliser = Canonicaliser::new(&NormalizationOptions::default());
        let mut counter = IdentifierCounter::default();
        let mut person = CanonicalPerson::new();
        for (email, phone) in [
            ("a.vector@example.com", "01 99 00 12 34"), // no country: the phone is unusable, the mail is not
            ("", "01 99 00 12 34"),
            ("broken", ""),
            ("", ""),
        ] {
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
                country: "",
            };
            canonicaliser.person(&raw, &mut person);
            counter.person(&person);
        }
        let report = counter.finish("dormant", 0);
        assert_eq!((report.people, report.reachable, report.blank), (4, 1, 1));
        let defect = |reason: &str| report.defects.iter().find(|defect| defect.reason == reason).unwrap();
        assert_eq!((defect("no_region").values, defect("no_region").people_gained), (2, 1));
        assert_eq!((defect("no_at").values, defect("no_at").people_gained), (1, 1));
    }
}
