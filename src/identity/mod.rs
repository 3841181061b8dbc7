//! Who is the same person, or shares a mailbox or a phone: customers with a common normalised e-mail or phone are
//! one *unit*.
//!
//! Two things follow from it. A digest that several customers hold can be sent for one of them only, and for none
//! when somebody who must not be targeted holds it too: [`Identity::verdict`]. And a [`Holdout`] withholds whole
//! units, or a withheld person would be reached through a duplicate row or a spouse.
//!
//! Digests held by many customers are placeholders (`none@example.com`, a shop's own phone): they link nobody and
//! are sent for nobody.
//!
//! Everything is kept for those customers alone who share something: two bits per customer, plus 4 bytes for each
//! linked one and 8 for each with a dropped identifier. Digests go to a temporary file that nobody else can open.

mod bitmap;
mod builder;
mod holdout;
#[cfg(test)]
mod tests;
mod units;

pub use builder::{Drop, Identity, IdentityBuilder, IdentityCounts, MAX_SLOTS, Role};
pub use holdout::{Arm, Holdout, HoldoutBuilder, bucket};
