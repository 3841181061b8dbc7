#![doc = include_str!("../README.md")]

mod control;
mod core;
mod error;
mod google;
mod meta;
mod server;
mod settings;
mod world;

pub use crate::core::clock::{ManualTime, RealTime, Time};
pub use crate::core::faults::{FaultKind, FaultRule, Faults, When};
pub use crate::core::oauth::{Consent, OAuthBehaviour};
pub use crate::error::Error;
pub use crate::server::Sandbox;
pub use crate::settings::{Delays, GoogleAccount, GoogleSettings, MetaSettings, MetaToken, Settings};
pub use crate::world::{AudienceInfo, LogEntry, World};

/// The simulated platforms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Meta Marketing API, custom audiences.
    Meta,
    /// Google Data Manager API, Customer Match.
    Google,
}

impl Platform {
    /// Every platform there is.
    pub const ALL: [Platform; 2] = [Platform::Meta, Platform::Google];

    /// The path prefix and the name in rules, logs and the identity graph.
    pub fn slug(self) -> &'static str {
        match self {
            Platform::Meta => "meta",
            Platform::Google => "google",
        }
    }

    /// The platform of that slug.
    pub fn from_slug(slug: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.slug() == slug)
    }
}
