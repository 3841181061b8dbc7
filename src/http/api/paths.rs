//! Names in addresses.

use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::super::problem::{FieldFault, Problem};
use crate::config::AudienceConfig;

/// An audience.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct AudiencePath {
    /// The audience's key in the configuration
    #[param(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", max_length = 100, example = "dormant")]
    pub key: String,
}

/// A destination.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct DestinationPath {
    /// The destination's name in the configuration
    #[param(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", max_length = 100, example = "meta-fr")]
    pub name: String,
}

/// A run.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct RunPath {
    /// The run's id
    #[param(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", max_length = 100, example = "20260101-050000-4f2a1c")]
    pub id: String,
}

/// A forget request.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ForgetPath {
    /// The request's id
    #[param(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", max_length = 100, example = "forget-4f2a1c")]
    pub id: String,
}

/// The name of a destination in a body.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", max_length = 100, example = "meta-fr")]
pub struct Name(pub String);

/// The destinations that were asked for, when the audience has them.
///
/// # Errors
/// `invalid_request`, with which there are.
pub fn known_destinations(config: &AudienceConfig, key: &str, asked: Vec<Name>) -> Result<Vec<String>, Problem> {
    let unknown = asked.iter().enumerate().filter(|(_, name)| !config.destinations.contains(&name.0));
    let faults: Vec<FieldFault> = unknown
        .map(|(index, Name(name))| FieldFault {
            location: "body",
            field: format!("/destinations/{index}"),
            message: format!("`{key}` does not go to `{name}`, but to {}", config.destinations.join(", ")),
            hint: None,
        })
        .collect();
    if faults.is_empty() {
        Ok(asked.into_iter().map(|Name(name)| name).collect())
    } else {
        Err(Problem::unprocessable(faults))
    }
}
