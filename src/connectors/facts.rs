//! What a connector declares, as a document.

use reveil_sdk::{Descriptor, Replace};
use serde::Serialize;
use utoipa::ToSchema;

/// A platform this build knows, in the form of the JSON contract.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ConnectorFacts {
    /// Its stable name in configuration, metrics and files.
    #[schema(example = "meta")]
    pub slug: &'static str,
    #[schema(example = "Meta")]
    pub label: &'static str,
    pub api_version: &'static str,
    /// Version of the normalisation rules.
    pub rules_version: u32,
    /// The kinds it takes.
    #[schema(example = json!(["email", "phone"]))]
    pub identifiers: Vec<&'static str>,
    /// How it brings an audience to exactly a given set: `no`, `swap` or `sweep`.
    #[schema(example = "sweep")]
    pub replace: &'static str,
    /// Its verdict comes later.
    pub asynchronous: bool,
    pub max_batch_members: u32,
    /// Members lapse after so many days; `null` = never.
    pub membership_days: Option<u32>,
    /// Fewer people than this and ads are not delivered.
    pub min_audience: u32,
    /// The platform's own definition of a match rate.
    pub match_definition: &'static str,
    pub settings: Vec<SettingFacts>,
    pub secrets: Vec<SecretFacts>,
}

/// A key of `[destination.*]` that only this connector has.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SettingFacts {
    pub key: &'static str,
    pub required: bool,
    pub help: &'static str,
    pub example: &'static str,
}

/// A secret it takes from `credentials`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SecretFacts {
    pub key: &'static str,
    pub required: bool,
    pub help: &'static str,
}

impl ConnectorFacts {
    pub fn of(descriptor: &Descriptor) -> Self {
        let settings = descriptor.settings.iter();
        let secrets = descriptor.secrets.iter();
        Self {
            slug: descriptor.slug,
            label: descriptor.label,
            api_version: descriptor.api_version,
            rules_version: descriptor.identifiers.version,
            identifiers: descriptor.identifiers.identifiers.iter().map(|spec| spec.kind.name()).collect(),
            replace: match descriptor.capabilities.replace {
                Replace::No => "no",
                Replace::Swap => "swap",
                Replace::Sweep => "sweep",
            },
            asynchronous: descriptor.capabilities.asynchronous,
            max_batch_members: descriptor.limits.max_batch_members,
            membership_days: descriptor.limits.membership_days,
            min_audience: descriptor.limits.min_audience,
            match_definition: descriptor.match_information.definition,
            settings: settings
                .map(|setting| SettingFacts {
                    key: setting.key,
                    required: setting.required,
                    help: setting.help,
                    example: setting.example,
                })
                .collect(),
            secrets: secrets
                .map(|secret| SecretFacts { key: secret.key, required: secret.required, help: secret.help })
                .collect(),
        }
    }
}
