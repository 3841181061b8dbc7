#![doc = include_str!("../README.md")]

mod account;
mod baseline;
mod campaign;
mod contact;
mod country;
mod dirt;
mod draw;
mod engagement;
mod histories;
mod names;
mod parallel;
mod people;
mod person;
mod platform;
mod source;

pub use account::Account;
pub use baseline::ReturnRates;
pub use campaign::{CampaignMember, CampaignOutcome, CampaignParameters, ParameterError, simulate_campaign};
pub use contact::{Consent, Contact};
pub use country::Country;
pub use engagement::{Engagement, EngagementKind, engagement};
pub use histories::{Channel, Histories, Order, OrderSummary};
pub use people::{AccountSummary, Flags, People, Summary};
pub use person::{Mailbox, MailboxKind, Person, customer_id};
pub use platform::Platform;
pub use source::{SourceEnd, SourceError};
