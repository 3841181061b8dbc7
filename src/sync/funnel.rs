//! Counts on the way from the warehouse to the platforms: every customer that is left out is counted once, with the
//! reason.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use utoipa::ToSchema;

use super::eligibility::reason;

/// Counts by reason, shown in rule order.
#[derive(Debug, Clone, Default, PartialEq, Eq, ToSchema)]
#[schema(value_type = BTreeMap<String, u64>)]
pub struct Exclusions(BTreeMap<&'static str, u64>);

impl Exclusions {
    pub fn add(&mut self, reason: &'static str, count: u64) {
        if count > 0 {
            *self.0.entry(reason).or_default() += count;
        }
    }
    pub fn merge(&mut self, other: &Self) {
        for (reason, count) in &other.0 {
            self.add(reason, *count);
        }
    }
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
    pub fn get(&self, reason: &str) -> u64 {
        self.0.get(reason).copied().unwrap_or(0)
    }
    /// In rule order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        reason::ORDER.iter().filter_map(|reason| Some((*reason, *self.0.get(reason)?)))
    }
}

impl Serialize for Exclusions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (reason, count) in self.iter() {
            map.serialize_entry(reason, &count)?;
        }
        map.end()
    }
}

/// Usable and unusable values of one kind of identifier among the eligible.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct IdentifierCounts {
    pub usable: u64,
    /// Values that cannot be used, by reason.
    pub defects: BTreeMap<String, u64>,
}

/// From customers to eligible people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Funnel {
    /// Rows of the customers table.
    pub customers: u64,
    pub inactive: u64,
    pub active: u64,
    /// Not known: too little data to call them inactive.
    pub unknown: u64,
    /// Rows without a customer id.
    pub guests: u64,
    /// Inactive and allowed by every rule that looks at one customer alone.
    pub eligible: u64,
    pub excluded: Exclusions,
    /// By kind of identifier.
    pub identifiers: BTreeMap<&'static str, IdentifierCounts>,
    /// Units of customers that share identifiers, and how many hold several customers.
    pub units: u64,
    pub shared_units: u64,
}
