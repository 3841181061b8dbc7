//! Opens the store that `[ledger]` names: a folder, or a cloud's, behind its feature.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::path::Path as Location;
use object_store::{ObjectStore, ObjectStoreScheme};
use url::Url;

use super::fault::Fault;
use super::objects::Objects;
use crate::config::LedgerConfig;
use crate::ledger::disk;
use crate::ledger::error::{LedgerError, Result};

/// The objects at `url`; `environment` gives a cloud's usual variables (`AWS_…`, `GOOGLE_…`, `AZURE_…`).
pub(super) fn open(url: &Url, config: &LedgerConfig, environment: &HashMap<String, String>) -> Result<Objects> {
    let fail = |error: object_store::Error| LedgerError::Store {
        what: "open",
        name: url.to_string(),
        fault: Fault::of_settings(&error),
    };
    let (scheme, prefix) = ObjectStoreScheme::parse(url).map_err(|error| fail(error.into()))?;
    if scheme == ObjectStoreScheme::Local {
        let folder: PathBuf = url.to_file_path().map_err(|()| LedgerError::Place { url: url.to_string() })?;
        disk::make_dir(&folder)?;
        // Tests end processes, not machines.
        let store = LocalFileSystem::new_with_prefix(&folder).map_err(fail)?.with_fsync(!cfg!(test));
        return Ok(Objects::new(Arc::new(store), Location::default(), Some(folder)));
    }
    let store = cloud(&scheme, url, config, environment).map_err(fail)?;
    let store = store.ok_or_else(|| LedgerError::Place { url: url.to_string() })?;
    Ok(Objects::new(store, prefix, None))
}

/// A cloud's store; `None` when this build has none of the kind. Settings of the config win over the environment.
#[cfg_attr(not(any(feature = "s3", feature = "gcs", feature = "azure")), expect(unused_variables))]
pub(super) fn cloud(
    scheme: &ObjectStoreScheme,
    url: &Url,
    config: &LedgerConfig,
    environment: &HashMap<String, String>,
) -> object_store::Result<Option<Arc<dyn ObjectStore>>> {
    // Said twice, the first stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    /// Unknown variables are nobody's business; an unknown setting is a fault.
    #[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
    macro_rules! build {
        ($builder:ty, $prefix:literal) => {{
            let mut builder = <$builder>::new().with_url(url.as_str());
            for (name, value) in environment.iter().filter(|(name, _)| name.starts_with($prefix)) {
                if let Ok(key) = name.to_ascii_lowercase().parse() {
                    builder = builder.with_config(key, value);
                }
            }
            for (name, value) in &config.options {
                builder = builder.with_config(name.parse()?, value);
            }
            Ok(Some(Arc::new(builder.build()?)))
        }};
    }
    match scheme {
        #[cfg(feature = "s3")]
        ObjectStoreScheme::AmazonS3 => build!(object_store::aws::AmazonS3Builder, "AWS_"),
        #[cfg(feature = "gcs")]
        ObjectStoreScheme::GoogleCloudStorage => build!(object_store::gcp::GoogleCloudStorageBuilder, "GOOGLE_"),
        #[cfg(feature = "azure")]
        ObjectStoreScheme::MicrosoftAzure => build!(object_store::azure::MicrosoftAzureBuilder, "AZURE_"),
        _ => Ok(None),
    }
}
